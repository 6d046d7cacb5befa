"""How the scores of rows are distributed, beside those of the training rows, and where the line is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from vae_anomaly.formatting import counted
from vae_anomaly.report.axes import Axis, Tick
from vae_anomaly.report.words import nats

_BINS = 48
_EXTENT, _BEYOND = 94.0, 96.0  # percent: where the bins end, and where the bar of all scores beyond them begins
_GAP = 0.15
_SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0001)
_APART = 12  # percent, the least between two of their ticks


@dataclass(frozen=True)
class Bar:
    """Rows whose scores lie close together: places and sizes in percent, and a remark in words."""

    left: float
    width: float
    height: float
    odd: bool
    remark: str


@dataclass(frozen=True)
class Histogram:
    """Bars of the rows, an outline of the training rows; heights go with the root of a share, so that few rows show.

    ``median`` is that of the rows' scores, ``trained_median`` that of the training rows where they are shown.
    """

    bars: list[Bar]
    outline: str  # of an SVG path; empty without training rows
    line: float | None  # percent
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    median: float
    trained_median: float | None

    @classmethod
    def of(cls, scores: np.ndarray, training: np.ndarray | None, line: float | None) -> Self:
        """From anomaly scores (rows,), high is odd; rows from ``line`` on are flagged."""
        both = scores if training is None else np.concatenate([scores, training])
        axis = _axis(both, line)
        edges = np.linspace(axis.low, axis.high, _BINS + 1)
        shares = _shares(scores, edges)
        others = np.zeros_like(shares) if training is None else _shares(training, edges)
        has_beyond = bool(shares[-1] + others[-1])
        axis = Axis(axis.low, axis.high, _EXTENT if has_beyond else 100.0)
        top = max(shares.max(), others.max())
        bars = [*_bars(shares, edges, axis, top, line, len(scores))]
        x_ticks = axis.ticks(6)
        if has_beyond:
            x_ticks = [*(tick for tick in x_ticks if tick.place < 0.88 * _EXTENT), Tick((_BEYOND + 100) / 2, "more")]
        return cls(
            bars=bars,
            outline="" if training is None else _outline(others, edges, axis, top),
            line=None if line is None else float(axis.places(np.array(line))),
            x_ticks=x_ticks,
            y_ticks=_y_ticks(top),
            median=float(np.median(scores)),
            trained_median=None if training is None else float(np.median(training)),
        )


def _axis(scores: np.ndarray, line: float | None) -> Axis:
    """From the least odd rows to as far beyond the line as they lie before it, the line between two bins."""
    low, usual = np.quantile(scores, [0.001, 0.98])
    far = usual if line is None else max(line + (line - low), line)
    high = min(float(scores.max()), float(far))
    width = (high - low) / _BINS if high > low else 1 / _BINS
    if line is not None:
        low = line - np.ceil(max(line - low, 0.0) / width) * width
    return Axis(float(low), float(low + _BINS * width))


def _shares(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the rows in each bin, (bins + 1,): the first holds all below it too, the last all beyond the edges."""
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 1)
    return np.bincount(bins, minlength=len(edges)) / len(scores)


def _height(share: float | np.ndarray, top: float) -> float | np.ndarray:
    return 100 * np.sqrt(share / top)


def _y_ticks(top: float) -> list[Tick]:
    ticks: list[Tick] = []
    for share in _SHARES:
        height = float(_height(share, top))
        if _APART < height <= 100 and (not ticks or ticks[-1].place - height > _APART):
            ticks.append(Tick(height, f"{100 * share:g} %"))
    return ticks


def _bars(
    shares: np.ndarray, edges: np.ndarray, axis: Axis, top: float, line: float | None, n_rows: int
) -> Iterator[Bar]:
    starts = [*axis.places(edges[:-1]), _BEYOND]
    ends = [*axis.places(edges[1:]), 100.0]
    heights = np.asarray(_height(shares, top))
    for place in np.flatnonzero(shares):
        first = edges[place]
        ending = f"{nats(first)} to {nats(edges[place + 1])}" if place < _BINS else f"{nats(first)} and more"
        yield Bar(
            left=float(starts[place]) + _GAP,
            width=float(ends[place] - starts[place]) - 2 * _GAP,
            height=float(heights[place]),
            odd=line is not None and bool(first >= line - (edges[1] - edges[0]) / 2),
            remark=f"{ending}: {counted(round(float(shares[place]) * n_rows), 'rows')}",
        )


def _outline(shares: np.ndarray, edges: np.ndarray, axis: Axis, top: float) -> str:
    """Steps over the bins, and one over the bar beyond them."""
    heights = 100 - np.asarray(_height(shares, top))
    starts, ends = axis.places(edges[:-1]), axis.places(edges[1:])
    steps = [f"M{starts[0]:.2f} 100"]
    steps += [f"V{height:.2f}H{end:.2f}" for height, end in zip(heights, ends, strict=False)]
    beyond = f"M{_BEYOND:.2f} 100V{heights[-1]:.2f}H100V100" if shares[-1] else ""
    return "".join(steps) + "V100" + beyond
