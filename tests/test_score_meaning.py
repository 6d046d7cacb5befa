"""What a score is: its level does not depend on the draws, and a row that hardly changes keeps it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from cases import product
from numpy.testing import assert_allclose

from vae_anomaly import VAEDetector
from vae_anomaly.scoring.scorer import choose_draws


def linear(rng):
    return rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))


def ring(rng):
    angle = rng.uniform(0, 2 * np.pi, 400)
    return np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(400, 2))


def heavy(rng):
    return rng.standard_t(3, size=(400, 4)) * [1, 10, 100, 1000]


def wide(rng):
    return rng.normal(size=(300, 4)) @ rng.normal(size=(4, 30)) + 0.2 * rng.normal(size=(300, 30))


def mixed(rng):
    size = rng.normal(size=400)
    kind = np.array(["a", "b", "c"])[np.digitize(size + 0.3 * rng.normal(size=400), [-0.5, 0.8])]
    return pd.DataFrame({"size": size, "double": 2 * size + 0.1 * rng.normal(size=400), "kind": kind, "flag": size > 0})


@pytest.fixture(scope="module")
def fitted():
    """A table and the detector fitted to it, each fitted once."""

    @cache
    def fit(make, novelty):
        rows = pd.DataFrame(make(np.random.default_rng(0)))
        return rows, VAEDetector(novelty=novelty, random_state=0).fit(rows)

    return fit


@pytest.mark.parametrize(
    "make, novelty",
    product(
        [linear, ring, heavy, wide, mixed],
        [True, False],
        quick=[(linear, True), (ring, False), (heavy, True), (wide, False), (mixed, False)],
    ),
)
def test_the_level_of_scores_is_that_of_many_draws_whatever_the_seed(fitted, make, novelty):
    """Before, with two normal draws: the mean score of a table ran from -20.6 to -30.3 nats over seeds."""
    rows, detector = fitted(make, novelty)
    model = detector.model_
    x, scorer = model.encode(rows)[:200], model.scorer
    normal = np.random.default_rng(0).standard_normal((256, model.architecture.n_components))
    level, spread = scorer.score(x).mean(), scorer.score(x).std()
    assert abs(replace(scorer, draws=torch.as_tensor(normal)).score(x).mean() - level) < 0.5 * spread
    others = [choose_draws(scorer, x, 2, np.random.default_rng(seed)) for seed in range(10)]
    assert np.std([replace(scorer, draws=draws).score(x).mean() for draws in others]) < 0.2 * spread


@pytest.mark.parametrize(
    "make, novelty",
    product([linear, ring, mixed], [True, False], quick=[(linear, True), (ring, False), (mixed, False)]),
)
def test_a_row_that_hardly_changes_keeps_its_score(fitted, make, novelty):
    """Before, in outlier detection, a training row moved by 1e-5 changed its score by up to 5.5 nats."""
    rows, detector = fitted(make, novelty)
    numbers = rows.select_dtypes(float).columns
    scores, moved, rounded = detector.score_samples(rows), rows.copy(), rows.copy()
    moved[numbers] += 1e-5 * rows[numbers].std()
    rounded[numbers] = rows[numbers].round(6)
    assert_allclose(detector.score_samples(moved), scores, atol=0.02 * scores.std())
    assert_allclose(detector.score_samples(rounded), scores, atol=0.005 * scores.std())


def test_a_training_row_counts_itself_the_less_the_farther_it_is(fitted):
    """Between a training row and a new one next to it the score has no jump."""
    rows, detector = fitted(ring, False)
    steps = np.geomspace(1e-6, 1, 400)
    along = detector.score_samples(pd.DataFrame(rows.to_numpy()[0] + steps[:, None] * [0.3, -0.2]))
    assert np.abs(np.diff(along)).max() < 0.1 * np.ptp(along)
