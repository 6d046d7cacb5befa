"""Why a row is odd, in words and bars: what each column adds to its score beyond what is usual for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from vae_anomaly.formatting import is_missing, percent, shorten
from vae_anomaly.plots.columns import columns_in_use
from vae_anomaly.report.pictures import Pictures
from vae_anomaly.report.words import MOST, expected, nats, seen, without_dust

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

LATENT = "(latent)"
TOGETHER = "the values together"  # what the latent term measures, in words
_FIGURES = ("nats", "surprise", "value", "expected", "low", "high")
_MOST_REASONS, _TELLING = 12, 3
_LEAST_TELLING = 0.1  # of a row's surprise: less is no reason


@dataclass(frozen=True)
class Reason:
    """One column of one row in words, with its surprise in nats and the bar for it in percent.

    ``range`` is the usual one of a number; ``frequency`` says how many rows of the table hold a value that is none.
    """

    column: str
    seen: str
    frequency: str
    expected: str
    range: str
    nats: float
    left: float
    width: float

    @property
    def remark(self) -> str:
        """What tells the value seen from those expected, in a few words."""
        other = self.range or (self.expected if self.expected != self.seen else "")
        return "; ".join(part for part in (self.frequency, other and f"expected {other}") if part)

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


@dataclass(frozen=True, eq=False)
class Explained:
    """What ``explain`` tells of some rows, figure by figure, and how frequent each value is that is no number."""

    figures: dict[str, pd.DataFrame]
    frequencies: dict[str | int, pd.Series]

    @classmethod
    def of(cls, detector: "VAEDetector", rows: Any, frame: pd.DataFrame) -> Self:
        """From the rows to explain, and the whole table under the names of the model."""
        parts: Any = detector.explain(rows)
        levels = [] if detector.image_shape else [column.name for column in columns_in_use(detector) if column.is_level]
        return cls(
            {figure: parts[figure].reset_index(drop=True) for figure in _FIGURES},
            {name: frame[name].value_counts(normalize=True) for name in levels},
        )

    def usual(self, line: int) -> float:
        """The score that row number ``line`` would have if each part of it were usual."""
        return float((self.figures["nats"].iloc[line] - self.figures["surprise"].iloc[line]).sum())

    def reasons(self, line: int) -> Reasons:
        """The reasons of row number ``line``, the most surprising first."""
        surprises = self.figures["surprise"].iloc[line].astype(float)
        order = surprises.sort_values(ascending=False, kind="stable").index[:_MOST_REASONS]
        scale = _Scale.of(surprises[order])
        shown = [self._reason(name, line, scale) for name in order]
        least = _LEAST_TELLING * max(float(surprises.sum()), 0.0)
        telling = [reason for reason in shown[:_TELLING] if reason.nats > least and reason.column != TOGETHER]
        others = surprises.drop(order)
        return Reasons(shown, telling or shown[:1], len(others), float(others.sum()))

    def pictures(self, line: int, shape: Sequence[int], extremes: tuple[float, float]) -> Pictures:
        """The pictures of image number ``line``; the extremes are the darkest and the brightest pixel of training."""
        darkest, brightest = extremes
        now, likely = (
            (self.figures[figure].iloc[line].to_numpy(np.float64, na_value=np.nan) - darkest) / (brightest - darkest)
            for figure in ("value", "expected")
        )
        surprise = self.figures["surprise"].iloc[line].drop(LATENT).to_numpy(np.float64)
        return Pictures.of(now, likely, surprise, shape)

    def _reason(self, name: Any, line: int, scale: "_Scale") -> Reason:
        surprise = float(self.figures["surprise"][name].iloc[line])
        left, width = scale.bar(surprise)
        if name == LATENT:
            return Reason(TOGETHER, "", "", "", "", surprise, left, width)
        value, *others = (self.figures[figure][name].iloc[line] for figure in _FIGURES[2:])
        likely, low, high = without_dust(others)
        return Reason(
            column=shorten(name, MOST),
            seen=seen(value),
            frequency=self._frequency(name, value),
            expected=expected(likely),
            range=f"{expected(low)} to {expected(high)}" if expected(low) != expected(high) else "",
            nats=surprise,
            left=left,
            width=width,
        )

    def _frequency(self, name: Any, value: Any) -> str:
        if name not in self.frequencies or is_missing(value):
            return ""
        return f"in {percent(float(self.frequencies[name].get(value, 0.0)))} of rows"


@dataclass(frozen=True)
class _Scale:
    """What the bars of one row are drawn to: from the least surprise, or 0, to the largest."""

    low: float
    size: float

    @classmethod
    def of(cls, surprises: pd.Series) -> Self:
        low = min(0.0, float(surprises.min()))
        return cls(low, max(0.0, float(surprises.max())) - low or 1.0)

    def bar(self, value: float) -> tuple[float, float]:
        """Left end and width in percent."""
        return 100 * (min(value, 0.0) - self.low) / self.size, 100 * abs(value) / self.size
