"""Tables in JSON, spreadsheets and Feather files, which hold values and not text alone.

JSON and spreadsheets become columns of text, as `DelimitedText` gives them: their numbers keep all their digits, and a
model reads its columns in the same way.
"""

import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from itertools import chain, islice
from typing import Any

import pandas as pd
import pyarrow as pa

from vae_anomaly.errors import DataError, MissingExtraError
from vae_anomaly.formatting import counted, listed_names, shorten
from vae_anomaly.io.notation import Notation, find_notation, first_cells, is_row_of_units
from vae_anomaly.io.pieces import Progress, rows_per_piece
from vae_anomaly.io.source import ByteSource, FileOptions, decompressed, kept_on_disk
from vae_anomaly.io.text import WrittenText, present_texts

SNIFFED = 1_000  # records that name the columns
AT_ONCE = 2**12  # records
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # Excel's and ODS; Excel's before 2007
FEATHER = (b"ARROW1", b"FEA1")


class JsonRecords:
    """JSON lines, or an array of records: every record is a row, every key a column."""

    def __init__(self, source: ByteSource, options: FileOptions) -> None:
        self.source = source
        self.options = options
        self.name = source.name
        self.size = source.size

    def kept(self) -> "JsonRecords":
        """The same records, to be read more than once."""
        return self if self.source.is_repeatable else JsonRecords(kept_on_disk(self.source), self.options)

    @cached_property
    def names(self) -> list[str]:
        """Keys of the first records, in the order of their appearance."""
        return list(dict.fromkeys(key for record in self._first for key in record))

    @cached_property
    def notation(self) -> Notation:
        """How values in quotes are written."""
        rows = [[record.get(name) for name in self.names] for record in self._first]
        return notation_of(self.name, self.names, rows, self.options)

    @cached_property
    def _first(self) -> list[dict[str, Any]]:
        return [record for _, record in islice(self._records(Progress()), SNIFFED)]

    def read(self) -> Any:
        """All rows, an arrow table of text."""
        return pa.concat_tables([as_text([], self.names), *self._tables(Progress())])

    def pieces(self, progress: Progress) -> Iterator[Any]:
        """Rows in pieces, arrow tables of text; ``progress`` is updated with the bytes read."""
        return of_size(self._tables(progress), self.names)

    def _tables(self, progress: Progress) -> Iterator[Any]:
        records, known = self._records(progress), set(self.names)
        while some := list(islice(records, AT_ONCE)):
            for number, record in some:
                if unknown := [key for key in record if key not in known]:
                    message = f"record {number:,} has {listed_names(unknown)}, which the first {SNIFFED:,} lack"
                    raise DataError(f"{self.name}: {message}. Add the keys to the first record, with null.")
            rows = [[record.get(name) for name in self.names] for _, record in some]
            yield as_text(rows, self.names, self.notation)

    def _records(self, progress: Progress) -> Iterator[tuple[int, dict[str, Any]]]:
        with decompressed(self.source, progress) as stream:
            lines = io.TextIOWrapper(stream, encoding="utf-8-sig")
            try:
                start = next(filter(str.strip, lines), "")
            except UnicodeError as error:
                raise DataError(f"{self.name} is not UTF-8 text, as JSON is. Convert it.") from error
            if start.lstrip().startswith("["):  # an array is parsed at once
                found: Iterable[Any] = self._parsed(start + lines.read(), 1)
            else:
                found = (self._parsed(line, n) for n, line in enumerate(chain([start], lines), 1) if line.strip())
            for number, record in enumerate(found, 1):
                if not isinstance(record, dict):
                    shown = shorten(record)
                    raise DataError(
                        f"{self.name}: record {number:,} is {shown}, not an object of names and values. "
                        'Write rows as {"name": value, ...}.'
                    )
                if isinstance(record, _Repeated):
                    names = listed_names(record.keys_of_several)
                    raise DataError(f"{self.name}: record {number:,} has {names} more than once. Rename one of them.")
                for key, value in record.items():
                    if isinstance(value, dict | list):
                        where = f"{self.name}: record {number:,} has {shorten(value)} in {shorten(key)!r}"
                        raise DataError(f"{where}; a cell holds one value. Split it into columns.")
                yield number, record

    def _parsed(self, text: str, line: int) -> Any:
        try:
            return json.loads(
                text,
                parse_float=_Number,
                parse_int=_Number,
                parse_constant=lambda name: None if name == "NaN" else _Number(name),  # not infinity
                object_pairs_hook=_record_of,
            )
        except (ValueError, RecursionError) as error:
            where = f"line {line + text.count(chr(10), 0, getattr(error, 'pos', 0) - 1):,}"
            raise DataError(f"{self.name} is not JSON: {where} cannot be parsed. Write one record a line.") from error


