import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from benchmarks.representation import disentangling
from benchmarks.representation.disentangling import (
    FACTORS,
    SHAPE,
    SIDE,
    DisentanglingTask,
    PosteriorDraws,
    beta_vae,
    draw_blobs,
    in_bins,
    information_gaps,
)
from benchmarks.representation.tasks import Method
from vae_anomaly import VAEDetector
from vae_anomaly.config import LEAST_SIDE


def test_blobs_lie_where_their_factors_say_and_are_as_large_and_bright():
    images, factors = draw_blobs(200, 0)
    images = images.reshape(-1, SIDE, SIDE)
    mass = images.sum((1, 2))
    pixel = np.arange(SIDE)
    assert_allclose((images.sum(1) * pixel).sum(1) / mass, factors[:, 0], atol=0.1)
    assert_allclose((images.sum(2) * pixel).sum(1) / mass, factors[:, 1], atol=0.1)
    assert_allclose(images.max((1, 2)), factors[:, 3], rtol=0.2)
    assert_allclose(mass / factors[:, 3], np.pi * factors[:, 2] ** 2, rtol=0.25)
    assert ((images >= 0) & (images <= 1)).all()


def test_factors_are_independent_and_another_seed_draws_others():
    factors = draw_blobs(5000, 0).factors
    assert abs(np.corrcoef(factors.T) - np.eye(len(FACTORS))).max() < 0.05
    assert_allclose([factors.min(0), factors.max(0)], np.transpose([*FACTORS.values()]), atol=0.01)
    assert not np.isin(draw_blobs(5000, 1).factors, factors).any()


def test_gaps_are_one_for_separate_latents_and_zero_for_shared_factors(rng):
    factors = rng.random((5000, 2))
    own = np.exp(factors[:, [1, 0]])  # any growing function, in any order
    assert (information_gaps(own, factors) > 0.95).all()
    assert (information_gaps(own @ [[1, 1], [1, -1]], factors) < 0.05).all()
    assert_allclose(information_gaps(np.hstack([own, own]), factors), 0, atol=1e-12)
    assert (information_gaps(rng.random((5000, 3)), factors) < 0.02).all()


def test_a_gap_is_the_fraction_of_information_that_noise_leaves(rng):
    """The latent is in the factor's bin with probability 1 / 2, else in a random bin."""
    factor = rng.permutation(np.arange(40_000))
    lost = rng.random(40_000) < 0.5
    latent = np.where(lost, rng.permutation(factor), factor)
    stay, other = 0.5 + 0.5 / 20, 0.5 / 20
    information = np.log(20) + stay * np.log(stay) + 19 * other * np.log(other)
    unrelated = rng.random(40_000)
    (gap,) = information_gaps(np.stack([latent, unrelated], axis=1), factor[:, None])
    assert_allclose(gap, information / np.log(20), atol=0.02)


def test_bins_hold_equally_many(rng):
    bins = in_bins(rng.normal(size=(2000, 2)) ** 3)
    for column in bins.T:
        assert_array_equal(np.bincount(column), 100)


def test_latents_are_drawn_with_their_posterior_standard_deviation():
    train = draw_blobs(300, 0).pixels
    detector = VAEDetector(
        purpose="representation", image_shape=SHAPE, prior="gaussian", n_components=3, max_iter=30, random_state=0
    )
    transformer = PosteriorDraws(detector, 0)
    transformer.fit(train)
    drawn, again = (transformer.transform(train) for _ in range(2))
    noise = (drawn - detector.transform(train)).std(0)
    assert_allclose(noise, detector.latents_["posterior_std"], rtol=0.2)
    assert_array_equal(drawn, again)


def test_the_task_gives_a_gap_for_each_factor():
    task = DisentanglingTask([Method("components", lambda seed: PCA(3, random_state=seed))], images=400)
    results = list(task.measure(task.methods[0], 0, task.measures))
    assert [result.measure for result in results] == list(FACTORS)
    assert all(0 <= result.value <= 1 for result in results)


def test_images_are_too_small_for_convolutions():
    assert SIDE < LEAST_SIDE
    assert beta_vae(0, 4.0).beta == 4.0


def test_the_traversals_of_a_model_are_plotted(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(disentangling, "STEPS", 2)
    monkeypatch.setattr(disentangling, "IMAGES", 50)
    disentangling.main(["--beta", "2", "--output", str(tmp_path / "walks.png")])
    assert (tmp_path / "walks.png").read_bytes().startswith(b"\x89PNG")
    assert "beta 2" in capsys.readouterr().out
