"""Frames in the kind of a user's own library: pandas, polars or pyarrow."""

from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa

OTHERS = ("polars", "pyarrow")


def in_container(answer: Any, module: str, like: Any = None) -> Any:
    """
    A pandas frame or series in another library; an array as it is.

    The index is dropped; of columns with two levels, ``nats`` and ``height`` become ``nats__height``; values of several
    types in one column become text.

    Parameters
    ----------
    answer
        The frame, series or array.
    module
        The library, or a module of it; pandas if it is neither polars nor pyarrow.
    like
        A table of that library: columns that it has as well get its types, whole numbers being rounded.
    """
    container = module.partition(".")[0]
    if container not in OTHERS or isinstance(answer, np.ndarray):
        return answer
    frame = answer.to_frame() if isinstance(answer, pd.Series) else answer
    names = ["__".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in frame.columns]
    known = {} if like is None else {field.name: field.type for field in _schema_of(like)}
    columns = [_column(frame.iloc[:, k], known.get(name)) for k, name in enumerate(names)]
    table = pa.table(columns, names=names)
    if container == "polars":
        import polars as pl

        polars_frame: Any = pl.from_arrow(table)
        return polars_frame[names[0]] if isinstance(answer, pd.Series) else polars_frame
    return table[names[0]] if isinstance(answer, pd.Series) else table


def _schema_of(table: Any) -> Any:
    frame = nw.from_native(table)
    empty = frame.head(0)
    return (empty.collect() if isinstance(empty, nw.LazyFrame) else empty).to_arrow().schema


def _column(series: pd.Series, known: Any) -> Any:
    """An arrow array, of a known type if it can be converted to that."""
    if known is not None and pa.types.is_integer(known) and series.dtype.kind == "f":
        series = series.round()
    try:
        return pa.Array.from_pandas(series, type=known)
    except (pa.ArrowException, TypeError, OverflowError):
        if known is not None:
            return _column(series, None)
    values = zip(series, series.isna(), strict=True)  # of several types
    return pa.array([None if is_missing else str(value) for value, is_missing in values], pa.string())
