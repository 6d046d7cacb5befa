"""Image files of one size, in a folder or one by one, decoded with Pillow: turned upright, transparency on white."""

import os
import stat
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.formatting import counted, listed
from vae_anomaly.images.images import Images, empty_pixels, require_pillow

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_WHITE = {"1": 1, "L": 255, "I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535, "I;16N": 65535}  # gray modes


def read_folder(folder: Path, *, skip_bad: bool) -> Images:
    """Images of a folder and its subfolders; unusable files raise a DataError, or are left out with a DataWarning."""
    paths = _image_files(folder)
    if not paths:
        raise DataError(f"There is no image in {str(folder)!r}. Files named {', '.join(SUFFIXES)} are looked for.")
    images, faults = _decode_all(paths, repr(str(folder)))
    if faults and (not skip_bad or not images.names):
        (name, fault), n_others = next(iter(faults.items())), len(faults) - 1
        verb = "is" if n_others == 1 else "are"
        more = f" {counted(n_others, 'other files')} {verb} not usable either." if n_others else ""
        skip = ", or leave bad files out with skip_bad=True (--skip-bad)" if images.names else ""
        remedy = f"Repair or remove {'them' if n_others else 'it'}{skip}"
        raise DataError(f"{name!r} in {str(folder)!r} is not a usable image: {fault}.{more} {remedy}.")
    if faults:
        reasons = listed(f"{name!r} ({fault})" for name, fault in faults.items())
        warnings.warn(f"Images left out: {reasons}.", DataWarning, stacklevel=3)
    return images


def read_file(path: Path) -> Images:
    """The image of one file; DataError if it is unusable."""
    images, faults = _decode_all({path.name: path}, repr(str(path)))
    for fault in faults.values():
        remedy = "Repair it, or name another: an image, a folder of images, or an IDX file"
        raise DataError(f"{str(path)!r} is not a usable image: {fault}. {remedy}.")
    return images


def _image_files(folder: Path) -> dict[str, Path]:
    """Files with the suffix of an image, by their path within the folder, sorted as text; no hidden ones."""

    def refuse(error: OSError) -> NoReturn:
        raise DataError(f"Cannot read the folder {error.filename!r}: {error.strerror}.") from error

    paths = {}
    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                path = Path(root, name)
                paths[path.relative_to(folder).as_posix()] = path
    return dict(sorted(paths.items()))


def _decode_all(paths: dict[str, Path], source: str) -> tuple[Images, dict[str, str]]:
    """Images of the most common size, the first such size in a tie, and the fault of every other file, by name."""
    faults: dict[str, str] = {}
    headers: dict[str, _Header] = {}
    for name, path in paths.items():
        try:
            headers[name] = _read_header(path)
        except _BadImageError as error:
            faults[name] = str(error)
    sizes = {name: (header.height, header.width) for name, header in headers.items()}
    height, width = max(sizes.values(), key=Counter(sizes.values()).__getitem__, default=(0, 0))
    usable = {name: header for name, header in headers.items() if sizes[name] == (height, width)}
    for name in headers.keys() - usable.keys():
        common = f"where {width} x {height} is the most common size"
        faults[name] = f"it has {sizes[name][1]} x {sizes[name][0]} pixels (width x height), {common}"
    shape = (3 if any(header.is_colour for header in usable.values()) else 1, height, width)
    pixels = empty_pixels(len(usable), shape, source)
    names: list[str] = []
    for name in usable:
        try:
            _decode(paths[name], pixels[len(names)].reshape(shape))
            names.append(name)
        except _BadImageError as error:
            faults[name] = str(error)
    return Images(pixels[: len(names)], shape, names), dict(sorted(faults.items()))


class _BadImageError(Exception):
    """A file is not a usable image; the message is a clause that begins with "it" or "its"."""


class _Header(NamedTuple):
    """Size of the upright image in pixels, and whether it has colours."""

    height: int
    width: int
    is_colour: bool


def _read_header(path: Path) -> _Header:
    """
    Size and colour of an image, without decoding its pixels if the format allows it.

    Raises
    ------
    _BadImageError
        If the file is not an image, is damaged, or has no pixels, too many, or pixels of an unknown range.
    """
    with _opened(path) as image:
        if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):  # older Pillow has 16-bit PNG as I
            raise _BadImageError("its pixels are 32-bit or signed numbers, for which white is not defined")
        orientation, swaps_sides = image.getexif().get(0x0112), {5, 6, 7, 8}
        width, height = _upright(image).size if orientation in swaps_sides else image.size
        return _Header(height, width, _is_colour(image))


def _decode(path: Path, out: np.ndarray) -> None:
    """
    Decode an image into ``out``, (channels, height, width); a gray image fills all channels.

    Only the first frame of an animation is decoded. Transparent pixels are shown on white, because the colour beneath
    them is arbitrary. CMYK is converted without a colour profile. Raises a _BadImageError if the file is damaged.
    """
    with _opened(path) as image:
        out[...] = _values(_upright(image))


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    """The image, opened; what goes wrong with it in the block is a _BadImageError."""
    require_pillow()
    from PIL import Image, UnidentifiedImageError

    undecodable = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait
            raise _BadImageError("it is not a regular file")
        if not status.st_size:
            raise _BadImageError("it is empty")
        # Given a name, Pillow maps the file into memory, and then misreads a TIFF that is to be turned (13.0).
        # Other decoders of Pillow than these are not used, for safety.
        formats = ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"]
        with path.open("rb") as file, Image.open(file, formats=formats) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:  # Pillow only warns
                raise Image.DecompressionBombError
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _BadImageError("it has more pixels than Pillow considers safe (a decompression bomb)") from error
    except UnidentifiedImageError as error:
        known = "PNG, JPEG, BMP, GIF, TIFF and WebP"
        raise _BadImageError(f"it is none of {known}, or its beginning is damaged") from error
    except undecodable as error:
        cause = error.strerror if isinstance(error, OSError) else None  # Pillow's own OSErrors have none
        raise _BadImageError(f"it cannot be read: {cause}" if cause else "it is damaged or cut short") from error


def _upright(image: "Image.Image") -> "Image.Image":
    """The image, turned as its EXIF data say."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _is_colour(image: "Image.Image") -> bool:
    """Whether the image has more than grays; a palette counts by its entries."""
    if image.mode == "P":
        entries = np.reshape(image.getpalette() or [], (-1, 3))
        return bool((entries != entries[:, :1]).any())
    return image.mode not in {*_WHITE, "LA", "La"}


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
