"""Read a table from one or more files: Parquet, or text with commas, semicolons or tabs between its columns."""

import glob
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
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
from vae_anomaly.io.csv import ColumnFacts, DelimitedText, ends_in_delimiter
from vae_anomaly.io.origins import STANDARD_INPUT, Origin, Progress, beginning, in_memory, on_disk, origin_of
from vae_anomaly.io.parquet import MAGIC, ParquetTable, union_of, with_gaps

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
_PACKED = (".gz", ".zst")
_SIGNS = re.compile(r"[*?\[]")
_NOT_DATA = (".", "_")  # how names begin of what is hidden, and of _SUCCESS and the like


def is_pattern(source: str | PathLike[str]) -> bool:
    """Whether a name is a pattern such as ``logs/*.csv``, and not that of a file."""
    return _SIGNS.search(str(source)) is not None and not os.path.lexists(source)


def holds_tables(folder: Path) -> bool:
    """Whether a folder has a file that is called a table."""
    return any(_is_table(path.name) for path in folder.iterdir() if path.is_file())


def table_files(source: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[Path]:
    """
    List the files of a table, in their order.

    Those of a folder, and those that fit a pattern, come in the order that people expect of their names: ``part-2``
    before ``part-10``. Of a folder they are those with the suffix of a table; what begins with a dot or an underscore
    is no data.

    Raises
    ------
    DataError
        If there are none, or a folder has subfolders.
    """
    if not isinstance(source, str | PathLike):
        return [Path(name) for name in source]
    if is_pattern(source):
        return _matching(str(source))
    path = Path(source)
    return _in_folder(path) if path.is_dir() else [path]


def _matching(pattern: str) -> list[Path]:
    found = [Path(name) for name in glob.glob(pattern, recursive=True)]
    files = sorted((path for path in found if path.is_file() and not path.name.startswith(_NOT_DATA)), key=_naturally)
    if not files:
        raise DataError(f"No file fits {pattern!r}. Check the pattern and the folder.")
    return files


def _in_folder(folder: Path) -> list[Path]:
    entries = [path for path in folder.iterdir() if not path.name.startswith(_NOT_DATA)]
    if folders := sorted((path.name for path in entries if path.is_dir()), key=_by_number):
        raise DataError(
            f"{str(folder)!r} has folders in it, which are not looked into: {listed_names([*folders], 3)}. "
            f"Name the files by a pattern, such as {str(folder / '**' / '*.parquet')!r}."
        )
    files = sorted((path for path in entries if _is_table(path.name)), key=_naturally)
    if not files:
        suffixes = ", ".join(SUFFIXES)
        raise DataError(f"There is no table in {str(folder)!r}. Files named {suffixes} are looked for, also packed.")
    return files


def _is_table(name: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())
    return (stem if suffix in _PACKED else name.lower()).endswith(SUFFIXES) and not name.startswith(_NOT_DATA)


def _naturally(path: Path) -> list[list[tuple[int, int, str]]]:
    return [_by_number(part) for part in path.parts]


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """A key by which numbers in names count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


Name = str | int
Stored = ParquetTable | DelimitedText
Rows = Iterator[tuple[pd.DataFrame, str | None]]


class FilesSource:
    """
    Files of one table.

    ``plan`` says which columns to read for what; without one, all are read as the files as a whole have them.
    """

    def __init__(self, source: Any, encoding: str, plan: "_Plan | None" = None) -> None:
        self._source = source
        self._encoding = encoding
        self._plan = plan
        self._progress = Progress()

    @cached_property
    def files(self) -> list[str]:
        """Names of the files; standard input has none."""
        return [] if self._source == STANDARD_INPUT else [str(path) for path in table_files(self._source)]

    @property
    def n_bytes(self) -> int | None:
        """Bytes of all files, where they are known."""
        sizes = [table.size for table in self._tables]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def bytes_read(self) -> int:
        """Bytes read in the present pass."""
        return self._progress.n_bytes

    @cached_property
    def columns(self) -> list[Name]:
        """Names of the columns, in the order of the first file."""
        if self._plan is not None:
            return [*self._plan.columns]
        names = list(self._tables[0].names)
        return names[:-1] if self._ends_in_delimiter and self._facts.is_empty(len(names) - 1) else names

    def rows(self, only: Collection[Name] | None) -> Rows:
        """Frames with the columns asked for, each with the name of its file."""
        chosen = set(self.columns if only is None else only)
        columns = [name for name in self.columns if name in chosen]
        n_rows = 0
        for frame, file in self._frames(self._types, columns):
            n_rows += len(frame)
            yield (frame if list(frame.columns) == columns else frame[columns]), file
        if n_rows == 0:
            name = self._tables[0].name if len(self._tables) == 1 else repr(str(self._source))
            raise DataError(f"{name} has column names but no rows: {listed_names(columns)}. Add rows.")

    def as_fitted(self, schema: Schema, keep: Collection[Name], without: Collection[Name]) -> "FilesSource":
        """The same files, with the columns that a schema has, and those to keep, read for what it takes them for."""
        names = list(self._tables[0].names)
        given = names[:-1] if self._ends_in_delimiter and names[-1] not in (*schema.names, *keep) else names
        chosen = {*schema.choose([name for name in given if name not in without]), *keep}
        plan = _Plan([name for name in given if name in chosen], schema.reading, frozenset(keep))
        fitted = FilesSource(self._source, self._encoding, plan)
        known = ("_tables", "_facts")  # standard input comes only once
        fitted.__dict__.update({name: part for name, part in self.__dict__.items() if name in known})
        return fitted

    @cached_property
    def _tables(self) -> list[Stored]:
        """The files, their columns compared."""
        names = self.files or [STANDARD_INPUT]
        tables = [stored_table(origin_of(name), self._encoding) for name in names]
        for table in tables[1:]:
            _compare(tables[0], table)
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
            return self._facts.types()
        found = self._facts.types() if self._plan.needs_settling else {}
        return found | self._plan.text_types

    @cached_property
    def _facts(self) -> ColumnFacts:
        """What the cells of text files are: one pass over all of them."""
        self._tables[:] = [self._lasting(table) for table in self._tables]
        names = [str(name) for name in self._tables[0].names]
        facts = ColumnFacts(names)
        for frame, _ in self._frames({}, [*names]):
            facts.add(frame[names])
        return facts

    def _lasting(self, table: Stored) -> Stored:
        if isinstance(table, ParquetTable) or table.origin.lasts:
            return table
        return DelimitedText(on_disk(table.origin), table.encoding)

    def _frames(self, types: Mapping[Any, Any], columns: list[Name]) -> Rows:
        """Frames of all files, each with the name of its file."""
        self._progress = progress = Progress()
        kinds = _OneKind(self._plan.numbers) if self._plan is not None else _OneKind([])
        names: list[str] | list[None] = self.files or [None]
        for table, file in zip(self._tables, names, strict=True):
            n_rows = 0
            for frame in _pieces(table, types, progress, columns):
                kinds.check(frame, n_rows, file)
                n_rows += len(frame)
                yield frame, file
            progress.next_file()


@dataclass(frozen=True)
class _Plan:
    """Which columns to read, and for what: "numbers", "text", or "settled", as the files as a whole have it."""

    columns: list[Name]
    reading: dict[Name, str]
    keep: frozenset[Name]

    @property
    def needs_settling(self) -> bool:
        """Whether a column's type must be that of all files."""
        kept = {name for name in self.keep if self.reading.get(name) == "numbers"}
        return bool(kept) or "settled" in self.reading.values()

    @property
    def text_types(self) -> dict[Name, Any]:
        """Types for text files: each piece finds out by itself how its numbers are written."""
        return {name: str for name in self.columns if self.reading.get(name, "text") == "text"}

    @property
    def numbers(self) -> list[Name]:
        """Columns that are read as numbers."""
        return [name for name in self.columns if self.reading.get(name) == "numbers"]


@dataclass
class _OneKind:
    """Refuses a column of numbers in which some pieces are truth values: read as one, it would be text."""

    names: list[Name]
    truth: set[Name] = field(default_factory=set)
    numbers: set[Name] = field(default_factory=set)

    def check(self, frame: pd.DataFrame, first: int, file: str | None) -> None:
        """Hold a piece, which begins at this row of its file, against those before it."""
        dtypes = dict(frame.dtypes.items())
        for name in self.names:
            if dtypes[name].kind in "iuf" and name in self.numbers and name not in self.truth:
                continue
            if _is_truth(frame[name]):
                self.truth.add(name)
            elif frame[name].notna().any():
                self.numbers.add(name)
            if name in self.truth and name in self.numbers:
                row = int(np.flatnonzero(frame[name].notna())[0])
                fault = f"Column {name!r} changes between numbers and truth values"
                raise RowError.at(fault, row, ". Write it in one way.").moved(first, file)


def _is_truth(cells: pd.Series) -> bool:
    return pd.api.types.is_bool_dtype(cells.dtype) or (
        cells.dtype == object and pd.api.types.infer_dtype(cells, skipna=True) == "boolean"
    )


def _pieces(table: Stored, types: Mapping[Any, Any], progress: Progress, columns: list[Name]) -> Iterator[pd.DataFrame]:
    """Frames of one file."""
    if isinstance(table, ParquetTable):
        yield from table.pieces(types, progress, only=columns)
        return
    for frame in table.pieces({name: kind for name, kind in types.items() if kind is not None}, progress):
        found = [name for name, kind in types.items() if kind is None]  # in each piece by itself
        yield frame.astype(dict.fromkeys(found, object)) if found else frame


def _compare(first: Stored, other: Stored) -> None:
    """Refuse a file that is of another kind than the first, or has other columns."""
    if type(first) is not type(other):
        raise DataError(f"{first.name} and {other.name} are not both text or both Parquet. Name those of one kind.")
    missing = [name for name in first.names if name not in other.names]
    new = [name for name in other.names if name not in first.names]
    if missing or new:
        lacks = f"it lacks {listed_names(missing)}" if missing else ""
        has = f"it has {listed_names(new)} besides" if new else ""
        told = " and ".join(filter(None, [lacks, has]))
        raise DataError(f"{other.name} has other columns than {first.name}: {told}. Files of one table have the same.")


def _joint_types(tables: list[ParquetTable]) -> dict[Name, Any]:
    """Types that hold for all Parquet files."""
    joint: dict[Name, Any] = {}
    for name in tables[0].names:
        kinds = [(table.types[name], table.name) for table in tables]
        known = [(kind, file) for kind, file in kinds if kind is not None]
        if not known:
            continue
        kind = reduce(lambda one, other: _joint_type(name, one, other), known)[0]
        joint[name] = with_gaps(kind) if len(known) < len(kinds) and isinstance(kind, np.dtype) else kind
    return joint


def _joint_type(name: Name, one: tuple[Any, str], other: tuple[Any, str]) -> tuple[Any, str]:
    (kind, file), (other_kind, other_file) = one, other
    if kind == other_kind:
        return one
    if isinstance(kind, pd.CategoricalDtype) and isinstance(other_kind, pd.CategoricalDtype):
        return union_of([kind.categories, other_kind.categories], ordered=bool(kind.ordered)), file
    if isinstance(kind, np.dtype) and isinstance(other_kind, np.dtype):
        if {kind.kind, other_kind.kind} <= set("iuf") or kind.kind == other_kind.kind == "M":
            return np.promote_types(kind, other_kind), file
        if {kind.kind, other_kind.kind} == {"b", "O"}:
            return np.dtype(object), file
    raise DataError(f"Column {name!r} is {kind} in {file} and {other_kind} in {other_file}. Bring them into one type.")


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
    table = stored_table(in_memory(origin_of(source)), encoding)
    frame = table.read()
    if frame.empty:
        raise DataError(f"{table.name} has column names but no rows: {listed_names([*frame.columns])}. Add rows.")
    return frame


def stored_table(origin: Origin, encoding: str) -> ParquetTable | DelimitedText:
    """What an origin holds, to be read whole or in pieces."""
    return ParquetTable(origin) if beginning(origin) == MAGIC else DelimitedText(origin, encoding)
