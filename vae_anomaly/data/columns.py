"""
Kinds of table columns (numbers, durations, flags, categories, dates) and of the cells that encode them.

Every kind of column is a small class with the same verbs. ``encode`` returns raw cells, one float array for each entry
of ``cells``: numbers not yet standardised, flags with other numbers unchanged (the schema handles both for all columns
at once), and category codes. ``decode`` converts such arrays back to the column's type. Text that no value of the kind
can be read from is the raw cell ``UNREADABLE``, which decodes to a missing value.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from math import log
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
import pandas as pd

from vae_anomaly.data import documents
from vae_anomaly.data.parse import (
    LAST_INSTANT,
    MIDNIGHT,
    NO_INSTANT,
    NO_MISFITS,
    TEXT,
    TEXT_DTYPES,
    UNREADABLE,
    Level,
    Reading,
    Values,
    check_storage,
    infinite,
    scalar,
    shape_of,
    storage_of,
    store_durations,
    store_instants,
    store_labels,
    store_numbers,
    store_text,
)
from vae_anomaly.data.scaling import LEAST_FLOOR
from vae_anomaly.errors import RowError
from vae_anomaly.formatting import cell_text

MAX_CODES = 255
MOST_LEVELS = 2**17  # of a column; more stay unseen
COMMON_SHAPE = 0.05  # frequency from which on a shape of text is not surprising
HOUR = 3_600_000_000  # µs
DAY = 24 * HOUR
WEEK, YEAR = 7 * DAY, 366 * DAY
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
    since
        Of a time between two dates, the index of the earlier column; None for any other number.
    """

    column: int
    floor: float = LEAST_FLOOR
    since: int | None = None

    is_number: ClassVar[Literal[True]] = True
    unseen: ClassVar[float] = UNREADABLE
    n_features: ClassVar[int] = 1

    def describe(self, value: float, decoded: Any) -> str:
        """Text for an encoded value, given the same value decoded."""
        return cell_text(decoded) if self.since is None else "this time between dates"


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
    nats
        Surprise of each code, that of values never seen last, if it does not depend on the other cells: such a cell is
        no input of the networks. None for others.
    """

    column: int
    n_codes: int
    spread: tuple[float, ...]
    part: DatePart | None = None
    nats: tuple[float, ...] | None = None

    is_number: ClassVar[Literal[False]] = False

    @property
    def n_features(self) -> int:
        """Number of features that the encoder network sees for the cell: one for each code, or none."""
        return self.n_codes if self.nats is None else 0

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
    """A column of the table, as seen in training."""

    kind: ClassVar[str]
    noun: ClassVar[str]  # for one of its values
    takes_numbers: ClassVar[bool]  # numbers and truth values are its raw cells unchanged

    @property
    def name(self) -> str | int:
        """Name in the table."""

    @property
    def origin(self) -> int:
        """The value that is 0 in the first raw cell."""

    @property
    def reading(self) -> str:
        """How text files are read for the column: "numbers", "dates" or "text"."""

    def cells(self, column: int) -> list[Cell]:
        """List the column's cells, given its index in the schema."""

    def encode(self, values: Values) -> list[np.ndarray]:
        """Raw cells, one array for each of ``cells``; a value of another kind that is no text is a DataError."""

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Convert raw cells back to the column's own type."""

    def to_json(self) -> dict[str, Any]:
        """Describe the column in JSON."""


