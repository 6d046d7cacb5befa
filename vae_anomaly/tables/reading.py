"""Read a table from a file: Parquet, or text with commas, semicolons or tabs between its columns; compressed or not."""

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pandas as pd
import pyarrow as pa

from vae_anomaly.errors import DataError
from vae_anomaly.tables.frames import listed

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_PARQUET = b"PAR1"
_BYTE_ORDER_MARKS = {  # the longer first: UTF-16's begins UTF-32's
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_DELIMITERS = ",;\t"
_SNIFFED_LINES = 100
_BLOCK = 2**20
_DECIMAL_COMMA, _DECIMAL_POINT = re.compile(r"\s*[+-]?\d+,\d+\s*"), re.compile(r"\s*[+-]?\d+\.\d+\s*")
_EXACT: dict[str, Any] = {}  # pandas 3.1 reads floats exactly by itself, and warns where it is asked to
if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
    _EXACT = {"float_precision": "round_trip"}


def read_table(source: str | PathLike[str], *, encoding: str = "utf-8") -> pd.DataFrame:
    """
    Read a table.

    Parameters
    ----------
    source
        A file, or "-" for standard input. What it holds is told by its content: Parquet, or delimited text with a line
        of column names, either of them also compressed with gzip or zstd.
    encoding
        Encoding of text that has no byte-order mark.

    Raises
    ------
    DataError
        If there is no such file, or it is no table of at least one row: says what is wrong where, and what to do.
    """
    with _opened(source) as (stream, name):
        stream = _decompressed(stream, name)
        if _head(stream).startswith(_PARQUET):
            frame = _read_parquet(stream, name)
        else:
            marks = [codec for mark, codec in _BYTE_ORDER_MARKS.items() if _head(stream).startswith(mark)]
            frame = _DelimitedText(stream, name, [*marks, encoding][0]).read()
    if frame.empty:
        raise DataError(f"{name} has column names but no rows: {listed(list(frame.columns))}. Add rows.")
    return frame


@contextmanager
def _opened(source: str | PathLike[str]) -> Iterator[tuple[BinaryIO, str]]:
    """Open a seekable stream of bytes, and give its name for messages."""
    if source == "-":
        yield io.BytesIO(sys.stdin.buffer.read()), "Standard input"
        return
    name = repr(str(source))
    with _open_file(Path(source), name) as file:
        yield (file if file.seekable() else io.BytesIO(file.read())), name


def _open_file(path: Path, name: str) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}. Check the name and the folder.") from error
    except IsADirectoryError as error:
        raise DataError(f"{name} is a folder. Name a file in it.") from error
    except PermissionError as error:
        raise DataError(f"No permission to read {name}. Change its permissions.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise DataError(f"Cannot read {name}: {getattr(error, 'strerror', None) or error}.") from error


def _head(stream: BinaryIO) -> bytes:
    stream.seek(0)
    head = stream.read(4)
    stream.seek(0)
    return head


def _decompressed(stream: BinaryIO, name: str) -> BinaryIO:
    head = _head(stream)
    for magic, compression in _COMPRESSIONS.items():
        if head.startswith(magic):
            try:
                return io.BytesIO(pa.CompressedInputStream(stream, compression).read())
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{name} is damaged or cut short: it does not decompress ({compression}).") from error
    return stream


def _read_parquet(stream: BinaryIO, name: str) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(stream, engine="pyarrow")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{name} is damaged or cut short: it cannot be read as Parquet. Fetch it again.") from error
    return frame.reset_index() if any(level is not None for level in frame.index.names) else frame


@dataclass(frozen=True)
class _DelimitedText:
    """Delimited text with a header, and what is to be said about it where it cannot be read."""

    stream: BinaryIO
    name: str
    encoding: str

    def read(self) -> pd.DataFrame:
        """Read the table."""
        self._refuse_binary()
        try:
            with self._text() as text:
                lines = list(islice(text, _SNIFFED_LINES))
            delimiter, decimal = _sniffed(lines)
            header, first = self._beginning(delimiter)
            self._refuse_repeated_names(header)
            frame = self._parsed(delimiter, decimal)
        except UnicodeError:
            self._explain_encoding()
        except LookupError as error:
            raise DataError(f"There is no encoding {self.encoding!r}. Try --encoding utf-8, or latin-1.") from error
        if len(first) > len(header):
            return self._shifted_back(frame, len(first), delimiter)
        return _without_trailing_column(frame)

    @contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        """Text from the beginning; the stream stays open."""
        self.stream.seek(0)
        text = io.TextIOWrapper(self.stream, encoding=self.encoding, newline="")
        try:
            yield text
        finally:
            text.detach()

    def _refuse_binary(self) -> None:
        if self.encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32", "utf16", "utf32")):
            return
        self.stream.seek(0)
        line = 1
        while block := self.stream.read(_BLOCK):
            if (place := block.find(b"\0")) >= 0:
                line += block.count(b"\n", 0, place)
                raise DataError(f"{self.name} is no text: line {line} has a NUL byte. Give CSV or Parquet.")
            line += block.count(b"\n")

    def _beginning(self, delimiter: str) -> tuple[list[str], list[str]]:
        """Header and first row, as far as there are any."""
        with self._text() as text:
            header, first = [*_records(text, delimiter, 2), [], []][:2]
        return header, first

    def _refuse_repeated_names(self, header: list[str]) -> None:
        repeated = [name for name, times in Counter(header).items() if times > 1 and name]
        if repeated:
            raise DataError(f"{self.name} has column names more than once: {listed([*repeated])}. Rename them.")

    def _parsed(self, delimiter: str, decimal: str) -> pd.DataFrame:
        try:
            with self._text() as text:
                return pd.read_csv(text, sep=delimiter, decimal=decimal, engine="c", low_memory=False, **_EXACT)
        except pd.errors.EmptyDataError as error:
            raise DataError(f"{self.name} is empty. A line of column names and at least one row are needed.") from error
        except pd.errors.ParserError as error:
            raise self._explained(str(error), delimiter) from error

    def _explained(self, message: str, delimiter: str) -> DataError:
        if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message):
            expected, record, fields = map(int, found.groups())
            return self._too_many_fields(self._line_of(record - 1, delimiter), fields, expected)
        if found := re.search(r"EOF inside string starting at row (\d+)", message):
            line = self._line_of(int(found[1]), delimiter)
            return DataError(f"{self.name} has a quote in line {line} that is never closed. Close it, or double it.")
        return DataError(f"{self.name} cannot be read as delimited text: {message.strip()}.")

    def _too_many_fields(self, line: int, fields: int, expected: int) -> DataError:
        return DataError(
            f"{self.name} has {fields} fields in line {line}, but {expected} column names. "
            "Put quotes around a value that holds the delimiter, or name every column."
        )

    def _line_of(self, record: int, delimiter: str) -> int:
        """Line of the file in which a record, counted from 0, begins: quoted values may run over several lines."""
        with self._text() as text:
            records = csv.reader(text, delimiter=delimiter)
            for _ in islice(records, record):
                pass
            return records.line_num + 1

    def _line_of_first_row(self, delimiter: str) -> int:
        with self._text() as text:
            records = csv.reader(text, delimiter=delimiter)
            filled, line = 0, 1
            for record in records:
                filled += bool(record)
                if filled == 2:
                    break
                line = records.line_num + 1
        return line

    def _shifted_back(self, frame: pd.DataFrame, fields: int, delimiter: str) -> pd.DataFrame:
        """Undo what pandas makes of rows with more fields than the header: it takes the first for the index."""
        names, shifted = frame.columns, frame.reset_index()
        if fields > len(names) + 1 or shifted.iloc[:, -1].notna().any():
            raise self._too_many_fields(self._line_of_first_row(delimiter), fields, len(names))
        return shifted.iloc[:, :-1].set_axis(names, axis=1)

    def _explain_encoding(self) -> NoReturn:
        self.stream.seek(0)
        where = ""
        if not self.encoding.startswith(("utf-16", "utf-32")):
            strange = (n for n, line in enumerate(self.stream, 1) if not _decodes(line, self.encoding))
            where = "".join(f" (line {n})" for n in islice(strange, 1))
        hint = "latin-1" if self.encoding.startswith("utf") else "utf-8"
        raise DataError(f"{self.name} is not {self.encoding} text{where}. Name its encoding, e.g. --encoding {hint}.")


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _without_trailing_column(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop the column that a delimiter at the end of every line makes."""
    last = frame.columns[-1]
    is_trailing = str(last).startswith("Unnamed: ") and len(frame.columns) > 1 and len(frame) > 0
    return frame.iloc[:, :-1] if is_trailing and frame[last].isna().all() else frame


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
