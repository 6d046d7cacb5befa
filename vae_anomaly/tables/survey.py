"""
What all rows of a table tell of its columns, seen in pieces: what a sample of the rows, however large, may lack.

Pieces are frames of the same columns; the index of each is the positions of its rows in the table.
"""

from collections.abc import Iterable
from typing import Self

import numpy as np
import pandas as pd

from vae_anomaly.tables.columns import may_be_numbers
from vae_anomaly.tables.frames import column_names, stacked
from vae_anomaly.tables.layout import infinite, number_matrix
from vae_anomaly.tables.omissions import SHORTEST_COUNT
from vae_anomaly.tables.values import Values, holds_numbers

MOST_LEVELS = 2**17  # distinct values of a column that are kept
ALL_LEVELS = 2**20  # of all columns together
FEWEST_LEVELS = 2**8


class Numbers:
    """
    Columns of numbers and truth values, by their positions in the table.

    Attributes
    ----------
    n_rows
        Seen so far.
    lows, highs
        Least and largest value of each column, NaN where there is none.
    """

    def __init__(self, names: list[str | int]) -> None:
        self.n_rows = 0
        self.lows, self.highs = np.full(len(names), np.nan), np.full(len(names), np.nan)
        self._names = names
        self._between = np.zeros(len(names), dtype=bool)
        self._count = np.ones(len(names), dtype=bool)
        self._latest, self._latest_row = np.full(len(names), np.nan), 0

    @classmethod
    def of(cls, pieces: Iterable[pd.DataFrame], names: list[str | int]) -> Self:
        """What these pieces tell."""
        numbers = cls(names)
        for piece in pieces:
            numbers.see(piece)
        return numbers

    @property
    def flags(self) -> np.ndarray:
        """Whether each column holds 0 and 1, both, and nothing else."""
        return (self.lows == 0) & (self.highs == 1) & ~self._between

    @property
    def counters(self) -> np.ndarray:
        """Whether each column goes up by one from row to row of the table, whichever of them were seen."""
        return self._count & (self.n_rows >= SHORTEST_COUNT)

    def see(self, piece: pd.DataFrame) -> None:
        """Take the columns of numbers of a piece into account; an infinite value is a DataError."""
        if not len(piece):
            return
        dtypes = piece.dtypes.tolist()
        numeric = {dtype: holds_numbers(dtype) for dtype in set(dtypes)}
        places = np.flatnonzero([numeric[dtype] for dtype in dtypes])
        if len(places):
            self._see(places, number_matrix(piece, places), piece.index)
        self.n_rows += len(piece)

    def _see(self, places: np.ndarray, matrix: np.ndarray, rows: pd.Index) -> None:
        lows, highs = np.fmin.reduce(matrix, axis=0), np.fmax.reduce(matrix, axis=0)
        if np.isinf(lows).any() or np.isinf(highs).any():
            row, column = np.argwhere(np.isinf(matrix))[0]
            raise infinite(self._names[places[column]], int(rows[row]))
        self.lows[places], self.highs[places] = np.fmin(self.lows[places], lows), np.fmax(self.highs[places], highs)
        self._see_between(places, matrix)
        self._see_counts(places, matrix, rows.to_numpy())

    def _see_between(self, places: np.ndarray, matrix: np.ndarray) -> None:
        open_ = (self.lows[places] >= 0) & (self.highs[places] <= 1) & ~self._between[places]
        if open_.any():
            some = matrix[:, open_]
            self._between[places[open_]] = ((some > 0) & (some < 1)).any(axis=0)

    def _see_counts(self, places: np.ndarray, matrix: np.ndarray, rows: np.ndarray) -> None:
        open_ = self._count[places]
        if open_.any():
            some = matrix[:, open_]
            if self.n_rows:
                some, rows = np.vstack([self._latest[places[open_]], some]), np.append(self._latest_row, rows)
            self._count[places[open_]] = (some[1:] == some[:-1] + np.diff(rows)[:, None]).all(axis=0)
        self._latest[places], self._latest_row = matrix[-1], rows[-1]


