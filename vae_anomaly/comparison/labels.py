"""Which rows are known to be odd: a column of labels as truth values."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import listed_names

LISTED = 8  # values of a column in a message


def anomaly_labels(labels: pd.Series, odd: Iterable[object] = ()) -> np.ndarray:
    """
    Tell which rows a column of labels calls odd.

    Parameters
    ----------
    labels : Series
        (rows,), of which none is missing.
    odd : iterable
        The values that mean odd; as text, "1" is 1. Without any, odd are true and every number but 0.

    Returns
    -------
    ndarray
        Truth values, (rows,), both of them.

    Raises
    ------
    DataError
        A label is missing, ``odd`` is needed or names no label, or all rows are alike.

    Examples
    --------
    >>> odd_rows(pd.Series([0, 2, 0])).tolist()
    [False, True, False]
    >>> odd_rows(pd.Series(["well", "ill", "well"], name="state"), ["ill"]).tolist()
    [False, True, False]
    """
    _refuse_missing(labels)
    asked = [_text(value) for value in odd]
    found = _named(labels, asked) if asked else _true(labels)
    if found.all() or not found.any():
        which = "every row" if found.all() else "no row"
        raise DataError(
            f"Column {labels.name!r} calls {which} odd; its values are {_values(labels)}. A comparison needs rows of "
            "both kinds: name the odd values, on the command line with --anomaly-values, or another column."
        )
    return found


def _refuse_missing(labels: pd.Series) -> None:
    missing = np.flatnonzero(labels.isna())
    if len(missing):
        raise DataError(
            f"Column {labels.name!r} has no label in {len(missing)} of {len(labels)} rows, the first of them row "
            f"{missing[0] + 1}. Fill them in, or leave the rows out."
        )


def _named(labels: pd.Series, asked: list[str]) -> np.ndarray:
    texts = _texts(labels)
    known = set(texts)
    for value in asked:
        if value not in known:
            raise DataError(f"Column {labels.name!r} has no value {value!r}; its values are {_values(labels)}.")
    return texts.isin(asked).to_numpy()


def _true(labels: pd.Series) -> np.ndarray:
    plain = labels.infer_objects()
    if not pd.api.types.is_numeric_dtype(plain):  # truth values are numeric here
        which = "Say which of them mean odd, on the command line with --anomaly-values."
        raise DataError(f"Column {labels.name!r} holds {_values(labels)}. {which}")
    return plain.to_numpy(dtype=np.float64) != 0


def _values(labels: pd.Series) -> str:
    """The most frequent values, as `odd` takes them."""
    return listed_names(_texts(labels).value_counts().index, LISTED)


def _texts(labels: pd.Series) -> pd.Series:
    return labels.astype(object).map(_text)  # a column of categories would bring those along that no row has


def _text(value: object) -> str:
    """A label as text: a column of whole numbers may hold floats."""
    return str(value).removesuffix(".0")
