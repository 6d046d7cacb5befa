import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import ks_2samp
from sklearn.ensemble import IsolationForest

from benchmarks.decisions import __main__ as decisions
from benchmarks.decisions.page import fewest_flagged, is_above, write_page
from benchmarks.decisions.trials import (
    COLUMNS,
    Batch,
    Correlated,
    Halves,
    Reading,
    Rule,
    Trial,
    false_discoveries,
    power,
    run,
    uniform_p_value,
    uniformity,
)
from benchmarks.shared.adbench import Table
from vae_anomaly.scoring.calibration import Conformal


def rows_of(table):
    return {tuple(row) for row in table}


class Known:
    """Judge whose p-value is the first column, which is uniform for normal rows."""

    n_reference = 10**6

    def __init__(self, seed):
        self.seed = seed

    def fit(self, x):
        self.trained = x

    def score(self, x):
        return x[:, 0]

    def p_values(self, scores, *, times=1.0):
        return np.minimum(scores * times, 1)

    def contamination(self, *, times=1.0):
        return times / 4


class Uniform:
    """Source of uniform normal rows, and anomalies near 0."""

    def training(self, n_rows, contamination, rng):
        return rng.random((n_rows, 1))

    def test(self, n_normal, n_anomalies, rng):
        x = np.concatenate([rng.random((n_normal, 1)), 1e-6 * rng.random((n_anomalies, 1))])
        return Batch(x, np.arange(len(x)) >= n_normal)


def values_of(readings, rule, measure):
    return [reading.value for reading in readings if (reading.rule, reading.measure) == (rule, measure)]


def test_false_discoveries_are_a_fraction_of_the_flagged_and_power_of_the_anomalies():
    is_anomaly = np.array([False, False, True, True, True, True])
    flagged = np.array([True, False, True, True, False, False])
    assert false_discoveries(flagged, is_anomaly) == pytest.approx(1 / 3)
    assert power(flagged, is_anomaly) == 0.5
    assert false_discoveries(np.zeros(6, bool), is_anomaly) == 0


def test_uniform_p_values_keep_the_level_and_halved_ones_do_not():
    """With 900 of 1,000 rows normal, mean FDP is 0.9 of the level, exactly (Benjamini and Hochberg 1995)."""
    rules = [Rule("as they are"), Rule("halved", {"times": 0.5})]
    readings = list(run(Trial("level", "uniform", "known", Known, rules, times=(100, 5)), Uniform()))
    for level in (0.05, 0.1, 0.2):
        found = values_of(readings, "as they are", f"FDP at {level}")
        assert len(found) == 100
        assert np.mean(found) == pytest.approx(0.9 * level, abs=4 * np.std(found) / 10)
        halved = values_of(readings, "halved", f"FDP at {level}")
        assert np.mean(halved) == pytest.approx(1.8 * level, abs=4 * np.std(halved) / 10)
        assert values_of(readings, "halved", f"power at {level}") == [1.0] * 100
    assert values_of(readings, "halved", "share taken for anomalies") == [0.125] * 100


def test_normal_rows_up_to_a_threshold_are_counted_and_halved_p_values_are_rejected():
    trial = Trial(
        "level", "uniform", "known", Known, [Rule("ok"), Rule("low", {"times": 0.5})], times=(40, 5), uniform=True
    )
    readings = list(run(trial, Uniform()))
    assert_allclose(np.mean(values_of(readings, "ok", "share up to 0.1")), 0.1, atol=0.005)
    assert_allclose(np.mean(values_of(readings, "low", "share up to 0.1")), 0.2, atol=0.005)
    assert np.mean(values_of(readings, "ok", "found not uniform")) < 0.2
    assert np.mean(values_of(readings, "low", "found not uniform")) == 1


def test_uniformity_is_tested_with_the_two_sample_test(rng):
    reference, scores = rng.normal(size=400), rng.normal(0.1, 1, size=300)
    wanted = ks_2samp(scores, reference, method="asymp").pvalue
    assert uniform_p_value(Conformal(reference).p_values(scores), 400) == pytest.approx(wanted, rel=0.15)


def test_the_sampling_error_of_a_small_reference_is_taken_into_account(rng):
    found = []
    for _ in range(300):
        p_values = Conformal(rng.normal(size=50)).p_values(rng.normal(size=900))
        found += [reading.value for reading in uniformity("", [p_values], 50) if reading.measure == "found not uniform"]
    assert np.mean(found) < 0.09


def test_synthetic_rows_have_unit_variance_and_correlations_that_anomalies_break(rng):
    source = Correlated()
    batch = source.test(20_000, 20_000, rng)
    normal, mixed, shifted = batch.x[:20_000], batch.x[20_000:30_000], batch.x[30_000:]
    assert batch.is_anomaly.sum() == 20_000
    assert not batch.is_anomaly[:20_000].any()
    assert_allclose(normal.var(axis=0), 1, atol=0.05)
    correlation = np.corrcoef(normal.T)
    assert_allclose(np.corrcoef(source.test(20_000, 0, rng).x.T), correlation, atol=0.05)
    off = ~np.eye(COLUMNS, dtype=bool)
    assert np.abs(correlation[off]).max() > 0.5
    assert np.abs(np.corrcoef(mixed.T)[off]).max() < 0.05
    assert_allclose(mixed.var(axis=0), 1, atol=0.06)
    assert_allclose((shifted**2).sum(axis=1).mean(), COLUMNS + 16, rtol=0.05)


