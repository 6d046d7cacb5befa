"""Two columns of a table against each other, with the anomalous rows marked."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError
from vae_anomaly.explain.shown import ShownRows
from vae_anomaly.formatting import counted, wrapped
from vae_anomaly.plots.axis_values import PlottedColumn, columns_in_use
from vae_anomaly.plots.figures import (
    ACCENT,
    MEDIUM,
    QUIET,
    SMALL,
    TABLE,
    axis_ends,
    new_figure,
    require_fitted,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

MOST_LEVELS = 12  # of a column on an axis
MOST_EXPLAINED = 200  # anomalous rows whose reasons choose the columns


def plot_anomalies(detector: "VAEDetector", X: Any, *, x: Any = None, y: Any = None) -> "Figure":
    """
    Draw the rows of a table on two of its columns, with the anomalous ones marked.

    Parameters
    ----------
    detector : VAEDetector
        Fitted to a table.
    X : DataFrame or array-like
        (rows, columns).
    x, y : str or int, optional
        Columns that the model uses. By default those that lead the reasons of the anomalous rows.

    Returns
    -------
    Figure
        Numbers and dates are on a scale; categories are lines of dots.

    Raises
    ------
    DataError
        ``X`` does not fit the model, the model uses no such column or only one, or it is of images.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.plots import plot_anomalies
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.9], [0, 0.1]]
    >>> detector = VAEDetector(random_state=0).fit(X)
    >>> plot_anomalies(detector, np.vstack([X, [[1, -0.9]]]), x="x0").axes[0].get_ylabel()
    'x1'
    """
    require_fitted(detector)
    if detector.image_shape is not None:
        raise DataError("Images have no two columns to draw. Use plot.latents or plot.reconstructions.")
    columns = {column.name: column for column in columns_in_use(detector)}
    for name in (x, y):
        if name is not None and name not in columns:
            raise DataError(f"The model uses no column {name!r}. Name one of: {', '.join(map(str, columns))}.")
    if len(columns) < 2:
        raise DataError("The model uses one column; two are needed. Use plot.scores.")
    table, scores = detector.model_.frame_of(X), detector.anomaly_score(X)
    flagged = scores > -float(detector.offset_)
    if x is None or y is None:
        explained = np.argsort(-scores, kind="stable")[: max(1, min(int(flagged.sum()), MOST_EXPLAINED))]
        rows = table.iloc[explained] if detector.model_.is_frame else np.asarray(X)[explained]
        shown = ShownRows.of(detector.model_, rows)
        order = [name for name in leading_columns(detector, shown) if name not in (x, y)]
        x = order.pop(0) if x is None else x
        y = next(name for name in order if name != x) if y is None else y
    are = "is" if flagged.sum() == 1 else "are"
    figure = new_figure(f"{int(flagged.sum()):,} of {counted(len(scores), 'rows')} {are} anomalous", 4.6, 7.0)
    axes = figure.subplots()
    style_axes(axes, ticks=7)
    points = np.column_stack(
        [_positions(columns[name], table, axis) for name, axis in ((x, axes.xaxis), (y, axes.yaxis))]
    )
    _draw_dots(axes, points, flagged)
    axes.set_xlabel(wrapped(x, 80), fontsize=MEDIUM)
    axes.set_ylabel(wrapped(y, 50), fontsize=MEDIUM)
    figure.legend(loc="outside lower left", ncols=2, fontsize=SMALL, frameon=False)
    return figure


def _draw_dots(axes: "Axes", points: np.ndarray, flagged: np.ndarray) -> None:
    """Dots of rows (rows, 2), NaN where missing, with a note on those that cannot be drawn in their place."""
    is_drawn = ~np.isnan(points).any(axis=1)
    ends = [axis_ends(column) if is_drawn.any() else (0.0, 1.0) for column in points.T]
    axes.set(xlim=ends[0], ylim=ends[1])
    x, y = points.clip(*np.array(ends).T).T
    size = float(np.clip(6000 / len(points), 5, 18))
    many = len(points) > 5000
    axes.scatter(x[~flagged], y[~flagged], size, TABLE, alpha=0.7, linewidths=0, rasterized=many, label="other rows")
    style: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.6, "clip_on": False, "label": "anomalous"}
    axes.scatter(x[flagged], y[flagged], 34, ACCENT, **style)
    hidden = int((flagged & ~is_drawn).sum())
    note = f"; {counted(hidden, 'anomalous rows')} without one of the two values" if hidden else ""
    axes.set_title(f"values beyond an edge are drawn on it{note}", loc="left", fontsize=SMALL, color=QUIET)


def leading_columns(detector: "VAEDetector", shown: ShownRows, least: float = 0.0) -> list[str | int]:
    """Columns in use with at ``least`` this mean part in the surprise of explained rows, largest first.

    A missing cell does not count, for a plane does not show it. Categories come before numbers and dates only where
    they lead by far.
    """
    favour = 3.0  # of a number or date over a category, of which a plane shows less
    columns = columns_in_use(detector)
    parts = np.where(shown.found.value.isna(), 0.0, shown.shares[:, :-1]).mean(axis=0)
    weights = parts / [favour if column.is_level else 1.0 for column in columns]
    return [columns[index].name for index in np.argsort(-weights, kind="stable") if parts[index] >= least]


def _positions(column: PlottedColumn, table: pd.DataFrame, axis: "Axis") -> np.ndarray:
    """Positions of the rows on an axis, (rows,), which gets ticks for them; NaN where missing."""
    positions, names = column.places(table, MOST_LEVELS)
    if column.is_level:
        axis.set_ticks(range(len(names)), [wrapped(name, 16) for name in names])
    else:
        column.set_ticks(axis)
    return positions
