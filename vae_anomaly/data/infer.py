"""
Learning what the columns of a table are, and which are left out: from all rows, or from a sample and a survey.

A survey reads a long table once, piece by piece. It keeps what a sample alone would get wrong: whether a column holds
only 0 and 1, a row index, every level of a category, and single values of another kind.

A column of text is one of numbers, or of dates, if at most a tenth of its values are no such thing: these are its
unreadable cells.

A user may ask for other kinds: ``kinds`` has the kind of each such column by its name, one of `KINDS` or `IGNORE`.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import (
    IGNORE,
    KINDS,
    MOST_LEVELS,
    CategoryColumn,
    Column,
    FlagColumn,
    NumberColumn,
    ShapeColumn,
    learn_column,
    may_be_numbers,
)
from vae_anomaly.data.parse import (
    NO_MISFITS,
    TEXT,
    Values,
    column_names,
    holds_numbers,
    in_pieces_of_rows,
    infinite,
    number_columns,
    number_matrix,
    stacked,
    storage_of,
)
from vae_anomaly.errors import DataError, DataWarning, RowError
from vae_anomaly.formatting import listed, listed_names, shorten

ALL_LEVELS = 2**20  # distinct values that are kept of all columns together,
FEWEST_LEVELS = 2**8  # but at least these of a column
MOST_SHAPES = 0.2  # of the values of a column of text; more say nothing
EXACT = 2**53  # whole numbers up to here are float64
FEWEST_COUNTED = 20  # rows; fewer may rise by one by chance
NUMBERS, DATES = "numbers", "dates"
MARKERS = frozenset(  # what people write in a cell that has no value, in lower case
    ("?", "??", "-", "--", "---", ".", "..", "*", "/", "na", "n/a", "n.a.", "n.a", "#n/a", "#value!", "nan", "nil")
    + ("none", "null", "unknown", "unk", "missing", "undefined", "not available", "not applicable", "no data")
)

SIGNS = frozenset(("?", "??", "-", "--", "---", "n.a.", "n.a", "#value!"))  # those that are no words
AS_PEOPLE_WRITE = re.compile(  # numbers, dates and times of day, also those that Python does not know
    r"[+(-]?((USD|EUR|GBP|CHF|[$€£¥])\s?)?\d{1,3}([.,'\u00a0\u202f ]?\d{3})*([.,]\d+)?"
    r"(\s?(%|USD|EUR|GBP|CHF|[$€£¥]))?[-)]?"
    r"|(\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}-\d{1,2}-\d{4}|\d{4}[./]\d{1,2}[./]\d{1,2})([ T].*)?"
    r"|\d{1,2}:\d{2}(:\d{2})?( ?[aApP]\.?[mM]\.?)?"
)
TRIED = 100  # distinct texts

Name = str | int
Kinds = Mapping[Name, str]
NO_KINDS: Kinds = MappingProxyType({})
LEVELS_OF = frozenset(("category", "text"))  # kinds that need every distinct value, also of numbers and dates


def kinds_of(asked: Mapping[Any, str], names: Sequence[Name]) -> Kinds:
    """The kinds that a user asks for, by the names in the table; a name that it lacks is a DataError."""
    by_text = {str(name): name for name in names}
    for name, kind in asked.items():
        if str(name) not in by_text:
            close = get_close_matches(str(name), by_text, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"The columns are: {listed_names(names)}."
            raise DataError(f"There is no column {name!r} to be of kind {kind!r}. {hint}")
    return {by_text[str(name)]: kind for name, kind in asked.items()}


class NumberSummary:
    """
    Ranges of the columns of numbers and truth values, over the pieces seen so far.

    Attributes
    ----------
    n_rows
        Number of rows.
    lows, highs
        Minimum and maximum of each column of the table, NaN where there is none.
    flags
        True for each column that holds 0 and 1, both, and nothing else.
    counters
        True for each column that rises by one from row to row of the table, even if some rows were not seen.
    """

    def __init__(self, names: list[Name], pieces: Iterable[pd.DataFrame] = ()) -> None:
        self.n_rows = 0
        self.lows, self.highs = np.full((2, len(names)), np.nan)
        self.flags, self.counters = np.zeros((2, len(names)), dtype=bool)
        self._names = names
        self._fractions = np.zeros(len(names), dtype=bool)  # some value lies between 0 and 1
        self._rising = np.ones(len(names), dtype=bool)
        self._first_values, self._first_row = np.full(len(names), np.nan), 0
        self._last_values, self._last_row = np.full(len(names), np.nan), 0
        for piece in pieces:
            self.see(piece)

    def see(self, piece: pd.DataFrame) -> None:
        """Include a piece, whose index holds the positions of its rows; an infinite value is a DataError."""
        numeric = number_columns(piece)
        if len(piece) and numeric.any():
            columns, matrix, rows = np.flatnonzero(numeric), number_matrix(piece, numeric), piece.index.to_numpy()
            lows, highs = np.fmin.reduce(matrix, axis=0), np.fmax.reduce(matrix, axis=0)
            if np.isinf(lows).any() or np.isinf(highs).any():
                row, column = np.argwhere(np.isinf(matrix))[0]
                raise infinite(self._names[columns[column]], int(rows[row]))
            self.lows[columns] = np.fmin(self.lows[columns], lows)
            self.highs[columns] = np.fmax(self.highs[columns], highs)

            unit_range = (self.lows[columns] >= 0) & (self.highs[columns] <= 1) & ~self._fractions[columns]
            if unit_range.any():
                some = matrix[:, unit_range]
                self._fractions[columns[unit_range]] = ((some > 0) & (some < 1)).any(axis=0)

            rising = self._rising[columns]
            if rising.any():
                some, steps = matrix[:, rising], np.diff(rows)
                if self.n_rows:
                    some = np.vstack([self._last_values[columns[rising]], some])
                    steps = np.diff(rows, prepend=self._last_row)
                is_next = some[1:] == some[:-1] + steps[:, None]
                is_next &= np.abs(some[1:]) < EXACT  # beyond, a float64 is its own successor
                self._rising[columns[rising]] = is_next.all(axis=0)
            if not self.n_rows:
                self._first_values[columns], self._first_row = matrix[0], rows[0]
            self._last_values[columns], self._last_row = matrix[-1], rows[-1]
        self.n_rows += len(piece)
        self.flags = (self.lows == 0) & (self.highs == 1) & ~self._fractions
        self.counters = self._rising & (self.n_rows >= FEWEST_COUNTED)

    def join(self, later: "NumberSummary") -> None:
        """Include the pieces that another summary has seen, which follow those seen here; no array is changed."""
        if not later.n_rows:
            return
        rising = self._rising & later._rising
        if self.n_rows:
            is_next = later._first_values == self._last_values + (later._first_row - self._last_row)
            rising &= is_next & (np.abs(later._first_values) < EXACT)
        else:
            self._first_values, self._first_row = later._first_values, later._first_row
        self._rising, self._fractions = rising, self._fractions | later._fractions
        self._last_values, self._last_row = later._last_values, later._last_row
        self.lows, self.highs = np.fmin(self.lows, later.lows), np.fmax(self.highs, later.highs)
        self.n_rows += later.n_rows
        self.flags = (self.lows == 0) & (self.highs == 1) & ~self._fractions
        self.counters = self._rising & (self.n_rows >= FEWEST_COUNTED)


class LevelSummary:
    """
    Distinct values of a column that is not stored as numbers.

    Attributes
    ----------
    most
        Number of distinct values that are kept at most.
    n_values
        Number of values that are not missing.
    n_misfits
        Number of values that are no numbers, and of those that are no dates.
    """

    def __init__(self, name: Name, most: int) -> None:
        self.most, self.n_values, self.n_misfits = most, 0, {NUMBERS: 0, DATES: 0}
        self._name = name
        self._known: set[object] = set()
        self._kept: list[pd.Series] = []  # the first occurrence of each distinct value
        self._exceptions: dict[str, pd.Series] = {}  # the first value that is no number, no date, and infinite
        self._misfits: dict[str, set[object]] = {NUMBERS: set(), DATES: set()}  # distinct ones, of each possible kind
        self._overflows = False

    @property
    def too_many(self) -> bool:
        """True if there are more distinct values than are kept, and too many are neither numbers nor dates."""
        return self._overflows and not any(are_few(self.n_misfits[kind], self.n_values) for kind in self._misfits)

    def see(self, series: pd.Series) -> None:
        """Include the values of a piece."""
        self.n_values += int(series.notna().sum())
        if self._overflows and not self._misfits:
            return
        values = Values(self._name, series, series.index)
        indices, distinct = values.factors
        present, first = np.unique(indices, return_index=True)
        known = [index < 0 or distinct[index] in self._known for index in present]
        rows = np.sort(first[np.logical_not(known)])
        new = series.iloc[rows]
        self._classify(Values(self._name, new, new.index))
        for kind, misfits in self._misfits.items():
            of_kind = np.array([*(value in misfits for value in distinct), False])  # the last is for missing values
            self.n_misfits[kind] += int(of_kind[indices].sum())
        if not self._overflows:
            self._known.update(distinct[indices[rows]])
            self._kept.append(new)
            if len(self._known) > self.most:
                self._overflows, self._known, self._kept = True, set(), []

    def join(self, later: "LevelSummary") -> None:
        """Include the pieces that another summary of the column has seen, which follow those seen here."""
        self.n_values += later.n_values
        for kind, count in later.n_misfits.items():
            self.n_misfits[kind] += count
        for kind, exception in later._exceptions.items():
            self._exceptions.setdefault(kind, exception)
        for kind in [*self._misfits]:
            self._misfits[kind] |= later._misfits.get(kind, set())
            if kind not in later._misfits or len(self._misfits[kind]) > self.most:
                del self._misfits[kind]
        self._overflows |= later._overflows
        for series in () if self._overflows else later._kept:
            new = series[[value not in self._known for value in series]]
            self._known.update(new)
            if len(new):
                self._kept.append(new)
        self._overflows |= len(self._known) > self.most
        if self._overflows:
            self._known, self._kept = set(), []

    def _classify(self, new: Values) -> None:
        """Check which values seen for the first time are neither numbers nor dates."""
        infinities = np.flatnonzero(np.isinf(new.numbers.values))
        rows_of = {NUMBERS: new.numbers.misfits, DATES: new.instants.misfits, "infinite": infinities}
        for kind, rows in rows_of.items():
            if len(rows) and kind not in self._exceptions:
                self._exceptions[kind] = new.series.iloc[rows[:1]]
        for kind, misfits in [*self._misfits.items()]:
            misfits.update(new.series.iloc[rows_of[kind]].tolist())
            if len(misfits) > self.most or not may_be(kind, new, rows_of[kind]):
                del self._misfits[kind]

    def joined(self, sample: pd.Series) -> Values:
        """The values of a sample, followed by those that it may lack."""
        lacking = self._exceptions.values() if self._overflows else self._kept
        whole = stacked([part.to_frame() for part in [sample, *lacking]])
        return Values(self._name, whole.iloc[:, 0], whole.index)


def are_few(n_misfits: int, n_values: int) -> bool:
    """True if so few values of a column are of another kind that they are unreadable cells."""
    return n_misfits <= n_values // 10


def may_be(kind: str, values: Values, misfits: np.ndarray) -> bool:
    """True if values without those in the rows ``misfits`` may be numbers, or dates."""
    return kind == DATES or may_be_numbers(values.without(misfits) if len(misfits) else values)


class Survey:
    """
    Facts about all rows of a long table that learning its schema from a sample needs.

    Attributes
    ----------
    numbers
        Ranges of the columns of numbers.
    levels
        Distinct values of each other column, by the column's index; dates and durations have none.
    """

    def __init__(self, piece: pd.DataFrame, kinds: Kinds = NO_KINDS) -> None:
        self._names, self._kinds = column_names(piece), kinds
        self.numbers = NumberSummary(self._names)
        self.levels: dict[int, LevelSummary] = {}
        self._most = max(FEWEST_LEVELS, min(MOST_LEVELS, ALL_LEVELS // max(1, len(self._nominal_columns(piece)))))

    @property
    def n_rows(self) -> int:
        """Number of rows seen so far."""
        return self.numbers.n_rows

    def see(self, piece: pd.DataFrame) -> None:
        """Include a piece; a value that no schema can hold is a DataError that names its row."""
        self.numbers.see(piece)
        for index in self._nominal_columns(piece):
            levels = self.levels.setdefault(index, LevelSummary(self._names[index], self._most))
            levels.see(piece.iloc[:, index])

    def join(self, later: "Survey") -> None:
        """Include the pieces that another survey has seen, which follow those seen here.

        Parts of a table that are surveyed side by side and joined in their order give the facts of one pass over it.
        """
        self.numbers.join(later.numbers)
        for index, levels in later.levels.items():
            if index in self.levels:
                self.levels[index].join(levels)
            else:
                self.levels[index] = levels

    def _nominal_columns(self, piece: pd.DataFrame) -> list[int]:
        """Indices of the columns that hold no numbers, dates or durations, or of which every level is asked for."""
        return [
            index
            for index, (name, dtype) in enumerate(zip(self._names, piece.dtypes.tolist(), strict=True))
            if self._kinds.get(name) in LEVELS_OF
            or (not holds_numbers(dtype) and getattr(dtype, "kind", "O") not in "mM")
        ]


IGNORED = "is ignored, as kinds asks for"
EMPTY = "has no values"
EMPTY_SAMPLE = "has no values in the rows drawn for training"
ROW_INDEX = "is a row index"


def learn_columns(
    frame: pd.DataFrame, names: list[Name], rows: np.ndarray | None, survey: Survey | None, kinds: Kinds
) -> tuple[list[Column], dict[Name, str], dict[Name, str]]:
    """
    Learn every column: those in use, the reasons why others are left out, and the reasons for kinds not plain to see.

    Parameters
    ----------
    frame
        The table, or a sample of a longer one; its index holds the positions of its rows in the whole table.
    names
        Names of its columns.
    rows
        Positions in the frame of the rows to learn from; None for all.
    survey
        Facts about all rows of the longer table.
    kinds
        Kinds of columns that are asked for.

    Warns
    -----
    DataWarning
        If columns are left out or have unreadable cells, or a text may be a marker of missing cells.

    Raises
    ------
    DataError
        If every column is left out, or the values of one cannot be of the kind that is asked for. A table of nothing
        but row indices keeps the first.
    """
    columns, left_out = _learn_number_columns(frame, names, rows, survey, kinds)
    unreadable: list[str] = []
    shaped: dict[Name, str] = {}
    markers: list[str] = []
    for index, name in enumerate(names):
        if name in columns or name in left_out:
            continue
        sample: Any = frame.iloc[:, index] if rows is None else frame.iloc[rows, index]
        levels = None if survey is None else survey.levels.get(index)
        if sample.isna().all():
            left_out[name] = EMPTY if survey is None or (levels is not None and not levels.n_values) else EMPTY_SAMPLE
            continue
        values = Values(name, sample, sample.index) if levels is None else levels.joined(sample)
        n_values = int(values.series.notna().sum()) if levels is None else levels.n_values
        asked = kinds.get(name)
        kind, misfits = _unreadable(values, levels) if asked is None else _unreadable_as(asked, values)
        readable = values.without(misfits) if kind else values
        column = learn_column(readable) if asked is None else KINDS[asked].learn(readable)
        if kind:
            row, count = int(misfits[0]), len(misfits)
            if levels is not None and asked is None:
                count = levels.n_misfits[kind]
            found = f"row {values.position(row) + 1} holds {values.found(row)}"
            unreadable.append(f"{name!r} ({count:,} of {n_values:,} values are no {kind}; {found})")
            if isinstance(column, NumberColumn | FlagColumn) and column.storage == TEXT:  # only because of the misfits
                column = replace(column, storage="float64")
        columns[name] = column
        if asked is not None:
            continue
        markers += _markers(values)
        if reason := _as_identifier(column, levels, n_values):
            shapes = ShapeColumn.learn(values)
            if len(shapes.levels) <= MOST_SHAPES * len(values.series):
                columns[name], shaped[name] = shapes, reason
            else:
                left_out[name] = reason
    left_out = {name: left_out[name] for name in names if name in left_out}
    reasons = {**shaped, **{name: f"asked for by kinds={{{name!r}: {kind!r}}}" for name, kind in kinds.items()}}
    if len(left_out) == len(names):
        kept = next((name for name, reason in left_out.items() if reason == ROW_INDEX), None)
        if kept is None:
            raise DataError(f"No column of the table can be used: {_reasons(left_out)}.")
        del left_out[kept]
    if unasked := {name: reason for name, reason in left_out.items() if reason != IGNORED}:
        warnings.warn(f"Columns left out: {_reasons(unasked)}.", DataWarning, stacklevel=3)
    if shaped:
        message = f"Columns of which only the shape of the text is used: {_reasons(shaped)}."
        warnings.warn(message, DataWarning, stacklevel=3)
    if unreadable or markers:
        message = f"Columns with unreadable cells, which count as anomalous: {listed(unreadable)}; the first row is 1. "
        message = message if unreadable else ""
        warnings.warn(f"{message}{' '.join(markers)}".strip(), DataWarning, stacklevel=3)
    used = [columns[name] for name in names if name in columns and name not in left_out]
    return used, left_out, {column.name: reasons[column.name] for column in used if column.name in reasons}


def nearly_all_distinct(n_distinct: int, n_values: int) -> bool:
    """True if values identify rows: more than 20 distinct ones, and more than nine of ten."""
    return n_distinct > 20 and n_distinct > 0.9 * n_values


def _as_identifier(column: Column, levels: LevelSummary | None, n_values: int) -> str:
    """Why a column of text is an identifier or free text; "" if it is none."""
    if levels is not None and levels.too_many:
        return f"identifier or free text: more than {levels.most:,} distinct of {n_values:,}"
    if isinstance(column, CategoryColumn) and column.storage != "category":
        n_levels = len(column.levels)
        if nearly_all_distinct(n_levels, n_values):
            return f"identifier or free text: {n_levels:,} distinct of {n_values:,}"
    return ""


def _unreadable(values: Values, levels: LevelSummary | None) -> tuple[str, np.ndarray]:
    """What a column holds but for a few texts, numbers or dates, and the rows of these; "" if there are none."""
    n_values = int(values.series.notna().sum())
    for kind, reading in (NUMBERS, values.numbers), (DATES, values.instants):
        rows = reading.misfits
        few = are_few(len(rows), n_values) if levels is None else are_few(levels.n_misfits[kind], levels.n_values)
        if values.is_category or not 0 < len(rows) < n_values or not few or not may_be(kind, values, rows):
            continue
        if all(isinstance(value, str) for value in values.series.iloc[rows]):
            return kind, rows
    return "", NO_MISFITS


def _unreadable_as(asked: str, values: Values) -> tuple[str, np.ndarray]:
    """The nouns of the kind that is asked for, and the rows that cannot be read as such; "" if there are none."""
    misfits, n_values = KINDS[asked].read(values).misfits, int(values.series.notna().sum())
    if not len(misfits):
        return "", NO_MISFITS
    nouns, row = KINDS[asked].nouns, int(misfits[0])
    if are_few(len(misfits), n_values) and all(isinstance(value, str) for value in values.series.iloc[misfits]):
        return nouns, misfits
    count = f"{len(misfits):,} of {n_values:,} values are no {nouns}"
    fault = f"Column {values.name!r} cannot be of kind {asked!r}: {count}; found {values.found(row)}"
    raise RowError.at(fault, values.position(row), ". Convert them, or ask for another kind.")


def _markers(values: Values) -> list[str]:
    """Sentences that propose a text of a column as a marker of missing cells, and to convert text to numbers or dates.

    A marker is the most frequent text among numbers or dates, or a sign without meaning, such as "?", among texts.
    """
    n_values, fewest = int(values.series.notna().sum()), 3
    if values.is_category:
        return []
    for kind, reading in (NUMBERS, values.numbers), (DATES, values.instants):
        texts = values.series.iloc[reading.misfits].astype(object).map(str)
        if not fewest <= len(texts) < n_values:
            continue
        text, count = texts.value_counts().index[0], int(texts.value_counts().iloc[0])
        frequent = count >= fewest and count > 0.01 * n_values and count > len(texts) / 2
        others_few = are_few(len(texts) - count, n_values - count)
        if frequent and others_few and (are_few(count, n_values) or text.strip().lower() in MARKERS):
            return [_proposal(values, text, count, f", else {kind}")]
    indices, distinct = values.factors
    signs = {text: k for k, text in enumerate(distinct) if isinstance(text, str) and text.strip().lower() in SIGNS}
    counts = {text: int(np.sum(indices == k)) for text, k in signs.items()}
    text, count = max(counts.items(), key=lambda pair: pair[1], default=("", 0))
    is_level = text == "-" and "+" in distinct  # its opposite
    proposals = [_proposal(values, text, count, "")] if count >= fewest and not is_level else []
    tried = [text for text in distinct[:TRIED] if isinstance(text, str)]
    misread = [text for text in tried if AS_PEOPLE_WRITE.fullmatch(text.strip())]
    are_others = all(not are_few(len(part.misfits), n_values) for part in (values.numbers, values.instants))
    if values.is_text and are_others and len(tried) >= fewest and are_few(len(tried) - len(misread), len(tried)):
        found = f"{values.name!r} is text that may be numbers or dates ({shorten(misread[0])})"
        proposals.append(f"{found}: convert it, as read_table does in files.")
    return proposals


def _proposal(values: Values, text: str, count: int, others: str) -> str:
    quoted = f"'{shorten(text)}'"
    where = f"{quoted} stands in {count:,} of {len(values.series):,} cells of {values.name!r}{others}"
    return f"{where}; if it marks a missing cell, say --missing {quoted} (missing=[{quoted}] in Python)."


def _learn_number_columns(
    frame: pd.DataFrame, names: list[Name], rows: np.ndarray | None, survey: Survey | None, kinds: Kinds
) -> tuple[dict[Name, Column], dict[Name, str]]:
    """
    Learn the columns of numbers and truth values together: 10,000 of them take milliseconds.

    Those of which another kind is asked for are not among them.
    """
    sample = NumberSummary(names, in_pieces_of_rows(frame, rows))
    known = sample if survey is None else survey.numbers
    dtypes = frame.dtypes.tolist()
    facts: dict[Any, tuple[bool, bool, str]] = {}
    columns: dict[Name, Column] = {}
    left_out = {name: IGNORED for name, kind in kinds.items() if kind == IGNORE}
    for index in np.flatnonzero(number_columns(frame)).tolist():
        name, dtype = names[index], dtypes[index]
        is_asked = name in kinds
        if is_asked and kinds[name] != NumberColumn.kind:
            continue
        if dtype not in facts:
            series: Any = frame.iloc[:, index]
            storage = storage_of(Values(name, series))
            facts[dtype] = pd.api.types.is_bool_dtype(dtype), pd.api.types.is_integer_dtype(dtype), storage
        is_truth, is_whole, storage = facts[dtype]
        is_flag = (known.flags[index] or is_truth) and not is_asked
        storage = "float64" if is_truth and is_asked else storage
        columns[name] = FlagColumn(name, storage) if is_flag else NumberColumn(name, storage)
        if np.isnan(sample.lows[index]):
            left_out[name] = EMPTY if np.isnan(known.lows[index]) else EMPTY_SAMPLE
        elif known.counters[index] and is_whole and not is_asked:
            left_out[name] = ROW_INDEX
    return columns, left_out


def _reasons(left_out: dict[Name, str]) -> str:
    """Columns and the reason why each is left out."""
    return listed((f"{name!r} {reason}" for name, reason in left_out.items()), separator="; ")
