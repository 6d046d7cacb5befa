"""Parquet files as frames: whole, or in pieces with the column types of the whole file."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly.errors import DataError
from vae_anomaly.io.notation import TRIED
from vae_anomaly.io.pieces import MOST_ROWS, Progress, rows_per_piece
from vae_anomaly.io.source import ByteSource, FileOptions, StoredFile, seekable
from vae_anomaly.io.text import SNIFFED, WrittenText, present_texts

MAGIC = b"PAR1"


class ParquetTable:
    """A Parquet file."""

    def __init__(self, source: ByteSource, options: FileOptions) -> None:
        self.missing = options.missing  # of columns of text
        self.options = options
        self.name = source.name
        self.size = source.size
        self._source = seekable(source)

    @cached_property
    def names(self) -> list[str | int]:
        """Column names."""
        return list(self._empty.columns)

    @cached_property
    def written(self) -> WrittenText:
        """How numbers and dates in columns of text are written, as the first cells that are not missing show."""
        with self._opened(1) as file:
            is_text = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
            texts = [field.name for field in file.schema_arrow if any(holds(field.type) for holds in is_text)]
            known = {str(name) for name in self.names}
            found = self._present_texts(file, [name for name in texts if name in known], SNIFFED)
            n_found = {str(name): len(cells) for name, cells in found.items()}
            rare = [name for name in texts if name in known and n_found.get(name, 0) < TRIED]
            found |= self._present_texts(file, rare, file.metadata.num_rows)
        return WrittenText.of(self.name, found, self.options)

    def _present_texts(self, file: Any, names: list[str], most: int) -> dict[str | int, Any]:
        """The first cells of columns of text that are not missing, in at most so many rows."""
        parts: dict[str | int, list[str]] = {}
        with self._explained():
            batches = (
                file.iter_batches(min(most, MOST_ROWS), columns=names, use_threads=False) if names and most else ()
            )
            for n_batches, batch in enumerate(batches, 1):
                table = pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)
                for name, cells in present_texts(self._to_pandas(table), self.options).items():
                    parts.setdefault(name, []).extend(cells.to_pylist())
                is_enough = len(parts) == len(names) and min(map(len, parts.values())) >= SNIFFED
                if is_enough or n_batches * MOST_ROWS >= most:
                    break
        return {name: pa.array(texts[:SNIFFED], pa.string()) for name, texts in parts.items()}

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        with self._opened(1) as file:
            return int(file.metadata.num_rows)

    @property
    def extent(self) -> tuple[int, int, int]:
        """Bytes of all columns after decompression, number of cells, and number of columns."""
        with self._opened(1) as file:
            found = file.metadata
        n_bytes = sum(found.row_group(number).total_byte_size for number in range(found.num_row_groups))
        return n_bytes, found.num_rows * found.num_columns, found.num_columns

    def read(self) -> pd.DataFrame:
        """All rows; a named index becomes a column."""
        with self._source.opened() as stream, self._explained():
            return self._to_pandas(pq.ParquetFile(stream).read())

    def pieces(
        self, types: Mapping[str | int, Any], progress: Progress, *, only: Collection[str | int] | None = None
    ) -> Iterator[pd.DataFrame]:
        """
        Rows in pieces.

        Parameters
        ----------
        types
            Types that columns are converted to; the other columns keep the type of the file.
        progress
            Updated with the bytes read, estimated from the fraction of the rows.
        only
            Columns to read; all of them by default.
        """
        chosen = set(self.names if only is None else only)
        names = [str(name) for name in self.names if name in chosen]
        with self._opened(len(names)) as file:
            n_rows, done = max(1, file.metadata.num_rows), 0
            for table in self._arrow_tables(file, names):
                frame = self._to_pandas(table)
                done += len(table)
                progress.here = (self.size or 0) * done // n_rows
                found = dict(frame.dtypes.items())
                others = {name: dtype for name, dtype in types.items() if name in found and found[name] != dtype}
                yield frame.astype(others) if others else frame

    @cached_property
    def types(self) -> dict[str | int, Any]:
        """Type that pandas gives to each column of the whole file; None for a column without values."""
        with self._opened(1) as file:
            fields = {field.name: field for field in file.schema_arrow}
            has_missing = _columns_with_missing(file.metadata)
            return {
                name: self._type_of(file, fields[str(name)], dtype, has_missing=has_missing.get(str(name)))
                for name, dtype in zip(self.names, self._empty.dtypes, strict=True)
            }

    def _type_of(self, file: Any, field: Any, dtype: Any, *, has_missing: bool | None) -> Any:
        if pa.types.is_null(field.type):
            return None
        if isinstance(dtype, np.dtype) and dtype.kind in "iub":
            if has_missing is None:  # the file has no statistics
                has_missing = any(t.column(field.name).null_count for t in self._arrow_tables(file, [field.name]))
            return with_missing(dtype) if has_missing else dtype
        if isinstance(dtype, pd.CategoricalDtype):
            levels = [self._to_pandas(t).iloc[:, 0].cat.categories for t in self._arrow_tables(file, [field.name])]
            return joint_categories(levels, ordered=bool(dtype.ordered))
        return dtype

    @cached_property
    def _empty(self) -> pd.DataFrame:
        """Frame without rows, as pandas makes it from the file's schema."""
        with self._opened(1) as file:
            return self._to_pandas(file.schema_arrow.empty_table())

    def _arrow_tables(self, file: Any, names: list[str]) -> Iterator[Any]:
        """All rows of some columns as arrow tables of bounded size."""
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        row_bytes = sum(group.total_byte_size for group in groups) // max(1, file.metadata.num_rows)
        rows = rows_per_piece(len(names), row_bytes)
        with self._explained():
            batches = file.iter_batches(rows, columns=names, use_threads=False)
        while True:
            with self._explained():
                batch = next(batches, None)
            if batch is None:
                return
            if batch.num_rows:
                yield pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)

    def _to_pandas(self, table: Any) -> pd.DataFrame:
        with self._explained():
            return self._unmarked(_without_index(table).to_pandas())

    def _unmarked(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with missing values in place of the markers."""
        if self.missing:
            for column in frame.columns:
                cells = frame[column]
                if not pd.api.types.is_numeric_dtype(cells.dtype) and (marked := cells.isin(self.missing)).any():
                    frame[column] = cells.mask(marked)
        return frame

    @contextmanager
    def _opened(self, n_columns: int) -> Iterator[Any]:
        """The opened file, whose buffers together take at most 16 MiB, or 4 KiB a column if these are more."""
        buffer = max(2**12, min(2**20, 2**24 // max(1, n_columns)))
        with ExitStack() as stack:
            source = self._source
            file = str(source.path) if isinstance(source, StoredFile) else stack.enter_context(source.opened())
            with self._explained():
                opened = stack.enter_context(pq.ParquetFile(file, pre_buffer=False, buffer_size=buffer))
            yield opened

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Within it, what pyarrow and pandas raise is a DataError that names the file."""
        try:
            yield
        except (OSError, ValueError, pa.ArrowException) as error:
            message = f"{self.name} is damaged or cut short: it cannot be read as Parquet. Fetch it again."
            raise DataError(message) from error


def with_missing(dtype: Any) -> Any:
    """Type that pandas gives to a column of this type if some values are missing."""
    return np.dtype(object if dtype.kind == "b" else np.float64) if dtype.kind in "iub" else dtype


def joint_categories(levels: list[pd.Index], *, ordered: bool) -> pd.CategoricalDtype:
    """Categorical type with all levels, in the order of their first appearance."""
    found = dict.fromkeys(level for some in levels for level in some)
    return pd.CategoricalDtype(list(found), ordered=ordered)


def _without_index(table: Any) -> Any:
    """The table with the named levels of pandas' index as its first columns, and without the others.

    What pandas has noted in the file and nothing can read is ignored.
    """
    others = {key: value for key, value in (table.schema.metadata or {}).items() if key != b"pandas"}
    try:
        noted = json.loads((table.schema.metadata or {})[b"pandas"])
        levels = [level for level in noted["index_columns"] if isinstance(level, str)]  # the others are ranges
        names = {column["field_name"]: column["name"] for column in noted["columns"]}
        named = [level for level in levels if names.get(level) is not None and level in table.column_names]
        table = table.select([*named, *(name for name in table.column_names if name not in levels)])
        kept = {b"pandas": json.dumps({**noted, "index_columns": []}).encode()}
    except (KeyError, TypeError, ValueError, AttributeError):  # ValueError: no JSON, no UTF-8
        return table.replace_schema_metadata(others or None)
    return table.replace_schema_metadata(others | kept)


def _columns_with_missing(metadata: Any) -> dict[str, bool | None]:
    """Whether each column has missing values; None if no row group reports any and some have no statistics."""
    result: dict[str, bool | None] = {}
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            statistics = column.statistics if column.is_stats_set else None
            has = statistics.null_count > 0 if statistics is not None and statistics.has_null_count else None
            before = result.get(column.path_in_schema, False)
            result[column.path_in_schema] = True if has or before else has if before is False else None
    return result
