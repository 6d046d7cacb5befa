"""Write a table to a file, whole or not at all: CSV, Parquet or JSON lines."""

import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly.errors import DataError
from vae_anomaly.io.atomic import whole_file

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ROWS_AT_A_TIME = 10_000


def write_table(frame: pd.DataFrame, target: str | PathLike[str], *, file_format: str | None = None) -> None:
    """
    Write a table without its index.

    In CSV, text that a spreadsheet would run as a formula gets a leading apostrophe. Floats read back exactly.

    Parameters
    ----------
    target
        A file, or "-" for standard output.
    file_format
        "csv", "tsv", "parquet" or "jsonl"; by default what the file's suffix says, and CSV on standard output. The
        suffixes ``.gz`` and ``.zst`` after that of a text format compress it.

    Raises
    ------
    DataError
        If the suffix is not known, the folder is missing, or the format cannot hold the table.
    """
    chosen = file_format or format_of(target)
    if chosen not in _WRITERS:
        raise DataError(f"There is no format {chosen!r}. Choose one of {', '.join(_WRITERS)}.")
    write, compression = _WRITERS[chosen], Path(target).suffix.lower()
    if target == "-":
        sys.stdout.flush()
        write(frame, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with whole_file(target) as path, path.open("wb") as file, _compressed(file, compression) as stream:
        write(frame, stream)


def format_of(target: str | PathLike[str]) -> str:
    """Name the format that a file's suffix says, CSV for standard output."""
    suffixes = [suffix.lower() for suffix in Path(target).suffixes]
    compressed = bool(suffixes) and suffixes[-1] in {".gz", ".zst"}
    found = _FORMATS.get("".join(suffixes[-2:-1] if compressed else suffixes[-1:]))
    if target == "-":
        return "csv"
    if found is None or (compressed and found == "parquet"):
        raise DataError(f"The suffix of {str(target)!r} names no known format. Known are {_known_suffixes()}.")
    return found


def _known_suffixes() -> str:
    return f"{', '.join(_FORMATS)}, and those of text followed by .gz or .zst"


@contextmanager
def _compressed(file: BinaryIO, suffix: str) -> Iterator[Any]:
    match suffix:
        case ".gz":
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as stream:  # no name and time: same table, same bytes
                yield stream
        case ".zst":
            with pa.CompressedOutputStream(file, "zstd") as stream:
                yield stream
        case _:
            yield file


def csv_bytes(frame: pd.DataFrame, delimiter: str, *, header: bool) -> bytes:
    """Rows as CSV."""
    stream = io.BytesIO()
    _write_csv(frame, stream, delimiter, header=header)
    return stream.getvalue()


def _write_csv(frame: pd.DataFrame, stream: BinaryIO, delimiter: str = ",", *, header: bool = True) -> None:
    columns = {place: _harmless(series) for place, (_, series) in enumerate(frame.items())}
    names = pd.Index([*map(_harmless_cell, frame.columns)])
    has_return = any(_has_return(values) for values in (*columns.values(), names))
    if not has_return:
        columns = {place: _spelled(series) for place, series in columns.items()}
    harmless = pd.DataFrame(columns, index=frame.index).set_axis(names, axis=1)
    # Python's writer leaves a lone \r unquoted, which ends a line for those who read it.
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if has_return else csv.QUOTE_MINIMAL
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    try:
        harmless.to_csv(text, sep=delimiter, index=False, header=header, lineterminator="\n", quoting=quoting)
    finally:
        text.detach()


def _write_tsv(frame: pd.DataFrame, stream: BinaryIO) -> None:
    _write_csv(frame, stream, "\t")


def _harmless(series: pd.Series) -> pd.Series:
    """Text with an apostrophe before what a spreadsheet would run."""
    if not _may_hold_text(series):
        return series
    values = series.astype(object)
    return values.map(_harmless_cell) if any(_harmless_cell(text) != text for text in _texts(values)) else values


def _spelled(series: pd.Series) -> pd.Series:
    """Floats as the text that pandas writes for them, in less time than it takes to."""
    if series.dtype != np.float64:
        return series
    texts = [repr(number) if number == number else "" for number in series.tolist()]
    return pd.Series(texts, index=series.index, dtype=object)


def _may_hold_text(values: Any) -> bool:
    return not (isinstance(values.dtype, np.dtype) and values.dtype.kind != "O")


def _harmless_cell(value: Any) -> Any:
    runs = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if runs else value


def _has_return(values: Any) -> bool:
    return _may_hold_text(values) and any("\r" in text for text in _texts(values))


def _texts(values: Any) -> set[str]:
    return {value for value in values.tolist() if isinstance(value, str)}


def _write_parquet(frame: pd.DataFrame, stream: BinaryIO) -> None:
    pq.write_table(parquet_table(frame), stream)


def parquet_table(frame: pd.DataFrame) -> Any:
    """Rows as arrow's table."""
    named = frame.set_axis([str(name) for name in frame.columns], axis=1)
    try:
        return pa.Table.from_pandas(named, preserve_index=False)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(f"Parquet cannot hold this table: {error}. Write CSV or JSON lines instead.") from error


def json_lines(frame: pd.DataFrame) -> bytes:
    """Rows as JSON, one a line."""
    stream = io.BytesIO()
    _write_json_lines(frame, stream)
    return stream.getvalue()


def _write_json_lines(frame: pd.DataFrame, stream: BinaryIO) -> None:
    names = [str(name) for name in frame.columns]
    for start in range(0, len(frame), _ROWS_AT_A_TIME):
        part = frame.iloc[start : start + _ROWS_AT_A_TIME]
        cells = zip(*(_json_cells(series) for _, series in part.items()), strict=True)
        lines = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in cells)
        stream.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))


