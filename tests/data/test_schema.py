import datetime
import json
import re
import warnings
from datetime import time
from decimal import Decimal
from math import log

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_anomaly.data import columns
from vae_anomaly.data.columns import HOUR_OF_DAY, WEEKDAY, CodeCell, FlagCell, NumberCell
from vae_anomaly.data.parse import shape_of
from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError, DataWarning

N = 60
DAYS = [datetime.date(2024, 1, 1) + datetime.timedelta(k % 40) for k in range(N)]


def frame_of(**columns):
    return pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})


def kinds(schema, name):
    names = {NumberCell: "number", FlagCell: "flag", CodeCell: "code"}
    return [names[type(cell)] for cell in schema.cells if schema.names[cell.column] == name]


def round_trip(frame):
    schema = Schema.learn(frame)
    return schema.decode(schema.encode(frame))


def objects(*values):
    return pd.Series(values, dtype=object)


NUMBERS = {
    "int64": pd.Series([1, 2, 4]),
    "uint8": pd.Series([1, 2, 255], dtype="uint8"),
    "int64 extremes": pd.Series([-(2**63), 2**62, 2**63 - 2**10]),
    "float32": pd.Series([1.5, 2.25, np.nan], dtype="float32"),
    "float64": pd.Series([1.5, np.nan, 1e300]),
    "Int64": pd.Series([1, None, 3], dtype="Int64"),
    "Float64": pd.Series([1.5, None, 3], dtype="Float64"),
    "arrow int": pd.Series([1, None, 3], dtype="int32[pyarrow]"),
    "arrow float": pd.Series([1.5, None, 3], dtype="double[pyarrow]"),
    "durations": pd.to_timedelta(pd.Series([1.5, 3600.0, None]), unit="s"),
    "arrow durations": pd.Series(pd.to_timedelta([1, 90, 5], unit="s")).astype("duration[s][pyarrow]"),
    "decimals": pd.Series([Decimal("1.25"), None, Decimal("-3.5")]),
    "text": pd.Series(["1.5", "-2", None, "1e3", " 7 "]),
}
FLAGS = {
    "int64": pd.Series([0, 1, 1]),
    "float64": pd.Series([0.0, 1.0, np.nan]),
    "Int64": pd.Series([0, 1, None], dtype="Int64"),
    "bool": pd.Series([True, False, True]),
    "bool, one value": pd.Series([True, True, True]),
    "boolean": pd.Series([True, None, False], dtype="boolean"),
    "arrow bool": pd.Series([True, None, False], dtype="bool[pyarrow]"),
    "object": pd.Series([True, None, False], dtype=object),
    "text": pd.Series(["0", "1", None]),
}
CATEGORIES = {
    "text": pd.Series(["a", "b", None, "a"]),
    "object text": pd.Series(["a", "b", None, "a"], dtype=object),
    "string": pd.Series(["a", "b", None, "a"], dtype="string"),
    "category": pd.Series(pd.Categorical(["b", "a", None], ["c", "b", "a"], ordered=True)),
    "category of whole numbers": pd.Series(pd.Categorical([3, 1, None, 3], [3, 2, 1])),
    "category of fractions": pd.Series(pd.Categorical([0.5, 1.5, 0.5])),
    "category of truth values": pd.Series(pd.Categorical([True, False, True])),
    "leading zeros": pd.Series(["0123", "456", "0123"]),
    "blanks": pd.Series(["", " ", "x"]),
}
DATES = {
    "datetime64[s]": pd.Series(pd.to_datetime(DAYS)).astype("datetime64[s]"),
    "datetime64[ns]": pd.Series(pd.date_range("2024-01-01", periods=9, freq="37min")).astype("datetime64[ns]"),
    "datetime64[us], missing": pd.Series(pd.to_datetime(["2024-01-01 10:30:00.000001", None])).astype("datetime64[us]"),
    "time zone": pd.Series(pd.date_range("2024-03-30", periods=99, freq="h", tz="Europe/Berlin")),
    "period": pd.Series(pd.period_range("2024-01", periods=9, freq="M")),
    "arrow timestamp": pd.Series(pd.date_range("2024-01-01", periods=9)).astype("timestamp[us][pyarrow]"),
    "arrow date": pd.Series(DAYS).astype("date32[day][pyarrow]"),
    "text days": pd.Series([str(day) for day in DAYS]),
    "text moments": pd.Series(["2024-01-01T10:30:00", None, "2024-01-02T00:00:00.250000"]),
    "far days": pd.Series(["0001-01-03", "9999-12-29"]),
}
TIMES = {
    "text": pd.Series(["07:10", "23:59", None, "00:00"]),
    "seconds": pd.Series(["07:10:00", "23:59:59", "00:00:01"]),
    "objects": pd.Series([time(7, 10), None, time(23, 59, 59, 5)]),
    "one": pd.Series(["12:00", "12:00"]),
}
ROUND_TRIPS = {
    f"{kind} {name}": (kind, series)
    for kind, table in {"number": NUMBERS, "flag": FLAGS, "code": CATEGORIES, "date": DATES, "time": TIMES}.items()
    for name, series in table.items()
}


