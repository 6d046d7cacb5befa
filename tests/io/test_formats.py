"""Formats other than text and Parquet: the same table, read whole and in pieces; what is not read is named."""

import bz2
import datetime
import gzip
import io
import lzma
import sqlite3
import sys
import types
import zipfile

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.io.read import read_table, read_whole
from vae_anomaly.io.write import write_table

FRAME = pd.DataFrame(
    {
        "id": [1582218195625939001, 2, 3, 4],
        "x": [0.1, 1 / 3, np.nan, -5.0],
        "code": ["A3", "12", None, "é,\n"],
        "flag": [True, False, True, True],
        "day": ["2024-12-31", "2024-01-01", None, "2024-02-29T07:05:00"],
    }
)


def as_json_lines(path):
    write_table(FRAME, path)


def as_json_array(path):
    lines = path.with_suffix(".jsonl")
    write_table(FRAME, lines)
    path.write_text("[\n" + ",\n".join(lines.read_text().splitlines()) + "\n]")
    lines.unlink()


def as_excel(path):
    days = [datetime.date(2024, 12, 31), datetime.date(2024, 1, 1), None, datetime.datetime(2024, 2, 29, 7, 5)]
    texts = FRAME.assign(id=FRAME["id"].astype(str), day=pd.Series(days, dtype=object))
    texts.to_excel(path, index=False, engine="openpyxl")


def as_ods(path):
    write_table(FRAME.assign(id=FRAME["id"].astype(str)), path)


def as_duckdb(path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.register("frame", FRAME.assign(flag=FRAME["flag"].map({True: "True", False: "False"})))
        connection.execute('CREATE TABLE "a ""b""" AS SELECT * FROM frame')


def as_sqlite(path):
    connection = sqlite3.connect(path)
    FRAME.assign(flag=FRAME["flag"].map({True: "True", False: "False"})).to_sql('a "b"', connection, index=False)
    connection.close()


def as_feather(path):
    FRAME.to_feather(path)


WRITERS = {
    "lines.jsonl": as_json_lines,
    "lines.jsonl.gz": as_json_lines,
    "array.json": as_json_array,
    "book.xlsx": as_excel,
    "book.ods": as_ods,
    "base.db": as_sqlite,
    "base.duckdb": as_duckdb,
    "frame.feather": as_feather,
}


@pytest.fixture(params=[*WRITERS])
def file(request, tmp_path):
    """The table in each format."""
    path = tmp_path / request.param
    WRITERS[request.param](path)
    return path


def same(found, expected):
    for name in expected:
        gaps = expected[name].isna().tolist()
        assert found[name].isna().tolist() == gaps
        assert [v for v, gap in zip(found[name].tolist(), gaps, strict=True) if not gap] == expected[
            name
        ].dropna().tolist()
    assert list(found.columns) == list(expected.columns)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "in pieces"])
def test_every_format_gives_the_table(file, monkeypatch, streams):
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 2)
    found = pd.concat(list(Dataset(file))) if streams else read_table(file)
    same(found, FRAME)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "in pieces"])
def test_a_model_reads_its_columns_in_every_format(file, monkeypatch, streams):
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 2)
    schema = Schema.learn(FRAME.drop(columns="id").loc[[0, 1, 3] * 12].reset_index(drop=True))
    found = (
        pd.concat(list(Dataset(file).without(["id"]).as_fitted(schema)))
        if streams
        else read_whole(file).as_fitted(schema)
    )
    np.testing.assert_array_equal(schema.encode(found[schema.names]), schema.encode(FRAME[schema.names]))


def packed(path, content, suffix):
    target = path / f"table.csv{suffix}"
    match suffix:
        case ".bz2":
            target.write_bytes(bz2.compress(content))
        case ".xz":
            target.write_bytes(lzma.compress(content))
        case ".gz":
            target.write_bytes(gzip.compress(content))
        case ".zip":
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("deep/table.csv", content)
                archive.writestr("__MACOSX/._table.csv", b"\0")
    return target


@pytest.mark.parametrize("suffix", [".bz2", ".xz", ".zip", ".gz"])
def test_compressed_text_is_read_whole_in_pieces_and_from_a_pipe(tmp_path, monkeypatch, suffix):
    content = b"a,b\n" + b"1,x\n2,y\n" * 50
    file = packed(tmp_path, content, suffix)
    expected = pd.read_csv(io.BytesIO(content))
    same(read_table(file), expected)
    same(pd.concat(list(Dataset(file))), expected)
    same(pd.concat(list(Dataset(tmp_path))), expected)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(file.read_bytes())))
    same(read_table("-"), expected)


def archive(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, "a\n1\n")
    return content.getvalue()


