"""The drawings of the report: what stands where, and that nothing is left out unsaid."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from vae_anomaly.report.axes import Axis
from vae_anomaly.report.histogram import Histogram
from vae_anomaly.report.judged import Judged
from vae_anomaly.report.scatter import Scatter

LINE = 4.0


@pytest.fixture
def scores(rng):
    return np.concatenate([rng.normal(size=2000), rng.uniform(LINE, 7, 40), [1e6, 2e6, 3e6]])


def counted(bar):
    return int(bar.remark.rpartition(": ")[2].split()[0].replace(",", ""))


def test_every_row_is_in_one_bar_and_the_flagged_ones_are_beyond_the_line(scores):
    histogram = Histogram.of(scores, None, LINE)
    assert sum(counted(bar) for bar in histogram.bars) == len(scores)
    assert sum(counted(bar) for bar in histogram.bars if bar.odd) == (scores >= LINE).sum()
    assert {bar.odd for bar in histogram.bars if bar.left + bar.width <= histogram.line} == {False}
    assert {bar.odd for bar in histogram.bars if bar.left >= histogram.line} == {True}


def test_rows_far_beyond_the_line_share_one_bar_and_leave_room_for_the_others(scores):
    histogram = Histogram.of(scores, None, LINE)
    last = histogram.bars[-1]
    assert counted(last) == (scores > 2 * LINE + 3).sum() == 3
    assert last.remark.split()[1:3] == ["and", "more:"]
    assert histogram.x_ticks[-1].text == "more"
    assert 40 < histogram.line < 70  # percent


def test_heights_go_with_the_root_of_the_share(scores):
    bars = Histogram.of(scores, None, LINE).bars
    shares = np.array([counted(bar) for bar in bars]) / len(scores)
    assert_allclose([bar.height for bar in bars], 100 * np.sqrt(shares / shares.max()))


def test_y_ticks_stand_at_the_height_of_a_bar_of_that_share(scores):
    histogram = Histogram.of(scores, None, LINE)
    top = max(map(counted, histogram.bars)) / len(scores)
    for tick in histogram.y_ticks:
        assert_allclose(tick.place, 100 * np.sqrt(float(tick.text.split()[0]) / 100 / top))
    assert len(histogram.y_ticks) >= 3


def test_training_rows_are_outlined_as_shares_of_their_own(scores):
    doubled = Histogram.of(scores, np.concatenate([scores, scores]), LINE)
    drawn = {round(100 - float(height), 1) for height in re.findall(r"V([\d.]+)H", doubled.outline)} - {0.0}
    assert drawn == {round(bar.height, 1) for bar in doubled.bars}


@pytest.mark.parametrize("line", [None, 0.0, 5.0, -5.0])
@pytest.mark.parametrize("scores", [[0.0], [1.0, 1.0], [-1e9, 1e9]], ids=str)
def test_few_or_equal_scores_can_be_drawn(scores, line):
    bars = Histogram.of(np.array(scores), np.array(scores), line).bars
    assert sum(counted(bar) for bar in bars) == len(scores)
    assert all(0 <= bar.left <= 100 and 0 < bar.height <= 100 and 0 < bar.width <= 100 for bar in bars)


def test_ticks_are_round_and_stand_at_their_numbers():
    axis = Axis(-0.7, 12.3)
    assert [tick.text for tick in axis.ticks(6)] == ["0", "2.5", "5", "7.5", "10"]
    assert_allclose([tick.place for tick in axis.ticks(6)], 100 * (np.arange(0, 12, 2.5) + 0.7) / 13)


def test_a_few_values_far_off_do_not_squeeze_the_axis(rng):
    values = np.concatenate([rng.normal(size=1000), [1e9]])
    axis = Axis.over(values, 0.05)
    assert axis.high < 10
    assert axis.beyond(values).sum() == 1
    assert axis.places(values).max() == 100


def places_of(path):
    return np.array([step.removesuffix("h0").split() for step in path.split("M")[1:]], dtype=float)


def judged(rows, scores, odd):
    frame = pd.DataFrame(index=range(len(scores)))
    return Judged(rows, frame, frame, scores, np.full(len(scores), 0.5), odd)


def test_the_map_has_every_row_once_and_the_flagged_ones_apart(of_numbers, numbers):
    scores = of_numbers.anomaly_score(numbers)
    odd = scores > np.quantile(scores, 0.9)
    listed = np.argsort(-scores)[:5]
    drawn = Scatter.of(of_numbers, judged(numbers, scores, odd), 5)
    assert (drawn.n_dots, drawn.n_odd) == ((~odd).sum(), odd.sum())
    assert len(places_of(drawn.dots)) == (~odd).sum()
    assert len(places_of(drawn.odd_dots)) == odd.sum() - len(listed)
    assert [mark.row for mark in drawn.marks] == (listed + 1)[::-1].tolist()


def test_of_very_many_rows_the_map_has_some_and_the_oddest_of_the_flagged_ones(of_numbers, numbers):
    rows = np.tile(numbers, (40, 1))
    scores = np.arange(len(rows), dtype=float)
    drawn = Scatter.of(of_numbers, judged(rows, scores, scores >= 6000), 1)
    assert (drawn.n_dots, drawn.n_odd) == (1000, 1000)
    few = Scatter.of(of_numbers, judged(rows, scores, scores >= 7990), 1)
    assert (few.n_dots, few.n_odd) == (1990, 10)
    assert few.marks[0].remark.startswith("row 8000: 7,999")


def test_rows_of_one_code_lie_on_one_another_and_unlike_ones_apart(of_numbers, numbers):
    rows = np.concatenate([numbers, numbers])
    scores = np.zeros(len(rows))
    drawn = Scatter.of(of_numbers, judged(rows, scores, scores > 0), 1)
    places = places_of(drawn.dots)
    assert_allclose(places[: len(numbers)], places[len(numbers) :])
    codes = of_numbers.transform(numbers) / of_numbers.latents_["posterior_std"].to_numpy()
    _, _, directions = np.linalg.svd(codes - codes.mean(axis=0))
    along = codes @ directions[0]
    inner = (places[: len(numbers), 0] > 0) & (places[: len(numbers), 0] < 100)
    assert abs(np.corrcoef(along[inner], places[: len(numbers)][inner, 0])[0, 1]) > 0.999


def test_equally_odd_rows_are_in_the_order_of_the_table(numbers):
    scores = np.array([1.0, 3, 2, 3, 1])
    assert judged(numbers[:5], scores, scores > 2).oddest(4).tolist() == [1, 3, 2, 0]
