"""Training time of the convolutional default on 60,000 images, as many as MNIST has for training."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.representation.mnist import SHAPE, read_digits
from benchmarks.representation.tasks import Method, Result
from benchmarks.shared.peers import OURS
from benchmarks.shared.timing import timed
from vae_anomaly import VAEDetector

COPIES = 6  # of the 10,000 test images
LARGEST_SHIFT = 2  # pixels
NOISE = 0.02
MEASURES = [LEARN, WORK, CODE, STEPS] = ["seconds to learn", "of a processor", "seconds to code", "steps"]


def augment(pixels: np.ndarray, copies: int, seed: int) -> np.ndarray:
    """Copies of images (images, pixels), each with a random shift and some noise, so that no two are equal."""
    rng = np.random.default_rng(seed)
    _, height, width = SHAPE
    images = np.tile(pixels.reshape(-1, height, width), (copies, 1, 1))
    shifts = rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, size=(len(images), 2))
    shifted = np.stack([np.roll(image, shift, axis=(0, 1)) for image, shift in zip(images, shifts, strict=True)])
    return (shifted + NOISE * rng.random(shifted.shape)).clip(0, 1).reshape(len(images), -1)


@dataclass(frozen=True)
class TrainingTimeTask:
    """Seconds of one fit and one transform, with all threads of the machine."""

    pixels: np.ndarray
    methods: Sequence[Method]  # make(seed) -> transformer with n_iter_
    copies: int = COPIES

    @property
    def measures(self) -> list[str]:
        """Seconds and steps; processor seconds add up all cores and do not count waiting."""
        return MEASURES

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """All measures at once."""
        rows = augment(self.pixels, self.copies, seed)
        transformer = method.make(seed)
        fit, transform = timed(transformer.fit, rows), timed(transformer.transform, rows)
        steps = float(transformer.n_iter_)
        values = {LEARN: fit.seconds, WORK: fit.cpu_seconds, CODE: transform.seconds, STEPS: steps}
        yield from (Result(name, value, fit.seconds + transform.seconds) for name, value in values.items())


def build_training_time(data: Path) -> TrainingTimeTask:
    """Train on the test images of MNIST, six shifted copies of each."""

    def make(seed: int) -> VAEDetector:
        return VAEDetector(purpose="representation", image_shape=SHAPE, random_state=seed)

    return TrainingTimeTask(read_digits(data / "mnist").pixels, [Method(OURS, make, seeds=1)])
