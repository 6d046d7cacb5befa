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
from vae_anomaly.files import whole_file

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
    harmless = pd.DataFrame(columns, index=frame.index).set_axis([*map(_harmless_cell, frame.columns)], axis=1)
    has_return = any(_has_return(values) for values in (*columns.values(), harmless.columns))
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
    return series.astype(object).map(_harmless_cell)


def _may_hold_text(values: Any) -> bool:
    return not (isinstance(values.dtype, np.dtype) and values.dtype.kind != "O")


def _harmless_cell(value: Any) -> Any:
    runs = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if runs else value


def _has_return(values: Any) -> bool:
    return _may_hold_text(values) and any("\r" in value for value in values if isinstance(value, str))


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
