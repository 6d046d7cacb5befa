"""Rows of pixels as small pictures that stand in the page itself."""

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

_LARGEST = 64  # pixels of a side
_UNKNOWN = 0.5  # gray of a missing pixel
_ODD = np.array([0xD5, 0x5E, 0x00]) / 255  # the page's colour of what is odd


@dataclass(frozen=True)
class Pictures:
    """One image as it is, as it was expected, and where the surprise is; addresses that hold their picture."""

    seen: str
    expected: str
    surprise: str

    @classmethod
    def of(cls, seen: np.ndarray, expected: np.ndarray, surprise: np.ndarray, shape: Sequence[int]) -> Self:
        """From pixels (channel * height * width,), black 0 and white 1, and the surprise of each in nats."""
        heat = _smaller(np.clip(surprise, 0, None).reshape(shape)).sum(axis=0)[..., None]
        strength = np.sqrt(heat / max(float(heat.max()), np.finfo(np.float64).tiny))
        return cls(
            _address(_levels(seen, shape)), _address(_levels(expected, shape)), _address(1 - strength * (1 - _ODD))
        )


def _levels(pixels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Pixels as (height, width, channels), of more than three channels the mean."""
    image = _smaller(np.where(np.isnan(pixels), _UNKNOWN, pixels).clip(0, 1).reshape(shape))
    return np.moveaxis(image if len(image) in {1, 3} else image.mean(axis=0, keepdims=True), 0, -1)


def _smaller(image: np.ndarray) -> np.ndarray:
    """An image (channels, height, width) whose sides are no longer than the page bears: means over squares."""
    channels, height, width = image.shape
    step = -(-max(height, width) // _LARGEST)
    if step == 1 or min(height, width) < step:
        return image
    cut = image[:, : height // step * step, : width // step * step]
    return cut.reshape(channels, height // step, step, width // step, step).mean(axis=(2, 4))


def _address(image: np.ndarray) -> str:
    """A picture (height, width, 1 or 3) of levels from 0 to 1 as the address of a PNG in itself."""
    height, width, channels = image.shape
    levels = np.rint(255 * image).astype(np.uint8).reshape(height, width * channels)
    lines = np.hstack([np.zeros((height, 1), np.uint8), levels])  # each line begins with its filter: none
    header = struct.pack(">2I5B", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
