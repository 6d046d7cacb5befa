"""What a model makes of rows: each column as it was observed, against what comes back."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from vae_anomaly.formatting import counted, counted_of, label, percent
from vae_anomaly.plots.columns import OTHERS, Shown, columns_in_use, decoded, grouped, most_frequent, observed
from vae_anomaly.plots.figures import ACCENT, MODEL, MOST_COLUMNS, SMALL, USUAL, name_panel, panels, require_matplotlib
from vae_anomaly.plots.pixels import Shape, image_grid, pixels_of, whole_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

_MOST_LEVELS = 5
_LETTERS = 22  # of all names below a panel, that stand side by side
_DARK = 0.6  # share from which on a field is too dark for black text
_MOST_IMAGES, _IMAGES_ACROSS = 30, 10


def plot_reconstructions(detector: "VAEDetector", X: Any) -> "Figure":
    """
    Draw each column as it was observed, against what the model makes of it; or images above what comes back.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    X : DataFrame or array-like
        (rows, columns). Missing cells are left out.

    Returns
    -------
    Figure
        For the first 16 columns. Numbers and dates are points about the diagonal, with R², the share of the variance
        that comes back. Categories and flags are a table of shares: of the rows with this level, so many come back
        with that one. Of a model of images, the first 30 in pairs.

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
    require_matplotlib()
    check_is_fitted(detector)
    shape = detector.image_shape
    if shape is not None:
        return _plot_images(detector, shape, X)
    table, made = observed(detector, X), decoded(detector, detector.reconstruct(X))
    columns = columns_in_use(detector)
    shown = columns[:MOST_COLUMNS]
    part = "" if len(shown) == len(columns) else f", {counted_of(len(shown), len(columns), 'columns')}"
    title = f"Observed and reconstructed: {counted(len(table), 'rows')}{part}"
    figure, grid = panels(title, len(shown), 2.1)
    for axes, column in zip(grid, shown, strict=True):
        (_draw_levels if column.is_level else _draw_numbers)(axes, column, table, made)
    fields = " (in fields: percent of the rows observed so)" if any(column.is_level for column in shown) else ""
    figure.supxlabel(f"observed{fields}", fontsize=USUAL)
    figure.supylabel("reconstructed", fontsize=USUAL)
    return figure


def _plot_images(detector: "VAEDetector", shape: Shape, X: Any) -> "Figure":
    """Lines of images, each above the line of what the model makes of them; a short last line is filled with grey."""
    first = X[:_MOST_IMAGES]
    across = min(len(first), _IMAGES_ACROSS)
    seen, made = (whole_lines(pixels_of(detector, rows), across) for rows in (first, detector.reconstruct(first)))
    in_turn = np.stack([seen.reshape(-1, across, seen.shape[1]), made.reshape(-1, across, made.shape[1])], axis=1)
    title = f"Observed, and below it reconstructed: {counted_of(len(first), len(X), 'images')}"
    names = ["observed", "model"] * len(in_turn)
    return image_grid(in_turn.reshape(-1, seen.shape[1]), shape, across, title=title, rows=names)


def _draw_numbers(axes: "Axes", column: Shown, table: pd.DataFrame, made: pd.DataFrame) -> None:
    seen, back = column.numbers(table), column.numbers(made)
    both = ~(np.isnan(seen) | np.isnan(back))
    seen, back = seen[both], back[both]
    dots = float(np.clip(1500 / max(len(seen), 1), 2, 12))
    axes.axline((0, 0), slope=1, color=ACCENT, linewidth=1)
    axes.scatter(seen, back, s=dots, color=MODEL, alpha=0.5, linewidths=0, rasterized=len(seen) > 5000)
    if len(seen):
        ends = min(seen.min(), back.min()), max(seen.max(), back.max())
        margin = 0.05 * (ends[1] - ends[0]) or 0.5
        axes.set(xlim=(ends[0] - margin, ends[1] + margin), ylim=(ends[0] - margin, ends[1] + margin))
    for axis in (axes.xaxis, axes.yaxis):
        column.ticks(axis)
    spread = np.square(seen - seen.mean()).sum() if len(seen) else 0.0
    told = f": R² {1 - np.square(seen - back).sum() / spread:.2f}" if spread > 0 else ""
    name_panel(axes, f"{column.title(16)}{told}")


def _draw_levels(axes: "Axes", column: Shown, table: pd.DataFrame, made: pd.DataFrame) -> None:
    """A field for each pair of levels, the darker the more of the rows observed with the one come back as the other."""
    seen, back = column.levels(table), column.levels(made)
    known = pd.notna(seen)
    seen, back = seen[known], back[known]
    names = most_frequent(np.concatenate([seen, back]), _MOST_LEVELS + 1)
    names = names if len(names) <= _MOST_LEVELS else [*names[: _MOST_LEVELS - 1], OTHERS]
    shares = _shares(grouped(seen, names), grouped(back, names), names)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", origin="lower")
    for (line, place), part in np.ndenumerate(shares):
        colour = "white" if part > _DARK else "black"
        axes.text(place, line, f"{100 * part:.0f}", ha="center", va="center", color=colour, fontsize=SMALL)
    labels = [label(name, 10) for name in names]
    axes.set_yticks(range(len(names)), labels)
    axes.set_xticks(range(len(names)), labels)
    if sum(map(len, labels)) > _LETTERS:
        for tick in axes.get_xticklabels():
            tick.set(rotation=30, rotation_mode="anchor", horizontalalignment="right")
    right = f": {percent(float(np.mean(seen == back)))} right" if len(seen) else ""
    name_panel(axes, f"{column.title(14)}{right}")


def _shares(seen: np.ndarray, back: np.ndarray, names: list[str]) -> np.ndarray:
    """Of the rows observed with a level, the share that comes back with another, (reconstructed, observed)."""
    counts = np.array([[np.sum((seen == one) & (back == other)) for one in names] for other in names])
    return counts / np.maximum(counts.sum(axis=0), 1)
