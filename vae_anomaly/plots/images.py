"""Grids of many small images in one figure."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_anomaly.errors import DataError
from vae_anomaly.plots.figures import SMALL, new_figure, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Shape = Sequence[int]  # channels, height and width


def image_grid(
    pixels: np.ndarray, shape: Shape, columns: int, *, title: str = "", rows: Sequence[str] = ()
) -> "Figure":
    """
    Draw images next to one another, line by line from the top left.

    Parameters
    ----------
    pixels : ndarray
        (images, channels * height * width), channel by channel; black is 0 and white 1, values beyond are clipped, and
        NaN is grey.
    shape : tuple of int
        Channels (1 or 3), height and width.
    columns : int
        Images in a line.
    title : str
        Title of the figure.
    rows : sequence of str
        Names of the lines, the first line first.

    Returns
    -------
    Figure
        Every image has the same size, and is not smoothed.

    Raises
    ------
    DataError
        The pixels do not have that shape, or there are no images or no columns.
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
    _, height, width = shape
    down, across = math.ceil(len(images) / columns), min(columns, len(images))
    gap = 0.08 * width
    step_x, step_y = width + gap, height + gap
    inch = min(8.0 / (across * step_x), 0.9 / max(height, width))  # of a pixel: the grid fits a page, images stay small
    figure = new_figure(title, 0.5 + inch * down * step_y, max(5.0, 1.0 + inch * across * step_x))
    axes = figure.subplots()
    for index, image in enumerate(images):
        left, top = index % columns * step_x, index // columns * step_y
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(left, left + width, top + height, top))
    axes.set(xlim=(-gap, across * step_x), ylim=(down * step_y, -gap), aspect="equal", xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_yticks([line * step_y + height / 2 for line in range(len(rows))], rows, fontsize=SMALL)
    return figure


def fill_last_line(pixels: np.ndarray, across: int) -> np.ndarray:
    """The images, followed by unknown ones until the last line is full."""
    return np.pad(pixels, ((0, -len(pixels) % across), (0, 0)), constant_values=np.nan)


def _images(pixels: np.ndarray, shape: Shape, columns: int) -> np.ndarray:
    """Images as matplotlib takes them: (images, height, width), or (images, height, width, 3) with colour."""
    if pixels.ndim != 2 or not len(pixels) or pixels.shape[1] != math.prod(shape) or shape[0] not in {1, 3}:
        expected = "a row of channels * height * width pixels for each image, with 1 or 3 channels"
        raise DataError(f"Pixels of shape {pixels.shape} are no images of shape {shape}. Expected {expected}.")
    if columns < 1:
        raise DataError(f"columns={columns} was asked for; a grid has at least one.")
    clipped = np.clip(np.where(np.isnan(pixels), 0.5, pixels), 0, 1).reshape(-1, *shape)
    return clipped[:, 0] if shape[0] == 1 else np.moveaxis(clipped, 1, -1)
