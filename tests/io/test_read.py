import gzip
import io
import os
import sys
import threading
import tracemalloc
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vae_anomaly.data.columns import CodeCell, FlagCell, NumberCell
from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError
from vae_anomaly.io.read import read_table

PLAIN = {"a": [1, 2], "b": ["x", "y"]}
LONG = "a,b\n" + "1,x\n2,y\n" * 2000


def written(folder, content, name="table.csv"):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(frame):
    """Columns as plain lists, None where missing."""
    return {
        name: [None if gap else value for value, gap in zip(frame[name].tolist(), frame[name].isna(), strict=True)]
        for name in frame
    }


READ = {
    "comma": ("a,b\n1,x\n2,y\n", PLAIN),
    "semicolon": ("a;b\n1;x\n2;y\n", PLAIN),
    "tab": ("a\tb\n1\tx\n2\ty\n", PLAIN),
    "no newline at the end": ("a,b\n1,x\n2,y", PLAIN),
    "carriage returns": ("a,b\r\n1,x\r\n2,y\r\n", PLAIN),
    "UTF-8 mark": ("\ufeffa,b\n1,x\n2,y\n", PLAIN),
    "UTF-16": ("a,b\n1,x\n2,y\n".encode("utf-16"), PLAIN),
    "UTF-16, big end first": (b"\xfe\xff" + "a,b\n1,x\n2,y\n".encode("utf-16-be"), PLAIN),
    "UTF-32": ("a,b\n1,x\n2,y\n".encode("utf-32"), PLAIN),
    "gzip": (gzip.compress(b"a,b\n1,x\n2,y\n"), PLAIN),
    "gzip in two members": (gzip.compress(b"a,b\n1,x\n") + gzip.compress(b"2,y\n"), PLAIN),
    "zstd": (pa.compress(b"a,b\n1,x\n2,y\n", "zstd", asbytes=True), PLAIN),
    "blank lines": ("\na,b\n\n1,x\n2,y\n\n", PLAIN),
    "quoted newline": ('a,b\n1,"x\n\ny"\n2,y\n', {"a": [1, 2], "b": ["x\n\ny", "y"]}),
    "quoted delimiter": ('a,b\n1,"x;;,""y"\n2,y\n', {"a": [1, 2], "b": ['x;;,"y', "y"]}),
    "semicolons in text": ("a,b\n1,x;y;z\n2,p;q\n", {"a": [1, 2], "b": ["x;y;z", "p;q"]}),
    "commas in text": ("a;b\n1;x, y, z\n2;p, q\n", {"a": [1, 2], "b": ["x, y, z", "p, q"]}),
    "comma in a header of tabs": ("a, really\tb\n1\tx\n2\ty\n", {"a, really": [1, 2], "b": ["x", "y"]}),
    "quoted header": ('"a;1","b;2"\n1,x\n2,y\n', {"a;1": [1, 2], "b;2": ["x", "y"]}),
    "newline in the header": ('"a\nb",c\n1,x\n', {"a\nb": [1], "c": ["x"]}),
    "decimal comma": ("a;b\n1,5;x\n-2,25;y\n", {"a": [1.5, -2.25], "b": ["x", "y"]}),
    "decimal point among semicolons": ("a;b\n1.5;x,y\n2.5;1,5\n", {"a": [1.5, 2.5], "b": ["x,y", "1,5"]}),
    "one column": ("a\n1\n2\n", {"a": [1, 2]}),
    "one column of text": ("name\nJoe\nAnn\n", {"name": ["Joe", "Ann"]}),
    "trailing delimiter": ("a,b,\n1,x,\n2,y,\n", PLAIN),
    "trailing delimiter without a name": ("a,b\n1,x,\n2,y,\n", PLAIN),
    "trailing delimiter without a name, rows like an index": ("a,b\n0,x,\n1,y,\n", {"a": [0, 1], "b": ["x", "y"]}),
    "trailing semicolon": ("a;b;\n1;x;\n2;y;\n", PLAIN),
    "name without values": ("a,b,c\n1,x,\n2,y,\n", {**PLAIN, "c": [None, None]}),
    "column without a name": (",a\n0,1\n1,2\n", {"Unnamed: 0": [0, 1], "a": [1, 2]}),
    "short line": ("a,b\n1,x\n2\n", {"a": [1, 2], "b": ["x", None]}),
    "missing values": ("a,b\n1,NA\n,null\n3,NaN\n4,\n", {"a": [1, None, 3, 4], "b": [None] * 4}),
    "truth values": ("a,b\nTrue,True\n,False\n", {"a": [True, None], "b": [True, False]}),
    "leading zeros are pandas' numbers": ("a\n01\n02\n", {"a": [1, 2]}),
}


