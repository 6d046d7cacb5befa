"""The schema of a table, learned in fit and checked in scoring, and the encoded table, a float matrix."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import chain, combinations
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd

from vae_anomaly.data import documents
from vae_anomaly.data.columns import (
    CategoryColumn,
    Cell,
    CodeCell,
    Column,
    DateColumn,
    FlagCell,
    NumberCell,
    NumberColumn,
    ShapeColumn,
    column_from_json,
)
from vae_anomaly.data.infer import NO_KINDS, Kinds, Survey, learn_columns
from vae_anomaly.data.parse import (
    PIECE_CELLS,
    UNREADABLE,
    Values,
    as_array,
    as_frame,
    as_missing,
    column_names,
    index_of,
    infinite,
    is_frame,
    number_columns,
    number_matrix,
    numbered,
    slices_of_rows,
)
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.scaling import LARGEST, LEAST_FLOOR, MOST_FLOOR, Scaling
from vae_anomaly.errors import DataError, DataWarning, RowError
from vae_anomaly.formatting import cell_text, counted, listed, listed_names, shorten

Name = str | int
MOST_SHOWN = 200  # columns in a printed schema
FEW_LATER = 0.05  # of the dates, up to which they may as well come from the time of training


class Schema:
    """
    The columns of a table and their encoding.

    An encoded table is a C-contiguous float64 matrix (rows, cells): first all numbers, times between dates last, then
    all flags, then all category codes. NaN is a missing cell and plus infinity an unreadable one: text in a column of
    numbers, truth values or durations, or text that is no date, whose further cells are then missing. The cells of a
    row do not depend on other rows.

    Attributes
    ----------
    names
        Names of the columns in use, in the table's order.
    columns
        The columns in use, with their types and levels.
    kinds
        Of each column in use: "number", "flag", "category", "text", "date" or "time".
    left_out
        Columns that training saw but does not use, each with the reason.
    reasons
        Why columns in use are of their kind, by name, where their type alone does not say so.
    cells
        The cells of an encoded row.
    code_cells
        Indices of the cells that hold category codes.
    n_rows
        Number of rows that the schema was learned from.
    gaps
        Indices of columns of dates, the later and the earlier one, between which the time is a cell of the later one.
    zeros
        The number 0 in the first cell of each column of numbers, (columns,); NaN for other columns.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        scaling: Scaling,
        left_out: dict[Name, str],
        n_rows: int,
        gaps: Sequence[tuple[int, int]] = (),
        reasons: Mapping[Name, str] = MappingProxyType({}),
    ) -> None:
        self.columns, self.left_out, self.n_rows, self.gaps = columns, left_out, n_rows, [*gaps]
        self.reasons: dict[Name, str] = {**reasons}
        self.names: list[Name] = [column.name for column in columns]
        self.kinds = [column.kind for column in columns]
        cells = [cell for index, column in enumerate(columns) for cell in column.cells(index)]
        cells += [NumberCell(later, since=earlier) for later, earlier in self.gaps]
        order: tuple[type[Cell], ...] = (NumberCell, FlagCell, CodeCell)
        self.cells: list[Cell] = sorted(cells, key=lambda cell: order.index(type(cell)))
        self._scaling = scaling
        n_numbers, n_flags = (sum(isinstance(cell, kind) for cell in cells) for kind in (NumberCell, FlagCell))
        self._numbers, self._flags = slice(0, n_numbers), slice(n_numbers, n_numbers + n_flags)
        self.cells[self._numbers] = [
            replace(cell, floor=floor)
            for cell, floor in zip(self.cells[self._numbers], scaling.floors.tolist(), strict=True)
            if isinstance(cell, NumberCell)
        ]
        self.code_cells = list(range(n_numbers + n_flags, len(cells)))
        self._cells_of: list[list[int]] = [[] for _ in columns]  # indices of each column's cells
        self._gaps = slice(n_numbers - len(self.gaps), n_numbers)
        for index in [*range(self._gaps.start), *range(n_numbers, len(cells)), *range(self._gaps.start, n_numbers)]:
            self._cells_of[self.cells[index].column].append(index)  # as the column encodes itself, then the gaps
        self._dates = [
            (self._cells_of[index][0], column) for index, column in enumerate(columns) if isinstance(column, DateColumn)
        ]
        zeros = np.zeros((1, n_numbers))
        numbers = {at: self._cells_of[at][0] for at, column in enumerate(columns) if isinstance(column, NumberColumn)}
        zeros[0, list(numbers.values())] -= [columns[at].origin for at in numbers]
        self.zeros = np.full(len(columns), np.nan)
        self.zeros[list(numbers)] = scaling.apply(zeros)[0, list(numbers.values())]

    @classmethod
    def learn(
        cls,
        frame: pd.DataFrame,
        rows: np.ndarray | None = None,
        survey: Survey | None = None,
        kinds: Kinds = NO_KINDS,
    ) -> Self:
        """
        Learn the schema of a table.

        Parameters
        ----------
        frame
            The table; or a sample of a longer one, its index being the positions of its rows in the whole table.
        rows
            Positions in the frame of the rows to learn from; all by default.
        survey
            Facts about all rows of the longer table: kinds of columns, levels, number of rows. Centre and scale of
            numbers come from the sample: with 262,144 rows drawn uniformly, the rank of a quantile has a standard
            deviation of 0.1 % of the rows at the median, and of 0.02 % at the 1 % that the scale trims.
        kinds
            Kinds that are asked for, by name; other columns are of the kind that fits.

        Warns
        -----
        DataWarning
            If columns are left out, have unreadable cells, hold a text that may mark a missing cell, or numbers vary by
            little more than rounding: names them and gives the reason.

        Raises
        ------
        DataError
            If there are no rows, no column can be used, or a value is infinite or not a single value.
        """
        names = column_names(frame)
        if not len(frame) or not names:
            raise DataError(f"The table has {len(frame)} rows and {len(names)} columns; one of each is needed.")
        frame = numbered(frame) if survey is None else frame
        columns, left_out, reasons = learn_columns(frame, names, rows, survey, kinds)
        n_rows = len(frame if rows is None else rows)
        scaled = [column for column in columns if isinstance(column, NumberColumn | DateColumn)]
        used = frame if rows is None else frame.iloc[rows]
        dates = {k: _instants(used, column) for k, column in enumerate(columns) if isinstance(column, DateColumn)}
        gaps = learn_gaps(dates)
        step = max(1, PIECE_CELLS // n_rows)  # a few columns at a time
        pieces = (scaled[first : first + step] for first in range(0, len(scaled), step))
        tables = ((piece, frame[[column.name for column in piece]]) for piece in pieces)
        parts = (
            as_missing(_raw_cells(part if rows is None else part.iloc[rows], piece, [[k] for k in range(len(piece))]))
            for piece, part in tables
        )
        between = (np.stack([dates[later] - dates[earlier]], axis=1) for later, earlier in gaps)
        scaling = Scaling.learn(
            chain(parts, between),
            [column.name for column in scaled] + [columns[later].name for later, _ in gaps],
            [isinstance(column, DateColumn) for column in scaled] + [False] * len(gaps),
        )
        return cls(columns, scaling, left_out, n_rows if survey is None else survey.n_rows, gaps, reasons)

    def encode(self, frame: pd.DataFrame, *, warns: bool = False, holds: bool = True) -> np.ndarray:
        """
        Encode a table as a matrix (rows, cells).

        Columns may come in any order; those that training never saw are ignored with a DataWarning. A missing column, a
        column of another kind than in training that is not text, or an infinite value is a DataError that names it.
        With ``warns``, a DataWarning names columns in which more than a few dates are later than in training. These are
        moved back to its last week (`DateColumn.held`) unless ``holds`` is False.
        """
        rows_at_once = 2**14  # standardised: temporary arrays stay smaller than the table
        raw, later = self._encode_raw(frame), []
        for cell, column in self._dates if holds else []:
            held = column.held(raw[:, cell])
            if warns and np.mean(held < raw[:, cell]) > FEW_LATER:
                end = column.decode([np.array([float(column.last)])]).iloc[0]
                later.append(f"{column.name!r} (training ends on {cell_text(end)})")
            raw[:, cell] = held
        if later:
            message = f"Columns with dates later than in training, whose elapsed time is not judged: {listed(later)}."
            warnings.warn(message, DataWarning, stacklevel=4)
        for first in range(0, len(raw), rows_at_once):
            numbers = raw[first : first + rows_at_once, self._numbers]
            numbers[:] = self._scaling.apply(numbers)
        return raw

    def as_numbers(self, frame: pd.DataFrame) -> np.ndarray:
        """
        Convert a table to plain numbers, (rows, columns): one for each column in use, not standardised.

        Durations are seconds, flags 0 and 1, categories codes, dates microseconds since 1970 in UTC; NaN is a missing
        value and plus infinity an unreadable one. Errors and warnings are those of ``encode``.
        """
        raw = self._encode_raw(frame)
        return raw[:, [cells[0] for cells in self._cells_of]] + [column.origin for column in self.columns]

    def _encode_raw(self, frame: pd.DataFrame) -> np.ndarray:
        """Cells (rows, cells), not standardised, of a table with columns in any order."""
        given = column_names(frame)
        frame = frame if given == self.names else frame[self.choose(given)]
        raw = _raw_cells(frame, self.columns, self._cells_of)
        flags = raw[:, self._flags]
        flags[(flags != 0) & (flags != 1) & np.isfinite(flags)] = FlagCell.unseen
        for cell, (later, earlier) in enumerate(self.gaps, self._gaps.start):
            instants = [as_missing(raw[:, self._cells_of[k][0]]) + self.columns[k].origin for k in (later, earlier)]
            raw[:, cell] = instants[0] - instants[1]
        return raw

    def choose(self, given: list[Name]) -> list[Name]:
        """
        Choose the columns in use among those of a table.

        A missing one is a DataError; those that training never saw are ignored with a DataWarning.
        """
        present, known = set(given), {*self.names, *self.left_out}
        if missing := [name for name in self.names if name not in present]:
            raise DataError(_missing_message(missing, given))
        if extra := [name for name in given if name not in known]:
            message = f"Columns that were not there in fit are ignored: {listed_names(extra)}."
            warnings.warn(message, DataWarning, stacklevel=4)
        return self.names

    @property
    def scales(self) -> dict[Name, str]:
        """The scale on which each column of numbers is measured: "linear", or a formula in ``x`` for a skewed one."""
        return {
            self.columns[cell.column].name: scale
            for cell, scale in zip(self.cells[self._numbers], self._scaling.formulas(), strict=True)
            if isinstance(self.columns[cell.column], NumberColumn)
        }

    @property
    def reading(self) -> dict[Name, str]:
        """How text files are read for each column in use; see `Column.reading`."""
        return {column.name: column.reading for column in self.columns}

    @property
    def overview(self) -> pd.DataFrame:
        """The columns of the training table: ``column``, ``kind``, ``scale`` and ``note``, all text.

        The scale is that of a number, or how many levels a category has and how many shapes a text; the note says why a
        column is of its kind or, with an empty kind, why it is left out.
        """
        scales: dict[Name, str] = dict(self.scales)
        for column in self.columns:
            if isinstance(column, CategoryColumn):
                values = "shapes" if isinstance(column, ShapeColumn) else "levels"
                scales[column.name] = counted(len(column.levels), values)
        used = [
            (name, kind, scales.get(name, ""), self.reasons.get(name, ""))
            for name, kind in zip(self.names, self.kinds, strict=True)
        ]
        left_out = [(name, "", "", f"left out: {reason}") for name, reason in self.left_out.items()]
        return pd.DataFrame([*used, *left_out], columns=["column", "kind", "scale", "note"], dtype=object)

    @property
    def _caption(self) -> str:
        parts = [f"Fitted to {counted(self.n_rows, 'rows')}", counted(len(self.names), "columns") + " in use"]
        return ", ".join([*parts, f"{len(self.left_out):,} left out"] if self.left_out else parts)

    @property
    def _shown(self) -> pd.DataFrame:
        """The first columns; without notes if there are none."""
        shown = self.overview.head(MOST_SHOWN)
        return shown if (shown["note"] != "").any() else shown.drop(columns="note")

    def __repr__(self) -> str:
        shown = self._shown.map(shorten, most=60)
        lines = [[str(name) for name in shown], *shown.to_numpy().tolist()]
        widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        more = len(self.overview) - len(shown)
        return "\n".join([f"{self._caption}.", *table, *([f"... and {more:,} more"] if more else [])])

    def _repr_html_(self) -> str:
        """The same as a table in HTML; names are escaped."""
        shown = self._shown.map(shorten, most=200)
        more = len(self.overview) - len(shown)
        table = shown.to_html(index=False, border=0, justify="left")
        return f"<p>{self._caption}.</p>{table}{f'<p>... and {more:,} more</p>' if more else ''}"

    def decode(self, cells: np.ndarray) -> pd.DataFrame:
        """Decode a matrix (rows, cells) as a table with the columns, types and category names of training."""
        raw = np.array(cells, dtype=np.float64)
        raw[:, self._numbers] = self._scaling.undo(raw[:, self._numbers])
        is_float = [isinstance(column, NumberColumn) and column.storage == "float64" for column in self.columns]
        floats = np.flatnonzero(is_float).tolist()  # often many: decoded together
        block = pd.DataFrame(
            raw[:, [self._cells_of[index][0] for index in floats]], columns=[self.names[index] for index in floats]
        )
        others = [
            self.columns[index].decode([raw[:, cell] for cell in self._cells_of[index]]).rename(self.names[index])
            for index in np.flatnonzero(np.logical_not(is_float)).tolist()
        ]
        if not others:
            return block
        return pd.concat([block, *others] if len(floats) else others, axis=1)[self.names]

    def missing(self, cells: np.ndarray) -> np.ndarray:
        """Mask (rows, columns) of the missing values, given an encoded table."""
        return np.isnan(cells[:, [cells_of[0] for cells_of in self._cells_of]])

    def refuse_unreadable(self, frame: pd.DataFrame, cells: np.ndarray) -> None:
        """
        Raise a DataError for a column with too many unreadable cells, given a table and the same encoded.

        At most a tenth of a column may be unreadable. In a table of few rows up to three cells may, if they are at most
        half; a single row may have any.
        """
        n_rows = len(cells)
        most = max(n_rows // 10, min(3, n_rows // 2), 1)
        unreadable = np.isposinf(cells[:, [cells_of[0] for cells_of in self._cells_of]])
        for index in np.flatnonzero(unreadable.sum(0) > most).tolist():
            column, row = self.columns[index], int(unreadable[:, index].argmax())
            found = Values(column.name, frame[column.name]).found(row)
            fault = f"Column {column.name!r} held {column.noun}s in fit; found {found}"
            count = f"{unreadable[:, index].sum():,} of {n_rows:,} cells are no {column.noun}s"
            raise RowError.at(fault, row, f"; {count}. Convert it, or refit with the new table.")

    def has_one_measure(self, cells: np.ndarray) -> bool:
        """
        True if most columns are numbers with the same minimum and the same maximum in the encoded table.

        So it is with pixels, coordinates in one frame, and answers on one scale: their ranges can be compared.
        """
        tolerance = 1e-6  # of the range, for rounding at either end
        numbers = cells[:, self._numbers]
        if not numbers.size:
            return False
        lows, highs = self._scaling.undo(np.stack([np.nanmin(numbers, axis=0), np.nanmax(numbers, axis=0)]))
        least, largest = lows.min(), highs.max()
        near = 2 * tolerance * (largest / 2 - least / 2)  # the difference itself may be more than a float holds
        return bool(np.sum((lows <= least + near) & (highs >= largest - near)) > len(self.names) / 2)

    def grown(self, frame: pd.DataFrame) -> Self:
        """The schema after the rows of another table: they are counted, and new levels of categories have codes."""
        given = set(column_names(frame))
        columns: list[Column] = [
            column.grown(Values(column.name, frame[column.name]))
            if isinstance(column, CategoryColumn) and column.name in given
            else column
            for column in self.columns
        ]
        n_rows = self.n_rows + len(frame)
        return type(self)(columns, self._scaling, self.left_out, n_rows, self.gaps, self.reasons)

    def to_json(self) -> dict[str, Any]:
        """Describe the schema in JSON's own types."""
        return {
            "columns": [column.to_json() for column in self.columns],
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left_out.items()],
            "reasons": [{"name": name, "reason": reason} for name, reason in self.reasons.items()],
            "n_rows": self.n_rows,
            "gaps": [{"later": later, "earlier": earlier} for later, earlier in self.gaps],
            "exponents": self._scaling.exponents.tolist(),
            "widths": self._scaling.widths.tolist(),
            "centres": self._scaling.centres.tolist(),
            "scales": self._scaling.scales.tolist(),
            "floors": self._scaling.floors.tolist(),
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote; anything else is a ModelFileError."""
        columns = [column_from_json(item) for item in documents.items(document, "columns")]
        left_out, reasons = (
            {documents.name(item, "name"): documents.text(item, "reason") for item in documents.items(document, key)}
            for key in ("left_out", "reasons")
        )
        names = {*left_out, *(column.name for column in columns)}
        if not columns or len(names) < len(columns) + len(documents.items(document, "left_out")):
            raise documents.damaged("columns", "at least one column, and no name twice")
        scaling = Scaling(
            documents.numbers(document, "exponents", -1100, 1100).astype(np.int64),
            documents.numbers(document, "widths", 0.0, LARGEST),
            documents.numbers(document, "centres", -LARGEST, LARGEST),
            documents.numbers(document, "scales", np.finfo(np.float64).tiny, LARGEST),
            documents.numbers(document, "floors", LEAST_FLOOR, MOST_FLOOR),
        )
        last = len(columns) - 1
        gaps = [
            (documents.whole(item, "later", 0, last), documents.whole(item, "earlier", 0, last))
            for item in documents.items(document, "gaps")
        ]
        if not all(isinstance(columns[index], DateColumn) for gap in gaps for index in gap):
            raise documents.damaged("gaps", "pairs of columns of dates")
        n_numbers = sum(isinstance(column, NumberColumn | DateColumn) for column in columns) + len(gaps)
        if {len(getattr(scaling, part.name)) for part in fields(scaling)} != {n_numbers}:
            raise documents.damaged("centres", "one number for each column of numbers")
        return cls(columns, scaling, left_out, documents.whole(document, "n_rows", 1, 2**63), gaps, reasons)


@dataclass(frozen=True)
class TableForm:
    """The form of a training table, and with it the way from rows to cells and back.

    ``inputs`` are the names of all its columns, those left out included. ``is_frame`` says that it came with names: as
    a frame or a data set, not as an array.
    """

    schema: Schema | PixelSchema
    inputs: list[Name]
    is_frame: bool

    def frame_of(self, X: Any) -> pd.DataFrame:
        """Rows as a frame; the columns of an array are named as in the fit.

        The result may be ``X`` itself or share its memory: it is only to be read.

        Raises
        ------
        DataError
            ``X`` is a data set, or a frame without rows.
        ValueError
            An array does not have the number of columns of the training table.
        """
        if isinstance(X, Iterable) and not hasattr(X, "__len__") and not hasattr(X, "__array__"):  # a `Dataset`
            way = "[detector.anomaly_score(piece) for piece in dataset.as_fitted(detector.schema_)]"
            raise DataError(f"A data set may be longer than its scores can be held. Score it piece by piece: {way}.")
        if self.is_frame and is_frame(X):
            frame = as_frame(X)
            if not len(frame):
                raise DataError("The table to score has no rows; at least one is needed.")
            return frame
        if is_frame(X) and not self.is_frame:
            warnings.warn("X has feature names, but VAEDetector was fitted without feature names", stacklevel=2)
        elif self.is_frame and all(isinstance(name, str) for name in self.inputs):
            message = "X does not have valid feature names, but VAEDetector was fitted with feature names"
            warnings.warn(message, stacklevel=2)
        array = as_array(X)
        if array.shape[1] != len(self.inputs):
            raise ValueError(
                f"X has {array.shape[1]} features, but VAEDetector is expecting {len(self.inputs)} features as input."
            )
        return pd.DataFrame(array, columns=self.inputs, index=index_of(X), copy=False)

    def encode(self, X: Any, *, holds: bool = True) -> np.ndarray:
        """Encoded rows, (rows, cells) float64: what ``scorer`` takes; a missing cell is NaN, an unreadable one inf.

        Dates later than in training are moved back to its last week unless ``holds`` is False.

        Raises
        ------
        DataError
            The rows do not fit the schema, or more than a tenth of a column cannot be read.
        """
        return encode_batch(self.schema, self.frame_of(X), holds=holds)

    def decode(self, cells: np.ndarray, index: pd.Index | None = None) -> pd.DataFrame | np.ndarray:
        """Rows of encoded ``cells`` (rows, cells): a frame with that index, or an array if the fit was to an array."""
        frame = self.schema.decode(cells)
        if not self.is_frame:
            return frame.to_numpy(dtype=np.float64)
        return frame if index is None else frame.set_axis(index)


def encode_batch(schema: Schema | PixelSchema, frame: pd.DataFrame, *, holds: bool = True) -> np.ndarray:
    """Encoded rows, (rows, cells); a DataError if more than a tenth of a column cannot be read."""
    if isinstance(schema, PixelSchema):
        return schema.encode(frame)
    cells = schema.encode(frame, warns=True, holds=holds)
    if np.any(cells == UNREADABLE):
        schema.refuse_unreadable(frame, cells)
    return cells


def _raw_cells(frame: pd.DataFrame, columns: Sequence[Column], cells_of: Sequence[list[int]]) -> np.ndarray:
    """
    Cells of a frame that has exactly these columns, (rows, cells), not standardised; an infinite one is a DataError.

    ``cells_of`` holds the indices of the cells wanted of each column, the first ones of it. Columns stored as numbers
    are converted together, the others one by one.
    """
    raw = np.empty((len(frame), sum(map(len, cells_of))))
    numeric = number_columns(frame) & np.array([column.takes_numbers for column in columns], dtype=bool)
    first = np.array([cells[0] for cells in cells_of], dtype=np.int64)[numeric]
    in_order = np.array_equal(first, np.arange(len(first)))
    numbers = number_matrix(frame, numeric)
    if np.isinf(numbers).any():
        row, column = np.argwhere(np.isinf(numbers))[0]
        raise infinite(columns[np.flatnonzero(numeric)[column]].name, int(row))
    raw[:, slice(0, len(first)) if in_order else first] = numbers
    for index in np.flatnonzero(~numeric).tolist():
        series: Any = frame.iloc[:, index]
        values = Values(columns[index].name, series)
        for cell, part in zip(cells_of[index], columns[index].encode(values), strict=False):
            raw[:, cell] = part
    return raw


MOST_DATES, MOST_GAPS = 8, 2  # columns of dates between which times are looked at; times of a column
FEWEST_GAPS = 20  # rows with both dates, and half of the rows
NARROW_GAP = 0.5  # of the spread of the dates: a wider gap says no more than they do


def learn_gaps(dates: dict[int, np.ndarray]) -> list[tuple[int, int]]:
    """
    Pairs of date columns, the later and the earlier one, between which the time varies less than the dates do.

    Parameters
    ----------
    dates
        Instants (rows,) in microseconds of each column of dates, NaN where missing, by the column's index.
    """
    spreads = {column: _spread(instants) for column, instants in dates.items()}
    found: dict[int, list[tuple[float, int]]] = {}
    for first, second in combinations([*dates][:MOST_DATES], 2):
        between = dates[second] - dates[first]
        n_known = np.isfinite(between).sum()
        if n_known < max(FEWEST_GAPS, len(between) / 2):
            continue
        later, earlier = (second, first) if np.nanmedian(between) >= 0 else (first, second)
        if _spread(between) < NARROW_GAP * min(spreads[first], spreads[second]):
            found.setdefault(later, []).append((_spread(between), earlier))
    return [(later, earlier) for later, pairs in found.items() for _, earlier in sorted(pairs)[:MOST_GAPS]]


def _spread(instants: np.ndarray) -> float:
    """Distance between the outer tenths of the values that are not missing."""
    low, high = np.nanquantile(instants, [0.1, 0.9])
    return float(high - low)


def _instants(frame: pd.DataFrame, column: DateColumn) -> np.ndarray:
    """Dates in microseconds since 1970, (rows,), NaN where one is missing or unreadable."""
    elapsed, *_ = column.encode(Values(column.name, frame[column.name]))
    return as_missing(elapsed) + column.origin


def _missing_message(missing: list[Name], given: list[Name]) -> str:
    by_text = {str(name).casefold(): name for name in given}
    hints = list(map(repr, missing))
    for index, name in enumerate(missing[:20]):  # those that are listed
        if close := get_close_matches(str(name).casefold(), by_text, n=1):
            hints[index] = f"{name!r} (did you mean {by_text[close[0]]!r}?)"
    return f"Columns of the fit that the table lacks: {listed(hints)}. It has: {listed_names(given) or 'none'}."


HELD_CELLS = 2**22  # 32 MiB: up to this size, rows are encoded once and kept


class EncodedMatrix(Protocol):
    """Encoded rows, float64 (rows, cells): an array, or an object that gives arrays when indexed by rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of cells."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


class Encoder(Protocol):
    """A schema, of tables or of images."""

    cells: list[Any]

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode rows as a matrix (rows, cells)."""


class LazyMatrix:
    """Rows of a frame that are encoded each time they are read, at the positions ``rows``."""

    def __init__(self, schema: Encoder, frame: pd.DataFrame, rows: np.ndarray) -> None:
        self.shape: tuple[int, ...] = (len(rows), len(schema.cells))
        self._schema, self._frame, self._rows = schema, frame, rows

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._schema.encode(self._frame.iloc[self._rows[rows]])

    def at(self, rows: np.ndarray) -> "LazyMatrix":
        """Some of the rows."""
        return LazyMatrix(self._schema, self._frame, self._rows[rows])


def selected(x: EncodedMatrix, rows: np.ndarray) -> EncodedMatrix:
    """Some rows of a matrix, lazy if the matrix is."""
    return x.at(rows) if isinstance(x, LazyMatrix) else x[rows]


def encoded(schema: Encoder, frame: pd.DataFrame, rows: np.ndarray | None = None) -> EncodedMatrix:
    """The rows of a frame, or those at the positions ``rows``: an array if they are few, otherwise lazy."""
    if len(frame if rows is None else rows) * len(schema.cells) > HELD_CELLS:
        return LazyMatrix(schema, frame, np.arange(len(frame)) if rows is None else rows)
    return schema.encode(frame if rows is None else frame.iloc[rows])


def parts(x: EncodedMatrix) -> Iterator[np.ndarray]:
    """All rows of a matrix in their order, a few at a time."""
    for rows in slices_of_rows(*x.shape):
        yield x[rows]
