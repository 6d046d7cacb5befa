import datetime

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError, DataWarning

TRAINED = pd.DataFrame(
    {
        "age": [30, 41, 55, 62],
        "city": ["Rome", "Oslo", None, "Rome"],
        "member": [True, False, True, True],
        "flag": [0, 1, 1, 0],
        "when": pd.to_datetime(["2024-01-01", "2024-02-01", None, "2024-03-05"]),
        "size": pd.Categorical(["S", "M", "S", "S"]),
        "grade": pd.Categorical([1, 2, 1, 2]),
        "wait": pd.to_timedelta([1, 2, 5, 9], unit="s"),
    }
)
NUMBERS, TEXT = [7.5, 8, 9, 1], ["abc", "d", "e", "f"]
DATES = pd.to_datetime(["2024-01-01"] * 4)


@pytest.fixture(scope="module")
def schema():
    return Schema.learn(TRAINED)


def with_column(name, values):
    return TRAINED.assign(**{name: values})


RETYPED = [
    ("age", DATES, "held numbers in fit; found date 2024-01-01 00:00:00 in row 1"),
    ("age", TRAINED["wait"], "held numbers in fit; found duration 0 days 00:00:01 in row 1"),
    ("city", NUMBERS, "held text in fit; found number 7.5 in row 1"),
    ("city", ["Rome", None, 3, "x"], "held text in fit; found number 3 in row 3"),
    ("city", [None, True, False, None], "held text in fit; found truth value True in row 2"),
    ("city", DATES, "held text in fit; found date 2024-01-01"),
    ("size", NUMBERS, "held text in fit; found number 7.5 in row 1"),
    ("grade", TEXT, "held numbers in fit; found text 'abc' in row 1"),
    ("member", DATES, "held truth values (or 0 and 1) in fit; found date 2024-01-01 00:00:00 in row 1"),
    ("flag", [0, 1, DATES[0], None], "found date 2024-01-01 00:00:00 in row 3"),
    ("when", NUMBERS, "held dates in fit; found number 7.5 in row 1"),
    ("when", [DATES[0], None, 7, DATES[0]], "held dates in fit; found number 7 in row 3"),
    ("wait", NUMBERS, "held durations in fit; found number 7.5 in row 1"),
    ("grade", ["x" * 99] * 4, "found text '" + "x" * 18 + "…" + "x" * 19 + "' in row 1"),
]


@pytest.mark.parametrize("name, values, sentence", RETYPED)
def test_a_retyped_column_is_one_sentence_and_its_remedy(schema, name, values, sentence):
    with pytest.raises(DataError) as error:
        schema.encode(with_column(name, values))
    assert str(error.value).startswith(f"Column {name!r} ")
    assert sentence in str(error.value)
    assert str(error.value).endswith("Convert it, or refit with the new table.")


def test_the_whole_sentence(schema):
    with pytest.raises(DataError) as error:
        schema.encode(with_column("age", [30, 41, DATES[0], 1]))
    assert str(error.value) == (
        "Column 'age' held numbers in fit; found date 2024-01-01 00:00:00 in row 3 (the first row is 1). "
        "Convert it, or refit with the new table."
    )


UNREADABLE = [
    ("age", [30, 41, "12.0 oz", 1], 2),
    ("age", pd.Categorical(["1", "2", "3", "x"]), 3),
    ("member", [True, False, "yes", True], 2),
    ("flag", ["0", "1", "yes", None], 2),
    ("when", ["2024-01-01", None, "2024-02-30", "2024-03-05"], 2),
    ("wait", ["long", None, None, None], 0),
]


@pytest.mark.parametrize("name, values, row", UNREADABLE)
def test_text_that_is_no_such_value_is_an_unreadable_cell(schema, name, values, row):
    matrix, column = schema.encode(with_column(name, values)), schema.names.index(name)
    unreadable = np.isposinf(matrix)
    first, *parts = [index for index, cell in enumerate(schema.cells) if cell.column == column]
    assert np.argwhere(unreadable).tolist() == [[row, first]]
    assert np.isnan(matrix[row, parts]).all()  # of a date, which is charged once
    assert schema.decode(matrix)[name].isna()[row]
    assert not schema.missing(matrix)[row, column]


def test_truth_values_may_be_words_beside_an_unreadable_one(schema):
    cell = next(index for index, cell in enumerate(schema.cells) if schema.names[cell.column] == "member")
    matrix = schema.encode(with_column("member", ["True", "FALSE", "true", "?"]))
    assert matrix[:, cell].tolist() == [1.0, 0.0, 1.0, np.inf]


