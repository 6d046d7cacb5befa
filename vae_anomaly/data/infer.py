"""What the columns of a table are, and which are of no use: learned from all rows, or from a sample and a survey."""

import warnings
from collections.abc import Iterable
from typing import Self

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import CategoryColumn, Column, FlagColumn, NumberColumn, learn_column, may_be_numbers
from vae_anomaly.data.parse import (
    Values,
    column_names,
    holds_numbers,
    in_pieces_of_rows,
    infinite,
    number_matrix,
    stacked,
)
from vae_anomaly.data.storage import storage_of
from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.formatting import listed

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


EMPTY = "has no values"
NONE_DRAWN = "has no values in the rows drawn for training"
COUNTER = "counts the rows"
SHORTEST_COUNT = 20
_DISTINCT_SHARE, _FEW_LEVELS = 0.9, 20
_NUMBER_SHARE, _FEW_VALUES = 0.9, 10


def reason_to_leave_out(column: Column, n_values: int) -> str | None:
    """Say why a column with so many values is left out, None where it is not."""
    match column:
        case CategoryColumn() if column.storage != "category":
            return _identifies(len(column.levels), n_values)
    return None


def too_many_levels(most: int, n_values: int) -> str:
    """Say that a column has more distinct values than can be kept."""
    return f"identifier or free text: more than {most:,} distinct of {n_values:,}"


def nearly_numbers(values: Values) -> str | None:
    """Name the value that makes a text column out of what is otherwise numbers, None where there is no such thing."""
    n_values = int((~values.missing).sum())
    if not values.is_text or n_values < _FEW_VALUES:
        return None
    strays = values.numbers.misfits
    if not 0 < len(strays) <= round((1 - _NUMBER_SHARE) * n_values, 9):  # 0.1 * 10 is to be 1
        return None
    row = int(strays[0])
    return f"{values.name!r} (row {values.position(row) + 1} holds {values.found(row)})"


def _identifies(distinct: int, n_values: int) -> str | None:
    if distinct <= _FEW_LEVELS or distinct <= _DISTINCT_SHARE * n_values:
        return None
    return f"identifier or free text: {distinct:,} distinct of {n_values:,}"


Name = str | int


def learn_columns(
    frame: pd.DataFrame, names: list[Name], places: np.ndarray | None, survey: Survey | None
) -> tuple[list[Column], dict[Name, str]]:
    """
    Learn every column from the rows at ``places``: those in use, and why others are left out.

    A table of nothing but row counters keeps the first. The index of ``frame`` is the positions of its rows.
    """
    columns, left_out = _learn_numbers(frame, names, places, survey)
    strays = []
    for place in [place for place, dtype in enumerate(frame.dtypes) if not holds_numbers(dtype)]:
        sample = frame.iloc[:, place] if places is None else frame.iloc[places, place]
        if sample.isna().all():
            left_out[names[place]] = EMPTY if survey is None or survey.is_empty(place) else NONE_DRAWN
            continue
        values = Values(names[place], sample, sample.index) if survey is None else survey.values(place, sample)
        columns[names[place]] = column = _learn_other(values)
        strays += [text] if (text := nearly_numbers(values)) else []
        if reason := _reason(column, values, place, survey):
            left_out[names[place]] = reason
    left_out = {name: left_out[name] for name in names if name in left_out}
    _keep_a_counter(left_out, names)
    _warn_about(left_out, strays)
    return [columns[name] for name in names if name in columns and name not in left_out], left_out


def _learn_numbers(
    frame: pd.DataFrame, names: list[Name], places: np.ndarray | None, survey: Survey | None
) -> tuple[dict[Name, Column], dict[Name, str]]:
    """Learn the columns of numbers all at once: 10,000 of them take milliseconds."""
    drawn = Numbers.of(in_pieces_of_rows(frame, places), names)
    known = drawn if survey is None else survey.numbers
    flags, counters, empty, none_drawn = known.flags, known.counters, np.isnan(known.lows), np.isnan(drawn.lows)
    columns: dict[Name, Column] = {}
    left_out: dict[Name, str] = {}
    dtypes = frame.dtypes.tolist()
    of_numbers = {dtype: holds_numbers(dtype) for dtype in set(dtypes)}
    of_truth = {dtype: pd.api.types.is_bool_dtype(dtype) for dtype in of_numbers}
    whole = {dtype: pd.api.types.is_integer_dtype(dtype) for dtype in of_numbers}
    storages = {dtype: str(dtype) for dtype in of_numbers if isinstance(dtype, np.dtype)}
    for place, dtype in enumerate(dtypes):
        if of_numbers[dtype]:
            name = names[place]
            storage = storages.get(dtype) or storage_of(Values.of(frame, place, name))
            is_flag = flags[place] or of_truth[dtype]
            columns[name] = FlagColumn(name, storage) if is_flag else NumberColumn(name, storage)
            if none_drawn[place]:
                left_out[name] = EMPTY if empty[place] else NONE_DRAWN
            elif counters[place] and whole[dtype]:
                left_out[name] = COUNTER
    return columns, left_out


def _learn_other(values: Values) -> Column:
    """Learn a column of anything but numbers; if it spells them, none may be infinite."""
    column = learn_column(values)
    if isinstance(column, NumberColumn) and not column.is_duration:
        places = np.flatnonzero(np.isinf(values.numbers.values))
        if len(places):
            raise infinite(values.name, values.position(int(places[0])))
    return column


def _reason(column: Column, values: Values, place: int, survey: Survey | None) -> str | None:
    """Say why a column is left out, None where it is not."""
    levels = None if survey is None else survey.levels(place)
    if levels is not None and levels.too_many:
        return too_many_levels(levels.most, levels.n_values)
    return reason_to_leave_out(column, int((~values.missing).sum()) if levels is None else levels.n_values)


def _keep_a_counter(left_out: dict[Name, str], names: list[Name]) -> None:
    if len(left_out) == len(names):
        counter = next((name for name, reason in left_out.items() if reason == COUNTER), None)
        if counter is None:
            raise DataError(f"No column of the table is of use: {_reasons(left_out)}.")
        del left_out[counter]


def _warn_about(left_out: dict[Name, str], strays: Iterable[str]) -> None:
    if left_out:
        warnings.warn(f"Columns left out: {_reasons(left_out)}.", DataWarning, stacklevel=4)
    if strays:
        message = f"Columns that are text, though nearly all numbers: {', '.join(strays)}; the first row is 1."
        warnings.warn(message, DataWarning, stacklevel=4)


def _reasons(left_out: dict[Name, str]) -> str:
    """Columns with the reason why each is left out."""
    return listed((f"{name!r} {reason}" for name, reason in left_out.items()), separator="; ")
