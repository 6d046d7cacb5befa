"""The schema of a table: learned in fit, held in scoring, and with it the way from table to float matrix and back."""

import warnings
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Self

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.tables import documents
from vae_anomaly.tables.columns import Column, FlagColumn, NumberColumn, are_flags, column_from_json, learn_column
from vae_anomaly.tables.frames import column_names, listed
from vae_anomaly.tables.layout import Layout, number_block, plain_numbers
from vae_anomaly.tables.omissions import COUNTER, EMPTY, are_counters, nearly_numbers, reason_to_leave_out
from vae_anomaly.tables.scaling import LARGEST, LEAST_FLOOR, MOST_FLOOR, Scaling
from vae_anomaly.tables.values import Values

Name = str | int


ROWS_AT_ONCE = 2**14  # standardised: what is needed on the way is not as large as the table
SAME = 1e-6  # of a range: what rounding may do to its ends


class Schema:
    """
    What a table is made of.

    An encoded table is a C-contiguous float64 matrix (rows, cells) in which NaN is a missing cell: first all numbers,
    then all flags, then all codes. Rows are encoded each by itself, so a row's cells do not depend on its batch.

    Attributes
    ----------
    names
        Columns in use, in the table's order.
    left_out
        Columns that training saw but does not use, each with the reason in words.
    cells
        What each column of the matrix holds.
    kinds
        Of each column in use: "number", "flag", "category" or "date".
    n_rows
        Rows that the schema was learned from.
    """

    def __init__(self, layout: Layout, scaling: Scaling, left_out: dict[Name, str], n_rows: int) -> None:
        self._layout = layout
        self._scaling = scaling
        self.left_out = left_out
        self.n_rows = n_rows
        self.names: list[Name] = [column.name for column in layout.columns]
        self.kinds = [column.kind for column in layout.columns]
        numbers = zip(layout.cells, scaling.floors.tolist(), strict=False)
        self.cells = [replace(cell, floor=floor) for cell, floor in numbers] + layout.cells[layout.n_numbers :]

    @classmethod
    def learn(cls, frame: pd.DataFrame) -> Self:
        """
        Learn the schema of a table.

        Warns
        -----
        DataWarning
            If columns are left out, or text is nearly all numbers: names them and says why.

        Raises
        ------
        DataError
            If there are no rows, no column is of use, or a value is infinite or no single value.
        """
        names = column_names(frame)
        if not len(frame) or not names:
            raise DataError(f"The table has {len(frame)} rows and {len(names)} columns; one of each is the least.")
        places = np.flatnonzero(~plain_numbers(frame)).tolist()
        values = {names[place]: Values.of(frame, place, names[place]) for place in places}
        columns, left_out = _learn_columns(frame, names, values)
        _warn_about(left_out, values.values())
        layout = Layout([columns[name] for name in names if name in columns and name not in left_out])
        raw = layout.gather(frame[[column.name for column in layout.columns]], values)
        return cls(layout, Scaling.learn(raw[:, : layout.n_numbers]), left_out, len(frame))

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """
        Encode a table as a matrix (rows, cells).

        Columns may come in any order; those that training never saw are ignored with a DataWarning. A missing column, a
        column of another kind than in training, or an infinite value is a DataError that says where.
        """
        raw = self._layout.gather(self._aligned(frame), {})
        for first in range(0, len(raw), ROWS_AT_ONCE):
            numbers = raw[first : first + ROWS_AT_ONCE, : self._layout.n_numbers]
            numbers[:] = self._scaling.apply(numbers)
        return raw

    def as_numbers(self, frame: pd.DataFrame) -> np.ndarray:
        """
        See a table as plain numbers, (rows, columns): one for each column in use, nothing standardised yet.

        Numbers are themselves, durations seconds, flags 0 and 1, categories codes, dates microseconds since 1970 in
        UTC; NaN is a missing value. Errors and warnings are those of ``encode``.
        """
        raw = self._layout.gather(self._aligned(frame), {})
        return raw[:, [slots[0] for slots in self._layout.slots]] + [column.origin for column in self._layout.columns]

    def decode(self, cells: np.ndarray) -> pd.DataFrame:
        """Decode a matrix (rows, cells) as a table with the columns, types and category names of training."""
        raw, n_numbers = np.array(cells, dtype=np.float64), self._layout.n_numbers
        raw[:, :n_numbers] = self._scaling.undo(raw[:, :n_numbers])
        return self._layout.scatter(raw)

    def missing(self, cells: np.ndarray) -> np.ndarray:
        """Which values of the columns in use are missing, (rows, columns), by the encoded table."""
        return np.isnan(cells[:, [slots[0] for slots in self._layout.slots]])

    def has_one_measure(self, cells: np.ndarray) -> bool:
        """
        Tell whether most columns are numbers that share their least and their largest value in the encoded table.

        Pixels do, coordinates in one frame, answers on one scale: there a column's range means the same as another's.
        """
        numbers = cells[:, : self._layout.n_numbers]
        if not numbers.size:
            return False
        lows, highs = self._scaling.undo(np.stack([np.nanmin(numbers, axis=0), np.nanmax(numbers, axis=0)]))
        least, largest = lows.min(), highs.max()
        near = 2 * SAME * (largest / 2 - least / 2)  # the difference itself may be more than a float holds
        return bool(np.sum((lows <= least + near) & (highs >= largest - near)) > len(self.names) / 2)

    def to_json(self) -> dict[str, Any]:
        """Describe the schema in JSON's own types."""
        return {
            "columns": [column.to_json() for column in self._layout.columns],
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left_out.items()],
            "n_rows": self.n_rows,
            "exponents": self._scaling.exponents.tolist(),
            "centres": self._scaling.centres.tolist(),
            "scales": self._scaling.scales.tolist(),
            "floors": self._scaling.floors.tolist(),
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote; anything else is a ModelFileError."""
        columns = [column_from_json(item) for item in documents.items(document, "columns")]
        reasons = documents.items(document, "left_out")
        left_out = {documents.name(item, "name"): documents.text(item, "reason") for item in reasons}
        names = {*left_out, *(column.name for column in columns)}
        if not columns or len(names) < len(columns) + len(reasons):
            raise documents.damaged("columns", "at least one column, no two of one name")
        layout = Layout(columns)
        scaling = _scaling_from_json(document, layout.n_numbers)
        return cls(layout, scaling, left_out, documents.whole(document, "n_rows", 1, 2**63))

    def _aligned(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give the columns of training, in their order."""
        given = column_names(frame)
        if given == self.names:
            return frame
        present = set(given)
        if missing := [name for name in self.names if name not in present]:
            raise DataError(_missing_message(missing, given))
        known = {*self.names, *self.left_out}
        if extra := [name for name in given if name not in known]:
            message = f"Columns that were not there in fit are ignored: {listed(extra)}."
            warnings.warn(message, DataWarning, stacklevel=3)
        return frame[self.names]


