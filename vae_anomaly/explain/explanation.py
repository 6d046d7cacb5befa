"""Explanation of scores: for each cell its nats, the value seen, the value expected, and the reason in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import Cell
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema
from vae_anomaly.explain.neighbours import SimilarRows, informative_columns
from vae_anomaly.fitted import FittedModel
from vae_anomaly.formatting import cell_text, is_missing, percent
from vae_anomaly.scoring.scorer import column_contributions

LATENT = "(latent)"  # the part of a score that belongs to no column
TOGETHER = "columns that do not go together"  # reason of that part


@dataclass(frozen=True)
class Explanation:
    """Explained rows.

    Attributes
    ----------
    nats, surprise : DataFrame
        (rows, columns + 1): what each column adds to the score, and how much that is above the baseline. The last
        column is the latent term.
    value, expected, low, high : DataFrame
        (rows, columns): the value seen, the one expected, and the ends of the expected range of numbers.
    frequency : ndarray
        (rows, columns): fraction of the training rows that hold the value seen; NaN for numbers.
    nouns : ndarray
        (rows, columns): what an unreadable value is not, such as "number"; "" for other values.
    """

    nats: pd.DataFrame
    surprise: pd.DataFrame
    value: pd.DataFrame
    expected: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    frequency: np.ndarray
    nouns: np.ndarray

    def wide(self) -> pd.DataFrame:
        """A row for each row of the table, with two levels of columns: the figure, and the column of the table."""
        figures = ("nats", "surprise", "value", "expected", "low", "high")
        return pd.concat({name: getattr(self, name) for name in figures}, axis=1, names=["figure", "column"])

    def long(self) -> pd.DataFrame:
        """A row for each cell, those of one row of the table together, the most surprising first."""
        order, names = self._order(), self.nats.columns
        rows, columns = np.repeat(np.arange(len(order)), order.shape[1]), order.ravel()
        figures = {name: cells_of(getattr(self, name), rows, columns) for name in ("value", "expected", "low", "high")}
        return pd.DataFrame(
            {
                "row": self.nats.index[rows],
                "column": pd.Series([names[column] for column in columns], dtype=object),
                "nats": self.nats.to_numpy()[rows, columns],
                "surprise": self.surprise.to_numpy()[rows, columns],
                **figures,
                "reason": [self._reason(*cell) for cell in zip(rows.tolist(), columns.tolist(), strict=True)],
            }
        )

    def reasons(self, most: int) -> list[str]:
        """Reasons of the most surprising cells of each row, at most ``most``; "" if nothing is surprising."""
        surprise, n_columns = self.surprise.to_numpy(), self.value.shape[1]
        texts = []
        for row, columns in enumerate(self._order().tolist()):
            found: list[str] = []
            for column in columns:
                if len(found) == most or not surprise[row, column] > 0:
                    break
                if column < n_columns and (reason := self._reason(row, column)):
                    found.append(reason)
            if not found and n_columns > 1 and surprise[row].max() > 0:
                found = [TOGETHER]
            texts.append("; ".join(found))
        return texts

    def _order(self) -> np.ndarray:
        """Indices of the columns, (rows, columns + 1), the most surprising first."""
        return np.argsort(-self.surprise.to_numpy(), 1, kind="stable")

    def _reason(self, row: int, column: int) -> str:
        """One cell in words; "" for a missing cell."""
        if column == self.value.shape[1]:
            return TOGETHER
        name, value = self.value.columns[column], self.value.iat[row, column]
        if is_missing(value):
            return ""
        frequency = self.frequency[row, column]
        if np.isnan(frequency):
            low, high = cell_text(self.low.iat[row, column]), cell_text(self.high.iat[row, column])
            noun = self.nouns[row, column]
            fault = f"{_quoted(value)} is not a {noun}" if noun else cell_text(value)
            return f"{name} {fault}, expected {low if low == high else f'{low} to {high}'}"
        reason = f"{name} {_quoted(value)}, {f'seen in {percent(frequency)}' if frequency else 'not seen in training'}"
        expected = self.expected.iat[row, column]
        if is_missing(expected) or cell_text(expected) == cell_text(value):  # truth values may come as text
            return reason
        return f"{reason}, expected {_quoted(expected)}"


def explain(fitted: FittedModel, X: Any) -> Explanation:
    """Explain the scores of the rows ``X`` (rows, columns); the index of the frames is that of ``X``."""
    schema, reference = fitted.schema, fitted.reference
    table = fitted.frame_of(X)
    x, value = schema.encode(table), table[schema.names]
    contributions = column_contributions(fitted.scorer, x, schema.cells)
    nats = pd.DataFrame(contributions, columns=[*schema.names, LATENT], index=value.index)
    surprise = nats - fitted.missing.means
    similar = SimilarRows(reference, schema.cells)
    found = similar.expected(x, informative_columns(surprise.to_numpy()[:, :-1]))
    expected, low, high = (
        rounded(schema.decode(cells)).set_axis(value.index) for cells in (found.cells, found.low, found.high)
    )
    frequency = _frequencies(reference.cells, x, schema.cells, schema.n_rows)
    without_range = [name for name, has in zip(schema.names, ~np.isnan(frequency[0]), strict=True) if has]
    low[without_range] = high[without_range] = None
    return Explanation(nats, surprise, value, expected, low, high, frequency, _unreadable(schema, x))


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Decoded numbers rounded in place to 12 digits, since the last ones are the error of standardising and back."""
    digits, largest = 12, 250  # largest power of ten that is rounded, and the smallest: others could overflow
    powers = 10.0 ** np.arange(-largest - digits, largest + digits + 1)
    floats = np.flatnonzero(frame.dtypes.map(lambda dtype: dtype == np.float64))
    numbers = frame.iloc[:, floats].to_numpy()
    size = np.abs(numbers)
    regular = (size > 10.0**-largest) & (size < 10.0**largest)
    order = np.floor(np.log10(size, where=regular, out=np.zeros_like(size))).astype(int)
    unit = powers[digits - 1 - order + largest + digits]
    frame.isetitem(floats.tolist(), np.where(regular, np.rint(np.where(regular, numbers, 0.0) * unit) / unit, numbers))
    return frame