def same_cells(given, back):
    """Equality cell by cell, numbers to 1e-9 or to the last digits that the column's largest number leaves them."""
    assert given.isna().tolist() == back.isna().tolist()
    is_numeric = pd.api.types.is_numeric_dtype(given) and not pd.api.types.is_bool_dtype(given)
    precision = 1e-15 * max((abs(float(value)) for value in given.dropna()), default=0.0) if is_numeric else 0.0
    for value, other in zip(given[given.notna()], back[back.notna()], strict=True):
        if isinstance(value, str) and not isinstance(other, str):
            pytest.fail(f"{value!r} came back as {other!r}")
        is_number = isinstance(value, int | float | np.number | Decimal) and not isinstance(value, bool)
        assert (float(other) == pytest.approx(float(value), rel=1e-9, abs=precision)) if is_number else value == other


@pytest.mark.parametrize("kind, series", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
def test_a_column_comes_back_in_its_own_type(kind, series):
    frame = series.rename("c").to_frame()
    back = round_trip(frame)["c"]
    assert kinds(Schema.learn(frame), "c")[0] == {"date": "number", "time": "number"}.get(kind, kind)
    if pd.api.types.infer_dtype(series, skipna=True) == "string" and kind == "number":
        series, back = series.astype(float), back.astype(float)
    assert back.dtype == series.dtype
    same_cells(series, back)


COLUMN = st.one_of(
    st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=6, max_size=6).map(
        lambda v: pd.Series(v, dtype=float)
    ),
    st.lists(st.integers(-(2**50), 2**50), min_size=6, max_size=6).map(pd.Series),
    st.lists(st.booleans(), min_size=6, max_size=6).map(pd.Series),
    st.lists(st.one_of(st.none(), st.text("abé 'x", min_size=1)), min_size=6, max_size=6).map(pd.Series),
    st.lists(st.sampled_from("xyz"), min_size=6, max_size=6).map(lambda v: pd.Series(pd.Categorical(v, [*"zyx"]))),
    st.lists(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)), min_size=6, max_size=6).map(
        lambda v: pd.Series(v).astype("datetime64[s]")  # finer ones come back to 15 digits of the time elapsed
    ),
)
TABLE = st.lists(COLUMN, min_size=1, max_size=5).map(lambda columns: pd.concat(columns, axis=1))


