"""Walks along the latents of a model: what moves in the table when one latent does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted_of, label, tick_label
from vae_anomaly.plots.columns import OTHERS, Shown, columns_in_use, decoded, grouped, most_frequent
from vae_anomaly.plots.figures import MODEL, SMALL, USUAL, WIDTH, dress, name_panel, new_figure, require_matplotlib
from vae_anomaly.plots.latents import by_weight, latent_name
from vae_anomaly.plots.pixels import image_grid, pixels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

_MOST_LATENTS, _MOST_PANELS, _MOST_NAMES = 6, 6, 6
_CHANGE = 2.0  # deviations that a change of category counts: as a flag that is true in half of the rows moves by


def plot_traversal(
    detector: "VAEDetector", *, dimensions: Sequence[int] | None = None, span: float = 3.0, n_samples: int = 11
) -> "Figure":
    """
    Draw what the model expects along each of some latents, the others held at their means.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    dimensions : sequence of int, optional
        Latents, from 0, in the order in which they are drawn; by default the active ones by their KL, at most 6.
    span : float
        How far a walk goes to either side of the latent's mean, in standard deviations of its codes.
    n_samples : int
        Steps of a walk.

    Returns
    -------
    Figure
        A line of panels for each latent: the columns that move furthest along it, in deviations of the training rows,
        at most 6. A column has the same scale in every line. Of a model of images, a line of images for each latent.

    Raises
    ------
    DataError
        There is no such latent.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.plots import plot_traversal
    >>> x = np.random.default_rng(0).normal(size=(300, 1))
    >>> detector = VAEDetector(purpose="representation", max_iter=60, random_state=0).fit(np.hstack([x, 3 * x]))
    >>> len(plot_traversal(detector, dimensions=[0, 1]).axes)
    4
    """
    require_matplotlib()
    check_is_fitted(detector)
    tables = walks(detector, dimensions, span=span, n_samples=n_samples)
    title = f"Walks along {counted_of(len(tables), detector.n_components_, 'latents')}"
    shape = detector.image_shape
    if shape is not None:
        pixels = np.concatenate([pixels_of(detector, table) for table in tables.values()])
        return image_grid(
            pixels, shape, n_samples, title=title, rows=[latent_name(detector, place) for place in tables]
        )
    return _plot_lines(detector, tables, title)


def walks(
    detector: "VAEDetector", dimensions: Sequence[int] | None = None, *, span: float = 3.0, n_samples: int = 11
) -> dict[int, pd.DataFrame]:
    """Table of each walk, its index the latent's value; by default along the active latents, by their KL."""
    if dimensions is None:
        ordered, active = by_weight(detector), detector.latents_["active"].to_numpy()
        dimensions = [place for place in ordered if active[place]][:_MOST_LATENTS] or ordered[:1]
    if not len(dimensions):
        raise DataError("No latent to walk along was named. Name one, or leave dimensions out.")
    return {place: _walk(detector, place, span, n_samples) for place in dimensions}


def _walk(detector: "VAEDetector", place: int, span: float, n_samples: int) -> pd.DataFrame:
    """The walk as a table with the latent's values as its index, of a model that was fitted to an array too."""
    rows = decoded(detector, detector.traverse(place, span=span, n_samples=n_samples))
    mean, deviation, noise = detector.latents_[["mean", "std", "posterior_std"]].iloc[place]
    reach = np.hypot(deviation, noise) or 1.0
    return rows.set_axis(pd.Index(mean + reach * np.linspace(-span, span, n_samples)))


def _plot_lines(detector: "VAEDetector", tables: dict[int, pd.DataFrame], title: str) -> "Figure":
    """A line of panels for each latent."""
    columns = columns_in_use(detector)
    cells = {latent: detector.schema_.encode(table)[:, _first_cells(detector)] for latent, table in tables.items()}
    scales = [
        _scale(column, tables, [part[:, place] for part in cells.values()]) for place, column in enumerate(columns)
    ]
    across = min(len(columns), _MOST_PANELS)
    figure = new_figure(title, 0.8 + 1.45 * len(tables), WIDTH * max(across, 3) / _MOST_PANELS)
    grid = figure.subplots(len(tables), across, squeeze=False)
    levels = np.array([column.is_level for column in columns])
    for line, (latent, table) in zip(grid, tables.items(), strict=True):
        for axes, place in zip(line, np.argsort(-_moves(cells[latent], levels), kind="stable"), strict=False):
            dress(axes)
            name_panel(axes, columns[place].title(14), SMALL)
            scales[place].draw(axes, table)
            ends = [float(table.index[0]), float(table.index[-1])]
            # two ticks fit where names of levels leave little room
            axes.set_xticks(ends, [tick_label(float(f"{end:.2g}")) for end in ends])
        line[0].set_ylabel(latent_name(detector, latent).replace(" (", "\n("), fontsize=USUAL)
    figure.align_ylabels(grid[:, 0])
    figure.supxlabel("value of the latent", fontsize=USUAL)
    return figure


def _first_cells(detector: "VAEDetector") -> list[int]:
    """Where in the encoded table each column has its first cell: its number, flag or code."""
    owners = [cell.column for cell in detector.schema_.cells]
    return [owners.index(place) for place in range(len(detector.schema_.names))]


def _moves(cells: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """How far each column moves along a walk (steps, columns), in deviations of the training rows."""
    far = np.ptp(cells, axis=0)
    return np.where(levels, _CHANGE * (far > 0), far)


@dataclass(frozen=True)
class NumberScale:
    """Numbers or dates between two ends that are the same along every latent."""

    column: Shown
    low: float
    high: float

    def draw(self, axes: "Axes", table: pd.DataFrame) -> None:
        """Draw the walk as a line."""
        axes.plot(table.index, self.column.numbers(table), color=MODEL, linewidth=1.6)
        axes.set_ylim(self.low, self.high)
        self.column.ticks(axes.yaxis)


@dataclass(frozen=True)
class LevelScale:
    """Levels on lines of their own, in an order that is the same along every latent."""

    column: Shown
    order: list[str]

    def draw(self, axes: "Axes", table: pd.DataFrame) -> None:
        """Draw the walk as steps."""
        levels = self.column.levels(table)
        known = most_frequent(levels, _MOST_NAMES)
        levels = grouped(levels, known)
        names = [name for name in (*self.order, OTHERS) if name in levels]
        axes.step(table.index, [names.index(level) for level in levels], where="mid", color=MODEL, linewidth=1.6)
        axes.set_yticks(range(len(names)), [label(name, 10) for name in names])
        axes.set_ylim(-0.5, len(names) - 0.5)


def _scale(column: Shown, tables: dict[int, pd.DataFrame], cells: list[np.ndarray]) -> NumberScale | LevelScale:
    """What holds all walks of a column, and one deviation of the training rows, lest a still column seem to move."""
    if column.is_level:
        levels = np.concatenate([column.levels(table) for table in tables.values()])
        return LevelScale(column, list(dict.fromkeys(levels)))
    numbers = np.concatenate([column.numbers(table) for table in tables.values()])
    low, high = numbers.min(), numbers.max()
    far = np.ptp(np.concatenate(cells))
    widened = max(1.0, 1.0 / far) if far > 0 else 1.0
    middle, half = (low + high) / 2, 0.55 * widened * (high - low) or max(abs(low), 1.0) / 10
    return NumberScale(column, middle - half, middle + half)