def _learn_columns(
    frame: pd.DataFrame, names: list[Name], values: dict[Name, Values]
) -> tuple[dict[Name, Column], dict[Name, str]]:
    """Learn every column, and why some are left out; a table of nothing but row counters keeps the first."""
    columns, left_out = _learn_plain(frame, names)
    for name, of_name in values.items():
        if of_name.missing.all():
            left_out[name] = EMPTY
            continue
        columns[name] = learn_column(of_name)
        if reason := reason_to_leave_out(columns[name], of_name):
            left_out[name] = reason
    left_out = {name: left_out[name] for name in names if name in left_out}
    if len(left_out) == len(names):
        counter = next((name for name, reason in left_out.items() if reason == COUNTER), None)
        if counter is None:
            raise DataError(f"No column of the table is of use: {_reasons(left_out)}.")
        del left_out[counter]
    return columns, left_out


def _learn_plain(frame: pd.DataFrame, names: list[Name]) -> tuple[dict[Name, Column], dict[Name, str]]:
    """Learn the columns of plain numbers all at once: 10,000 of them take milliseconds."""
    plain = plain_numbers(frame)
    block, dtypes = number_block(frame, plain), frame.dtypes.to_numpy()[plain]
    chosen = [names[place] for place in np.flatnonzero(plain)]
    storages = {dtype: str(dtype) for dtype in set(dtypes)}
    kinds = np.array([dtype.kind for dtype in dtypes], dtype="U1")
    flags, empty = are_flags(block) | (kinds == "b"), np.isnan(block).all(axis=0)
    counters = are_counters(block) & np.isin(kinds, ["i", "u"])
    columns: dict[Name, Column] = {
        name: FlagColumn(name, storages[dtype]) if flag else NumberColumn(name, storages[dtype])
        for name, dtype, flag in zip(chosen, dtypes, flags, strict=True)
    }
    reasons = np.where(empty, EMPTY, np.where(counters, COUNTER, ""))
    return columns, {name: str(reason) for name, reason in zip(chosen, reasons, strict=True) if reason}


def _warn_about(left_out: dict[Name, str], values: Iterable[Values]) -> None:
    if left_out:
        warnings.warn(f"Columns left out: {_reasons(left_out)}.", DataWarning, stacklevel=3)
    if found := [text for of_name in values if (text := nearly_numbers(of_name))]:
        message = f"Columns that are text, though nearly all numbers: {', '.join(found)}; the first row is 1."
        warnings.warn(message, DataWarning, stacklevel=3)


def _reasons(left_out: dict[Name, str], most: int = 20) -> str:
    """Columns with the reason why each is left out."""
    rest = f"; and {len(left_out) - most} more" if len(left_out) > most else ""
    return "; ".join(f"{name!r} {reason}" for name, reason in list(left_out.items())[:most]) + rest


def _missing_message(missing: list[Name], given: list[Name]) -> str:
    hints = [_with_hint(name, given) for name in missing[:20]]
    rest = f", and {len(missing) - 20} more" if len(missing) > 20 else ""
    return f"Columns of the fit that the table lacks: {', '.join(hints)}{rest}. It has: {listed(given) or 'none'}."


def _with_hint(name: Name, given: list[Name]) -> str:
    by_text = {str(other).casefold(): other for other in given}
    close = get_close_matches(str(name).casefold(), by_text, n=1)
    return f"{name!r} (did you mean {by_text[close[0]]!r}?)" if close else repr(name)


def _scaling_from_json(document: Any, n_numbers: int) -> Scaling:
    scaling = Scaling(
        documents.numbers(document, "exponents", -1100, 1100).astype(np.int64),
        documents.numbers(document, "centres", -LARGEST, LARGEST),
        documents.numbers(document, "scales", np.finfo(np.float64).tiny, LARGEST),
        documents.numbers(document, "floors", LEAST_FLOOR, MOST_FLOOR),
    )
    if {len(part) for part in (scaling.exponents, scaling.centres, scaling.scales, scaling.floors)} != {n_numbers}:
        raise documents.damaged("centres", "one number for each column of numbers")
    return scaling
