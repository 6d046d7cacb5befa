"""Figures in files, whole or not at all: PNG, SVG or PDF."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from vae_anomaly.errors import DataError
from vae_anomaly.files import whole_file

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

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from matplotlib.figure import Figure
    >>> from vae_anomaly.reports import write_figure
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_figure(Figure(), Path(folder, "empty.png"))
    ...     [path.name for path in Path(folder).iterdir()]
    ['empty.png']
    """
    chosen = picture_format(path)
    import matplotlib as mpl

    with whole_file(path) as temporary, temporary.open("wb") as file, mpl.rc_context({"svg.hashsalt": "vae-anomaly"}):
        figure.savefig(file, format=chosen, metadata=_UNDATED[chosen])


def picture_format(path: str | PathLike[str]) -> str:
    """The format that the file's suffix names: "png", "svg" or "pdf"; anything else is a DataError."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in _UNDATED:
        raise DataError(f"Pictures are PNG, SVG or PDF; {str(path)!r} has another suffix. Choose .png, .svg or .pdf.")
    return suffix
