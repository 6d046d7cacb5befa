import numpy as np
import pytest

from benchmarks.accuracy import measure as measuring
from benchmarks.accuracy.measure import Task, measure, run
from benchmarks.shared.adbench import read_table, split_novelty
from benchmarks.shared.peers import METHODS, Method


class Spy:
    """A peer that records its arguments and scores rows by their first column."""

    def __init__(self, scores=None):
        self.scores = scores

    def fit(self, train):
        self.train = train

    def score(self, test, train_index):
        self.test = test
        return test[:, 0] if self.scores is None else np.resize(self.scores, len(test))


class Broken(Spy):
    def fit(self, train):
        raise ValueError("no\nway, " + "never " * 100)


@pytest.fixture
def measured(adbench, monkeypatch):
    """Measure a given peer on one set."""
    monkeypatch.setattr(measuring, "warm_up", lambda method: None)

    def of(peer, setting="novelty", seeds=(0,), **known):
        monkeypatch.setitem(METHODS, "spy", Method("spy", lambda novelty, seed: peer, **known))
        return measure(Task(adbench / "1_narrow.npz", setting, "spy", seeds, cap=0, jobs=1, commit="abc"))

    return of


def test_peers_see_rows_standardised_by_the_training_rows(measured, adbench):
    spy = Spy()
    (figure,) = measured(spy)
    split = split_novelty(read_table(adbench / "1_narrow.npz"), 0)
    mean, deviation = split.train.mean(0), split.train.std(0)
    np.testing.assert_allclose(spy.train, (split.train - mean) / deviation)
    np.testing.assert_allclose(spy.test, (split.test - mean) / deviation)
    assert (figure.set, figure.rows_trained, figure.error) == ("1_narrow", 25, "")
    assert figure.auroc > 0.9


def test_a_method_that_scales_rows_itself_sees_them_raw(measured, adbench):
    spy = Spy()
    measured(spy, "outlier", scaled=False)
    assert np.array_equal(spy.train, read_table(adbench / "1_narrow.npz").x)


def test_a_limited_method_trains_on_some_rows_and_scores_all(measured):
    spy = Spy()
    (figure,) = measured(spy, "outlier", max_train=20)
    assert figure.rows_trained == len(spy.train) == 20
    assert len(spy.test) == 60


def test_one_measurement_may_serve_several_seeds(measured):
    first, second = measured(Spy(), "outlier", seeds=(1, 4))
    assert (first.seed, second.seed) == (1, 4)
    assert (first.auroc, first.fit_seconds) == (second.auroc, second.fit_seconds)


@pytest.mark.parametrize("setting, share", [("novelty", 10 / 35), ("outlier", 10 / 60)])
def test_a_method_that_raises_gets_the_accuracy_of_a_constant_score_and_its_error(measured, setting, share):
    (figure,) = measured(Broken(), setting)
    assert (figure.auroc, figure.average_precision) == (0.5, pytest.approx(share))
    assert figure.error.startswith("ValueError: no way, never")
    assert len(figure.error) <= 200


@pytest.mark.parametrize("scores", [[1, np.nan], [1, np.inf]])
def test_a_method_whose_scores_are_not_finite_has_failed(measured, scores):
    (figure,) = measured(Spy(scores), "outlier")
    assert (figure.auroc, figure.error) == (0.5, "ArithmeticError: 30 of 60 scores are not finite")


def test_seconds_are_taken_after_the_method_was_warmed_up(adbench):
    seen = []

    class Counting(Spy):
        def fit(self, train):
            seen.append(train.shape)

    method = Method("counting", lambda novelty, seed: Counting())
    split = split_novelty(read_table(adbench / "1_narrow.npz"), 0)
    run(method, split, 0, standardise=split.train)
    run(method, split, 1, standardise=split.train)
    assert seen == [(64, 3), (25, 2), (25, 2)]
