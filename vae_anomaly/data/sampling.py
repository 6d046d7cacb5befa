"""Which rows of a long table training sees: uniform shards of it, with no row in two."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Self

import numpy as np
import pandas as pd

from vae_anomaly.data.infer import Survey
from vae_anomaly.data.parse import column_names, in_pieces_of_rows, numbered, stacked
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import listed_names

TRAINING_ROWS = 2**18
TRAINING_CELLS = 2**25  # 256 MiB of numbers: a wide table has fewer rows in a share,
FEWEST_ROWS = 2**12  # but not fewer than set the threshold
HELD_OUT = 0.2  # share of the rows that are kept from training, where some are
MOST_TYPES = 64  # of a table whose pieces come in other types than one another
LARGEST_KEY = 2**64 - 1


def most_rows(n_columns: int) -> int:
    """Rows of a share of a table with so many columns."""
    return max(FEWEST_ROWS, min(TRAINING_ROWS, TRAINING_CELLS // max(1, n_columns)))


@dataclass(frozen=True, eq=False)
class RemainingShards:
    """
    The rows of a long table that were not drawn first.

    ``pieces`` reads the table, ``seed`` gives the keys; the rows with keys from ``least`` to ``largest`` are divided.
    ``n_rows`` of the table are for training, ``n_first`` of them were drawn first.
    """

    pieces: Callable[[], Iterable[pd.DataFrame]]
    seed: int
    least: int
    largest: int
    n_rows: int
    n_first: int

    @property
    def n_shards(self) -> int:
        """Shares beside the first, as long as it is or a little shorter."""
        return math.ceil((self.n_rows - self.n_first) / self.n_first)

    def number(self, used: int) -> int:
        """Share that is due when so many rows have been used: the first, 0, to begin with and after the last."""
        left = used % self.n_rows - self.n_first
        return 0 if left < 0 else 1 + left * self.n_shards // (self.n_rows - self.n_first)

    def read(self, number: int) -> pd.DataFrame:
        """The rows of a share from 1 on, in the order of the table, all of which is read."""
        width = (self.largest - self.least) // self.n_shards + 1
        lowest = self.least + (number - 1) * width
        highest = min(lowest + width - 1, self.largest)
        found, n_rows = [], 0
        for piece, keys in with_keys(self.pieces(), self.seed):
            found.append(piece[(keys >= lowest) & (keys <= highest)])
            n_rows += int((keys <= self.largest).sum())
        if n_rows != self.n_rows:
            raise DataError("The table has changed since it was first read. Fit again when it no longer does.")
        return stacked([piece for piece in found if len(piece)])


@dataclass(frozen=True, eq=False)
class TrainingSample:
    """
    Rows of a table to learn from.

    Attributes
    ----------
    frame
        The table; or the rows at hand of one that is longer, with their positions in it as the index.
    places
        Rows of the frame to train on, rising; None for all.
    held_out
        Rows of the frame that are kept from training and from the survey, rising; None where nothing is decided.
    survey
        What all rows for training tell; None where they are at hand.
    others
        The rows for training that are not at ``places``.
    """

    frame: pd.DataFrame
    places: np.ndarray | None = None
    held_out: np.ndarray | None = None
    survey: Survey | None = None
    others: RemainingShards | None = None


def draw(table: pd.DataFrame | Iterable[pd.DataFrame], seed: int, *, split: bool) -> TrainingSample:
    """
    Draw the first share of a table, or take all of one that is no longer.

    Parameters
    ----------
    table
        All of it is read once.
    seed
        Decides all chance.
    split
        Whether to hold a fifth of the rows of a long table back from training.
    """
    if not isinstance(table, pd.DataFrame):
        return _draw_from_pieces(table, seed, split)
    frame = numbered(table)
    if len(frame) <= most_rows(frame.shape[1]):
        return TrainingSample(frame)
    read = partial(in_pieces_of_rows, frame)
    found = _Reading(frame[:0], seed, split=split, copies=False).over(read())
    return TrainingSample(frame, found.first.positions(), found.rest.positions(), found.survey, found.others(read))


def _draw_from_pieces(table: Iterable[pd.DataFrame], seed: int, split: bool) -> TrainingSample:
    pieces = _alike(table)
    beginning: list[pd.DataFrame] = []
    for piece in pieces:
        beginning.append(piece)
        if sum(map(len, beginning)) > most_rows(piece.shape[1]):
            found = _Reading(piece, seed, split=split, copies=True).over(chain(_in_turn(beginning), pieces))
            return found.drawn(lambda: _alike(table))
    if not beginning:
        raise DataError("The table has no rows; one is the least.")
    return TrainingSample(numbered(stacked(beginning)))


def with_keys(pieces: Iterable[pd.DataFrame], seed: int) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Pieces with the key of each row, (rows,) uint64: the numbers of a generator in the order of the table."""
    generator = np.random.PCG64([seed, 1])  # not the numbers that training draws from the seed
    for piece in pieces:
        yield piece, generator.random_raw(len(piece))


