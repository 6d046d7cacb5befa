import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema
from vae_anomaly.monitor.drift import SCORE, find_drift
from vae_anomaly.monitor.two_sample import compare_codes, compare_missing, compare_numbers, holm

KINDS = ["number", "flag", "category", "date", "number", "number"]


def make_table(rng, rows):
    return pd.DataFrame(
        {
            "height": rng.normal(170, 10, rows),
            "adult": rng.random(rows) < 0.3,
            "service": rng.choice(["http", "smtp", "ftp"], rows, p=[0.6, 0.3, 0.1]),
            "seen": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 24 * 364, rows), unit="h"),
            "gaps": np.where(rng.random(rows) < 0.05, np.nan, rng.normal(size=rows)),
            "claims": np.where(rng.random(rows) < 0.7, 0.0, rng.exponential(1000, rows)),
        }
    )


@pytest.fixture
def judge(rng):
    """``judge(change)``: drift of 1,000 rows against 2,000, ``change`` applied to their table and to their scores."""
    old = make_table(rng, 2000)
    schema = Schema.learn(old)

    def run(table=lambda table: table, scores=lambda scores: scores, level=0.05, ordered=True):
        new = table(make_table(rng, 1000))
        pair = rng.normal(size=2000), scores(rng.normal(size=len(new)))
        before, after = schema.encode(old), schema.encode(new, holds=False)
        return find_drift(schema, before, after, *pair, level=level, ordered=ordered, rng=rng)

    return run


def named(drift):
    return drift.columns.index[drift.columns["drifted"]].tolist()


def test_holm_steps_down_through_the_sorted_p_values():
    p_values = np.array([0.02, 0.5, 0.001, 0.3, 0.012])
    assert_allclose(holm(p_values), [0.06, 0.6, 0.005, 0.6, 0.048])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_holm_finds_any_false_one_at_most_at_the_level(rng):
    p_values = np.column_stack([rng.random((4000, 9)), rng.random(4000) * 1e-6])  # one true, found every time
    false = np.array([(holm(row)[:9] <= 0.1).any() for row in p_values])
    assert 0.07 < false.mean() <= 0.1 + 3 * np.sqrt(0.09 / 4000)


def rates(test, draw, repetitions=500):
    p_values = [found.p_value for _ in range(repetitions) if (found := test(*draw())) is not None]
    return np.mean(np.array(p_values) <= 0.05), 3 * np.sqrt(0.05 * 0.95 / repetitions)


@pytest.mark.parametrize("sizes", [(1, 1), (5, 7), (30, 400)])
def test_without_drift_numbers_alarm_at_most_at_the_level(rng, sizes):
    for draw in (rng.normal, lambda size: rng.integers(3, size=size)):
        rate, slack = rates(compare_numbers, lambda draw=draw: [draw(size=size).astype(float) for size in sizes])
        assert rate <= 0.05 + slack


@pytest.mark.parametrize("sizes", [(5, 7), (500, 40)])
@pytest.mark.parametrize(
    "shares", [[0.5, 0.5], [0.98, 0.02], [0.7, 0.2, 0.06, 0.03, 0.01], np.full(60, 1 / 60)], ids=len
)
def test_without_drift_codes_alarm_at_most_at_the_level(rng, sizes, shares):
    def draw():
        return [rng.choice(len(shares), size, p=shares) for size in sizes]

    rate, slack = rates(lambda old, new: compare_codes(old, new, len(shares)), draw)
    assert rate <= 0.05 + slack


@pytest.mark.parametrize("rows", [60, 5000], ids=["few new rows", "many new rows"])
def test_a_long_tail_of_values_that_training_happened_not_to_see_is_no_drift(rng, rows):
    def draw():
        old, new = (np.minimum(rng.zipf(1.6, size), 10**9) for size in (500, rows))
        levels = np.unique(old)
        places = np.searchsorted(levels, new).clip(max=len(levels) - 1)
        codes = np.where(levels[places] == new, places, len(levels))
        return np.searchsorted(levels, old), codes, len(levels)

    rate, slack = rates(compare_codes, draw)
    assert rate <= 0.05 + slack


def test_common_codes_are_compared_by_chi_squared():
    old, new = np.repeat([0, 1, 2], [50, 30, 20]), np.repeat([0, 1, 2], [30, 30, 40])
    found = compare_codes(old, new, 3)
    assert found.p_value == pytest.approx(stats.chi2_contingency([[50, 30, 20], [30, 30, 40]]).pvalue)
    assert (found.effect, found.location, found.before, found.after) == pytest.approx((0.2, 0, 0.5, 0.3))


