"""Columns that say nothing about what a row is like, and are left out of the encoded table."""

from vae_anomaly.tables.columns import CategoryColumn, Column
from vae_anomaly.tables.values import Values

EMPTY = "has no values"
NONE_DRAWN = "has no values in the rows drawn for training"
COUNTER = "counts the rows"
SHORTEST_COUNT = 20
_DISTINCT_SHARE, _FEW_LEVELS = 0.9, 20
_NUMBER_SHARE, _FEW_VALUES = 0.9, 10


def reason_to_leave_out(column: Column, n_values: int) -> str | None:
    """Say why a column with so many values is left out, None where it is not."""
    match column:
        case CategoryColumn() if column.storage != "category":
            return _identifies(len(column.levels), n_values)
    return None


def too_many_levels(most: int, n_values: int) -> str:
    """Say that a column has more distinct values than can be kept."""
    return f"identifier or free text: more than {most:,} distinct of {n_values:,}"


def nearly_numbers(values: Values) -> str | None:
    """Name the value that makes a text column out of what is otherwise numbers, None where there is no such thing."""
    n_values = int((~values.missing).sum())
    if not values.is_text or n_values < _FEW_VALUES:
        return None
    strays = values.numbers.misfits
    if not 0 < len(strays) <= round((1 - _NUMBER_SHARE) * n_values, 9):  # 0.1 * 10 is to be 1
        return None
    row = int(strays[0])
    return f"{values.name!r} (row {values.position(row) + 1} holds {values.found(row)})"


def _identifies(distinct: int, n_values: int) -> str | None:
    if distinct <= _FEW_LEVELS or distinct <= _DISTINCT_SHARE * n_values:
        return None
    return f"identifier or free text: {distinct:,} distinct of {n_values:,}"
