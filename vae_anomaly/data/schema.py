"""The schema of a table: learned in fit, checked in scoring, and the way from a table to a float matrix and back."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from difflib import get_close_matches
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd

from vae_anomaly.data import documents
from vae_anomaly.data.columns import (
    Cell,
    CodeCell,
    Column,
    DateColumn,
    FlagCell,
    NumberCell,
    NumberColumn,
    column_from_json,
)
from vae_anomaly.data.infer import Survey, learn_columns
from vae_anomaly.data.parse import (
    PIECE_CELLS,
    Values,
    column_names,
    infinite,
    number_block,
    numbered,
    plain_numbers,
    slices_of_rows,
)
from vae_anomaly.data.scaling import LARGEST, LEAST_FLOOR, MOST_FLOOR, Scaling
from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.formatting import listed, listed_names

_ORDER: tuple[type[Cell], ...] = (NumberCell, FlagCell, CodeCell)
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
        order = sorted(range(len(cells)), key=lambda place: _ORDER.index(type(cells[place])))
        self.cells: list[Cell] = [cells[place] for place in order]
        self.n_numbers = sum(cell.is_number for cell in cells)
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
        n_flags = sum(isinstance(cell, FlagCell) for cell in self.cells)
        flags = raw[:, self.n_numbers : self.n_numbers + n_flags]
        flags[(flags != 0) & (flags != 1) & ~np.isnan(flags)] = _UNSEEN_FLAG


def _places(chosen: np.ndarray) -> list[int]:
    places: list[int] = np.flatnonzero(chosen).tolist()
    return places


def _copy(frame: pd.DataFrame, chosen: np.ndarray, raw: np.ndarray, slots: np.ndarray) -> None:
    in_order = np.array_equal(slots, np.arange(len(slots)))
    raw[:, slice(0, len(slots)) if in_order else slots] = number_block(frame, chosen)


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
    columns
        Columns in use, in the table's order, with their types and levels.
    cells
        What each column of the matrix holds.
    code_cells
        Indices of the cells that hold category codes.
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
        self.cells: list[Cell] = [NumberCell(cell.column, floor) for cell, floor in numbers]
        self.cells += layout.cells[layout.n_numbers :]
        self.columns = layout.columns
        self.code_cells = [place for place, cell in enumerate(self.cells) if isinstance(cell, CodeCell)]

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
            message = f"Columns that were not there in fit are ignored: {listed_names(extra)}."
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
    with_numbers = [column for column in columns if isinstance(column, NumberColumn | DateColumn)]
    step = max(1, PIECE_CELLS // len(frame if places is None else places))
    for first in range(0, len(with_numbers), step):
        layout = Layout(with_numbers[first : first + step])
        part = frame[[column.name for column in layout.columns]]
        yield layout.gather(part if places is None else part.iloc[places], {})[:, : layout.n_numbers]


def _missing_message(missing: list[Name], given: list[Name]) -> str:
    hints = listed([*(_with_hint(name, given) for name in missing[:20]), *map(str, missing[20:])])
    return f"Columns of the fit that the table lacks: {hints}. It has: {listed_names(given) or 'none'}."


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


HELD_CELLS = 2**22  # 32 MiB: up to there rows are encoded once and kept


class EncodedMatrix(Protocol):
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


class LazyMatrix:
    """Rows of a frame, encoded as often as they are taken."""

    def __init__(self, schema: Encoder, frame: pd.DataFrame, places: np.ndarray) -> None:
        self.shape: tuple[int, ...] = (len(places), len(schema.cells))
        self._schema, self._frame, self._places = schema, frame, places

    def __len__(self) -> int:
        return self.shape[0]

    def at(self, places: np.ndarray) -> "LazyMatrix":
        """Some of the rows."""
        return LazyMatrix(self._schema, self._frame, self._places[places])

    def __getitem__(self, places: Any) -> np.ndarray:
        return self._schema.encode(self._frame.iloc[self._places[places]])


def selected(x: EncodedMatrix, places: np.ndarray) -> EncodedMatrix:
    """Some of the rows, held or made as the others are."""
    return x.at(places) if isinstance(x, LazyMatrix) else x[places]


def encoded(schema: Encoder, frame: pd.DataFrame, places: np.ndarray | None = None) -> EncodedMatrix:
    """The rows of a frame, or those at ``places``, encoded: held where they are few, else made when they are taken."""
    places = np.arange(len(frame)) if places is None else places
    rows = LazyMatrix(schema, frame, places)
    return rows[:] if len(rows) * len(schema.cells) <= HELD_CELLS else rows


def parts(x: EncodedMatrix) -> Iterator[np.ndarray]:
    """All rows in their order, a few at a time."""
    for rows in slices_of_rows(*x.shape):
        yield x[rows]
