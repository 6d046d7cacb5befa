"""Write tables as CSV, TSV, Parquet, JSON lines, Excel or ODS, in one go or in pieces, also compressed."""

import csv
import gzip
import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly.errors import DataError, MissingExtraError, OutputError
from vae_anomaly.io.atomic import whole_file

_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".ods": "ods",
}
_SHEETS = ("xlsx", "ods")
_WHOLE = ("parquet", *_SHEETS)  # files that cannot be extended or compressed

_MOST_SHEET_ROWS, _LONGEST_CELL = 2**20, 32_767  # of Excel
_NOT_IN_SHEETS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_HARMLESS = re.compile(  # numbers, amounts and telephone numbers: without letters, nothing can be called
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-][\d\s()\[\].,:/'%$€£¥-]*"
)
_SPACES = re.compile(r"^ +|(?<= ) +| +$", re.MULTILINE)  # which XML would drop
_ODS_TYPE = "application/vnd.oasis.opendocument.spreadsheet"
_ODS_MANIFEST = f"""<?xml version="1.0" encoding="UTF-8"?>
<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" manifest:version="1.2">
<manifest:file-entry manifest:full-path="/" manifest:version="1.2" manifest:media-type="{_ODS_TYPE}"/>
<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>
</manifest:manifest>
"""
_ODS_START = """<?xml version="1.0" encoding="UTF-8"?>
<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.2">
<office:body><office:spreadsheet><table:table table:name="scores">"""
_ODS_END = "</table:table></office:spreadsheet></office:body></office:document-content>"


def write_table(frame: pd.DataFrame, target: str | PathLike[str], *, file_format: str | None = None) -> None:
    """
    Write a table without its index.

    The file appears complete or not at all. In CSV, text that a spreadsheet would run as a formula gets a leading
    apostrophe. Floats read back exactly.

    Parameters
    ----------
    target
        A file, or "-" for standard output.
    file_format
        "csv", "tsv", "parquet", "jsonl", "ods" or "xlsx" (the extra ``excel``); by default the format of the file's
        suffix, and CSV on standard output. A text format is compressed if ``.gz`` or ``.zst`` follows its suffix.

    Raises
    ------
    DataError
        If the suffix is unknown, the folder is missing, or the format cannot hold the table.
    """
    chosen = file_format or format_of(target)
    if chosen not in _WRITERS:
        raise DataError(f"There is no format {chosen!r}. Choose one of {', '.join(_WRITERS)}.")
    if target == "-":
        with standard_output() as stream:
            _WRITERS[chosen](frame, stream, True)
        return
    with whole_file(target) as path, path.open("wb") as file, _compressed(file, target) as stream:
        _WRITERS[chosen](frame, stream, True)


def csv_text(frame: pd.DataFrame) -> str:
    r"""A table without its index as the text of a CSV file; text that a spreadsheet would run gets an apostrophe.

    Examples
    --------
    >>> csv_text(pd.DataFrame({"row": [1], "note": ["=1+1"]}))
    "row,note\n1,'=1+1\n"
    """
    stream = io.BytesIO()
    _write_csv(frame, stream, True)
    return stream.getvalue().decode("utf-8")


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """
    Standard output for bytes, all of which are written when the block ends.

    Unbuffered (``python -u``), its own writes may take the first bytes only, and report no error.

    Raises
    ------
    OutputError
        If it cannot be written to the end: the disk is full, for instance.
    BrokenPipeError
        If its reader has closed it.
    """
    sys.stdout.flush()
    stream = sys.stdout.buffer
    try:
        if isinstance(stream, io.RawIOBase):
            with open(stream.fileno(), "wb", closefd=False) as buffered:
                yield buffered
        else:
            yield stream
            stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        fault = error.strerror or error
        raise OutputError(f"Cannot write all rows to standard output: {fault}. What is there is incomplete.") from error


def format_of(target: str | PathLike[str]) -> str:
    """Format of a file by its suffix, CSV for standard output ("-"); DataError if the suffix is unknown."""
    if target == "-":
        return "csv"
    suffixes = [suffix.lower() for suffix in Path(target).suffixes]
    is_compressed = suffixes[-1:] in ([".gz"], [".zst"])
    found = _FORMATS.get("".join(suffixes[-2:-1] if is_compressed else suffixes[-1:]))
    if found is None or (is_compressed and found in _WHOLE):
        known = f"{', '.join(_FORMATS)}, and those of text followed by .gz or .zst"
        raise DataError(f"The suffix of {str(target)!r} is not that of a known format. Known are {known}.")
    return found