def test_a_training_table_holds_its_fraction_of_anomalies(rng):
    x = Correlated().training(2_000, 0.2, rng)
    assert len(x) == 2_000
    assert np.abs(np.corrcoef(x[1_600:1_800].T)[~np.eye(COLUMNS, dtype=bool)]).max() < 0.3


def test_test_rows_of_a_table_are_not_training_rows(rng):
    table = Table(np.arange(80.0)[:, None], np.repeat([0, 1], [60, 20]))
    source = Halves(table)
    train = source.training(30, 0.2, rng)
    assert len(rows_of(train)) == 30
    assert (train >= 60).sum() == 6
    for batch in (source.test(30, 10, rng), source.test(20, 5, rng)):
        assert len(rows_of(batch.x)) == len(batch.x)
        assert rows_of(batch.x).isdisjoint(rows_of(train))
        assert np.array_equal(batch.is_anomaly, batch.x[:, 0] >= 60)
    with pytest.raises(ValueError, match="11 were requested"):
        source.test(30, 11, rng)


@pytest.mark.parametrize(
    "n_reference, n_rows, level", [(100, 100, 0.1), (99, 100, 0.1), (30, 200, 0.2), (999, 50, 0.05)]
)
def test_the_fewest_rows_that_can_be_flagged_agree_with_the_rule(n_reference, n_rows, level):
    """Compared with the rule itself: some rows have the smallest p-value, all others 1."""
    rule = Rule("bh")
    counts = range(1, n_rows + 1)
    p_values = [np.repeat([1 / (n_reference + 1), 1.0], [count, n_rows - count]) for count in counts]
    first = next((count for count, p in zip(counts, p_values, strict=True) if rule.flagged(p, level).any()), None)
    assert fewest_flagged(n_reference, n_rows, level) == first


def figures_of(mean, error, measure="FDP at 0.1"):
    row = ("level", "synthetic", "split", "bh", measure, mean, error, 40, 5, "abc")
    return pd.DataFrame([row], columns=[*decisions.KEY, "mean", "error", "fits", "batches", "commit"])


@pytest.mark.parametrize("mean, error, above", [(0.11, 0.004, True), (0.11, 0.006, False), (0.05, 0.001, False)])
def test_the_page_marks_figures_above_the_level_by_more_than_chance(mean, error, above):
    figures = figures_of(mean, error)
    assert is_above(figures.iloc[0]) == above
    text = write_page(figures, ["machine: one"])
    shown = f"{mean:.3f} ± {error:.3f}"
    assert (f"| synthetic: split | **{shown}** |" if above else f"| synthetic: split | {shown} |") in text
    assert f"{int(above)} of 1 figures" in text
    assert "- machine: one\n- measured at commit abc" in text


def test_power_has_no_limit():
    assert not is_above(figures_of(0.9, 0.001, "power at 0.1").iloc[0])


def test_standard_errors_are_those_of_the_fits_means():
    trial = Trial("level", "synthetic", "split", Known, times=(4, 7))
    values = decisions.summarise(trial, [Reading("bh", "FDP at 0.1", value) for value in (0.1, 0.2, 0.3, 0.2)], "abc")
    (value,) = values
    assert (value.mean, value.fits, value.batches) == (pytest.approx(0.2), 4, 7)
    assert value.error == pytest.approx(np.std([0.1, 0.2, 0.3, 0.2], ddof=1) / 2)


def test_every_figure_but_uniformity_uses_two_hundred_batches():
    for part, trials in decisions.PARTS.items():
        for trial in trials():
            assert part == decisions.UNIFORM or np.prod(trial.times) == 200


def test_our_p_values_are_those_of_the_detector(rng):
    judge, rows = decisions._ours(0, novelty=True, max_iter=2), np.full((1, 2), 99.0)
    judge.fit(rng.normal(size=(60, 2)))
    assert judge.n_reference == 60
    for options in ({}, {"extrapolate": True}, {"contamination": "auto"}):
        assert judge.p_values(judge.score(rows), **options) == judge.detector.p_values(rows, **options)
    assert judge.contamination() == 0


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Run the command on a small trial and read its page."""
    trial = Trial("level", "synthetic", "known", Known, times=(3, 2))
    monkeypatch.setattr(decisions, "PARTS", {"level": lambda: [trial]})
    monkeypatch.setattr(decisions, "find_source", lambda name, folder: Uniform())

    def run_it(*arguments):
        decisions.main(["--data", str(tmp_path), "--output", str(tmp_path / "out"), *arguments])
        return (tmp_path / "out" / "decisions.md").read_text()

    return run_it


def test_a_second_run_measures_only_what_is_missing(start, tmp_path, capsys):
    page = start("--fits", "2")
    assert "level: synthetic, known" in capsys.readouterr().out
    assert "| synthetic: known |" in page
    assert str(tmp_path) not in page
    assert start("--fits", "2") == page
    assert capsys.readouterr().out == ""
    file = tmp_path / "out" / "decisions.csv"
    assert set(pd.read_csv(file)["fits"]) == {2}
    file.unlink()
    start()
    assert set(pd.read_csv(file)["fits"]) == {3}


def test_nonconform_gives_its_own_p_values(rng):
    pytest.importorskip("nonconform")
    from benchmarks.decisions.judges import NonconformJudge

    judge = NonconformJudge(IsolationForest(random_state=0), 0)
    judge.fit(rng.normal(size=(200, 2)))
    p_values = judge.p_values(judge.score(np.array([[0.0, 0.0], [60.0, 60.0]])))
    assert judge.n_reference == 40
    assert p_values[1] == pytest.approx(1 / 41)
    assert p_values[0] > 0.3
