"""How a column's values are stored in its table, and how floats, instants and levels are stored that way again."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from vae_anomaly.data.documents import damaged
from vae_anomaly.data.parse import Level, Values

TEXT, DECIMAL, TRUTH = "text", "decimal", "object"  # held as Python objects; every other storage is the name of a dtype
_TEXT_DTYPES: dict[str, Any] = {"str": pd.Series([""]).dtype, "object": object, "string": "string"}
_FIRST, _LAST = np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-30", "us")
_FIRST_IN_NS, _LAST_IN_NS = np.datetime64("1677-09-23", "us"), np.datetime64("2262-04-10", "us")
_LONGEST = 9.2e18  # units, of a duration
_UNITS_A_SECOND = {"s": 1e0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def storage_of(values: Values) -> str:
    """Name the way in which numbers, truth values, durations or dates are stored."""
    if values.is_text:
        return TEXT
    if values.dtype == object:
        return _object_storage(values)
    dtype = values.dtype.subtype if isinstance(values.dtype, pd.SparseDtype) else values.dtype
    if _is_named(dtype):
        return str(dtype)
    return "datetime64[us, UTC]" if isinstance(dtype, pd.DatetimeTZDtype) else DECIMAL


def _object_storage(values: Values) -> str:
    if values.is_truth:
        return TRUTH
    if len(values.instants.misfits) == 0:
        return "datetime64[us]"
    return DECIMAL if all(isinstance(value, Decimal) for value in values.factors[1]) else "float64"


def _is_named(dtype: Any) -> bool:
    try:
        return bool(pd.api.types.pandas_dtype(str(dtype)) == dtype)
    except (TypeError, ValueError, NotImplementedError):
        return False


def text_storage(values: Values) -> str:
    """Name the dtype in which text is stored."""
    return str(values.dtype) if str(values.dtype) in _TEXT_DTYPES else "str"


def check_storage(storage: str, kinds: str) -> str:
    """Refuse a storage that no column of these kinds has: numpy's letters, ``O`` for Python objects."""
    if _kind(storage) not in kinds:
        raise damaged("storage", "the name of a column type")
    return storage


@lru_cache(256)
def _kind(storage: str) -> str:
    if storage in {TEXT, DECIMAL, TRUTH}:
        return "O"
    try:
        dtype: Any = pd.Series([], dtype=storage).dtype
    except (TypeError, ValueError, NotImplementedError, AttributeError):
        return "unknown"
    if str(dtype) != storage or isinstance(dtype, pd.SparseDtype):
        return "unknown"
    is_date = isinstance(dtype, pd.PeriodDtype) or dtype.type is date
    return "M" if is_date else dtype.kind if dtype.kind in "biufmM" else "unknown"


def check_text_storage(storage: str) -> str:
    """Refuse a storage that is none for text."""
    if storage not in _TEXT_DTYPES:
        raise damaged("storage", "the name of a text type")
    return storage


def store_numbers(numbers: np.ndarray, storage: str) -> pd.Series:
    """Store floats, NaN where missing: clipped to what the type holds, and rounded where it holds whole numbers."""
    gaps = np.isnan(numbers)
    match storage:
        case "text":
            return store_text(_with_gaps([f"{number:.15g}" for number in numbers], gaps), "str")
        case "decimal":
            return pd.Series(_with_gaps([Decimal(f"{number:.15g}") for number in numbers], gaps), dtype=object)
        case "object":
            return pd.Series(_with_gaps((numbers == 1).tolist(), gaps), dtype=object)
    dtype: Any = pd.api.types.pandas_dtype(storage)
    held = _held(np.where(gaps, 0.0, numbers), np.dtype(getattr(dtype, "numpy_dtype", dtype)))
    series = pd.Series(held).astype(dtype)
    return series.mask(gaps) if gaps.any() else series


def _held(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Nearest values that a numpy type holds."""
    if dtype.kind == "b":
        return np.equal(numbers, 1)
    if dtype.kind == "f":
        return np.clip(numbers, float(np.finfo(dtype).min), float(np.finfo(dtype).max)).astype(dtype)
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    too_large = numbers >= float(most)  # float64 has no 2**63 - 1, only 2**63
    held = np.rint(np.clip(np.where(too_large, 0.0, numbers), float(least), None)).astype(dtype)
    held[too_large] = most
    return held


def _with_gaps(values: list[Any], gaps: np.ndarray) -> list[Any]:
    return [None if gap else value for value, gap in zip(values, gaps, strict=True)]


def store_durations(seconds: np.ndarray, storage: str) -> pd.Series:
    """Store seconds, NaN where missing, as durations: clipped to what the type holds."""
    dtype: Any = pd.api.types.pandas_dtype(storage)
    plain = np.dtype(getattr(dtype, "numpy_dtype", dtype))
    counts = np.clip(seconds * _UNITS_A_SECOND[np.datetime_data(plain)[0]], -_LONGEST, _LONGEST)
    gaps = np.isnan(counts)
    whole = np.where(gaps, np.iinfo(np.int64).min, np.rint(np.where(gaps, 0.0, counts)).astype(np.int64))
    return pd.Series(whole.view(plain)).astype(dtype)


def store_instants(microseconds: np.ndarray, storage: str, *, has_time: bool) -> pd.Series:
    """Store int64 microseconds, the least where missing, as dates: clipped to the years that the type holds."""
    moments = np.clip(microseconds.view("datetime64[us]"), _FIRST, _LAST)
    if storage == TEXT:
        texts = np.datetime_as_string(moments, unit=None if has_time else "D").tolist()
        return store_text(_with_gaps([text.removesuffix(".000000") for text in texts], np.isnat(moments)), "str")
    dtype: Any = pd.api.types.pandas_dtype(storage)
    if "ns" in storage:
        moments = np.clip(moments, _FIRST_IN_NS, _LAST_IN_NS)
    series = pd.Series(moments)
    match dtype:
        case pd.PeriodDtype():
            frequency: Any = dtype.freq
            return series.dt.to_period(frequency)
        case pd.DatetimeTZDtype():
            return series.dt.tz_localize("UTC").astype(dtype)
    return series.astype(dtype)


def store_text(texts: Sequence[Any], storage: str) -> pd.Series:
    """Store text, None where missing."""
    return pd.Series(list(texts), dtype=_TEXT_DTYPES[storage])


def store_levels(levels: Sequence[Level | None], categories: Sequence[Level], *, ordered: bool) -> pd.Series:
    """Store levels, None where missing, as categories."""
    return pd.Series(pd.Categorical(list(levels), categories=list(categories), ordered=ordered))
