"""The two charts of a report, the histogram of scores and the map of rows: positions in percent, and SVG paths.

The charts stretch with the page, so nothing in them is measured in pixels.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from vae_anomaly.formatting import counted, nats, number, percent, with_minus
from vae_anomaly.report.scored_rows import ScoredRows

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

_BINS = 48
_BINS_END, _OVERFLOW_START = 94.0, 96.0  # percent, if a last bar holds all scores beyond the bins


@dataclass(frozen=True)
class Tick:
    """A number next to an axis."""

    position: float  # percent
    text: str


@dataclass(frozen=True)
class Axis:
    """Numbers from ``low`` to ``high`` on the first ``extent`` percent of the chart."""

    low: float
    high: float
    extent: float = 100.0

    @classmethod
    def over(cls, values: np.ndarray, margin: float) -> Self:
        """An axis for all values but a few that are far from the others, with a fraction ``margin`` on each side."""
        first, last = np.quantile(values, [0.005, 0.995])
        reach = (last - first) / 2
        low, high = max(values.min(), first - reach), min(values.max(), last + reach)
        pad = margin * (high - low) or 1.0
        return cls(float(low - pad), float(high + pad))

    def positions(self, values: np.ndarray) -> np.ndarray:
        """Positions in percent; values beyond an end are placed on it."""
        positions: np.ndarray = self.extent * np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)
        return positions

    def outside(self, values: np.ndarray) -> np.ndarray:
        """True for each value beyond an end."""
        outside: np.ndarray = (values < self.low) | (values > self.high)
        return outside

    def ticks(self, most: int) -> list[Tick]:
        """Ticks at round numbers, at most ``most``."""
        least_step = (self.high - self.low) / most
        size = 10.0 ** math.floor(math.log10(least_step))
        step = next(step * size for step in (1, 2, 2.5, 5, 10) if step * size >= least_step * (1 - 1e-9))
        numbers = step * np.arange(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        texts = [with_minus(number(value, 6)) for value in numbers]
        return [Tick(float(position), text) for position, text in zip(self.positions(numbers), texts, strict=True)]


@dataclass(frozen=True)
class Bar:
    """Rows with similar scores: position and size in percent, and a remark in words."""

    left: float
    width: float
    height: float
    flagged: bool
    remark: str


@dataclass(frozen=True)
class Histogram:
    """Bars of the rows and an outline of the training rows.

    Heights are proportional to the square root of the fraction of rows, so that bars of few rows can be seen.
    """

    bars: list[Bar]
    outline: str  # SVG path; empty without training rows
    threshold: float | None  # percent
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    median: float
    training_median: float | None

    @classmethod
    def of(cls, scores: np.ndarray, training: np.ndarray | None, threshold: float | None) -> Self:
        """Histogram of anomaly scores (rows,), of which those from ``threshold`` on are flagged."""
        axis = _score_axis(scores if training is None else np.concatenate([scores, training]), threshold)
        edges = np.linspace(axis.low, axis.high, _BINS + 1)
        fractions = _bin_fractions(scores, edges)
        of_training = np.zeros(len(edges)) if training is None else _bin_fractions(training, edges)
        largest = max(fractions.max(), of_training.max())
        overflows = bool(fractions[-1] + of_training[-1])
        axis = Axis(axis.low, axis.high, _BINS_END if overflows else 100.0)
        x_ticks = axis.ticks(6)
        if overflows:
            more = Tick((_OVERFLOW_START + 100) / 2, "more")
            x_ticks = [*(tick for tick in x_ticks if tick.position < 0.88 * _BINS_END), more]
        return cls(
            bars=_bars(np.rint(fractions * len(scores)), 100 * np.sqrt(fractions / largest), edges, axis, threshold),
            outline="" if training is None else _outline(100 * np.sqrt(of_training / largest), edges, axis),
            threshold=None if threshold is None else float(axis.positions(np.array(threshold))),
            x_ticks=x_ticks,
            y_ticks=_fraction_ticks(largest),
            median=float(np.median(scores)),
            training_median=None if training is None else float(np.median(training)),
        )


def _score_axis(scores: np.ndarray, threshold: float | None) -> Axis:
    """From the lowest scores to as far above the threshold as they are below it; the threshold is between two bins."""
    low, typical = np.quantile(scores, [0.001, 0.98])
    far = typical if threshold is None else max(threshold + (threshold - low), threshold)
    high = min(float(scores.max()), float(far))
    width = (high - low) / _BINS if high > low else 1 / _BINS
    if threshold is not None:
        low = threshold - np.ceil(max(threshold - low, 0.0) / width) * width
    return Axis(float(low), float(low + _BINS * width))


def _bin_fractions(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Fraction of the rows in each bin, (bins + 1,): the first includes lower scores, the last is for higher ones."""
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 1)
    return np.bincount(bins, minlength=len(edges)) / len(scores)


def _fraction_ticks(largest: float) -> list[Tick]:
    """Ticks at round fractions of the rows, the largest of which is at the top; close ones are left out."""
    least_distance = 12  # percent
    ticks: list[Tick] = []
    for fraction in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0001):
        height = 100 * math.sqrt(fraction / largest)
        if least_distance < height <= 100 and (not ticks or ticks[-1].position - height > least_distance):
            ticks.append(Tick(height, f"{100 * fraction:g} %"))
    return ticks


