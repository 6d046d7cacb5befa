"""Style and files of all figures: size, colours, axes and ticks, and `write_figure`.

matplotlib is imported when it is first used. Colours are those of Okabe and Ito, which colour-blind readers can
distinguish; sizes are in inches, and in points for text.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.formatting import tick_label
from vae_anomaly.io.atomic import whole_file
from vae_anomaly.lazy import require_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

WIDTH = 9.0  # of a page
MODEL, TABLE, ACCENT = "#0072B2", "#B8C4CE", "#D55E00"  # values of the model, values of the table, what stands out
LEVELS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#4D4D4D")
QUIET = "#5D6D7E"  # of remarks
SMALL, MEDIUM, LARGE = 8, 9, 11
MOST_COLUMNS = 16
_ACROSS = 4
_METADATA = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # no date: same picture, same bytes


def require_matplotlib() -> None:
    """Raise a MissingExtraError with the install command if matplotlib is missing."""
    require_extra("plots", "Figures need matplotlib", "matplotlib.figure")


def require_fitted(detector: "VAEDetector") -> None:
    """Raise a MissingExtraError if matplotlib is missing, and a NotFittedError if the detector is not fitted."""
    require_matplotlib()
    check_is_fitted(detector)


def new_figure(title: str, height: float, width: float = WIDTH) -> "Figure":
    """An empty figure with a title on the left; a notebook shows it as the last expression of a cell."""
    from vae_anomaly.plots.notebook import PIXELS_PER_INCH, NotebookFigure

    figure = NotebookFigure(figsize=(width, height), dpi=2 * PIXELS_PER_INCH, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=LARGE, fontweight="bold")
    return figure


def new_panels(title: str, n_panels: int, height: float) -> "tuple[Figure, list[Axes]]":
    """A figure of small panels, four in a line, each ``height`` high."""
    across = min(n_panels, _ACROSS)
    down = -(-n_panels // across)
    figure = new_figure(title, 0.6 + height * down, WIDTH * max(across, 2) / _ACROSS)
    grid = [axes for line in figure.subplots(down, across, squeeze=False) for axes in line]
    for axes in grid[n_panels:]:
        axes.remove()
    for axes in grid[:n_panels]:
        style_axes(axes)
    return figure, grid[:n_panels]


def style_axes(axes: "Axes", ticks: int = 3) -> None:
    """Small text, no box, at most ``ticks`` ticks with plain numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)
    for axis in (axes.xaxis, axes.yaxis):
        number_ticks(axis, ticks)


def name_panel(axes: "Axes", title: str, size: int = MEDIUM) -> None:
    """A title on the left of a panel."""
    axes.set_title(title, fontsize=size, loc="left")


def axis_ends(values: np.ndarray, margin: float = 0.04) -> tuple[float, float]:
    """Ends of an axis for all values but a few that are far from the others, with a fraction ``margin`` on each side.

    ``values`` holds at least one number and may hold NaN.
    """
    values = values[~np.isnan(values)]
    first, last = sorted((np.quantile(values, 0.005, method="higher"), np.quantile(values, 0.995, method="lower")))
    reach = (last - first) / 2
    low, high = max(values.min(), first - reach), min(values.max(), last + reach)
    pad = margin * (high - low) or 1.0
    return float(low - pad), float(high + pad)


def number_ticks(axis: "Axis", most: int = 3) -> None:
    """At most ``most`` ticks at round numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(tick_label))


def date_ticks(axis: "Axis") -> None:
    """About three ticks with dates, for matplotlib's days since 1970."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=4)
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))


def write_figure(figure: "Figure", path: str | PathLike[str]) -> None:
    """
    Write a figure to a file that appears whole or not at all.

    Parameters
    ----------
    figure
        The result of a ``plot_`` function.
    path
        A file whose name ends in ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    DataError
        The name has another suffix, or the folder is missing.

    Warns
    -----
    DataWarning
        The font lacks letters of the table's names.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from matplotlib.figure import Figure
    >>> from vae_anomaly.plots import write_figure
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_figure(Figure(), Path(folder, "empty.png"))
    ...     [path.name for path in Path(folder).iterdir()]
    ['empty.png']
    """
    format_ = picture_format(path)
    from matplotlib import rc_context

    fixed_ids = rc_context({"svg.hashsalt": "vae-anomaly"})  # the ids of an SVG's parts are random otherwise
    with whole_file(path) as temporary, temporary.open("wb") as file, one_font_warning(), fixed_ids:
        figure.savefig(file, format=format_, metadata=_METADATA[format_])


def picture_format(path: str | PathLike[str]) -> str:
    """Format by the file's suffix: "png", "svg" or "pdf"; another suffix is a DataError."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in _METADATA:
        raise DataError(f"Figures are PNG, SVG or PDF; {str(path)!r} has another suffix. Choose .png, .svg or .pdf.")
    return suffix


@contextmanager
def one_font_warning() -> Iterator[None]:
    """Replace matplotlib's warnings for each letter that its font lacks by one of ours; other warnings pass."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing = [warning for warning in caught if str(warning.message).startswith("Glyph ")]
    for warning in caught:
        if warning not in missing:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        message = "The font of the figure lacks letters of the table's names: it shows boxes in their place."
        warnings.warn(message, DataWarning, stacklevel=4)
