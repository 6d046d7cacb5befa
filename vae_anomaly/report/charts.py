"""The charts of a report: scores, time, and two columns of the rows, as positions in percent and SVG paths.

The charts stretch with the page, so nothing in them is measured in pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import DateColumn
from vae_anomaly.formatting import counted, nats, number, shorten, with_minus
from vae_anomaly.plots.axis_values import PlottedColumn, axis_numbers, columns_in_use
from vae_anomaly.plots.figures import axis_ends
from vae_anomaly.plots.scores import BINS, bin_fractions, root_ticks, score_edges
from vae_anomaly.report.scored_rows import ScoredRows

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

FAR_QUARTILES = 3.5  # distances of the quartiles, from the middle of them, beyond which a date is not drawn
MOST_PERIODS, MOST_LEVELS, MOST_DATE_TICKS = 60, 10, 6
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
        edges = score_edges(scores if training is None else np.concatenate([scores, training]), threshold)
        fractions = bin_fractions(scores, edges)
        of_training = np.zeros(len(edges)) if training is None else bin_fractions(training, edges)
        largest = max(fractions.max(), of_training.max())
        overflows = bool(fractions[-1] + of_training[-1])
        axis = Axis(float(edges[0]), float(edges[-1]), _BINS_END if overflows else 100.0)
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
        end = f"to {with_minus(nats(edges[bin_ + 1]))}" if bin_ < BINS else "and more"
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
class Timeline:
    """Rows over time, all of them and the flagged ones: heights as in `Histogram`, by the number of rows.

    ``n_outside`` are the rows with an earlier or later date than nearly all others, ``n_undated`` those without one.
    """

    column: str | int
    bars: list[Bar]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    n_outside: int
    n_undated: int

    @classmethod
    def of(cls, detector: "VAEDetector", scored: ScoredRows) -> Self | None:
        """Rows over the column of dates in which fewest are missing; None without one, or if all are of one time."""
        found = _dates(detector, scored)
        if found is None:
            return None
        name, days = found
        first, last = np.nanquantile(days, [0.25, 0.75])
        reach = FAR_QUARTILES * (last - first)  # of 0 if most rows have one date
        within = (np.abs(days - (first + last) / 2) <= reach) if reach > 0 else ~np.isnan(days)
        stamps = pd.DatetimeIndex(pd.to_datetime(days[within], unit="D").round("s"))
        for unit in ("h", "D", "W", "M", "Q", "Y"):
            periods = stamps.to_period(unit)
            bins = pd.period_range(periods.min(), periods.max(), freq=unit)
            if len(bins) <= MOST_PERIODS:
                break
        if len(bins) < 2:
            return None
        places = bins.get_indexer(periods)
        counts = np.bincount(places, minlength=len(bins))
        flagged = np.bincount(places[scored.flagged[within]], minlength=len(bins))
        step, largest = -(-len(bins) // 4), float(counts.max())
        named = range(step // 2, len(bins), step)
        return cls(
            column=name,
            bars=_period_bars(bins, counts, flagged),
            x_ticks=[Tick(100 * (place + 0.5) / len(bins), _period_tick(bins[place])) for place in named],
            y_ticks=[Tick(100 * math.sqrt(tick / largest), f"{tick:,.0f}") for tick in root_ticks(largest)[1:]],
            n_outside=int((~within & ~np.isnan(days)).sum()),
            n_undated=int(np.isnan(days).sum()),
        )


def _dates(detector: "VAEDetector", scored: ScoredRows) -> tuple[str | int, np.ndarray] | None:
    """Name and days since 1970, (rows,), of the column of dates in which fewest are missing."""
    if detector.image_shape is not None:
        return None
    columns = [column for column in detector.schema_.columns if type(column) is DateColumn]
    days = [axis_numbers(scored.frame[column.name], dates=True) for column in columns]
    missing = [int(np.isnan(values).sum()) for values in days]
    best = int(np.argmin(missing)) if missing else -1
    return (columns[best].name, days[best]) if missing and missing[best] < len(days[best]) else None


def _period_bars(bins: pd.PeriodIndex, counts: np.ndarray, flagged: np.ndarray) -> list[Bar]:
    """A bar for all rows of each period, and one before it for the flagged ones."""
    width, bars = 100 / len(bins), []
    for place, period in enumerate(bins):
        remark = f"{_period_name(period)}: {flagged[place]:,} of {counted(int(counts[place]), 'rows')}"
        for count, is_flagged in ((counts[place], False), (flagged[place], True)):
            if count:
                height = 100 * math.sqrt(count / counts.max())
                bars.append(Bar(place * width + 0.08 * width, 0.84 * width, height, is_flagged, remark))
    return bars


def _period_name(period: pd.Period) -> str:
    return f"week of {_period_tick(period)}" if period.freqstr.startswith("W") else _period_tick(period)


def _period_tick(period: pd.Period) -> str:
    """Name of a period next to the axis: an hour without its year, a week by its first day."""
    forms = {"h": "%m-%d %H:00", "W": "%Y-%m-%d"}
    form = forms.get(period.freqstr[0])
    return str(period) if form is None else f"{period.start_time:{form}}"


@dataclass(frozen=True)
class Mark:
    """A flagged row that the page lists: its number from 1, its position in percent from the left and from the top."""

    row: int
    x: float
    y: float
    remark: str


@dataclass(frozen=True)
class Scatter:
    """Rows on two of their columns; ``dots`` and ``flagged_dots`` are SVG paths of the rows that are not listed."""

    dots: str
    flagged_dots: str
    marks: list[Mark]
    x_name: str | int
    y_name: str | int
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    n_dots: int
    n_flagged: int
    n_outside: int
    n_missing: int

    @classmethod
    def of(cls, detector: "VAEDetector", scored: ScoredRows, columns: Sequence[str | int], listed: int) -> Self:
        """Scored rows on two ``columns``; the page lists the ``listed`` most anomalous."""
        drawn = _sample_rows(scored.scores, scored.flagged)
        known = {column.name: column for column in columns_in_use(detector)}
        x, x_axis, x_ticks = _column_axis(known[columns[0]], scored.frame, drawn)
        y, y_axis, y_ticks = _column_axis(known[columns[1]], scored.frame, drawn)
        is_known = ~(np.isnan(x) | np.isnan(y))
        x, y, drawn = x[is_known], y[is_known], drawn[is_known]
        flagged, scores = scored.flagged[drawn], scored.scores[drawn]
        positions = np.column_stack([x_axis.positions(x), 100 - y_axis.positions(y)])
        marked = np.isin(drawn, scored.most_anomalous(listed)) & flagged
        marks = [
            Mark(int(row) + 1, place[0], place[1], f"row {row + 1}: {with_minus(nats(score))}")
            for row, score, place in zip(
                drawn[marked], scores[marked], positions[marked].round(1).tolist(), strict=True
            )
        ]
        return cls(
            dots=_dots(positions[~flagged]),
            flagged_dots=_dots(positions[flagged & ~marked]),
            marks=marks[::-1],  # the most anomalous last: on top
            x_name=columns[0],
            y_name=columns[1],
            x_ticks=x_ticks,
            y_ticks=y_ticks,
            n_dots=int((~flagged).sum()),
            n_flagged=int(flagged.sum()),
            n_outside=int((x_axis.outside(x) | y_axis.outside(y)).sum()),
            n_missing=int((~is_known).sum()),
        )


def _column_axis(column: PlottedColumn, frame: pd.DataFrame, drawn: np.ndarray) -> tuple[np.ndarray, Axis, list[Tick]]:
    """Positions of drawn rows in one column, (rows,), NaN where missing, and an axis with ticks for them."""
    points, names = column.places(frame, MOST_LEVELS)
    points = points[drawn]
    if names:
        axis = Axis(-0.5, len(names) - 0.5)
        places = axis.positions(np.arange(len(names), dtype=np.float64)).tolist()
        return points, axis, [Tick(place, shorten(name, 14)) for place, name in zip(places, names, strict=True)]
    axis = Axis(*axis_ends(points)) if (~np.isnan(points)).any() else Axis(0.0, 1.0)
    return points, axis, _date_ticks(axis) if column.is_date else axis.ticks(5)


def _date_ticks(axis: Axis) -> list[Tick]:
    """Ticks at the starts of at most six hours, days, months, quarters or years, for days since 1970."""
    first, last = (pd.Timestamp(0) + pd.Timedelta(days=end) for end in (axis.low, axis.high))
    forms = {"h": "%H:%M", "D": "%m-%d", "MS": "%Y-%m", "QS": "%Y-%m", "YS": "%Y", "10YS": "%Y"}
    for unit in forms:
        starts = pd.date_range(first.ceil("h" if unit == "h" else "D"), last, freq=unit)
        if len(starts) <= MOST_DATE_TICKS:
            break
    places = axis.positions(np.array([(start - pd.Timestamp(0)) / pd.Timedelta(days=1) for start in starts]))
    return [Tick(place, f"{start:{forms[unit]}}") for place, start in zip(places.tolist(), starts, strict=True)]


def _sample_rows(scores: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """Indices of the rows to draw: at most 1,000 flagged ones, highest score first, then a sample of the others."""
    chosen = np.flatnonzero(flagged)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:1000]
    others, n_others = np.flatnonzero(~flagged), 2000 - len(chosen)
    if len(others) > n_others:
        others = np.sort(np.random.default_rng(0).choice(others, n_others, replace=False))
    return np.concatenate([chosen, others])


def _dots(positions: np.ndarray) -> str:
    """SVG path of lines without length: with round ends and a fixed width they are dots that do not stretch."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in positions)
