"""The schema of a table: learned in fit, held in scoring, and with it the way from table to float matrix and back."""

import warnings
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Self

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.tables import documents
from vae_anomaly.tables.columns import Column, column_from_json
from vae_anomaly.tables.frames import PIECE_CELLS, column_names, listed, numbered
from vae_anomaly.tables.layout import Layout
from vae_anomaly.tables.learning import learn_columns
from vae_anomaly.tables.scaling import LARGEST, LEAST_FLOOR, MOST_FLOOR, Scaling
from vae_anomaly.tables.survey import Survey

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
    def learn(cls, frame: pd.DataFrame, places: np.ndarray | None = None, survey: Survey | None = None) -> Self:
        """
        Learn the schema of a table.

        Parameters
        ----------
        frame
            The table; or the rows at hand of a longer one, with their positions in it as the index.
        places
            Rows of the frame to learn from; all by default.
        survey
            What all rows of the longer table tell: what columns are, their levels, how many rows there are. Centre and
            scale of numbers come from the rows at hand: among 262,144 drawn uniformly, the rank of a quantile is off by
            a standard deviation of 0.1 % of the rows at the median, and of 0.02 % at the 1 % that the scale leaves out.

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
        frame = numbered(frame) if survey is None else frame
        columns, left_out = learn_columns(frame, names, places, survey)
        scaling = Scaling.joined([Scaling.learn(part) for part in _number_parts(columns, frame, places)])
        n_rows = survey.n_rows if survey is not None else len(frame if places is None else places)
        return cls(Layout(columns), scaling, left_out, n_rows)

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

    def choose(self, given: list[Name]) -> list[Name]:
        """
        Choose the columns in use among those of a table.

        A missing one is a DataError; those that training never saw are ignored with a DataWarning.
        """
        present, known = set(given), {*self.names, *self.left_out}
        if missing := [name for name in self.names if name not in present]:
            raise DataError(_missing_message(missing, given))
        if extra := [name for name in given if name not in known]:
            message = f"Columns that were not there in fit are ignored: {listed(extra)}."
            warnings.warn(message, DataWarning, stacklevel=4)
        return self.names

    @property
    def reading(self) -> dict[Name, str]:
        """How text files are read for each column in use: as "numbers", "text", or "settled", as a whole."""
        return {column.name: column.reading for column in self._layout.columns}

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

    def with_rows(self, n_rows: int) -> Self:
        """The same schema of a table that has grown to so many rows."""
        grown = copy(self)
        grown.n_rows = n_rows
        return grown

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
        return frame if given == self.names else frame[self.choose(given)]


def _number_parts(columns: Sequence[Column], frame: pd.DataFrame, places: np.ndarray | None) -> Iterator[np.ndarray]:
    """The raw numbers of a table, (rows, numbers), a few columns at a time."""
    with_numbers = [column for column in columns if column.kind in ("number", "date")]
    step = max(1, PIECE_CELLS // len(frame if places is None else places))
    for first in range(0, len(with_numbers), step):
        layout = Layout(with_numbers[first : first + step])
        part = frame[[column.name for column in layout.columns]]
        yield layout.gather(part if places is None else part.iloc[places], {})[:, : layout.n_numbers]


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