def workbook(**sheets):
    content = io.BytesIO()
    with pd.ExcelWriter(content, engine="openpyxl") as writer:
        for name, frame in sheets.items():
            frame.to_excel(writer, sheet_name=name, index=False)
    return content.getvalue()


TWO_SHEETS = {"north": pd.DataFrame({"a": [1]}), "south": pd.DataFrame({"a": [2]})}
REFUSED = {
    "two files in a zip": (archive("a.csv", "b.csv"), "holds 2 files: 'a.csv', 'b.csv'. Unpack it and name one"),
    "empty zip": (archive(), "holds 0 files|not text"),
    "cut bzip2": (bz2.compress(b"a,b\n" * 9999)[:-9], r"damaged or cut short.*bzip2"),
    "cut xz": (lzma.compress(b"a,b\n" * 9999)[:-9], r"damaged or cut short.*xz"),
    "two sheets": (workbook(**TWO_SHEETS), "has 2 sheets: 'north', 'south'. Name one: --table"),
    "damaged workbook": (workbook(a=pd.DataFrame({"a": [1]}))[:-60], "is damaged, encrypted or no spreadsheet"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, which is not read. Convert it .* pandas.read_hdf"),
    "HTML": (b"<!DOCTYPE html><table>", "is a page of HTML, which is not read"),
    "pickle": (b"\x80\x04\x95" + bytes(99), "is a pickle, which could run code"),
    "nested": (b'{"a": {"b": 1}}\n', "record 1 has {'b': '1'} in 'a'; a cell holds one value"),
    "no records": (b"[1, 2]\n", "record 1 is 1, not an object|no rows"),
    "cut JSON": (b'{"a": 1}\n{"a": \n', "is not JSON: line 2 cannot be parsed"),
    "a new key far down": (b'{"a": 1}\n' * 1000 + b'{"b": 1}\n', "record 1,001 has 'b', which the first 1,000 lack"),
    "a key twice": (b'[{"a": 1}, {"a": 1, "b": 2, "a": 3}]', "record 2 has 'a' more than once. Rename one of them"),
    "JSON in latin-1": ('{"a": "é"}\n'.encode("latin-1"), "is not UTF-8 text"),
}


@pytest.mark.parametrize("content, message", REFUSED.values(), ids=REFUSED)
def test_what_is_not_read_is_named_in_one_sentence(tmp_path, content, message):
    (tmp_path / "table").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_table(tmp_path / "table")
    assert "\n" not in str(error.value)


def test_a_sheet_or_a_table_can_be_named(tmp_path):
    (tmp_path / "book.xlsx").write_bytes(workbook(**TWO_SHEETS))
    assert read_table(tmp_path / "book.xlsx", table="south")["a"].tolist() == [2]
    with pytest.raises(DataError, match="has no sheet 'west'. It has: 'north', 'south'"):
        read_table(tmp_path / "book.xlsx", table="west")
    connection = sqlite3.connect(tmp_path / "base.db")
    for name, frame in TWO_SHEETS.items():
        frame.to_sql(name, connection, index=False)
    connection.close()
    assert read_table(tmp_path / "base.db", table="north")["a"].tolist() == [1]
    with pytest.raises(DataError, match="has 2 tables: 'north', 'south'. Name one: --table"):
        read_table(tmp_path / "base.db")
    with pytest.raises(DataError, match="has no table"):
        read_table(tmp_path / "base.db", table='north"; DROP TABLE north; --')
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="has one table"):
        read_table(tmp_path / "a.csv", table="north")


def test_excel_needs_its_extra(tmp_path, monkeypatch):
    (tmp_path / "book.xlsx").write_bytes(workbook(a=pd.DataFrame({"a": [1]})))
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(Exception, match=r"pip install \"vae-anomaly\[excel\]\""):
        read_table(tmp_path / "book.xlsx")


def test_empty_rows_and_columns_around_a_sheet_are_left_out(tmp_path):
    from openpyxl import Workbook

    book = Workbook()
    for row in ([], ["a", "b", None], [1, "x", None], [None, None, None], [2.5, None, None]):
        book.active.append(row)
    book.save(tmp_path / "book.xlsx")
    same(read_table(tmp_path / "book.xlsx"), pd.DataFrame({"a": [1, 2.5], "b": ["x", None]}))


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "in pieces"])
def test_an_infinite_number_of_json_is_none_that_is_missing(tmp_path, streams):
    """NaN, which pandas writes for it, is missing; a fit refuses infinity, and names its row."""
    (tmp_path / "a.jsonl").write_text('{"x": 1.5}\n{"x": NaN}\n{"x": Infinity}\n{"x": -Infinity}\n')
    found = pd.concat(list(Dataset(tmp_path / "a.jsonl"))) if streams else read_table(tmp_path / "a.jsonl")
    np.testing.assert_array_equal(found["x"], [1.5, np.nan, np.inf, -np.inf])