@dataclass(frozen=True)
class NumberColumn:
    """Numbers."""

    name: str | int
    storage: str

    kind: ClassVar[str] = "number"
    noun: ClassVar[str] = "number"
    takes_numbers: ClassVar[bool] = True
    origin: ClassVar[int] = 0
    reading: ClassVar[str] = "numbers"

    def cells(self, column: int) -> list[Cell]:
        """List the one number."""
        return [NumberCell(column)]

    def encode(self, values: Values) -> list[np.ndarray]:
        """The numbers."""
        return [_readable(values.numbers, values, "numbers")]

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the numbers."""
        return store_numbers(parts[0], self.storage)

    def to_json(self) -> dict[str, Any]:
        """Describe the column in JSON."""
        return {"kind": self.kind, "name": self.name, "storage": self.storage}

    @staticmethod
    def from_json(document: Any) -> "NumberColumn":
        """Read what ``to_json`` wrote; a number stored as a duration is a DurationColumn."""
        storage = check_storage(documents.text(document, "storage"), "iufmO")
        is_duration = storage.startswith(("timedelta", "duration"))
        return (DurationColumn if is_duration else NumberColumn)(documents.name(document, "name"), storage)


@dataclass(frozen=True)
class DurationColumn(NumberColumn):
    """Durations, in seconds. Plain numbers are refused, as their unit is unknown."""

    noun: ClassVar[str] = "duration"
    takes_numbers: ClassVar[bool] = False

    def encode(self, values: Values) -> list[np.ndarray]:
        """The seconds."""
        return [_readable(values.durations, values, "durations")]

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the durations."""
        return store_durations(parts[0], self.storage)


@dataclass(frozen=True)
class FlagColumn:
    """Truth values, or numbers that are 0 or 1."""

    name: str | int
    storage: str

    kind: ClassVar[str] = "flag"
    noun: ClassVar[str] = "truth value"
    takes_numbers: ClassVar[bool] = True
    origin: ClassVar[int] = 0
    reading: ClassVar[str] = "numbers"

    def cells(self, column: int) -> list[Cell]:
        """List the one flag."""
        return [FlagCell(column)]

    def encode(self, values: Values) -> list[np.ndarray]:
        """0 for false, 1 for true, other numbers unchanged."""
        return [_readable(values.truths, values, "truth values (or 0 and 1)")]

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the flags; a cell that is neither 0 nor 1 is missing."""
        flags = np.rint(parts[0])
        return store_numbers(np.where((flags == 0) | (flags == 1), flags, np.nan), self.storage)

    def to_json(self) -> dict[str, Any]:
        """Describe the column in JSON."""
        return {"kind": self.kind, "name": self.name, "storage": self.storage}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote."""
        return cls(documents.name(document, "name"), check_storage(documents.text(document, "storage"), "biufO"))


