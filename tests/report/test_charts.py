"""The charts of the report: positions of bars, ticks and dots, and that every row is drawn or counted."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from vae_anomaly.report.charts import Axis, Histogram, Scatter
from vae_anomaly.report.scored_rows import ScoredRows

THRESHOLD = 4.0


@pytest.fixture
def scores(rng):
    return np.concatenate([rng.normal(size=2000), rng.uniform(THRESHOLD, 7, 40), [1e6, 2e6, 3e6]])


def counted(bar):
    return int(bar.remark.rpartition(": ")[2].split()[0].replace(",", ""))


def test_every_row_is_in_one_bar_and_the_flagged_ones_are_beyond_the_threshold(scores):
    histogram = Histogram.of(scores, None, THRESHOLD)
    assert sum(counted(bar) for bar in histogram.bars) == len(scores)
    assert sum(counted(bar) for bar in histogram.bars if bar.flagged) == (scores >= THRESHOLD).sum()
    assert {bar.flagged for bar in histogram.bars if bar.left + bar.width <= histogram.threshold} == {False}
    assert {bar.flagged for bar in histogram.bars if bar.left >= histogram.threshold} == {True}


def test_rows_far_beyond_the_threshold_have_one_bar(scores):
    histogram = Histogram.of(scores, None, THRESHOLD)
    last = histogram.bars[-1]
    assert counted(last) == (scores > 2 * THRESHOLD + 3).sum() == 3
    assert last.remark.split()[1:3] == ["and", "more:"]
    assert histogram.x_ticks[-1].text == "more"
    assert 40 < histogram.threshold < 70  # percent


def test_heights_are_proportional_to_the_root_of_the_fraction(scores):
    bars = Histogram.of(scores, None, THRESHOLD).bars
    fractions = np.array([counted(bar) for bar in bars]) / len(scores)
    assert_allclose([bar.height for bar in bars], 100 * np.sqrt(fractions / fractions.max()))


def test_y_ticks_are_at_the_height_of_a_bar_of_that_fraction(scores):
    histogram = Histogram.of(scores, None, THRESHOLD)
    top = max(map(counted, histogram.bars)) / len(scores)
    for tick in histogram.y_ticks:
        assert_allclose(tick.position, 100 * np.sqrt(float(tick.text.split()[0]) / 100 / top))
    assert len(histogram.y_ticks) >= 3


def test_the_outline_has_fractions_of_the_training_rows(scores):
    doubled = Histogram.of(scores, np.concatenate([scores, scores]), THRESHOLD)
    drawn = {round(100 - float(height), 1) for height in re.findall(r"V([\d.]+)H", doubled.outline)} - {0.0}
    assert drawn == {round(bar.height, 1) for bar in doubled.bars}


@pytest.mark.parametrize("threshold", [None, 0.0, 5.0, -5.0])
@pytest.mark.parametrize("scores", [[0.0], [1.0, 1.0], [-1e9, 1e9]], ids=str)
def test_few_or_equal_scores_can_be_drawn(scores, threshold):
    bars = Histogram.of(np.array(scores), np.array(scores), threshold).bars
    assert sum(counted(bar) for bar in bars) == len(scores)
    assert all(0 <= bar.left <= 100 and 0 < bar.height <= 100 and 0 < bar.width <= 100 for bar in bars)


def test_ticks_are_at_round_numbers():
    axis = Axis(-0.7, 12.3)
    assert [tick.text for tick in axis.ticks(6)] == ["0", "2.5", "5", "7.5", "10"]
    assert_allclose([tick.position for tick in axis.ticks(6)], 100 * (np.arange(0, 12, 2.5) + 0.7) / 13)


def positions_of(path):
    return np.array([step.removesuffix("h0").split() for step in path.split("M")[1:]], dtype=float)


def scored(rows, scores, flagged):
    frame = pd.DataFrame(index=range(len(scores)))
    half = np.full(len(scores), 0.5)
    table = pd.DataFrame(rows, columns=[f"x{column}" for column in range(rows.shape[1])])
    return ScoredRows(rows, table, frame, scores, half, half, flagged)


def test_the_map_has_every_row_once_and_flagged_ones_separately(of_numbers, numbers):
    scores = of_numbers.anomaly_score(numbers)
    flagged = scores > np.quantile(scores, 0.9)
    listed = np.argsort(-scores)[:5]
    drawn = Scatter.of(of_numbers, scored(numbers, scores, flagged), ["x0", "x1"], 5)
    assert (drawn.n_dots, drawn.n_flagged) == ((~flagged).sum(), flagged.sum())
    assert len(positions_of(drawn.dots)) == (~flagged).sum()
    assert len(positions_of(drawn.flagged_dots)) == flagged.sum() - len(listed)
    assert [mark.row for mark in drawn.marks] == (listed + 1)[::-1].tolist()


def test_the_map_has_a_sample_of_very_many_rows_and_the_most_anomalous_flagged_ones(of_numbers, numbers):
    rows = np.tile(numbers, (40, 1))
    scores = np.arange(len(rows), dtype=float)
    drawn = Scatter.of(of_numbers, scored(rows, scores, scores >= 6000), ["x0", "x1"], 1)
    assert (drawn.n_dots, drawn.n_flagged) == (1000, 1000)
    few = Scatter.of(of_numbers, scored(rows, scores, scores >= 7990), ["x0", "x1"], 1)
    assert (few.n_dots, few.n_flagged) == (1990, 10)
    assert few.marks[0].remark.startswith("row 8000: 7,999")


def test_positions_are_the_values_of_the_two_columns(of_numbers, numbers):
    scores = np.zeros(len(numbers))
    drawn = Scatter.of(of_numbers, scored(numbers, scores, scores > 0), ["x3", "x1"], 1)
    positions = positions_of(drawn.dots)
    assert (drawn.x_name, drawn.y_name) == ("x3", "x1")
    across = numbers[:, 3], positions[:, 0], drawn.x_ticks
    upwards = numbers[:, 1], 100 - positions[:, 1], drawn.y_ticks
    for values, places, ticks in (across, upwards):
        slope, start = np.polyfit(values, places, 1)
        assert_allclose(places, start + slope * values, atol=0.06)  # rounded to a tenth
        named = [float(tick.text.replace("\N{MINUS SIGN}", "-")) for tick in ticks]
        assert_allclose([tick.position for tick in ticks], start + slope * np.array(named), atol=0.1)


def test_rows_without_one_of_the_values_are_counted_and_far_ones_on_the_edge(of_numbers, numbers):
    rows = numbers.copy()
    rows[0, 0], rows[1, 0] = np.nan, 1e9
    drawn = Scatter.of(of_numbers, scored(rows, np.zeros(len(rows)), np.zeros(len(rows), bool)), ["x0", "x1"], 1)
    assert (drawn.n_missing, drawn.n_outside, drawn.n_dots) == (1, 1, len(rows) - 1)
    assert positions_of(drawn.dots)[:, 0].max() == 100
    assert np.ptp(positions_of(drawn.dots)[1:, 0]) > 50


def test_rows_with_equal_scores_are_in_the_order_of_the_table(numbers):
    scores = np.array([1.0, 3, 2, 3, 1])
    assert scored(numbers[:5], scores, scores > 2).most_anomalous(4).tolist() == [1, 3, 2, 0]
