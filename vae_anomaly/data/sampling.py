"""
Sampling a long table for training: disjoint, uniformly drawn shards that together hold every training row.

Every row has a random key, an unsigned 64-bit number that depends on the seed and the row's position alone. The first
shard are the rows with the smallest keys, rows held out are those with the largest, and the other shards divide the
range in between. So a shard is found again by reading the table once more.

As keys depend on positions alone, parts of a table can be read side by side (`SpreadTable`): how many rows precede a
part decides which of its rows can be in the sample, so that only these are kept. The sample is that of one pass.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Self

import numpy as np
import pandas as pd

from vae_anomaly.data.infer import NO_KINDS, Kinds, Survey
from vae_anomaly.data.parse import column_names, in_pieces_of_rows, numbered, stacked
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import listed_names

TRAINING_ROWS = 2**18  # of a shard
TRAINING_CELLS = 2**25  # 256 MiB of numbers: the shards of a wide table have fewer rows,
FEWEST_ROWS = 2**12  # but at least as many as set the threshold
HELD_OUT = 0.2  # fraction of the rows kept from training, if any are
LARGEST_KEY = 2**64 - 1
KEYS_AT_ONCE = 2**20
MOST_TYPES = 64  # combinations of column types of which a row is kept


def most_rows(n_columns: int) -> int:
    """Maximum number of rows in a shard of a table with ``n_columns`` columns."""
    return max(FEWEST_ROWS, min(TRAINING_ROWS, TRAINING_CELLS // max(1, n_columns)))


@dataclass(frozen=True, eq=False)
class RemainingShards:
    """
    The training rows of a long table that are not in its first shard.

    Parameters
    ----------
    pieces
        Reads the table again, piece by piece.
    seed
        Seed of the keys.
    smallest, largest
        Smallest and largest key of these rows.
    n_rows
        Number of all training rows.
    n_first
        Number of rows in the first shard.
    """

    pieces: Callable[[], Iterable[pd.DataFrame]]
    seed: int
    smallest: int
    largest: int
    n_rows: int
    n_first: int

    @property
    def n_shards(self) -> int:
        """Number of shards, each about as long as the first one or a little shorter."""
        return math.ceil((self.n_rows - self.n_first) / self.n_first)

    def number(self, used: int) -> int:
        """Number of the shard to train on after ``used`` rows: 0, the first, then 1 to ``n_shards``, then 0 again."""
        left = used % self.n_rows - self.n_first
        return 0 if left < 0 else 1 + left * self.n_shards // (self.n_rows - self.n_first)

    def read(self, number: int) -> pd.DataFrame:
        """Rows of shard ``number``, from 1 on, in the table's order; reads the whole table."""
        width = (self.largest - self.smallest) // self.n_shards + 1
        lowest = self.smallest + (number - 1) * width
        found, n_rows = self._find(lowest, min(lowest + width - 1, self.largest))
        if n_rows != self.n_rows:
            raise DataError("The table has changed since it was first read. Fit again when it no longer changes.")
        return stacked(found)

    def _find(self, lowest: int, highest: int) -> tuple[list[pd.DataFrame], int]:
        return rows_between(self.pieces(), self.seed, lowest, highest, self.largest)


def rows_between(
    pieces: Iterable[pd.DataFrame], seed: int, lowest: int, highest: int, largest: int, first: int = 0
) -> tuple[list[pd.DataFrame], int]:
    """The rows with keys from ``lowest`` to ``highest``, and how many have keys up to ``largest``; none is empty."""
    found, n_rows = [], 0
    for piece, keys in with_keys(pieces, seed, first):
        chosen = (keys >= lowest) & (keys <= highest)
        found += [piece[chosen]] if chosen.any() else []
        n_rows += int((keys <= largest).sum())
    return found, n_rows


@dataclass(frozen=True, eq=False)
class TrainingSample:
    """
    The rows of a table that training starts with.

    Attributes
    ----------
    frame
        The table, or some rows of a longer one; its index holds the positions of its rows in the whole table.
    rows
        Positions in the frame of the rows to train on, increasing; None for all.
    held_out
        Positions in the frame of the rows kept from training and from the survey, increasing; None for a table that is
        not sampled.
    survey
        Facts about all training rows of a longer table; None for a table that is not sampled.
    others
        The training rows that are not in the sample, if there are any.
    """

    frame: pd.DataFrame
    rows: np.ndarray | None = None
    held_out: np.ndarray | None = None
    survey: Survey | None = None
    others: RemainingShards | None = None


