"""Images of one shape, each of them one row of numbers."""

from dataclasses import dataclass

import numpy as np

from vae_anomaly.errors import DataError

Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True, eq=False)
class Images:
    """
    Images of one shape.

    Attributes
    ----------
    pixels
        (images, channels * height * width), float64 in [0, 1], black 0 and white 1. A row is one image, channel first:
        ``pixels.reshape(-1, *shape)`` is (images, channels, height, width).
    shape
        Channels (1 gray, 3 red, green and blue), height and width.
    names
        One name an image: the file's path within the folder that was read, or the number, from 1, in an IDX file.
    """

    pixels: np.ndarray
    shape: Shape
    names: list[str]


def empty_pixels(count: int, shape: Shape, source: str) -> np.ndarray:
    """Take memory for the rows of ``count`` images, (images, channels * height * width); too many are a DataError."""
    channels, height, width = shape
    try:
        return np.empty((count, channels * height * width))
    except (MemoryError, ValueError) as error:  # ValueError: more than an array can have at all
        size = 8 * count * channels * height * width / 1e9
        raise DataError(
            f"{source} has {count:,} images of {width} x {height} pixels (width x height), {size:,.0f} GB once read: "
            "more memory than there is. Scale the images down, or read fewer."
        ) from error
