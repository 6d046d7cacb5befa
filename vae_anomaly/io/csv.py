"""Delimited text as frames: whole, or in pieces with the column types of the whole file; errors name the line."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import listed_names
from vae_anomaly.io.pieces import Progress, rows_per_piece
from vae_anomaly.io.source import ByteSource, decompressed, first_bytes

_BYTE_ORDER_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_DECIMAL_COMMA = r"^(\s*[+-]?\d+),(\d+(?:[eE][+-]?\d+)?\s*)$"
_SPARE = "\0"  # a name that no column can have
_EXACT: dict[str, Any] = {}  # pandas 3.1 reads floats exactly by default, and warns if it is asked to
if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
    _EXACT = {"float_precision": "round_trip"}


class DelimitedText:
    """
    A file of delimited text with a line of column names.

    The delimiter (comma, semicolon or tab) and the decimal sign are found out from the first lines, the encoding from
    the byte-order mark, if there is one. ``missing`` are texts that mark a missing cell.
    """

    def __init__(self, source: ByteSource, encoding: str, missing: Sequence[str] = ()) -> None:
        head = first_bytes(source)
        self.source = source
        self.missing = missing
        self.name = source.name
        self.size = source.size
        self.encoding = next((codec for mark, codec in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), encoding)
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise DataError(f"There is no encoding {encoding!r}. Try --encoding utf-8, or latin-1.") from error

    @cached_property
    def names(self) -> list[str]:
        """Column names; the last can be the one that pandas makes from a delimiter at the end of the header."""
        with self._explained(), self._text() as text:
            frame: Any = pd.read_csv(text, sep=self._dialect.delimiter, nrows=0)
        return [str(name) for name in frame.columns]

    def read(self) -> pd.DataFrame:
        """All rows; a last column without name and values is left out."""
        with self._explained(), self._text() as text:
            frame = self._with_points(self._without_spare(pd.read_csv(text, **self._options()), 0))
        return frame.iloc[:, :-1] if ends_in_delimiter(self.names) and frame.iloc[:, -1].isna().all() else frame

    def read_text(self) -> pd.DataFrame:
        """All rows, each cell as the text that stands in the file."""
        with self._explained(), self._text() as text:
            frame = pd.read_csv(text, **self._options() | {"dtype": str, "na_filter": False})
        return frame.iloc[:, :-1] if self._dialect.has_spare else frame

    def pieces(self, types: Mapping[str, Any], progress: Progress) -> Iterator[pd.DataFrame]:
        """
        Rows in pieces.

        Parameters
        ----------
        types
            Types of columns; pandas infers those of the others in each piece.
        progress
            Updated with the bytes read.
        """
        known = {name: dtype for name, dtype in types.items() if name in self.names}
        with self._explained(), self._text(progress) as text:
            parser = pd.read_csv(text, dtype=known, iterator=True, **self._options())
            n_rows, row_bytes = 0, self._dialect.line_length
            while True:
                try:
                    # pandas before 3.1 cuts off extra fields in the first line of a piece without an error.
                    piece = parser.get_chunk(rows_per_piece(len(self.names), row_bytes))
                except StopIteration:
                    return
                if not len(piece):
                    return
                yield self._with_points(self._without_spare(piece, n_rows))
                n_rows += len(piece)
                row_bytes = text.buffer.tell() // n_rows

    @cached_property
    def _dialect(self) -> "_Dialect":
        with self._text() as text:
            lines = list(islice(text, 100))
        delimiter, decimal = _sniffed(lines)
        with self._text() as text:
            header, first = [*_records(text, delimiter, 2), [], []][:2]
        repeated = [name for name, count in Counter(header).items() if count > 1 and name]
        if repeated:
            raise DataError(f"{self.name} has column names more than once: {listed_names(repeated)}. Rename them.")
        if len(first) > len(header) + 1:
            raise self._too_many_fields(self._line_of(1, delimiter, skip_blank=True), len(first), len(header))
        line_length = sum(map(len, lines)) // max(1, len(lines))
        return _Dialect(delimiter, decimal, has_spare=len(first) > len(header), line_length=line_length)

    def _options(self) -> dict[str, Any]:
        """Options of pandas.read_csv, with the name of the spare column that a delimiter at the end of rows makes."""
        dialect = self._dialect
        spare = {"names": [*self.names, _SPARE], "header": 0} if dialect.has_spare else {}
        options = {"sep": dialect.delimiter, "decimal": dialect.decimal, "engine": "c", "low_memory": False}
        markers = {"na_values": [*self.missing, *(f" {marker}" for marker in self.missing)]} if self.missing else {}
        return options | spare | markers | _EXACT

    @contextmanager
    def _text(self, progress: Progress | None = None) -> Iterator[Any]:
        """Decoded text from the beginning."""
        has_nul = self.encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32", "utf16", "utf32"))
        with decompressed(self.source, progress, is_text=not has_nul) as stream:
            yield io.TextIOWrapper(stream, encoding=self.encoding, newline="")

    def _without_spare(self, frame: pd.DataFrame, first: int) -> pd.DataFrame:
        """The frame without its spare column, which must be empty; ``first`` is the position of its first row."""
        if not self._dialect.has_spare:
            return frame
        if (is_filled := frame[_SPARE].notna().to_numpy()).any():
            line = self._line_of(first + int(is_filled.argmax()) + 1, self._dialect.delimiter, skip_blank=True)
            raise self._too_many_fields(line, len(self.names) + 1, len(self.names))
        return frame.iloc[:, :-1]

    def _with_points(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with decimal points in numbers that pandas left as text, because another cell is no number."""
        if self._dialect.decimal != ",":
            return frame
        texts = {name: cells for name, cells in frame.items() if pd.api.types.infer_dtype(cells) == "string"}
        pointed = {str(name): texts[name].str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True) for name in texts}
        return frame.assign(**pointed)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Within it, errors of pandas and of the encoding are a DataError with the line and a remedy."""
        try:
            yield
        except UnicodeError:
            self._explain_encoding()
        except pd.errors.EmptyDataError as error:
            raise DataError(f"{self.name} is empty. A line of column names and at least one row are needed.") from error
        except pd.errors.ParserError as error:
            message = str(error)
            if found := re.search(r"Expected \d+ fields in line (\d+), saw (\d+)", message):
                line = self._line_of(int(found[1]) - 1, self._dialect.delimiter)
                raise self._too_many_fields(line, int(found[2]), len(self.names)) from error
            if found := re.search(r"EOF inside string starting at row (\d+)", message):
                line = self._line_of(int(found[1]), self._dialect.delimiter)
                fault = f"{self.name} has a quote in line {line} that is never closed. Close it, or double it."
                raise DataError(fault) from error
            raise DataError(f"{self.name} cannot be read as delimited text: {message.strip()}.") from error

    def _explain_encoding(self) -> NoReturn:
        where = ""
        if self.source.is_repeatable and not self.encoding.startswith(("utf-16", "utf-32")):
            with decompressed(self.source) as stream:
                for number, line in enumerate(stream, 1):
                    try:
                        line.decode(self.encoding)
                    except UnicodeDecodeError:
                        where = f" (line {number})"
                        break
        hint = "latin-1" if self.encoding.startswith("utf") else "utf-8"
        raise DataError(f"{self.name} is not {self.encoding} text{where}. Name its encoding, e.g. --encoding {hint}.")

    def _too_many_fields(self, line: int, fields: int, expected: int) -> DataError:
        return DataError(
            f"{self.name} has {fields} fields in line {line}, but {expected} column names. "
            "Put quotes around a value that holds the delimiter, or name every column."
        )

    def _line_of(self, number: int, delimiter: str, *, skip_blank: bool = False) -> int:
        """Line in which a record begins, the header being record 0; quoted values can span several lines."""
        if not self.source.is_repeatable:
            return number + 1
        with self._text() as text:
            records = csv.reader(text, delimiter=delimiter)
            if not skip_blank:
                for _ in islice(records, number):
                    pass
                return records.line_num + 1
            line, n_filled = 1, 0
            for record in records:
                if record and n_filled == number:
                    break
                n_filled += bool(record)
                line = records.line_num + 1
        return line


@dataclass(frozen=True)
class _Dialect:
    """
    How a file is written.

    ``has_spare`` is True if its rows end in a delimiter and its header does not; ``line_length`` is in characters.
    """

    delimiter: str
    decimal: str
    has_spare: bool
    line_length: int


def ends_in_delimiter(names: list[str]) -> bool:
    """Whether the last column has no name, as if every line ended in a delimiter."""
    return len(names) > 1 and names[-1].startswith("Unnamed: ")


def _sniffed(lines: list[str]) -> tuple[str, str]:
    """Delimiter with which most lines have as many fields as the header, and the decimal sign."""
    delimiter = max(",;\t", key=lambda delimiter: _agreement(_records(lines, delimiter)))
    cells = [cell for record in _records(lines, delimiter)[1:] for cell in record]
    has_point = any(re.fullmatch(r"\s*[+-]?\d+\.\d+\s*", cell) for cell in cells)
    has_comma = any(re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell) for cell in cells)
    return delimiter, "," if delimiter == ";" and has_comma and not has_point else "."


def _agreement(records: list[list[str]]) -> tuple[float, int]:
    """Fraction of records that have as many fields as the header, and that number; zeros if the header has one."""
    widths = [len(record) - (record[-1] == "") for record in records]  # a delimiter at the end adds no field
    if not widths or widths[0] < 2:
        return 0.0, 0
    return widths.count(widths[0]) / len(widths), widths[0]


def _records(lines: Iterable[str], delimiter: str, most: int | None = None) -> list[list[str]]:
    """The first records that are not blank, up to one that cannot be parsed."""
    records: list[list[str]] = []
    try:
        records.extend(islice(filter(None, csv.reader(lines, delimiter=delimiter)), most))
    except csv.Error:  # a field that never ends
        return records
    return records


class ColumnTypes:
    """
    Types that pandas would give to the columns if all pieces were read at once.

    Integers stay integers only if none is missing. Text in any piece, or numbers together with booleans, make a column
    of text. If the type of integers beyond 64 bits depends on their order in pandas, they are text.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        facts = ("text", "boolean", "float", "integer", "missing", "negative", "above_int64", "beyond_64_bits")
        self._found = {fact: np.zeros(len(names), dtype=bool) for fact in facts}

    def add(self, frame: pd.DataFrame) -> None:
        """Take a piece into account, whose column types pandas has inferred."""
        kinds = np.array([dtype.kind if isinstance(dtype, np.dtype) else "O" for dtype in frame.dtypes], dtype="U1")
        self._found["boolean"] |= kinds == "b"
        for kind in "iu":
            if len(columns := np.flatnonzero(kinds == kind)):
                numbers = frame.iloc[:, columns].to_numpy()
                self._note(columns, integer=True, negative=(numbers < 0).any(axis=0))
                self._note(columns, above_int64=(numbers > 2**63 - 1).any(axis=0))
        if len(columns := np.flatnonzero(kinds == "f")):
            numbers = frame.iloc[:, columns].to_numpy()
            missing = np.isnan(numbers)
            has_missing, is_empty = missing.any(axis=0), missing.all(axis=0)
            is_whole = (missing | ((np.rint(numbers) == numbers) & np.isfinite(numbers))).all(axis=0)
            is_integer = has_missing & is_whole  # pandas has made floats of them because some are missing
            self._note(columns, missing=has_missing, integer=is_integer & ~is_empty, float=~is_integer)
        for column in np.flatnonzero((kinds == "O") & ~self._found["text"]).tolist():
            self._add_objects(column, frame.iloc[:, column])

    def is_empty(self, column: int) -> bool:
        """Whether all cells of a column are missing."""
        return not any(self._found[fact][column] for fact in ("text", "boolean", "float", "integer"))

    def types(self) -> dict[str | int, Any]:
        """Types to read the columns with; None for columns of objects, whose type each piece infers itself."""
        return {name: self._type_of(column) for column, name in enumerate(self.names)}

    def _note(self, columns: Any, **facts: Any) -> None:
        for fact, holds in facts.items():
            self._found[fact][columns] |= holds

    def _add_objects(self, column: int, cells: Any) -> None:
        present = cells.dropna()
        self._note(column, missing=len(present) < len(cells))
        match pd.api.types.infer_dtype(present, skipna=True):
            case "empty":
                return
            case "boolean":
                self._note(column, boolean=True)
            case "integer":
                least, most = int(present.min()), int(present.max())
                self._note(column, integer=True, negative=least < 0, above_int64=most > 2**63 - 1)
                self._note(column, beyond_64_bits=least < -(2**63) or most > 2**64 - 1)
            case _:
                self._note(column, text=True)

    def _type_of(self, column: int) -> Any:
        has = {fact: bool(holds[column]) for fact, holds in self._found.items()}
        is_number = has["float"] or has["integer"]
        if has["text"] or (has["boolean"] and is_number):
            return str
        if has["boolean"]:
            return None if has["missing"] else np.dtype(bool)
        is_large = has["above_int64"] or has["beyond_64_bits"]
        if has["float"] or not is_number or (has["missing"] and not is_large):
            return np.dtype(np.float64)
        if not is_large:
            return np.dtype(np.int64)
        if has["missing"]:
            return str
        return None if has["beyond_64_bits"] else str if has["negative"] else np.dtype(np.uint64)