class Spreadsheet:
    """A sheet of an Excel or ODS file, by default the only one with cells."""

    def __init__(self, source: ByteSource, options: FileOptions) -> None:
        self.name = source.name
        self.size = source.size
        self.options = options
        self._source = source
        self._table = options.table

    def kept(self) -> "Spreadsheet":
        """The sheet itself, which can be read more than once."""
        return self

    @cached_property
    def _rows(self) -> list[list[Any]]:
        try:
            from python_calamine import CalamineWorkbook
        except ImportError as error:
            raise MissingExtraError(
                f'{self.name} is a spreadsheet, which needs the extra: pip install "vae-anomaly[excel]". '
                "Or save it as CSV."
            ) from error
        with decompressed(self._source) as stream:
            content = io.BytesIO(stream.read())
        try:
            book = CalamineWorkbook.from_filelike(content)
            sheets = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
        except Exception as error:
            raise DataError(f"{self.name} is damaged, encrypted or no spreadsheet. Save it as CSV.") from error
        filled = {name: rows for name, rows in sheets.items() if any(map(_is_filled, rows))}
        if self._table is not None and self._table not in sheets:
            raise DataError(f"{self.name} has no sheet {self._table!r}. It has: {listed_names(sheets)}.")
        if self._table is None and len(filled) > 1:
            found = f"{counted(len(filled), 'sheets')}: {listed_names(filled)}"
            raise DataError(f"{self.name} has {found}. Name one: --table NAME (table= in Python).")
        rows = sheets[self._table] if self._table is not None else next(iter(filled.values()), [])
        first = next((number for number, row in enumerate(rows) if _is_filled(row)), 0)
        return [row for row in rows[first:] if _is_filled(row)]

    @cached_property
    def names(self) -> list[str]:
        """Texts of the first row with cells."""
        if not self._rows:
            raise DataError(f"{self.name} is empty. A row of column names and at least one row are needed.")
        width = max(number + 1 for row in self._rows for number, cell in enumerate(row) if cell != "")
        header = [_text(cell).strip() for cell in [*self._rows[0], *[""] * width][:width]]
        names = [name or f"Unnamed: {number}" for number, name in enumerate(header)]
        if repeated := list(dict.fromkeys(name for name in names if names.count(name) > 1)):
            raise DataError(f"{self.name} has column names more than once: {listed_names(repeated)}. Rename them.")
        return names

    @cached_property
    def notation(self) -> Notation:
        """How values in cells of text are written."""
        return notation_of(self.name, self.names, self._filled[:SNIFFED], self.options)

    @cached_property
    def _filled(self) -> list[list[Any]]:
        """The rows, each of full width."""
        return [[*row, *[""] * len(self.names)][: len(self.names)] for row in self._rows[1:]]

    @cached_property
    def _values(self) -> list[list[Any]]:
        """The rows without one of units."""
        first = as_text(self._filled[:SNIFFED], self.names, self.notation)
        texts = [*zip(*(column.to_pylist() for column in first.columns), strict=True)]
        return self._filled[is_row_of_units(self.name, self.names, texts, self.notation) :]

    def read(self) -> Any:
        """All rows, an arrow table of text."""
        return as_text(self._values, self.names, self.notation)

    def pieces(self, progress: Progress) -> Iterator[Any]:
        """Rows in pieces, arrow tables of text."""
        yield from of_size([self.read()], self.names)
        progress.here = self.size or 0