def _bars(counts: np.ndarray, heights: np.ndarray, edges: np.ndarray, axis: Axis, threshold: float | None) -> list[Bar]:
    """A bar for each bin that has rows, and one for the scores beyond the bins."""
    gap = 0.15  # percent, on each side of a bar
    starts = [*axis.positions(edges[:-1]), _OVERFLOW_START]
    ends = [*axis.positions(edges[1:]), 100.0]
    half_bin = (edges[1] - edges[0]) / 2
    bars = []
    for bin_ in np.flatnonzero(counts):
        first = edges[bin_]
        end = f"to {with_minus(nats(edges[bin_ + 1]))}" if bin_ < _BINS else "and more"
        bars.append(
            Bar(
                left=float(starts[bin_]) + gap,
                width=float(ends[bin_] - starts[bin_]) - 2 * gap,
                height=float(heights[bin_]),
                flagged=threshold is not None and bool(first >= threshold - half_bin),
                remark=f"{with_minus(nats(first))} {end}: {counted(int(counts[bin_]), 'rows')}",
            )
        )
    return bars


def _outline(heights: np.ndarray, edges: np.ndarray, axis: Axis) -> str:
    """SVG path of steps over the bins, and of one over the bar beyond them."""
    ends = axis.positions(edges[1:])
    steps = [f"V{100 - height:.2f}H{end:.2f}" for height, end in zip(heights, ends, strict=False)]
    overflow = f"M{_OVERFLOW_START:.2f} 100V{100 - heights[-1]:.2f}H100V100" if heights[-1] else ""
    return "".join([f"M{axis.positions(edges[0]):.2f} 100", *steps, "V100", overflow])


@dataclass(frozen=True)
class Mark:
    """A flagged row that the page lists: its number from 1, its position in percent from the left and from the top."""

    row: int
    x: float
    y: float
    remark: str


@dataclass(frozen=True)
class Scatter:
    """Rows on a plane; ``dots`` and ``flagged_dots`` are SVG paths of the rows that are not listed."""

    dots: str
    flagged_dots: str
    marks: list[Mark]
    x_name: str
    y_name: str
    n_dots: int
    n_flagged: int
    n_outside: int

    @classmethod
    def of(cls, detector: "VAEDetector", scored: ScoredRows, listed: int) -> Self:
        """Map of scored rows, of which the page lists the ``listed`` most anomalous."""
        drawn = _sample_rows(scored.scores, scored.flagged)
        flagged, scores = scored.flagged[drawn], scored.scores[drawn]
        deviations, means = detector.latents_["posterior_std"].to_numpy(), detector.transform(scored.select(drawn))
        points, names = _project(means / np.where(deviations > 0, deviations, 1.0), scores, flagged)
        x_axis, y_axis = (Axis.over(values, margin=0.04) for values in points.T)
        positions = np.column_stack([x_axis.positions(points[:, 0]), 100 - y_axis.positions(points[:, 1])])
        marked = np.isin(drawn, scored.most_anomalous(listed)) & flagged
        marks = [
            Mark(int(row) + 1, x, y, f"row {row + 1}: {with_minus(nats(score))}")
            for row, score, (x, y) in zip(
                drawn[marked], scores[marked], positions[marked].round(1).tolist(), strict=True
            )
        ]
        return cls(
            dots=_dots(positions[~flagged]),
            flagged_dots=_dots(positions[flagged & ~marked]),
            marks=marks[::-1],  # the most anomalous last: on top
            x_name=names[0],
            y_name=names[1],
            n_dots=int((~flagged).sum()),
            n_flagged=int(flagged.sum()),
            n_outside=int((x_axis.outside(points[:, 0]) | y_axis.outside(points[:, 1])).sum()),
        )


def _sample_rows(scores: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """Indices of the rows to draw: at most 1,000 flagged ones, highest score first, then a sample of the others."""
    chosen = np.flatnonzero(flagged)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:1000]
    others, n_others = np.flatnonzero(~flagged), 2000 - len(chosen)
    if len(others) > n_others:
        others = np.sort(np.random.default_rng(0).choice(others, n_others, replace=False))
    return np.concatenate([chosen, others])


def _project(latents: np.ndarray, scores: np.ndarray, flagged: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Points (rows, 2) on the first two principal components of the rows that are not flagged, and names of the axes.

    ``latents`` (rows, latents) are means in posterior standard deviations: informative latents count more, and two that
    carry the same information are one direction. With one direction only, the second axis is the score.
    """
    normal = latents[~flagged] if (~flagged).sum() > 1 else latents
    centre = normal.mean(axis=0)
    _, spreads, directions = np.linalg.svd(normal - centre, full_matrices=False)
    explained = spreads**2 / max(float((spreads**2).sum()), np.finfo(np.float64).tiny)
    names = [f"{percent(fraction)} of the variance" for fraction in explained[:2]]
    points = (latents - centre) @ directions[:2].T
    if points.shape[1] == 1:
        return np.column_stack([points[:, 0], scores]), [*names, "anomaly score"]
    return points, names


def _dots(positions: np.ndarray) -> str:
    """SVG path of lines without length: with round ends and a fixed width they are dots that do not stretch."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in positions)
