"""Rows drawn from a model: the distribution of each column, beside that of a table's rows."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from vae_anomaly.formatting import counted, counted_of, label, percent
from vae_anomaly.plots.columns import OTHERS, Shown, columns_in_use, decoded, grouped, most_frequent, observed
from vae_anomaly.plots.figures import MODEL, MOST_COLUMNS, QUIET, SMALL, TABLE, name_panel, panels, require_matplotlib
from vae_anomaly.plots.pixels import Shape, image_grid, pixels_of, whole_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

_ROWS, _IMAGES, _IMAGES_ACROSS = 1000, 64, 8
_MOST_BESIDE = 32
_MOST_LEVELS = 6
_BINS = 24
_TAIL = 0.5  # percent of the rows on each side that need not lie in the picture
_TOLD = 0.01  # share of rows beyond the picture from which on it is told


def plot_samples(
    detector: "VAEDetector",
    X: Any = None,
    *,
    n_samples: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> "Figure":
    """
    Draw how rows out of the model are distributed, column by column; or images out of the model.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    X : DataFrame or array-like, optional
        (rows, columns): their distribution stands beside that of the samples. Of images, the first 32 stand above them.
    n_samples : int, optional
        Rows to draw; by default 1,000, or 64 images.
    random_state : int, RandomState or None
        Same number, same picture.

    Returns
    -------
    Figure
        Histograms of numbers and dates, bars of categories and flags, for the first 16 columns; what lies beyond a
        histogram is told below it. Of a model of images, a grid of them.

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
    '1,000 rows out of the model beside 200 of the table'
    """
    require_matplotlib()
    check_is_fitted(detector)
    shape = detector.image_shape
    if shape is not None:
        return _plot_images(detector, shape, X, _IMAGES if n_samples is None else n_samples, random_state)
    table = None if X is None else observed(detector, X)
    drawn = decoded(detector, detector.sample(_ROWS if n_samples is None else n_samples, random_state=random_state))
    columns = columns_in_use(detector)
    shown = columns[:MOST_COLUMNS]
    figure, grid = panels(_title(drawn, table, len(shown), len(columns)), len(shown), 1.75)
    for axes, column in zip(grid, shown, strict=True):
        (_draw_levels if column.is_level else _draw_numbers)(axes, column, table, drawn)
        name_panel(axes, column.title(20))
    if table is not None:
        _draw_legend(figure)
    return figure


def _plot_images(detector: "VAEDetector", shape: Shape, X: Any, n_samples: int, random_state: Any) -> "Figure":
    """Lines of samples; images of ``X`` in lines above them, of which a short last one is filled with grey."""
    drawn = pixels_of(detector, detector.sample(n_samples, random_state=random_state))
    title = f"{counted(n_samples, 'images')} out of the model"
    if X is None:
        return image_grid(drawn, shape, _IMAGES_ACROSS, title=title)
    given = pixels_of(detector, X)
    first = given[:_MOST_BESIDE]
    across = min(_IMAGES_ACROSS, max(len(first), n_samples))
    lines = [whole_lines(first, across), whole_lines(drawn, across)]
    names = [name for name, line in zip(("observed", "model"), lines, strict=True) for _ in range(len(line) // across)]
    title = f"{title} below {counted_of(len(first), len(given), 'observed')}"
    return image_grid(np.concatenate(lines), shape, across, title=title, rows=names)


def _title(drawn: pd.DataFrame, table: pd.DataFrame | None, shown: int, total: int) -> str:
    beside = "" if table is None else f" beside {len(table):,} of the table"
    part = "" if shown == total else f": {counted_of(shown, total, 'columns')}"
    return f"{counted(len(drawn), 'rows')} out of the model{beside}{part}"


def _draw_numbers(axes: "Axes", column: Shown, table: pd.DataFrame | None, drawn: pd.DataFrame) -> None:
    """Histograms of shares on common bins."""
    samples, rows = _seen(column.numbers(drawn)), _seen(np.empty(0) if table is None else column.numbers(table))
    edges = _edges(rows if len(rows) else samples)
    if table is not None:
        axes.stairs(_shares(rows, edges), edges, fill=True, color=TABLE)
    axes.stairs(_shares(samples, edges), edges, color=MODEL, linewidth=1.6)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_yticks([])
    column.ticks(axes.xaxis)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(_beyond(rows, samples, edges), fontsize=SMALL, color=QUIET)


def _draw_levels(axes: "Axes", column: Shown, table: pd.DataFrame | None, drawn: pd.DataFrame) -> None:
    """Bars of shares, the table's most frequent levels first."""
    samples = column.levels(drawn)
    rows = samples if table is None else column.levels(table)
    names = most_frequent(np.concatenate([rows, samples]), _MOST_LEVELS + 1)
    names = names if len(names) <= _MOST_LEVELS else names[: _MOST_LEVELS - 1]
    parts = [(samples, MODEL)] if table is None else [(rows, TABLE), (samples, MODEL)]
    parts = [(grouped(levels[pd.notna(levels)], names), colour) for levels, colour in parts]
    found = [*names, OTHERS] if any((levels == OTHERS).any() for levels, _ in parts) else names
    height = 0.8 / len(parts)
    for place, (levels, colour) in enumerate(parts):
        shares = [(levels == name).mean() if len(levels) else 0.0 for name in found]
        axes.barh(np.arange(len(found)) + place * height, shares, height, color=colour)
    axes.set_yticks(np.arange(len(found)) + (len(parts) - 1) * height / 2, [label(name, 12) for name in found])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: percent(value))


def _seen(numbers: np.ndarray) -> np.ndarray:
    return numbers[~np.isnan(numbers)]


def _edges(numbers: np.ndarray) -> np.ndarray:
    """Edges of bins for all but the tails, and a tenth more on each side; whole numbers stand in the middle of bins."""
    if not len(numbers):
        return np.linspace(0, 1, _BINS + 1)
    low, high = np.percentile(numbers, [_TAIL, 100 - _TAIL])
    margin = 0.1 * (high - low)
    if (numbers == np.rint(numbers)).all():
        width = max(1, np.rint((high - low + 2 * margin) / _BINS))
        first = np.rint(low - margin) - 0.5
        return first + width * np.arange(np.ceil((high + margin - first) / width) + 1)
    if low == high:
        margin = max(abs(low), 1.0) / 10
    return np.linspace(low - margin, high + margin, _BINS + 1)


def _shares(numbers: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(numbers, edges)[0] / max(len(numbers), 1)


def _beyond(rows: np.ndarray, samples: np.ndarray, edges: np.ndarray) -> str:
    """How many lie beyond the bins, where they are not next to none."""
    outside = {
        name: np.mean((numbers < edges[0]) | (numbers > edges[-1]))
        for name, numbers in {"table": rows, "model": samples}.items()
        if len(numbers)
    }
    told = [f"{percent(part)} of the {name}" for name, part in outside.items() if part >= _TOLD]
    return f"beyond: {', '.join(told)}" if told else ""


def _draw_legend(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    parts = [Patch(color=TABLE, label="table"), Patch(color=MODEL, label="model")]
    figure.legend(handles=parts, loc="outside lower right", ncols=2, fontsize=SMALL, frameon=False)
