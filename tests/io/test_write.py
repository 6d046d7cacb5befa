import csv
import datetime
import gzip
import io
import json
import sys
import types
import zipfile
from decimal import Decimal
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_anomaly.errors import DataError
from vae_anomaly.io.read import read_table
from vae_anomaly.io.write import Appender, format_of, write_table

FRAME = pd.DataFrame(
    {"x": [0.1, 1 / 3, 5e-324], "n": [1, -2, 3], "b": [True, False, True], "t": ["é", 'a "q", \n', None]}
)
SUFFIXES = [".csv", ".tsv", ".csv.gz", ".csv.zst", ".tsv.gz", ".parquet", ".pq", ".CSV", ".Parquet"]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip() == text and text[0].isalpha() and len(text) > 5 and text.lower() != "infinity"
)


def same_table(one, other):
    """Equality of types and values; None and NaN are both missing text, depending on the version of pandas."""
    assert one.dtypes.to_dict() == other.dtypes.to_dict()
    assert one.isna().equals(other.isna())
    for name in one:
        assert one[name].dropna().tolist() == other[name].dropna().tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_written_tables_read_back_exactly(tmp_path, suffix):
    write_table(FRAME, tmp_path / f"out{suffix}")
    same_table(read_table(tmp_path / f"out{suffix}"), FRAME)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), TEXT),
        min_size=1,
        max_size=5,
    )
)
def test_csv_is_exact_for_every_float_and_text(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "out.csv"
    frame = pd.DataFrame(rows, columns=["x", "n", "t"])
    write_table(frame, path)
    back = read_table(path)
    assert back["x"].tolist() == frame["x"].tolist()
    assert back["n"].tolist() == frame["n"].tolist()
    assert back["t"].tolist() == frame["t"].tolist()


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".jsonl.gz"])
def test_json_lines_hold_one_row_each(tmp_path, suffix):
    frame = FRAME.assign(
        d=pd.to_datetime(["2024-01-01 10:00:00", None, "2024-01-02 00:00:00"]),
        i=pd.Series([1, None, 3], dtype="Int64"),
        f=[np.nan, np.inf, 1.5],
        c=pd.Categorical(["u", None, "v"]),
        o=pd.Series([Decimal("1.5"), datetime.date(2024, 1, 1), True], dtype=object),
    ).rename(columns={"x": 7})
    path = tmp_path / f"out{suffix}"
    write_table(frame, path)
    text = gzip.decompress(path.read_bytes()).decode() if suffix.endswith("gz") else path.read_text("utf-8")
    rows = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    assert rows[0] == {
        "7": 0.1,
        "n": 1,
        "b": True,
        "t": "é",
        "d": "2024-01-01T10:00:00",
        "i": 1,
        "f": None,
        "c": "u",
        "o": "1.5",
    }
    assert rows[1] == {
        "7": 1 / 3,
        "n": -2,
        "b": False,
        "t": 'a "q", \n',
        "d": None,
        "i": None,
        "f": None,
        "c": None,
        "o": "2024-01-01",
    }
    assert rows[2]["7"] == 5e-324
    assert rows[2]["o"] is True


def test_json_lines_of_many_rows_are_complete(tmp_path):
    write_table(pd.DataFrame({"n": range(25_001)}), tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(25_001))


FORMULAS = ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\tx", "\rx"]


