"""The oddest rows, each with its reasons: what every column adds to the score beyond what is usual for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.reports.labels import short_text
from vae_anomaly.reports.page.pictures import Pictures
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
class Reasons:
    """The columns that surprise most, then how many others there are and their nats: they add up to all surprise."""

    shown: list[Reason]
    telling: list[Reason]
    n_others: int
    others: float


@dataclass(frozen=True)
class OddRow:
    """A row of the page's table, with ``reasons`` where it has columns, with ``pictures`` where it is an image.

    ``row`` counts from 1, ``names`` are the values that it is known by, ``usual`` is the score that it would have.
    """

    row: int
    names: list[str]
    score: float
    p_value: float
    odd: bool
    usual: float
    reasons: Reasons | None
    pictures: Pictures | None

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
    parts: Any = detector.explain(taken(rows, places))
    told = {figure: parts[figure].reset_index(drop=True) for figure in _FIGURES}
    usual, shape = (told["nats"] - told["surprise"]).sum(axis=1), detector.image_shape
    flagged, known = taken(detected, places), taken(kept, places)
    return [
        OddRow(
            row=place + 1,
            names=["" if is_missing(value) else short_text(value, MOST) for value in known.iloc[line]],
            score=float(flagged["anomaly_score"].iloc[line]),
            p_value=float(flagged["p_value"].iloc[line]),
            odd=bool(flagged["is_anomaly"].iloc[line]),
            usual=float(usual.iloc[line]),
            reasons=_reasons(told, line) if shape is None else None,
            pictures=None if shape is None else _pictures(told, line, shape, detector.schema_.to_json()["range"]),
        )
        for line, place in enumerate(places.tolist())
    ]


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


def _reasons(told: dict[str, pd.DataFrame], line: int) -> Reasons:
    """The reasons of one row from what is told of it in one ``line`` of each figure."""
    surprises = told["surprise"].iloc[line].astype(float)
    order = surprises.sort_values(ascending=False, kind="stable").index[:_MOST_REASONS]
    scale = _Scale.of(surprises[order])
    shown = [_reason(name, float(surprises[name]), told, line, scale) for name in order]
    least = _LEAST_TELLING * max(float(surprises.sum()), 0.0)
    telling = [reason for reason in shown[:_TELLING] if reason.nats > least and reason.column != TOGETHER]
    others = surprises.drop(order)
    return Reasons(shown, telling or shown[:1], len(others), float(others.sum()))


def _pictures(
    told: dict[str, pd.DataFrame], line: int, shape: Sequence[int], extremes: tuple[float, float]
) -> Pictures:
    """The pictures of one image from what is told of it, and the darkest and the brightest pixel of training."""
    darkest, brightest = extremes
    seen, likely = (
        (told[figure].iloc[line].to_numpy(dtype=np.float64, na_value=np.nan) - darkest) / (brightest - darkest)
        for figure in ("value", "expected")
    )
    surprise = told["surprise"].iloc[line].drop(LATENT).to_numpy(dtype=np.float64)
    return Pictures.of(seen, likely, surprise, shape)


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
