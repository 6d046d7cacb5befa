"""Fields of a JSON document from outside: each reader checks one field and raises a ModelFileError if it is damaged."""

from collections.abc import Callable
from typing import Any

import numpy as np

from vae_anomaly.errors import ModelFileError


def text(document: Any, key: str) -> str:
    """Text."""
    return _field(document, key, "text", lambda value: isinstance(value, str))


def truth(document: Any, key: str) -> bool:
    """True or false."""
    return _field(document, key, "true or false", lambda value: isinstance(value, bool))


def whole(document: Any, key: str, least: int, most: int) -> int:
    """A whole number from ``least`` to ``most``."""
    return _field(
        document, key, f"a whole number from {least} to {most}", lambda value: _is_int(value) and least <= value <= most
    )


def name(document: Any, key: str) -> str | int:
    """A column name: text or a whole number."""
    return _field(document, key, "text or a whole number", lambda value: isinstance(value, str) or _is_int(value))


def items(document: Any, key: str) -> list[Any]:
    """A list."""
    return _field(document, key, "a list", lambda value: isinstance(value, list))


def numbers(document: Any, key: str, least: float, most: float) -> np.ndarray:
    """A list of numbers from ``least`` to ``most``, as float64."""
    values = items(document, key)
    if not all((isinstance(value, float) or _is_int(value)) and least <= value <= most for value in values):
        raise damaged(key, f"numbers from {least:g} to {most:g}")
    return np.array(values, dtype=np.float64)


def levels(document: Any, key: str) -> tuple[str | int | float | bool, ...]:
    """A list of different scalars."""
    values = items(document, key)
    if not all(isinstance(value, str | int | float) for value in values) or len(set(values)) < len(values):
        raise damaged(key, "a list of different scalars")
    return tuple(values)


def damaged(key: str, expected: str) -> ModelFileError:
    """Error for a damaged field, which should have been ``expected``."""
    return ModelFileError(
        f"The model's description of its table is damaged: {key!r} must be {expected}. Save the model again."
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _field(document: Any, key: str, expected: str, fits: Callable[[Any], bool]) -> Any:
    value = document.get(key) if isinstance(document, dict) else None
    if not fits(value):
        raise damaged(key, expected)
    return value