def test_rare_codes_are_compared_exactly_and_together():
    old, new = np.repeat([0, 1, 2], [997, 2, 1]), np.repeat([0, 3], [97, 3])  # 3: never seen in training
    exact = stats.fisher_exact([[3, 997], [3, 97]]).pvalue
    assert compare_codes(old, new, 3).p_value == pytest.approx(exact)


def test_one_new_value_in_a_hundred_rows_of_two_is_found():
    old, new = np.repeat([0, 1], [2000, 2000]), np.repeat([0, 1, 2], [96, 98, 6])
    found = compare_codes(old, new, 2)
    assert found.p_value < 1e-6
    assert found.effect == pytest.approx(0.03)


@pytest.mark.parametrize("old, new", [([0, 0, 0], [0, 0]), ([0, 1, 2], [2, 3, 0])], ids=["one value", "all rare"])
def test_where_nothing_can_be_asked_nothing_is_found(old, new):
    assert compare_codes(np.array(old), np.array(new), 3).p_value == 1


def test_missing_cells_are_compared_exactly():
    old, new = np.arange(200) < 4, np.arange(100) < 15
    found = compare_missing(old, new)
    assert found.p_value == pytest.approx(stats.fisher_exact([[4, 196], [15, 85]]).pvalue)
    assert (found.before, found.after) == (0.02, 0.15)
    assert compare_missing(old[:0], new[20:]) is None


def test_the_effect_of_numbers_is_the_largest_difference_of_shares():
    found = compare_numbers(np.repeat([0.0, 1.0], [70, 30]), np.repeat([0.0, 1.0], [50, 50]))
    assert (found.effect, found.location, found.before, found.after) == pytest.approx((0.2, 0.0, 0.7, 0.5))


def test_without_drift_nothing_is_named(judge):
    drift = judge(level=1e-4)
    assert not drift.drifted
    assert (named(drift), drift.stream.alarm) == ([], None)
    assert set(drift.columns["message"]) == {"no drift found"}
    assert drift.columns.index.tolist() == ["height", "adult", "service", "seen", "gaps", "claims", SCORE]
    assert drift.columns["kind"].tolist() == [*KINDS, "score"]


CHANGES = {
    "height": (lambda t: t.assign(height=t["height"] + 6), r"shifted up by 0\.[56]\d deviations"),
    "spread": (lambda t: t.assign(height=(t["height"] - 170) * 2 + 170), r"spread (1\.[89]|2(\.\d)?) times as wide"),
    "flag": (
        lambda t: t.assign(adult=t["adult"] | (np.arange(1000) % 4 == 0)),
        r"True: [23]\d %, now 4\d % of the rows",
    ),
    "value": (lambda t: t.assign(service="ftp"), r"ftp: (9|1\d)(\.\d)? %, now 100 % of the rows"),
    "unseen": (
        lambda t: t.assign(service=t["service"].where(np.arange(1000) % 20 > 0, "gopher")),
        "values never seen in training: 0 %, now 5 % of the rows",
    ),
    "later": (lambda t: t.assign(seen=t["seen"] + pd.Timedelta("364D")), r"shifted later by 3\.\d deviations"),
    "weekday": (
        lambda t: t.assign(seen=t["seen"] - pd.to_timedelta(t["seen"].dt.day_of_week % 5 // 4, "D")),  # no Friday
        r"Friday: 1\d %, now 0 % of the rows",
    ),
    "hour": (
        lambda t: t.assign(seen=t["seen"].where(np.arange(1000) % 2 == 0, t["seen"].dt.normalize())),
        r"hour 0: [345](\.\d)? %, now 5\d % of the rows",
    ),
    "gaps": (
        lambda t: t.assign(gaps=t["gaps"].mask(np.arange(1000) % 5 == 0)),
        r"missing in [456](\.\d)? %, now 2\d % of the rows",
    ),
    "claims": (
        lambda t: t.assign(claims=t["claims"].where(np.arange(1000) % 4 > 0, np.linspace(1, 4000, 1000))),
        r"up to [\d.]+: [67]\d %, now [45]\d % of the rows",
    ),
}
COLUMNS = {
    "spread": "height",
    "flag": "adult",
    "value": "service",
    "unseen": "service",
    "later": "seen",
    "weekday": "seen",
    "hour": "seen",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_named_and_described(judge, change):
    table, sentence = CHANGES[change]
    column = COLUMNS.get(change, change)
    drift = judge(table)
    assert drift.drifted
    assert named(drift) == [column]
    assert re.fullmatch(sentence, drift.columns["message"][column]), drift.columns["message"][column]


def test_a_column_that_is_wholly_missing_from_now_on_is_named(judge):
    assert named(judge(lambda table: table.assign(gaps=np.nan))) == ["gaps"]


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda scores: scores - 1, r"rows are more anomalous: median from -?0\.\d+ to (0\.9|1)[\d.]* nats"),
        (lambda scores: scores + 1, r"rows are less anomalous: median from -?0\.\d+ to -(0\.9|1)[\d.]* nats"),
        (lambda scores: 3 * scores, r"anomaly score over -?\d\.\d+ nats: \d+ %, now \d+ % of the rows"),
    ],
)
def test_scores_that_move_are_named_and_the_stream_alarms(judge, change, sentence):
    drift = judge(scores=change)
    assert named(drift) == [SCORE]
    assert re.fullmatch(sentence, drift.columns["message"][SCORE]), drift.columns["message"][SCORE]
    assert drift.stream.alarm < 300


