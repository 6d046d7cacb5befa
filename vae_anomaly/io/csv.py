"""Delimited text as columns of text: whole, or in pieces; errors name the line."""

import codecs
import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.formatting import listed_names, shorten
from vae_anomaly.io.notation import Notation, find_notation, first_cells, is_row_of_units
from vae_anomaly.io.pieces import Progress, rows_per_piece
from vae_anomaly.io.source import ByteSource, FileOptions, Reader, decompressed, first_bytes, kept_on_disk

_BYTE_ORDER_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_BLOCK = 2**24  # bytes that arrow parses at a time, and the longest row
_SNIFFED = 1_000  # lines
_NO_MEMORY = "MemoryError", "malloc", "realloc", "allocate"  # in arrow's errors, of which Python's have lost their type
_END = "\0"  # a row of our own after the last one: an open quote would swallow it


class DelimitedText:
    """
    A file of delimited text with a line of column names.

    The delimiter (comma, semicolon, tab or bar) and the notation of values are found out from the first lines, the
    encoding from the byte-order mark, if there is one. A first line ``sep=;`` names the delimiter. Comment lines that
    begin with # before the column names are skipped.
    """

    def __init__(self, source: ByteSource, options: FileOptions) -> None:
        head, encoding = first_bytes(source), options.encoding
        self.source = source
        self.options = options
        self.name = source.name
        self.size = source.size
        self.encoding = next((codec for mark, codec in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), encoding)
        try:
            "".encode(self.encoding)  # some codecs are not of text: "rot13", "base64"
        except (LookupError, UnicodeError) as error:  # the latter from "undefined"
            raise DataError(f"There is no encoding {encoding!r}. Try --encoding utf-8, or latin-1.") from error

    def kept(self) -> "DelimitedText":
        """The same text, to be read more than once."""
        return self if self.source.is_repeatable else DelimitedText(kept_on_disk(self.source), self.options)

    @property
    def names(self) -> list[str]:
        """Column names; a column without one has its number as its name."""
        return self._head.names

    @cached_property
    def notation(self) -> Notation:
        """How values are written."""
        return self._head.notation

    def read(self) -> Any:
        """All rows, an arrow table of text; a last column without name and values is left out."""
        table = pa.concat_tables([*self._tables(Progress())] or [self._empty])
        if ends_in_delimiter(self.names) and not pc.any(pc.not_equal(table.column(len(self.names) - 1), "")).as_py():
            return table.remove_column(len(self.names) - 1)
        return table

    def pieces(self, progress: Progress) -> Iterator[Any]:
        """Rows in pieces, arrow tables of text; ``progress`` is updated with the bytes read."""
        held, row_bytes = self._empty, self._head.line_length
        for table in self._tables(progress):
            held = pa.concat_tables([held, table])
            while len(held) >= (rows := rows_per_piece(len(self.names), row_bytes)):
                yield held.slice(0, rows)
                row_bytes = max(1, held.nbytes // len(held))
                held = held.slice(rows)
        while len(held):
            rows = rows_per_piece(len(self.names), row_bytes)
            yield held.slice(0, rows)
            held = held.slice(rows)

    @property
    def _empty(self) -> Any:
        return pa.table({name: pa.array([], pa.string()) for name in self.names})

    def _tables(self, progress: Progress) -> Iterator[Any]:
        """All rows, a block of bytes at a time."""
        head = self._head
        names = [str(number) for number in range(len(head.names) + head.has_spare)]
        rows = _Rows(len(names), head.delimiter)
        with self._explained(), self._utf8(progress) as stream:
            for _ in range(head.n_lines):
                stream.readline()
            try:
                reader = pa_csv.open_csv(
                    pa.PythonFile(io.BufferedReader(_Ended(stream), 2**18), mode="r"),
                    pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
                    pa_csv.ParseOptions(
                        delimiter=head.delimiter, newlines_in_values=True, invalid_row_handler=rows.repair
                    ),
                    pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
                )
                for batch in reader:
                    yield self._named(rows.completed(pa.Table.from_batches([batch])), rows)
                if rows.short:
                    yield self._named(rows.rest(names), rows)
            except pa.ArrowInvalid as error:
                if any(sign in str(error) for sign in _NO_MEMORY):
                    raise MemoryError(str(error)) from error
                self._explain(error, rows)
            except csv.Error as error:  # only short rows are read in this way
                fault = f"fewer fields than column names and a cell of more than {csv.field_size_limit():,} characters"
                raise DataError(
                    f"{self.name} has a row with {fault}. Complete the row, or shorten the cell."
                ) from error
        if not rows.has_ended:
            line = self._line_of(rows.n_rows)
            raise DataError(f"{self.name} has a quote in line {line} that is never closed. Close it, or double it.")

    def _named(self, table: Any, rows: "_Rows") -> Any:
        """The table without its spare column, which must be empty, and without our own last row."""
        head = self._head
        if head.has_spare:
            spare = pc.not_equal(table.column(len(head.names)), "")
            if pc.any(spare).as_py():
                first = rows.n_rows - len(table) + int(pc.index(spare, True).as_py()) + 1
                raise self._too_many_fields(first, len(head.names) + 1)
            table = table.remove_column(len(head.names))
        return table.rename_columns(head.names)

    @cached_property
    def _head(self) -> "_Head":
        with self._explained():
            with self._utf8() as stream:
                lines = [line.decode("utf-8") for line in self._first_lines(stream)]
            if not any(line.strip() for line in lines):
                raise DataError(f"{self.name} is empty. A line of column names and at least one row are needed.")
            return self._sniffed(lines)

    def _first_lines(self, stream: io.BufferedReader) -> Iterator[bytes]:
        """Up to a thousand lines, or as many as a block holds."""
        left = _BLOCK
        for number in range(_SNIFFED):
            line = stream.readline(_BLOCK)
            if len(line) == _BLOCK:
                raise self._too_long(number)
            left -= len(line)
            if not line or (number and left < 0):
                return
            yield line

    def _too_long(self, row: int) -> DataError:
        return DataError(
            f"{self.name} has a row of more than {_BLOCK / 1e6:.0f} MB after row {row:,}, or a quote that is never "
            "closed there. Close the quote, or split the row."
        )

    def _sniffed(self, lines: list[str]) -> "_Head":
        n_before = next(number for number, line in enumerate(lines) if line.strip())
        named = re.match(r"sep=(.)\s*$", lines[n_before])
        if named:
            n_before += 1
        delimiter = named[1] if named else _delimiter_of(_without_comments(lines[n_before:]))
        while n_before < len(lines) and _is_comment(lines[n_before:], delimiter):
            n_before += 1
        header, n_lines = _header(lines[n_before:], delimiter)
        n_lines += n_before
        records = _records(lines[n_lines:], delimiter)
        first = records[0] if records else []
        repeated = [name for name, count in Counter(header).items() if count > 1 and name]
        if repeated:
            raise DataError(f"{self.name} has column names more than once: {listed_names(repeated)}. Rename them.")
        names = [name or f"Unnamed: {number}" for number, name in enumerate(header)]
        if len(names) == 1 and (sign := _other_delimiter(lines[n_before:])):
            how = "replace it by commas" if sign == " " else f"add a first line sep={sign}"
            found = f"{self.name} has one column, {shorten(names[0])!r}"
            warnings.warn(f"{found}. If {sign!r} separates columns, {how}.", DataWarning, stacklevel=5)
        length = sum(map(len, lines)) // len(lines)
        notation = find_notation(self.name, first_cells(names, records), self.options, delimiter)
        if is_row_of_units(self.name, names, records, notation):
            n_lines += _header(lines[n_lines:], delimiter)[1]
        spare = len(first) > len(names)
        head = _Head(names, delimiter, notation, n_lines, has_spare=spare, line_length=length)
        if len(first) > len(names) + 1:
            self.__dict__["_head"] = head
            raise self._too_many_fields(1, len(first))
        return head

    @contextmanager
    def _utf8(self, progress: Progress | None = None) -> Iterator[io.BufferedReader]:
        """The text in UTF-8, from the beginning."""
        codec = codecs.lookup(self.encoding).name
        has_nul = codec.startswith(("utf-16", "utf-32"))
        with decompressed(self.source, progress, is_text=not has_nul) as stream:
            start = stream.peek(2**16)
            if codec == "utf-8-sig" or (codec == "utf-8" and start.startswith(codecs.BOM_UTF8)):
                stream.read(3)
            if codec in ("utf-8", "utf-8-sig") and not (b"\r" in start and b"\n" not in start):
                yield stream
            else:
                yield io.BufferedReader(_Recoded(stream, self.encoding), 2**18)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Within it, errors of the encoding are a DataError with the line and a remedy."""
        try:
            yield
        except UnicodeError:
            self._explain_encoding()

    def _explain(self, error: pa.ArrowInvalid, rows: "_Rows") -> NoReturn:
        if rows.too_long is not None:
            raise self._too_many_fields(*rows.too_long) from error
        if "UTF8" in str(error):
            self._explain_encoding()
        if "straddling" in str(error):
            raise self._too_long(rows.n_rows) from error
        raise DataError(f"{self.name} cannot be read as delimited text: {str(error)[:200].strip()}.") from error

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

    def _too_many_fields(self, row: int, fields: int) -> DataError:
        remedy = "Put quotes around a value that holds the delimiter, or name every column"
        if len(self.names) == 1:
            remedy += f"; if {shorten(self.names[0])!r} is a title, remove the lines before the column names"
        found = f"{self.name} has {fields:,} fields in line {self._line_of(row)}, but {len(self.names):,} column names"
        return DataError(f"{found}. {remedy}.")

    def _line_of(self, row: int) -> int:
        """Line in which a row begins, the first being 1; quoted values can span several lines."""
        head = self._head
        if not self.source.is_repeatable:
            return row + head.n_lines
        with self._utf8() as stream:
            for _ in range(head.n_lines):
                stream.readline()
            records = csv.reader((line.decode("utf-8", "replace") for line in stream), delimiter=head.delimiter)
            line, n_filled = 1, 0
            try:
                for record in records:
                    n_filled += bool(record)
                    if n_filled == row:
                        break
                    line = records.line_num + 1
            except csv.Error:
                pass
        return head.n_lines + line


@dataclass(frozen=True)
class _Head:
    """
    What the first lines show.

    ``n_lines`` come before the first row. ``has_spare`` is True if rows end in a delimiter and the column names do not;
    ``line_length`` is in characters.
    """

    names: list[str]
    delimiter: str
    notation: Notation
    n_lines: int
    has_spare: bool
    line_length: int


@dataclass
class _Rows:
    """Rows with fewer fields than the others, which arrow leaves out: they are completed with empty cells."""

    width: int
    delimiter: str
    n_rows: int = 0
    has_ended: bool = False
    too_long: tuple[int, int] | None = None  # a row with too many fields, and their number
    short: list[tuple[int, str]] = field(default_factory=list)

    def repair(self, row: Any) -> str:
        """Take down a row that has not the right number of fields."""
        if row.text == _END:
            self.has_ended = True
            return "skip"
        if row.actual_columns > row.expected_columns:
            self.too_long = row.number, row.actual_columns
            return "error"
        self.short.append((row.number, row.text))
        return "skip"

    def completed(self, table: Any) -> Any:
        """Rows that arrow has read, with the short ones among them."""
        if self.width == 1 and len(table) and table.column(0)[-1].as_py() == _END:
            self.has_ended, table = True, table.slice(0, len(table) - 1)
        left_out = np.array([number for number, _ in self.short], dtype=np.int64)
        numbers = np.arange(self.n_rows + 1, self.n_rows + 1 + len(table) + len(left_out))
        numbers = numbers[~np.isin(numbers, left_out)][: len(table)]
        n_here = int(np.sum(left_out < numbers[-1])) if len(numbers) else 0
        if n_here:
            both = pa.concat_tables([table, self._of_short(self.short[:n_here], table.column_names)])
            table = both.take(np.argsort(np.concatenate([numbers, left_out[:n_here]]), kind="stable"))
            self.short = self.short[n_here:]
        self.n_rows += len(table)
        return table

    def rest(self, names: list[str]) -> Any:
        """Short rows after the last one that arrow has read."""
        self.n_rows += len(self.short)
        return self._of_short(self.short, names)

    def _of_short(self, rows: list[tuple[int, str]], names: list[str]) -> Any:
        records = [next(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter), []) for _, text in rows]
        filled = [[*record, *[""] * (self.width - len(record))] for record in records]
        cells = list(zip(*filled, strict=True)) if filled else [()] * self.width
        return pa.table({name: pa.array(of_name, pa.string()) for name, of_name in zip(names, cells, strict=True)})


class _Recoded(Reader):
    """Text of any encoding in UTF-8, with a line feed at the end of each line."""

    def __init__(self, stream: io.BufferedReader, encoding: str) -> None:
        self.text = io.TextIOWrapper(stream, encoding=encoding, newline=None)
        self.left = b""

    def next_block(self, size: int) -> bytes:
        while not self.left:
            read = self.text.read(2**16)
            if not read:
                return b""
            self.left = read.encode("utf-8")
        block, self.left = self.left[:size], self.left[size:]
        return block


class _Ended(Reader):
    """A stream followed by a row of our own."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream = stream
        self.end = f"\n{_END}\n".encode()

    def next_block(self, size: int) -> bytes:
        if block := self.stream.read1(size):
            return block
        block, self.end = self.end[:size], self.end[size:]
        return block


def ends_in_delimiter(names: list[str]) -> bool:
    """Whether the last column has no name, as if every line ended in a delimiter."""
    return len(names) > 1 and names[-1].startswith("Unnamed: ")


def _is_comment(lines: list[str], delimiter: str) -> bool:
    """Whether the first line is a comment: it begins with #, and does not name the columns of the next line."""
    if not lines[0].startswith("#") or len(lines) == 1:
        return False
    if lines[0].startswith("# ") or lines[1].startswith("#"):
        return True
    first, second = (len(next(iter(_records([line], delimiter)), [])) for line in lines[:2])
    return first == 1 or first != second


def _without_comments(lines: list[str]) -> list[str]:
    n_comments = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[max(0, n_comments - 1) :] if n_comments < len(lines) else lines


def _header(lines: list[str], delimiter: str) -> tuple[list[str], int]:
    """Column names, and the number of lines up to them."""
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        header: list[str] = next((record for record in reader if record), [])
    except csv.Error:
        return [lines[0].strip()], 1
    return header, reader.line_num


def _delimiter_of(lines: list[str]) -> str:
    """Delimiter with which most lines have as many fields as the header."""
    return max(",;\t|", key=lambda delimiter: _agreement(_records(lines, delimiter, most=100)))


def _other_delimiter(lines: list[str]) -> str:
    """A sign that may be a delimiter, because all lines have it as often as the column names; "" if there is none."""
    filled = [" ".join(line.split()) for line in lines if line.strip()]
    counts = {sign: {line.count(sign) for line in filled} for sign in "^~: "}
    return next((sign for sign, found in counts.items() if len(filled) > 3 and len(found) == 1 and 0 not in found), "")


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
