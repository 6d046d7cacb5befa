"""
What a table's columns are: numbers, flags, categories or dates, each an object with the same verbs.

``learn`` takes a column's values, or returns None where they are of another kind. ``encode`` gives the raw cells, one
float array for each entry of ``cells``: numbers not yet standardised, flags not yet told from values never seen (the
schema does both for all columns at once), codes as they are. ``decode`` takes such arrays back to the column's type.
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import log
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import pandas as pd

from vae_anomaly.data import documents
from vae_anomaly.data.parse import LAST_INSTANT, NO_INSTANT, Level, Reading, Values, scalar
from vae_anomaly.data.scaling import LEAST_FLOOR
from vae_anomaly.data.storage import (
    TEXT,
    check_storage,
    check_text_storage,
    storage_of,
    store_durations,
    store_instants,
    store_levels,
    store_numbers,
    store_text,
    text_storage,
)
from vae_anomaly.errors import RowError
from vae_anomaly.formatting import cell_text

MOST_CODES = 255
HOUR = 3_600_000_000  # µs
DAY = 24 * HOUR
_STEPS = (DAY, HOUR, 60_000_000, 1_000_000, 1_000, 1)


WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NEVER_SEEN = "values never seen in training"


@dataclass(frozen=True)
class NumberCell:
    """
    A standardised number.

    Parameters
    ----------
    column
        Index in ``Schema.names`` of the table column that the cell comes from.
    floor
        Smallest noise scale that the spacing of the values allows, in standardised units.
    """

    column: int
    floor: float = LEAST_FLOOR

    is_number: ClassVar[Literal[True]] = True
    n_features: ClassVar[int] = 1

    def describe(self, value: float, decoded: Any) -> str:
        """Text for an encoded value, given the same value decoded."""
        return cell_text(decoded)


@dataclass(frozen=True)
class FlagCell:
    """A truth value: 0 or 1, or 2 for a value never seen in training. ``column`` is an index in ``Schema.names``."""

    column: int

    is_number: ClassVar[Literal[False]] = False
    n_features: ClassVar[int] = 1
    unseen: ClassVar[int] = 2

    def describe(self, value: float, decoded: Any) -> str:
        """Text for an encoded value, given the same value decoded."""
        return NEVER_SEEN if value == self.unseen else str(decoded)


@dataclass(frozen=True)
class DatePart:
    """
    A part of a date that repeats: the weekday (Monday is 0) or the hour.

    An instant in microseconds since 1970 has the code ``(instant // unit + first) % len(names)``.
    """

    unit: int
    first: int
    names: tuple[str, ...]

    def codes(self, instants: np.ndarray) -> np.ndarray:
        """Code of each instant, in microseconds since 1970 in UTC."""
        codes: np.ndarray = (instants // self.unit + self.first) % len(self.names)
        return codes


WEEKDAY = DatePart(DAY, 3, WEEKDAYS)  # 1970 began on a Thursday
HOUR_OF_DAY = DatePart(HOUR, 0, tuple(f"hour {hour}" for hour in range(24)))


@dataclass(frozen=True)
class CodeCell:
    """
    A category code: 0 to ``n_codes`` - 1, or ``n_codes`` for a value never seen in training.

    Parameters
    ----------
    column
        Index in ``Schema.names`` of the table column that the cell comes from.
    n_codes
        Number of codes seen in training.
    spread
        For each code the log of the number of table values that share it; 0 where it stands for one.
    part
        The part of a date that the codes stand for; None for the levels of a category.
    """

    column: int
    n_codes: int
    spread: tuple[float, ...]
    part: DatePart | None = None

    is_number: ClassVar[Literal[False]] = False

    @classmethod
    def of_date(cls, column: int, part: DatePart) -> Self:
        """The cell of a part of a date."""
        return cls(column, len(part.names), (0.0,) * len(part.names), part)

    @property
    def n_features(self) -> int:
        """Number of features that the encoder network sees for the cell: one for each code."""
        return self.n_codes

    @property
    def unseen(self) -> int:
        """Code of a value never seen in training."""
        return self.n_codes

    def describe(self, value: float, decoded: Any) -> str:
        """Text for an encoded value, given the same value decoded."""
        if self.part is not None:
            return self.part.names[int(value)]
        if value == self.unseen:
            return NEVER_SEEN
        return f"{decoded} and rarer values" if self.spread[int(value)] > 0 else str(decoded)


Cell = NumberCell | FlagCell | CodeCell


class Column(Protocol):
    """One column of the table, as training saw it."""

    kind: ClassVar[str]

    @property
    def name(self) -> str | int:
        """Name in the table."""

    @property
    def takes_numbers(self) -> bool:
        """Whether plain numbers are its raw cells as they are."""

    @property
    def origin(self) -> int:
        """What counts as 0 in the first raw cell."""

    @property
    def reading(self) -> str:
        """How text files are read for it: "numbers", "text", or "settled": as what their cells are all together."""

    def cells(self, column: int) -> list[Cell]:
        """List its cells, given its position in the schema."""

    def encode(self, values: Values) -> list[np.ndarray]:
        """Give the raw cells, one array for each of ``cells``; a value of another kind is a DataError."""

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Take raw cells back to the column's own type."""

    def to_json(self) -> dict[str, Any]:
        """Describe the column in JSON."""


@dataclass(frozen=True)
class NumberColumn:
    """Numbers, or durations in seconds."""

    name: str | int
    storage: str

    kind: ClassVar[str] = "number"
    origin: ClassVar[int] = 0
    reading: ClassVar[str] = "numbers"

    @classmethod
    def learn(cls, values: Values) -> Self | None:
        """Take numbers, durations, and text in which every value is a number and none begins with a zero too many."""
        if values.is_category:
            return None
        found = values.durations if values.is_duration else values.numbers
        fits = len(found.misfits) == 0 and not np.isnan(found.values).all() and not _has_leading_zero(values)
        return cls(values.name, storage_of(values)) if fits else None

    @cached_property
    def is_duration(self) -> bool:
        """Whether the numbers are seconds of a duration."""
        return self.storage.startswith(("timedelta", "duration"))

    @property
    def takes_numbers(self) -> bool:
        """Whether plain numbers are its raw cells as they are: not where they have no unit."""
        return not self.is_duration

    def cells(self, column: int) -> list[Cell]:
        """List the one number."""
        return [NumberCell(column)]

    def encode(self, values: Values) -> list[np.ndarray]:
        """Give the numbers."""
        if self.is_duration:
            return [_fitting(values.durations, values, "durations")]
        return [_fitting(values.numbers, values, "numbers")]

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the numbers."""
        store = store_durations if self.is_duration else store_numbers
        return store(parts[0], self.storage)

    def to_json(self) -> dict[str, Any]:
        """Describe the column in JSON."""
        return {"kind": self.kind, "name": self.name, "storage": self.storage}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote."""
        return cls(documents.name(document, "name"), check_storage(documents.text(document, "storage"), "iufmO"))


@dataclass(frozen=True)
class FlagColumn:
    """Truth values, or numbers that are 0 or 1."""

    name: str | int
    storage: str

    kind: ClassVar[str] = "flag"
    origin: ClassVar[int] = 0
    reading: ClassVar[str] = "numbers"
    takes_numbers: ClassVar[bool] = True

    @classmethod
    def learn(cls, values: Values) -> Self | None:
        """Take truth values, and numbers of which some are 0, some 1, and none anything else."""
        if values.is_category or len(values.numbers.misfits):
            return None
        fits = values.is_truth or (bool(are_flags(values.numbers.values)) and not _has_leading_zero(values))
        return cls(values.name, storage_of(values)) if fits else None

    def cells(self, column: int) -> list[Cell]:
        """List the one flag."""
        return [FlagCell(column)]

    def encode(self, values: Values) -> list[np.ndarray]:
        """Give 0 for false, 1 for true, other numbers as they are."""
        return [_fitting(values.numbers, values, "truth values (or 0 and 1)")]

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the flags; neither true nor false is missing."""
        flags = np.rint(parts[0])
        return store_numbers(np.where((flags == 0) | (flags == 1), flags, np.nan), self.storage)

    def to_json(self) -> dict[str, Any]:
        """Describe the column in JSON."""
        return {"kind": self.kind, "name": self.name, "storage": self.storage}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote."""
        return cls(documents.name(document, "name"), check_storage(documents.text(document, "storage"), "biufO"))


@dataclass(frozen=True)
class CategoryColumn:
    """Levels, the most frequent first; the rarest share the last code where there are more than 255."""

    name: str | int
    storage: str  # a text type, or "mixed": any values, each seen as its text, or "category"
    levels: tuple[Level, ...]
    categories: tuple[Level, ...] = field(default=(), repr=False)  # of the pandas type, in its order
    ordered: bool = False

    kind: ClassVar[str] = "category"
    origin: ClassVar[int] = 0
    takes_numbers: ClassVar[bool] = False

    @classmethod
    def learn(cls, values: Values) -> Self:
        """Take anything."""
        if values.is_category:
            categories, ordered = tuple(dict.fromkeys(map(scalar, values.factors[1]))), bool(values.series.cat.ordered)
            return cls(values.name, "category", _by_frequency(values), categories, ordered)
        if values.is_text:
            return cls(values.name, text_storage(values), _by_frequency(values))
        return cls(values.name, "mixed", _by_frequency(values.as_text()))

    @property
    def reading(self) -> str:
        """Text, unless other values are levels as well."""
        return "settled" if self.storage == "mixed" or self._has_others else "text"

    @cached_property
    def codes(self) -> dict[Level, int]:
        """Code of each level."""
        last = self.n_codes - 1
        return {level: min(place, last) for place, level in enumerate(self.levels)}

    @property
    def n_codes(self) -> int:
        """Number of codes."""
        return min(len(self.levels), MOST_CODES)

    def cells(self, column: int) -> list[Cell]:
        """List the one code."""
        spread = (0.0,) * (self.n_codes - 1) + (log(len(self.levels) - self.n_codes + 1),)
        return [CodeCell(column, self.n_codes, spread)]

    def encode(self, values: Values) -> list[np.ndarray]:
        """Give the codes."""
        values = values.as_text() if self.storage == "mixed" else values
        places, distinct = values.factors
        strange = np.array([self._is_strange(value) for value in distinct] + [False])
        _fitting(Reading(places, np.flatnonzero(strange[places])), values, "text" if self._has_text else "numbers")
        codes, unseen = self.codes, self.n_codes
        known = [codes.get(scalar(value), unseen) for value in distinct]
        return [np.array([*known, np.nan])[places]]  # -1, missing, takes the last

    @cached_property
    def _has_text(self) -> bool:
        return any(isinstance(level, str) for level in self.levels)

    @cached_property
    def _has_others(self) -> bool:
        return not all(isinstance(level, str) for level in self.levels)

    def _is_strange(self, value: Any) -> bool:
        """Whether a value is text where the column never held text, or the other way about."""
        if isinstance(value, str):
            return not self._has_text
        held = self._has_text if isinstance(scalar(value), str) else self._has_others
        return self.storage != "category" or not held

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the levels; the shared code is its most frequent level, a value never seen is missing."""
        known = (parts[0] >= 0) & (parts[0] < self.n_codes)
        codes = np.where(known, parts[0], self.n_codes).astype(np.int64)
        levels = np.array([*self.levels[: self.n_codes], None], dtype=object)[codes].tolist()
        if self.storage == "category":
            return store_levels(levels, self.categories, ordered=self.ordered)
        return store_text(levels, "object" if self.storage == "mixed" else self.storage)

    def to_json(self) -> dict[str, Any]:
        """Describe the column in JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "storage": self.storage,
            "levels": list(self.levels),
            "categories": list(self.categories),
            "ordered": self.ordered,
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote."""
        storage = documents.text(document, "storage")
        levels, categories = documents.levels(document, "levels"), documents.levels(document, "categories")
        if storage not in {"category", "mixed"}:
            check_text_storage(storage)
        if not levels or (storage == "category" and not set(levels) <= set(categories)):
            raise documents.damaged("levels", "the values that training has seen")
        return cls(documents.name(document, "name"), storage, levels, categories, documents.truth(document, "ordered"))


@dataclass(frozen=True)
class DateColumn:
    """Dates: the time elapsed, and the weekday and hour where they tell dates apart. In UTC."""

    name: str | int
    storage: str
    origin: int  # µs since 1970 that count as 0, so that a float tells the instants of training apart
    step: int  # µs of which every date of training is a multiple: days, hours, minutes, ...
    weekday: bool
    hour: bool

    kind: ClassVar[str] = "date"
    reading: ClassVar[str] = "text"
    takes_numbers: ClassVar[bool] = False

    @classmethod
    def learn(cls, values: Values) -> Self | None:
        """Take dates, and text in which every value is a date in ISO 8601."""
        if values.is_category:
            return None
        instants, misfits = values.instants
        seen = instants[instants != NO_INSTANT]
        if len(misfits) or len(seen) == 0:
            return None
        origin = int(np.sort(seen)[len(seen) // 2])
        weekday, hour = len(np.unique(WEEKDAY.codes(seen))) > 1, bool((seen % DAY != 0).any())
        step = next(step for step in _STEPS if not (seen % step).any())
        return cls(values.name, storage_of(values), origin, step, weekday, hour)

    @property
    def _parts(self) -> list[DatePart]:
        return [part for part, used in ((WEEKDAY, self.weekday), (HOUR_OF_DAY, self.hour)) if used]

    def cells(self, column: int) -> list[Cell]:
        """List the time elapsed, then the weekday and the hour if they are in use."""
        return [NumberCell(column), *(CodeCell.of_date(column, part) for part in self._parts)]

    def encode(self, values: Values) -> list[np.ndarray]:
        """Give microseconds since the origin, weekday (Monday is 0) and hour."""
        instants = _fitting(values.instants, values, "dates")
        cells = [instants - self.origin, *(part.codes(instants) for part in self._parts)]
        return [np.where(instants == NO_INSTANT, np.nan, cell.astype(np.float64)) for cell in cells]

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the dates that the time elapsed gives."""
        gaps = np.isnan(parts[0])
        elapsed = np.rint(np.clip(np.where(gaps, 0.0, parts[0]), -LAST_INSTANT, LAST_INSTANT)).astype(np.int64)
        instants = (elapsed + self.origin + self.step // 2) // self.step * self.step
        return store_instants(np.where(gaps, NO_INSTANT, instants), self.storage, has_time=self.step < DAY)

    def to_json(self) -> dict[str, Any]:
        """Describe the column in JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "storage": self.storage,
            "origin": self.origin,
            "step": self.step,
            "weekday": self.weekday,
            "hour": self.hour,
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote."""
        storage = documents.text(document, "storage")
        if storage != TEXT:
            check_storage(storage, "M")
        origin = documents.whole(document, "origin", -LAST_INSTANT, LAST_INSTANT)
        step = documents.whole(document, "step", 1, DAY)
        weekday, hour = documents.truth(document, "weekday"), documents.truth(document, "hour")
        return cls(documents.name(document, "name"), storage, origin, step, weekday, hour)


def are_flags(numbers: np.ndarray) -> np.ndarray:
    """Whether the numbers (of each column) are 0 and 1: both are there, and nothing else."""
    zero, one = numbers == 0, numbers == 1
    flags: np.ndarray = (zero | one | np.isnan(numbers)).all(axis=0) & zero.any(axis=0) & one.any(axis=0)
    return flags


def may_be_numbers(values: Values) -> bool:
    """Whether these values, of a column that is not stored as numbers, may be some of a column of numbers."""
    return not values.is_category and len(values.numbers.misfits) == 0 and not _has_leading_zero(values)


def learn_column(values: Values) -> Column:
    """Take a column's values as what they are."""
    learned: Column | None = FlagColumn.learn(values) or NumberColumn.learn(values) or DateColumn.learn(values)
    return learned or CategoryColumn.learn(values)


def column_from_json(document: Any) -> Column:
    """Read what a column's ``to_json`` wrote."""
    kinds = {kind.kind: kind for kind in (NumberColumn, FlagColumn, CategoryColumn, DateColumn)}
    kind = documents.text(document, "kind")
    if kind not in kinds:
        raise documents.damaged("kind", f"one of {', '.join(kinds)}")
    column: Column = kinds[kind].from_json(document)
    return column


def _fitting(reading: Reading, values: Values, held: str) -> np.ndarray:
    """Give the values of a reading without misfits."""
    if len(reading.misfits):
        row = int(reading.misfits[0])
        fault = f"Column {values.name!r} held {held} in fit; found {values.found(row)}"
        raise RowError.at(fault, values.position(row), ". Convert it, or refit with the new table.")
    return reading.values


def _has_leading_zero(values: Values) -> bool:
    """Whether some text begins with a zero too many for a number, as codes and telephone numbers do."""
    texts = (value.strip().lstrip("+-") for value in values.factors[1]) if values.is_text else ()
    return any(text[:1] == "0" and text[1:2].isdigit() for text in texts)


def _by_frequency(values: Values) -> tuple[Level, ...]:
    codes, levels = values.levels()
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    by_text = np.array(sorted(range(len(levels)), key=list(map(str, levels)).__getitem__), dtype=np.int64)
    order = by_text[np.argsort(-counts[by_text], kind="stable")]
    return tuple(levels[place] for place in order[: np.count_nonzero(counts)])
