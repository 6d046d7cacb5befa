"""A Parquet file as a table, read whole or in pieces of which each has the types of the whole."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly.errors import DataError
from vae_anomaly.io.origins import Origin, Progress, StoredFile, rows_a_piece, seekable

MAGIC = b"PAR1"
_BUFFERS, _LARGEST_BUFFER, _LEAST_BUFFER = 2**24, 2**20, 2**12  # bytes, of all columns and of one


class ParquetTable:
    """A Parquet file."""

    def __init__(self, origin: Origin) -> None:
        self.name = origin.name
        self.size = origin.size
        self._origin = seekable(origin)

    @cached_property
    def names(self) -> list[str | int]:
        """Names of the columns."""
        return list(self._empty.columns)

    def read(self) -> pd.DataFrame:
        """Read all rows; an index that has a name is a column."""
        with self._origin.opened() as stream, self._explained():
            return _with_named_index(pd.read_parquet(stream, engine="pyarrow"))

    def pieces(
        self, types: Mapping[str | int, Any], progress: Progress, *, only: Collection[str | int] | None = None
    ) -> Iterator[pd.DataFrame]:
        """
        Read the rows piece by piece.

        Parameters
        ----------
        types
            Types of columns; the others have those of the file.
        progress
            Is told of the bytes read, by the share of the rows.
        only
            Columns to read; all, if not given.
        """
        chosen = set(self.names if only is None else only)
        names = [str(name) for name in self.names if name in chosen]
        with self._opened(len(names)) as file:
            total, done = max(1, file.metadata.num_rows), 0
            for table in self._tables(file, names):
                done += len(table)
                frame = self._frame(table)
                progress.here = (self.size or 0) * done // total
                found = dict(frame.dtypes.items())
                others = {name: kind for name, kind in types.items() if name in found and found[name] != kind}
                yield frame.astype(others) if others else frame

    @cached_property
    def types(self) -> dict[str | int, Any]:
        """Type of each column as a whole, as pandas has it; None where the file has no values of it."""
        with self._opened(1) as file:
            fields = {field.name: field for field in file.schema_arrow}
            with_missing = _columns_with_gaps(file.metadata)
            return {
                name: self._type_of(file, fields[str(name)], dtype, has_gaps=with_missing.get(str(name)))
                for name, dtype in zip(self.names, self._empty.dtypes, strict=True)
            }

    def _type_of(self, file: Any, field: Any, dtype: Any, *, has_gaps: bool | None) -> Any:
        if pa.types.is_null(field.type):
            return None
        if isinstance(dtype, np.dtype) and dtype.kind in "iub":
            if has_gaps is None:  # the file does not say
                has_gaps = any(table.column(field.name).null_count for table in self._tables(file, [field.name]))
            return with_gaps(dtype) if has_gaps else dtype
        if isinstance(dtype, pd.CategoricalDtype):
            levels = [self._frame(table).iloc[:, 0].cat.categories for table in self._tables(file, [field.name])]
            return union_of(levels, ordered=bool(dtype.ordered))
        return dtype

    @cached_property
    def _empty(self) -> pd.DataFrame:
        with self._opened(1) as file:
            return self._frame(file.schema_arrow.empty_table())

    def _tables(self, file: Any, names: list[str]) -> Iterator[Any]:
        """All rows, in arrow's tables of bounded size."""
        groups = (file.metadata.row_group(place) for place in range(file.metadata.num_row_groups))
        width = sum(group.total_byte_size for group in groups) // max(1, file.metadata.num_rows)
        rows = rows_a_piece(len(names), width)
        with self._explained():
            batches = file.iter_batches(rows, columns=names, use_threads=False)
        while (batch := self._next(batches)) is not None:
            if batch.num_rows:
                yield pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)

    def _next(self, batches: Any) -> Any:
        with self._explained():
            return next(batches, None)

    def _frame(self, table: Any) -> pd.DataFrame:
        with self._explained():
            return _with_named_index(table.to_pandas())

    @contextmanager
    def _opened(self, n_columns: int) -> Iterator[Any]:
        """The file, read through buffers that stay small however many columns there are."""
        buffer = max(_LEAST_BUFFER, min(_LARGEST_BUFFER, _BUFFERS // max(1, n_columns)))
        with ExitStack() as stack:
            origin = self._origin
            source = str(origin.path) if isinstance(origin, StoredFile) else stack.enter_context(origin.opened())
            with self._explained():
                file = stack.enter_context(pq.ParquetFile(source, pre_buffer=False, buffer_size=buffer))
            yield file

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, pa.ArrowException) as error:
            message = f"{self.name} is damaged or cut short: it cannot be read as Parquet. Fetch it again."
            raise DataError(message) from error


def with_gaps(dtype: Any) -> Any:
    """What pandas makes of whole numbers, or truth values, some of which are missing."""
    return np.dtype(object if dtype.kind == "b" else np.float64) if dtype.kind in "iub" else dtype


def union_of(levels: list[pd.Index], *, ordered: bool) -> pd.CategoricalDtype:
    """The categories of all, in the order in which they come."""
    found = dict.fromkeys(level for some in levels for level in some)
    return pd.CategoricalDtype(list(found), ordered=ordered)


def _with_named_index(frame: pd.DataFrame) -> pd.DataFrame:
    named = any(level is not None for level in frame.index.names)
    return frame.reset_index(drop=not named)


def _columns_with_gaps(metadata: Any) -> dict[str, bool | None]:
    """Whether each column has missing values, None where some group of rows does not say."""
    gaps: dict[str, bool | None] = {}
    for place in range(metadata.num_row_groups):
        group = metadata.row_group(place)
        for column in map(group.column, range(group.num_columns)):
            counted = column.statistics if column.is_stats_set else None
            has = counted.null_count > 0 if counted is not None and counted.has_null_count else None
            before = gaps.get(column.path_in_schema, False)
            gaps[column.path_in_schema] = True if has or before else has if before is False else None
    return gaps
