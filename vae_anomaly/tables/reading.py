"""Read a table from a file: Parquet, or text with commas, semicolons or tabs between its columns; compressed or not."""

from os import PathLike

import pandas as pd

from vae_anomaly.errors import DataError
from vae_anomaly.tables.delimited import DelimitedText
from vae_anomaly.tables.frames import listed
from vae_anomaly.tables.origins import Origin, beginning, in_memory, origin_of
from vae_anomaly.tables.parquet import MAGIC, ParquetTable


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
        raise DataError(f"{table.name} has column names but no rows: {listed([*frame.columns])}. Add rows.")
    return frame


def stored_table(origin: Origin, encoding: str) -> ParquetTable | DelimitedText:
    """What an origin holds, to be read whole or in pieces."""
    return ParquetTable(origin) if beginning(origin) == MAGIC else DelimitedText(origin, encoding)
