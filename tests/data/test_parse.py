from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from vae_anomaly.data.parse import as_array, as_frame, is_frame
from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError

CELLS = {"x": [0.5, None, 2.0], "n": [1, 2, 5], "t": ["a", "b", None], "b": [True, None, False]}
PANDAS = pd.DataFrame(CELLS)
RECORDS = [dict(zip(CELLS, row, strict=True)) for row in zip(*CELLS.values(), strict=True)]
TABLES = [PANDAS, pl.DataFrame(CELLS), pl.LazyFrame(CELLS), pa.table(CELLS), CELLS, RECORDS]
REFUSED_NAMES = [
    (("a", "a"), "'a'"),
    ((1.5, "a"), "1.5"),
    ((True, "a"), "True"),
    ((("a", "b"), "a"), r"\('a', 'b'\)"),
    ((None, "a"), "None|nan"),
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{type(table).__module__}.{type(table).__name__}")
def test_every_make_of_table_gives_the_same_matrix(table):
    assert is_frame(table)
    frame = as_frame(table)
    schema = Schema.learn(PANDAS)
    np.testing.assert_array_equal(schema.encode(frame), schema.encode(PANDAS))
    np.testing.assert_array_equal(Schema.learn(frame).encode(frame), schema.encode(PANDAS))


@pytest.mark.parametrize("other", [np.zeros((2, 2)), [[1, 2]], pd.Series([1]), pl.Series([1]), [], None, 3])
def test_what_has_no_column_names_is_no_frame(other):
    assert not is_frame(other)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("table.csv", r"'table.csv' is text, not a table.*read_table\('table.csv'\)"),
        (Path("table.csv"), r"read_table\('table.csv'\)"),
        (np.arange(3), r"1D array instead, of 3 values.*X.reshape\(-1, 1\) makes a column"),
        (pd.Series([1, 2]), r"X.to_frame\(\) makes a column"),
        ([[1.0, "x"]], "hold numbers only; found 'x'. Give a frame or a list of records"),
        (np.array([["1", "x"]]), "hold numbers only; found 'x'. Give"),
        ([1.0, 2.0], "1D array instead. Reshape your data: a table has rows and columns"),
        (pl.Series([1.0]), "1D array instead. Reshape"),
        (3, "scalar array instead. Reshape"),
        ([{"a": 1.0}], "fitted to rows without column names. Give rows of numbers"),
        (pd.DataFrame({"a": ["x"]}), "fitted to rows without column names. Give rows of numbers"),
    ],
    ids=[
        "file",
        "path",
        "1-D array",
        "column",
        "text",
        "array of text",
        "list",
        "series",
        "number",
        "records",
        "frame",
    ],
)
def test_rows_that_are_no_table_are_refused_in_one_sentence(rows, said):
    with pytest.raises(DataError, match=said) as error:
        as_array(rows)
    assert "\n" not in str(error.value)


def test_columns_of_unequal_length_are_no_table():
    with pytest.raises(DataError, match="Give lists of equal length"):
        as_frame({"a": [1, 2], "b": [1]})


@pytest.mark.parametrize("other", [pd.Series([1]), [[1, 2]], 3, "table.csv"])
def test_what_is_no_table_is_an_error_that_names_its_type(other):
    with pytest.raises(DataError, match=type(other).__name__):
        as_frame(other)


def test_a_pandas_frame_is_taken_as_it_is():
    assert as_frame(PANDAS) is PANDAS


def test_values_under_a_numpy_mask_are_missing():
    masked = np.ma.array([[1, 2], [3, 9999]], mask=[[False, False], [False, True]])
    np.testing.assert_array_equal(as_frame(masked), [[1, 2], [3, np.nan]])
    text = np.ma.array([["a", "b"]], mask=[[False, True]])
    assert as_frame(text).isna().to_numpy().tolist() == [[False, True]]


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), ()])
def test_an_array_that_is_no_matrix_is_an_error(shape):
    with pytest.raises(DataError, match=f"has {len(shape)}"):
        as_frame(np.zeros(shape))


@pytest.mark.parametrize("names, fault", REFUSED_NAMES)
def test_column_names_are_text_or_whole_numbers_and_differ(names, fault):
    frame = pd.DataFrame([[1, 2]], columns=pd.Index(list(names), dtype=object, tupleize_cols=False))
    with pytest.raises(DataError, match=fault):
        as_frame(frame)


def test_numpy_names_become_plain_ones():
    frame = pd.DataFrame([[1.0, 2.0]], columns=pd.Index([np.int64(3), np.str_("a")], dtype=object))
    names = Schema.learn(as_frame(frame)).names
    assert [type(name) for name in names] == [int, str]
