"""The oddest rows, each with its reasons: what every column adds to the score beyond what is usual for it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.reports.labels import short_text
from vae_anomaly.reports.page.words import MOST, chance, expected, is_missing, nats, seen

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

LATENT = "(latent)"
TOGETHER = "the values together"  # what the latent term measures, in words
_FIGURES = ("nats", "surprise", "value", "expected", "low", "high")
_MOST_REASONS, _TELLING = 12, 3
_LEAST_TELLING = 0.1  # of a row's surprise: less is no reason


@dataclass(frozen=True)
class Reason:
    """One column of one row in words, with its surprise in nats and the bar for it in percent."""

    column: str
    seen: str
    expected: str
    range: str
    nats: float
    left: float
    width: float

    @property
    def otherwise(self) -> str:
        """What was expected instead of the value seen; nothing where it is just that."""
        return self.range or (self.expected if self.expected != self.seen else "")

    @property
    def surprise(self) -> str:
        """The nats in text."""
        return nats(self.nats)


@dataclass(frozen=True)
class OddRow:
    """A row of the page's table; ``row`` counts from 1, ``names`` are the values that it is known by."""

    row: int
    names: list[str]
    score: float
    p_value: float
    odd: bool
    telling: list[Reason]
    reasons: list[Reason]  # surprises and "others" add up to the score less what is usual
    n_others: int
    others: float
    usual: float

    @property
    def score_text(self) -> str:
        """The score as it is shown."""
        return nats(self.score)

    @property
    def p_text(self) -> str:
        """The p-value as it is shown."""
        return chance(self.p_value)

    @property
    def surprise(self) -> float:
        """Nats beyond what is usual."""
        return self.score - self.usual


def oddest_rows(
    detector: "VAEDetector", rows: Any, detected: pd.DataFrame, kept: pd.DataFrame, places: np.ndarray
) -> list[OddRow]:
    """The rows at these places of a table, in this order; only they are explained.

    Parameters
    ----------
    rows : DataFrame or ndarray
        The whole table.
    detected : DataFrame
        What ``detect`` says of it.
    kept : DataFrame
        Columns to know a row by.
    places : ndarray
        From 0.
    """
    parts = detector.explain(taken(rows, places))
    told = {figure: parts[figure].reset_index(drop=True) for figure in _FIGURES}
    flagged = taken(detected, places)
    return [
        _odd_row(line, place + 1, told, flagged.iloc[line], taken(kept, places).iloc[line])
        for line, place in enumerate(places.tolist())
    ]


def _odd_row(line: int, row: int, told: dict[str, pd.DataFrame], flagged: pd.Series, known_by: pd.Series) -> OddRow:
    """One row from what is told of it in one ``line`` of each figure."""
    surprises = told["surprise"].iloc[line].astype(float)
    order = surprises.sort_values(ascending=False, kind="stable").index[:_MOST_REASONS]
    scale = _Scale.of(surprises[order])
    reasons = [_reason(name, float(surprises[name]), told, line, scale) for name in order]
    least = _LEAST_TELLING * max(float(surprises.sum()), 0.0)
    telling = [reason for reason in reasons[:_TELLING] if reason.nats > least and reason.column != TOGETHER]
    return OddRow(
        row=row,
        names=["" if is_missing(value) else short_text(value, MOST) for value in known_by],
        score=float(flagged["anomaly_score"]),
        p_value=float(flagged["p_value"]),
        odd=bool(flagged["is_anomaly"]),
        telling=telling or reasons[:1],
        reasons=reasons,
        n_others=len(surprises) - len(reasons),
        others=float(surprises.drop(order).sum()),
        usual=float(told["nats"].iloc[line].sum() - surprises.sum()),
    )


def taken(rows: Any, places: np.ndarray) -> Any:
    """Some rows of a frame or an array."""
    return rows.iloc[places] if isinstance(rows, pd.DataFrame) else rows[places]


@dataclass(frozen=True)
class _Scale:
    """What the bars of one row are drawn to: from the least surprise, or 0, to the largest."""

    low: float
    size: float

    @classmethod
    def of(cls, surprises: pd.Series) -> "_Scale":
        low = min(0.0, float(surprises.min()))
        return cls(low, max(0.0, float(surprises.max())) - low or 1.0)

    def bar(self, value: float) -> tuple[float, float]:
        """Left end and width in percent."""
        return 100 * (min(value, 0.0) - self.low) / self.size, 100 * abs(value) / self.size


def _reason(name: Any, value: float, told: dict[str, pd.DataFrame], line: int, scale: _Scale) -> Reason:
    left, width = scale.bar(value)
    if name == LATENT:
        return Reason(TOGETHER, "", "", "", value, left, width)
    low, high = (expected(told[figure][name].iloc[line]) for figure in ("low", "high"))
    return Reason(
        column=short_text(name, MOST),
        seen=seen(told["value"][name].iloc[line]),
        expected=expected(told["expected"][name].iloc[line]),
        range=f"{low} to {high}" if low != high else "",
        nats=value,
        left=left,
        width=width,
    )
