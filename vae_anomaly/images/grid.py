"""Many small images in one picture."""

import math
from os import PathLike
from pathlib import Path

import numpy as np

from vae_anomaly.errors import DataError
from vae_anomaly.images.images import Shape, require_pillow
from vae_anomaly.io.atomic import whole_file


def write_image_grid(path: str | PathLike[str], pixels: np.ndarray, shape: Shape, columns: int | None = None) -> None:
    """
    Write images as one PNG, row by row from the top left.

    Parameters
    ----------
    path
        A file whose name ends in ``.png``; it appears complete or not at all.
    pixels
        (images, channels * height * width), black 0 and white 1; other values are clipped.
    shape
        Channels (1 or 3), height and width.
    columns
        Number of images in a row of the grid; by default the grid is square, or nearly.

    Raises
    ------
    DataError
        If the name has another suffix, the folder is missing, a pixel is NaN, the pixels do not have that shape, or
        ``columns`` is less than 1.
    MissingExtraError
        If Pillow is not installed.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> from vae_anomaly import read_images, write_image_grid
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image_grid(Path(folder, "grid.png"), np.zeros((6, 4)), shape=(1, 2, 2), columns=3)
    ...     read_images(folder).shape
    (1, 10, 14)
    """
    if Path(path).suffix.lower() != ".png":
        raise DataError(f"The grid is a PNG; {str(path)!r} has another suffix. Choose a name that ends in .png.")
    if pixels.ndim != 2 or not len(pixels) or pixels.shape[1] != math.prod(shape) or shape[0] not in {1, 3}:
        expected = "a row of channels * height * width pixels for each image, with 1 or 3 channels"
        raise DataError(f"Pixels of shape {pixels.shape} are not images of shape {shape}: expected {expected}.")
    if np.isnan(pixels).any():
        row = np.flatnonzero(np.isnan(pixels).any(axis=1))[0]
        raise DataError(f"Image {row + 1} (the first is 1) has a pixel that is NaN. Fill it, or leave the image out.")
    if columns is not None and columns < 1:
        raise DataError(f"columns={columns} was asked for; a grid has at least one.")
    require_pillow()
    from PIL import Image

    picture = Image.fromarray(np.rint(255 * _grid(np.clip(pixels, 0, 1), shape, columns)).astype(np.uint8))
    with whole_file(path) as temporary, temporary.open("wb") as file:
        picture.save(file, "PNG")


def _grid(pixels: np.ndarray, shape: Shape, columns: int | None) -> np.ndarray:
    """Images in rows and columns on white: (height, width), or (height, width, 3) in colour."""
    gap = 2  # pixels of white around each image
    channels, height, width = shape
    across = columns or math.ceil(math.sqrt(len(pixels)))
    down = math.ceil(len(pixels) / across)
    cells = np.ones((down * across, height + gap, width + gap, channels))
    cells[: len(pixels), :height, :width] = np.moveaxis(pixels.reshape(-1, *shape), 1, -1)
    rows = cells.reshape(down, across, height + gap, width + gap, channels).swapaxes(1, 2)
    picture = rows.reshape(down * (height + gap), across * (width + gap), channels)
    framed = np.pad(picture, ((gap, 0), (gap, 0), (0, 0)), constant_values=1.0)
    return framed[..., 0] if channels == 1 else framed
