"""Rows that repeat an earlier row: which are found, which count as natural, and in what time."""

import time
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest

from vae_anomaly import find_duplicates
from vae_anomaly.data.duplicates import describe_duplicates
from vae_anomaly.errors import DataError


def bills(rng, n=300):
    """Bills that differ in amount and day; vendor decides category, and the number is an identifier."""
    vendor = rng.integers(0, 12, n)
    return pd.DataFrame(
        {
            "number": [f"B-{i:05}" for i in rng.permutation(n)],
            "vendor": np.array([f"vendor {i}" for i in range(12)])[vendor],
            "category": np.array(["rent", "meals", "travel"])[vendor % 3],
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
            "amount": rng.lognormal(4, 1, n).round(2),
        }
    )


def with_repeats(frame, rows):
    """The table followed by some of its rows, and the pairs of later and earlier position."""
    repeated = pd.concat([frame, frame.iloc[rows]], ignore_index=True)
    return repeated, {len(frame) + i: row for i, row in enumerate(rows)}


def found(frame, **options):
    return find_duplicates(frame, **options).reset_index(drop=True).dropna().to_dict()


def test_exact_repeats_are_found_and_nothing_else(rng):
    frame, pairs = with_repeats(bills(rng), [5, 17, 5])
    assert found(frame) == pairs
    assert found(frame[:300]) == {}


def test_repeats_may_differ_in_identifiers_and_in_what_is_ignored(rng):
    frame, pairs = with_repeats(bills(rng), [5, 17])
    frame.loc[300:, "number"] = ["B-90001", "B-90002"]
    assert found(frame) == pairs  # text of which nearly every value is distinct
    assert found(frame.assign(number=np.arange(302) * 7 + 10**6)) == pairs  # whole numbers of the same kind
    frame.loc[300:, "category"] = "new"
    assert found(frame) == {}
    assert found(frame, ignore=["category"]) == pairs


@pytest.mark.parametrize(
    "column",
    [
        [np.nan, 1.0, np.nan],
        [None, "a", np.nan],
        [pd.NaT, pd.Timestamp("2024-01-01"), None],
        pd.array([None, 1, None], dtype="Int64"),
        [0.0, 1.0, -0.0],
        np.array([1, 2, 1.0], dtype=object),
        np.array([1, "1", 1.0], dtype=object),
        [2**60, 2**60 + 1, 2**60],
        pd.Categorical(["b", "a", "b"], categories=["a", "b", "c"]),
        pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01"]).tz_localize("Europe/Berlin"),
        [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 1)],
        pd.to_timedelta(["1s", "2s", "1s"]),
        [True, False, True],
        pd.array([True, None, True], dtype="boolean"),
    ],
    ids=str,
)
def test_equal_cells_are_equal_in_every_kind_of_column(column):
    """The first and the third value are equal, the second is not."""
    frame = pd.DataFrame({"a": column, "b": 0.5})
    assert found(pd.concat([frame[:1], frame[2:]])) == {1: 0}
    assert found(pd.concat([frame[:1], frame[1:2]])) == {}


def test_results_have_the_index_of_a_frame_and_positions_from_zero(rng):
    frame, _ = with_repeats(bills(rng), [5])
    named = frame.set_axis([f"row {i}" for i in range(301)])
    duplicate_of = find_duplicates(named)
    assert (duplicate_of.name, duplicate_of.dtype) == ("duplicate_of", "Int64")
    assert duplicate_of.dropna().to_dict() == {"row 300": 5}


def test_arrays_and_polars_frames_are_tables_too(rng):
    numbers = rng.normal(size=(50, 4))
    numbers[40] = numbers[3]
    numbers[7, 1] = np.nan
    numbers[30] = numbers[7]
    assert found(numbers) == {40: 3, 30: 7}
    assert found(pl.DataFrame(numbers)) == {40: 3, 30: 7}


def flags(rng, n):
    return pd.DataFrame(rng.random((n, 30)) < 0.1)


def categories(rng, n):
    return pd.DataFrame({f"c{i}": rng.choice(10, n, p=rng.dirichlet(np.ones(10))) for i in range(5)})


