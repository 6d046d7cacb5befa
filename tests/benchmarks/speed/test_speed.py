from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity

from benchmarks.shared.peers import Method
from benchmarks.shared.results_file import ResultsFile
from benchmarks.speed import __main__ as speed
from benchmarks.speed import timing
from benchmarks.speed.__main__ import KEY, NOTHING, TOO_LONG, expected, measurements
from benchmarks.speed.page import exponents, write_page
from benchmarks.speed.timing import MATCHED, OURS, Timing, make_table, measure

LARGE = 2**23  # floats: 64 MiB


def timed(method, rows, columns, seconds, **known):
    """Timing of which the fit takes half of the seconds."""
    figures = {"fit_seconds": seconds / 2, "score_seconds": seconds / 2, "fit_mib": 8.0, "table_mib": 4.0, "auroc": 0.9}
    figures |= {"products": 0.5, "fit_work": seconds / 4, "score_work": seconds / 4}
    return replace(NOTHING, method=method, rows=rows, columns=columns, commit="abc", **{**figures, **known})


def table_of(*timings):
    return pd.DataFrame([asdict(timing) for timing in timings], columns=list(asdict(NOTHING)))


class Greedy:
    """A peer that allocates and frees 64 MiB in the fit, and twice as much to score."""

    def fit(self, train):
        np.ones(LARGE)

    def score(self, test, train_index):
        assert (train_index == -1).all()
        return test[:, 0] + 0 * np.ones(2 * LARGE)[0]


def test_anomalies_differ_only_in_the_correlations_of_columns():
    x, is_anomaly = make_table(20_000, 6)
    assert_allclose(is_anomaly.mean(), timing.ANOMALIES, atol=0.005)
    assert_allclose(x[is_anomaly].std(0), x[~is_anomaly].std(0), rtol=0.2)
    one_by_one = [roc_auc_score(is_anomaly, np.abs(column)) for column in x.T]
    assert max(one_by_one) < 0.6
    density = KernelDensity(bandwidth=0.5).fit(x[~is_anomaly][:2000])
    assert roc_auc_score(is_anomaly[-1000:], -density.score_samples(x[-1000:])) > 0.8


def test_memory_is_the_peak_of_fit_and_of_score():
    figures = measure(Method("greedy", lambda novelty, seed: Greedy(), scaled=False), 2000, 5)
    assert 60 <= figures.fit_mib < 80  # the heap itself varies a little
    assert 124 <= figures.score_mib < 150
    assert_allclose(figures.table_mib, 2000 * 5 * 4 / 2**20)
    assert (figures.rows, figures.columns, figures.error) == (2000, 5, "")
    assert np.isnan(figures.products)


def test_the_matched_network_has_the_sizes_and_the_steps_of_an_epoch():
    peer = timing.COMPARED[MATCHED].make(False, 0)
    peer.fit(make_table(1000, 20)[0])
    detector = peer.detector
    assert (detector.n_iter_, detector.n_estimators_, detector.n_components_) == (1000 // 256, 1, 16)
    assert detector.hidden_layer_sizes_ == (64, 64)


def test_seconds_of_a_longer_table_are_extrapolated_from_the_growth():
    known = table_of(timed("m", 10, 3, 1.0), timed("m", 100, 3, 100.0), timed("m", 100, 9, 7.0))
    assert_allclose(expected(known, "m", 1000, 3), 10_000.0)
    assert_allclose(expected(known, "m", 1000, 9), 7.0)
    assert expected(known, "m", 10, 3) == 0
    assert expected(known, "other", 1000, 3) == 0


def test_a_method_is_skipped_where_it_would_take_too_long_and_on_all_larger_tables(monkeypatch):
    asked = []

    def measured(method, rows, columns, limit):
        asked.append((method, rows))
        return timed(method, rows, columns, 30.0 if method == "slow" else 0.1)

    monkeypatch.setattr(speed, "measure_in_process", measured)
    done = list(measurements(["slow", "quick"], [10, 100, 1000], [3], 20.0, table_of(timed("quick", 10, 3, 0.1))))
    assert asked == [("slow", 10), ("quick", 100), ("quick", 1000)]
    assert [(t.method, t.rows) for t in done if t.error == TOO_LONG] == [("slow", 100), ("slow", 1000)]


def test_missing_figures_are_read_back_as_nan(tmp_path):
    file = ResultsFile(tmp_path / "speed.csv", Timing, KEY)
    file.append([timed("m", 10, 3, 1.0), replace(NOTHING, method="m", rows=100, columns=3, error=TOO_LONG)])
    table = file.read()
    assert table["fit_seconds"].dtype == np.float64
    assert table["fit_seconds"].isna().tolist() == [False, True]
    assert table["error"].tolist() == ["", TOO_LONG]


def test_a_failing_process_gives_its_reason():
    figure = speed.measure_in_process("no such method", 10, 3, limit=1.0)
    assert "invalid choice" in figure.error


def test_exponents_are_those_of_the_power_law():
    timings = [
        timed("m", rows, columns, 1e-3 * rows**1.3 * columns**0.4) for rows in (1e3, 1e4, 1e5) for columns in (10, 100)
    ]
    assert_allclose(exponents(table_of(*timings), "fit_seconds"), (1.3, 0.4))
    assert np.isnan(exponents(table_of(*timings[:2]), "fit_seconds")).all()
    assert np.isnan(exponents(table_of(), "fit_seconds")).all()


@pytest.fixture
def compared():
    return table_of(
        timed(OURS, 100_000, 30, 2.0),
        timed("PyOD VAE", 100_000, 30, 60.0, auroc=0.7, fit_work=5.0),
        timed(OURS, 1_000_000, 30, 8.0, fit_mib=10.0),
        timed("IsolationForest", 1_000_000, 30, 12.0),
        timed("PyOD VAE", 1_000_000, 30, np.nan, error=TOO_LONG),
    )


def test_the_page_compares_methods_and_shows_dashes(compared):
    text = write_page(compared, ["made up"])
    assert "PyOD's VAE takes 30 times (work: 10 times) as long as vae-anomaly (AUROC 0.700, ours 0.900)." in text
    assert "Score, 1,000,000 x 30: IsolationForest takes 1.5 times (work: 1.5 times) as long as vae-anomaly." in text
    assert "Bare matrix products of the networks, 1,000,000 x 30: 50% of the scoring time of vae-anomaly." in text
    assert "Memory of the fit, 1,000,000 x 30: 2.5 times the table as float32, in addition to the table." in text
    assert "| 1,000,000 | PyOD VAE | – | – |" in text
    assert "- made up" in text
