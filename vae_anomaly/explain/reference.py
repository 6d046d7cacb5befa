"""Facts about the reference rows that reasons state: how often values occur, alone and together, and number ranges."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from typing import Any

import numpy as np

from vae_anomaly.data.columns import CategoryColumn, Cell, CodeCell
from vae_anomaly.data.parse import as_missing, label_of
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema
from vae_anomaly.explain.neighbours import CENTRAL
from vae_anomaly.fitted import ReferenceRows
from vae_anomaly.formatting import is_missing, quoted
from vae_anomaly.scoring.scorer import row_keys

LEAST_TOGETHER = 5.0  # times that two values would occur together by chance, below which their absence means little
CLEARLY = 10.0  # times rarer than by chance
LEAST_RANGE = 20  # rows that show the range of a number
MOST_COMPARED = 2000  # levels that a new one is compared with, the most frequent


@dataclass(frozen=True)
class Together:
    """Two values in one row: column and code of the partner, and how often they occur together elsewhere.

    ``fraction`` is that of the partner's rows which hold the value; ``usual`` is the code that they mostly hold, and
    ``usual_fraction`` how many do.
    """

    column: int
    code: int
    fraction: float
    usual: int
    usual_fraction: float


@dataclass(frozen=True)
class Within:
    """Central range of a number, encoded, in the rows that hold a value (column and code) in another column."""

    column: int
    code: int
    low: float
    high: float


class ReferenceFacts:
    """Counts and ranges of reference rows.

    Parameters
    ----------
    schema : Schema or PixelSchema
        Columns and their encoding.
    reference : ReferenceRows
        Encoded training rows.
    """

    def __init__(self, schema: Schema | PixelSchema, reference: ReferenceRows) -> None:
        self.schema = schema
        self._rows = as_missing(reference.cells)
        cells: Sequence[Cell] = schema.cells
        self.first = np.unique([cell.column for cell in cells], return_index=True)[1]  # of a date the number is first
        self.cells = [cells[index] for index in self.first]
        self._levels, self._counts, self._joint = cache(self._fold_levels), cache(self._count), cache(self._count_pairs)
        self._ranges, self._order = cache(self._find_ranges), cache(self._sort)
        self.close_level = cache(self._find_close)
        self._values = [column for column, cell in enumerate(self.cells) if not cell.is_number]

    @cached_property
    def _keys(self) -> set[int]:
        return set(row_keys(self._rows).tolist())

    @cached_property
    def missing(self) -> np.ndarray:
        """Fraction of the rows in which each column is missing, (columns,)."""
        fractions: np.ndarray = np.isnan(self._rows[:, self.first]).mean(0)
        return fractions

    def frequency(self, column: int, code: float) -> float:
        """Fraction of the rows with a value that hold the value of a code.

        A value that only other training rows hold counts as one in ``schema.n_rows``, one never seen as none.
        """
        if code >= self.cells[column].unseen:
            return 0.0
        counts = self._counts(column)
        return float(counts[int(code)] / counts.sum()) if counts[int(code)] else 1 / self.schema.n_rows

    def tails(self, x: np.ndarray) -> np.ndarray:
        """Fraction of the rows that hold values at most as frequent as those of encoded rows, (rows, cells).

        It is 1 for numbers. The probability of a value never seen is that of Good (1953): the number of values seen
        once out of all rows. A missing cell is a value, too; an unreadable one is none: 0.
        """
        tails = np.where(np.isposinf(x), 0.0, 1.0)
        for index, (cell, values) in enumerate(zip(self.schema.cells, x.T, strict=True)):
            missing = np.isnan(values)
            if missing.any():
                tails[missing, index] = (np.isnan(self._rows[:, index]).sum() + 1) / (len(self._rows) + 1)
            if not cell.is_number:
                known, readable = self._rows[:, index], np.isfinite(values)
                counts = np.bincount(known[known < cell.unseen].astype(int), minlength=cell.unseen + 1)
                ordered = np.sort(counts)
                mass = np.cumsum(ordered)[np.searchsorted(ordered, counts, "right") - 1]
                rare = np.maximum(mass, counts[counts == 1].sum()) / max(1, counts.sum())
                tails[readable, index] = rare[values[readable].astype(int)]
        return tails

    def together(self, x: np.ndarray, column: int) -> Together | None:
        """A value of another column beside which the value of an encoded row (cells,) is clearly rarer than by chance.

        Both values are ordinary: they would meet in several rows by chance. The row itself does not count.
        """
        own, found = x[self.first[column]], []
        itself = int(row_keys(as_missing(x[None]))[0] in self._keys)
        for partner in self._values:
            other = x[self.first[partner]]
            if partner == column or not other < self.cells[partner].unseen or not own < self.cells[column].unseen:
                continue
            counts = self._joint(column, partner)
            own_count, count, both = (
                int(part) - itself
                for part in (counts[int(own)].sum(), counts[:, int(other)].sum(), counts[int(own), int(other)])
            )
            chance = own_count * count / max(1, counts.sum() - itself)
            if chance >= LEAST_TOGETHER and both * CLEARLY <= chance:
                of_partner = counts[:, int(other)]
                usual = int(of_partner.argmax())
                fraction = of_partner[usual] / (count + itself)
                strength = np.log(chance / (both + 0.5)) + np.log(fraction)
                found.append((strength, Together(partner, int(other), both / count, usual, fraction)))
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def within(self, x: np.ndarray, column: int) -> Within | None:
        """The value of an encoded row (cells,) in another column that its number in ``column`` does not go with.

        The number lies inside the central range of all rows and outside that of the rows with this value, which is at
        most half as wide.
        """
        number, found = x[self.first[column]], []
        low, high = self._ranges(column, None)[0]
        if not low <= number <= high:
            return None
        for partner in self._values:
            other = x[self.first[partner]]
            if other < self.cells[partner].unseen:
                first, last = self._ranges(column, partner)[int(other)]
                if last - first <= 0.5 * (high - low) and not first <= number <= last:
                    found.append(Within(partner, int(other), float(first), float(last)))
        return min(found, key=lambda within: within.high - within.low, default=None)

    def near(self, x: np.ndarray, column: int, partner: int) -> tuple[float, float, float] | None:
        """Central range of a number in the rows with about the same number in another column as the encoded row.

        The third figure is the fraction of these rows in the range; None if the number lies inside, or too few show it.
        """
        order, ordered = self._order(partner)
        if len(order) < 2 * LEAST_RANGE:
            return None
        start = np.searchsorted(ordered, x[self.first[partner]]) - LEAST_RANGE
        start = min(max(0, start), len(order) - 2 * LEAST_RANGE)
        ends = ordered[[start, start + 2 * LEAST_RANGE - 1]]  # rows with the same number are all taken
        rows = order[np.searchsorted(ordered, ends[0], "left") : np.searchsorted(ordered, ends[1], "right")]
        near = np.sort(self._rows[rows, self.first[column]])
        near = near[~np.isnan(near)]
        if len(near) < LEAST_RANGE:
            return None
        low, high = near[_ends(len(near))].tolist()
        inside = low <= x[self.first[column]] <= high
        return None if inside else (low, high, float(((near >= low) & (near <= high)).mean()))

    def fraction_within(self, column: int, within: Within) -> float:
        """Fraction of the rows with the value of the other column in which the number is inside the range."""
        numbers = self._rows[self._rows[:, self.first[within.column]] == within.code, self.first[column]]
        numbers = numbers[~np.isnan(numbers)]
        return float(((numbers >= within.low) & (numbers <= within.high)).mean())

    def _find_close(self, column: int, value: str) -> str | None:
        """The known level of a category that a value is probably meant to be: other case, blanks or few other letters.

        Levels that differ in a digit are different things. It begins or ends alike, and has about as many letters.
        """
        levels, meant, fewest = (
            self._levels(column),
            _folded(value),
            4,
        )  # letters, in which a wrong one is a misspelling
        if meant in levels and levels[meant] != value:
            return levels[meant]
        alike = [
            text
            for text in levels
            if (text[:1] == meant[:1] or text[-1:] == meant[-1:])
            and abs(len(text) - len(meant)) <= 1
            and levels[text] != value
            and _digits(text) == _digits(meant)
        ]
        close = get_close_matches(meant, alike, n=1, cutoff=0.8) if len(meant) >= fewest else []
        return levels[close[0]] if close else None

    def level_frequency(self, column: int, level: str) -> float:
        """Fraction of the rows with a value that hold a level of a category."""
        described = self.schema.columns[column]
        assert isinstance(described, CategoryColumn)
        counts, code = self._counts(column), described.codes[level]
        return float(counts[code] / max(1, counts.sum())) / self.n_sharing(column, code)

    def n_sharing(self, column: int, code: float) -> int:
        """Number of levels that share a code; 1 if the code stands for one."""
        cell = self.cells[column]
        return round(np.exp(cell.spread[int(code)])) if isinstance(cell, CodeCell) and code < cell.unseen else 1

    @cached_property
    def decimals(self) -> list[int | None]:
        """Decimals of the numbers of each column; None where they have many."""
        table = self.schema.decode(self._rows)
        return [_decimals(table.iloc[:, column].to_numpy()) for column in range(len(self.cells))]

    def value(self, column: int, code: float) -> Any:
        """An encoded value of a column, decoded."""
        row = np.full((1, len(self.schema.cells)), np.nan)
        row[0, self.first[column]] = code
        return self.schema.decode(row).iat[0, column]

    def text_of(self, column: int, value: Any) -> str:
        """A value of a column as text: as `quoted`, but a number that is a category without signs between digits."""
        described = self.schema.columns[column]
        is_label = isinstance(described, CategoryColumn) and described.are_numbers and not is_missing(value)
        return label_of(value) if is_label else quoted(value)

    def _fold_levels(self, column: int) -> dict[str, str]:
        """Text levels of a category, the most frequent of those that differ only in case and blanks."""
        described = self.schema.columns[column]
        levels = described.levels[:MOST_COMPARED] if isinstance(described, CategoryColumn) else ()
        return {_folded(level): level for level in reversed(levels) if isinstance(level, str)}

    def _count(self, column: int) -> np.ndarray:
        """Rows of each code, (codes,)."""
        values, unseen = self._rows[:, self.first[column]], self.cells[column].unseen
        return np.bincount(values[values < unseen].astype(int), minlength=unseen)

    def _count_pairs(self, column: int, partner: int) -> np.ndarray:
        """Rows of each pair of codes, (codes, codes of the partner)."""
        values, others = self._rows[:, self.first[column]], self._rows[:, self.first[partner]]
        n, m = self.cells[column].unseen, self.cells[partner].unseen
        both = (values < n) & (others < m)
        pairs = values[both].astype(int) * m + others[both].astype(int)
        return np.bincount(pairs, minlength=n * m).reshape(n, m)

    def _sort(self, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows in the order of a number, without those that lack it, and the number in that order."""
        numbers = self._rows[:, self.first[column]]
        order = np.argsort(numbers, kind="stable")
        order = order[: len(order) - np.isnan(numbers).sum()]
        return order, numbers[order]

    def _find_ranges(self, column: int, partner: int | None) -> np.ndarray:
        """Central range of a number for each code of the partner, (codes, 2), or in all rows, (1, 2).

        It is NaN where too few rows show it.
        """
        numbers = self._rows[:, self.first[column]]
        others = np.zeros(len(numbers)) if partner is None else self._rows[:, self.first[partner]]
        ranges = np.full((1 if partner is None else self.cells[partner].unseen, 2), np.nan)
        for code in range(len(ranges)):
            seen = np.sort(numbers[(others == code) & ~np.isnan(numbers)])
            if len(seen) >= LEAST_RANGE:
                ranges[code] = seen[_ends(len(seen))]
        return ranges


def _ends(count: int) -> np.ndarray:
    """Positions of the ends of the central range among ordered values."""
    ends: np.ndarray = np.rint(np.array([(1 - CENTRAL) / 2, (1 + CENTRAL) / 2]) * (count - 1)).astype(int)
    return ends


def _folded(level: str) -> str:
    return " ".join(level.split()).casefold()


def _digits(text: str) -> list[str]:
    return [letter for letter in text if letter.isdigit()]


def _decimals(values: np.ndarray) -> int | None:
    """Decimals that 98 % of the numbers have at most; None for more than six, and for other values."""
    most, nearly_all = 6, 0.98
    values = values[np.isfinite(values)] if values.dtype.kind in "fiu" else values[:0]
    for decimals in range(most + 1):
        if len(values) and np.isclose(values, values.round(decimals), rtol=1e-12, atol=0).mean() >= nearly_all:
            return decimals
    return None
