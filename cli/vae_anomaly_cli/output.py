"""What the user sees: rows in a file or on a terminal, remarks and warnings in one line each on standard error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import typer

from vae_anomaly.errors import DataWarning, FitWarning
from vae_anomaly.formatting import cell_text, printable, shorten

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
SHOWN = 10  # rows on a terminal
TELLING = 5  # columns that explain a row
BAR = 20  # characters of the largest surprise
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


def watched(items: Sequence[T], names: Sequence[str], *, quiet: bool) -> Iterator[T]:
    """Give one item after the other, with a bar that names it on standard error, where a person reads along."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    progress = Progress(console=console, transient=True, disable=quiet or not console.is_terminal)
    if not progress.disable:  # rich before 14 ends even a disabled bar with a line
        progress.start()
    task = progress.add_task("", total=len(items))
    try:
        for item, name in zip(items, names, strict=True):
            progress.update(task, description=name)
            yield item
            progress.advance(task)
    finally:
        if not progress.disable:
            progress.stop()


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

    def shown(name: str, value: object) -> Text:
        match name:
            case "anomaly_score":
                return Text(f"{value:.2f}")
            case "p_value":
                return Text(f"{value:.2g}")
            case "is_anomaly":
                return Text("yes", style="bold red") if value else Text("no")
        return Text(printable(str(value)) if name == whole else plain(value))

    table = Table()
    for name in ranking.columns:
        if name in ("row", "anomaly_score", "p_value"):
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(Text(plain(name)), overflow="fold" if name == whole else "ellipsis")
    for values in ranking.itertuples(index=False, name=None):
        table.add_row(*map(shown, ranking.columns, values))
    Console().print(table)


def show_reasons(reasons: pd.DataFrame) -> None:
    """Draw the most surprising cells of each row on the terminal, with bars as long as the surprise."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, longest = Console(), max(float(reasons["surprise"].to_numpy().max()), 1.0)
    for row, cells in reasons.groupby("row", sort=False):
        table = Table(title=f"row {row}, anomaly score {cells['anomaly_score'].iloc[0]:.2f}", title_justify="left")
        for name in ("column", "value", "expected", "nats", "surprise"):
            table.add_column(name, justify="right" if name == "nats" else "left")
        for cell in cells[:TELLING].to_dict("records"):
            bar = "█" * round(BAR * max(cell["surprise"], 0.0) / longest)
            texts = plain(cell["column"]), _value(cell["value"]), _expected(cell)
            table.add_row(*map(Text, texts), f"{cell['nats']:.2f}", f"{cell['surprise']:6.2f} {bar}")
        console.print(table)


def _expected(cell: Mapping[Any, Any]) -> str:
    """The range, where a column has one, or the value."""
    import pandas as pd

    low, high = cell["low"], cell["high"]
    return _value(cell["expected"]) if pd.isna(low) else f"{_value(low)} to {_value(high)}"


def _value(value: Any) -> str:
    import pandas as pd

    return "" if pd.isna(value) else cell_text(value, most=WIDEST)


def plain(value: object) -> str:
    """A cell as short, printable text: a table may hold anything."""
    return shorten(value, WIDEST)