class Appender:
    """
    Encodes the pieces of a table for one file.

    The concatenated bytes of `encode` are the file, each piece compressed by itself. A Parquet file cannot be extended,
    since its index is at the end: there the bytes are a draft, from which `convert` makes the file.

    Parameters
    ----------
    target
        The file, whose suffix determines the format, or "-" for CSV.
    """

    def __init__(self, target: str | PathLike[str]) -> None:
        self._target = target
        self._format = format_of(target)
        self.is_draft = self._format in _WHOLE  # the file must be made by `convert`

    def encode(self, frame: pd.DataFrame, *, is_first: bool) -> bytes:
        """Bytes of a piece."""
        encoded = pa.BufferOutputStream()
        if self.is_draft:  # a stream of its own: a later piece can have other types, e.g. floats after missing values
            table = _arrow_table(frame)
            with pa.ipc.new_stream(encoded, table.schema) as writer:
                writer.write_table(table)
        else:
            with _compressed(encoded, self._target, gzip_level=1) as stream:  # 9 takes ten times as long, saves little
                _WRITERS[self._format](frame, stream, is_first)
        return bytes(encoded.getvalue())

    def convert(self, draft: Path, target: Path) -> None:
        """Write the Parquet file or the sheet from its draft."""
        if self._format in _SHEETS:
            with pa.OSFile(str(draft), "rb") as source, target.open("wb") as stream:
                _write_sheet((table.to_pandas() for table in _tables_of(source)), stream, self._format)
            return
        group_rows = 2**18
        with pa.OSFile(str(draft), "rb") as source:
            schema = pa.unify_schemas([table.schema for table in _tables_of(source)], promote_options="permissive")
        with pa.OSFile(str(draft), "rb") as source, pq.ParquetWriter(target, schema) as writer:
            group: list[Any] = []
            for table in _tables_of(source):
                group.append(table.cast(schema))
                if sum(map(len, group)) >= group_rows:
                    writer.write_table(pa.concat_tables(group))
                    group = []
            if group:
                writer.write_table(pa.concat_tables(group))


def _tables_of(draft: Any) -> Iterator[Any]:
    """The arrow tables of a draft, in order."""
    size = draft.size()
    while draft.tell() < size:
        with pa.ipc.open_stream(draft) as reader:
            yield reader.read_all()


@contextmanager
def _compressed(file: BinaryIO, target: str | PathLike[str], gzip_level: int = 9) -> Iterator[Any]:
    """Stream into ``file``, compressed if the suffix of ``target`` demands it."""
    match Path(target).suffix.lower():
        case ".gz":  # without name and time, so that the same table gives the same bytes
            with gzip.GzipFile("", "wb", gzip_level, fileobj=file, mtime=0) as stream:
                yield stream
        case ".zst":
            with pa.CompressedOutputStream(file, "zstd") as stream:
                yield stream
        case _:
            yield file


def _write_csv(frame: pd.DataFrame, stream: BinaryIO, header: bool, delimiter: str = ",") -> None:
    columns = {number: _without_formulas(series) for number, (_, series) in enumerate(frame.items())}
    names = pd.Index([*map(_without_formula, frame.columns)])
    has_return = any(_has_return(values) for values in (*columns.values(), names))
    if not has_return:
        columns = {number: _float_texts(series) for number, series in columns.items()}
    safe = pd.DataFrame(columns, index=frame.index).set_axis(names, axis=1)
    # Python's writer leaves a lone \r unquoted, which ends a line for readers.
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if has_return else csv.QUOTE_MINIMAL
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    try:
        safe.to_csv(text, sep=delimiter, index=False, header=header, lineterminator="\n", quoting=quoting)
    finally:
        text.detach()


def _without_formulas(series: pd.Series) -> pd.Series:
    if not _can_hold_text(series):
        return series
    values = series.astype(object)
    return values.map(_without_formula) if any(_without_formula(text) != text for text in _texts(values)) else values


def _without_formula(value: Any) -> Any:
    """The value, with a leading apostrophe if it is a text that a spreadsheet would run."""
    if not isinstance(value, str) or not re.match(r"[=+\-@\t\r]", value):
        return value
    return value if _HARMLESS.fullmatch(value) else f"'{value}"


def _float_texts(series: pd.Series) -> pd.Series:
    """Floats as the text that pandas would write for them, but faster."""
    if series.dtype != np.float64:
        return series
    texts = [repr(number) if number == number else "" for number in series.tolist()]
    return pd.Series(texts, index=series.index, dtype=object)


def _has_return(values: Any) -> bool:
    return _can_hold_text(values) and any("\r" in text for text in _texts(values))


def _can_hold_text(values: Any) -> bool:
    return not (isinstance(values.dtype, np.dtype) and values.dtype.kind != "O")


def _texts(values: Any) -> set[str]:
    return {value for value in values.tolist() if isinstance(value, str)}


def _write_tsv(frame: pd.DataFrame, stream: BinaryIO, header: bool) -> None:
    _write_csv(frame, stream, header, "\t")


def _write_parquet(frame: pd.DataFrame, stream: BinaryIO, _header: bool) -> None:
    pq.write_table(_arrow_table(frame), stream)


