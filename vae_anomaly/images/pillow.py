"""Pillow is an extra: imported where it is used, and named where it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from vae_anomaly.errors import MissingExtraError


@contextmanager
def named_when_missing() -> Iterator[None]:
    """Say which command installs Pillow where the block cannot import it: a MissingExtraError."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = 'Image files need Pillow, which is not installed. Run: pip install "vae-anomaly[images]"'
        raise MissingExtraError(message) from error
