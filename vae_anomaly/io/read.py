"""Read tables: one file whole, or many files in pieces, with the column types of all files together or of a fit."""

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import listed_names
from vae_anomaly.io.csv import DelimitedText, ends_in_delimiter
from vae_anomaly.io.database import DatabaseTable, duckdb_table, is_url, sqlite_table, url_table
from vae_anomaly.io.notation import Name, Notation, agreed
from vae_anomaly.io.parquet import MAGIC, ParquetTable, joint_categories, with_missing
from vae_anomaly.io.pieces import Progress
from vae_anomaly.io.records import FEATHER, SPREADSHEETS, FeatherTable, JsonRecords, Spreadsheet
from vae_anomaly.io.source import (
    STANDARD_INPUT,
    FileOptions,
    StoredFile,
    byte_source,
    decompressed,
    first_bytes,
    kept_in_memory,
    unpacked_size,
)
from vae_anomaly.io.text import (
    TextColumn,
    WrittenText,
    known_frame,
    read_kinds,
    see_all,
    settle_dates,
    texts_of,
    typed_frame,
    warn_of_assumptions,
)

TypedFile = ParquetTable | FeatherTable  # whose columns have types
TextFile = DelimitedText | JsonRecords | Spreadsheet | DatabaseTable  # whose cells are text
Rows = Iterator[tuple[pd.DataFrame, pd.DataFrame, str | None]]

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".jsonl", ".ndjson", ".json", ".xlsx", ".ods", ".feather")
SQLITE, DUCKDB = b"SQLite format 3\0", b"DUCK"
COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")
UNREAD = {  # first bytes of formats that are not read, and what a person does
    b"\x89HDF": ("an HDF5 file", "pandas.read_hdf"),
    b"ORC": ("an ORC file", "pandas.read_orc"),
    b"Obj\x01": ("an Avro file", "fastavro or polars.read_avro"),
    b"$FL2": ("an SPSS file", "pandas.read_spss"),
    b"<stata_dta>": ("a Stata file", "pandas.read_stata"),
    b"HEADER RECORD": ("a SAS file", "pandas.read_sas"),
    b"\x93NUMPY": ("a NumPy file", "numpy.load"),
    b"RDX": ("an R file", "R's write.csv"),
    b"%PDF": ("a PDF file", "a table extractor"),
    b"<!DOCTYPE": ("a page of HTML", "pandas.read_html"),
    b"<html": ("a page of HTML", "pandas.read_html"),
    b"<?xml": ("an XML file", "pandas.read_xml"),
    b"\x80\x04\x95": ("a pickle, which could run code", "the program that wrote it"),
}
_IGNORED = (".", "_")  # first characters of hidden files, and of files such as _SUCCESS


def read_table(
    source: str | PathLike[str],
    *,
    encoding: str = "utf-8",
    missing: str | Sequence[str] = (),
    table: str | None = None,
    query: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    day_first: bool | None = None,
) -> pd.DataFrame:
    """
    Read a table.

    Parameters
    ----------
    source
        A file, or "-" for standard input: delimited text with a line of column names, Parquet, Feather, JSON lines or
        an array of JSON records, a sheet of Excel or ODS (the extra ``excel``), or a database in SQLite or DuckDB (the
        extra ``databases``); also compressed with gzip, zstd, bzip2, xz or zip. The format is recognised by the
        content. Or the URL of a database, such as ``"postgresql://host/name"`` (the same extra and a driver).
    encoding
        Encoding of text that has no byte-order mark.
    missing
        Texts that mark a missing cell, such as ``"?"``, besides those of `pandas.read_csv`.
    table
        Sheet of a spreadsheet, or table of a database, with more than one.
    query
        Query whose rows to read from a database, which is opened for reading only.
    decimal, thousands
        Decimal sign of numbers in text, "." or ",", and the sign between thousands; by default as the file shows.
    day_first
        Whether 03/04/2024 is in April; by default as the file shows.

    Warns
    -----
    DataWarning
        If dates such as 03/04/2024 or numbers such as 1,234 may be read in two ways: says which was taken.

    Raises
    ------
    DataError
        If there is no such file, or it is not a table with at least one row. The message names the fault, its line and
        the remedy.
    """
    options = FileOptions.of(
        encoding=encoding,
        missing=missing,
        table=table,
        query=query,
        decimal=decimal,
        thousands=thousands,
        day_first=day_first,
    )
    return read_whole(source, options).frame


