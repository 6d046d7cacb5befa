"""
IDX files, the format of MNIST and similar data: a header of sizes, then one unsigned byte for each pixel.

The header is big-endian: two zero bytes, the element type, the number of dimensions, then four bytes for each size.
"""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from vae_anomaly.errors import DataError
from vae_anomaly.images.images import Images, Shape, empty_pixels

_IDX, _GZIP = b"\0\0", b"\x1f\x8b"
_BLOCK = 2**22  # bytes read at a time


def is_idx(head: bytes) -> bool:
    """Whether a file with these first bytes is read as IDX, possibly compressed; no image file begins with them."""
    return head.startswith((_IDX, _GZIP))


def read_idx(path: Path) -> Images:
    """
    Images of an IDX file, possibly compressed with gzip.

    Raises
    ------
    DataError
        If the file is damaged, holds something other than images of unsigned bytes, or has another length than its
        header declares. This is checked before memory is allocated.
    """
    name = repr(str(path))
    with _decompressed(path, name) as stream:
        length = stream.seek(0, os.SEEK_END)  # reads a compressed file to its end, which also verifies its checksum
        stream.seek(0)
        count, (channels, height, width) = _read_header(stream, length, name)
        pixels = empty_pixels(count, (channels, height, width), name)
        images = pixels.reshape(count, channels, height, width)
        step = max(1, _BLOCK // (channels * height * width))
        for start in range(0, count, step):
            part = images[start : start + step]
            stored = np.frombuffer(stream.read(part.size), dtype=np.uint8).reshape(-1, height, width, channels)
            np.divide(np.moveaxis(stored, -1, 1), 255, out=part)
    return Images(pixels, (channels, height, width), [str(number) for number in range(1, count + 1)])


@contextmanager
def _decompressed(path: Path, name: str) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            is_compressed = file.read(2) == _GZIP
            file.seek(0)
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_compressed else file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        fault = f"{name} is damaged or cut short: it cannot be decompressed (gzip). Fetch it again."
        raise DataError(fault) from error


def _read_header(stream: BinaryIO, length: int, name: str) -> tuple[int, Shape]:
    """Number of images and their shape, if they agree with the length of the file in bytes."""
    magic = stream.read(4)
    n_dimensions = 3
    if length >= 4:
        n_dimensions = magic[3]
        _check_content(magic, name)
    start = 4 + 4 * n_dimensions
    if length < start:
        raise DataError(f"{name} is cut short: it has {length} bytes, and its header alone {start}. Fetch it again.")
    sizes = struct.unpack(f">{n_dimensions}I", stream.read(start - 4))
    declared = " x ".join(f"{size:,}" for size in sizes)
    expected = start + math.prod(sizes)
    if expected == start:
        raise DataError(f"{name} holds no pixels: its header declares {declared}. Name another file.")
    if length != expected:
        fault = "is cut short" if length < expected else "is too long"
        found = f"its header declares {declared} pixels, {expected:,} bytes in all, and it has {length:,}"
        raise DataError(f"{name} {fault}: {found}. Fetch it again.")
    count, height, width, *channels = sizes
    return count, (*channels, height, width) if channels else (1, height, width)


def _check_content(magic: bytes, name: str) -> None:
    """Refuse what is not images of unsigned bytes, with a DataError that names what it is."""
    types = {
        0x08: "unsigned bytes",
        0x09: "signed bytes",
        0x0B: "16-bit whole numbers",
        0x0C: "32-bit whole numbers",
        0x0D: "32-bit floats",
        0x0E: "64-bit floats",
    }
    kind, n_dimensions = magic[2], magic[3]
    found = f"0x{magic.hex()}"
    expected = "expected 0x00000803 (images, rows, columns of unsigned bytes) or 0x00000804 (channels last)"
    if not magic.startswith(_IDX) or kind not in types:
        raise DataError(f"{name} is not an IDX file: it begins with {found}; {expected}. Name another file.")
    if types[kind] != "unsigned bytes":
        raise DataError(f"{name} is an IDX file of {types[kind]} ({found}); {expected}. Convert it.")
    if n_dimensions == 1:
        raise DataError(f"{name} is an IDX file of labels (one dimension). Name the file of images that goes with it.")
    if n_dimensions not in {3, 4}:
        raise DataError(f"{name} is an IDX file of {n_dimensions} dimensions ({found}); {expected}. Convert it.")
