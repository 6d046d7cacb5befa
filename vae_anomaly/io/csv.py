"""Delimited text with a header: its layout, how it is read whole or in pieces, and what is wrong where it cannot be."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import listed_names
from vae_anomaly.io.origins import Origin, Progress, beginning, rows_a_piece, unpacking

_FACTS = ("text", "truth", "floats", "whole", "gaps", "negative", "unsigned", "huge")
_LEAST, _LARGEST, _LARGEST_UNSIGNED = -(2**63), 2**63 - 1, 2**64 - 1


class ColumnFacts:
    """
    What the cells of columns are, as far as they were read: what pandas would make of all of them at once.

    Whole numbers stay whole only where none is missing; text anywhere, and numbers beside truth values, make text of
    all of it. Whole numbers that no 64 bits hold are taken for text beside others where pandas goes by their order.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._found = {fact: np.zeros(len(names), dtype=bool) for fact in _FACTS}

    def add(self, frame: pd.DataFrame) -> None:
        """Take note of a piece, of which each column has the type that pandas gives it by itself."""
        kinds = np.array([dtype.kind if isinstance(dtype, np.dtype) else "O" for dtype in frame.dtypes], dtype="U1")
        self._found["truth"] |= kinds == "b"
        for kind, note in (("i", self._note_whole), ("u", self._note_whole), ("f", self._note_floats)):
            places = np.flatnonzero(kinds == kind)
            if len(places):
                note(places, frame.iloc[:, places].to_numpy())
        for place in np.flatnonzero((kinds == "O") & ~self._found["text"]).tolist():
            self._note_objects(place, frame.iloc[:, place])

    def is_empty(self, place: int) -> bool:
        """Whether every cell of a column is missing."""
        return not any(self._found[fact][place] for fact in ("text", "truth", "floats", "whole"))

    def types(self) -> dict[str | int, Any]:
        """Types to read the columns with; None where each piece finds it by itself, and all then are objects."""
        return {name: self._type_of(place) for place, name in enumerate(self.names)}

    def _note(self, fact: str, places: Any, holds: Any) -> None:
        self._found[fact][places] |= holds

    def _note_whole(self, places: Any, numbers: np.ndarray) -> None:
        self._note("whole", places, True)
        self._note("negative", places, (numbers < 0).any(axis=0))
        self._note("unsigned", places, (numbers > _LARGEST).any(axis=0))

    def _note_floats(self, places: Any, numbers: np.ndarray) -> None:
        missing = np.isnan(numbers)
        gaps, empty = missing.any(axis=0), missing.all(axis=0)
        whole = gaps & (missing | ((np.rint(numbers) == numbers) & np.isfinite(numbers))).all(axis=0)
        self._note("gaps", places, gaps)
        self._note("whole", places, whole & ~empty)
        self._note("floats", places, ~whole)

    def _note_objects(self, place: int, cells: Any) -> None:
        present = cells.dropna()
        self._note("gaps", place, len(present) < len(cells))
        match pd.api.types.infer_dtype(present, skipna=True):
            case "empty":
                return
            case "boolean":
                self._note("truth", place, True)
            case "integer":
                least, most = int(present.min()), int(present.max())
                self._note("whole", place, True)
                self._note("negative", place, least < 0)
                self._note("unsigned", place, most > _LARGEST)
                self._note("huge", place, least < _LEAST or most > _LARGEST_UNSIGNED)
            case _:
                self._note("text", place, True)

    def _type_of(self, place: int) -> Any:
        found = {fact: bool(holds[place]) for fact, holds in self._found.items()}
        has_numbers = found["floats"] or found["whole"]
        if found["text"] or (found["truth"] and has_numbers):
            return str
        if found["truth"]:
            return None if found["gaps"] else np.dtype(bool)
        large = found["unsigned"] or found["huge"]
        if found["floats"] or not has_numbers or (found["gaps"] and not large):
            return np.dtype(np.float64)
        if not large:
            return np.dtype(np.int64)
        if found["gaps"]:
            return str
        return None if found["huge"] else str if found["negative"] else np.dtype(np.uint64)


