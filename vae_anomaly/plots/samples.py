"""Samples of a model: the distribution of each column, next to that of a table."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.formatting import counted, counted_of, label, percent
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
    MODEL,
    MOST_COLUMNS,
    QUIET,
    SMALL,
    TABLE,
    name_panel,
    new_panels,
    require_fitted,
)
from vae_anomaly.plots.images import Shape, fill_last_line, image_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector


def plot_samples(
    detector: "VAEDetector",
    X: Any = None,
    *,
    n_samples: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> "Figure":
    """
    Draw the distribution of each column in samples of the model; or images sampled from it.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    X : DataFrame or array-like, optional
        (rows, columns): their distribution is drawn as well. The first 32 images are drawn above the samples.
    n_samples : int, optional
        Rows to sample; by default 1,000, or 64 images.
    random_state : int, RandomState or None
        Same number, same figure.

    Returns
    -------
    Figure
        Histograms of numbers and dates, and bars of categories and flags, for the first 16 columns; below a histogram,
        the percentage outside it. For a model of images, a grid of them.

    Raises
    ------
    NoDensityError
        The model is a plain autoencoder.
    DataError
        ``X`` does not fit the model.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.plots import plot_samples
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = VAEDetector(max_iter=40, random_state=0).fit(X)
    >>> plot_samples(detector, X, random_state=0).get_suptitle()
    '1,000 rows sampled from the model, 200 of the table'
    """
    require_fitted(detector)
    if n_samples is None:
        n_samples = 1000 if detector.image_shape is None else 64
    samples = detector.sample(n_samples, random_state=random_state)
    if detector.image_shape is not None:
        return _plot_images(detector, detector.image_shape, X, samples)
    table, samples = None if X is None else observed_rows(detector, X), named_rows(detector, samples)
    columns = columns_in_use(detector)
    shown = columns[:MOST_COLUMNS]
    title = f"{counted(n_samples, 'rows')} sampled from the model"
    title += "" if table is None else f", {len(table):,} of the table"
    title += "" if len(shown) == len(columns) else f": {counted_of(len(shown), len(columns), 'columns')}"
    figure, grid = new_panels(title, len(shown), 1.75)
    for axes, column in zip(grid, shown, strict=True):
        (_draw_levels if column.is_level else _draw_numbers)(axes, column, table, samples)
        name_panel(axes, column.title(24))
    if table is not None:
        _draw_legend(figure)
    return figure


def _plot_images(detector: "VAEDetector", shape: Shape, X: Any, samples: Any) -> "Figure":
    """Lines of at most eight samples, below lines of images of ``X``; a short last line ends in grey."""
    sampled = detector.model_.encode(samples)  # pixels from 0 to 1
    title = f"{counted(len(sampled), 'images')} sampled from the model"
    if X is None:
        return image_grid(sampled, shape, 8, title=title)
    observed = detector.model_.encode(X)
    first = observed[:32]
    across = min(8, max(len(first), len(sampled)))
    parts = {"observed": fill_last_line(first, across), "model": fill_last_line(sampled, across)}
    names = [name for name, pixels in parts.items() for _ in range(len(pixels) // across)]
    title = f"{title} below {counted_of(len(first), len(observed), 'observed')}"
    return image_grid(np.concatenate(list(parts.values())), shape, across, title=title, rows=names)


def _draw_numbers(axes: "Axes", column: PlottedColumn, table: pd.DataFrame | None, samples: pd.DataFrame) -> None:
    """Histograms on common bins, and the percentage of values outside them."""
    sampled, observed = column.numbers(samples), np.empty(0) if table is None else column.numbers(table)
    sampled, observed = sampled[~np.isnan(sampled)], observed[~np.isnan(observed)]
    edges = _bin_edges(observed if len(observed) else sampled)
    if table is not None:
        axes.stairs(_bin_fractions(observed, edges), edges, fill=True, color=TABLE)
    axes.stairs(_bin_fractions(sampled, edges), edges, color=MODEL, linewidth=1.6)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_yticks([])
    column.set_ticks(axes.xaxis)
    axes.spines["left"].set_visible(False)
    outside = {
        name: float(np.mean((values < edges[0]) | (values > edges[-1])))
        for name, values in {"table": observed, "model": sampled}.items()
        if len(values)
    }
    notes = [f"{percent(fraction)} of the {name}" for name, fraction in outside.items() if fraction >= 0.01]
    axes.set_xlabel(f"outside: {', '.join(notes)}" if notes else "", fontsize=SMALL, color=QUIET)


def _bin_edges(numbers: np.ndarray) -> np.ndarray:
    """Edges of about 24 bins over the middle 99 % of the numbers, wider by a tenth on each side.

    Whole numbers are in the middle of their bins.
    """
    n_bins = 24
    if not len(numbers):
        return np.linspace(0, 1, n_bins + 1)
    low, high = np.percentile(numbers, [0.5, 99.5])
    margin = 0.1 * (high - low)
    if (numbers == np.rint(numbers)).all():
        width = max(1, np.rint((high - low + 2 * margin) / n_bins))
        first = np.rint(low - margin) - 0.5
        return first + width * np.arange(np.ceil((high + margin - first) / width) + 1)
    if low == high:
        margin = max(abs(low), 1.0) / 10
    return np.linspace(low - margin, high + margin, n_bins + 1)


def _bin_fractions(numbers: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(numbers, edges)[0] / max(len(numbers), 1)


def _draw_levels(axes: "Axes", column: PlottedColumn, table: pd.DataFrame | None, samples: pd.DataFrame) -> None:
    """Bars of up to six levels, the most frequent first."""
    sampled = column.levels(samples)
    observed = sampled if table is None else column.levels(table)
    names = most_frequent(np.concatenate([observed, sampled]), 7)
    names = names if len(names) <= 6 else names[:5]
    sources = [(sampled, MODEL)] if table is None else [(observed, TABLE), (sampled, MODEL)]
    sources = [(group_levels(levels[pd.notna(levels)], names), colour) for levels, colour in sources]
    shown = [*names, OTHERS] if any((levels == OTHERS).any() for levels, _ in sources) else names
    height = 0.8 / len(sources)
    for index, (levels, colour) in enumerate(sources):
        fractions = [(levels == name).mean() if len(levels) else 0.0 for name in shown]
        axes.barh(np.arange(len(shown)) + index * height, fractions, height, color=colour)
    axes.set_yticks(np.arange(len(shown)) + (len(sources) - 1) * height / 2, [label(name, 12) for name in shown])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: percent(value))


def _draw_legend(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=TABLE, label="table"), Patch(color=MODEL, label="model")]
    figure.legend(handles=patches, loc="outside lower right", ncols=2, fontsize=SMALL, frameon=False)
