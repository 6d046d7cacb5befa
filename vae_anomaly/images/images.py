"""Images of one shape, each a row of pixels."""

from dataclasses import dataclass

import numpy as np

from vae_anomaly.errors import DataError
from vae_anomaly.lazy import require_extra

Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True, eq=False)
class Images:
    """
    Images of one shape.

    Attributes
    ----------
    pixels
        (images, channels * height * width), float64 in [0, 1], black 0 and white 1. A row is one image, channels first:
        ``pixels.reshape(-1, *shape)`` is (images, channels, height, width).
    shape
        Channels (1 gray, 3 red, green and blue), height and width.
    names
        One name for each image: the path within the folder that was read, or the number in an IDX file, from 1.
    """

    pixels: np.ndarray
    shape: Shape
    names: list[str]


def empty_pixels(count: int, shape: Shape, source: str) -> np.ndarray:
    """Uninitialised array for ``count`` images, (images, channels * height * width); DataError if memory lacks."""
    channels, height, width = shape
    try:
        return np.empty((count, channels * height * width))
    except (MemoryError, ValueError) as error:  # ValueError: more than an array can hold
        size = 8 * count * channels * height * width / 1e9
        raise DataError(
            f"{source} has {count:,} images of {width} x {height} pixels (width x height), {size:,.0f} GB once read: "
            "more memory than there is. Scale the images down, or read fewer."
        ) from error


def require_pillow() -> None:
    """Raise a MissingExtraError with the install command if Pillow is missing."""
    require_extra("images", "Image files need Pillow", "PIL")
