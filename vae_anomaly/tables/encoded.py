"""Encoded rows that are made when they are asked for, so that no second copy of a long table is held."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pandas as pd

from vae_anomaly.tables.frames import slices_of_rows

HELD_CELLS = 2**22  # 32 MiB: up to there rows are encoded once and kept


class Cells(Protocol):
    """Encoded rows, float64 (rows, cells): an array, or as good as one where rows are taken by their places."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and cells."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any, /) -> np.ndarray: ...


class Encoder(Protocol):
    """A schema, of tables or of images."""

    cells: list[Any]

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode rows as a matrix (rows, cells)."""


class EncodedRows:
    """Rows of a frame, encoded as often as they are taken."""

    def __init__(self, schema: Encoder, frame: pd.DataFrame, places: np.ndarray) -> None:
        self.shape: tuple[int, ...] = (len(places), len(schema.cells))
        self._schema, self._frame, self._places = schema, frame, places

    def __len__(self) -> int:
        return self.shape[0]

    def at(self, places: np.ndarray) -> "EncodedRows":
        """Some of the rows."""
        return EncodedRows(self._schema, self._frame, self._places[places])

    def __getitem__(self, places: Any) -> np.ndarray:
        return self._schema.encode(self._frame.iloc[self._places[places]])


def selected(x: Cells, places: np.ndarray) -> Cells:
    """Some of the rows, held or made as the others are."""
    return x.at(places) if isinstance(x, EncodedRows) else x[places]


def encoded(schema: Encoder, frame: pd.DataFrame, places: np.ndarray | None = None) -> Cells:
    """The rows of a frame, or those at ``places``, encoded: held where they are few, else made when they are taken."""
    places = np.arange(len(frame)) if places is None else places
    rows = EncodedRows(schema, frame, places)
    return rows[:] if len(rows) * len(schema.cells) <= HELD_CELLS else rows


def parts(x: Cells) -> Iterator[np.ndarray]:
    """All rows in their order, a few at a time."""
    for rows in slices_of_rows(*x.shape):
        yield x[rows]