class Least:
    """Rows with the least keys, at most so many, out of pieces that go by, in their order."""

    def __init__(self, most: int) -> None:
        self.largest = LARGEST_KEY  # key that is still of use
        self._most, self._held = most, 0
        self._pieces: list[tuple[pd.DataFrame, np.ndarray]] = []

    def add(self, piece: pd.DataFrame, keys: np.ndarray) -> None:
        """Take what is of use of a piece."""
        self._keep(piece, keys)
        if self._held > self._most + self._most // 4:
            self._drop()

    def frames(self) -> list[pd.DataFrame]:
        """The rows."""
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


class _Reading:
    """One reading of a long table: its first share, rows held out, and a survey of all rows for training.

    Rows are copied with their cells, or as positions alone.
    """

    def __init__(self, beginning: pd.DataFrame, seed: int, *, split: bool, copies: bool) -> None:
        most = most_rows(beginning.shape[1])
        self.first, self.rest = Least(most), Least(most // 4)
        self.survey = Survey(beginning)
        self._seed, self._copies = seed, copies
        self._largest = int(LARGEST_KEY * (1 - HELD_OUT)) if split else LARGEST_KEY  # of the rows for training
        self._types: dict[tuple[str, ...], pd.DataFrame] = {}  # a row in each combination of types

    def over(self, pieces: Iterable[pd.DataFrame]) -> Self:
        """Read all of it."""
        for piece, keys in with_keys(pieces, self._seed):
            train = keys <= self._largest
            if train.all():
                self._see(piece, keys)
            else:
                self._see(piece[train], keys[train])
                self.rest.add(self._kept(piece[~train]), ~keys[~train])
        return self

    def _see(self, rows: pd.DataFrame, keys: np.ndarray) -> None:
        self.survey.see(rows)
        self.first.add(self._kept(rows), keys)
        if self._copies and len(self._types) < MOST_TYPES:
            self._types.setdefault(tuple(map(str, rows.dtypes)), rows[:1])

    def _kept(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows if self._copies else rows.iloc[:, :0]

    def others(self, read: Callable[[], Iterable[pd.DataFrame]]) -> RemainingShards | None:
        """The rows for training beside the first share, if there are any; ``read`` reads the table again."""
        n_first, n_rows = len(self.first.positions()), self.survey.n_rows
        least = self.first.largest + 1
        return RemainingShards(read, self._seed, least, self._largest, n_rows, n_first) if n_first < n_rows else None

    def drawn(self, read: Callable[[], Iterable[pd.DataFrame]]) -> TrainingSample:
        """What was read, with all types that the table comes in."""
        n_first, n_rest = len(self.first.positions()), len(self.rest.positions())
        types = list(self._types.values()) if len(self._types) > 1 else []
        frame = stacked([*self.first.frames(), *self.rest.frames(), *types])
        places = np.arange(n_first + n_rest)
        return TrainingSample(frame, places[:n_first], places[n_first:], self.survey, self.others(read))


def _in_turn(pieces: list[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The pieces of a list, none of which is held any longer."""
    pieces.reverse()
    while pieces:
        yield pieces.pop()


def _alike(pieces: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Small pieces with the columns of the first, in its order."""
    names = None
    for frame in pieces:
        given = column_names(frame)
        names = names or given
        if set(given) != set(names):
            raise DataError(
                f"The table's columns change in row {frame.index[0] + 1}: {listed_names(given)} follow "
                f"{listed_names(names)}. Bring all of it into the same columns."
            )
        yield from in_pieces_of_rows(frame if given == names else frame[names])
