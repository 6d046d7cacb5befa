import numpy as np
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from benchmarks.representation.tasks import Method
from benchmarks.representation.training_time import CODE, LEARN, MEASURES, NOISE, STEPS, WORK, TrainingTimeTask, augment


class Slow(PCA):
    """A transformer with a number of steps."""

    n_iter_ = 7


def test_copies_are_shifted_images_and_all_differ(rng):
    pixels = np.zeros((3, 28, 28))
    pixels[:, 10:14, 12:15] = 0.9
    images = augment(pixels.reshape(3, -1), 4, 0)
    assert images.shape == (12, 784)
    assert ((images >= 0) & (images <= 1)).all()
    assert_allclose(images.sum(1), 0.9 * 12 + 784 * NOISE / 2, rtol=0.1)
    assert len(np.unique(images, axis=0)) == 12
    positions = {np.unravel_index(int(image.argmax()), (28, 28)) for image in (images > 0.5).astype(int)}
    assert len(positions) > 1


def test_the_task_times_a_fit_and_a_transform(rng):
    task = TrainingTimeTask(rng.random((20, 784)), [Method("slow", lambda seed: Slow(2, random_state=seed))], copies=2)
    results = {result.measure: result for result in task.measure(task.methods[0], 0, MEASURES)}
    assert results[STEPS].value == 7
    assert results[WORK].value > 0
    assert 0 < results[LEARN].value < results[LEARN].seconds
    assert_allclose(results[LEARN].value + results[CODE].value, results[LEARN].seconds)
