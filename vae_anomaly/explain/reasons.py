"""Reasons in words: what is said of a cell that is anomalous given the other cells of its row.

A number is anomalous outside the central range of the rows that are similar in the other columns. Any other value is
anomalous if it is rare: among the similar rows or in the whole table, values at most as frequent are few.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from numbers import Real

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import CodeCell
from vae_anomaly.explain.neighbours import CENTRAL, RARE, Expected
from vae_anomaly.explain.reference import ReferenceFacts
from vae_anomaly.formatting import cell_text, column_texts, percent, quoted

SELDOM = 0.005  # fraction of the rows up to which a value is rare whatever is beside it
LEAST_OF_PAIR = 1.0  # nats of surprise from which values that are ordinary by themselves are compared in pairs
LEAST_OF_NUMBERS = 3.0  # nats of the most surprising column from which numbers are compared in pairs
MOSTLY = 0.5  # fraction of the rows from which a value is the usual one
TIMES_RARER = 10  # than the level that a value is probably meant to be


@dataclass(frozen=True)
class Reasons:
    """Reasons of single cells of some rows.

    Attributes
    ----------
    x : ndarray
        (rows, cells) encoded rows.
    value, expected, low, high : DataFrame
        (rows, columns): the value seen, the one expected, and the ends of the range that is expected of a number.
    surprise : ndarray
        (rows, columns) nats above the baseline.
    similar : Expected
        What is expected, encoded.
    facts : ReferenceFacts
        Facts about the reference rows.
    """

    x: np.ndarray
    value: pd.DataFrame
    expected: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    surprise: np.ndarray
    similar: Expected
    facts: ReferenceFacts

    def of(self, row: int, column: int) -> str:
        """One cell in words; "" unless it is anomalous given the others."""
        if not self.columns[row, column]:
            return ""
        name, value = self.value.columns[column], self.value.iat[row, column]
        first = self.facts.first[column]
        cell, is_anomalous = self.x[row, first], self._anomalous[row, first]
        if np.isnan(cell):
            empty, same = self.facts.missing[column], self.similar.same[row, first]
            often = f"{percent(empty)} of rows" if empty <= RARE else f"{percent(same)} of similar rows"
            return f"{name} is missing; empty in {often}" if is_anomalous else ""
        if np.isposinf(cell):
            ends = self.low.iat[row, column], self.high.iat[row, column]
            is_number, noun = self.facts.cells[column].is_number, self.facts.schema.columns[column].noun
            expected = _range(*self._texts(column, *ends)) if is_number else quoted(self.expected.iat[row, column])
            return f"{name} {quoted(value)} is not a {noun}, expected {expected}"
        if self.facts.cells[column].is_number:
            said = is_anomalous and self._number(row, column) or self._part_of_date(row, column)
        else:
            said = self._level(row, column, is_anomalous)
        return f"{name} {said}" if said else ""

    def of_pair(self, row: int) -> tuple[int, str]:
        """The column of the number that goes least with another number of its row, and why; "" if all go together.

        Only the most surprising numbers are compared.
        """
        most = 3
        columns = [
            column
            for column in np.argsort(-self.surprise[row], kind="stable")[:most].tolist()
            if self.facts.cells[column].is_number
            and self.surprise[row, column] >= LEAST_OF_PAIR
            and np.isfinite(self.x[row, self.facts.first[column]])
        ]
        found = [(0.0, -1, "")]
        if self.surprise[row].max() < LEAST_OF_NUMBERS:
            return found[0][1:]
        for column, partner in permutations(columns, 2):
            if near := self.facts.near(self.x[row], column, partner):
                low, high, fraction = near
                number = self.x[row, self.facts.first[column]]
                distance = max(low - number, number - high) / max(high - low, np.finfo(float).tiny)
                ends = (self.facts.value(column, end) for end in (low, high))
                seen, *texts = self._texts(column, self.value.iat[row, column], *ends)
                (beside,) = self._texts(partner, self.value.iat[row, partner])
                name, other = self.value.columns[column], self.value.columns[partner]
                often = f"{_range(*texts)} in {percent(fraction)} of rows with about this {other}"
                found.append((distance, column, f"{name} {seen} with {other} {beside}: {often}"))
        return max(found, key=lambda pair: pair[0])[1:]

    @cached_property
    def columns(self) -> np.ndarray:
        """Columns that can be reasons, (rows, columns) bool; for all others `of` gives ""."""
        found = np.zeros(self.value.shape, bool)
        for index, cell in enumerate(self.facts.schema.cells):
            found[:, cell.column] |= self._anomalous[:, index]
            if not cell.is_number and index == self.facts.first[cell.column]:
                found[:, cell.column] |= self.surprise[:, cell.column] >= LEAST_OF_PAIR
        return found & (self.surprise > 0)

    @cached_property
    def _anomalous(self) -> np.ndarray:
        """Cells that are anomalous given the others, (rows, cells) bool."""
        similar, x = self.similar, self.x
        is_number = np.array([cell.is_number for cell in self.facts.schema.cells])
        is_rare = (similar.tail <= 1 - CENTRAL) | (self.facts.tails(x) <= RARE)
        anomalous: np.ndarray = np.where(is_number & ~np.isnan(x), (x < similar.low) | (x > similar.high), is_rare)
        return anomalous

    def _number(self, row: int, column: int) -> str:
        """A number or date outside its range; "" if rounding brings it inside."""
        value, low, high = (frame.iat[row, column] for frame in (self.value, self.low, self.high))
        if isinstance(value, Real) and low <= value <= high:  # decoded numbers are rounded
            return ""
        if within := self.facts.within(self.x[row], column):
            low, high = (self.facts.value(column, end) for end in (within.low, within.high))
            seen, *ends = self._texts(column, value, low, high)
            beside, often = self._beside(row, within.column), percent(self.facts.fraction_within(column, within))
            return f"{seen} with {beside}: {_range(*ends)} in {often} of these rows"
        seen, *ends = self._texts(column, value, low, high)
        return f"{seen}, expected {_range(*ends)}"

    def _part_of_date(self, row: int, column: int) -> str:
        """A date on an unusual weekday or at an unusual hour; "" if neither is rare among similar rows."""
        for index, cell in enumerate(self.facts.schema.cells):
            if cell.column == column and isinstance(cell, CodeCell) and self._anomalous[row, index]:
                code, usual = self.x[row, index], self.similar.cells[row, index]
                seen = f"{cell_text(self.value.iat[row, column])} ({cell.describe(code, None)})"
                return f"{seen}, {self._usually(row, index, cell.describe(usual, None))}"
        return ""

    def _level(self, row: int, column: int, is_anomalous: bool) -> str:
        """A category or truth value that is anomalous, or rare beside the value of another column."""
        facts, index, value = self.facts, self.facts.first[column], self.value.iat[row, column]
        code, seen = self.x[row, index], facts.text_of(column, value)
        frequency, expected = facts.frequency(column, code), facts.text_of(column, self.expected.iat[row, column])
        n_sharing = facts.n_sharing(column, code)
        own, close = frequency / n_sharing, None  # levels that share a code are about as rare as one another
        if isinstance(value, str) and own < RARE and (is_anomalous or n_sharing > 1):
            close = facts.close_level(column, value)
        if close is not None and facts.level_frequency(column, close) < TIMES_RARER * own:
            close = None
        meant = f", close to {quoted(close)}" if close is not None else f", expected {expected}"
        if code >= facts.cells[column].unseen:
            return f"{seen} is new{meant}"
        if n_sharing > 1:
            return f"{seen} is one of {n_sharing:,} rare values{meant}"
        together = facts.together(self.x[row], column) if frequency > SELDOM and close is None else None
        if together is not None:
            beside, partner = self._beside(row, together.column), self.value.columns[together.column]
            often = f"together in {percent(together.fraction)} of its rows" if together.fraction else "never together"
            usual = facts.text_of(column, facts.value(column, together.usual))
            usual = f"{usual} in {percent(together.usual_fraction)}"
            tail = f"; {usual} of rows with this {partner}" if together.usual_fraction >= MOSTLY else ""
            return f"{seen} with {beside}: {often}{tail}"
        if not is_anomalous or seen == expected:
            return ""
        if frequency <= RARE or close is not None:
            return f"{seen}, seen in {percent(frequency)}{meant}"
        return f"{seen}, {self._usually(row, index, expected)}"

    def _usually(self, row: int, index: int, expected: str) -> str:
        """How often similar rows hold the expected value, or the value seen if they do not agree."""
        agreement, same = self.similar.agreement[row, index], self.similar.same[row, index]
        if agreement >= MOSTLY:
            return f"but {expected} in {percent(agreement)} of similar rows"
        return f"seen in {percent(same)} of similar rows"

    def _beside(self, row: int, column: int) -> str:
        return f"{self.value.columns[column]} {self.facts.text_of(column, self.value.iat[row, column])}"

    def _texts(self, column: int, *values: object) -> list[str]:
        return column_texts(values, self.facts.decimals[column])


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
