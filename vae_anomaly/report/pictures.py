"""Images as small PNG pictures inside the page."""

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

_FLAGGED = np.array([0xD5, 0x5E, 0x00]) / 255  # the page's colour of flagged rows


@dataclass(frozen=True)
class Pictures:
    """Data URLs of three pictures: the image, the image that the model expected, and the surprise of each pixel."""

    seen: str
    expected: str
    surprise: str

    @classmethod
    def of(cls, seen: np.ndarray, expected: np.ndarray, surprise: np.ndarray, shape: Sequence[int]) -> Self:
        """Pictures of pixels (channels * height * width,), black 0 and white 1, and of their surprise in nats."""
        heat = _shrink(np.clip(surprise, 0, None).reshape(shape)).sum(axis=0)[..., None]
        strength = np.sqrt(heat / max(float(heat.max()), np.finfo(np.float64).tiny))
        return cls(
            _data_url(_levels(seen, shape)),
            _data_url(_levels(expected, shape)),
            _data_url(1 - strength * (1 - _FLAGGED)),
        )


def _levels(pixels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Image (height, width, 1 or 3); missing pixels are grey, and other numbers of channels are averaged."""
    image = _shrink(np.where(np.isnan(pixels), 0.5, pixels).clip(0, 1).reshape(shape))
    return np.moveaxis(image if len(image) in {1, 3} else image.mean(axis=0, keepdims=True), 0, -1)


def _shrink(image: np.ndarray) -> np.ndarray:
    """Image (channels, height, width) with sides of at most about 64 pixels, each the mean of a square."""
    channels, height, width = image.shape
    step = -(-max(height, width) // 64)
    if step == 1 or min(height, width) < step:
        return image
    cut = image[:, : height // step * step, : width // step * step]
    return cut.reshape(channels, height // step, step, width // step, step).mean(axis=(2, 4))


def _data_url(image: np.ndarray) -> str:
    """PNG of an image (height, width, 1 or 3) with levels from 0 to 1, as a data URL."""
    height, width, channels = image.shape
    levels = np.rint(255 * image).astype(np.uint8).reshape(height, width * channels)
    lines = np.hstack([np.zeros((height, 1), np.uint8), levels])  # the first byte of a line is its filter: none
    header = struct.pack(">2I5B", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")):
        png += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