class Levels:
    """Distinct values of a column that does not hold numbers, ``most`` at most, and what they may be."""

    def __init__(self, name: str | int, most: int) -> None:
        self.n_values = 0
        self.most = most
        self._name = name
        self._known: set[object] = set()
        self._kept: list[pd.Series] = []  # where each distinct value stands first
        self._stray: list[pd.Series] = []  # the first value that is no number
        self._infinite: list[pd.Series] = []  # the first that is infinite
        self._too_many, self._numbers, self._dates = False, True, True

    @property
    def too_many(self) -> bool:
        """Whether there are more than are kept, and they are neither all numbers nor all dates."""
        return self._too_many and not (self._numbers or self._dates)

    def see(self, series: pd.Series) -> None:
        """Take the values of a piece into account."""
        values = Values(self._name, series, series.index)
        self.n_values += int((~values.missing).sum())
        if not self.too_many:
            self._see(values)

    def joined(self, sample: pd.Series) -> Values:
        """The values of a sample, and below them those that it may lack."""
        lacking = self._stray + self._infinite if self._too_many else self._kept
        whole = stacked([part.to_frame() for part in [sample, *lacking]])
        return Values(self._name, whole.iloc[:, 0], whole.index)

    def _see(self, values: Values) -> None:
        codes, distinct = values.factors
        present, first = np.unique(codes, return_index=True)
        known = [code < 0 or distinct[code] in self._known for code in present]
        new = np.sort(first[np.logical_not(known)])
        fresh = values.series.iloc[new]
        self._test(Values(self._name, fresh, fresh.index))
        if self._too_many:
            return
        self._known.update(distinct[codes[new]])
        self._kept.append(fresh)
        if len(self._known) > self.most:
            self._too_many, self._known, self._kept = True, set(), []

    def _test(self, fresh: Values) -> None:
        numbers = fresh.numbers
        self._dates = self._dates and not len(fresh.instants.misfits)
        self._numbers = self._numbers and may_be_numbers(fresh)
        self._stray = self._stray or _first(fresh, numbers.misfits)
        self._infinite = self._infinite or _first(fresh, np.flatnonzero(np.isinf(numbers.values)))


def _first(values: Values, places: np.ndarray) -> list[pd.Series]:
    return [values.series.iloc[places[:1]]] if len(places) else []


class Survey:
    """
    All rows of a table, as far as they must be known to learn its schema from a sample of them.

    Attributes
    ----------
    numbers
        Of the columns of numbers.
    """

    def __init__(self, piece: pd.DataFrame) -> None:
        self._names = column_names(piece)
        self.numbers = Numbers(self._names)
        self._levels: dict[int, Levels] = {}
        self._most = max(FEWEST_LEVELS, min(MOST_LEVELS, ALL_LEVELS // max(1, len(_nominal(piece)))))

    @property
    def n_rows(self) -> int:
        """Rows seen so far."""
        return self.numbers.n_rows

    def see(self, piece: pd.DataFrame) -> None:
        """Take a piece into account; a value that no schema can hold is a DataError that names its row."""
        self.numbers.see(piece)
        for place in _nominal(piece):
            levels = self._levels.setdefault(place, Levels(self._names[place], self._most))
            levels.see(piece.iloc[:, place])

    def values(self, place: int, sample: pd.Series) -> Values:
        """The values of a column in a sample, with what the sample may lack."""
        levels = self._levels.get(place)
        return Values(self._names[place], sample, sample.index) if levels is None else levels.joined(sample)

    def is_empty(self, place: int) -> bool:
        """Whether a column of anything but numbers, dates and durations has no value at all."""
        return place in self._levels and not self._levels[place].n_values

    def levels(self, place: int) -> Levels | None:
        """What is known of a column of anything but numbers, dates and durations."""
        return self._levels.get(place)


def _nominal(piece: pd.DataFrame) -> list[int]:
    """Places of the columns of anything but numbers, dates and durations."""
    dtypes = piece.dtypes.tolist()
    nominal = {dtype: not holds_numbers(dtype) and getattr(dtype, "kind", "O") not in "mM" for dtype in set(dtypes)}
    return [place for place, dtype in enumerate(dtypes) if nominal[dtype]]
