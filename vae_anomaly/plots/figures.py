"""The hand in which all pictures are drawn: size, colours, axes. matplotlib is imported here only when it is used.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; sizes are in inches, and in points for text.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from vae_anomaly.errors import MissingExtraError
from vae_anomaly.formatting import tick_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH = 9.0  # of a page, at 100 dots an inch
DOTS = 100
MODEL, TABLE, ACCENT = "#0072B2", "#B8C4CE", "#D55E00"  # what the model says, what the table holds, what stands out
LEVELS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#4D4D4D")
QUIET = "#5D6D7E"  # of remarks
SCALE = "cividis_r"  # of numbers: the higher, the darker
SMALL, USUAL, LARGE = 8, 9, 11
MOST_COLUMNS = 16
_ACROSS = 4


def require_matplotlib() -> None:
    """Say which command installs matplotlib where it is missing, before anything slow: a MissingExtraError."""
    try:
        import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        message = 'Pictures need matplotlib, which is not installed. Run: pip install "vae-anomaly[plots]"'
        raise MissingExtraError(message) from error


def new_figure(title: str, height: float, width: float = WIDTH) -> "Figure":
    """An empty figure under its title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS, layout="constrained")
    figure.suptitle(title, fontsize=LARGE)
    return figure


def panels(title: str, count: int, height: float) -> "tuple[Figure, list[Axes]]":
    """A figure of ``count`` small panels, four side by side, each ``height`` high."""
    across = min(count, _ACROSS)
    down = -(-count // across)
    figure = new_figure(title, 0.6 + height * down, WIDTH * max(across, 2) / _ACROSS)
    grid = [axes for line in figure.subplots(down, across, squeeze=False) for axes in line]
    for axes in grid[count:]:
        axes.remove()
    for axes in grid[:count]:
        dress(axes)
    return figure, grid[:count]


def dress(axes: "Axes", ticks: int = 3) -> None:
    """Small text, no box, few ticks with plain numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)
    for axis in (axes.xaxis, axes.yaxis):
        few_ticks(axis, ticks)


def name_panel(axes: "Axes", title: str, size: int = USUAL) -> None:
    """A title that ends where the panel ends: it may be wider than the panel, and beyond the page it is cut off."""
    axes.set_title(title, fontsize=size, loc="right")


def few_ticks(axis: "Axis", most: int = 3) -> None:
    """Ticks with numbers written out."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(tick_label))


def date_ticks(axis: "Axis") -> None:
    """Some three ticks with dates, for days since 1970 as matplotlib counts them."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=4)
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
