"""Rows that a comparison trains on and scores, and its measurements."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import roc_auc_score

from vae_anomaly import VAEDetector
from vae_anomaly.comparison import Comparison
from vae_anomaly.comparison.methods import Neighbours, PlainNumbers, methods
from vae_anomaly.errors import DataError

OTHERS = ["IsolationForest", "LocalOutlierFactor", "5 nearest neighbours"]
ANOMALOUS = np.arange(60) < 8


@pytest.fixture(scope="module")
def rows():
    """Sixty rows of all kinds, the first eight of them far from the others, each in another direction."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(60, 3))
    numbers[ANOMALOUS] *= 8 / np.linalg.norm(numbers[ANOMALOUS], axis=1, keepdims=True)
    table = pd.DataFrame(numbers, columns=["a", "b", "c"]).assign(colour=rng.choice(["red", "blue"], 60))
    table.loc[20, "a"], table.loc[21, "colour"] = None, None
    return table


@pytest.mark.parametrize("novelty", [False, True])
@pytest.mark.parametrize("method", ["vae-anomaly", *OTHERS])
def test_rows_far_from_all_others_are_found_by_every_method(rows, method, novelty):
    measured = Comparison(rows, ANOMALOUS, novelty=novelty).measure(method, seed=0)
    assert measured.auroc > 0.85
    assert measured.average_precision > 0.7  # by chance 0.13 and 0.24
    assert min(measured.fit_seconds, measured.score_seconds) > 0


@pytest.mark.parametrize("method", OTHERS)
def test_no_method_sees_the_labels(rows, method):
    """With all labels turned round, the same scores are wrong as often as they were right."""
    as_labelled, turned = (Comparison(rows, labels).measure(method, seed=0).auroc for labels in (ANOMALOUS, ~ANOMALOUS))
    assert turned == pytest.approx(1 - as_labelled)


def test_our_metrics_are_those_of_the_detector(rows):
    scores = VAEDetector(random_state=3).fit(rows).anomaly_score(rows)
    assert Comparison(rows, ANOMALOUS).measure("vae-anomaly", seed=3).auroc == roc_auc_score(ANOMALOUS, scores)


class Spy:
    """A method that keeps what it is given."""

    draws = False

    def fit(self, train, seed):
        self.train = train

    def score(self, test):
        self.test = test
        return np.zeros(len(test))


@pytest.mark.parametrize("novelty", [False, True])
def test_novelty_learns_from_half_of_the_normal_rows_and_scores_all_others(rows, novelty, monkeypatch):
    spy = Spy()
    monkeypatch.setattr("vae_anomaly.comparison.comparison.methods", lambda **_: {"spy": spy})
    comparison = Comparison(rows, ANOMALOUS, novelty=novelty)
    measured = comparison.measure("spy", seed=0)
    train, test = set(spy.train.index), set(spy.test.index)
    if novelty:
        assert len(train) == 26
        assert (train & test, train | test) == (set(), set(range(60)))
        assert not train & set(np.flatnonzero(ANOMALOUS))
        comparison.measure("spy", seed=1)
        assert set(spy.train.index) != train
    else:
        assert train == test == set(range(60))
    assert measured.auroc == 0.5  # of scores that are all equal
    assert measured.average_precision == pytest.approx(comparison.anomaly_fraction) == 8 / len(test)


def test_a_method_is_measured_once_where_no_seed_changes_it(rows):
    plan = Comparison(rows, ANOMALOUS).plan([4, 5])
    assert plan == [(name, seed) for name in ["vae-anomaly", OTHERS[0]] for seed in (4, 5)] + [
        (name, 4) for name in OTHERS[1:]
    ]
    assert len(Comparison(rows, ANOMALOUS, novelty=True).plan([4, 5])) == 8  # the seed draws the training rows


@pytest.mark.parametrize("method", OTHERS)
def test_a_method_that_draws_nothing_gives_the_same_again(rows, method):
    made, again = (methods(novelty=False, device="cpu")[method] for _ in range(2))
    made.fit(rows, 0)
    again.fit(rows, int(not made.draws))
    assert (made.score(rows) == again.score(rows)).all()


@pytest.mark.parametrize("novelty", [False, True])
def test_neighbours_are_the_five_nearest_other_rows(rows, novelty):
    method = Neighbours(novelty)
    method.fit(rows, 0)
    numbers = PlainNumbers().fit_transform(rows)
    distances = np.sort(np.linalg.norm(numbers[:, None] - numbers[None], axis=2), axis=1)
    expected = distances[:, :5] if novelty else distances[:, 1:6]  # a row to score that was in training is near itself
    assert_allclose(method.score(rows), expected.mean(axis=1), atol=1e-6)


def test_plain_numbers_are_standardised_with_gaps_filled_and_categories_one_hot():
    train = pd.DataFrame(
        {"x": [1.0, 2.0, 9.0, None], "kind": ["a", "b", None, "a"], "day": pd.to_datetime("2026-01-01")}
    )
    train.loc[1:, "day"] = pd.to_datetime(["2026-01-02", "2026-01-02", "2026-01-03"])
    numbers = PlainNumbers().fit(train)
    x = np.array([1.0, 2.0, 9.0, 2.0])
    day = np.array([-1, 0, 0, 1]) / np.sqrt(0.5)
    found = numbers.transform(train)
    assert_allclose(found[:, :3], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert_allclose(found[:, 3:], np.column_stack([(x - x.mean()) / x.std(), day]), atol=1e-9)
    new = pd.DataFrame({"x": [2.0], "kind": ["unseen"], "day": pd.to_datetime(["2026-01-02"])})
    assert_allclose(numbers.transform(new)[0, :3], 0)


def test_too_few_rows_to_learn_from_a_half_are_refused(rows):
    with pytest.raises(DataError, match="3 normal rows are too few to learn from one half"):
        Comparison(rows, np.arange(60) >= 3, novelty=True)
