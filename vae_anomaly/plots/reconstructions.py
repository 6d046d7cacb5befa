"""Observed and reconstructed values of each column."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.formatting import counted, counted_of, label, nats, percent, with_minus
from vae_anomaly.plots.axis_values import (
    OTHERS,
    PlottedColumn,
    columns_in_use,
    group_levels,
    most_frequent,
    named_rows,
    observed_rows,
)
from vae_anomaly.plots.figures import (
    ACCENT,
    MEDIUM,
    MODEL,
    MOST_COLUMNS,
    SMALL,
    name_panel,
    new_panels,
    require_fitted,
)
from vae_anomaly.plots.images import Shape, fill_last_line, image_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector


def plot_reconstructions(detector: "VAEDetector", X: Any) -> "Figure":
    """
    Draw the observed values of each column against the reconstructed ones; or images above their reconstructions.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    X : DataFrame or array-like
        (rows, columns). Missing cells are left out.

    Returns
    -------
    Figure
        The first 16 columns. Numbers and dates are points about the diagonal, with R², the fraction of the variance
        that is reconstructed. Categories and flags are a table: the percentage of the rows with an observed level that
        are reconstructed as another. For a model of images, the first 30 and their reconstructions.

    Raises
    ------
    DataError
        ``X`` does not fit the model.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.plots import plot_reconstructions
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = VAEDetector(max_iter=40, random_state=0).fit(X)
    >>> plot_reconstructions(detector, X).get_suptitle()
    'Observed and reconstructed: 200 rows'
    """
    require_fitted(detector)
    if detector.image_shape is not None:
        return _plot_images(detector, detector.image_shape, X)
    observed, reconstructed = observed_rows(detector, X), named_rows(detector, detector.reconstruct(X))
    columns = columns_in_use(detector)
    shown = columns[:MOST_COLUMNS]
    part = "" if len(shown) == len(columns) else f", {counted_of(len(shown), len(columns), 'columns')}"
    title = f"Observed and reconstructed: {counted(len(observed), 'rows')}{part}"
    figure, grid = new_panels(title, len(shown), 2.1)
    for axes, column in zip(grid, shown, strict=True):
        (_draw_levels if column.is_level else _draw_numbers)(axes, column, observed, reconstructed)
    note = " (tables: percent of the rows with the observed level)" if any(column.is_level for column in shown) else ""
    figure.supxlabel(f"observed{note}", fontsize=MEDIUM)
    figure.supylabel("reconstructed", fontsize=MEDIUM)
    return figure


def _plot_images(detector: "VAEDetector", shape: Shape, X: Any) -> "Figure":
    """Lines of at most ten images, each above the line of their reconstructions; a short last line ends in grey."""
    first = X[:30]
    across = min(len(first), 10)
    encode = detector.model_.encode  # pixels from 0 to 1
    observed, reconstructed = (
        fill_last_line(encode(rows), across).reshape(-1, across, len(detector.schema_.names))
        for rows in (first, detector.reconstruct(first))
    )
    pixels = np.stack([observed, reconstructed], axis=1).reshape(-1, observed.shape[-1])
    title = f"Observed, and below it reconstructed: {counted_of(len(first), len(X), 'images')}"
    return image_grid(pixels, shape, across, title=title, rows=["observed", "model"] * len(observed))


def _draw_numbers(axes: "Axes", column: PlottedColumn, observed: pd.DataFrame, reconstructed: pd.DataFrame) -> None:
    x, y = column.numbers(observed), column.numbers(reconstructed)
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    size = float(np.clip(1500 / max(len(x), 1), 2, 12))
    axes.axline((0, 0), slope=1, color=ACCENT, linewidth=1)
    axes.scatter(x, y, s=size, color=MODEL, alpha=0.5, linewidths=0, rasterized=len(x) > 5000)
    if len(x):
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        margin = 0.05 * (high - low) or 0.5
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    for axis in (axes.xaxis, axes.yaxis):
        column.set_ticks(axis)
    variation = np.square(x - x.mean()).sum() if len(x) else 0.0
    r2 = f"\nR² {with_minus(nats(1 - np.square(x - y).sum() / variation))}" if variation > 0 else ""
    name_panel(axes, f"{column.title(24)}{r2}")


def _draw_levels(axes: "Axes", column: PlottedColumn, observed: pd.DataFrame, reconstructed: pd.DataFrame) -> None:
    """A table of up to five levels, the darker the more rows with the observed level have the reconstructed one."""
    x, y = column.levels(observed), column.levels(reconstructed)
    known = pd.notna(x)
    x, y = x[known], y[known]
    names = most_frequent(np.concatenate([x, y]), 6)
    names = names if len(names) <= 5 else [*names[:4], OTHERS]
    grouped_x, grouped_y = group_levels(x, names), group_levels(y, names)
    counts = np.array([[np.sum((grouped_x == seen) & (grouped_y == made)) for seen in names] for made in names])
    fractions = counts / np.maximum(counts.sum(axis=0), 1)  # (reconstructed, observed)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1, aspect="auto", origin="lower")
    for (row, column_), fraction in np.ndenumerate(fractions):
        colour = "white" if fraction > 0.6 else "black"
        axes.text(column_, row, f"{100 * fraction:.0f}", ha="center", va="center", color=colour, fontsize=SMALL)
    labels = [label(name, 10) for name in names]
    axes.set_yticks(range(len(names)), labels)
    axes.set_xticks(range(len(names)), labels)
    if sum(map(len, labels)) > 22:  # letters that fit below a panel
        for tick in axes.get_xticklabels():
            tick.set(rotation=30, rotation_mode="anchor", horizontalalignment="right")
    correct = f"\n{percent(float(np.mean(x == y)))} correct" if len(x) else ""
    name_panel(axes, f"{column.title(24)}{correct}")