@pytest.mark.parametrize("cell", FORMULAS)
@pytest.mark.parametrize("dtype", ["object", "string", "category"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_no_text_is_run_as_a_formula(tmp_path, cell, dtype, suffix):
    frame = pd.DataFrame({cell: pd.Series([cell, "harmless", None], dtype=dtype)})
    write_table(frame, tmp_path / f"out{suffix}")
    with (tmp_path / f"out{suffix}").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t" if suffix == ".tsv" else ","))
    assert rows == [["'" + cell], ["'" + cell], ["harmless"], [""]]


def test_numbers_stay_as_they_are(tmp_path):
    frame = pd.DataFrame({"x": [-1.5, 2.0], "t": ["-1.5", "+2e5"], "o": pd.Series([-1, "=a"], dtype=object)})
    write_table(frame, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "x,t,o\n-1.5,-1.5,-1\n2.0,+2e5,'=a\n"


def test_text_in_parquet_and_json_is_not_changed(tmp_path):
    frame = pd.DataFrame({"t": ["=1+1"]})
    for suffix in (".parquet", ".jsonl"):
        write_table(frame, tmp_path / f"out{suffix}")
    assert read_table(tmp_path / "out.parquet")["t"].tolist() == ["=1+1"]
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"t": "=1+1"}


def test_writing_does_not_change_the_frame(tmp_path):
    frame = pd.DataFrame({"=t": ["=1+1"], 3: [1.0]})
    before = frame.copy(deep=True)
    for suffix in (".csv", ".parquet", ".jsonl"):
        write_table(frame, tmp_path / f"out{suffix}")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".jsonl"])
def test_the_same_table_gives_the_same_bytes(tmp_path, suffix):
    for name in ("one", "two"):
        write_table(FRAME, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


@pytest.mark.parametrize(
    "file_format, magic", [(None, b"x,n"), ("csv", b"x,n"), ("parquet", b"PAR1"), ("jsonl", b'{"x"')]
)
def test_standard_output_takes_any_format_and_is_flushed(monkeypatch, file_format, magic):
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(io.BufferedWriter(_Unclosed(raw)))
    monkeypatch.setattr(sys, "stdout", stdout)
    print("before")
    write_table(FRAME, "-", file_format=file_format)
    assert raw.getvalue().startswith(b"before\n" + magic)
    assert not stdout.closed
    print("after", flush=True)
    assert raw.getvalue().endswith(b"after\n")


class _Unclosed(io.RawIOBase):
    def __init__(self, raw):
        self.raw = raw

    def writable(self):
        return True

    def write(self, data):
        return self.raw.write(data)


def test_a_closed_pipe_raises_for_the_caller(monkeypatch):
    def refuse(*_):
        raise BrokenPipeError

    stream = types.SimpleNamespace(write=refuse, flush=lambda: None, writable=lambda: True, closed=False)
    stream.readable = stream.seekable = lambda: False
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(flush=lambda: None, buffer=stream))
    for file_format in ("csv", "jsonl"):
        with pytest.raises(BrokenPipeError):
            write_table(FRAME, "-", file_format=file_format)


@pytest.mark.parametrize("name", ["out", "out.txt", "out.xls", "out.gz", "out.parquet.gz", "out.xlsx.gz", ".csv"])
def test_an_unknown_suffix_is_an_error_that_lists_known_ones(tmp_path, name):
    with pytest.raises(DataError, match=r"\.csv, \.tsv, \.parquet, \.pq, \.jsonl, \.ndjson.*\.gz or \.zst"):
        write_table(FRAME, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_is_an_error_that_lists_known_ones(tmp_path):
    with pytest.raises(DataError, match="no format 'xls'. Choose one of csv, tsv, parquet, jsonl"):
        write_table(FRAME, tmp_path / "out.csv", file_format="xls")


def test_a_named_format_overrides_the_suffix(tmp_path):
    write_table(FRAME, tmp_path / "out.txt", file_format="csv")
    same_table(read_table(tmp_path / "out.txt"), FRAME)


@pytest.mark.parametrize(
    "name, expected", [("-", "csv"), ("a.b.CSV.GZ", "csv"), ("x.ndjson", "jsonl"), ("x.pq", "parquet")]
)
def test_the_suffix_determines_the_format(name, expected):
    assert format_of(name) == expected


def test_a_table_that_a_format_cannot_hold_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.parquet"
    write_table(FRAME, path)
    mixed = pd.DataFrame({"m": pd.Series([1, "a"], dtype=object)})
    with pytest.raises(DataError, match="Parquet cannot hold this table.*Write CSV"):
        write_table(mixed, path)
    same_table(read_table(path), FRAME)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="Create it first"):
        write_table(FRAME, tmp_path / "absent" / "out.csv")


