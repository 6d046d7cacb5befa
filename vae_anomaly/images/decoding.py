"""One image file, decoded with Pillow as it is meant to be seen: turned as its EXIF says, its alpha on white."""

import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vae_anomaly.images.pillow import named_when_missing

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_FORMATS = ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"]  # no other decoder of Pillow's is let near a file
_WHITE = {"1": 1, "L": 255, "I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535, "I;16N": 65535}
_GRAY_WITH_ALPHA = {"LA", "La"}
_ORIENTATION, _TURNED = 0x0112, {5, 6, 7, 8}  # EXIF's tag, and its values that swap height and width
_UNDECODABLE = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)


class BadImageError(Exception):
    """A file is no usable image; the message says why, as a clause that begins with "it" or "its"."""


class Header(NamedTuple):
    """What a file says about its image."""

    height: int
    width: int
    is_colour: bool


def read_header(path: Path) -> Header:
    """
    Read size and colour, without decoding the pixels where the format allows it.

    Height and width are those of the upright image.

    Raises
    ------
    BadImageError
        If the file is no image, is damaged, or has no pixels, too many, or pixels whose range is not known.
    """
    with _opened(path) as image:
        _refuse_strange_pixels(image)
        width, height = _upright(image).size if image.getexif().get(_ORIENTATION) in _TURNED else image.size
        return Header(height, width, _is_colour(image))


def decode(path: Path, out: np.ndarray) -> None:
    """
    Decode into ``out``, (channels, height, width) of the header's size; a gray image fills each channel alike.

    Of an animation, the first frame. Transparent pixels are seen on white: what lies beneath is up to the program that
    wrote the file, and nobody sees it. CMYK is converted without a colour profile.

    Raises
    ------
    BadImageError
        If the file is damaged or cut short.
    """
    with _opened(path) as image:
        out[...] = _values(_upright(image))


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    """Open an image; whatever goes wrong with it in the block is a BadImageError."""
    with named_when_missing():
        from PIL import Image, UnidentifiedImageError
    try:
        _refuse_strange_files(path)
        # Given a name, Pillow maps the file into memory, and then misreads a TIFF that is to be turned (13.0).
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:  # Pillow only warns
                raise Image.DecompressionBombError
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImageError("it has more pixels than Pillow takes for safe (a decompression bomb)") from error
    except UnidentifiedImageError as error:
        known = "PNG, JPEG, BMP, GIF, TIFF and WebP"
        raise BadImageError(f"it is none of {known}, or its beginning is damaged") from error
    except _UNDECODABLE as error:
        cause = error.strerror if isinstance(error, OSError) else None  # Pillow's own OSErrors have none
        raise BadImageError(f"it cannot be read: {cause}" if cause else "it is damaged or cut short") from error


def _refuse_strange_files(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise BadImageError("it is no regular file")
    if not status.st_size:
        raise BadImageError("it is empty")


def _refuse_strange_pixels(image: "Image.Image") -> None:
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):  # older Pillow has 16-bit PNG as I
        raise BadImageError("its pixels are 32-bit or signed numbers, of which none is known to be white")


def _is_colour(image: "Image.Image") -> bool:
    """Whether there is more than gray; a palette is looked into."""
    if image.mode == "P":
        entries = np.reshape(image.getpalette() or [], (-1, 3))
        return bool((entries != entries[:, :1]).any())
    return image.mode not in _WHITE.keys() | _GRAY_WITH_ALPHA


def _upright(image: "Image.Image") -> "Image.Image":
    with named_when_missing():
        from PIL import ImageOps
    return ImageOps.exif_transpose(image)


def _values(image: "Image.Image") -> np.ndarray:
    """Values in [0, 1], (channels, height, width) with one channel or three."""
    if image.mode in _WHITE:
        levels = np.asarray(image)
        is_clear = levels == image.info.get("transparency", -1)  # one gray may be declared transparent
        return np.where(is_clear, 1.0, levels / _WHITE[image.mode])[np.newaxis]
    mode = "RGB" if _is_colour(image) else "L"
    if not image.has_transparency_data:
        return _channels_first(image.convert(mode))
    *colours, alpha = _channels_first(image.convert(f"{mode}A"))
    return np.stack(colours) * alpha + (1 - alpha)


def _channels_first(image: "Image.Image") -> np.ndarray:
    return np.moveaxis(np.atleast_3d(np.asarray(image)), -1, 0) / 255
