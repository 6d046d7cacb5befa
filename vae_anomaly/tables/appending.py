"""Write a table piece by piece, so that what is written of it can be gone on with."""

import gzip
import io
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly.tables.writing import csv_bytes, format_of, json_lines, parquet_table

_GROUP_ROWS = 2**18  # of a Parquet file


class Appender:
    """
    A table as bytes, piece after piece.

    What `encode` gives for each piece, one after the other, is the file; of Parquet, which ends in a list of its
    contents, it is a draft that `convert` makes the file of. Each piece is packed by itself.

    Parameters
    ----------
    target
        The file, whose suffix tells the format, or "-" for CSV.
    """

    def __init__(self, target: str | PathLike[str]) -> None:
        self._format = format_of(target)
        self._suffix = Path(target).suffix.lower()

    @property
    def is_draft(self) -> bool:
        """Whether the file is still to be made of what is written."""
        return self._format == "parquet"

    def encode(self, frame: pd.DataFrame, *, is_first: bool) -> bytes:
        """Bytes of a piece."""
        match self._format:
            case "parquet":
                return _draft(parquet_table(frame))
            case "jsonl":
                data = json_lines(frame)
            case _:
                data = csv_bytes(frame, "\t" if self._format == "tsv" else ",", header=is_first)
        return _packed(data, self._suffix)

    def convert(self, draft: Path, target: Path) -> None:
        """Make the file of its draft."""
        with pa.OSFile(str(draft), "rb") as source:
            schema = pa.unify_schemas([table.schema for table in _tables(source)], promote_options="permissive")
        with pa.OSFile(str(draft), "rb") as source, pq.ParquetWriter(target, schema) as writer:
            for group in _groups(_tables(source)):
                writer.write_table(pa.concat_tables([table.cast(schema) for table in group]))


def _packed(data: bytes, suffix: str) -> bytes:
    match suffix:
        case ".gz":
            return gzip.compress(data, mtime=0)  # no time: same table, same bytes
        case ".zst":
            sink = pa.BufferOutputStream()
            with pa.CompressedOutputStream(sink, "zstd") as stream:
                stream.write(data)
            return bytes(sink.getvalue())
    return data


def _draft(table: Any) -> bytes:
    """A table as a stream of its own, since a later piece may have other types: numbers where all were missing."""
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def _tables(draft: Any) -> Iterator[Any]:
    """The tables of a draft, one after the other."""
    size = draft.size()
    while draft.tell() < size:
        with pa.ipc.open_stream(draft) as reader:
            yield reader.read_all()


def _groups(tables: Iterator[Any]) -> Iterator[list[Any]]:
    """Tables in groups of enough rows to be packed well."""
    group: list[Any] = []
    for table in tables:
        group.append(table)
        if sum(map(len, group)) >= _GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group