def draw(
    table: pd.DataFrame | Iterable[pd.DataFrame], seed: int, *, split: bool, kinds: Kinds = NO_KINDS
) -> TrainingSample:
    """
    Draw the first shard of a table, or take all of a table that is no longer than a shard.

    Parameters
    ----------
    table
        The table, or pieces of it; it is read once.
    seed
        Seed of all randomness.
    split
        True to keep a fifth of the rows of a long table from training.
    kinds
        Kinds of columns that are asked for.
    """
    if isinstance(table, SpreadTable):
        return _draw_spread(table, seed, split=split, kinds=kinds)
    if isinstance(table, pd.DataFrame):
        frame = numbered(table)
        if len(frame) <= most_rows(frame.shape[1]):
            return TrainingSample(frame)
        read = partial(in_pieces_of_rows, frame)
        found = _Pass(frame[:0], seed, kinds, split=split, copies=False).over(read())
        return TrainingSample(frame, found.first.positions(), found.rest.positions(), found.survey, found.others(read))

    pieces = _aligned(table)
    beginning: list[pd.DataFrame] = []
    for piece in pieces:
        beginning.append(piece)
        if sum(map(len, beginning)) > most_rows(piece.shape[1]):
            found = _Pass(piece, seed, kinds, split=split, copies=True).over(chain(_popped(beginning), pieces))
            return found.sample(found.others(lambda: _aligned(table)))
    if not beginning:
        raise DataError("The table has no rows; at least one is needed.")
    return TrainingSample(numbered(stacked(beginning)))


def with_keys(pieces: Iterable[pd.DataFrame], seed: int, first: int = 0) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Pieces, each with the random keys of its rows, (rows,) uint64; ``first`` rows of the table precede them."""
    generator = np.random.PCG64([seed, 1])  # independent of the numbers that training draws from the seed
    generator.advance(first)
    for piece in pieces:
        yield piece, generator.random_raw(len(piece))


class SmallestKeys:
    """The rows with the smallest keys among the pieces seen so far, at most ``most``, in the table's order."""

    def __init__(self, most: int, largest: int = LARGEST_KEY) -> None:
        self.largest = largest  # rows with larger keys are dropped
        self._most, self._held = most, 0
        self._pieces: list[tuple[pd.DataFrame, np.ndarray]] = []

    def add(self, piece: pd.DataFrame, keys: np.ndarray) -> None:
        """Include the rows of a piece."""
        self._keep(piece, keys)
        if self._held > self._most + self._most // 4:
            self._drop()

    def join(self, later: "SmallestKeys") -> None:
        """Include the rows of a later part of the table, and drop those that it has found to be too many."""
        self.largest = min(self.largest, later.largest)
        for piece, keys in later._pieces:
            self.add(piece, keys)

    def bound(self) -> int:
        """The largest key that the rows can have now."""
        if self._held > self._most:
            self._drop()
        return self.largest

    def frames(self) -> list[pd.DataFrame]:
        """The rows, in pieces."""
        if self._held > self._most:
            self._drop()
        return [piece for piece, _ in self._pieces]

    def positions(self) -> np.ndarray:
        """Positions of the rows in the table."""
        return np.concatenate([np.empty(0, np.int64), *(frame.index.to_numpy() for frame in self.frames())])

    def _drop(self) -> None:
        keys = np.concatenate([keys for _, keys in self._pieces])
        self.largest = int(np.partition(keys, self._most - 1)[self._most - 1])
        pieces, self._pieces, self._held = self._pieces, [], 0
        for piece in pieces:
            self._keep(*piece)

    def _keep(self, piece: pd.DataFrame, keys: np.ndarray) -> None:
        low = keys <= self.largest
        if low.any():
            self._pieces.append((piece, keys) if low.all() else (piece[low], keys[low]))
            self._held += int(low.sum())