def size_of_table(path: Path, most: int) -> tuple[int, int, int]:
    """Bytes of a table after decompression, its cells and its columns, for an estimate of what it takes in memory.

    Bytes are counted up to ``most``. Cells and columns of all formats but Parquet are an estimate from the first bytes.
    A damaged file has no bytes: whoever reads it, reports it.
    """
    try:
        source = StoredFile(path)
        if first_bytes(source).startswith(MAGIC):
            return ParquetTable(source, FileOptions()).extent
        with decompressed(source) as stream:
            head = stream.peek(2**16)
        n_bytes = unpacked_size(source, most)
    except DataError:
        return 0, 0, 0
    n_lines = max(1, head.count(b"\n"))
    n_cells = n_lines + max(head.count(sign) for sign in (b",", b";", b"\t", b"|", b"</c>"))
    return n_bytes, n_bytes * n_cells // max(1, len(head)), n_cells // n_lines


class WholeTable(Protocol):
    """A table that was read at once."""

    @property
    def frame(self) -> pd.DataFrame:
        """The table with types that fit all its cells."""

    def as_fitted(self, schema: Schema) -> pd.DataFrame:
        """The table with the types of a fit."""

    @property
    def names(self) -> list[Name]:
        """Column names."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    def texts(self, names: Sequence[Name] | None = None) -> pd.DataFrame:
        """Columns, by default all, as they stand in the file."""


@dataclass(frozen=True, eq=False)
class WholeText:
    """A text file that was read at once: ``cells`` are an arrow table of text."""

    cells: Any
    file: TextFile

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The table with types that fit all its cells."""
        columns = self._seen(self.cells.column_names)
        notation = self._settled(columns)
        warn_of_assumptions(read_kinds(columns), [notation])
        return typed_frame(self.cells, columns, columns, notation)

    def as_fitted(self, schema: Schema) -> pd.DataFrame:
        """The table with the types of a fit; other columns are text."""
        names: list[str] = self.cells.column_names
        return known_frame(self.cells, names, schema.reading, self.known_notation(schema.reading))

    def known_notation(self, reading: Mapping[Name, str]) -> Notation:
        """The notation of columns that a model knows; a DataWarning says what was assumed."""
        known = {name: reading[name] for name in self.cells.column_names if name in reading}
        notation = self._settled(self._seen([str(name) for name in known if known[name] == "dates"]))
        warn_of_assumptions(known, [notation])
        return notation

    def _seen(self, names: Iterable[str]) -> dict[Name, TextColumn]:
        """What columns hold."""
        columns: dict[Name, TextColumn] = {name: TextColumn() for name in names}
        see_all(columns, self.cells, self.file.notation)
        return columns

    def _settled(self, columns: Mapping[Name, TextColumn]) -> Notation:
        """The notation, with the order of day and month that all rows show."""
        notation = self.file.notation
        return notation.settled(settle_dates(columns, notation, self.file.options, self.file.name))

    @property
    def names(self) -> list[Name]:
        """Column names."""
        return [*self.cells.column_names]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.cells)

    def texts(self, names: Sequence[Name] | None = None) -> pd.DataFrame:
        """Columns, by default all, as they stand in the file."""
        return texts_of(self.cells, self.names if names is None else names)