def _json_cells(series: pd.Series) -> list[Any]:
    return [None if gap else _json_cell(value) for value, gap in zip(series.astype(object), series.isna(), strict=True)]


def _json_cell(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float):
        return plain if np.isfinite(plain) else None
    if isinstance(plain, bool | int | str):
        return plain
    return plain.isoformat() if hasattr(plain, "isoformat") else str(plain)


_WRITERS: dict[str, Callable[[pd.DataFrame, BinaryIO], None]] = {
    "csv": _write_csv,
    "tsv": _write_tsv,
    "parquet": _write_parquet,
    "jsonl": _write_json_lines,
}
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}

_GROUP_ROWS = 2**18  # of a Parquet file
_LEVEL = 1  # of gzip: digits hardly get shorter by ten times the work


class Appender:
    """
    A table as bytes, piece after piece.

    What `encode` gives for each piece, one after the other, is the file; of Parquet, which ends in a list of its
    contents, it is a draft that `convert` makes the file of. Each piece is packed by itself.

    Parameters
    ----------
    target
        The file, whose suffix tells the format, or "-" for CSV.
    """

    def __init__(self, target: str | PathLike[str]) -> None:
        self._format = format_of(target)
        self._suffix = Path(target).suffix.lower()

    @property
    def is_draft(self) -> bool:
        """Whether the file is still to be made of what is written."""
        return self._format == "parquet"

    def encode(self, frame: pd.DataFrame, *, is_first: bool) -> bytes:
        """Bytes of a piece."""
        match self._format:
            case "parquet":
                return _draft(parquet_table(frame))
            case "jsonl":
                data = json_lines(frame)
            case _:
                data = csv_bytes(frame, "\t" if self._format == "tsv" else ",", header=is_first)
        return _packed(data, self._suffix)

    def convert(self, draft: Path, target: Path) -> None:
        """Make the file of its draft."""
        with pa.OSFile(str(draft), "rb") as source:
            schema = pa.unify_schemas([table.schema for table in _tables(source)], promote_options="permissive")
        with pa.OSFile(str(draft), "rb") as source, pq.ParquetWriter(target, schema) as writer:
            for group in _groups(_tables(source)):
                writer.write_table(pa.concat_tables([table.cast(schema) for table in group]))


def _packed(data: bytes, suffix: str) -> bytes:
    match suffix:
        case ".gz":
            return gzip.compress(data, _LEVEL, mtime=0)  # no time: same table, same bytes
        case ".zst":
            sink = pa.BufferOutputStream()
            with pa.CompressedOutputStream(sink, "zstd") as stream:
                stream.write(data)
            return bytes(sink.getvalue())
    return data


def _draft(table: Any) -> bytes:
    """A table as a stream of its own, since a later piece may have other types: numbers where all were missing."""
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def _tables(draft: Any) -> Iterator[Any]:
    """The tables of a draft, one after the other."""
    size = draft.size()
    while draft.tell() < size:
        with pa.ipc.open_stream(draft) as reader:
            yield reader.read_all()


def _groups(tables: Iterator[Any]) -> Iterator[list[Any]]:
    """Tables in groups of enough rows to be packed well."""
    group: list[Any] = []
    for table in tables:
        group.append(table)
        if sum(map(len, group)) >= _GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group
