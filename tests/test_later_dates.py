"""A date that runs on is not anomalous for being later than those of training; an error of a year is."""

import json

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataWarning

MONDAY = "2024-05-06"
NOT_JUDGED = "dates later than in training, whose elapsed time is not judged: 'when' \\(training ends on 2024-05-12 "


def week(start=MONDAY, seed=0, n=1500):
    """A log of one week from a Monday on: on weekends, and at night, there is little of kind "a"."""
    rng = np.random.default_rng(seed)
    when = pd.Timestamp(start) + pd.to_timedelta(np.sort(rng.random(n)) * 7 * 86_400, unit="s").floor("s")
    is_quiet = (when.day_of_week >= 5) | (when.hour < 6)
    size = rng.lognormal(3, 1, n)
    kind = pd.Series(np.where(rng.random(n) < np.where(is_quiet, 0.02, 0.9), "a", "b"))
    return pd.DataFrame({"when": when, "kind": kind, "size": size, "took": 2 * size + rng.normal(size=n)})


def moved(rows, by):
    return rows.assign(when=rows["when"] + pd.Timedelta(by))


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(novelty=True, random_state=0).fit(week())


@pytest.mark.parametrize("weeks", [1, 5, 50])
def test_weeks_after_training_are_scored_like_the_week_of_training(detector, weeks):
    new = week(seed=1)
    with pytest.warns(DataWarning, match=NOT_JUDGED):
        later = detector.p_values(moved(new, f"{7 * weeks}D"))
    assert np.isclose(later, detector.p_values(new)).mean() > 0.99  # all but minutes at the end of the week
    assert 0.02 < (later < 0.05).mean() < 0.09


def test_the_parts_of_a_later_date_are_judged(detector):
    day = week("2024-05-20", seed=1)
    night = day.assign(when=day["when"].dt.normalize() + pd.Timedelta("3h"), kind="a")
    with pytest.warns(DataWarning, match=NOT_JUDGED):
        assert detector.anomaly_score(night).mean() > detector.anomaly_score(day).mean() + 1


@pytest.mark.parametrize("when", ["2204-05-07", "1900-05-07", "2026-01-01"])
def test_a_date_that_is_far_from_training_counts(detector, when):
    new = week(seed=1, n=20)
    wrong = new.assign(when=pd.Timestamp(when))
    assert (detector.anomaly_score(wrong) > detector.anomaly_score(new) + 10).all()
    assert detector.reasons(wrong).str.startswith(f"when {when}").all()


@pytest.mark.parametrize(
    "year", [2025, pytest.param(2026, marks=pytest.mark.slow), pytest.param(2204, marks=pytest.mark.slow), 1900]
)
def test_a_wrong_year_in_the_training_table_leads(year):
    rows = week()
    rows.loc[700, "when"] = rows.loc[700, "when"].replace(year=year)
    assert VAEDetector(random_state=0).fit(rows).anomaly_score(rows).argmax() == 700


def cells_of(dates, trained):
    return Schema.learn(pd.DataFrame({"d": trained})).encode(
        pd.DataFrame({"d": pd.to_datetime(dates, format="ISO8601")})
    )


def test_a_wrong_year_in_training_does_not_widen_the_range():
    trained = pd.Series(pd.date_range("2024-01-01", periods=200, freq="D"))
    dirty = trained.copy()
    dirty[100], dirty[101] = pd.Timestamp("2204-01-01"), pd.Timestamp("1900-01-01")
    for dates in (trained, dirty):
        column = Schema.learn(pd.DataFrame({"d": dates})).columns[0]
        ends = column.decode([np.array([column.first, column.last], float)])
        assert ends.tolist() == [trained.iloc[0], trained.iloc[-1]]
    with_strays = cells_of(["2024-07-18", "2024-07-25", "2024-08-01", "2204-01-01"], dirty)
    assert with_strays[1, 0] == with_strays[2, 0]
    assert with_strays[3, 0] > 10


def test_a_later_date_is_carried_back_by_whole_weeks():
    trained = pd.Series(pd.date_range("2024-01-01 00:00", periods=500, freq="h"))
    own, later = (cells_of([day, f"{day} 07:00"], trained) for day in ("2024-01-17", "2024-03-13"))
    np.testing.assert_array_equal(own, later)
    assert (cells_of(["2023-12-31"], trained)[0, 0]) < cells_of(["2024-01-01"], trained)[0, 0]  # earlier ones are not


def test_in_a_table_of_few_days_no_weekday_and_hour_is_unusual():
    hours = pd.Series(pd.date_range("2024-01-01 09:00", periods=30, freq="4min"))
    days = pd.Series(pd.date_range("2024-01-01", periods=5, freq="D"))
    assert [len(Schema.learn(pd.DataFrame({"d": dates})).cells) for dates in (hours, days)] == [1, 1]
    two_weeks = pd.date_range("2024-01-01 09:00", periods=30, freq="12h")
    assert len(Schema.learn(pd.DataFrame({"d": two_weeks})).cells) == 3


def test_times_between_later_dates_are_judged():
    rng = np.random.default_rng(0)
    ordered = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 100, 300), unit="D")
    rows = pd.DataFrame({"sent": ordered + pd.to_timedelta(rng.integers(1, 4, 300), unit="D"), "ordered": ordered})
    schema = Schema.learn(rows)
    later = rows + pd.Timedelta("140D")
    np.testing.assert_array_equal(schema.encode(later)[:, 2], schema.encode(rows)[:, 2])
    again = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    np.testing.assert_array_equal(again.encode(later), schema.encode(later))