@dataclass(frozen=True, eq=False)
class WholeFrame:
    """A file whose columns have types, as it is ``stored``."""

    stored: pd.DataFrame
    written: WrittenText

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The table, with numbers and dates in text as Python writes them."""
        warn_of_assumptions(self.written.reading, [self.written.notation])
        return self.written.plain(self.stored, self.written.reading)

    def as_fitted(self, schema: Schema) -> pd.DataFrame:
        """The table with whole numbers as text where the fit knows text, and text as the fit knows it."""
        warn_of_assumptions(schema.reading, [self.written.notation])
        return as_known(self.written.plain(self.stored, schema.reading), schema.reading)

    @property
    def names(self) -> list[Name]:
        """Column names."""
        return [*self.stored.columns]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.stored)

    def texts(self, names: Sequence[Name] | None = None) -> pd.DataFrame:
        """Columns, by default all."""
        return self.stored if names is None else self.stored[[*names]]


def as_known(frame: pd.DataFrame, reading: Mapping[Name, str]) -> pd.DataFrame:
    """A frame with whole numbers as text where a fit knows text."""
    codes = {
        name: cells.astype("string").astype(object)
        for name, cells in frame.items()
        if reading.get(name) == "text" and pd.api.types.is_integer_dtype(cells.dtype)  # type: ignore[call-overload]
    }
    return frame.assign(**{str(name): cells for name, cells in codes.items()}) if codes else frame


def read_whole(source: str | PathLike[str], options: FileOptions = FileOptions()) -> WholeTable:  # noqa: B008 (frozen)
    """Read a table, to be had in types that fit its cells, in those of a fit, or as it stands in the file."""
    stored = _stored_table(source, options, keeps=True)
    read = stored.read()
    whole: WholeTable = WholeText(read, stored) if isinstance(stored, TextFile) else WholeFrame(read, stored.written)
    if not len(read):
        raise _no_rows(stored.name, stored.names)
    return whole


def is_pattern(source: str | PathLike[str]) -> bool:
    """Whether a name is a pattern such as ``logs/*.csv``, and no file has this name."""
    return re.search(r"[*?\[]", str(source)) is not None and not is_url(source) and not os.path.lexists(source)


def holds_tables(folder: Path) -> bool:
    """Whether a folder has a file with the suffix of a table."""
    return any(_is_table(path.name) for path in folder.iterdir() if path.is_file())


def table_files(source: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[Path]:
    """
    List the files of a table in order.

    The files of a folder or a pattern are sorted by name, numbers as numbers: ``part-2`` before ``part-10``. In a
    folder, only files with the suffix of a table count. Names that begin with a dot or an underscore are ignored.

    Raises
    ------
    DataError
        If there are no files, or a folder has subfolders.
    """
    if not isinstance(source, str | PathLike):
        return [Path(name) for name in source]
    path = Path(source)
    if is_pattern(source):
        found = [Path(name) for name in glob.glob(str(source), recursive=True)]
        files = [file for file in found if file.is_file() and not file.name.startswith(_IGNORED)]
        if not files:
            raise DataError(f"No file fits {str(source)!r}. Check the pattern and the folder.")
    elif path.is_dir():
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(_IGNORED)]
        if folders := sorted((entry.name for entry in entries if entry.is_dir()), key=_numbers_as_numbers):
            raise DataError(
                f"{str(path)!r} has folders in it, which are not read: {listed_names(folders, 3)}. "
                f"Name the files by a pattern, such as {str(path / '**' / '*.parquet')!r}."
            )
        files = [entry for entry in entries if _is_table(entry.name)]
        if not files:
            suffixes = ", ".join(SUFFIXES)
            packed = ", ".join(COMPRESSED)
            message = f"There is no table in {str(path)!r}. Tables end in {suffixes}, or these with one of {packed}."
            raise DataError(message)
    else:
        return [path]
    return sorted(files, key=lambda file: [_numbers_as_numbers(part) for part in file.parts])


def _is_table(name: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())
    return (stem if suffix in COMPRESSED else name.lower()).endswith(SUFFIXES) and not name.startswith(_IGNORED)


def _numbers_as_numbers(name: str) -> list[tuple[int, int, str]]:
    """Sort key for a name in which digits are compared as a number."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


@dataclass(frozen=True)
class FileFacts:
    """
    What one of several files holds: from the facts of all of them, each is then read as if all were read together.

    Attributes
    ----------
    n_rows
        Number of rows.
    types
        Types of the columns, if the file has them.
    columns
        What the columns of a text file hold; empty if the types are those of a fit.
    """

    n_rows: int
    types: dict[Name, Any]
    columns: dict[Name, TextColumn]


class FilesSource:
    """
    Files of one table, as rows of a dataset.

    Without a ``plan``, all columns are read with the types that they would have in one file.
    """

    def __init__(self, source: Any, options: FileOptions, plan: "_Plan | None" = None) -> None:
        self._source = source
        self._options = options
        self._plan = plan
        self._progress = Progress()
        self._orders: dict[Name, bool | None] = {}  # of day and month, once all rows were seen
        self._notation: Notation | None = None  # that several files have agreed on
        self._is_part = False

    @cached_property
    def files(self) -> list[str]:
        """File names; empty for standard input."""
        if self._source == STANDARD_INPUT:
            return []
        return [self._source] if is_url(self._source) else [str(path) for path in table_files(self._source)]

    @property
    def n_bytes(self) -> int | None:
        """Size of all files, None if it is not known."""
        sizes = [table.size for table in self._tables]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def bytes_read(self) -> int:
        """Bytes that the latest iteration has read."""
        return self._progress.n_bytes

    @cached_property
    def columns(self) -> list[Name]:
        """Column names, in the order of the first file."""
        if self._plan is not None:
            return [*self._plan.columns]
        names = list(self._tables[0].names)
        return names[:-1] if self._ends_in_delimiter and not self._inferred[names[-1]].n_present else names

    def rows(self, only: Collection[Name] | None) -> Rows:
        """Frames with some columns, by default all; the columns to keep as they stand in the file; the file's name."""
        chosen = set(self.columns if only is None else only)
        columns = [name for name in self.columns if name in chosen]
        keep = [] if self._plan is None else self._plan.keep
        n_rows = 0
        for frame, kept, file in self._frames(columns, keep):
            n_rows += len(frame)
            yield frame, kept, file
        if n_rows == 0 and not self._is_part:
            name = self._tables[0].name if len(self._tables) == 1 else repr(str(self._source))
            raise _no_rows(name, columns)

    def as_fitted(self, schema: Schema, keep: Collection[Name], without: Collection[Name]) -> "FilesSource":
        """The files with the columns of a schema, except those in ``without``, and those in ``keep``."""
        names = list(self._tables[0].names)
        given = names[:-1] if self._ends_in_delimiter and names[-1] not in (*schema.names, *keep) else names
        chosen = {*schema.choose([name for name in given if name not in without]), *keep}
        plan = _Plan([name for name in given if name in chosen], schema.reading, [*keep])
        fitted = FilesSource(self._source, self._options, plan)
        fitted._orders = self._orders
        warn_of_assumptions(schema.reading, [_notation_of(table).settled(self._orders) for table in self._tables])
        cached = ("_tables", "_inferred")  # standard input cannot be read a second time
        fitted.__dict__.update({name: part for name, part in self.__dict__.items() if name in cached})
        return fitted

    @cached_property
    def _tables(self) -> list[TypedFile | TextFile]:
        """The files, which all have the same format and columns."""
        names = self.files or [STANDARD_INPUT]
        tables = [_stored_table(name, self._options) for name in names]
        for table in tables[1:]:
            _check_same_columns(tables[0], table)
        notations = [] if self._notation is None else [self._notation]
        if len(tables) > 1:
            notations = agreed([_notation_of(table) for table in tables], tables[0].names)
        for table, notation in zip(tables, notations, strict=False):
            if isinstance(table, TypedFile):
                table.written = replace(table.written, notation=notation)
            else:
                table.notation = notation
        return tables

    @property
    def _ends_in_delimiter(self) -> bool:
        first = self._tables[0]
        return isinstance(first, DelimitedText) and ends_in_delimiter(first.names)

    @cached_property
    def _types(self) -> dict[Name, Any]:
        """Types of the columns of all files together, if these have types."""
        files = [(table.types, table.name) for table in self._tables if isinstance(table, TypedFile)]
        return _joint_types(files)

    @cached_property
    def _written(self) -> dict[Name, str]:
        """What columns of text hold, "numbers" or "dates", in files whose columns have types."""
        written = [table.written for table in self._tables if isinstance(table, TypedFile)]
        reading = {name: holds for one in written for name, holds in one.reading.items()}
        warn_of_assumptions(reading, [one.notation for one in written])
        return reading

    @cached_property
    def _inferred(self) -> dict[Name, TextColumn]:
        """What the columns of text files hold, from one pass over all rows."""
        columns, _ = self._seen()
        self._settle(columns)
        return columns

    def _seen(self) -> tuple[dict[Name, TextColumn], int]:
        """What the columns of text files hold, before dates are settled, and the number of rows."""
        self._tables[:] = [table.kept() if isinstance(table, TextFile) else table for table in self._tables]
        columns: dict[Name, TextColumn] = {name: TextColumn() for name in self._tables[0].names}
        self._progress, n_rows = Progress(), 0
        for table in self._tables:
            if isinstance(table, TextFile):
                for cells in table.pieces(self._progress):
                    n_rows += len(cells)
                    see_all(columns, cells, table.notation)
                self._progress.next_file()
        return columns, n_rows

    def _settle(self, columns: dict[Name, TextColumn]) -> None:
        """Decide on the order of day and month, once all rows were seen."""
        texts = [table for table in self._tables if isinstance(table, TextFile)]
        if texts:
            first = next((table for table in texts if not table.notation.is_assumed), texts[0])
            self._orders = settle_dates(columns, first.notation, self._options, first.name)
            settled = [table.notation.settled(self._orders) for table in texts]
            warn_of_assumptions(read_kinds(columns), settled)

    def alone(self, number: int) -> "FilesSource":
        """One of the files, with the columns of all; also with their types, once `settle` knows them."""
        one, table = FilesSource(self.files[number], self._options, self._plan), self._tables[number]
        one._notation, one._is_part = _notation_of(table), True
        cached = ("columns", "_types", "_inferred", "_orders", "_written")
        one.__dict__.update({name: part for name, part in self.__dict__.items() if name in cached})
        return one

    def facts(self) -> FileFacts:
        """What the file holds, for a source of one; reads all of it, unless it is Parquet."""
        table = self._tables[0]
        if isinstance(table, ParquetTable):
            return FileFacts(table.n_rows, table.types, {})
        if isinstance(table, FeatherTable):
            return FileFacts(len(table.read()), table.types, {})
        if self._plan is not None:
            return FileFacts(sum(map(len, table.pieces(Progress()))), {}, {})
        columns, n_rows = self._seen()
        return FileFacts(n_rows, {}, columns)

    def settle(self, facts: Sequence[FileFacts]) -> None:
        """Take types and notation from the facts of each file, in place of a pass over all rows."""
        columns: dict[Name, TextColumn] = {}
        for found in facts:
            for name, column in found.columns.items():
                if name in columns:
                    columns[name].join(column)
                else:
                    columns[name] = column
        if columns:
            self._settle(columns)
            self.__dict__["_inferred"] = columns
        files = [(found.types, name) for found, name in zip(facts, self.files, strict=True)]
        self.__dict__["_types"] = _joint_types(files) if files[0][0] else {}
        _ = self.columns, self._written  # in the order of the first file

    def _frames(self, columns: list[Name], keep: list[Name]) -> Rows:
        """Rows of all files."""
        names: list[str] | list[None] = self.files or [None]
        if self._plan is None and isinstance(self._tables[0], TextFile):
            _ = self._inferred  # it may have put standard input on the disk
        self._progress = progress = Progress()
        for table, file in zip(self._tables, names, strict=True):
            if isinstance(table, TypedFile):
                known, reading = ({}, self._written) if self._plan is None else (self._plan.reading,) * 2
                for frame in table.pieces(self._types, progress, only={*columns, *keep}):
                    yield as_known(table.written.plain(frame[columns], reading), known), frame[keep], file
            else:
                for cells in table.pieces(progress):
                    yield self._typed(cells, columns, table.notation.settled(self._orders)), texts_of(cells, keep), file
            progress.next_file()

    def _typed(self, cells: Any, columns: list[Name], notation: Notation) -> pd.DataFrame:
        """A piece of text with the types of all files, or of the fit."""
        if self._plan is None:
            return typed_frame(cells, columns, self._inferred, notation)
        return known_frame(cells, columns, self._plan.reading, notation)


def _notation_of(table: TypedFile | TextFile) -> Notation:
    return table.written.notation if isinstance(table, TypedFile) else table.notation


def _no_rows(name: str, columns: Iterable[object]) -> DataError:
    return DataError(f"{name} has column names but no rows: {listed_names(columns)}. Add rows.")


def _stored_table(name: str | PathLike[str], options: FileOptions, *, keeps: bool = False) -> TypedFile | TextFile:
    """The database at a URL, or the file in the format that its first bytes show; a pipe can be kept in memory."""
    if is_url(name):
        return url_table(str(name), options)
    source = kept_in_memory(byte_source(name)) if keeps else byte_source(name)
    head = first_bytes(source)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, (kind, remedy) in UNREAD.items():
        if start.startswith(magic):
            raise DataError(f"{source.name} is {kind}, which is not read. Convert it to CSV or Parquet, with {remedy}.")
    if head.startswith(SQLITE):
        return sqlite_table(source, options)
    if head[8:].startswith(DUCKDB):
        return duckdb_table(source, options)
    if options.query is not None:
        raise DataError(f"{source.name} is no database, so --query (query=) does not apply.")
    if head.startswith(SPREADSHEETS):
        return Spreadsheet(source, options)
    if options.table is not None:
        raise DataError(f"{source.name} has one table, so --table {options.table!r} (table=) does not apply.")
    if head.startswith((MAGIC, *FEATHER)):
        return (ParquetTable if head.startswith(MAGIC) else FeatherTable)(source, options)
    if start.startswith(b"{") or re.match(rb"\[\s*(\{|\])", start):
        return JsonRecords(source, options)
    return DelimitedText(source, options)


@dataclass(frozen=True)
class _Plan:
    """
    Columns to read after a fit, and those to ``keep`` as they stand in the file.

    ``reading`` has "numbers", "dates" or "text" for each column that the fit knows; the others are read as text.
    """

    columns: list[Name]
    reading: dict[Name, str]
    keep: list[Name]


def _check_same_columns(first: TypedFile | TextFile, other: TypedFile | TextFile) -> None:
    """Refuse a file that has another format than the first, or other columns."""
    if type(first) is not type(other):
        raise DataError(f"{first.name} and {other.name} have not the same format. Name files of one format.")
    missing = [name for name in first.names if name not in other.names]
    added = [name for name in other.names if name not in first.names]
    if missing or added:
        lacks = f"it lacks {listed_names(missing)}" if missing else ""
        has = f"it also has {listed_names(added)}" if added else ""
        difference = " and ".join(filter(None, [lacks, has]))
        raise DataError(
            f"{other.name} has other columns than {first.name}: {difference}. "
            "The files of a table must have the same columns."
        )


def _joint_types(files: Sequence[tuple[Mapping[Name, Any], str]]) -> dict[Name, Any]:
    """Types of the columns of all files together; each file has its types and its name."""
    joint: dict[Name, Any] = {}
    for name in files[0][0]:
        types = [(known[name], file) for known, file in files]
        known = [(dtype, file) for dtype, file in types if dtype is not None]  # None: all cells are missing
        if not known:
            continue
        dtype = reduce(lambda one, other: _joint_type(name, one, other), known)[0]
        joint[name] = with_missing(dtype) if len(known) < len(types) and isinstance(dtype, np.dtype) else dtype
    return joint


def _joint_type(name: Name, one: tuple[Any, str], other: tuple[Any, str]) -> tuple[Any, str]:
    """Type of a column in two files, given as pairs of type and file name."""
    (dtype, file), (other_dtype, other_file) = one, other
    if dtype == other_dtype:
        return one
    if isinstance(dtype, pd.CategoricalDtype) and isinstance(other_dtype, pd.CategoricalDtype):
        return joint_categories([dtype.categories, other_dtype.categories], ordered=bool(dtype.ordered)), file
    if isinstance(dtype, np.dtype) and isinstance(other_dtype, np.dtype):
        if {dtype.kind, other_dtype.kind} <= set("iuf") or dtype.kind == other_dtype.kind == "M":
            return np.promote_types(dtype, other_dtype), file
        if {dtype.kind, other_dtype.kind} == {"b", "O"}:
            return np.dtype(object), file
    raise DataError(
        f"Column {name!r} is {dtype} in {file} and {other_dtype} in {other_file}. Convert it to one type in all files."
    )