@dataclass(eq=False)
class CategoryColumn:
    """
    Levels of a category; their order gives the codes 0, 1, ...

    Parameters
    ----------
    name
        Name in the table.
    storage
        A text type; a type of numbers, whose levels are their `label_of`; "mixed": values of several types, each
        compared as its text; or "category".
    levels
        The most frequent first, then those of later calls of ``partial_fit``. From the 255th on they share a code.
    categories
        Of a pandas category, all categories in their order.
    ordered
        True if the pandas category is ordered.

    Attributes
    ----------
    n_codes
        Number of codes.
    codes
        Code of each level.
    are_numbers
        True if the values are stored as numbers.
    """

    name: str | int
    storage: str
    levels: tuple[Level, ...]
    categories: tuple[Level, ...] = field(default=(), repr=False)
    ordered: bool = False

    kind: ClassVar[str] = "category"
    noun: ClassVar[str] = "level"
    takes_numbers: ClassVar[bool] = False
    origin: ClassVar[int] = 0

    @classmethod
    def learn(cls, values: Values) -> Self:
        """Learn the levels of any values."""
        storage, ordered = "mixed", False
        categories: tuple[Level, ...] = ()
        if values.is_category:
            categories = tuple(dict.fromkeys(map(scalar, values.factors[1])))
            storage, ordered = "category", bool(values.series.cat.ordered)
        elif values.is_text:
            dtype = str(values.series.dtype)
            storage = dtype if dtype in TEXT_DTYPES else "str"
        else:
            storage = storage_of(values) if values.is_number and not values.is_truth else storage
            values = values.as_text()
        indices, distinct = values.factors
        found = np.bincount(indices[indices >= 0], minlength=len(distinct))
        counts: dict[Level, int] = {}
        for value, count in zip(map(cls.level_of, distinct), found.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + count
        present = [level for level, count in counts.items() if count]
        levels = sorted(present, key=lambda level: (-counts[level], str(level)))
        return cls(values.name, storage, tuple(levels), categories, ordered)

    @staticmethod
    def level_of(value: Any) -> Level:
        """The level of a value."""
        return scalar(value)

    def __post_init__(self) -> None:
        self.n_codes = min(len(self.levels), MAX_CODES)
        self.codes = {level: min(index, self.n_codes - 1) for index, level in enumerate(self.levels)}
        self.are_numbers = self.storage not in {"mixed", "category", *TEXT_DTYPES}
        self._are_text = {isinstance(level, str) for level in self.levels}
        self.reading = "text" if True in self._are_text else "numbers"

    def grown(self, values: Values) -> Self:
        """The column with the new levels among more values as well; codes of levels stay. Itself if there are none."""
        in_order = values.is_category
        if self.storage == "mixed" or self.are_numbers:
            values = values.as_labels() if self.are_numbers else values.as_text()
        elif self.storage == "category" and not in_order:
            values = Values(self.name, values.series.astype("category"))
        more = type(self).learn(values)
        new = [level for level in more.levels if level not in self.codes and isinstance(level, str) in self._are_text]
        new = new[: MOST_LEVELS - len(self.levels)]
        if not new:
            return self
        categories = self.categories
        if self.storage == "category":
            known = tuple(level for level in more.categories if level in set(categories))
            agree = in_order and known == categories
            categories = more.categories if agree else tuple(dict.fromkeys([*categories, *new]))
        return replace(self, levels=(*self.levels, *new), categories=categories)

    def cells(self, column: int) -> list[Cell]:
        """List the one code."""
        sharing = len(self.levels) - self.n_codes + 1  # levels that share the last code
        return [CodeCell(column, self.n_codes, (0.0,) * (self.n_codes - 1) + (log(sharing),))]

    def encode(self, values: Values) -> list[np.ndarray]:
        """The codes; ``n_codes`` for a value never seen in training."""
        if self.storage == "mixed" or self.are_numbers:
            values = values.as_labels() if self.are_numbers else values.as_text()
        indices, distinct = values.factors
        codes, misfits = np.full(len(distinct) + 1, np.nan), np.zeros(len(distinct) + 1, dtype=bool)
        for index, value in enumerate(distinct):  # the last is for missing values, whose index is -1
            level = self.level_of(value)
            codes[index] = self.codes.get(level, self.n_codes)
            comparable = isinstance(value, str) or self.storage == "category"
            misfits[index] = not comparable or isinstance(level, str) not in self._are_text
        reading = Reading(codes[indices], np.flatnonzero(misfits[indices]))
        if len(reading.misfits):
            raise _misfit(values, int(reading.misfits[0]), "text" if True in self._are_text else "numbers")
        return [reading.values]

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the levels: the most frequent one for a shared code, and missing for a value never seen."""
        known = (parts[0] >= 0) & (parts[0] < self.n_codes)
        codes = np.where(known, parts[0], self.n_codes).astype(np.int64)
        levels = np.array([*self.levels[: self.n_codes], None], dtype=object)[codes].tolist()
        if self.storage == "category":
            return pd.Series(pd.Categorical(levels, categories=list(self.categories), ordered=self.ordered))
        if self.are_numbers:
            return store_labels(levels, self.storage)
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
        if storage not in {"category", "mixed", *TEXT_DTYPES}:
            check_storage(storage, "iuf")
        if not levels or (storage == "category" and not set(levels) <= set(categories)):
            raise documents.damaged("levels", "the values that training has seen")
        return cls(documents.name(document, "name"), storage, levels, categories, documents.truth(document, "ordered"))


@dataclass(eq=False)
class ShapeColumn(CategoryColumn):
    """
    Text that hardly repeats, an identifier or free text: its levels are the shapes of the text.

    A rare shape is surprising by its frequency alone, whatever the other columns hold. ``decode`` gives shapes, since a
    text cannot be known from its shape.

    Parameters
    ----------
    counts
        Number of training values of each level.
    """

    counts: tuple[int, ...] = ()

    kind: ClassVar[str] = "text"
    noun: ClassVar[str] = "text"

    @classmethod
    def learn(cls, values: Values) -> Self:
        """Learn the shapes of text, or of the text of any values."""
        plain = values.is_text and not values.is_category
        storage = CategoryColumn.learn(values).storage if plain else "mixed"
        indices, distinct = (values if plain else values.as_text()).factors
        found = np.bincount(indices[indices >= 0], minlength=len(distinct)).tolist()
        counts: Counter[Level] = Counter()
        for value, count in zip(distinct, found, strict=True):
            counts[cls.level_of(value)] += count
        levels = sorted(counts, key=lambda level: (-counts[level], str(level)))
        return cls(values.name, storage, tuple(levels), counts=tuple(counts[level] for level in levels))

    def grown(self, values: Values) -> Self:
        """The column itself: shapes stay as rare as they were."""
        return self

    def cells(self, column: int) -> list[Cell]:
        """List the one code of the shape."""
        counts = [*self.counts[: self.n_codes - 1], sum(self.counts[self.n_codes - 1 :]), 0]
        frequencies = (np.array(counts) + 1) / (sum(counts) + 2)
        nats = -np.log(frequencies) * (1 - frequencies / COMMON_SHAPE).clip(0)
        return [CodeCell(column, self.n_codes, (0.0,) * self.n_codes, nats=tuple(nats.tolist()))]

    @staticmethod
    def level_of(value: Any) -> Level:
        """The shape of a text, `shape_of`."""
        return shape_of(str(value))

    def to_json(self) -> dict[str, Any]:
        """Describe the column in JSON."""
        return super().to_json() | {"counts": list(self.counts)}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote."""
        column = super().from_json(document)
        column.counts = tuple(documents.whole({"counts": n}, "counts", 1, 2**63) for n in document["counts"])
        if len(column.counts) != len(column.levels):
            raise documents.damaged("counts", "a number for each level")
        return column


@dataclass(frozen=True)
class DateColumn:
    """
    Dates in UTC: the time elapsed, the weekday and the hour, if the table is long enough for each and they vary.

    Parameters
    ----------
    name
        Name in the table.
    storage
        Name of the date type, or "text".
    origin
        Instant in µs since 1970 that is encoded as 0: near the training dates, so that a float distinguishes them.
    step
        Largest unit of time, in µs, of which every training date is a multiple: a day, an hour, a minute, ...
    weekday, hour
        True if the weekday and the hour are cells of their own.
    first, last
        Range of the training dates, in µs since the origin. Single dates outside, farther away than the range is long
        and than a year, are errors rather than part of it.
    """

    name: str | int
    storage: str
    origin: int
    step: int
    weekday: bool
    hour: bool
    first: int
    last: int

    kind: ClassVar[str] = "date"
    noun: ClassVar[str] = "date"
    reading: ClassVar[str] = "dates"
    takes_numbers: ClassVar[bool] = False

    @classmethod
    def learn(cls, values: Values) -> Self:
        """Learn from dates, or from text of which every value is a date in ISO 8601."""
        instants = values.instants.values
        seen = np.sort(instants[(instants != NO_INSTANT) & ~is_time_of_day(instants)])
        origin = int(seen[len(seen) // 2])
        first, last = _range_of_dates(seen)
        weekday = last - first >= WEEK - DAY and len(np.unique(WEEKDAY.codes(seen))) > 1  # every one may have occurred
        weekday = weekday and bool((seen.view("M8[us]").astype("M8[M]").astype("M8[us]").view(np.int64) != seen).any())
        hour = last - first >= DAY - HOUR and bool((seen % DAY != 0).any())
        steps = (DAY, HOUR, 60_000_000, 1_000_000, 1_000, 1)
        step = next(step for step in steps if not (seen % step).any())
        return cls(values.name, storage_of(values), origin, step, weekday, hour, first - origin, last - origin)

    @property
    def reach(self) -> int:
        """Longest time after the range, in µs, for which dates run on: as long as the range, and at least a year."""
        return max(self.last - self.first, YEAR)

    def held(self, elapsed: np.ndarray) -> np.ndarray:
        """The time elapsed as the model sees it: dates that run on are moved back to the last week of training.

        They keep their weekday and their hour, with which the time elapsed goes in a short table. In a table shorter
        than a week, those that would be before it are moved to its nearest end.
        """
        held, rows = elapsed.copy(), (elapsed > self.last) & (elapsed <= self.last + self.reach)
        moved = elapsed[rows] - np.ceil((elapsed[rows] - self.last) / WEEK) * WEEK
        is_near_last = 2 * moved < self.first + self.last - WEEK
        held[rows] = np.where(is_near_last, self.last, np.maximum(moved, self.first))
        return held

    def elapsed(self, instants: np.ndarray) -> np.ndarray:
        """Microseconds since the origin."""
        found: np.ndarray = instants - self.origin
        return found

    def is_other(self, instants: np.ndarray) -> np.ndarray:
        """True for times of day among dates."""
        return is_time_of_day(instants)

    @cached_property
    def parts(self) -> list[DatePart]:
        """Parts of the date that are cells of their own."""
        return [part for part, used in ((WEEKDAY, self.weekday), (HOUR_OF_DAY, self.hour)) if used]

    def cells(self, column: int) -> list[Cell]:
        """List the time elapsed, then the weekday and the hour if they are used."""
        cells: list[Cell] = [NumberCell(column)]
        return cells + [CodeCell(column, len(part.names), (0.0,) * len(part.names), part) for part in self.parts]

    def encode(self, values: Values) -> list[np.ndarray]:
        """Microseconds since the origin, then the codes of the parts; those of an unreadable date are missing."""
        instants, misfits = values.instants
        misfits = np.union1d(misfits, np.flatnonzero(self.is_other(instants)))
        instants = np.where(self.is_other(instants), NO_INSTANT, instants)
        raw = [self.elapsed(instants), *(part.codes(instants) for part in self.parts)]
        elapsed, *parts = (np.where(instants == NO_INSTANT, np.nan, cell.astype(np.float64)) for cell in raw)
        return [_readable(Reading(elapsed, misfits), values, "dates"), *parts]

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the dates, from the time elapsed alone."""
        missing = np.isnan(parts[0])
        elapsed = np.rint(np.clip(np.where(missing, 0.0, parts[0]), -LAST_INSTANT, LAST_INSTANT)).astype(np.int64)
        instants = (elapsed + self.origin + self.step // 2) // self.step * self.step
        return store_instants(np.where(missing, NO_INSTANT, instants), self.storage, has_time=self.step < DAY)

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
            "first": self.first,
            "last": self.last,
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote."""
        storage = documents.text(document, "storage")
        if storage not in (TEXT, cls.kind):
            check_storage(storage, "M")
        origin = documents.whole(document, "origin", -LAST_INSTANT, LAST_INSTANT)
        step = documents.whole(document, "step", 1, DAY)
        weekday, hour = documents.truth(document, "weekday"), documents.truth(document, "hour")
        first = documents.whole(document, "first", -2 * LAST_INSTANT, 0)
        last = documents.whole(document, "last", 0, 2 * LAST_INSTANT)
        return cls(documents.name(document, "name"), storage, origin, step, weekday, hour, first, last)


@dataclass(frozen=True)
class TimeColumn(DateColumn):
    """
    Times of day: the time elapsed since an origin, and the hour if they go around the clock.

    The origin lies in the middle of the longest time without a value, so that 23:58 and 00:02 are near one another
    unless hardly any value is near midnight.
    """

    kind: ClassVar[str] = "time"
    noun: ClassVar[str] = "time of day"

    @classmethod
    def learn(cls, values: Values) -> Self:
        """Learn from times of day, or from text of which every value is one in ISO 8601."""
        instants = values.instants.values
        seen = np.unique(instants[is_time_of_day(instants)])
        waits = np.diff(seen, append=seen[0] + DAY)
        origin = int(seen[waits.argmax()] + waits.max() // 2) % DAY
        elapsed = (seen - origin) % DAY
        first, last = int(elapsed.min()), int(elapsed.max())
        step = next(step for step in (HOUR, 60_000_000, 1_000_000, 1_000, 1) if not (seen % step).any())
        return cls(
            values.name, TEXT if values.is_text else cls.kind, origin, step, False, last - first >= DAY - HOUR, 0, last
        )

    def elapsed(self, instants: np.ndarray) -> np.ndarray:
        """Microseconds since the origin, up to a day."""
        found: np.ndarray = (instants - self.origin) % DAY
        return found

    def is_other(self, instants: np.ndarray) -> np.ndarray:
        """True for dates among times of day."""
        return (instants != NO_INSTANT) & ~is_time_of_day(instants)

    def held(self, elapsed: np.ndarray) -> np.ndarray:
        """The time elapsed itself: no time of day is later than all others."""
        return elapsed

    def decode(self, parts: list[np.ndarray]) -> pd.Series:
        """Store the times."""
        missing = np.isnan(parts[0])
        elapsed = np.rint(np.where(missing, 0.0, parts[0])).astype(np.int64) + self.origin
        instants = (elapsed + self.step // 2) // self.step * self.step % DAY
        known = [(datetime(1970, 1, 1) + timedelta(microseconds=instant)).time() for instant in instants.tolist()]
        if self.storage == TEXT:
            texts = [moment.isoformat("minutes" if self.step >= 60_000_000 else "auto") for moment in known]
            return store_text([None if gap else text for text, gap in zip(texts, missing, strict=True)], "str")
        return pd.Series([None if gap else moment for moment, gap in zip(known, missing, strict=True)], dtype=object)


def is_time_of_day(instants: np.ndarray) -> np.ndarray:
    """True for instants that are times of day."""
    found: np.ndarray = (instants >= MIDNIGHT) & (instants < MIDNIGHT + DAY)
    return found


def _range_of_dates(instants: np.ndarray) -> tuple[int, int]:
    """First and last of sorted instants, without those at most a twentieth of a side that are far from the others."""
    few = len(instants) // 20
    low, *outer = instants[: few + 1][::-1].tolist()
    high, *later = instants[len(instants) - few - 1 :].tolist()
    first, last = low, high
    for instant in outer:
        if first - instant > max(high - first, YEAR):
            break
        first = instant
    for instant in later:
        if instant - last > max(last - low, YEAR):
            break
        last = instant
    return first, last


def learn_column(values: Values) -> Column:
    """The column for values that are not stored as numbers: of the first kind that fits."""
    if values.is_duration:
        return DurationColumn(values.name, storage_of(values))
    if may_be_numbers(values):
        numbers = values.numbers.values
        if values.is_truth or are_flags(numbers):
            return FlagColumn(values.name, storage_of(values))
        if len(rows := np.flatnonzero(np.isinf(numbers))):
            raise infinite(values.name, values.position(int(rows[0])))
        if not np.isnan(numbers).all():
            return NumberColumn(values.name, storage_of(values))
    if not values.is_category and not len(values.instants.misfits):
        return _date_column(values)
    return CategoryColumn.learn(values)


def _date_column(values: Values) -> Column:
    """The column for dates, or for times of day if most values are such."""
    instants = values.instants.values
    is_time = is_time_of_day(instants)
    has_times = is_time.sum() > (instants != NO_INSTANT).sum() / 2
    return (TimeColumn if has_times else DateColumn).learn(values)


def _number_column(values: Values) -> Column:
    if values.is_duration:
        return DurationColumn(values.name, storage_of(values))
    return NumberColumn(values.name, "float64" if values.is_truth or values.is_category else storage_of(values))


def _flag_column(values: Values) -> Column:
    return FlagColumn(values.name, "float64" if values.is_category else storage_of(values))


def _numbers(values: Values) -> Reading:
    return values.durations if values.is_duration else values.numbers


def _any(values: Values) -> Reading:
    return Reading(values.factors[0], NO_MISFITS)


def _truths(values: Values) -> Reading:
    """The values as 0 and 1; other numbers are misfits as well."""
    truths, misfits = values.truths
    return Reading(truths, np.union1d(misfits, np.flatnonzero(~np.isin(truths, [0, 1]) & ~np.isnan(truths))))


class AskedKind(NamedTuple):
    """A kind of column that a user asks for: its values, how they are read, and the column that holds them."""

    nouns: str
    read: Callable[[Values], Reading]
    learn: Callable[[Values], Column]


KINDS = {
    "number": AskedKind("numbers", _numbers, _number_column),
    "flag": AskedKind("truth values (or 0 and 1)", _truths, _flag_column),
    "date": AskedKind("dates", lambda values: values.instants, _date_column),
    "category": AskedKind("levels", _any, CategoryColumn.learn),
    "text": AskedKind("texts", _any, ShapeColumn.learn),
}
IGNORE = "ignore"


def may_be_numbers(values: Values) -> bool:
    """True if every value is or spells a number; text such as "007", an identifier, counts as no number."""
    if values.is_category or len(values.numbers.misfits):
        return False
    texts = (value.strip().lstrip("+-") for value in values.factors[1]) if values.is_text else ()
    return not any(text[:1] == "0" and text[1:2].isdigit() for text in texts)


def are_flags(numbers: np.ndarray) -> np.ndarray:
    """True for each column (rows, columns) of numbers that holds 0 and 1, both, and nothing else."""
    zero, one = numbers == 0, numbers == 1
    flags: np.ndarray = (zero | one | np.isnan(numbers)).all(axis=0) & zero.any(axis=0) & one.any(axis=0)
    return flags


def column_from_json(document: Any) -> Column:
    """Read what a column's ``to_json`` wrote."""
    kinds: dict[str, Any] = {
        kind.kind: kind for kind in (NumberColumn, FlagColumn, CategoryColumn, ShapeColumn, DateColumn, TimeColumn)
    }
    kind = documents.text(document, "kind")
    if kind not in kinds:
        raise documents.damaged("kind", f"one of {', '.join(kinds)}")
    column: Column = kinds[kind].from_json(document)
    return column


def _readable(reading: Reading, values: Values, expected: str) -> np.ndarray:
    """The values of a reading, ``UNREADABLE`` where one is text of another kind; any other misfit is a DataError."""
    infinities = np.flatnonzero(np.isinf(reading.values))
    if len(infinities):
        raise infinite(values.name, values.position(int(infinities[0])))
    for row in reading.misfits.tolist():
        if not isinstance(values.series.iloc[row], str):
            raise _misfit(values, row, expected)
    cells = reading.values.copy()
    cells[reading.misfits] = UNREADABLE
    return cells


def _misfit(values: Values, row: int, expected: str) -> RowError:
    fault = f"Column {values.name!r} held {expected} in fit; found {values.found(row)}"
    return RowError.at(fault, values.position(row), ". Convert it, or refit with the new table.")
