"""Two plots of a setting: mean ranks with their intervals, and accuracy against time."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.accuracy.summary import MEASURES, grid, rank_intervals, seconds
from benchmarks.shared.page import HIGHLIGHT, NEUTRAL
from benchmarks.shared.peers import OURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

POSITIONS = [  # offset of a label from its marker in points, and its alignment; the preferred position first
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
    (6, 8, "left", "bottom"),
    (6, -8, "left", "top"),
    (-6, 8, "right", "bottom"),
    (-6, -8, "right", "top"),
    (0, 18, "center", "bottom"),
    (0, -18, "center", "top"),
]


def plot_ranks(complete: pd.DataFrame, path: Path) -> None:
    """Mean rank of each method by both measures, the best at the top, with intervals over sets."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.2 + 0.32 * complete["method"].nunique()), layout="constrained")
    for axes, (measure, name) in zip(figure.subplots(1, 2), MEASURES.items(), strict=True):
        _rank_axes(axes, rank_intervals(complete, measure), name)
    figure.suptitle(f"{_setting(complete)}: mean rank over the sets (1 is best), with 95 % bootstrap intervals")
    figure.savefig(path, dpi=150)


def _rank_axes(axes: "Axes", table: pd.DataFrame, name: str) -> None:
    for y, row in enumerate(table.itertuples()):
        colour = _colour(str(row.Index))
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot(row.rank, y, "o", color=colour)
    axes.set_yticks(range(len(table)), table.index)
    for label in axes.get_yticklabels():
        _highlight(label, label.get_text())
    axes.invert_yaxis()
    axes.set_xlabel(f"rank by {name}")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)


def plot_time(complete: pd.DataFrame, path: Path) -> None:
    """Mean AUROC of each method against its seconds over all sets."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    points = pd.DataFrame({"x": seconds(complete), "y": grid(complete, "auroc").mean()})
    axes.scatter(points["x"], points["y"], color=[_colour(name) for name in points.index], zorder=3)
    axes.set_title(f"{_setting(complete)}: accuracy against time")
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.1)
    axes.set_xlabel("seconds of fit and score, summed over the sets")
    axes.set_ylabel("mean AUROC over the sets")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    _label(figure, axes, points)
    figure.savefig(path, dpi=150)


def _label(figure: "Figure", axes: "Axes", points: pd.DataFrame) -> None:
    """Label each marker at the position that covers the fewest markers and labels."""
    figure.draw_without_rendering()  # so that positions in pixels are known
    markers = axes.transData.transform(points.to_numpy())
    taken: list[Bbox] = []
    for name, x, y in points.itertuples():
        label = axes.annotate(name, (x, y), POSITIONS[0][:2], textcoords="offset points", fontsize=9)
        _highlight(label, str(name))
        costs = []
        for dx, dy, horizontal, vertical in POSITIONS:
            label.set(position=(dx, dy), horizontalalignment=horizontal, verticalalignment=vertical)
            costs.append(_covered(label.get_window_extent(), markers, taken, axes.bbox))
        dx, dy, horizontal, vertical = POSITIONS[int(np.argmin(costs))]
        label.set(position=(dx, dy), horizontalalignment=horizontal, verticalalignment=vertical)
        taken.append(label.get_window_extent())


def _covered(box: "Bbox", markers: np.ndarray, taken: "list[Bbox]", page: "Bbox") -> int:
    """Number of markers and labels that a label in this box covers; leaving the axes counts as one."""
    outside = box.x0 < page.x0 or box.x1 > page.x1 or box.y0 < page.y0 or box.y1 > page.y1
    return int(box.padded(3).count_contains(markers)) + sum(box.overlaps(other) for other in taken) + outside


def _setting(complete: pd.DataFrame) -> str:
    return str(complete["setting"].iloc[0]).capitalize()


def _colour(method: str) -> str:
    return HIGHLIGHT if method == OURS else NEUTRAL


def _highlight(label: "Text", method: str) -> None:
    if method == OURS:
        label.set(color=HIGHLIGHT, fontweight="bold")