def _arrow_table(frame: pd.DataFrame) -> Any:
    named = frame.set_axis([str(name) for name in frame.columns], axis=1)
    try:
        return pa.Table.from_pandas(named, preserve_index=False)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(f"Parquet cannot hold this table: {error}. Write CSV or JSON lines instead.") from error


def _write_json_lines(frame: pd.DataFrame, stream: BinaryIO, _header: bool) -> None:
    names, n_at_once = [str(name) for name in frame.columns], 10_000
    for start in range(0, len(frame), n_at_once):
        part = frame.iloc[start : start + n_at_once]
        cells = zip(*(_json_values(series) for _, series in part.items()), strict=True)
        rows = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in cells)
        lines = "".join(f"{row}\n" for row in rows)
        stream.write(lines.encode("utf-8", "backslashreplace"))


def _write_excel(frame: pd.DataFrame, stream: BinaryIO, _header: bool) -> None:
    _write_sheet([frame], stream, "xlsx")


def _write_ods(frame: pd.DataFrame, stream: BinaryIO, _header: bool) -> None:
    _write_sheet([frame], stream, "ods")


def _write_sheet(frames: Iterable[pd.DataFrame], stream: BinaryIO, file_format: str) -> None:
    """Write frames below one another; no text is a formula."""
    {"xlsx": _write_excel_rows, "ods": _write_ods_rows}[file_format](_sheet_rows(frames), stream)


def _sheet_rows(frames: Iterable[pd.DataFrame]) -> Iterator[list[Any]]:
    """Rows of texts, numbers, truth values and None, the column names first; DataError if a sheet cannot hold them."""
    n_rows = 0
    for frame in frames:
        if not n_rows:
            yield [_sheet_value(str(name)) for name in frame.columns]
        n_rows += len(frame)
        if n_rows >= _MOST_SHEET_ROWS:
            raise DataError(f"A sheet holds {_MOST_SHEET_ROWS - 1:,} rows. Write CSV or Parquet instead.")
        for row in zip(*(_json_values(series) for _, series in frame.items()), strict=True):
            yield [_sheet_value(value) for value in row]


def _sheet_value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _NOT_IN_SHEETS.sub("\N{REPLACEMENT CHARACTER}", value)[:_LONGEST_CELL]


def _write_excel_rows(rows: Iterable[list[Any]], stream: BinaryIO) -> None:
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
    except ImportError as error:
        raise MissingExtraError(
            'Excel files need the extra: pip install "vae-anomaly[excel]". Or write ODS or CSV.'
        ) from error
    book = Workbook(write_only=True)
    sheet = book.create_sheet("scores")

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = WriteOnlyCell(sheet, value)
        text.data_type = "s"
        return text

    try:
        for row in rows:
            sheet.append([cell(value) for value in row])
    except DataError:
        sheet.close()
        raise
    book.save(stream)


def _write_ods_rows(rows: Iterable[list[Any]], stream: BinaryIO) -> None:
    def part(name: str) -> zipfile.ZipInfo:  # without the time, so that the same table gives the same bytes
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
        return info

    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(part("mimetype"), _ODS_TYPE)  # the first, and not compressed: it identifies the format
        archive.writestr(part("META-INF/manifest.xml"), _ODS_MANIFEST)
        with archive.open(part("content.xml"), "w", force_zip64=True) as content:
            content.write(_ODS_START.encode())
            for row in rows:
                cells = "".join(map(_ods_cell, row))
                content.write(f"<table:table-row>{cells}</table:table-row>".encode("utf-8", "backslashreplace"))
            content.write(_ODS_END.encode())


def _ods_cell(value: Any) -> str:
    match value:
        case None:
            return "<table:table-cell/>"
        case bool():
            shown = str(value).lower()
            kind = f'office:value-type="boolean" office:boolean-value="{shown}"'
        case int() | float():
            shown = repr(value)
            kind = f'office:value-type="float" office:value="{shown}"'
        case _:
            kind = 'office:value-type="string"'
            shown = _SPACES.sub(lambda found: f'<text:s text:c="{len(found[0])}"/>', escape(value))
            shown = shown.replace("\t", "<text:tab/>").replace("\n", "</text:p><text:p>")
    return f"<table:table-cell {kind}><text:p>{shown}</text:p></table:table-cell>"


def _json_values(series: pd.Series) -> list[Any]:
    is_missing = series.isna()
    return [None if gap else _json_value(value) for value, gap in zip(series.astype(object), is_missing, strict=True)]


def _json_value(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float):
        return plain if np.isfinite(plain) else None
    if isinstance(plain, bool | int | str):
        return plain
    return plain.isoformat() if hasattr(plain, "isoformat") else str(plain)


_WRITERS: dict[str, Callable[[pd.DataFrame, BinaryIO, bool], None]] = {  # frame, stream, whether to write a header
    "csv": _write_csv,
    "tsv": _write_tsv,
    "parquet": _write_parquet,
    "jsonl": _write_json_lines,
    "xlsx": _write_excel,
    "ods": _write_ods,
}
