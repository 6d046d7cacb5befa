"""Figures in files, whole or not at all: PNG, SVG or PDF."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.io.atomic import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNDATED = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # same picture, same bytes


def write_figure(figure: "Figure", path: str | PathLike[str]) -> None:
    """
    Write a figure to a file that appears whole or not at all.

    Parameters
    ----------
    figure
        What a ``plot_`` function gave.
    path
        A file whose name ends in ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    DataError
        If the name has another suffix, or the folder is missing.

    Warns
    -----
    DataWarning
        If the font lacks letters of the table's names.

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
    chosen = picture_format(path)
    from matplotlib import rc_context

    same_names = rc_context({"svg.hashsalt": "vae-anomaly"})  # of an SVG's parts, which are random otherwise
    with whole_file(path) as temporary, temporary.open("wb") as file, _told_of_boxes(), same_names:
        figure.savefig(file, format=chosen, metadata=_UNDATED[chosen])


@contextmanager
def _told_of_boxes() -> Iterator[None]:
    """Say once what matplotlib would say for each letter that its font lacks; other warnings pass."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    lacking = [warning for warning in caught if str(warning.message).startswith("Glyph ")]
    for warning in caught:
        if warning not in lacking:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking:
        message = "The font of the picture lacks letters of the table's names: boxes stand in their place."
        warnings.warn(message, DataWarning, stacklevel=4)


def picture_format(path: str | PathLike[str]) -> str:
    """The format that the file's suffix names: "png", "svg" or "pdf"; anything else is a DataError."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in _UNDATED:
        raise DataError(f"Pictures are PNG, SVG or PDF; {str(path)!r} has another suffix. Choose .png, .svg or .pdf.")
    return suffix