def test_excel_files_read_back_and_run_no_formula(tmp_path):
    frame = FRAME.assign(t=["=1+1", "0012", None])
    write_table(frame, tmp_path / "out.xlsx")
    same_table(read_table(tmp_path / "out.xlsx"), frame)
    from openpyxl import load_workbook

    assert load_workbook(tmp_path / "out.xlsx").active["D2"].data_type == "s"


@pytest.mark.parametrize("suffix", [".xlsx", ".ods"])
def test_more_rows_than_a_sheet_holds_are_refused(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("vae_anomaly.io.write._MOST_SHEET_ROWS", 3)
    with pytest.raises(DataError, match="A sheet holds 2 rows. Write CSV"):
        write_table(FRAME, tmp_path / f"out{suffix}")
    assert not list(tmp_path.iterdir())


def test_ods_files_read_back(tmp_path):
    texts = ["=1+1", "a <b> & 'c'", "  two  spaces ", "two\nlines", "\x00 is not in XML", None]
    frame = pd.DataFrame({"n": [1, -2, 3, 4, 5, 6], "x": [0.1, None, 1e300, -2.5e-9, 3, 4], "text": texts})
    frame["truth"] = [True, False] * 3
    write_table(frame, tmp_path / "out.ods")
    found = read_table(tmp_path / "out.ods")
    expected = frame.assign(text=[text and text.replace("\x00", "\N{REPLACEMENT CHARACTER}") for text in texts])
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    with zipfile.ZipFile(tmp_path / "out.ods") as archive:
        assert archive.infolist()[0].filename == "mimetype"
        ElementTree.fromstring(archive.read("content.xml"))
    before = (tmp_path / "out.ods").read_bytes()
    write_table(frame, tmp_path / "out.ods")
    assert (tmp_path / "out.ods").read_bytes() == before


KEPT = ["+49 30 123-456", "+49 (0)30/1234", "-5", "-1.234,56 €", "-12 %", "- 3", "-", "+1", "(555) 123-4567", "-07:30"]
QUOTED = ["=1+1", "+cmd|' /C calc'!A0", "-A1", "-2+3*cmd", "@SUM(A1)", "\t=1", "+49 30 x123", "-=1"]


def test_text_that_calls_nothing_stands_in_csv_as_it_is(tmp_path):
    write_table(pd.DataFrame({"text": [*KEPT, *QUOTED]}), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        found = [cell for (cell,) in csv.reader(file)][1:]
    assert found == [*KEPT, *(f"'{text}" for text in QUOTED)]


@pytest.mark.parametrize("suffix", SUFFIXES[:5] + [".xlsx", ".ods", ".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_pieces_make_the_same_table(tmp_path, suffix):
    appender = Appender(tmp_path / f"pieces{suffix}")
    pieces = [appender.encode(FRAME.iloc[:2], is_first=True), appender.encode(FRAME.iloc[2:], is_first=False)]
    (tmp_path / "pieces").write_bytes(b"".join(pieces))
    if appender.is_draft:
        appender.convert(tmp_path / "pieces", tmp_path / f"pieces{suffix}")
    else:
        (tmp_path / "pieces").rename(tmp_path / f"pieces{suffix}")
    write_table(FRAME, tmp_path / f"whole{suffix}")
    found, expected = ([*_lines(tmp_path / f"{name}{suffix}")] for name in ("pieces", "whole"))
    assert found == expected


def _lines(path):
    if path.suffix in (".parquet", ".xlsx", ".ods"):
        return read_table(path).to_csv(index=False).splitlines()
    with pa.input_stream(path, compression="detect") as stream:
        return stream.read().splitlines()