def tied_categories(rng, n):
    """Three independent choices, each of which fills three columns: no two rows differ in one column only."""
    choices = rng.integers(0, 50, (n, 3))
    return pd.DataFrame({f"c{i}{j}": choices[:, i] * (j + 1) % 53 for i in range(3) for j in range(3)})


def rounded(rng, n):
    return pd.DataFrame(rng.normal(size=(n, 3)).round(1))


@pytest.mark.parametrize("natural", [flags, categories, tied_categories, rounded], ids=lambda make: make.__name__)
@pytest.mark.parametrize("n", [400, 3000])
def test_repeats_that_chance_explains_are_not_reported(rng, natural, n):
    tables = [natural(rng, n) for _ in range(5)]
    assert sum(table.duplicated().sum() for table in tables) > 0
    assert [found(table) for table in tables] == [{}] * 5


def test_repeats_are_reported_although_other_rows_are_close(rng):
    """Thousands of rows differ in the amount alone, which rarely agrees by chance."""
    frame = bills(rng, 3000).assign(amount=lambda table: table["amount"].round())
    close = pd.concat([frame.iloc[:3]] * 2).assign(amount=0.5)  # three pairs that differ in the amount, and 3 repeats
    mixed = pd.concat([frame, close, frame.iloc[10:30]], ignore_index=True)
    repeats = find_duplicates(mixed)
    assert repeats.iloc[-20:].tolist() == list(range(10, 30))


def test_a_table_appended_to_itself_is_reported_whole(rng):
    frame = bills(rng)
    assert found(pd.concat([frame, frame])) == {300 + i: i for i in range(300)}


def test_repeats_are_found_in_a_table_of_many_columns(rng):
    frame, pairs = with_repeats(pd.DataFrame(rng.normal(size=(50, 1200))), [7])
    assert found(frame) == pairs
    sparse = pd.DataFrame(rng.random((600, 1200)) < 0.002)
    assert sparse.duplicated().sum() > 0
    assert found(sparse) == {}


def test_exact_repeats_are_found_where_the_other_columns_repeat_naturally(rng):
    """The identifiers alone distinguish the rows: those that agree in them too are still duplicates."""
    frame, pairs = with_repeats(categories(rng, 1000).assign(code=[f"x{i}" for i in range(1000)]), [3, 4])
    assert found(frame) == pairs


def test_the_sentence_counts_rows_from_one_and_names_the_columns_that_differ(rng):
    frame, _ = with_repeats(bills(rng), [11, 17])
    exact = "2 rows repeat an earlier row; the first: row 301 repeats row 12"
    assert describe_duplicates(frame, find_duplicates(frame)) == exact
    frame.loc[301, "number"] = "B-90002"
    but_for = "2 rows repeat an earlier row in every column but 'number'; the first: row 301 repeats row 12"
    assert describe_duplicates(frame, find_duplicates(frame)) == but_for
    assert describe_duplicates(frame[:300], find_duplicates(frame[:300])) == ""


def test_the_table_is_not_changed(rng):
    frame, _ = with_repeats(bills(rng), [11])
    before = frame.copy(deep=True)
    find_duplicates(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_errors_name_the_column_and_the_remedy():
    frame = pd.DataFrame({"a": [1, 2], "b": [[1], [2]]})
    with pytest.raises(DataError, match="no column 'c' to ignore. It has: 'a', 'b'"):
        find_duplicates(frame, ignore=["c"])
    with pytest.raises(DataError, match="Column 'b' has list"):
        find_duplicates(frame)


@pytest.mark.slow
def test_a_million_rows_take_seconds(rng):
    frame = pd.DataFrame(rng.normal(size=(1_000_000, 20))).assign(
        name=[f"item {i}" for i in range(1_000_000)], kind=rng.choice(["a", "b", "c"], 1_000_000)
    )
    frame.iloc[-10:] = frame.iloc[:10]
    begin = time.perf_counter()
    assert found(frame) == {999_990 + i: i for i in range(10)}
    assert time.perf_counter() - begin < 20
