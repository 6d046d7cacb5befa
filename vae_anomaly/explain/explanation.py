"""Explanation of scores: for each cell its nats, the value seen, the value expected, and the reason in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema
from vae_anomaly.explain.neighbours import SimilarRows, informative_columns
from vae_anomaly.explain.reasons import Reasons
from vae_anomaly.explain.reference import ReferenceFacts
from vae_anomaly.fitted import FittedModel, ReferenceRows
from vae_anomaly.scoring.scorer import column_contributions

LATENT = "(latent)"  # the part of a score that belongs to no column
TOGETHER = "columns that do not go together"  # reason of that part
SUBSTANTIAL = 0.5  # of the surprise of the first reason, from which a cell is a further one


@dataclass(frozen=True)
class Explanation:
    """Explained rows.

    Attributes
    ----------
    nats, surprise : DataFrame
        (rows, columns + 1): what each column adds to the score, and how much that is above the baseline. The last
        column is the latent term.
    value, expected, low, high : DataFrame
        (rows, columns): the value seen, the one expected given the other columns, and the ends of the range that is
        expected of a number.
    in_words : Reasons
        Which cells are anomalous given the others, and why.
    """

    nats: pd.DataFrame
    surprise: pd.DataFrame
    value: pd.DataFrame
    expected: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    in_words: Reasons

    def wide(self) -> pd.DataFrame:
        """A row for each row of the table, with two levels of columns: the figure, and the column of the table."""
        figures = ("nats", "surprise", "value", "expected", "low", "high")
        return pd.concat({name: getattr(self, name) for name in figures}, axis=1, names=["figure", "column"])

    def long(self) -> pd.DataFrame:
        """A row for each cell, those of one row of the table together, the most surprising first.

        Cells that are not anomalous given the others have no reason.
        """
        order, names = self._order(), self.nats.columns
        rows, columns = np.repeat(np.arange(len(order)), order.shape[1]), order.ravel()
        figures = {name: cells_of(getattr(self, name), rows, columns) for name in ("value", "expected", "low", "high")}
        reasons = [dict(self._named(row, columns)) for row, columns in enumerate(order)]
        surprise = self.surprise.to_numpy()
        for row in np.flatnonzero(surprise[:, -1] > 0).tolist():
            reasons[row][len(names) - 1] = TOGETHER
        return pd.DataFrame(
            {
                "row": self.nats.index[rows],
                "column": pd.Series([names[column] for column in columns], dtype=object),
                "nats": self.nats.to_numpy()[rows, columns],
                "surprise": surprise[rows, columns],
                **figures,
                "reason": [reasons[row].get(column, "") for row, column in zip(rows, columns, strict=True)],
            }
        )

    def reasons(self, most: int, rows: Sequence[int] | None = None) -> list[str]:
        """Reasons of each row, or of some ``rows``, at most ``most``, the most surprising first; "" if there are none.

        After the first, only cells whose surprise is a substantial part of its surprise are named. If no cell is
        anomalous given the others, the columns do not go together.
        """
        surprise, order, texts = self.surprise.to_numpy(), self._order(), []
        for row in range(len(order)) if rows is None else rows:
            columns = order[row]
            found: list[str] = []
            least = 0.0
            for column, reason in self._named(row, columns):
                if len(found) == most or surprise[row, column] < least:
                    break
                found.append(reason)
                least = least or SUBSTANTIAL * surprise[row, column]
            if not found and self.value.shape[1] > 1 and surprise[row].max() > 0:
                found = [TOGETHER]
            texts.append("; ".join(found))
        return texts

    def _named(self, row: int, columns: np.ndarray) -> Iterator[tuple[int, str]]:
        """Those of the ``columns`` that are reasons, with the reason in words; or else a pair of numbers."""
        is_named = False
        for column in columns[np.append(self.in_words.columns[row], False)[columns]].tolist():
            if reason := self.in_words.of(row, column):
                is_named = True
                yield column, reason
        if not is_named:
            column, reason = self.in_words.of_pair(row)
            if reason:
                yield column, reason

    def _order(self) -> np.ndarray:
        """Indices of the columns, (rows, columns + 1), the most surprising first."""
        return np.argsort(-self.surprise.to_numpy(), 1, kind="stable")


def explain(fitted: FittedModel, X: Any) -> Explanation:
    """Explain the scores of the rows ``X`` (rows, columns); the index of the frames is that of ``X``."""
    table = fitted.frame_of(X)
    x = fitted.schema.encode(table)
    nats = column_contributions(fitted.scorer, x, fitted.schema.cells)
    return explanation_of(table, x, nats, nats - fitted.missing.means, fitted.schema, fitted.reference)


def explanation_of(
    table: pd.DataFrame,
    x: np.ndarray,
    nats: np.ndarray,
    surprise: np.ndarray,
    schema: Schema | PixelSchema,
    reference: ReferenceRows,
) -> Explanation:
    """Explanation of the rows of a table.

    Parameters
    ----------
    table : DataFrame
        (rows, columns).
    x : ndarray
        (rows, cells), the same rows encoded.
    nats, surprise : ndarray
        (rows, columns + 1) contributions, and how much each is above the baseline.
    schema : Schema or PixelSchema
        Columns and their encoding.
    reference : ReferenceRows
        Encoded training rows.
    """
    value, facts = table[schema.names], ReferenceFacts(schema, reference)
    informative = informative_columns(surprise[:, :-1])
    similar = SimilarRows(reference, schema.cells).expected(x, informative)
    expected, low, high = (
        rounded(schema.decode(cells)).set_axis(value.index) for cells in (similar.cells, similar.low, similar.high)
    )
    without_range = [name for name, cell in zip(schema.names, facts.cells, strict=True) if not cell.is_number]
    low[without_range] = high[without_range] = None
    names = [*schema.names, LATENT]
    return Explanation(
        nats=pd.DataFrame(nats, columns=names, index=value.index),
        surprise=pd.DataFrame(surprise, columns=names, index=value.index),
        value=value,
        expected=expected,
        low=low,
        high=high,
        in_words=Reasons(x, value, expected, low, high, surprise[:, :-1], similar, facts),
    )


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
