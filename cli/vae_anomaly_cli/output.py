"""What the user sees: rows in a file or on a terminal, remarks and warnings in one line each on standard error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import typer

from vae_anomaly.errors import DataWarning, FitWarning

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10  # rows on a terminal
TELLING = 3  # columns that explain a row
WIDEST = 32  # characters of one value


def remark(text: str, *, quiet: bool) -> None:
    """One line on standard error, for people."""
    if not quiet:
        typer.echo(text, err=True)


@contextmanager
def plain_warnings(*, quiet: bool) -> Iterator[None]:
    """Show each of the library's warnings once, as one line on standard error; not at all when quiet."""
    seen: set[str] = set()

    def show(message: Warning | str, *_place: object, **_more: object) -> None:
        if str(message) not in seen:
            seen.add(str(message))
            remark(f"warning: {message}", quiet=quiet)

    with warnings.catch_warnings():
        warnings.showwarning = show
        for category in (DataWarning, FitWarning):
            warnings.simplefilter("always", category)
        yield


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads along; a process can be started with its streams closed."""
    return stream is not None and stream.isatty()


def wants_progress(*, quiet: bool) -> int:
    """The library's ``verbose``: a bar is for people who watch."""
    return int(not quiet and is_terminal(sys.stderr))


def write_rows(rows: pd.DataFrame, output: str | None, told: str, *, quiet: bool) -> None:
    """Write a table: to a file, with one line that tells of it, or to standard output."""
    from vae_anomaly import write_table

    write_table(rows, output or "-")
    if output not in (None, "-"):
        remark(f"{output}: {told}", quiet=quiet)


def show_rows(ranking: pd.DataFrame, whole: str) -> None:
    """Draw ranked rows on the terminal; of the column ``whole`` no text is cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def cell(name: str, value: object) -> Text:
        match name:
            case "anomaly_score":
                return Text(f"{value:.2f}")
            case "is_anomaly":
                return Text("yes", style="bold red") if value else Text("no")
        return Text(printable(str(value)) if name == whole else plain(value))

    table = Table()
    for name in ranking.columns:
        if name in ("row", "anomaly_score"):
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(Text(plain(name)), overflow="fold" if name == whole else "ellipsis")
    for values in ranking.itertuples(index=False, name=None):
        table.add_row(*map(cell, ranking.columns, values))
    Console().print(table)


def telling(rows: pd.DataFrame, contributions: pd.DataFrame) -> list[str]:
    """For each row the values that cost it most, as ``column=value``, worst first; no value that speaks for it."""
    import pandas as pd

    reasons = []
    for position in range(len(rows)):
        nats = contributions.iloc[position, :-1].sort_values(ascending=False, kind="stable")  # the last is the latent
        cells = {column: rows[column].iloc[position] for column in nats.index[nats > 0]}
        observed = [f"{plain(column)}={plain(value)}" for column, value in cells.items() if not pd.isna(value)]
        reasons.append(", ".join(observed[:TELLING]))
    return reasons


def plain(value: object) -> str:
    """A cell as short, printable text: a table may hold anything."""
    text = printable(str(value).removesuffix(".0") if isinstance(value, float) else str(value))
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def printable(text: str) -> str:
    """Text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
