"""Read tables: one file whole, or many files in pieces, with the column types of all files together."""

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError, RowError
from vae_anomaly.formatting import listed_names
from vae_anomaly.io.csv import ColumnTypes, DelimitedText, ends_in_delimiter
from vae_anomaly.io.parquet import MAGIC, ParquetTable, joint_categories, with_missing
from vae_anomaly.io.pieces import Progress
from vae_anomaly.io.source import STANDARD_INPUT, ByteSource, byte_source, first_bytes, kept_in_memory, kept_on_disk

Name = str | int
StoredTable = ParquetTable | DelimitedText
Rows = Iterator[tuple[pd.DataFrame, str | None]]

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
_IGNORED = (".", "_")  # first characters of hidden files, and of files such as _SUCCESS


def read_table(
    source: str | PathLike[str], *, encoding: str = "utf-8", missing: str | Sequence[str] = ()
) -> pd.DataFrame:
    """
    Read a table.

    Parameters
    ----------
    source
        A file, or "-" for standard input: Parquet, or delimited text with a line of column names, possibly compressed
        with gzip or zstd. The format is recognised by the content.
    encoding
        Encoding of text that has no byte-order mark.
    missing
        Texts that mark a missing cell, such as ``"?"``, besides those of `pandas.read_csv`.

    Raises
    ------
    DataError
        If there is no such file, or it is not a table with at least one row. The message names the fault, its line and
        the remedy.
    """
    return read_with_text(source, encoding=encoding, missing=missing, wanted=False)[0]


