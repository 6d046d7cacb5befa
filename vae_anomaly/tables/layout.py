"""Where each column's cells stand in the matrix, and how they get there before they are standardised."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vae_anomaly.errors import RowError
from vae_anomaly.tables.columns import Cell, Column, NumberColumn
from vae_anomaly.tables.values import Values

_ORDER = {"number": 0, "flag": 1, "code": 2}
_UNSEEN_FLAG = 2.0


class Layout:
    """
    Cells of a list of columns in matrix order: all numbers, then all flags, then all codes.

    Attributes
    ----------
    slots
        For each column the places of its cells in the matrix.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        cells = [cell for place, column in enumerate(columns) for cell in column.cells(place)]
        order = sorted(range(len(cells)), key=lambda place: _ORDER[cells[place].kind])
        self.cells: list[Cell] = [cells[place] for place in order]
        self.n_numbers = sum(cell.kind == "number" for cell in cells)
        self.slots: list[list[int]] = [[] for _ in columns]
        for slot in np.argsort(order):  # by column again
            self.slots[self.cells[slot].column].append(int(slot))
        self._takes_numbers = np.array([column.takes_numbers for column in columns], dtype=bool)
        self._first_slots = np.array([slots[0] for slots in self.slots], dtype=np.int64)

    def gather(self, frame: pd.DataFrame, read: Mapping[str | int, Values]) -> np.ndarray:
        """
        Collect the cells of a frame that has these very columns, numbers not yet standardised.

        Columns of plain numbers are copied all at once, the others read one by one, unless ``read`` has them already.
        """
        raw = np.empty((len(frame), len(self.cells)))
        plain = plain_numbers(frame) & self._takes_numbers
        _copy(frame, plain, raw, self._first_slots[plain])
        for place in _places(~plain):
            column = self.columns[place]
            values = read.get(column.name) or Values.of(frame, place, column.name)
            for slot, part in zip(self.slots[place], column.encode(values), strict=True):
                raw[:, slot] = part
        self._refuse_infinite(raw)
        self._mark_unseen_flags(raw)
        return raw

    def scatter(self, raw: np.ndarray) -> pd.DataFrame:
        """Give the table that has these cells; columns of float64, often many, are taken all at once."""
        floats = np.array([isinstance(column, NumberColumn) and column.storage == "float64" for column in self.columns])
        names = [column.name for column in self.columns]
        block = pd.DataFrame(raw[:, self._first_slots[floats]], columns=[names[place] for place in _places(floats)])
        others = [
            self.columns[place].decode([raw[:, slot] for slot in self.slots[place]]).rename(names[place])
            for place in _places(~floats)
        ]
        return pd.concat([block, *others] if floats.any() else others, axis=1)[names] if others else block

    def _refuse_infinite(self, raw: np.ndarray) -> None:
        infinite_cells = np.isinf(raw)
        if infinite_cells.any():
            row, slot = np.argwhere(infinite_cells)[0]
            raise infinite(self.columns[self.cells[slot].column].name, int(row))

    def _mark_unseen_flags(self, raw: np.ndarray) -> None:
        n_flags = sum(cell.kind == "flag" for cell in self.cells)
        flags = raw[:, self.n_numbers : self.n_numbers + n_flags]
        flags[(flags != 0) & (flags != 1) & ~np.isnan(flags)] = _UNSEEN_FLAG


def _places(chosen: np.ndarray) -> list[int]:
    places: list[int] = np.flatnonzero(chosen).tolist()
    return places


def plain_numbers(frame: pd.DataFrame) -> np.ndarray:
    """Whether each column is stored as numbers or truth values of a numpy type."""
    dtypes = frame.dtypes.to_numpy()
    return np.array([isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes], dtype=bool)


def infinite(name: str | int, row: int) -> RowError:
    """The error that says where a value is infinite, the first row being 0."""
    remedy = ". Replace the value by a number, or by NaN to have it count as missing."
    return RowError.at(f"Column {name!r} is infinite", row, remedy)


def number_matrix(frame: pd.DataFrame, places: np.ndarray) -> np.ndarray:
    """Give columns of numbers of whatever type as one float64 matrix, NaN where a value is missing."""
    chosen = frame if len(places) == frame.shape[1] else frame.iloc[:, places]
    if plain_numbers(chosen).all():
        return chosen.to_numpy(np.float64)
    return np.column_stack([Values.of(chosen, place, "").numbers.values for place in range(len(places))])


def number_block(frame: pd.DataFrame, chosen: np.ndarray) -> np.ndarray:
    """Give the chosen columns of plain numbers as one float64 matrix."""
    return (frame if chosen.all() else frame.iloc[:, chosen]).to_numpy(np.float64)


def _copy(frame: pd.DataFrame, chosen: np.ndarray, raw: np.ndarray, slots: np.ndarray) -> None:
    in_order = np.array_equal(slots, np.arange(len(slots)))
    raw[:, slice(0, len(slots)) if in_order else slots] = number_block(frame, chosen)
