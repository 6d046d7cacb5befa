"""A folder of image files of one size, or one of them, as rows of pixels."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.formatting import listed
from vae_anomaly.images.collection import Images, empty_pixels
from vae_anomaly.images.decoding import SUFFIXES, BadImageError, Header, decode, read_header


def read_folder(folder: Path, *, skip_bad: bool) -> Images:
    """Read the image files of a folder and its subfolders; bad ones are a DataError, or left out with a DataWarning."""
    paths = _image_files(folder)
    if not paths:
        raise DataError(f"There is no image in {str(folder)!r}. Files named {', '.join(SUFFIXES)} are looked for.")
    images, bad = _decoded(paths, repr(str(folder)))
    if bad and (not skip_bad or not images.names):
        _refuse(bad, folder, can_skip=bool(images.names))
    if bad:
        reasons = listed(f"{name!r} ({reason})" for name, reason in bad.items())
        warnings.warn(f"Images left out: {reasons}.", DataWarning, stacklevel=3)
    return images


def read_file(path: Path) -> Images:
    """Read one image file."""
    images, bad = _decoded({path.name: path}, repr(str(path)))
    for reason in bad.values():
        remedy = "Repair it, or name another: an image, a folder of images, or an IDX file"
        raise DataError(f"{str(path)!r} is no usable image: {reason}. {remedy}.")
    return images


def _image_files(folder: Path) -> dict[str, Path]:
    """Files that are called images, by their paths within the folder, sorted as text; nothing hidden."""
    paths = {}
    for root, folders, files in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                path = Path(root, name)
                paths[path.relative_to(folder).as_posix()] = path
    return dict(sorted(paths.items()))


def _refuse_folder(error: OSError) -> NoReturn:
    raise DataError(f"Cannot read the folder {error.filename!r}: {error.strerror}.") from error


def _decoded(paths: dict[str, Path], source: str) -> tuple[Images, dict[str, str]]:
    """Images of the most common size, and of every other file the reason why it is none; both in order."""
    bad: dict[str, str] = {}
    headers = _of_one_size(_headers(paths, bad), bad)
    height, width = next(((header.height, header.width) for header in headers.values()), (0, 0))
    shape = (3 if any(header.is_colour for header in headers.values()) else 1, height, width)
    pixels = empty_pixels(len(headers), shape, source)
    names: list[str] = []
    for name in headers:
        with _noted(bad, name):
            decode(paths[name], pixels[len(names)].reshape(shape))
            names.append(name)
    return Images(pixels[: len(names)], shape, names), dict(sorted(bad.items()))


def _headers(paths: dict[str, Path], bad: dict[str, str]) -> dict[str, Header]:
    headers = {}
    for name, path in paths.items():
        with _noted(bad, name):
            headers[name] = read_header(path)
    return headers


def _of_one_size(headers: dict[str, Header], bad: dict[str, str]) -> dict[str, Header]:
    """Headers of the most common size, the first such in a tie; the others are noted as bad."""
    sizes = {name: f"{header.width} x {header.height}" for name, header in headers.items()}
    usual = max(sizes.values(), key=Counter(sizes.values()).__getitem__, default="")
    for name, size in sizes.items():
        if size != usual:
            bad[name] = f"it has {size} pixels (width x height), where {usual} is the most common size"
    return {name: header for name, header in headers.items() if sizes[name] == usual}


@contextmanager
def _noted(bad: dict[str, str], name: str) -> Iterator[None]:
    """Note why a file is bad, and go on."""
    try:
        yield
    except BadImageError as error:
        bad[name] = str(error)


def _refuse(bad: dict[str, str], folder: Path, *, can_skip: bool) -> NoReturn:
    first, reason = next(iter(bad.items()))
    others = len(bad) - 1
    tail = f"; nor {'is 1 other file' if others == 1 else f'are {others:,} other files'}" if others else ""
    remedy = f"Repair or remove {'them' if others else 'it'}"
    if can_skip:
        remedy += ", or leave bad files out with skip_bad=True (--skip-bad)"
    raise DataError(f"{first!r} in {str(folder)!r} is no usable image: {reason}{tail}. {remedy}.")