class _Pass:
    """
    One pass over a long table, which finds its first shard, the rows held out, and a survey of all training rows.

    With ``copies`` the cells of these rows are kept, otherwise only their positions. A part of the table begins at a
    ``place`` in it.
    """

    def __init__(
        self,
        beginning: pd.DataFrame,
        seed: int,
        kinds: Kinds,
        *,
        split: bool,
        copies: bool,
        place: "Place | None" = None,
    ) -> None:
        place = place or Place(most_rows(beginning.shape[1]))
        most = place.most
        self.first, self.rest = SmallestKeys(most, place.largest), SmallestKeys(most // 4, place.largest_rest)
        self.survey = Survey(beginning, kinds)
        self._seed, self._copies, self._row = seed, copies, place.row
        self._largest = largest_of_training(split=split)
        self._types: dict[tuple[str, ...], pd.DataFrame] = {}  # a row of each combination of column types

    def over(self, pieces: Iterable[pd.DataFrame]) -> Self:
        """Read all pieces."""
        for piece, keys in with_keys(pieces, self._seed, self._row):
            train = keys <= self._largest
            rows = piece if train.all() else piece[train]
            self.survey.see(rows)
            self.first.add(self._kept(rows), keys[train])
            if self._copies and len(self._types) < MOST_TYPES:
                self._types.setdefault(tuple(map(str, rows.dtypes)), rows[:1])
            if not train.all():
                self.rest.add(self._kept(piece[~train]), ~keys[~train])
        return self

    def join(self, later: "_Pass") -> None:
        """Include a part of the table that follows those seen so far."""
        self.survey.join(later.survey)
        self.first.join(later.first)
        self.rest.join(later.rest)
        for types, row in later._types.items():
            if len(self._types) < MOST_TYPES:
                self._types.setdefault(types, row)

    def _kept(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows if self._copies else rows.iloc[:, :0]

    def others(self, read: Callable[[], Iterable[pd.DataFrame]]) -> RemainingShards | None:
        """The training rows that are not in the first shard, if any; ``read`` reads the table again."""
        n_first, n_rows = len(self.first.positions()), self.survey.n_rows
        smallest = self.first.largest + 1
        return RemainingShards(read, self._seed, smallest, self._largest, n_rows, n_first) if n_first < n_rows else None

    def sample(self, others: RemainingShards | None) -> TrainingSample:
        """The rows found; with rows of every combination of types, so that a column gets the type of all pieces."""
        n_first, n_rest = len(self.first.positions()), len(self.rest.positions())
        types = list(self._types.values()) if len(self._types) > 1 else []
        frame = stacked([*self.first.frames(), *self.rest.frames(), *types])
        rows = np.arange(n_first + n_rest)
        return TrainingSample(frame, rows[:n_first], rows[n_first:], self.survey, others)


def largest_of_training(*, split: bool) -> int:
    """Largest key of a training row."""
    return int(LARGEST_KEY * (1 - HELD_OUT)) if split else LARGEST_KEY


class SpreadTable(ABC):
    """A table in parts that are read side by side, by other processes or machines."""

    @property
    @abstractmethod
    def columns(self) -> list[Any]:
        """Column names."""

    @abstractmethod
    def each(self, work: Callable[..., Any], place: Callable[[int], Any]) -> Iterator[Any]:
        """
        Results of ``work(pieces, place)`` on the parts of the table, in their order.

        Parameters
        ----------
        work
            Called where a part is, with an iterator of its pieces as frames, whose index is the position of the rows in
            the table, and with its place.
        place
            Called here, for one part after the other, with the number of its rows; returns its place.
        """


@dataclass(frozen=True)
class Place:
    """
    Where a part of a table begins, and which of its rows can be in the sample.

    Attributes
    ----------
    most
        Number of rows of a shard.
    row
        Number of rows before the part.
    largest, largest_rest
        Largest key of rows that can be in the first shard, and largest complement of a key of rows held out, given the
        number of rows up to the end of the part.
    is_short
        True if the table up to the end of the part is no longer than a shard.
    """

    most: int
    row: int = 0
    largest: int = LARGEST_KEY
    largest_rest: int = LARGEST_KEY
    is_short: bool = False


class _Places:
    """The places of the parts of a table; keys are all that is needed."""

    def __init__(self, most: int, seed: int, *, split: bool) -> None:
        self.n_rows = 0
        self._most, self._largest = most, largest_of_training(split=split)
        self._first, self._rest = SmallestKeys(most), SmallestKeys(most // 4)
        self._keys = np.random.PCG64([seed, 1])  # as in `with_keys`

    def next(self, n_rows: int) -> Place:
        """The place of the next part, which has ``n_rows`` rows."""
        begin, self.n_rows = self.n_rows, self.n_rows + n_rows
        for first in range(begin, self.n_rows, KEYS_AT_ONCE):
            rows = pd.DataFrame(index=pd.RangeIndex(first, min(first + KEYS_AT_ONCE, self.n_rows)))
            keys = self._keys.random_raw(len(rows))
            train = keys <= self._largest
            self._first.add(rows[train], keys[train])
            self._rest.add(rows[~train], ~keys[~train])
        return Place(self._most, begin, self._first.bound(), self._rest.bound(), self.n_rows <= self._most)


def _draw_spread(table: SpreadTable, seed: int, *, split: bool, kinds: Kinds) -> TrainingSample:
    """As `draw`; the parts of the table are surveyed side by side."""
    places = _Places(most_rows(len(table.columns)), seed, split=split)
    work = partial(_survey_part, names=table.columns, seed=seed, kinds={**kinds}, split=split)
    beginning: list[pd.DataFrame] = []
    whole: _Pass | None = None
    for frames, found in table.each(work, places.next):
        beginning += frames
        if whole is None:
            whole = found
        elif found is not None:
            whole.join(found)
    if whole is None:
        raise DataError("The table has no rows; at least one is needed.")
    if sum(map(len, beginning)) == places.n_rows:
        return TrainingSample(numbered(stacked(beginning)))
    others = whole.others(lambda: ())
    return whole.sample(None if others is None else _SpreadShards(**vars(others), table=table))


def _survey_part(
    pieces: Iterable[pd.DataFrame], place: Place, *, names: list[Any], seed: int, kinds: Kinds, split: bool
) -> tuple[list[pd.DataFrame], _Pass | None]:
    """All rows of a part that may belong to a short table, and what a pass over the part finds; None without rows."""
    read = _aligned(pieces, names)
    first = next(read, None)
    if first is None:
        return [], None
    beginning = [first, *read] if place.is_short else []
    found = _Pass(first, seed, kinds, split=split, copies=True, place=place)
    return beginning, found.over(beginning or chain([first], read))


@dataclass(frozen=True, eq=False)
class _SpreadShards(RemainingShards):
    """The same rows of a table in parts; each part is searched where it is."""

    table: SpreadTable

    def _find(self, lowest: int, highest: int) -> tuple[list[pd.DataFrame], int]:
        first = [0, 0]

        def place(n_rows: int) -> int:
            first[:] = first[1], first[1] + n_rows
            return first[0]

        work = partial(
            _search_part,
            names=self.table.columns,
            seed=self.seed,
            lowest=lowest,
            highest=highest,
            largest=self.largest,
        )
        found = [*self.table.each(work, place)]
        return [frame for frames, _ in found for frame in frames], sum(n_rows for _, n_rows in found)


def _search_part(
    pieces: Iterable[pd.DataFrame],
    first: int,
    *,
    names: list[Any],
    seed: int,
    lowest: int,
    highest: int,
    largest: int,
) -> tuple[list[pd.DataFrame], int]:
    return rows_between(_aligned(pieces, names), seed, lowest, highest, largest, first)


def _popped(pieces: list[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The pieces of a list, each removed from it, so that its memory can be freed."""
    pieces.reverse()
    while pieces:
        yield pieces.pop()


def _aligned(pieces: Iterable[pd.DataFrame], names: list[Any] | None = None) -> Iterator[pd.DataFrame]:
    """Small pieces with the columns ``names``, or in the order of the first piece; other columns are a DataError."""
    for frame in pieces:
        given = column_names(frame)
        names = names or given
        if set(given) != set(names):
            raise DataError(
                f"The table's columns change in row {frame.index[0] + 1}: {listed_names(given)} follow "
                f"{listed_names(names)}. Bring all of it into the same columns."
            )
        yield from in_pieces_of_rows(frame if given == names else frame[names])