def test_a_change_along_the_rows_alarms_although_the_columns_are_what_they_were(judge):
    def sort_rows(scores):
        return np.sort(scores)

    assert named(judge(scores=sort_rows, level=1e-3)) == []
    assert judge(scores=sort_rows, level=1e-3).drifted
    unordered = judge(scores=sort_rows, level=1e-3, ordered=False)
    assert (unordered.stream, unordered.drifted) == (None, False)


def test_without_order_the_columns_have_the_whole_level(judge, rng):
    cells, scores = rng.normal(size=(50, 3)), rng.normal(size=50)
    schema = Schema.learn(pd.DataFrame(cells, columns=["a", "b", "c"]))
    new = cells + [0.6, 0, 0]
    found = [
        find_drift(schema, cells, new, scores, scores, level=0.05, ordered=ordered, rng=rng).columns
        for ordered in (True, False)
    ]
    assert_allclose(found[0]["adjusted_p_value"], np.minimum(1, 2 * found[1]["adjusted_p_value"]))
    assert 0 < found[1]["adjusted_p_value"]["a"] < 1
    assert_allclose(found[1]["adjusted_p_value"], holm(found[1]["p_value"].to_numpy()))


def test_cells_that_differ_in_the_last_bits_tie(rng):
    cells, scores = np.repeat(rng.normal(size=(10, 1)), 100, axis=0), rng.normal(size=1000)
    schema = Schema.learn(pd.DataFrame(cells, columns=["a"]))
    drift = find_drift(schema, cells.astype(np.float32), cells, scores, scores, level=0.05, ordered=False, rng=rng)
    assert drift.columns["p_value"].tolist() == [1.0, 1.0]


def test_a_column_of_two_tests_pays_for_both(judge, rng):
    cells = np.where(rng.random((300, 1)) < 0.2, np.nan, rng.normal(size=(300, 1)))
    schema, scores = Schema.learn(pd.DataFrame(cells, columns=["a"])), rng.normal(size=300)
    new = cells + 0.2
    found = find_drift(schema, cells, new, scores, scores, level=0.05, ordered=False, rng=rng).columns["p_value"]["a"]
    seen = [part[~np.isnan(part)].astype(np.float32) for part in (cells, new)]
    assert found == pytest.approx(2 * stats.ks_2samp(*seen, method="asymp").pvalue)


def test_pixels_become_brighter(rng):
    images = rng.random((400, 4)) / 2
    schema, scores = PixelSchema.learn(pd.DataFrame(images)), rng.normal(size=400)
    new = images + [0, 0.3, 0, 0]
    drift = find_drift(schema, images, new, scores, scores, level=0.05, ordered=False, rng=rng)
    assert named(drift) == [1]
    assert drift.columns["message"][1] == "shifted brighter by 2 deviations"
    assert set(drift.columns["kind"]) == {"pixel", "score"}


def test_the_least_shift_that_is_found_shrinks_with_the_rows(rng):
    cells = rng.normal(size=(4000, 1))
    schema = Schema.learn(pd.DataFrame(cells, columns=["a"]))
    p_values = [compare_numbers(cells[:, 0], rng.normal(0.3, 1, rows)).p_value for rows in (30, 300, 3000)]
    assert all(more < fewer for fewer, more in pairwise(p_values))
    assert schema.kinds == ["number"]
