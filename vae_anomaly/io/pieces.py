"""A table in pieces: how many rows are read at a time, where a piece lies in its file, how much has been read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd

from vae_anomaly.errors import RowError

MOST_ROWS = 2**16
MOST_CELLS = 2**23  # 64 MB as float64; with fewer, pandas' overhead of 10,000 columns exceeds the work on their cells
MOST_BYTES = 2**26  # as stored in the file


def rows_per_piece(n_columns: int, row_bytes: int) -> int:
    """
    Rows to read at a time, given the number of columns and the bytes of a row.

    A power of two: the scorer then computes on the same blocks of rows as in the whole table, so scores are bit-equal.
    """
    most = max(1, min(MOST_ROWS, MOST_CELLS // max(1, n_columns), MOST_BYTES // max(1, row_bytes)))
    return 1 << (most.bit_length() - 1)


@dataclass(frozen=True, eq=False)
class Piece:
    """
    Consecutive rows of a table.

    Attributes
    ----------
    frame
        The rows; the index is their position in the whole table.
    file
        Name of the file that they come from, None if they come from a frame.
    first
        Position of the first row in that file.
    kept
        Columns to keep in an output, as they stand in the file.
    """

    frame: pd.DataFrame
    file: str | None = None
    first: int = 0
    kept: pd.DataFrame = field(default_factory=pd.DataFrame)

    @contextmanager
    def counting_rows(self) -> Iterator[None]:
        """Within it, errors that name a row of the frame name the row of the file instead."""
        try:
            yield
        except RowError as error:
            raise error.moved(self.first, self.file) from error


@dataclass
class Progress:
    """Stored bytes that have been read, of the files before and of the current one."""

    before: int = 0
    here: int = 0

    @property
    def n_bytes(self) -> int:
        """Bytes read in all files."""
        return self.before + self.here

    def next_file(self) -> None:
        """Begin to count in the next file."""
        self.before, self.here = self.n_bytes, 0
