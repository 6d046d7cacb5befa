"""The most anomalous rows of a report, each with the reasons for its score: bars by column, or pictures of an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import CategoryColumn, FlagColumn
from vae_anomaly.explain.explanation import explain
from vae_anomaly.formatting import cell_text, is_missing, percent, with_minus
from vae_anomaly.report.pictures import Pictures
from vae_anomaly.report.scored_rows import ScoredRows

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

_LATENT = "(latent)"
_FIGURES = ("nats", "surprise", "value", "expected", "low", "high")


@dataclass(frozen=True)
class Reason:
    """One column of one row: its surprise in nats, the bar for it in percent, and its values as text.

    ``range`` is the usual range of a number; ``frequency`` is how many rows of the table have the value, if it is no
    number.
    """

    column: str | int
    seen: str
    frequency: str
    expected: str
    range: str
    nats: float
    left: float
    width: float

    @property
    def remark(self) -> str:
        """Difference between the value seen and those expected, in a few words."""
        expected = self.range or (self.expected if self.expected != self.seen else "")
        return "; ".join(part for part in (self.frequency, expected and f"expected {expected}") if part)


@dataclass(frozen=True)
class Reasons:
    """The columns with the highest surprise, and the number and sum of the others: all add up to the row's surprise.

    ``main`` has up to three of them, for one line of text.
    """

    shown: list[Reason]
    main: list[Reason]
    n_others: int
    others: float


@dataclass(frozen=True)
class AnomalousRow:
    """A row of the page's table: ``reasons`` if it has columns, ``pictures`` if it is an image.

    ``number`` counts from 1, ``kept`` are the values that identify the row, ``baseline`` is the score that it would
    have if each column contributed what is typical of it, ``surprise`` is the difference.
    """

    number: int
    kept: list[object]
    score: float
    p_value: float
    flagged: bool
    baseline: float
    surprise: float
    reasons: Reasons | None
    pictures: Pictures | None


def explain_rows(detector: "VAEDetector", scored: ScoredRows, n: int) -> list[AnomalousRow]:
    """The ``n`` most anomalous rows; only they are explained."""
    indices = scored.most_anomalous(n)
    explanations = Explanations.of(detector, scored.select(indices), scored.frame)
    shape = detector.image_shape
    return [
        AnomalousRow(
            number=row + 1,
            kept=["" if is_missing(value) else value for value in scored.kept.iloc[row]],
            score=float(scored.scores[row]),
            p_value=float(scored.p_values[row]),
            flagged=bool(scored.flagged[row]),
            baseline=explanations.baseline(index),
            surprise=float(scored.scores[row]) - explanations.baseline(index),
            reasons=explanations.reasons(index) if shape is None else None,
            pictures=None
            if shape is None
            else explanations.pictures(index, shape, detector.schema_.to_json()["range"]),
        )
        for index, row in enumerate(indices.tolist())
    ]


@dataclass(frozen=True, eq=False)
class Explanations:
    """Figures of an explanation for some rows, and the frequencies of values that are no numbers."""

    figures: dict[str, pd.DataFrame]
    frequencies: dict[str | int, pd.Series]

    @classmethod
    def of(cls, detector: "VAEDetector", rows: Any, frame: pd.DataFrame) -> Self:
        """Explain rows; ``frame`` is the whole table under the column names of the model."""
        parts: Any = explain(detector.model_, rows).wide()
        columns = [column for column in detector.schema_.columns if isinstance(column, FlagColumn | CategoryColumn)]
        return cls(
            {figure: parts[figure].reset_index(drop=True) for figure in _FIGURES},
            {column.name: frame[column.name].value_counts(normalize=True) for column in columns},
        )

    def baseline(self, index: int) -> float:
        """Score of a row if each column contributed what is typical of it."""
        return float((self.figures["nats"].iloc[index] - self.figures["surprise"].iloc[index]).sum())

    def reasons(self, index: int) -> Reasons:
        """Reasons for the score of a row, highest surprise first."""
        surprises = self.figures["surprise"].iloc[index].astype(float)
        order = surprises.sort_values(ascending=False, kind="stable").index[:12]
        low = min(0.0, float(surprises[order].min()))  # bars begin at 0, or right of it if one is negative
        size = max(0.0, float(surprises[order].max())) - low or 1.0
        shown = [self._reason(name, index, low, size) for name in order]
        least = 0.1 * max(float(surprises.sum()), 0.0)  # a smaller part of the surprise is no main reason
        highest = zip(order[:3], shown, strict=False)
        main = [reason for name, reason in highest if reason.nats > least and name != _LATENT]
        others = surprises.drop(order)
        return Reasons(shown, main or shown[:1], len(others), float(others.sum()))

    def _reason(self, name: Any, index: int, low: float, size: float) -> Reason:
        """Reason of one column; the bar is drawn on a scale from ``low`` nats that is ``size`` nats long."""
        nats = float(self.figures["surprise"][name].iloc[index])
        left, width = 100 * (min(nats, 0.0) - low) / size, 100 * abs(nats) / size
        if name == _LATENT:
            return Reason("the values together", "", "", "", "", nats, left, width)
        value, *others = (self.figures[figure][name].iloc[index] for figure in ("value", "expected", "low", "high"))
        expected, first, last = map(_expected_text, without_rounding_errors(others))
        frequency = ""
        if name in self.frequencies and not is_missing(value):
            frequency = f"in {percent(float(self.frequencies[name].get(value, 0.0)))} of rows"
        return Reason(
            column=name,
            seen=_signed_cell(value, digits=6),
            frequency=frequency,
            expected=expected,
            range=f"{first} to {last}" if first != last else "",
            nats=nats,
            left=left,
            width=width,
        )

    def pictures(self, index: int, shape: Sequence[int], extremes: tuple[float, float]) -> Pictures:
        """Pictures of an image; the darkest and the brightest pixel of training are black and white."""
        darkest, brightest = extremes
        seen, expected = (
            (self.figures[figure].iloc[index].to_numpy(np.float64, na_value=np.nan) - darkest) / (brightest - darkest)
            for figure in ("value", "expected")
        )
        surprise = self.figures["surprise"].iloc[index].drop(_LATENT).to_numpy(np.float64)
        return Pictures.of(seen, expected, surprise, shape)


def _signed_cell(value: Any, digits: int) -> str:
    """A cell, with a minus sign if it holds a number."""
    text = cell_text(value, digits, 60)
    return with_minus(text) if isinstance(value, Real) else text


def _expected_text(value: Any) -> str:
    """A value that the model expects; empty if there is none."""
    return "" if is_missing(value) else _signed_cell(value, digits=4)


def without_rounding_errors(values: list[Any]) -> list[Any]:
    """The values, with 0 for numbers below a millionth of the largest, which are rounding errors.

    Examples
    --------
    >>> without_rounding_errors([1e-17, 0.0, 0.08]), without_rounding_errors([None, "a", 1e-17])
    ([0.0, 0.0, 0.08], [None, 'a', 1e-17])
    """
    sizes = [abs(float(value)) if isinstance(value, float | np.floating) else math.inf for value in values]
    least = 1e-6 * max((size for size in sizes if math.isfinite(size)), default=0.0)
    return [0.0 if size < least else value for value, size in zip(values, sizes, strict=True)]
