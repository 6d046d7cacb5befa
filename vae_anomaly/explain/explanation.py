"""Why a row is odd: for each of its cells the nats, the value seen, the value expected beside the others, in words."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import Cell
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema
from vae_anomaly.explain.neighbours import SimilarRows, heard_columns
from vae_anomaly.fitted import ReferenceRows
from vae_anomaly.formatting import cell_text, is_missing, percent
from vae_anomaly.scoring.scorer import Scorer, column_contributions

LATENT = "(latent)"  # the part of a score that belongs to no column
TOGETHER = "columns that do not go together"
DIGITS = 12  # of a number that come back as they were
LARGEST_POWER = 250  # of ten, up to which a number is rounded
POWERS = 10.0 ** np.arange(-LARGEST_POWER - DIGITS, LARGEST_POWER + DIGITS + 1)


@dataclass(frozen=True)
class Explanation:
    """Frames of one index: ``nats`` and ``surprise`` have a column for the latent term, the others have not.

    ``share`` is the share of training rows that hold the value seen, of columns of values; NaN for numbers.
    """

    nats: pd.DataFrame
    surprise: pd.DataFrame
    value: pd.DataFrame
    expected: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    share: np.ndarray

    @cached_property
    def _is_missing(self) -> np.ndarray:
        """Where nothing was seen, (rows, columns)."""
        return self.value.isna().to_numpy()

    def wide(self) -> pd.DataFrame:
        """A column for each figure and each column of the table."""
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
                "reason": [self._reason(*place) for place in zip(rows.tolist(), columns.tolist(), strict=True)],
            }
        )

    def reasons(self, most: int) -> list[str]:
        """The most surprising cells of each row in words, worst first; none that is no surprise."""
        surprise = self.surprise.to_numpy()
        texts = []
        for row, columns in enumerate(self._order()):
            odd = (int(column) for column in columns if surprise[row, column] > 0)
            found = [text for column in odd if column < self.value.shape[1] and (text := self._reason(row, column))]
            texts.append("; ".join(found[:most]) or (TOGETHER if len(columns) > 2 and surprise[row].max() > 0 else ""))
        return texts

    def _order(self) -> np.ndarray:
        """Columns of each row, the most surprising first."""
        return np.argsort(-self.surprise.to_numpy(), 1, kind="stable")

    def _reason(self, row: int, column: int) -> str:
        """One cell in words; nothing of a missing one."""
        if column == self.value.shape[1]:
            return TOGETHER
        name, value = self.value.columns[column], self.value.iat[row, column]
        if self._is_missing[row, column]:
            return ""
        if not np.isnan(share := self.share[row, column]):
            expected = self.expected.iat[row, column]
            seen = "not seen in training" if share == 0 else f"seen in {percent(share)}"
            other = (
                "" if is_missing(expected) or _quoted(expected) == _quoted(value) else f", expected {_quoted(expected)}"
            )
            return f"{name} {_quoted(value)}, {seen}{other}"
        low, high = cell_text(self.low.iat[row, column]), cell_text(self.high.iat[row, column])
        return f"{name} {cell_text(value)}, expected {low if low == high else f'{low} to {high}'}"


def explain(
    scorer: Scorer,
    reference: ReferenceRows,
    schema: Schema | PixelSchema,
    usual: list[float],
    x: np.ndarray,
    value: pd.DataFrame,
) -> Explanation:
    """Explain encoded rows ``x`` (rows, cells).

    Parameters
    ----------
    scorer : Scorer
        The trained model.
    reference : Reference
        Rows that expectations come from.
    schema : Schema or PixelSchema
        From cells to values and back.
    usual : list of float
        Usual nats of each column and of the latent term.
    x : ndarray
        (rows, cells).
    value : DataFrame
        The same rows as they came, the columns in use in their order; its index names the rows.
    """
    nats = pd.DataFrame(
        column_contributions(scorer, x, schema.cells), columns=[*schema.names, LATENT], index=value.index
    )
    surprise = nats - usual
    heard = heard_columns(surprise.to_numpy()[:, :-1])
    found = SimilarRows(reference, schema.cells).expected(x, heard)
    expected, low, high = (
        rounded(schema.decode(cells)).set_axis(value.index) for cells in (found.cells, found.low, found.high)
    )
    share = _shares(reference.cells, x, schema.cells)
    without_range = [name for name, of_column in zip(schema.names, share.T, strict=True) if not np.isnan(of_column[0])]
    low[without_range] = high[without_range] = None
    return Explanation(nats, surprise, value, expected, low, high, share)


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as they were before they were standardised: the last digits are rounding."""
    floats = frame.dtypes.map(lambda dtype: dtype == np.float64).to_numpy()
    frame.isetitem(np.flatnonzero(floats).tolist(), _to_digits(frame.iloc[:, floats].to_numpy()))
    return frame


def _to_digits(numbers: np.ndarray) -> np.ndarray:
    size = np.abs(numbers)
    usual = (size > 10.0**-LARGEST_POWER) & (size < 10.0**LARGEST_POWER)
    order = np.floor(np.log10(size, where=usual, out=np.zeros_like(size))).astype(int)
    unit = POWERS[DIGITS - 1 - order + LARGEST_POWER + DIGITS]
    return np.where(usual, np.rint(np.where(usual, numbers, 0.0) * unit) / unit, numbers)


def cells_of(frame: pd.DataFrame, rows: np.ndarray, columns: np.ndarray) -> pd.Series:
    """Single cells of a frame, whatever their types, (cells,); None beyond its last column."""
    values = [*(frame.iloc[:, column].astype(object).tolist() for column in range(frame.shape[1])), [None] * len(frame)]
    cells = [values[column][row] for row, column in zip(rows.tolist(), columns.tolist(), strict=True)]
    return pd.Series(cells, dtype=object)


def _quoted(value: object) -> str:
    return f"'{cell_text(value)}'" if isinstance(value, str) else cell_text(value)


def _shares(reference: np.ndarray, x: np.ndarray, cells: list[Cell]) -> np.ndarray:
    """Share of the reference rows, of those that are not missing, that hold each value, (rows, columns).

    NaN where the column begins with a number.
    """
    shares = np.full((len(x), 1 + max(cell.column for cell in cells)), np.nan)
    for place, cell in enumerate(cells):
        if cell.is_number or any(other.column == cell.column for other in cells[:place]):
            continue  # of a date, weekday and hour come after the number
        seen, counts = np.unique(reference[~np.isnan(reference[:, place]), place], return_counts=True)
        known = dict(zip(seen.tolist(), (counts / max(1, counts.sum())).tolist(), strict=True))
        shares[:, cell.column] = [known.get(value, 0.0) for value in x[:, place].tolist()]
    return shares
