"""What the columns of a table are, and which are of no use: learned from all rows, or from a sample and a survey."""

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.tables.columns import Column, FlagColumn, NumberColumn, learn_column
from vae_anomaly.tables.frames import in_pieces_of_rows
from vae_anomaly.tables.layout import infinite
from vae_anomaly.tables.omissions import (
    COUNTER,
    EMPTY,
    NONE_DRAWN,
    nearly_numbers,
    reason_to_leave_out,
    too_many_levels,
)
from vae_anomaly.tables.storage import storage_of
from vae_anomaly.tables.survey import Numbers, Survey
from vae_anomaly.tables.values import Values, holds_numbers

Name = str | int


def learn_columns(
    frame: pd.DataFrame, names: list[Name], places: np.ndarray | None, survey: Survey | None
) -> tuple[list[Column], dict[Name, str]]:
    """
    Learn every column from the rows at ``places``: those in use, and why others are left out.

    A table of nothing but row counters keeps the first. The index of ``frame`` is the positions of its rows.
    """
    columns, left_out = _learn_numbers(frame, names, places, survey)
    strays = []
    for place in [place for place, dtype in enumerate(frame.dtypes) if not holds_numbers(dtype)]:
        sample = frame.iloc[:, place] if places is None else frame.iloc[places, place]
        if sample.isna().all():
            left_out[names[place]] = EMPTY if survey is None or survey.is_empty(place) else NONE_DRAWN
            continue
        values = Values(names[place], sample, sample.index) if survey is None else survey.values(place, sample)
        columns[names[place]] = column = _learn_other(values)
        strays += [text] if (text := nearly_numbers(values)) else []
        if reason := _reason(column, values, place, survey):
            left_out[names[place]] = reason
    left_out = {name: left_out[name] for name in names if name in left_out}
    _keep_a_counter(left_out, names)
    _warn_about(left_out, strays)
    return [columns[name] for name in names if name in columns and name not in left_out], left_out


def _learn_numbers(
    frame: pd.DataFrame, names: list[Name], places: np.ndarray | None, survey: Survey | None
) -> tuple[dict[Name, Column], dict[Name, str]]:
    """Learn the columns of numbers all at once: 10,000 of them take milliseconds."""
    drawn = Numbers.of(in_pieces_of_rows(frame, places), names)
    known = drawn if survey is None else survey.numbers
    flags, counters, empty, none_drawn = known.flags, known.counters, np.isnan(known.lows), np.isnan(drawn.lows)
    columns: dict[Name, Column] = {}
    left_out: dict[Name, str] = {}
    dtypes = frame.dtypes.tolist()
    of_numbers = {dtype: holds_numbers(dtype) for dtype in set(dtypes)}
    of_truth = {dtype: pd.api.types.is_bool_dtype(dtype) for dtype in of_numbers}
    whole = {dtype: pd.api.types.is_integer_dtype(dtype) for dtype in of_numbers}
    storages = {dtype: str(dtype) for dtype in of_numbers if isinstance(dtype, np.dtype)}
    for place, dtype in enumerate(dtypes):
        if of_numbers[dtype]:
            name = names[place]
            storage = storages.get(dtype) or storage_of(Values.of(frame, place, name))
            is_flag = flags[place] or of_truth[dtype]
            columns[name] = FlagColumn(name, storage) if is_flag else NumberColumn(name, storage)
            if none_drawn[place]:
                left_out[name] = EMPTY if empty[place] else NONE_DRAWN
            elif counters[place] and whole[dtype]:
                left_out[name] = COUNTER
    return columns, left_out


def _learn_other(values: Values) -> Column:
    """Learn a column of anything but numbers; if it spells them, none may be infinite."""
    column = learn_column(values)
    if isinstance(column, NumberColumn) and not column.is_duration:
        places = np.flatnonzero(np.isinf(values.numbers.values))
        if len(places):
            raise infinite(values.name, values.position(int(places[0])))
    return column


def _reason(column: Column, values: Values, place: int, survey: Survey | None) -> str | None:
    """Say why a column is left out, None where it is not."""
    levels = None if survey is None else survey.levels(place)
    if levels is not None and levels.too_many:
        return too_many_levels(levels.most, levels.n_values)
    return reason_to_leave_out(column, int((~values.missing).sum()) if levels is None else levels.n_values)


def _keep_a_counter(left_out: dict[Name, str], names: list[Name]) -> None:
    if len(left_out) == len(names):
        counter = next((name for name, reason in left_out.items() if reason == COUNTER), None)
        if counter is None:
            raise DataError(f"No column of the table is of use: {_reasons(left_out)}.")
        del left_out[counter]


def _warn_about(left_out: dict[Name, str], strays: Iterable[str]) -> None:
    if left_out:
        warnings.warn(f"Columns left out: {_reasons(left_out)}.", DataWarning, stacklevel=4)
    if strays:
        message = f"Columns that are text, though nearly all numbers: {', '.join(strays)}; the first row is 1."
        warnings.warn(message, DataWarning, stacklevel=4)


def _reasons(left_out: dict[Name, str], most: int = 20) -> str:
    """Columns with the reason why each is left out."""
    rest = f"; and {len(left_out) - most} more" if len(left_out) > most else ""
    return "; ".join(f"{name!r} {reason}" for name, reason in list(left_out.items())[:most]) + rest
