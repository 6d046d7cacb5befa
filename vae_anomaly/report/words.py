"""Values and numbers as the page shows them, in plain text; the template escapes it."""

import math
from numbers import Real
from typing import Any

import numpy as np

from vae_anomaly import formatting
from vae_anomaly.formatting import is_missing, with_minus

MOST, LONGEST = 60, 600  # characters of a value or a name, and of a sentence
_DIGITS = 6  # of a value that was seen; what the model expects has fewer
_DUST = 1e-6


def nats(value: float) -> str:
    """A score or a part of one, with a true minus sign."""
    return with_minus(formatting.nats(value))


def seen(value: Any, digits: int = _DIGITS) -> str:
    """A cell of the table, with a true minus sign where it holds a number.

    Examples
    --------
    >>> seen(-52.0), seen("well-known")
    ('−52', 'well-known')
    """
    text = formatting.cell_text(value, digits, MOST)
    return with_minus(text) if isinstance(value, Real) else text


def expected(value: Any) -> str:
    """What the model expects in a cell; nothing where it expects nothing."""
    return "" if is_missing(value) else seen(value, 4)


def without_dust(values: list[Any]) -> list[Any]:
    """Values in which a number is 0 that is nothing beside the largest: what rounding left of a 0.

    Examples
    --------
    >>> without_dust([1e-17, 0.0, 0.08]), without_dust([None, "a", 1e-17])
    ([0.0, 0.0, 0.08], [None, 'a', 1e-17])
    """
    sizes = [abs(float(value)) if isinstance(value, float | np.floating) else math.inf for value in values]
    least = _DUST * max((size for size in sizes if math.isfinite(size)), default=0.0)
    return [0.0 if size < least else value for value, size in zip(values, sizes, strict=True)]