def cells_of(frame: pd.DataFrame, rows: np.ndarray, columns: np.ndarray) -> pd.Series:
    """Single cells of a frame as objects, (cells,); None beyond its last column."""
    values = [*(frame.iloc[:, column].astype(object).tolist() for column in range(frame.shape[1])), [None] * len(frame)]
    cells = [values[column][row] for row, column in zip(rows.tolist(), columns.tolist(), strict=True)]
    return pd.Series(cells, dtype=object)


def _quoted(value: object) -> str:
    return f"'{cell_text(value)}'" if isinstance(value, str) else cell_text(value)


def _unreadable(schema: Schema | PixelSchema, x: np.ndarray) -> np.ndarray:
    """What an unreadable value is not, (rows, columns) of text; "" for other values."""
    nouns = np.full((len(x), len(schema.names)), "", dtype=object)
    for row, cell in np.argwhere(np.isposinf(x)).tolist():
        column = schema.cells[cell].column
        nouns[row, column] = schema.columns[column].noun
    return nouns


def _frequencies(reference: np.ndarray, x: np.ndarray, cells: Sequence[Cell], n_rows: int) -> np.ndarray:
    """Fraction of the reference rows with a value that hold the value seen, (rows, columns); NaN for numbers.

    A value that only other training rows hold counts as one in ``n_rows``, a value never seen in training as none.
    """
    frequencies = np.full((len(x), 1 + max(cell.column for cell in cells)), np.nan)
    first_cells = {cell.column: index for index, cell in reversed([*enumerate(cells)])}  # of a date the number is first
    for column, index in first_cells.items():
        cell = cells[index]
        if not cell.is_number:
            seen, counts = np.unique(reference[~np.isnan(reference[:, index]), index], return_counts=True)
            known = dict(zip(seen.tolist(), (counts / max(1, counts.sum())).tolist(), strict=True))
            values = x[:, index].tolist()
            frequencies[:, column] = [known.get(value, (value < cell.unseen) / n_rows) for value in values]
    return frequencies
