"""Tables of every make, seen as one pandas frame with usable column names; the table given is never modified."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError

PIECE_CELLS = 2**18  # looked at together: 2 MiB, so that what is computed on the way stays small beside a long table
PIECE_ROWS = 2**8  # however wide the table


def is_frame(X: Any) -> bool:
    """Whether ``X`` is a table with column names: pandas, polars, pyarrow, or another that narwhals reads."""
    if isinstance(X, pd.DataFrame | np.ndarray | list):  # the usual ones: narwhals takes its time to rule them out
        return isinstance(X, pd.DataFrame)
    return isinstance(nw.from_native(X, pass_through=True), nw.DataFrame | nw.LazyFrame)


def as_frame(X: Any) -> pd.DataFrame:
    """
    See a table as a pandas frame.

    Parameters
    ----------
    X
        A pandas or polars frame (lazy ones are collected), a pyarrow table, whatever else narwhals reads, or a
        two-dimensional array, whose columns are then called 0, 1, ...; values under a numpy mask are missing.

    Returns
    -------
    pandas.DataFrame
        The very frame that was given where it was one; it shares memory with the input and must not be written to.

    Raises
    ------
    DataError
        If ``X`` is no table, or a column name is repeated or neither text nor a whole number.
    """
    frame = X if isinstance(X, pd.DataFrame) else _from_array(X) if isinstance(X, np.ndarray) else _from_native(X)
    column_names(frame)
    return frame


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with their positions as the index; nothing is copied."""
    frame = frame.copy(deep=False)
    frame.index = pd.RangeIndex(len(frame))
    return frame


def in_pieces_of_rows(frame: pd.DataFrame, places: np.ndarray | None = None) -> Iterator[pd.DataFrame]:
    """Rows of a frame, or those at ``places``, a few at a time."""
    for rows in slices_of_rows(len(frame) if places is None else len(places), frame.shape[1]):
        yield frame.iloc[rows if places is None else places[rows]]


def slices_of_rows(n_rows: int, n_cells: int) -> Iterator[slice]:
    """All rows of a table of so many cells a row, a few at a time."""
    step = max(PIECE_ROWS, PIECE_CELLS // max(1, n_cells))
    return (slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step))


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames of the same columns below one another; categories that only some of them declare are declared in all."""
    if len(frames) == 1:
        return frames[0]
    dtypes = [frame.dtypes.tolist() for frame in frames]
    places = [place for place, types in enumerate(zip(*dtypes, strict=True)) if _differ_in_categories(types)]
    shared = {frames[0].columns[place]: _shared([types[place] for types in dtypes]) for place in places}
    return pd.concat([frame.astype(shared) for frame in frames] if shared else frames)


def _differ_in_categories(dtypes: Sequence[Any]) -> bool:
    return all(isinstance(dtype, pd.CategoricalDtype) for dtype in dtypes) and len(set(dtypes)) > 1


def _shared(dtypes: Sequence[pd.CategoricalDtype]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(list(dict.fromkeys(value for dtype in dtypes for value in dtype.categories)))


def fill(column: pd.Series, values: pd.Series, missing: np.ndarray) -> pd.Series:
    """The column with ``values`` where it is missing, in its own type; ``missing`` (rows,) says where."""
    values = values.set_axis(column.index)
    if missing.all():
        return values
    if isinstance(column.dtype, pd.CategoricalDtype):
        new = values[missing].drop_duplicates()
        column = column.cat.add_categories(new[~new.isin(column.cat.categories)])
    return column.where(~missing, values.astype(column.dtype))


def column_names(frame: pd.DataFrame) -> list[str | int]:
    """Names of the columns as plain text and whole numbers; anything else, or a name twice, is a DataError."""
    names = [_plain(name) for name in frame.columns.tolist()]
    if len(set(names)) < len(names):
        repeated = [name for name, times in Counter(names).items() if times > 1]
        raise DataError(f"Column names must differ; the table has {listed(repeated)} more than once. Rename them.")
    return names


def listed(names: list[str | int], most: int = 20) -> str:
    """Names quoted and joined by commas, the tail counted where there are many."""
    rest = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest


def _plain(name: Any) -> str | int:
    match name:
        case str():
            return str(name)
        case int() | np.integer() if not isinstance(name, bool):
            return int(name)
    raise DataError(f"Column names must be text or whole numbers; the table has {name!r}. Rename that column.")


def _from_array(X: np.ndarray) -> pd.DataFrame:
    if X.ndim != 2:
        raise DataError(f"A table has two dimensions, rows and columns; this array has {X.ndim}. Reshape it.")
    if not isinstance(X, np.ma.MaskedArray):
        return pd.DataFrame(X, copy=False)
    values = np.array(X.data, dtype=np.float64 if X.dtype.kind in "biuf" else object)
    values[np.ma.getmaskarray(X)] = np.nan
    return pd.DataFrame(values)


def _from_native(X: Any) -> pd.DataFrame:
    table = nw.from_native(X, pass_through=True)
    if isinstance(table, nw.LazyFrame):
        table = table.collect()
    if not isinstance(table, nw.DataFrame):
        raise DataError(f"A table was expected (pandas, polars, pyarrow, or a 2-D array), not {type(X).__name__!r}.")
    return table.to_pandas()
