"""Traversals of latents: the expected value of each column as one latent changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted_of, label, tick_label
from vae_anomaly.plots.axis_values import (
    OTHERS,
    PlottedColumn,
    columns_in_use,
    group_levels,
    most_frequent,
    named_rows,
)
from vae_anomaly.plots.figures import (
    MEDIUM,
    MODEL,
    SMALL,
    WIDTH,
    name_panel,
    new_figure,
    require_fitted,
    style_axes,
)
from vae_anomaly.plots.images import image_grid
from vae_anomaly.plots.latents import latent_name, ordered_latents

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector


def plot_traversal(
    detector: "VAEDetector", *, dimensions: Sequence[int] | None = None, span: float = 3.0, n_samples: int = 11
) -> "Figure":
    """
    Draw the rows that the model expects along some latents, with the other latents at their means.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    dimensions : sequence of int, optional
        Latents, from 0, in the order in which they are drawn; by default the active ones by their KL, at most 6.
    span : float
        Distance from the latent's mean on either side, in standard deviations of the latent.
    n_samples : int
        Steps of a traversal.

    Returns
    -------
    Figure
        A line of panels for each latent: the columns that change most along it, in standard deviations of the training
        rows, at most 6. A column has the same scale in every line. For a model of images, a line of images for each
        latent.

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
    require_fitted(detector)
    tables = traverse_latents(detector, dimensions, span=span, n_samples=n_samples)
    title = f"Traversal of {counted_of(len(tables), detector.n_components_, 'latents')}"
    if detector.image_shape is not None:
        pixels = np.concatenate([detector.schema_.encode(table) for table in tables.values()])
        names = [latent_name(detector, latent) for latent in tables]
        return image_grid(pixels, detector.image_shape, n_samples, title=title, rows=names)
    return _plot_columns(detector, tables, title)


def traverse_latents(
    detector: "VAEDetector", dimensions: Sequence[int] | None = None, *, span: float = 3.0, n_samples: int = 11
) -> dict[int, pd.DataFrame]:
    """A table for each latent, with the latent's values as its index; by default of the active latents, by their KL."""
    if dimensions is None:
        ordered, active = ordered_latents(detector), detector.latents_["active"].to_numpy()
        dimensions = [latent for latent in ordered if active[latent]][:6] or ordered[:1]
    if not len(dimensions):
        raise DataError("There is no latent to traverse. Name one, or leave dimensions out.")
    latents, tables = detector.model_.latents, {}
    for latent in dimensions:
        rows = named_rows(detector, detector.traverse(latent, span=span, n_samples=n_samples))
        values = latents.mean[latent] + latents.reach[latent] * np.linspace(-span, span, n_samples)
        tables[latent] = rows.set_axis(pd.Index(values))  # the rows of an array model have no index
    return tables


def _plot_columns(detector: "VAEDetector", tables: dict[int, pd.DataFrame], title: str) -> "Figure":
    """A line of panels for each latent."""
    columns, schema = columns_in_use(detector), detector.schema_
    owners = [cell.column for cell in schema.cells]
    first_cells = [owners.index(column) for column in range(len(columns))]
    cells = {latent: schema.encode(table)[:, first_cells] for latent, table in tables.items()}
    scales = [
        _scale_of(column, tables, np.concatenate([part[:, index] for part in cells.values()]))
        for index, column in enumerate(columns)
    ]
    across = min(len(columns), 6)
    figure = new_figure(title, 0.8 + 1.45 * len(tables), WIDTH * max(across, 3) / 6)
    grid = figure.subplots(len(tables), across, squeeze=False)
    are_levels = np.array([column.is_level for column in columns])
    for line, (latent, table) in zip(grid, tables.items(), strict=True):
        changes = np.ptp(cells[latent], axis=0)
        changes = np.where(are_levels, 2.0 * (changes > 0), changes)  # 2: the distance of the values of an even flag
        for axes, index in zip(line, np.argsort(-changes, kind="stable"), strict=False):
            style_axes(axes)
            name_panel(axes, columns[index].title(12), SMALL)
            scales[index].draw(axes, table)
            ends = [float(table.index[0]), float(table.index[-1])]
            # names of levels leave space for two ticks
            axes.set_xticks(ends, [tick_label(float(f"{end:.2g}")) for end in ends])
        line[0].set_ylabel(latent_name(detector, latent).replace(" (", "\n("), fontsize=MEDIUM)
    figure.align_ylabels(grid[:, 0])
    figure.supxlabel("value of the latent", fontsize=MEDIUM)
    return figure


@dataclass(frozen=True)
class NumberScale:
    """Numbers or dates between two ends, the same for every latent."""

    column: PlottedColumn
    low: float
    high: float

    def draw(self, axes: "Axes", table: pd.DataFrame) -> None:
        """Draw a traversal as a line."""
        axes.plot(table.index, self.column.numbers(table), color=MODEL, linewidth=1.6)
        axes.set_ylim(self.low, self.high)
        self.column.set_ticks(axes.yaxis)


@dataclass(frozen=True)
class LevelScale:
    """Levels, each at its height, in the same order for every latent."""

    column: PlottedColumn
    order: list[str]

    def draw(self, axes: "Axes", table: pd.DataFrame) -> None:
        """Draw a traversal as steps; the most frequent levels have a height of their own."""
        levels = self.column.levels(table)
        levels = group_levels(levels, most_frequent(levels, 6))
        names = [name for name in (*self.order, OTHERS) if name in levels]
        axes.step(table.index, [names.index(level) for level in levels], where="mid", color=MODEL, linewidth=1.6)
        axes.set_yticks(range(len(names)), [label(name, 10) for name in names])
        axes.set_ylim(-0.5, len(names) - 0.5)


def _scale_of(column: PlottedColumn, tables: dict[int, pd.DataFrame], cells: np.ndarray) -> NumberScale | LevelScale:
    """A scale that holds all traversals of a column.

    It covers at least one standard deviation of the training rows, so that a constant column does not seem to change;
    ``cells`` are the encoded values of the column in all traversals.
    """
    if column.is_level:
        levels = np.concatenate([column.levels(table) for table in tables.values()])
        return LevelScale(column, list(dict.fromkeys(levels)))
    numbers = np.concatenate([column.numbers(table) for table in tables.values()])
    low, high = numbers.min(), numbers.max()
    change = np.ptp(cells)
    widening = max(1.0, 1.0 / change) if change > 0 else 1.0
    middle, half = (low + high) / 2, 0.55 * widening * (high - low) or max(abs(low), 1.0) / 10
    return NumberScale(column, middle - half, middle + half)