def read_with_text(
    source: str | PathLike[str], *, encoding: str, missing: str | Sequence[str], wanted: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table as `read_table` reads it, and the same as it stands in the file, if that is wanted."""
    table = _stored_table(kept_in_memory(byte_source(source)), encoding, missing)
    frame = table.read()
    if frame.empty:
        raise _no_rows(table.name, frame.columns)
    return frame, table.read_text()[frame.columns] if wanted and isinstance(table, DelimitedText) else frame


def is_pattern(source: str | PathLike[str]) -> bool:
    """Whether a name is a pattern such as ``logs/*.csv``, and no file has this name."""
    return re.search(r"[*?\[]", str(source)) is not None and not os.path.lexists(source)


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
            raise DataError(f"There is no table in {str(path)!r}. Tables end in {suffixes}, or these with .gz or .zst.")
    else:
        return [path]
    return sorted(files, key=lambda file: [_numbers_as_numbers(part) for part in file.parts])


def _is_table(name: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())
    return (stem if suffix in (".gz", ".zst") else name.lower()).endswith(SUFFIXES) and not name.startswith(_IGNORED)


def _numbers_as_numbers(name: str) -> list[tuple[int, int, str]]:
    """Sort key for a name in which digits are compared as a number."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


class FilesSource:
    """
    Files of one table, as rows of a dataset.

    Without a ``plan``, all columns are read with the types that they would have in one file.
    """

    def __init__(
        self, source: Any, encoding: str, missing: str | Sequence[str] = (), plan: "_Plan | None" = None
    ) -> None:
        self._source = source
        self._encoding = encoding
        self._missing = missing
        self._plan = plan
        self._progress = Progress()

    @cached_property
    def files(self) -> list[str]:
        """File names; empty for standard input."""
        return [] if self._source == STANDARD_INPUT else [str(path) for path in table_files(self._source)]

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
        return names[:-1] if self._ends_in_delimiter and self._inferred.is_empty(len(names) - 1) else names

    def rows(self, only: Collection[Name] | None) -> Rows:
        """Frames with some columns, by default all, each with the name of its file."""
        chosen = set(self.columns if only is None else only)
        columns = [name for name in self.columns if name in chosen]
        n_rows = 0
        for frame, file in self._frames(self._types, columns):
            n_rows += len(frame)
            yield (frame if list(frame.columns) == columns else frame[columns]), file
        if n_rows == 0:
            name = self._tables[0].name if len(self._tables) == 1 else repr(str(self._source))
            raise _no_rows(name, columns)

    def as_fitted(self, schema: Schema, keep: Collection[Name], without: Collection[Name]) -> "FilesSource":
        """The files with the columns of a schema, except those in ``without``, and those in ``keep``."""
        names = list(self._tables[0].names)
        given = names[:-1] if self._ends_in_delimiter and names[-1] not in (*schema.names, *keep) else names
        chosen = {*schema.choose([name for name in given if name not in without]), *keep}
        plan = _Plan([name for name in given if name in chosen], schema.reading, frozenset(keep))
        fitted = FilesSource(self._source, self._encoding, self._missing, plan)
        cached = ("_tables", "_inferred")  # standard input cannot be read a second time
        fitted.__dict__.update({name: part for name, part in self.__dict__.items() if name in cached})
        return fitted

    @cached_property
    def _tables(self) -> list[StoredTable]:
        """The files, which all have the same format and columns."""
        names = self.files or [STANDARD_INPUT]
        tables = [_stored_table(byte_source(name), self._encoding, self._missing) for name in names]
        for table in tables[1:]:
            _check_same_columns(tables[0], table)
        return tables

    @property
    def _ends_in_delimiter(self) -> bool:
        first = self._tables[0]
        return isinstance(first, DelimitedText) and ends_in_delimiter(first.names)

    @cached_property
    def _types(self) -> dict[Name, Any]:
        """Types to read the columns with."""
        if isinstance(self._tables[0], ParquetTable):
            return _joint_types([table for table in self._tables if isinstance(table, ParquetTable)])
        if self._plan is None:
            return self._inferred.types()
        inferred = self._inferred.types() if self._plan.needs_inference else {}
        return inferred | self._plan.text_types

    @cached_property
    def _inferred(self) -> ColumnTypes:
        """Column types of text files, from one pass over all rows."""
        self._tables[:] = [
            DelimitedText(kept_on_disk(table.source), table.encoding, table.missing)
            if isinstance(table, DelimitedText)
            else table
            for table in self._tables
        ]
        names = [str(name) for name in self._tables[0].names]
        types = ColumnTypes(names)
        for frame, _ in self._frames({}, [*names]):
            types.add(frame[names])
        return types

    def _frames(self, types: Mapping[Any, Any], columns: list[Name]) -> Rows:
        """Frames of all files, each with the name of its file; those of text files have all columns."""
        self._progress = progress = Progress()
        consistency = _Consistency(self._plan.numeric if self._plan is not None else [])
        names: list[str] | list[None] = self.files or [None]
        for table, file in zip(self._tables, names, strict=True):
            n_rows = 0
            for frame in _pieces(table, types, progress, columns):
                consistency.check(frame, n_rows, file)
                n_rows += len(frame)
                yield frame, file
            progress.next_file()


def _no_rows(name: str, columns: Iterable[object]) -> DataError:
    return DataError(f"{name} has column names but no rows: {listed_names(columns)}. Add rows.")


def _stored_table(source: ByteSource, encoding: str, missing: str | Sequence[str]) -> StoredTable:
    markers = [missing] if isinstance(missing, str) else list(missing)
    return ParquetTable(source, markers) if first_bytes(source) == MAGIC else DelimitedText(source, encoding, markers)


def _pieces(
    table: StoredTable, types: Mapping[Any, Any], progress: Progress, columns: list[Name]
) -> Iterator[pd.DataFrame]:
    """Frames of one file."""
    if isinstance(table, ParquetTable):
        yield from table.pieces(types, progress, only=columns)
        return
    as_objects = dict.fromkeys((name for name, dtype in types.items() if dtype is None), object)
    for frame in table.pieces({name: dtype for name, dtype in types.items() if dtype is not None}, progress):
        yield frame.astype(as_objects) if as_objects else frame


@dataclass(frozen=True)
class _Plan:
    """
    Columns to read, and how, after a fit.

    ``reading`` has "numbers" (as pandas infers them), "text", or "settled" (as in all files together) for each column.
    """

    columns: list[Name]
    reading: dict[Name, str]
    keep: frozenset[Name]

    @property
    def needs_inference(self) -> bool:
        """Whether the type of a column depends on all files."""
        kept_numeric = {name for name in self.keep if self.reading.get(name) == "numbers"}
        return bool(kept_numeric) or "settled" in self.reading.values()

    @property
    def text_types(self) -> dict[Name, Any]:
        """Types of the columns that are read as text; pandas infers the numeric ones in each piece."""
        return {name: str for name in self.columns if self.reading.get(name, "text") == "text"}

    @property
    def numeric(self) -> list[Name]:
        """Columns that are read as numbers."""
        return [name for name in self.columns if self.reading.get(name) == "numbers"]


@dataclass
class _Consistency:
    """Refuses numeric columns that are boolean in some pieces: read at once, such a column would be text."""

    names: list[Name]
    boolean: set[Name] = field(default_factory=set)
    numeric: set[Name] = field(default_factory=set)

    def check(self, frame: pd.DataFrame, first: int, file: str | None) -> None:
        """Compare a piece with those before; ``first`` is the position of its first row in the file."""
        dtypes = dict(frame.dtypes.items())
        for name in self.names:
            if dtypes[name].kind in "iuf" and name in self.numeric and name not in self.boolean:
                continue
            cells = frame[name]
            if pd.api.types.infer_dtype(cells, skipna=True) == "string":  # some cell is unreadable
                continue
            if pd.api.types.is_bool_dtype(cells.dtype) or (
                cells.dtype == object and pd.api.types.infer_dtype(cells, skipna=True) == "boolean"
            ):
                self.boolean.add(name)
            elif cells.notna().any():
                self.numeric.add(name)
            if name in self.boolean and name in self.numeric:
                row = int(np.flatnonzero(cells.notna())[0])
                fault = f"Column {name!r} changes between numbers and truth values"
                raise RowError.at(fault, row, ". Write it in one way.").moved(first, file)


def _check_same_columns(first: StoredTable, other: StoredTable) -> None:
    """Refuse a file that has another format than the first, or other columns."""
    if type(first) is not type(other):
        raise DataError(f"{first.name} and {other.name} are not both text or both Parquet. Name files of one format.")
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


def _joint_types(tables: list[ParquetTable]) -> dict[Name, Any]:
    """Types of the columns of all Parquet files together."""
    joint: dict[Name, Any] = {}
    for name in tables[0].names:
        types = [(table.types[name], table.name) for table in tables]
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
