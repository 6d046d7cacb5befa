"""Columns of every type become numbers on an axis, or names of levels."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose

from vae_anomaly import VAEDetector
from vae_anomaly.plots.axis_values import columns_in_use, observed_rows

NUMBERS = np.array([3.0, np.nan, -1.5, 12.0] * 5)
WHOLE = np.array([3, 0, -1, 12] * 5)
DAYS = np.array([18262.0, np.nan, 18263.0, 18322.0] * 5)  # since 1970: the first is the first day of 2020
STAMPS = pd.Series(pd.to_datetime(DAYS, unit="D"))
STORED = {
    "float": (NUMBERS, NUMBERS),
    "float32": (NUMBERS.astype("float32"), NUMBERS),
    "whole": (WHOLE, WHOLE),
    "nullable": (pd.Series(WHOLE, dtype="Int64").mask(WHOLE == 0), np.where(WHOLE == 0, np.nan, WHOLE)),
    "arrow": (pd.Series(NUMBERS, dtype="double[pyarrow]"), NUMBERS),
    "text": ([None if np.isnan(number) else f"{number}" for number in NUMBERS], NUMBERS),
    "decimal": ([None if np.isnan(number) else Decimal(str(number)) for number in NUMBERS], NUMBERS),
    "duration": (pd.to_timedelta(NUMBERS, unit="s"), NUMBERS),
    "stamps": (STAMPS, DAYS),
    "zoned": (STAMPS.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"), DAYS),
    "periods": (STAMPS.dt.to_period("D"), DAYS),
    "text of dates": (STAMPS.dt.strftime("%Y-%m-%d"), DAYS),
    "dates": ([None if gap else stamp.date() for stamp, gap in zip(STAMPS, STAMPS.isna(), strict=True)], DAYS),
    "times of day": (["06:00", None, "12:00", "18:00"] * 5, np.array([0.25, np.nan, 0.5, 0.75] * 5)),
    "long ago": (
        [date(1500, 1, 1), date(1600, 1, 1)] * 10,
        [(date(year, 1, 1) - date(1970, 1, 1)).days for year in (1500, 1600)] * 10,
    ),
}


def plotted(values):
    table = pd.DataFrame({"column": values, "other": np.linspace(0, 1, 20) ** 2})
    model = VAEDetector(max_iter=1, random_state=0).fit(table)
    return columns_in_use(model)[0], observed_rows(model, table)


@pytest.mark.parametrize("values, expected", STORED.values(), ids=STORED)
def test_numbers_durations_and_dates_become_numbers(values, expected):
    column, table = plotted(values)
    assert not column.is_level
    assert_allclose(column.numbers(table), expected, rtol=1e-6)


@pytest.mark.parametrize("values", [["a", None, "b", "a"] * 5, pd.Categorical(["a", None, "b", "a"] * 5)], ids=type)
def test_categories_become_names(values):
    column, table = plotted(values)
    assert column.is_level
    assert column.levels(table).tolist() == ["a", None, "b", "a"] * 5


@pytest.mark.parametrize("values, names", [([True, False], ["True", "False"]), ([0, 1], ["0", "1"])], ids=str)
def test_flags_become_names(values, names):
    column, table = plotted(10 * values)
    assert column.levels(table).tolist() == 10 * names


def test_a_category_that_training_did_not_see_is_missing(model, table):
    unseen = table.assign(build="huge")
    build = next(column for column in columns_in_use(model) if column.name == "build")
    assert set(build.levels(observed_rows(model, unseen))) == {None}


def test_frames_and_arrays_of_every_kind_give_the_same_rows(model, table, of_numbers, numbers):
    pd.testing.assert_frame_equal(observed_rows(model, pl.from_pandas(table)), observed_rows(model, table))
    hidden = np.ma.masked_array(numbers, numbers > 1)
    assert_allclose(observed_rows(of_numbers, numbers.tolist()), numbers)
    assert_allclose(observed_rows(of_numbers, hidden), np.where(numbers > 1, np.nan, numbers))
    frame = pd.DataFrame(numbers, columns=list("abcde"))
    named = VAEDetector(max_iter=1, random_state=0).fit(frame)
    assert_allclose(observed_rows(named, frame[list("edcba")]), numbers)
