"""Columns named on the command line: found by name, or one error that says what there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

import typer

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import listed_names

if TYPE_CHECKING:
    import pandas as pd


def pick(frame: pd.DataFrame, names: Iterable[str], option: str) -> pd.DataFrame:
    """The named columns, in the order in which they were asked for, each once."""
    return frame[[_find(frame, name, option) for name in dict.fromkeys(names)]]


def leave_out(frame: pd.DataFrame, names: Iterable[str], option: str) -> pd.DataFrame:
    """All columns but the named ones."""
    return frame.drop(columns=[_find(frame, name, option) for name in names])


def refuse_known(excluded: Iterable[str], known: Iterable[str | int]) -> None:
    """Refuse to hide a column from a model that was fitted to it."""
    for name in set(excluded).intersection(map(str, known)):
        raise DataError(f"The model was fitted to column {name!r}, so --exclude cannot hide it; fit again without it.")


def refuse_written(kept: Iterable[str], written: Collection[str]) -> None:
    """Refuse to keep a column under the name of one that the command writes."""
    for name in kept:
        if name in written:
            message = f"{name!r} is the name of a column that is written anyway; rename it in the table."
            raise typer.BadParameter(message, param_hint="--keep")


def _find(frame: pd.DataFrame, name: str, option: str) -> str:
    if name in frame.columns:
        return name
    columns = [str(column) for column in frame.columns]
    close = get_close_matches(name, columns, n=1) or [c for c in columns if c.casefold() == name.casefold()]
    if close:
        raise DataError(f"There is no column {name!r} for {option}. Did you mean {close[0]!r}?")
    raise DataError(f"There is no column {name!r} for {option}. The columns are: {listed_names(columns)}.")