@pytest.mark.parametrize("values", [[1.0, np.inf, 2.0, 3.0], ["1", "inf", "2", "3"], [1.0, "oz", np.inf, 2.0]])
def test_an_infinite_number_stays_an_error(schema, values):
    with pytest.raises(DataError, match="Column 'age' is infinite in row"):
        schema.encode(with_column("age", values))


SAME = [
    ("age", TRAINED["age"].astype(float)),
    ("age", TRAINED["age"].astype("Int64")),
    ("age", TRAINED["age"].astype(str)),
    ("age", TRAINED["age"].astype(object)),
    ("age", pd.Categorical(TRAINED["age"])),
    ("flag", TRAINED["flag"].astype(bool)),
    ("flag", TRAINED["flag"].astype(float)),
    ("member", TRAINED["member"].astype(int)),
    ("member", TRAINED["member"].astype("boolean")),
    ("city", pd.Categorical(TRAINED["city"], ["Paris", "Oslo", "Rome"])),
    ("city", TRAINED["city"].astype("string")),
    ("size", TRAINED["size"].astype(str)),
    ("grade", TRAINED["grade"].astype(float)),
    ("when", TRAINED["when"].astype("datetime64[s]")),
    ("when", ["2024-01-01", "2024-02-01", None, "2024-03-05"]),
    ("when", [datetime.date(2024, 1, 1), datetime.date(2024, 2, 1), None, datetime.date(2024, 3, 5)]),
    ("wait", TRAINED["wait"].astype("timedelta64[ms]")),
]


@pytest.mark.parametrize("name, values", SAME)
def test_the_same_values_in_another_type_are_the_same(schema, name, values):
    np.testing.assert_array_equal(schema.encode(with_column(name, values)), schema.encode(TRAINED))


@pytest.mark.parametrize("name", TRAINED.columns)
@pytest.mark.parametrize("dtype", ["float64", "object", "datetime64[ns]", "Int64", "string", "category", "boolean"])
def test_a_column_without_values_is_missing_whatever_its_type(schema, name, dtype):
    matrix = schema.encode(with_column(name, pd.Series([None] * 4, dtype=dtype)))
    missing = np.isnan(matrix).all(axis=0)
    columns = np.array([schema.names[cell.column] for cell in schema.cells])
    assert set(columns[missing]) == {name}
    assert missing.sum() == (columns == name).sum()


def test_reordered_columns_are_put_right(schema):
    np.testing.assert_array_equal(schema.encode(TRAINED[TRAINED.columns[::-1]]), schema.encode(TRAINED))


def test_extra_columns_are_ignored_with_a_warning_that_names_them(schema):
    with pytest.warns(DataWarning, match="ignored: 'new', 7") as warned:
        matrix = schema.encode(TRAINED.assign(new=1, **{"x": 2}).rename(columns={"x": 7}))
    assert len(warned) == 1
    np.testing.assert_array_equal(matrix, schema.encode(TRAINED))


def test_columns_left_out_in_fit_are_not_extra():
    frame = pd.DataFrame({"x": [1.0, 2.0], "e": [None, None]})
    with pytest.warns(DataWarning):
        schema = Schema.learn(frame)
    schema.encode(frame)
    schema.encode(frame[["x"]])
    schema.encode(frame.assign(e=1.0))


def test_missing_columns_are_listed_with_what_there_is(schema):
    with pytest.raises(DataError) as error:
        schema.encode(TRAINED.rename(columns={"age": "Age", "city": "town", "when": "wen"}))
    message = str(error.value)
    assert "'age' (did you mean 'Age'?)" in message
    assert "'city'," in message
    assert "'when' (did you mean 'wen'?)" in message
    assert "It has: 'Age', 'town', 'member'" in message


def test_a_long_list_of_columns_is_cut():
    schema = Schema.learn(pd.DataFrame(np.eye(3, 100) + 0.5))
    with pytest.raises(DataError, match=r"and 80 more\. It has: none\."):
        schema.encode(pd.DataFrame(index=range(3)))


def test_no_rows_are_no_error(schema):
    assert schema.encode(TRAINED.iloc[:0]).shape == (0, len(schema.cells))
    assert schema.decode(np.empty((0, len(schema.cells)))).shape == (0, len(schema.names))


def test_the_index_plays_no_part(schema):
    labelled = TRAINED.set_axis(["p", "q", "p", "r"], axis=0)
    np.testing.assert_array_equal(schema.encode(labelled), schema.encode(TRAINED))
    np.testing.assert_array_equal(Schema.learn(labelled).encode(labelled), schema.encode(TRAINED))
    with pytest.raises(DataError, match="in row 3"):
        schema.encode(labelled.assign(age=[1, 2, DATES[0], 3]))
