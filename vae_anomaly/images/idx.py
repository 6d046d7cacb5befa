"""
IDX, the format in which MNIST and its kin are published: a header of sizes, then one unsigned byte a pixel.

The header is big-endian: two zero bytes, the type of the elements, the number of dimensions, then four bytes a size.
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
from vae_anomaly.images.collection import Images, Shape, empty_pixels

_IDX, _GZIP = b"\0\0", b"\x1f\x8b"
_TYPES = {
    0x08: "unsigned bytes",
    0x09: "signed bytes",
    0x0B: "16-bit whole numbers",
    0x0C: "32-bit whole numbers",
    0x0D: "32-bit floats",
    0x0E: "64-bit floats",
}
_UNSIGNED_BYTES, _GRAY, _WITH_CHANNELS = 0x08, 3, 4  # element type; numbers of dimensions
_EXPECTED = "0x00000803 (images, rows, columns of unsigned bytes) or 0x00000804 (channels last) was expected"
_BLOCK = 2**22  # bytes read at a time


def is_idx(head: bytes) -> bool:
    """Whether a file that begins so is read as IDX, plain or compressed with gzip; no image file begins like either."""
    return head.startswith((_IDX, _GZIP))


def read_idx(path: Path) -> Images:
    """
    Read an IDX file of images, plain or compressed with gzip.

    Raises
    ------
    DataError
        If the file is damaged, holds something else than images of unsigned bytes, or another number of bytes than its
        header says; all of this is found out before memory is taken.
    """
    name = repr(str(path))
    with _decompressed(path, name) as stream:
        length = stream.seek(0, os.SEEK_END)  # a compressed file is read through, and its checksum compared
        stream.seek(0)
        count, shape = _sizes(stream, length, name)
        pixels = empty_pixels(count, shape, name)
        _fill(pixels.reshape(count, *shape), stream)
    return Images(pixels, shape, [str(number) for number in range(1, count + 1)])


@contextmanager
def _decompressed(path: Path, name: str) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            is_compressed = file.read(2) == _GZIP
            file.seek(0)
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_compressed else file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{name} is damaged or cut short: it does not decompress (gzip). Fetch it again.") from error


def _sizes(stream: BinaryIO, length: int, name: str) -> tuple[int, Shape]:
    """Number of images and their shape, as the header declares them and the file's length bears out."""
    magic = stream.read(4)
    if length >= 4:
        _refuse_other_content(magic, name)
    dimensions = magic[3] if length >= 4 else _GRAY
    start = 4 + 4 * dimensions
    if length < start:
        raise DataError(f"{name} is cut short: it has {length} bytes, and its header alone {start}. Fetch it again.")
    sizes = struct.unpack(f">{dimensions}I", stream.read(start - 4))
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


def _refuse_other_content(magic: bytes, name: str) -> None:
    kind, dimensions = magic[2], magic[3]
    if not magic.startswith(_IDX) or kind not in _TYPES:
        raise DataError(f"{name} is no IDX file: it begins with 0x{magic.hex()}; {_EXPECTED}. Name another file.")
    if kind != _UNSIGNED_BYTES:
        raise DataError(f"{name} is an IDX file of {_TYPES[kind]} (0x{magic.hex()}); {_EXPECTED}. Convert it.")
    if dimensions == 1:
        raise DataError(f"{name} is an IDX file of labels (one dimension). Name the file of images that goes with it.")
    if dimensions not in {_GRAY, _WITH_CHANNELS}:
        raise DataError(f"{name} is an IDX file of {dimensions} dimensions (0x{magic.hex()}); {_EXPECTED}. Convert it.")


def _fill(out: np.ndarray, stream: BinaryIO) -> None:
    """Read pixels, channels last as they are stored, into ``out``, (images, channels, height, width)."""
    count, channels, height, width = out.shape
    step = max(1, _BLOCK // (channels * height * width))
    for start in range(0, count, step):
        part = out[start : start + step]
        stored = np.frombuffer(stream.read(part.size), dtype=np.uint8).reshape(-1, height, width, channels)
        np.divide(np.moveaxis(stored, -1, 1), 255, out=part)
