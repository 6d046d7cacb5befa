"""Many small images in one figure."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.data.parse import as_frame, is_frame
from vae_anomaly.errors import DataError
from vae_anomaly.plots.figures import SMALL, new_figure, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

Shape = Sequence[int]  # channels, height and width
_GAP = 0.08  # of an image's width, around each image
_LARGEST = 0.9  # inches of an image's longer side
_UNKNOWN = 0.5  # grey of a pixel that is NaN


def image_grid(
    pixels: np.ndarray, shape: Shape, columns: int, *, title: str = "", rows: Sequence[str] = ()
) -> "Figure":
    """
    Draw images side by side, line by line from the top left.

    Parameters
    ----------
    pixels : ndarray
        (images, channels * height * width), channel by channel; black 0 and white 1, values beyond are clipped.
    shape : tuple of int
        Channels (1 or 3), height and width.
    columns : int
        Images in a line.
    title : str
        Stands above the grid.
    rows : sequence of str
        Stands beside the lines, the first line first.

    Returns
    -------
    Figure
        Every image is drawn at the same size, without smoothing.

    Raises
    ------
    DataError
        The pixels are not of that shape, or there are no images or no columns.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly.plots import image_grid
    >>> len(image_grid(np.zeros((6, 4)), (1, 2, 2), 3).axes[0].get_images())
    6
    """
    require_matplotlib()
    images = _images(np.asarray(pixels, dtype=np.float64), shape, columns)
    channels, height, width = shape
    down, across = math.ceil(len(images) / columns), min(columns, len(images))
    step_x, step_y = width * (1 + _GAP), height + width * _GAP
    inch = min(8.0 / (across * step_x), _LARGEST / max(height, width))  # of a pixel
    figure = new_figure(title, 0.5 + inch * down * step_y, max(5.0, 1.0 + inch * across * step_x))
    axes = figure.subplots()
    for place, image in enumerate(images):
        left, top = place % columns * step_x, place // columns * step_y
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(left, left + width, top + height, top))
    _frame(axes, (-width * _GAP, across * step_x), (down * step_y, -width * _GAP))
    axes.set_yticks([line * step_y + height / 2 for line in range(len(rows))], rows, fontsize=SMALL)
    return figure


def pixels_of(detector: "VAEDetector", rows: Any) -> np.ndarray:
    """Rows of a model of images as pixels from 0 to 1, whatever range the fit saw."""
    named = rows if is_frame(rows) else pd.DataFrame(np.ma.filled(rows, np.nan), columns=detector.schema_.names)
    return detector.schema_.encode(as_frame(named))


def whole_lines(pixels: np.ndarray, across: int) -> np.ndarray:
    """The images, and unknown ones after them until the last line is whole."""
    return np.pad(pixels, ((0, -len(pixels) % across), (0, 0)), constant_values=np.nan)


def _images(pixels: np.ndarray, shape: Shape, columns: int) -> np.ndarray:
    """Images as matplotlib takes them: (images, height, width), or (images, height, width, 3) in colour."""
    if pixels.ndim != 2 or not len(pixels) or pixels.shape[1] != math.prod(shape) or shape[0] not in {1, 3}:
        expected = "one row an image of channels * height * width pixels, with 1 or 3 channels"
        raise DataError(f"Pixels of shape {pixels.shape} are no images of shape {shape}: {expected} was expected.")
    if columns < 1:
        raise DataError(f"columns={columns} was asked for; a grid has at least one.")
    whole = np.clip(np.where(np.isnan(pixels), _UNKNOWN, pixels), 0, 1).reshape(-1, *shape)
    return whole[:, 0] if shape[0] == 1 else np.moveaxis(whole, 1, -1)


def _frame(axes: "Axes", x: tuple[float, float], y: tuple[float, float]) -> None:
    axes.set(xlim=x, ylim=y, aspect="equal", xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