@pytest.mark.parametrize("content, expected", READ.values(), ids=READ)
def test_delimiter_decimal_sign_and_encoding_are_recognised(tmp_path, content, expected):
    assert cells(read_table(written(tmp_path, content, "table.dat"))) == expected


@pytest.mark.parametrize("content, expected", READ.values(), ids=READ)
def test_standard_input_is_read_like_a_file(monkeypatch, content, expected):
    data = content.encode() if isinstance(content, str) else content
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    assert cells(read_table("-")) == expected


def test_a_pipe_is_read(tmp_path):
    pipe, content = tmp_path / "pipe", gzip.compress(b"a,b\n1,x\n2,y\n")
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert cells(read_table(pipe)) == PLAIN
    writer.join(10)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le"])
def test_the_encoding_can_be_named(tmp_path, encoding):
    path = written(tmp_path, "größe,b\n1,é\n".encode(encoding))
    assert cells(read_table(path, encoding=encoding)) == {"größe": [1], "b": ["é"]}


def test_parquet_is_recognised_by_its_content(tmp_path):
    frame = pd.DataFrame({"x": [1.5, None], "t": ["a", None], "d": pd.to_datetime(["2024-01-01", None])})
    frame.to_parquet(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), frame)
    compressed = written(tmp_path, gzip.compress((tmp_path / "table.csv").read_bytes()))
    pd.testing.assert_frame_equal(read_table(compressed), frame)


def test_a_named_index_in_parquet_is_a_column(tmp_path):
    pd.DataFrame({"x": [1, 2]}, index=pd.Index(["p", "q"], name="key")).to_parquet(tmp_path / "table.parquet")
    assert cells(read_table(tmp_path / "table.parquet")) == {"key": ["p", "q"], "x": [1, 2]}


def test_floats_are_read_exactly(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**63, 5000, dtype=np.int64).view(np.float64)
    numbers = bits[np.isfinite(bits)]
    path = written(tmp_path, "a\n" + "\n".join(map(repr, numbers.tolist())))
    np.testing.assert_array_equal(read_table(path)["a"], numbers)


def test_a_column_of_a_long_file_has_one_type(tmp_path):
    path = written(tmp_path, "a\n" + "1\n" * 300_000 + "x\n")
    assert read_table(path)["a"].map(type).nunique() == 1


def test_column_kinds_of_a_file_are_those_of_a_frame(tmp_path):
    text = "n,f,b,t,d,z\n" + "".join(
        f"{k * k},{k % 2},{k % 3 == 0},{'xyz'[k % 3]},2024-01-{k + 1:02},0{k}a\n" for k in range(9)
    )
    schema = Schema.learn(read_table(written(tmp_path, text)))
    kinds = [(type(cell), schema.names[cell.column]) for cell in schema.cells]
    numbers, flags = [(NumberCell, "n"), (NumberCell, "d")], [(FlagCell, "f"), (FlagCell, "b")]
    assert kinds == [*numbers, *flags, (CodeCell, "t"), (CodeCell, "d"), (CodeCell, "z")]