_BYTE_ORDER_MARKS = {  # the longer first: UTF-16's begins UTF-32's
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_DELIMITERS = ",;\t"
_SNIFFED_LINES = 100
_SPARE = "\0"  # a name that no column can have
_DECIMAL_COMMA, _DECIMAL_POINT = re.compile(r"\s*[+-]?\d+,\d+\s*"), re.compile(r"\s*[+-]?\d+\.\d+\s*")
_EXACT: dict[str, Any] = {}  # pandas 3.1 reads floats exactly by itself, and warns where it is asked to
if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
    _EXACT = {"float_precision": "round_trip"}


@dataclass(frozen=True)
class _Form:
    """How a file is laid out.

    ``is_wider`` says that its rows end in a delimiter and its header does not, ``width`` how long a line is.
    """

    delimiter: str
    decimal: str
    is_wider: bool
    width: int


class DelimitedText:
    """A file of delimited text, of which every line has the fields of its header."""

    def __init__(self, origin: Origin, encoding: str) -> None:
        head = beginning(origin)
        marks = [codec for mark, codec in _BYTE_ORDER_MARKS.items() if head.startswith(mark)]
        self.origin = origin
        self.name = origin.name
        self.encoding = _known([*marks, encoding][0])

    @property
    def size(self) -> int | None:
        """Bytes, as they are stored, where they are known."""
        return self.origin.size

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns; the last may be one that a delimiter at the end of the lines makes."""
        with self._explained(), self._text() as text:
            frame: Any = pd.read_csv(text, sep=self._form.delimiter, nrows=0)
        return [str(name) for name in frame.columns]

    def read(self) -> pd.DataFrame:
        """Read all rows; a last column without name and values is left out."""
        with self._explained(), self._text() as text:
            frame = self._without_spare(pd.read_csv(text, **self._options), 0)
        return frame.iloc[:, :-1] if ends_in_delimiter(self.names) and frame.iloc[:, -1].isna().all() else frame

    def pieces(self, types: Mapping[str, Any], progress: Progress) -> Iterator[pd.DataFrame]:
        """
        Read the rows piece by piece.

        Parameters
        ----------
        types
            Types of columns; of the others each piece has what its own cells say.
        progress
            Is told of the bytes read.
        """
        known = {name: kind for name, kind in types.items() if name in self.names}
        with self._explained(), self._text(progress) as text:
            parser = pd.read_csv(text, dtype=known, iterator=True, **self._options)
            read, width = 0, self._form.width
            # pandas before 3.1 cuts off, and does not refuse, what the first line of a piece has too many fields.
            while len(piece := _next_piece(parser, rows_a_piece(len(self.names), width))):
                yield self._without_spare(piece, read)
                read += len(piece)
                width = text.buffer.tell() // read

    @cached_property
    def _form(self) -> _Form:
        with self._text() as text:
            lines = list(islice(text, _SNIFFED_LINES))
        delimiter, decimal = _sniffed(lines)
        with self._text() as text:
            header, first = [*_records(text, delimiter, 2), [], []][:2]
        repeated = [name for name, times in Counter(header).items() if times > 1 and name]
        if repeated:
            raise DataError(f"{self.name} has column names more than once: {listed_names([*repeated])}. Rename them.")
        if len(first) > len(header) + 1:
            raise self._too_many_fields(self._line_of_row(0, delimiter), len(first), len(header))
        width = sum(map(len, lines)) // max(1, len(lines))
        return _Form(delimiter, decimal, is_wider=len(first) > len(header), width=width)

    @property
    def _options(self) -> dict[str, Any]:
        """How pandas is to read it: with a spare column for what follows a delimiter at the end."""
        form = self._form
        wider = {"names": [*self.names, _SPARE], "header": 0} if form.is_wider else {}
        return {"sep": form.delimiter, "decimal": form.decimal, "engine": "c", "low_memory": False, **wider, **_EXACT}

    @contextmanager
    def _text(self, progress: Progress | None = None) -> Iterator[Any]:
        """Text from the beginning."""
        wide = self.encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32", "utf16", "utf32"))
        with unpacking(self.origin, progress, is_text=not wide) as stream:
            yield io.TextIOWrapper(stream, encoding=self.encoding, newline="")

    def _without_spare(self, frame: pd.DataFrame, first: int) -> pd.DataFrame:
        """The frame, which begins at this row, without the spare column, in which there must be nothing."""
        if not self._form.is_wider:
            return frame
        if (filled := frame[_SPARE].notna().to_numpy()).any():
            line = self._line_of_row(first + int(filled.argmax()), self._form.delimiter)
            raise self._too_many_fields(line, len(self.names) + 1, len(self.names))
        return frame.iloc[:, :-1]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say of what pandas and the encoding complain about where it is, and what to do."""
        try:
            yield
        except UnicodeError:
            self._explain_encoding()
        except pd.errors.EmptyDataError as error:
            raise DataError(f"{self.name} is empty. A line of column names and at least one row are needed.") from error
        except pd.errors.ParserError as error:
            raise self._explanation(str(error)) from error

    def _explanation(self, message: str) -> DataError:
        if found := re.search(r"Expected \d+ fields in line (\d+), saw (\d+)", message):
            record, fields = map(int, found.groups())
            return self._too_many_fields(self._line_of(record - 1), fields, len(self.names))
        if found := re.search(r"EOF inside string starting at row (\d+)", message):
            line = self._line_of(int(found[1]))
            return DataError(f"{self.name} has a quote in line {line} that is never closed. Close it, or double it.")
        return DataError(f"{self.name} cannot be read as delimited text: {message.strip()}.")

    def _too_many_fields(self, line: int, fields: int, expected: int) -> DataError:
        return DataError(
            f"{self.name} has {fields} fields in line {line}, but {expected} column names. "
            "Put quotes around a value that holds the delimiter, or name every column."
        )

    def _line_of(self, record: int) -> int:
        """Line of the file in which a record, counted from 0, begins: quoted values may run over several lines."""
        if not self.origin.lasts:
            return record + 1  # what is gone cannot be looked into
        with self._text() as text:
            records = csv.reader(text, delimiter=self._form.delimiter)
            for _ in islice(records, record):
                pass
            return records.line_num + 1

    def _line_of_row(self, row: int, delimiter: str) -> int:
        """Line of the file in which a row of data, counted from 0, begins; blank lines are no rows."""
        if not self.origin.lasts:
            return row + 2
        with self._text() as text:
            records = csv.reader(text, delimiter=delimiter)
            filled, line = 0, 1
            for record in records:
                filled += bool(record)
                if filled == row + 2:
                    break
                line = records.line_num + 1
        return line

    def _explain_encoding(self) -> NoReturn:
        hint = "latin-1" if self.encoding.startswith("utf") else "utf-8"
        message = f"{self.name} is not {self.encoding} text{self._place_of_strange_bytes()}."
        raise DataError(f"{message} Name its encoding, e.g. --encoding {hint}.")

    def _place_of_strange_bytes(self) -> str:
        if self.encoding.startswith(("utf-16", "utf-32")) or not self.origin.lasts:
            return ""
        with unpacking(self.origin) as stream:
            strange = (n for n, line in enumerate(stream, 1) if not _decodes(line, self.encoding))
            return "".join(f" (line {n})" for n in islice(strange, 1))


def ends_in_delimiter(names: list[str]) -> bool:
    """Whether the last column has no name, as a delimiter at the end of every line makes one."""
    return len(names) > 1 and names[-1].startswith("Unnamed: ")


def _known(encoding: str) -> str:
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise DataError(f"There is no encoding {encoding!r}. Try --encoding utf-8, or latin-1.") from error
    return encoding


def _next_piece(parser: Any, rows: int) -> pd.DataFrame:
    """The next rows, none at the end."""
    try:
        return parser.get_chunk(rows)
    except StopIteration:
        return pd.DataFrame()


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _records(lines: Iterable[str], delimiter: str, most: int | None = None) -> list[list[str]]:
    """Records of the first lines without the blank ones, as far as it goes."""
    records: list[list[str]] = []
    try:
        records.extend(islice(filter(None, csv.reader(lines, delimiter=delimiter)), most))
    except csv.Error:  # an endless field
        return records
    return records


def _sniffed(lines: list[str]) -> tuple[str, str]:
    """Delimiter that cuts the most lines as it cuts the header, and the decimal sign."""
    delimiter = max(_DELIMITERS, key=lambda delimiter: _agreement(_records(lines, delimiter)))
    cells = [cell for record in _records(lines, delimiter)[1:] for cell in record]
    has_comma = any(map(_DECIMAL_COMMA.fullmatch, cells)) and not any(map(_DECIMAL_POINT.fullmatch, cells))
    return delimiter, "," if delimiter == ";" and has_comma else "."


def _agreement(records: list[list[str]]) -> tuple[float, int]:
    """Share of records as wide as the header, and that width; nothing where the header is one field."""
    widths = [len(record) - (record[-1] == "") for record in records]  # a delimiter at the end is no field
    if not widths or widths[0] < 2:
        return 0.0, 0
    return widths.count(widths[0]) / len(widths), widths[0]
