"""Values, numbers and shares as a person reads them, in plain text; the template escapes it."""

import math
from datetime import date, datetime
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from vae_anomaly.formatting import short_text

MOST, LONGEST = 60, 600  # characters of a value or a name, and of a sentence
_DIGITS = 6  # of a value that was seen; what the model expects has fewer
_LEAST_LONG = 10_000  # from here on thousands are set apart: not in years
_LEAST_WHOLE = 1000  # nats, from here on without decimals
_LEAST_CHANCE = 1e-6
_DUST = 1e-6


def rounded(value: float, digits: int = 4) -> str:
    """A number with so many digits that count; powers of ten only where it would be long without.

    Examples
    --------
    >>> [rounded(value) for value in (0.1 + 0.2, 2007.0, -1234567.8, 0.000012345, 1.5e13, 0.0)]
    ['0.3', '2007', '−1,235,000', '1.234e−5', '1.5e13', '0']
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}".replace("-", "−")
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 9:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        return f"{_bare(mantissa)}e{int(power)}".replace("-", "−")
    exact = round(value, digits - 1 - size)
    apart = "," if abs(exact) >= _LEAST_LONG else ""
    return _bare(f"{exact:{apart}.{max(0, digits - 1 - size)}f}").replace("-", "−")


def nats(value: float) -> str:
    """A score or a part of one: two decimals, none where they would say nothing.

    Examples
    --------
    >>> [nats(value) for value in (3.14159, -0.001, 6737.49)]
    ['3.14', '0.00', '6,737']
    """
    text = f"{value:,.0f}" if abs(value) >= _LEAST_WHOLE else f"{value:.2f}"
    return text.replace("-", "" if float(text.replace(",", "")) == 0 else "−")


def chance(p: float) -> str:
    """A p-value.

    Examples
    --------
    >>> [chance(p) for p in (0.5, 0.0312, 0.00004, 1e-200)]
    ['0.5', '0.031', '0.00004', '<0.000001']
    """
    if p < _LEAST_CHANCE:
        return f"<{_LEAST_CHANCE:f}"
    return _bare(f"{p:.{max(0, 1 - math.floor(math.log10(p)))}f}")


def seen(value: Any, digits: int = _DIGITS) -> str:
    """A cell of the table, whatever it holds.

    Examples
    --------
    >>> import pandas as pd
    >>> [seen(value) for value in (52.0, None, True, "some  text", pd.Timestamp("2020-01-02"))]
    ['52', 'missing', 'True', 'some text', '2020-01-02']
    """
    if is_missing(value):
        return "missing"
    match value:
        case bool() | np.bool_():
            return str(bool(value))
        case datetime():
            moment = pd.Timestamp(value)
            return str(moment.date()) if moment == moment.normalize() else str(moment.floor("s"))
        case date():
            return str(value)
        case int() | np.integer():
            return f"{int(value):{',' if abs(int(value)) >= _LEAST_LONG else ''}}".replace("-", "−")
        case Real():
            return rounded(float(value), digits)
    return short_text(value, MOST)


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


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return bool(np.ndim(value) == 0 and pd.isna(value))


def _bare(digits: str) -> str:
    """Digits without zeros at the end that say nothing."""
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