def learned(frame):
    """Learn a random table: columns without values are left out with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            return Schema.learn(frame)
        except DataError:
            return None


@settings(max_examples=60, deadline=None)
@given(TABLE)
def test_table_to_matrix_to_table_is_the_identity(frame):
    before = frame.copy(deep=True)
    if schema := learned(frame):
        back = schema.decode(schema.encode(frame))
        assert list(back.columns) == schema.names
        for name in schema.names:
            assert back[name].dtype == frame[name].dtype
            same_cells(frame[name], back[name])
    pd.testing.assert_frame_equal(frame, before)


@settings(max_examples=40, deadline=None)
@given(TABLE)
def test_a_row_is_encoded_alone_as_in_any_batch(frame):
    if schema := learned(frame):
        matrix = schema.encode(frame)
        assert matrix.flags.c_contiguous
        assert matrix.dtype == np.float64
        for row in range(len(frame)):
            np.testing.assert_array_equal(schema.encode(frame.iloc[[row]])[0], matrix[row])
        np.testing.assert_array_equal(schema.encode(frame.iloc[::-1])[::-1], matrix)


@settings(max_examples=40, deadline=None)
@given(TABLE)
def test_the_schema_survives_json(frame):
    if schema := learned(frame):
        again = Schema.from_json(json.loads(json.dumps(schema.to_json(), allow_nan=False)))
        np.testing.assert_array_equal(again.encode(frame), schema.encode(frame))
        assert (again.cells, again.names, again.left_out) == (schema.cells, schema.names, schema.left_out)
        assert again.n_rows == schema.n_rows == 6


def test_numbers_come_first_then_flags_then_codes():
    frame = frame_of(t=["a", "b"], b=[True, False], d=["2024-01-01T07:00", "2024-01-09T08:00"], x=[1.0, 2.0])
    schema = Schema.learn(frame)
    t, b, d, x = range(4)
    assert schema.cells == [
        NumberCell(d, schema.cells[0].floor),
        NumberCell(x, schema.cells[1].floor),
        FlagCell(b),
        CodeCell(t, 2, (0.0,) * 2),
        CodeCell(d, 7, (0.0,) * 7, WEEKDAY),
        CodeCell(d, 24, (0.0,) * 24, HOUR_OF_DAY),
    ]
    assert schema.code_cells == [3, 4, 5]
    np.testing.assert_allclose(schema.encode(frame)[:, 2:], [[1, 0, 0, 7], [0, 1, 1, 8]])  # 2024-01-01 was a Monday


def test_a_mixed_object_column_is_a_category_of_its_text():
    frame = frame_of(m=objects(1, "a", 1.5, True, "1", None))
    assert round_trip(frame)["m"].tolist() == ["1", "a", "1.5", "True", "1", None]


def test_category_codes_go_by_frequency_then_text():
    frame = frame_of(t=["c", "b", "b", "a", None, "c", "d"])
    codes = Schema.learn(frame).encode(frame)[:, 0]
    np.testing.assert_array_equal(codes, [1, 0, 0, 2, np.nan, 1, 3])


def test_the_rarest_of_many_levels_share_the_last_code():
    levels = [f"v{k:03}" for k in range(300)]
    frame = frame_of(t=levels * 2 + levels[:254] + levels[260:261])
    schema = Schema.learn(frame)
    assert schema.cells == [CodeCell(0, 255, (0.0,) * 254 + (log(46),))]
    probe = frame_of(t=["v000", "v253", "v254", "v260", "v299", "new"])
    codes = schema.encode(probe)
    np.testing.assert_array_equal(codes[:, 0], [0, 253, 254, 254, 254, 255])
    assert schema.decode(codes)["t"].fillna("missing").tolist() == ["v000", "v253", *["v260"] * 3, "missing"]


def test_255_levels_share_no_code():
    schema = Schema.learn(frame_of(t=[f"v{k}" for k in range(255)] * 2))
    assert schema.cells[0].n_codes == 255
    assert set(schema.cells[0].spread) == {0.0}


def test_values_never_seen_are_surprising_and_not_fatal():
    schema = Schema.learn(frame_of(t=["a", "b"], c=pd.Categorical(["x", "y"]), f=[0, 1], b=[True, False]))
    probe = frame_of(t=["z"], c=pd.Categorical(["z"]), f=[0.5], b=[7])
    np.testing.assert_array_equal(schema.encode(probe), [[2, 2, 2, 2]])
    assert schema.decode(schema.encode(probe)).isna().all(axis=None)


def test_a_number_in_text_is_read_alike_alone_and_in_a_column():
    texts = ["9007199254740993", "0.1", "-7e-5", "123456789012345678", "0.30000000000000004"]
    schema = Schema.learn(frame_of(t=texts))
    together = schema.encode(frame_of(t=texts))
    np.testing.assert_array_equal(np.vstack([schema.encode(frame_of(t=[text])) for text in texts]), together)
    np.testing.assert_array_equal(schema.encode(frame_of(t=[float(text) for text in texts])), together)


def test_underscores_make_no_number():
    assert kinds(Schema.learn(frame_of(a=["1_0", "2_0"], b=objects("1_0", 2))), "a") == ["code"]
    assert kinds(Schema.learn(frame_of(b=objects("1_0", 2))), "b") == ["code"]


def test_a_time_zone_without_a_name_is_utc_on_the_way_back():
    zone = datetime.timezone(datetime.timedelta(seconds=3723), "local")
    frame = frame_of(d=pd.Series(pd.date_range("2024-01-01", periods=5, freq="h", tz="UTC")).dt.tz_convert(zone))
    assert round_trip(frame)["d"].tolist() == frame["d"].tolist()


def test_weekday_and_hour_are_used_only_where_they_vary():
    days = pd.date_range("2024-01-01", periods=5, freq="7D")
    schema = Schema.learn(
        frame_of(weekly=days, daily=days + pd.to_timedelta(range(5), "D"), noon=days + pd.Timedelta("12h"))
    )
    assert {name: len(kinds(schema, name)) - 1 for name in schema.names} == {"weekly": 0, "daily": 1, "noon": 1}


@pytest.mark.parametrize("of", [str, time.fromisoformat], ids=["text", "objects"])
def test_times_of_day_are_cyclic(of):
    """Cut where none lies: what is encoded grows from the afternoon over midnight to the morning."""
    times = ["22:30", "23:58", "00:02", "01:40", "03:00"] * 9
    schema = Schema.learn(pd.DataFrame({"t": [of(moment) for moment in times]}))
    late, early, noon = schema.encode(pd.DataFrame({"t": [of("23:58"), of("00:02"), of("12:00")]}))[:, 0]
    whole = schema.encode(pd.DataFrame({"t": [of("22:30"), of("03:00")]}))[:, 0]
    assert abs(early - late) < 0.02 * np.ptp(whole)
    assert min(abs(noon - late), abs(noon - early)) > np.ptp(whole)
    assert Schema.learn(pd.DataFrame({"t": [of(f"{hour:02}:30") for hour in range(24)] * 3})).cells[1].part is not None


def test_dates_among_times_and_times_among_dates_are_unreadable_cells():
    days = [f"2024-01-{day:02}" for day in range(1, 29)]
    for values, stray in ((days, "07:10"), ([f"{hour:02}:15" for hour in range(24)] * 2, "2024-01-01")):
        schema = Schema.learn(pd.DataFrame({"c": values}))
        assert np.isposinf(schema.encode(pd.DataFrame({"c": [values[0], stray]}))[1, 0])
        mixed = Schema.learn(pd.DataFrame({"c": [*values, stray]}))
        assert mixed.kinds == schema.kinds
        assert np.isposinf(mixed.encode(pd.DataFrame({"c": [stray]}))[0, 0])


def test_the_first_of_1970_is_a_date():
    days = pd.to_datetime(["1970-01-01", *["2024-01-01", "2024-02-03"] * 9])
    assert np.isfinite(Schema.learn(pd.DataFrame({"c": days})).encode(pd.DataFrame({"c": days}))).all()


def test_months_have_no_weekday():
    months = pd.date_range("2015-01-01", periods=99, freq="MS")
    assert len(Schema.learn(pd.DataFrame({"c": months})).cells) == 1
    assert len(Schema.learn(pd.DataFrame({"c": months + pd.Timedelta(days=1)})).cells) == 2


def test_dates_are_compared_in_utc():
    berlin = pd.Series(pd.date_range("2024-01-01", periods=5, freq="9h", tz="Europe/Berlin"))
    schema = Schema.learn(frame_of(d=berlin))
    utc = frame_of(d=berlin.dt.tz_convert("UTC"))
    np.testing.assert_array_equal(schema.encode(utc), schema.encode(frame_of(d=berlin)))


@pytest.mark.parametrize("unit", ["D", "h", "min", "s", "ms", "us"])
def test_dates_come_back_as_fine_as_they_were(unit):
    counts = pd.Series([0, 1, 2, 3, 5, 7, 10**4 + 1])
    frame = frame_of(d=pd.Timestamp("2024-01-01") + pd.to_timedelta(counts, unit=unit))
    schema = Schema.learn(frame)
    cells = schema.encode(frame)
    same_cells(frame["d"], schema.decode(cells)["d"])
    cells[:, 0] += 1e-6
    between = schema.decode(cells)["d"]
    assert (between == between.dt.floor(unit)).all()


SAME_DATES = {
    "seconds": pd.to_datetime(pd.Series(DAYS)).astype("datetime64[s]"),
    "nanoseconds": pd.to_datetime(pd.Series(DAYS)).astype("datetime64[ns]"),
    "objects": pd.Series(DAYS, dtype=object),
    "aware objects": pd.Series(
        [
            datetime.datetime(d.year, d.month, d.day, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
            for d in DAYS
        ],
        dtype=object,
    ),
    "text": pd.Series([f"{day}T00:00:00Z" for day in DAYS]),
    "text with an offset": pd.Series([f"{day} 02:00:00+02:00" for day in DAYS]),
    "periods": pd.Series(pd.PeriodIndex(pd.to_datetime(DAYS), freq="D")),
    "category": pd.Series(pd.Categorical([str(day) for day in DAYS])),
}


@pytest.mark.parametrize("series", SAME_DATES.values(), ids=SAME_DATES)
def test_a_date_is_the_same_however_it_is_stored(series):
    frame = frame_of(d=pd.to_datetime(pd.Series(DAYS)))
    schema = Schema.learn(frame)
    np.testing.assert_array_equal(schema.encode(frame_of(d=series)), schema.encode(frame))


def test_decoding_clips_to_what_the_type_holds():
    frame = frame_of(
        i=pd.Series([1, 2, 5], dtype="int8"),
        u=pd.Series([1, 2, 5], dtype="uint64"),
        h=pd.Series([1, 2, 5], dtype="float16"),
        d=pd.to_datetime(pd.Series(["2024-01-01", "2024-01-08", "2024-01-15"])).astype("datetime64[ns]"),
        s=["2024-01-01", "2024-01-08", "2024-01-15"],
        t=pd.to_timedelta(pd.Series([1, 2, 5]), unit="s"),
    )
    schema = Schema.learn(frame)
    back = schema.decode(np.array([[500.0] * 6, [-500.0] * 6, [0.1] * 6]))
    assert back["i"].tolist()[:2] == [127, -128]
    assert back["u"].tolist()[:2] == [2**64 - 1, 0]
    assert np.isfinite(back["h"]).all()
    assert back["d"].dt.year.tolist()[:2] == [2262, 1677]
    assert back["s"].tolist()[:2] == ["9999-12-30", "0001-01-02"]
    assert back["t"].notna().all()
    assert (back.dtypes == frame.dtypes).all()


def test_whole_numbers_come_back_whole_from_any_cell():
    schema = Schema.learn(frame_of(i=[1, 2, 5], n=pd.Series([1, 2, 5], dtype="Int64")))
    back = schema.decode(np.array([[0.123, 0.2], [np.nan, np.nan]]))
    assert back["n"].tolist()[0] == 3
    assert back["n"].isna().tolist() == [False, True]
    assert back["i"].tolist()[0] == 3.0


def test_sparse_columns_are_numbers():
    values = [0.0, 0.0, 3.5, np.nan]
    sparse = frame_of(x=pd.arrays.SparseArray(values, fill_value=0.0))
    dense = frame_of(x=values)
    np.testing.assert_array_equal(Schema.learn(sparse).encode(sparse), Schema.learn(dense).encode(dense))
    assert round_trip(sparse)["x"].tolist()[:3] == values[:3]


def test_ten_thousand_columns_are_one_matrix_operation():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(4, 10_000)))
    schema = Schema.learn(frame)
    wide = schema.encode(frame)
    few = frame[[3, 9_999]]
    np.testing.assert_array_equal(Schema.learn(few).encode(few), wide[:, [3, 9_999]])
    np.testing.assert_allclose(schema.decode(wide), frame, rtol=1e-12)


LEFT_OUT = {
    "empty": (pd.Series([None] * N, dtype=object), "has no values"),
    "empty floats": (pd.Series([np.nan] * N), "has no values"),
    "empty categories": (pd.Series(pd.Categorical([None] * N)), "has no values"),
    "free text": (pd.Series(["-" * k + "t" for k in range(N)]), "identifier or free text: 60 distinct of 60"),
    "free text with gaps": (pd.Series(["-" * k + "t" if k else None for k in range(N)]), "59 distinct of 59"),
    "counter": (pd.Series(range(7, 7 + N)), "is a row index"),
    "nullable counter": (pd.Series(range(N), dtype="Int64"), "is a row index"),
    "arrow counter": (pd.Series(range(N), dtype="int64[pyarrow]"), "is a row index"),
}


@pytest.mark.parametrize("series, reason", LEFT_OUT.values(), ids=LEFT_OUT)
def test_columns_without_information_are_left_out_with_one_warning(series, reason):
    frame = frame_of(new=series, x=np.random.default_rng(0).normal(size=N))
    with pytest.warns(DataWarning) as warned:
        schema = Schema.learn(frame)
    assert len(warned) == 1
    assert "'new'" in str(warned[0].message)
    assert reason in str(warned[0].message)
    assert reason in schema.left_out["new"]
    assert schema.names == ["x"]
    np.testing.assert_array_equal(schema.encode(frame), schema.encode(frame[["x"]]))


KEPT = {
    "category, all distinct": pd.Series(pd.Categorical([f"text {k}" for k in range(N)])),
    "ninety per cent distinct": pd.Series([f"text {min(k, 53)}" for k in range(N)]),
    "twenty distinct": pd.Series([f"text {k}" for k in range(20)] + [None] * (N - 20)),
    "float counter": pd.Series(np.arange(N, dtype=float)),
    "counter with a step": pd.Series([*range(N - 1), N + 5]),
    "counter with a gap": pd.Series([*range(N - 1), None], dtype="Int64"),
    "constant": pd.Series([1.5] * N),
}


@pytest.mark.parametrize("series", KEPT.values(), ids=KEPT)
def test_columns_with_information_are_kept(series):
    assert Schema.learn(frame_of(c=series, x=np.random.default_rng(0).normal(size=N))).names == ["c", "x"]


@pytest.mark.parametrize("n, kept", [(19, ["c", "x"]), (20, ["x"])])
@pytest.mark.filterwarnings("ignore::vae_anomaly.errors.DataWarning")
def test_twenty_rows_make_a_row_index(n, kept):
    assert Schema.learn(frame_of(c=range(n), x=np.arange(n) ** 2)).names == kept


def test_a_row_index_is_kept_where_there_is_nothing_else():
    assert Schema.learn(frame_of(c=range(N))).names == ["c"]
    with pytest.warns(DataWarning, match="'e' has no values"):
        assert Schema.learn(frame_of(c=range(N), e=[None] * N)).names == ["c"]


def test_one_text_among_numbers_is_reported():
    values = [str(k % 7) for k in range(N)]
    values[41] = "n/k"
    with pytest.warns(DataWarning, match=r"'c' \(1 of 60 values are no numbers; row 42 holds text 'n/k'\)"):
        schema = Schema.learn(frame_of(c=values))
    assert kinds(schema, "c") == ["number"]
    alone = Schema.learn(frame_of(c=[None if value == "n/k" else value for value in values]))
    np.testing.assert_array_equal(  # the scaling is that of the readable values
        schema.encode(frame_of(c=["0", "6"])), alone.encode(frame_of(c=["0", "6"]))
    )


MOSTLY = {
    "numbers with text": ([k / 8 for k in range(54)] + ["12.0 oz"] * 6, "number"),
    "too much text": ([k / 8 for k in range(53)] + ["12.0 oz"] * 7, "code"),
    "dates with text": ([f"2024-01-{k % 9 + 1:02}" for k in range(54)] + ["31.31.2020"] * 6, "number"),
    "flags with text": (["0", "1"] * 28 + ["yes"] * 4, "flag"),
    "leading zeros": ([f"{k:03}" for k in range(57)] + ["x"] * 3, "code"),
}


@pytest.mark.parametrize("values, kind", MOSTLY.values(), ids=MOSTLY)
@pytest.mark.filterwarnings("ignore::vae_anomaly.errors.DataWarning")
def test_at_most_a_tenth_of_a_column_is_unreadable(values, kind):
    schema = Schema.learn(frame_of(c=values, d=range(60, 0, -1)))
    assert kinds(schema, "c")[:1] == [kind]  # of identifiers, the shape


PEOPLE = {
    "amounts": [f"{row}.{row}34,56 €" for row in range(1, 9)],
    "dates": [f"{row}.12.2024" for row in range(1, 9)],
    "times": [f"{row}:10 p.m." for row in range(1, 9)],
}


@pytest.mark.parametrize("cells", PEOPLE.values(), ids=PEOPLE)
def test_text_that_may_be_numbers_or_dates_is_named(cells):
    found = re.escape(cells[0])
    with pytest.warns(DataWarning, match=rf"'x' is text that may be numbers or dates \({found}\): convert it"):
        Schema.learn(pd.DataFrame({"x": cells * 5, "n": np.arange(40) ** 2}))


@pytest.mark.parametrize("form", ["A{}-12", "10-11-{}", "123-45-67{}", "ABC 12{}", "{}.5"], ids=str)
def test_codes_and_numbers_are_not_named_so(form):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Schema.learn(pd.DataFrame({"x": [form.format(10 + row % 8) for row in range(40)], "n": np.arange(40) ** 2}))


def test_one_frequent_text_is_proposed_as_a_marker_of_missing_cells():
    numbers = [str(k % 7 / 8) for k in range(1000)]
    few, many = (["?"] * n + numbers[n:] for n in (40, 400))
    with pytest.warns(DataWarning, match=r"'\?' stands in 40 of 1,000 cells of 'c', else numbers; .* --missing '\?'"):
        assert kinds(Schema.learn(frame_of(c=few)), "c") == ["number"]
    with pytest.warns(DataWarning, match="^'\\?' stands in 400 of 1,000 cells of 'c', else numbers; .* --missing"):
        assert kinds(Schema.learn(frame_of(c=many)), "c") == ["code"]
    Schema.learn(frame_of(c=["other" if value == "?" else value for value in many]))  # a level: no warning


@pytest.mark.parametrize("levels, proposed", [("ab?", "?"), ("+-", None), ("ab", None)])
def test_a_sign_without_meaning_among_texts_is_proposed_as_a_marker_of_missing_cells(levels, proposed):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Schema.learn(frame_of(c=[levels[k % len(levels)] for k in range(N)], x=np.arange(N) ** 2))
    said = [str(warning.message) for warning in caught]
    assert said == (
        [
            f"'{proposed}' stands in 20 of 60 cells of 'c'; if it marks a missing cell, say --missing '{proposed}' "
            f"(missing=['{proposed}'] in Python)."
        ]
        if proposed
        else []
    )


@pytest.mark.parametrize("strays", [7, N])
def test_text_with_many_words_is_not_nearly_numbers(strays):
    Schema.learn(frame_of(c=["word"] * strays + [str(k % 7) for k in range(N - strays)]))


TOO_LITTLE = {
    "no rows": pd.DataFrame({"a": []}),
    "no columns": pd.DataFrame(index=range(3)),
    "nothing to learn from": pd.DataFrame({"a": [None] * 30, "b": ["-" * k + "t" for k in range(30)]}),
}


@pytest.mark.parametrize("frame", TOO_LITTLE.values(), ids=TOO_LITTLE)
@pytest.mark.filterwarnings("ignore::vae_anomaly.errors.DataWarning")
def test_a_table_without_rows_or_usable_columns_is_an_error(frame):
    with pytest.raises(DataError, match=r"rows and|can be used: 'a' has no values; 'b' identifier"):
        Schema.learn(frame)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_smallest_tables_are_learned(n):
    frame = frame_of(x=[1.5, 2.5, 7.0][:n], t=["a", "b", "a"][:n], b=[True, False, True][:n])
    same_cells(frame["x"], round_trip(frame)["x"])


def answers(columns, least=1.0, largest=5.0, n=50):
    """Columns that all reach both ends of a scale."""
    table = np.random.default_rng(0).uniform(least, largest, (n, columns))
    table[0], table[1] = least, largest
    return {f"q{place}": table[:, place] for place in range(columns)}


MEASURES = {
    "answers on one scale": (answers(3), True),
    "far from 0": (answers(3, 1e9, 1e9 + 1), True),
    "nearly all that floats hold": ({name: 1.7e308 * column for name, column in answers(3, -1, 1).items()}, True),
    "most of the columns": (answers(3) | {"a": np.linspace(2, 4, 50), "b": np.linspace(2, 3, 50)}, True),
    "half of the columns": (answers(2) | {"a": np.linspace(2, 4, 50), "b": np.linspace(2, 3, 50)}, False),
    "a column that reaches further": (answers(3) | {"a": np.linspace(0, 6, 50)}, False),
    "one end in common": ({"a": np.linspace(0, 1, 50), "b": np.linspace(0, 2, 50)}, False),
    "categories": (answers(1) | {name: np.array(list("abcde") * 10) for name in "st"}, False),
    "flags": ({"a": np.arange(50) % 2, "b": np.arange(50) % 3 == 0}, False),
    "unlike": ({"a": np.linspace(0, 1, 50), "b": np.linspace(7, 900, 50)}, False),
}


@pytest.mark.parametrize("columns, expected", MEASURES.values(), ids=MEASURES)
def test_columns_have_one_measure_if_most_of_them_share_their_ends(columns, expected):
    frame = pd.DataFrame(columns)
    schema = Schema.learn(frame)
    assert schema.has_one_measure(schema.encode(frame)) is expected


NESTED = {
    "list": (objects([1], [2]), "list", 1),
    "dict": (objects("a", {"b": 1}), "dict", 2),
    "set": (objects(1, 2, {3}), "set", 3),
    "frozenset": (objects(1, frozenset([3])), "frozenset", 2),
    "array": (objects(None, np.zeros(2)), "ndarray", 2),
    "complex object": (objects(1, 1j), "complex", 2),
    "complex": (np.array([1 + 1j, 2]), "complex", 1),
    "arrow list": (objects([1], [2]).astype(pd.ArrowDtype(pa.list_(pa.int64()))), "", 1),
}


@pytest.mark.parametrize("values, found, row", NESTED.values(), ids=NESTED)
def test_a_cell_holds_one_value(values, found, row):
    with pytest.raises(DataError, match=rf"Column 'c' has {found}.* in row {row} \(the first row is 1\)"):
        Schema.learn(pd.DataFrame({"c": values}))


INFINITE = {
    "float": pd.Series([1.0, 2.0, -np.inf]),
    "arrow": pd.Series([1.0, 2.0, np.inf], dtype="double[pyarrow]"),
    "text": pd.Series(["1", "2", "inf"]),
    "whole beyond a float": pd.Series([1, 2, 10**400], dtype=object),
    "flag": pd.Series([0.0, 1.0, np.inf]),
}


@pytest.mark.parametrize("series", INFINITE.values(), ids=INFINITE)
def test_an_infinite_value_is_an_error_that_says_where(series):
    frame = series.rename("c").to_frame()
    with pytest.raises(DataError, match=r"Column 'c' is infinite in row 3 \(the first row is 1\)"):
        Schema.learn(frame)
    with pytest.raises(DataError, match=r"Column 'c' is infinite in row 3"):
        Schema.learn(frame.iloc[:2]).encode(frame)


def test_numpy_settings_of_the_caller_do_not_matter():
    frame = frame_of(x=[1e300, -1e-300, 1.7e308, -1.7e308, 5e-324, 0.0])
    expected = Schema.learn(frame).encode(frame)
    with np.errstate(all="raise"):
        schema = Schema.learn(frame)
        np.testing.assert_array_equal(schema.encode(frame), expected)
        schema.decode(expected)


# Levels of rows that come after the fit


def grown(series, more):
    """Schemas of a column before and after more rows."""
    before = Schema.learn(series.rename("c").to_frame())
    after = before.grown(more.rename("c").to_frame())
    return before, after


def test_new_levels_get_codes_after_the_old_ones_and_stay_in_a_file():
    old, new = pd.Series([*"aaabbc"] * 5), pd.Series([*"ddddabeef"])
    before, after = grown(old, new)
    assert before.columns[0].levels == ("a", "b", "c")
    assert after.columns[0].levels == ("a", "b", "c", "d", "e", "f")  # the new ones by frequency too
    assert (before.n_rows, after.n_rows) == (30, 39)
    frame = pd.DataFrame({"c": [*"abcdef", "z", None]})
    assert before.encode(frame)[:, 0].tolist() == pytest.approx([0, 1, 2, 3, 3, 3, 3, np.nan], nan_ok=True)
    assert after.encode(frame)[:, 0].tolist() == pytest.approx([0, 1, 2, 3, 4, 5, 6, np.nan], nan_ok=True)
    again = Schema.from_json(json.loads(json.dumps(after.to_json())))
    assert again.to_json() == after.to_json()
    pd.testing.assert_frame_equal(again.decode(after.encode(frame))[:6], frame[:6])


def test_without_new_levels_the_columns_stay():
    before, after = grown(pd.Series([*"aab"] * 5), pd.Series(["b", None, "a"]))
    assert after.columns[0] is before.columns[0]
    assert after.cells == before.cells


CATEGORIES = {
    "the old order and the new one agree": (["low", "mid", "high"], ["low", "high"], ("low", "mid", "high")),
    "they do not": (["mid", "high", "low"], ["low", "high"], ("low", "high", "mid")),
    "nothing is known of the order": (None, ["low", "high"], ("low", "high", "mid")),
}


@pytest.mark.parametrize("given, known, expected", CATEGORIES.values(), ids=CATEGORIES)
def test_new_pandas_categories_join_the_old_ones(given, known, expected):
    old = pd.Series(pd.Categorical([*known] * 10, categories=known, ordered=True))
    new = pd.Series(["mid", "low"] if given is None else pd.Categorical(["mid", "low"], categories=given, ordered=True))
    _, after = grown(old, new)
    assert after.columns[0].categories == expected
    decoded = after.decode(after.encode(pd.DataFrame({"c": ["mid", "high"]})))["c"]
    assert decoded.tolist() == ["mid", "high"]
    assert decoded.cat.ordered


def test_values_of_several_types_are_new_levels_as_their_texts():
    old, new = objects(*["a", 1, True] * 5), objects("b", 2.0, 1)
    _, after = grown(old, new)
    assert set(after.columns[0].levels) == {"a", "1", "True", "b", "2.0"}


def test_a_value_of_another_kind_is_refused_as_before():
    before = Schema.learn(pd.DataFrame({"c": [*"aab"] * 5}))
    frame = pd.DataFrame({"c": objects("c", 3)})
    with pytest.raises(DataError, match="found number 3 in row 2"):
        before.grown(frame).encode(frame)


def test_numbers_are_levels_where_they_were_categories():
    old = pd.Series(pd.Categorical([1, 2] * 10))
    _, after = grown(old, pd.Series([3, 3, 1]))
    assert after.columns[0].levels == (1, 2, 3)
    assert after.encode(pd.DataFrame({"c": [3, 2, 4]}))[:, 0].tolist() == [2, 1, 3]


def test_new_levels_beyond_the_last_code_share_it(monkeypatch):
    old = pd.Series([f"s{i:03}" for i in range(253)] * 2)
    _, after = grown(old, pd.Series([f"t{i}" for i in range(5)]))
    (cell,) = after.cells
    assert cell.n_codes == 255
    assert cell.spread[-2:] == (0.0, pytest.approx(np.log(4)))  # t1 to t4
    codes = after.encode(pd.DataFrame({"c": ["s000", "s252", "t0", "t1", "t4", "new"]}))[:, 0]
    assert codes.tolist() == [0, 252, 253, 254, 254, 255]
    monkeypatch.setattr(columns, "MOST_LEVELS", 256)
    assert len(grown(old, pd.Series([f"t{i}" for i in range(5)]))[1].columns[0].levels) == 256


def test_other_columns_do_not_grow():
    frame = frame_of(
        number=np.arange(12) % 5 + 0.5, flag=np.arange(12) % 2, day=pd.date_range("2024-01-01", periods=12)
    )
    schema = Schema.learn(frame)
    after = schema.grown(frame_of(number=[99.0], flag=[7], day=[pd.Timestamp("2030-01-01")]))
    assert (after.cells, after.n_rows) == (schema.cells, 13)


def test_the_schema_shows_the_scale_of_each_number_and_keeps_it_in_a_file():
    rng = np.random.default_rng(0)
    costs = np.append(np.exp(3 + rng.normal(size=299)), 12.5)
    frame = pd.DataFrame(
        {"cost": costs, "size": rng.normal(size=300), "on": pd.Timestamp(0) + pd.to_timedelta(costs, "D")}
    )
    schema = Schema.learn(frame)
    assert list(schema.scales) == ["cost", "size"]
    assert schema.scales["cost"].startswith("arcsinh(x / ")
    assert schema.scales["size"] == "linear"
    width = float(schema.scales["cost"].removeprefix("arcsinh(x / ").rstrip(")"))
    scaling = schema.to_json()
    bent = scaling["centres"][0] + scaling["scales"][0] * schema.encode(frame)[:, 0]
    np.testing.assert_allclose(bent, np.arcsinh(costs / width), rtol=1e-3)
    read = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    np.testing.assert_array_equal(read.encode(frame), schema.encode(frame))
    np.testing.assert_allclose(read.decode(read.encode(frame))["cost"], costs, rtol=1e-12)


def ordered_dates(n=200):
    """Dates of orders, of their delivery days later, and of something else."""
    rng = np.random.default_rng(0)
    ordered, other = (pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 700, n), "D") for _ in range(2))
    return pd.DataFrame(
        {"sent": ordered + pd.to_timedelta(rng.integers(1, 10, n), "D"), "ordered": ordered, "born": other}
    )


def test_the_time_between_dates_that_go_together_is_a_cell_of_the_later_one():
    frame = ordered_dates()
    schema = Schema.learn(frame)
    assert schema.gaps == [(0, 1)]
    assert [(cell.column, cell.since) for cell in schema.cells[:4]] == [(0, None), (1, None), (2, None), (0, 1)]
    wrong = frame.assign(sent=frame["ordered"] - pd.Timedelta("3D"))
    assert (np.abs(schema.encode(frame)[:, 3]) < 3).all()
    assert (schema.encode(wrong)[:, 3] < schema.encode(frame)[:, 3].min() - 1).all()
    pd.testing.assert_frame_equal(schema.decode(schema.encode(frame)), frame)
    read = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    np.testing.assert_array_equal(read.encode(frame), schema.encode(frame))


def test_the_time_between_dates_is_missing_where_one_of_them_is_missing_or_unreadable():
    frame = ordered_dates()
    schema = Schema.learn(frame)
    texts = frame.astype(object).assign(sent=frame["sent"].astype(str))
    texts.loc[0, "sent"], texts.loc[1, "sent"], texts.loc[2, "ordered"] = None, "soon", None
    cells = schema.encode(texts)
    assert np.isnan(cells[:3, 3]).all()
    np.testing.assert_array_equal(cells[3:], schema.encode(frame)[3:])
    assert np.isposinf(cells[1, 0])


SHAPES = {
    "INV-2024-0013": "A-9999-9999",
    "Lufthansa": "Aa",
    "Lufthansa ": "Aa ",
    "a b c d e": "a a",
    "123456": "9999",
    "12": "99",
    "Müller & Söhne": "Aa & Aa",
}


@pytest.mark.parametrize("text, shape", SHAPES.items())
def test_the_shape_of_a_text(text, shape):
    assert shape_of(text) == shape


def test_of_an_identifier_the_shape_is_used_and_no_network_sees_it():
    frame = frame_of(id=[f"INV-{k:05}" for k in range(199)] + ["inv 17"], x=np.arange(200.0) % 7)
    with pytest.warns(DataWarning, match=r"only the shape of the text is used: 'id' identifier or free text: 200 dist"):
        schema = Schema.learn(frame)
    assert schema.kinds == ["text", "number"]
    assert not schema.left_out
    cell = schema.cells[1]
    assert (cell.n_features, cell.n_codes) == (0, 2)
    np.testing.assert_allclose(
        cell.nats, [0, -np.log(2 / 202) * (1 - 2 / 202 / 0.05), np.log(202) * (1 - 1 / 202 / 0.05)]
    )
    new = frame_of(id=["INV-99999", "inv 18", "INV-9", None], x=[0.0] * 4)
    np.testing.assert_array_equal(schema.encode(new)[:, 1], [0, 1, 2, np.nan])
    assert schema.decode(schema.encode(new))["id"].tolist()[:2] == ["A-9999", "a 99"]
    read = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    np.testing.assert_array_equal(read.encode(new), schema.encode(new))
    assert read.cells == schema.cells


def test_numbers_of_19_digits_are_no_row_index_because_float64_cannot_tell_them_apart():
    digits = np.random.default_rng(0).choice([1582218195625939001, 1582218195625939002], 60)
    assert Schema.learn(pd.DataFrame({"n": digits, "x": np.sqrt(np.arange(60))})).names == ["n", "x"]
    with pytest.warns(DataWarning, match="'n' is a row index"):
        Schema.learn(pd.DataFrame({"n": np.arange(2**53 - 60, 2**53), "x": np.sqrt(np.arange(60))}))