class FeatherTable:
    """A Feather file, read at once."""

    def __init__(self, source: ByteSource, options: FileOptions) -> None:
        self.name = source.name
        self.size = source.size
        self._source = source
        self._options = options

    @cached_property
    def _frame(self) -> pd.DataFrame:
        from pyarrow import feather

        try:
            with decompressed(self._source) as stream:
                frame = feather.read_table(pa.BufferReader(stream.read())).to_pandas()
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{self.name} is damaged: it cannot be read as Feather. Fetch it again.") from error
        texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name].dtype)]
        return frame.assign(**{name: frame[name].mask(frame[name].isin(self._options.missing)) for name in texts})

    @property
    def names(self) -> list[str | int]:
        """Column names."""
        return list(self._frame.columns)

    @property
    def types(self) -> dict[str | int, Any]:
        """Types of the columns."""
        return dict(zip(self.names, self._frame.dtypes, strict=True))

    @cached_property
    def written(self) -> WrittenText:
        """How numbers and dates in columns of text are written, as the first rows show."""
        return WrittenText.of(self.name, present_texts(self._frame, self._options), self._options)

    def read(self) -> pd.DataFrame:
        """All rows."""
        return self._frame

    def pieces(
        self, types: Mapping[str | int, Any], progress: Progress, *, only: Collection[str | int] | None = None
    ) -> Iterator[pd.DataFrame]:
        """Rows in pieces, with some columns of other types."""
        frame = self._frame[[name for name in self.names if only is None or name in only]]
        step = rows_per_piece(len(self.names), 1)
        for first in range(0, len(frame), step):
            piece = frame.iloc[first : first + step]
            yield piece.astype({name: dtype for name, dtype in types.items() if name in piece})
        progress.here = self.size or 0


def of_size(tables: Iterable[Any], names: list[str]) -> Iterator[Any]:
    """The rows of tables, again in pieces."""
    held = as_text([], names)
    for table in tables:
        held = pa.concat_tables([held, table])
        rows = rows_per_piece(len(names), max(1, held.nbytes // max(1, len(held))))
        while len(held) >= rows:
            yield held.slice(0, rows)
            held = held.slice(rows)
    if len(held):
        yield held


class _Number(str):
    """The text of a number that is not in quotes."""


class _Repeated(dict[str, Any]):
    """A record in which keys stand more than once."""

    keys_of_several: Sequence[str] = ()


def _record_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The record of a JSON object."""
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    repeated = _Repeated(record)
    repeated.keys_of_several = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    return repeated


def notation_of(source: str, names: list[str], rows: Sequence[Sequence[Any]], options: FileOptions) -> Notation:
    """How cells of text are written; numbers and dates that are no text show nothing."""
    texts = [[cell if type(cell) is str else "" for cell in row] for row in rows]
    return find_notation(source, first_cells(names, texts), options)


def as_text(rows: Sequence[Sequence[Any]], names: list[str], notation: Notation = Notation()) -> Any:  # noqa: B008
    """Rows as columns of text, in which numbers have the decimal sign of the cells that are text."""
    cells = zip(*rows, strict=True) if rows else [()] * len(names)
    decimals = [notation.of(name).decimal for name in names]
    columns = [
        pa.array([_text(cell, sign) for cell in column], pa.string())
        for column, sign in zip(cells, decimals, strict=True)
    ]
    return pa.table(dict(zip(names, columns, strict=True)))


def _text(cell: Any, decimal: str = ".") -> str:
    """The text that stands for a value; a whole number has no point, midnight no time."""
    match cell:
        case None:
            return ""
        case _Number():
            return cell.replace(".", decimal)
        case str():
            return cell
        case float():
            whole = cell.is_integer() and abs(cell) < 2**53
            return str(int(cell)) if whole else repr(cell).replace(".", decimal)
        case Decimal():
            return str(cell).replace(".", decimal)
        case datetime():
            return cell.isoformat() if cell.time() != time() else cell.date().isoformat()
        case date():
            return cell.isoformat()
        case _:
            return str(cell)


def _is_filled(row: list[Any]) -> bool:
    return any(cell != "" for cell in row)