REFUSED = {
    "empty": ("", "is empty"),
    "blank": ("\n\n", "is empty"),
    "header only": ("a,b\n", "column names but no rows: 'a', 'b'"),
    "too many fields": ("a,b\n1,2\n1,2,3\n", r"3 fields in line 3, but 2 column names"),
    "too many fields after a quoted newline": ('a,b\n"1\n\n",2\n1,2,3\n', "3 fields in line 5, but 2"),
    "too many fields after blank lines": ("a,b\n\n\n1,2\n1,2,3\n", "3 fields in line 5, but 2"),
    "too many fields in every line": ("a,b\n1,2,3\n1,2,4\n", "3 fields in line 2, but 2"),
    "too many fields, rows like an index": ("a,b\n0,2,3\n1,2,4\n", "3 fields in line 2, but 2"),
    "too many fields in every line, further down": ('"a\nb",c\n\n\n1,2,3\n', "3 fields in line 5, but 2"),
    "far too many fields in every line": ("a,b\n1,2,3,4\n1,2,3,4\n", "4 fields in line 2, but 2"),
    "a delimiter at the end of some lines": ("a,b\n1,2\n3,4,\n", "3 fields in line 3, but 2"),
    "unclosed quote": ('a,b\n1,2\n3,"x\n4,5\n', "a quote in line 3 that is never closed"),
    "unclosed quote after a quoted newline": ('a,b\n"1\n2",2\n3,"x\n4,5\n', "a quote in line 4 that is never closed"),
    "latin-1": ("a,b\n1,x\n2,é\n".encode("latin-1"), r"is not utf-8 text \(line 3\).*--encoding latin-1"),
    "latin-1 header": ("é,b\n1,x\n".encode("latin-1"), r"is not utf-8 text \(line 1\)"),
    "latin-1 far down": (LONG.encode() + "3,é\n".encode("latin-1"), r"is not utf-8 text \(line 4002\)"),
    "half of UTF-16": ("a,b\n1,x\n".encode("utf-16")[:-1], "is not utf-16 text"),
    "names twice": ("a,b,a,c,c\n1,2,3,4,5\n", "column names more than once: 'a', 'c'"),
    "cut gzip": (gzip.compress(LONG.encode())[:-12], "damaged or cut short.*gzip"),
    "cut zstd": (pa.compress(LONG.encode(), "zstd", asbytes=True)[:-3], "damaged or cut short.*zstd"),
    "damaged gzip": (b"\x1f\x8b" + b"x" * 99, "damaged or cut short"),
    "cut Parquet": (b"PAR1" + b"\x00" * 99, "cannot be read as Parquet"),
    "binary": (b"\x7fELF\x01\n\x00\x01", "is not text: line 2 has a NUL byte"),
    "NUL far down": (LONG.encode() + b"\x00", "line 4002 has a NUL byte"),
}


@pytest.mark.parametrize("content, message", REFUSED.values(), ids=REFUSED)
def test_an_unreadable_table_is_an_error_in_one_sentence_with_the_files_name(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=message) as error:
        read_table(path)
    assert str(error.value).startswith(repr(str(path)))
    assert "\n" not in str(error.value)


def test_damaged_parquet_is_an_error(tmp_path):
    path = tmp_path / "table.parquet"
    pd.DataFrame({"x": np.arange(5000.0)}).to_parquet(path)
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:100], whole[:4] + whole[-400:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as Parquet"):
            read_table(path)


def test_standard_input_has_a_name_too(monkeypatch):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b"a\n")))
    with pytest.raises(DataError, match="^Standard input has column names but no rows"):
        read_table("-")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="There is no file '.*absent.csv'"):
        read_table(tmp_path / "absent.csv")


def test_a_folder_is_not_one_table(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)


def test_no_permission(tmp_path, monkeypatch):
    path = written(tmp_path, "a\n1\n")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # the tests may run as root, who has every permission
    with pytest.raises(DataError, match="No permission to read"):
        read_table(path)


@pytest.mark.parametrize("source", ["x" * 5000, "a/b\0c"])
def test_names_that_no_file_can_have(source):
    with pytest.raises(DataError):
        read_table(source)


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "base64", "undefined", ""])
def test_an_unknown_encoding(tmp_path, encoding):
    with pytest.raises(DataError, match=f"There is no encoding '{encoding}'"):
        read_table(written(tmp_path, "a\n1\n"), encoding=encoding)


def test_reading_does_not_change_the_file(tmp_path):
    path = written(tmp_path, LONG)
    before = path.stat()
    read_table(path)
    assert path.read_text() == LONG
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("message", ["malloc of size 67108864 failed", "MemoryError: "])
def test_a_lack_of_memory_is_not_taken_for_a_damaged_file(tmp_path, monkeypatch, message):
    def fails(*_):
        raise pa.ArrowInvalid(message)

    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    monkeypatch.setattr("pyarrow.csv.open_csv", fails)
    with pytest.raises(MemoryError):
        read_table(tmp_path / "table.csv")


def test_a_first_line_that_never_ends_takes_no_memory(tmp_path):
    path = tmp_path / "line.csv.gz"
    path.write_bytes(gzip.compress(b"a" * 10**8, compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="a row of more than 17 MB"):
            read_table(path)
        assert tracemalloc.get_traced_memory()[1] < 6e7
    finally:
        tracemalloc.stop()
