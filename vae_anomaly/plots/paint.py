"""What gives points their colour: numbers with a colour bar, or levels with a legend. Both have the same verbs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import are_flags
from vae_anomaly.data.parse import as_frame, is_frame
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import label
from vae_anomaly.plots.columns import OTHERS, grouped, most_frequent, places, texts
from vae_anomaly.plots.figures import LEVELS, SCALE, SMALL, TABLE, USUAL, date_ticks, few_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

MISSING = "missing"
_TAIL = 1.0  # percent of the numbers on each side that the colour bar does not spread over
_BINS = 30


class Paint(Protocol):
    """Colours of rows."""

    def scatter(self, figure: "Figure", axes: "Axes", points: np.ndarray) -> "PathCollection":
        """Draw a point for each row, (rows, 2), and what says which colour means what."""

    def histogram(self, figure: "Figure", axes: "Axes", codes: np.ndarray) -> None:
        """Draw how many rows have which code, (rows,), and what says which colour means what."""


@dataclass(frozen=True, eq=False)
class ByNumber:
    """Colours on a scale; the extreme percent on each side takes the colours of the ends."""

    values: np.ndarray  # (rows,), NaN where missing
    name: str
    dates: bool = False

    def scatter(self, figure: "Figure", axes: "Axes", points: np.ndarray) -> "PathCollection":
        """Draw high values over low ones, and missing ones below them in grey."""
        order = np.argsort(np.where(np.isnan(self.values), -np.inf, self.values), kind="stable")
        scale = self._scale(self.values)
        drawn = axes.scatter(*points[order].T, color=self._colours(scale, self.values[order]), **_dots(len(points)))
        self._bar(figure, axes, scale, self.name)
        return drawn

    def histogram(self, figure: "Figure", axes: "Axes", codes: np.ndarray) -> None:
        """Draw bars in the colour of their rows' mean."""
        counts, edges = np.histogram(codes, _BINS)
        bins = np.clip(np.digitize(codes, edges) - 1, 0, _BINS - 1)
        seen = ~np.isnan(self.values)
        sums = np.bincount(bins[seen], self.values[seen], minlength=_BINS)
        known = np.bincount(bins[seen], minlength=_BINS)
        means = np.divide(sums, known, out=np.full(_BINS, np.nan), where=known > 0)
        scale = self._scale(means)
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=self._colours(scale, means))
        self._bar(figure, axes, scale, f"{self.name}: mean of each bar")

    def _scale(self, values: np.ndarray) -> "ScalarMappable":
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        seen = values[~np.isnan(values)]
        low, high = np.percentile(seen, [_TAIL, 100 - _TAIL]) if len(seen) else (0.0, 1.0)
        return ScalarMappable(Normalize(low, high), colormaps[SCALE].with_extremes(bad=TABLE))

    def _colours(self, scale: "ScalarMappable", values: np.ndarray) -> np.ndarray:
        return np.asarray(scale.to_rgba(np.ma.masked_invalid(values)))

    def _bar(self, figure: "Figure", axes: "Axes", scale: "ScalarMappable", name: str) -> None:
        bar = figure.colorbar(scale, ax=axes, extend="both", aspect=30, pad=0.02)
        (date_ticks if self.dates else few_ticks)(bar.ax.yaxis)
        bar.ax.tick_params(labelsize=SMALL)
        grey = f" ({MISSING}: grey)" if np.isnan(self.values).any() else ""
        bar.set_label(name + grey, fontsize=USUAL)


@dataclass(frozen=True, eq=False)
class ByLevel:
    """A colour for each of the most frequent levels, the last one for all others."""

    levels: np.ndarray  # (rows,), None where missing
    name: str

    def scatter(self, figure: "Figure", axes: "Axes", points: np.ndarray) -> "PathCollection":
        """Draw the points in the order of the rows, so that no level hides another."""
        colours = self._legend(figure)
        chosen = [colours[level] for level in self._shown()]
        return axes.scatter(*points.T, color=chosen, **_dots(len(points)))

    def histogram(self, figure: "Figure", axes: "Axes", codes: np.ndarray) -> None:
        """Draw the levels' bars on one another."""
        shown = self._shown()
        parts = {level: colour for level, colour in self._legend(figure).items() if (shown == level).any()}
        axes.hist(
            [codes[shown == level] for level in parts],
            np.histogram_bin_edges(codes, _BINS).tolist(),
            stacked=True,
            color=list(parts.values()),
        )

    def _shown(self) -> np.ndarray:
        """The levels' names, (rows,), as the legend has them."""
        shown = grouped(self.levels, self._names())
        return np.where(pd.isna(shown), MISSING, shown)

    def _names(self) -> list[str]:
        names = most_frequent(self.levels, len(LEVELS) + 1)
        return names if len(names) <= len(LEVELS) else names[: len(LEVELS) - 1]

    def _legend(self, figure: "Figure") -> dict[str, str]:
        from matplotlib.lines import Line2D

        shown = set(self._shown())
        names = [name for name in (*self._names(), OTHERS) if name in shown]
        colours = dict(zip(names, LEVELS, strict=False)) | ({MISSING: TABLE} if MISSING in shown else {})
        dots = [Line2D([], [], color=colour, marker="o", linestyle="") for colour in colours.values()]
        figure.legend(
            dots,
            [label(name, 20) for name in colours],
            title=self.name,
            ncols=min(len(colours), 4),
            loc="outside lower left",
            fontsize=SMALL,
            title_fontsize=SMALL,
            alignment="left",
            frameon=False,
        )
        return colours


def paint_of(color: Any, X: Any, n_rows: int) -> Paint:
    """Paint by a column of the table, or by an array with a value for each row."""
    if not isinstance(color, str | int):
        return _by_values(_one_a_row(color, n_rows), "colour")
    if not is_frame(X):
        raise DataError(f"color={color!r} names a column, but X is an array without names. Give the values instead.")
    frame = as_frame(X)
    if color not in frame.columns:
        raise DataError(f"There is no column {color!r} for color. Name a column of X, or give a value for each row.")
    return _by_values(frame[color], label(color))


def _one_a_row(color: Any, n_rows: int) -> pd.Series:
    values = pd.Series(color).reset_index(drop=True)
    if len(values) != n_rows:
        raise DataError(f"color has {len(values)} values for {n_rows} rows. Give one for each row.")
    return values


def _by_values(values: pd.Series, name: str) -> Paint:
    kinds = pd.api.types
    dates = kinds.is_datetime64_any_dtype(values.dtype)
    if dates or kinds.is_timedelta64_dtype(values.dtype):
        return ByNumber(places(values, dates), name, dates)
    if not kinds.is_numeric_dtype(values.dtype) or kinds.is_bool_dtype(values.dtype):
        return ByLevel(texts(values), name)
    numbers = places(values, dates=False)
    return ByLevel(texts(values), name) if are_flags(numbers) else ByNumber(numbers, name)


def _dots(n_rows: int) -> dict[str, Any]:
    """Dots that can still be told apart where they are many; an SVG or a PDF has many of them as one image."""
    size = float(np.clip(6000 / max(n_rows, 1), 4, 25))
    return {"s": size, "alpha": 0.85 if n_rows <= 2000 else 0.5, "linewidths": 0, "rasterized": n_rows > 5000}
