"""Latent means of rows on the two most informative latents, in the colours of a column, and the KL of each latent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import are_flags
from vae_anomaly.data.parse import as_frame, is_frame
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted, label, wrapped
from vae_anomaly.plots.axis_values import OTHERS, axis_numbers, group_levels, level_names, most_frequent
from vae_anomaly.plots.figures import (
    LEVELS,
    MEDIUM,
    MODEL,
    QUIET,
    SMALL,
    TABLE,
    date_ticks,
    new_figure,
    number_ticks,
    require_fitted,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

_BINS = 30
_MISSING = "missing"


def plot_latents(detector: "VAEDetector", X: Any, *, color: Any = None) -> "Figure":
    """
    Draw the latent means of rows on the two latents of largest KL, and next to them the KL of each latent.

    Parameters
    ----------
    detector : VAEDetector
        Fitted. With one latent, its histogram is drawn; a plain autoencoder has no KL, and its latents are ordered by
        the standard deviation of their means.
    X : DataFrame or array-like
        (rows, columns).
    color : str or array-like, optional
        A column of ``X``, which the model need not use, or a value for each row: numbers and dates give a colour bar,
        all else a legend. By default the anomaly score.

    Returns
    -------
    Figure
        Active latents have dark bars, inactive ones pale bars.

    Raises
    ------
    DataError
        ``X`` does not fit the model, or ``color`` does not fit ``X``.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.plots import plot_latents
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = VAEDetector(n_components=2, max_iter=40, random_state=0).fit(X)
    >>> figure = plot_latents(detector, X, color=X[:, 0] > 0)
    >>> figure.get_suptitle()
    'Latent means of 200 rows'
    """
    require_fitted(detector)
    rows, schema = X, detector.schema_
    if isinstance(color, str | int) and is_frame(X) and color not in {*schema.names, *schema.left_out}:
        rows = as_frame(X).drop(columns=color, errors="ignore")  # the model need not warn of a column that only colours
    means = detector.transform(rows)
    if color is None:
        name = "anomaly score, nats" if detector.variational else "anomaly score (squared error)"
        colours: Colours = ByNumber(detector.anomaly_score(rows), name)
    else:
        colours = _colours_of(color, X, len(means))
    figure = new_figure(f"Latent means of {counted(len(means), 'rows')}", 4.5)
    plane, bars = figure.subplots(1, 2, width_ratios=[3, 1])
    largest = ordered_latents(detector)[:2]
    style_axes(plane, ticks=7)
    if len(largest) == 1:
        colours.histogram(figure, plane, means[:, 0])
        plane.set_ylabel("rows", fontsize=MEDIUM)
    else:
        colours.scatter(figure, plane, means[:, largest])
        plane.set_ylabel(latent_name(detector, largest[1]), fontsize=MEDIUM)
    plane.set_xlabel(latent_name(detector, largest[0]), fontsize=MEDIUM)
    _draw_kl(bars, detector)
    return figure


def ordered_latents(detector: "VAEDetector") -> list[int]:
    """Latents by their KL, largest first; without a KL, by the standard deviation of their means."""
    latents = detector.latents_
    return [int(latent) for latent in np.lexsort((-latents["std"], -latents["kl"]))]


def latent_name(detector: "VAEDetector", latent: int) -> str:
    """Name of a latent, with its KL if it has one."""
    kl = detector.latents_["kl"].iloc[latent]
    return f"latent {latent} ({kl:.{1 if kl >= 0.1 else 2}f} nats)" if detector.variational else f"latent {latent}"


def _draw_kl(axes: "Axes", detector: "VAEDetector") -> None:
    """A bar for each latent, at most 24, the largest at the top."""
    from matplotlib.patches import Patch

    shown = ordered_latents(detector)[:24]
    latents = detector.latents_.iloc[shown]
    active = latents["active"]
    axes.barh(
        range(len(shown)),
        latents["kl" if detector.variational else "std"],
        color=np.where(active, MODEL, TABLE),
    )
    style_axes(axes)
    axes.set_yticks(range(len(shown)), [str(latent) for latent in shown])
    for tick, is_active in zip(axes.get_yticklabels(), active, strict=True):
        tick.set_color("black" if is_active else QUIET)
    axes.set_ylim(max(len(shown), 8) - 0.5, -0.5)  # a few bars do not fill the axes
    axes.set_xlabel("KL, nats" if detector.variational else "standard deviation", fontsize=MEDIUM)
    total = detector.n_components_
    axes.set_ylabel("latent" if len(shown) == total else f"latent ({len(shown)} of {total})", fontsize=MEDIUM)
    if not active.all():
        parts = [Patch(color=MODEL, label="active"), Patch(color=TABLE, label="inactive")]
        axes.legend(handles=parts, loc="lower right", fontsize=SMALL, frameon=False)


class Colours(Protocol):
    """Colours of rows."""

    def scatter(self, figure: "Figure", axes: "Axes", points: np.ndarray) -> None:
        """Draw a point for each row, (rows, 2), and the key to the colours."""

    def histogram(self, figure: "Figure", axes: "Axes", means: np.ndarray) -> None:
        """Draw the histogram of one latent, (rows,), and the key to the colours."""


@dataclass(frozen=True, eq=False)
class ByNumber:
    """Colours on a scale, the darker the higher, with a colour bar; the highest and lowest percent have its ends."""

    values: np.ndarray  # (rows,), NaN where missing
    name: str
    dates: bool = False

    def scatter(self, figure: "Figure", axes: "Axes", points: np.ndarray) -> None:
        """Draw high values over low ones, and missing ones below them in grey."""
        order = np.argsort(np.where(np.isnan(self.values), -np.inf, self.values), kind="stable")
        scale = self._scale(self.values)
        axes.scatter(*points[order].T, color=_scale_colours(scale, self.values[order]), **_dot_style(len(points)))
        self._draw_bar(figure, axes, scale, self.name)

    def histogram(self, figure: "Figure", axes: "Axes", means: np.ndarray) -> None:
        """Draw bars in the colour of the mean of their rows."""
        counts, edges = np.histogram(means, _BINS)
        bins = np.clip(np.digitize(means, edges) - 1, 0, _BINS - 1)
        observed = ~np.isnan(self.values)
        sums = np.bincount(bins[observed], self.values[observed], minlength=_BINS)
        n_observed = np.bincount(bins[observed], minlength=_BINS)
        bar_means = np.divide(sums, n_observed, out=np.full(_BINS, np.nan), where=n_observed > 0)
        scale = self._scale(bar_means)
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=_scale_colours(scale, bar_means))
        self._draw_bar(figure, axes, scale, f"{self.name}: mean of each bar")

    def _scale(self, values: np.ndarray) -> "ScalarMappable":
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        observed = values[~np.isnan(values)]
        low, high = np.percentile(observed, [1, 99]) if len(observed) else (0.0, 1.0)
        return ScalarMappable(Normalize(low, high), colormaps["cividis_r"].with_extremes(bad=TABLE))

    def _draw_bar(self, figure: "Figure", axes: "Axes", scale: "ScalarMappable", name: str) -> None:
        bar = figure.colorbar(scale, ax=axes, extend="both", aspect=30, pad=0.02)
        (date_ticks if self.dates else number_ticks)(bar.ax.yaxis)
        bar.ax.tick_params(labelsize=SMALL)
        grey = f" ({_MISSING}: grey)" if np.isnan(self.values).any() else ""
        bar.set_label(name + grey, fontsize=MEDIUM)


@dataclass(frozen=True, eq=False)
class ByLevel:
    """A colour for each of the most frequent levels, and the last one for all others, with a legend."""

    levels: np.ndarray  # (rows,), None where missing
    name: str

    def scatter(self, figure: "Figure", axes: "Axes", points: np.ndarray) -> None:
        """Draw the points in the order of the rows, so that no level hides another."""
        shown, colours = self._draw_legend(figure)
        axes.scatter(*points.T, color=[colours[level] for level in shown], **_dot_style(len(points)))

    def histogram(self, figure: "Figure", axes: "Axes", means: np.ndarray) -> None:
        """Draw the bars of the levels on top of one another."""
        shown, colours = self._draw_legend(figure)
        axes.hist(
            [means[shown == level] for level in colours],
            np.histogram_bin_edges(means, _BINS).tolist(),
            stacked=True,
            color=list(colours.values()),
        )

    def _draw_legend(self, figure: "Figure") -> tuple[np.ndarray, dict[str, str]]:
        """Draw the legend; names of the levels in it, (rows,), and their colours."""
        from matplotlib.lines import Line2D

        names = most_frequent(self.levels, len(LEVELS) + 1)
        names = names if len(names) <= len(LEVELS) else names[: len(LEVELS) - 1]
        grouped = group_levels(self.levels, names)
        shown = np.where(pd.isna(grouped), _MISSING, grouped)
        found = [name for name in (*names, OTHERS) if (shown == name).any()]
        colours = dict(zip(found, LEVELS, strict=False)) | ({_MISSING: TABLE} if pd.isna(grouped).any() else {})
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
        return shown, colours


def _colours_of(color: Any, X: Any, n_rows: int) -> Colours:
    """Colours by a column of the table, or by a value for each row: dates, durations and numbers, or levels."""
    if not isinstance(color, str | int):
        values, name = pd.Series(color).reset_index(drop=True), "colour"
        if len(values) != n_rows:
            raise DataError(
                f"color has {counted(len(values), 'values')} for {counted(n_rows, 'rows')}. Give one for each row."
            )
    elif not is_frame(X):
        raise DataError(f"color={color!r} names a column, but X is an array without names. Give the values instead.")
    else:
        frame = as_frame(X)
        if color not in frame.columns:
            raise DataError(
                f"There is no column {color!r} for color. Name a column of X, or give a value for each row."
            )
        values, name = frame[color], wrapped(color, 60)
    kinds = pd.api.types
    dates = kinds.is_datetime64_any_dtype(values.dtype)
    if dates or kinds.is_timedelta64_dtype(values.dtype):
        return ByNumber(axis_numbers(values, dates=dates), name, dates)
    if kinds.is_numeric_dtype(values.dtype) and not kinds.is_bool_dtype(values.dtype):
        numbers = axis_numbers(values, dates=False)
        if not are_flags(numbers):
            return ByNumber(numbers, name)
    return ByLevel(level_names(values), name)


def _scale_colours(scale: "ScalarMappable", values: np.ndarray) -> np.ndarray:
    return np.asarray(scale.to_rgba(np.ma.masked_invalid(values)))


def _dot_style(n_rows: int) -> dict[str, Any]:
    """Smaller, more transparent dots for many rows; for very many, an SVG or a PDF holds them as one image."""
    size = float(np.clip(6000 / max(n_rows, 1), 4, 25))
    return {"s": size, "alpha": 0.85 if n_rows <= 2000 else 0.5, "linewidths": 0, "rasterized": n_rows > 5000}
