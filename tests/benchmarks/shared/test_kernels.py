import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.neighbors import KernelDensity as SklearnDensity

from benchmarks.shared import kernels
from benchmarks.shared.kernels import FACTORS, KernelContraction, KernelDensity, TwoKernelDensities


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(kernels, "CHUNK", 7)


@pytest.fixture
def train(rng):
    return rng.normal(size=(30, 3))


@pytest.fixture
def test(rng):
    return rng.normal(size=(20, 3))


def new(rows):
    return np.full(len(rows), -1)


def test_density_is_that_of_scikit_learn(train, test):
    density = KernelDensity()
    density.fit(train)
    ratio = density.score(test, new(test)) + SklearnDensity().fit(train).score_samples(test)
    assert_allclose(ratio, ratio[0])  # one constant for all rows


def test_density_leaves_the_row_itself_out(train):
    density = KernelDensity()
    density.fit(train)
    apart = [
        sum(math.exp(-0.5 * ((x - centre) ** 2).sum()) for j, centre in enumerate(train) if j != i)
        for i, x in enumerate(train)
    ]
    assert_allclose(density.score(train, np.arange(30)), -np.log(apart))


def test_a_row_far_from_all_others_has_a_finite_density(train):
    train[4] = 1e4
    density = KernelDensity()
    density.fit(train)
    scores = density.score(train, np.arange(30))
    assert np.isfinite(scores).all()
    assert scores.argmax() == 4


def slow_scales(train):
    """Distance to the 10th other row, times the factor that maximises the leave-one-out likelihood."""
    distance = np.array([np.sort([math.dist(x, other) for other in train])[10] for x in train])

    def likelihood(factor):
        scales = distance * factor
        return sum(
            math.log(
                sum(
                    math.exp(-(math.dist(x, train[j]) ** 2) / 2 / scales[j] ** 2) / scales[j] ** x.size
                    for j in range(len(train))
                    if j != i
                )
            )
            for i, x in enumerate(train)
        )

    return distance * max(FACTORS[FACTORS > 0.2], key=likelihood)  # the smaller ones underflow in this form


def slow_score(x, train, scales, left_out):
    weights = np.array(
        [
            0.0
            if j == left_out
            else math.exp(-(math.dist(x, train[j]) ** 2) / 2 / scales[j] ** 2) / scales[j] ** x.size
            for j in range(len(train))
        ]
    )
    return math.dist(x, (weights[:, None] * train).sum(0) / weights.sum())


def test_contraction_is_the_formula(train, test):
    peer, scales = KernelContraction(), slow_scales(train)
    peer.fit(train)
    assert_allclose(peer.scales, scales)
    assert_allclose(peer.score(test, new(test)), [slow_score(x, train, scales, None) for x in test])
    own = [slow_score(x, train, scales, i) for i, x in enumerate(train)]
    assert_allclose(peer.score(train, np.arange(30)), own)
    assert (np.array(own) > peer.score(train, new(train))).all()


def test_contraction_grows_along_a_ray_away_from_the_data(train):
    peer = KernelContraction()
    peer.fit(train)
    ray = np.outer(10.0 ** np.arange(1, 7), [1, -1, 0.5])
    assert (np.diff(peer.score(ray, new(ray))) > 0).all()


def test_contraction_of_duplicated_rows_is_finite(train):
    train[:25] = train[0]
    peer = KernelContraction()
    peer.fit(train)
    assert np.isfinite(peer.score(train, np.arange(30))).all()


def test_two_kernel_densities_do_not_depend_on_the_units_of_the_columns(train, test):
    peers = TwoKernelDensities(), TwoKernelDensities()
    units = np.array([1.0, 1e3, 1e-2])
    for peer, unit in zip(peers, (1.0, units), strict=True):
        peer.fit(train * unit)
    assert_allclose(peers[1].score(test * units, new(test)), peers[0].score(test, new(test)), rtol=1e-6)


def test_two_kernel_densities_leave_a_row_out_of_its_own_tail(train):
    """Among rows that are left out alike, the tail probabilities of each reading are those of its ranks."""
    peer = TwoKernelDensities()
    peer.fit(train)
    for unit, part in peer.parts:
        ranks = np.exp(-part.tails(train / unit, np.arange(30))) * 32
        assert_allclose(np.sort(np.round(ranks, 6), axis=1)[:, 1:], np.tile(np.arange(3, 32.0), (2, 1)))


def test_two_kernel_densities_grow_with_the_distance_beyond_all_training_rows(train):
    peer = TwoKernelDensities()
    peer.fit(train)
    scores = peer.score(np.array([[5.0, 0, 0], [10.0, 0, 0], [20.0, 0, 0]]), np.full(3, -1))
    assert (np.diff(scores) > 0).all()
