"""Outputs of a command: files checked before work, tables in files or on a terminal, remarks on standard error."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import typer

from vae_anomaly.errors import DataError, DataWarning, FitWarning
from vae_anomaly.formatting import cell_text, counted, is_missing, p_value, printable, shorten, without_password

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vae_anomaly import VAEDetector

T = TypeVar("T")
SHOWN = 10  # rows on a terminal
SHORT = 1.0  # seconds that a phase takes without a word
SHOWN_COLUMNS = 5  # columns that explain a row on a terminal
BAR = 20  # characters of the longest bar
CONTROLS = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # that JSON may leave as they are
WIDEST = 32  # characters of one value
MEASURES = ("anomaly_score", "p_value", "severity")  # of a row
MOST_EXACT_POWER, MOST_EXACT_DIGITS = 22, 15  # powers of ten, and digits of whole numbers, that float64 holds
EXACT = 17  # significant digits from which on every float64 is written as it is


def buffer_standard_output() -> None:
    """Buffer standard output if it is unbuffered: its writes could take the first characters only, without an error."""
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = open(sys.stdout.fileno(), "w", 1, encoding, errors, closefd=False)  # noqa: SIM115 (to the end)


def check_output(target: str, inputs: tuple[str | None, ...]) -> None:
    """Refuse a file that cannot be written, or that is one of the inputs, before anything slow begins."""
    path = Path(target)
    if target == "-":
        raise _wrong_output("This command writes a file, not standard output.")
    if path.is_dir():
        raise _wrong_output(f"{target} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise _wrong_output(f"There is no folder {path.parent}; create it first.")
    if not os.access(path.parent, os.W_OK):
        raise _wrong_output(f"The folder {path.parent} is not writable.")
    for source in inputs:
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise _wrong_output(f"{target} is also an input; name another file.")


def check_table_output(target: str | None, inputs: tuple[str | None, ...]) -> None:
    """Refuse what ``check_output`` refuses and an unknown suffix; ``-`` and None mean standard output."""
    if target is not None and target != "-":
        from vae_anomaly.io.write import format_of

        check_output(target, inputs)
        try:
            format_of(target)
        except DataError as error:
            raise _wrong_output(str(error)) from error
    elif sys.stdout is None:
        raise DataError("Standard output is closed; name a file with --output.")


def check_picture_output(target: str, inputs: tuple[str | None, ...]) -> None:
    """Refuse what ``check_output`` refuses and a suffix that is not that of a picture."""
    from vae_anomaly.plots import picture_format

    check_output(target, inputs)
    try:
        picture_format(target)
    except DataError as error:
        raise _wrong_output(str(error)) from error


def check_page_output(target: str, inputs: tuple[str | None, ...]) -> None:
    """Refuse what ``check_output`` refuses and a suffix that is not that of a page."""
    from vae_anomaly.report import check_path

    check_output(target, inputs)
    try:
        check_path(target)
    except DataError as error:
        raise _wrong_output(str(error)) from error


def _wrong_output(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--output")


def is_picture(target: str | None) -> bool:
    """True if a file's suffix is that of a picture."""
    from vae_anomaly.plots import picture_format

    try:
        picture_format(target or "-")
    except DataError:
        return False
    return True


def only_writer(target: str) -> AbstractContextManager[None]:
    """Context in which other commands that would write the same file end with an error."""
    from vae_anomaly.io.atomic import claimed

    return claimed(target, f"Another command is writing {target!r}. Wait until it has ended, or name another file.")


def remark(text: str, *, quiet: bool) -> None:
    """Print lines for people on standard error, without what a terminal obeys; none for an empty text."""
    if text and not quiet:
        typer.echo("\n".join(map(printable, text.split("\n"))), err=True)


@contextmanager
def plain_warnings(*, quiet: bool) -> Iterator[None]:
    """Show each warning of the library once, as one line on standard error; none when quiet."""
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


def remark_findings(detector: VAEDetector, *, quiet: bool) -> None:
    """Say on standard error what quick checks of a new model found amiss, the worst first, at most three."""
    most, words = 3, {"bad": "warning", "look": "note"}
    if quiet:
        return
    with phase("checking the model", quiet=quiet):
        found = detector.diagnose(quick=True)
    for verdict, word in words.items():
        messages = found["message"][found["verdict"] == verdict]
        for message in messages[:most]:
            remark(f"{word}: {printable(message)}", quiet=quiet)
        most -= min(most, len(messages))


def remark_rule(
    detector: VAEDetector, rule: Mapping[str, Any], n_flagged: int, n_rows: int, nouns: str, *, quiet: bool
) -> None:
    """Say on standard error how many rows are flagged, by which rule, and what to do if too many are."""
    from vae_anomaly.scoring.decide import MANY, FlaggingRule, hardly_outliers

    flagging = FlaggingRule(**rule)
    look = f"{n_flagged:,} of {counted(n_rows, nouns)} {'needs' if n_flagged == 1 else 'need'} a look."
    remark(f"{look} {flagging.sentence(detector.false_alarm_rate_, nouns.removesuffix('s'))}", quiet=quiet)
    if flagging.is_default and detector.contamination == "auto" and n_flagged > MANY * n_rows:
        remark(hardly_outliers(nouns, "--"), quiet=quiet)


def is_terminal(stream: TextIO | None) -> bool:
    """True if a person reads the stream; a process can be started with its streams closed."""
    return stream is not None and stream.isatty()


def wants_progress(*, quiet: bool) -> int:
    """Value of the library's ``verbose``: progress bars are for people who watch."""
    return int(not quiet and is_terminal(sys.stderr))


@contextmanager
def phase(text: str, *, quiet: bool) -> Iterator[None]:
    """Within the block, and once it takes long, show what is done and for how many seconds, if a person watches."""
    if not wants_progress(quiet=quiet):
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    progress.add_task(without_password(text), total=None)
    begin = Timer(SHORT, progress.start)
    begin.daemon = True
    begin.start()
    try:
        yield
    finally:
        begin.cancel()
        begin.join()  # it may be about to draw
        if progress.live.is_started:
            progress.stop()


def watched(items: Sequence[T], names: Sequence[str], *, quiet: bool) -> Iterator[T]:
    """Yield the items, with a progress bar that names the current one if a person reads standard error."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    progress = Progress(console=console, transient=True, disable=quiet or not console.is_terminal)
    if not progress.disable:  # rich before 14 prints a newline even at the end of a disabled bar
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


def write_rows(rows: pd.DataFrame, output: str | None, message: str, *, quiet: bool) -> None:
    """Write a table to standard output, or to a file with one line about it on standard error."""
    from vae_anomaly import write_table

    write_table(rows, output or "-")
    if output not in (None, "-"):
        remark(f"{output}: {message}", quiet=quiet)


def with_digits(table: pd.DataFrame, names: Collection[str], digits: int) -> pd.DataFrame:
    """The table with numbers of some columns rounded to significant digits."""
    chosen = [name for name in table.columns if name in names] if digits < EXACT else []
    return table.assign(**{str(name): _rounded(table[name].to_numpy(float), digits) for name in chosen})


def _rounded(numbers: np.ndarray, digits: int) -> np.ndarray:
    """Numbers with so many significant digits, as many as the shortest text for them shows."""
    import numpy as np

    sizes = np.abs(numbers)
    exponents = np.floor(np.log10(sizes, out=np.zeros_like(sizes), where=sizes > 0))
    places = np.clip(digits - 1 - exponents, -MOST_EXACT_POWER, MOST_EXACT_POWER)
    powers = 10.0 ** np.abs(places)  # whole numbers, exact in float64
    with np.errstate(over="ignore", invalid="ignore"):  # of both forms, in all rows
        rounded = np.where(places >= 0, np.rint(numbers * powers) / powers, np.rint(numbers / powers) * powers)
    inexact = (np.abs(places) == MOST_EXACT_POWER) | (digits > MOST_EXACT_DIGITS)
    for row in np.flatnonzero(inexact & np.isfinite(numbers)).tolist():
        rounded[row] = float(f"{numbers[row]:.{digits}g}")
    return np.where(np.isfinite(numbers), rounded, numbers)


def check_summary_output(output: str | None, *, as_json: bool) -> None:
    """Refuse two outputs in one: the summary as JSON and the table, both to standard output."""
    if as_json and output == "-":
        raise typer.BadParameter("the summary goes to standard output; write the table to a file.", param_hint="--json")


def print_json(facts: Mapping[str, Any]) -> None:
    """Print a summary for machines: NaN and infinities, which JSON lacks, are null; controls are escaped."""
    text = json.dumps(_as_json(facts), indent=2, ensure_ascii=False)
    typer.echo(CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(part) for part in value]
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float):
        return plain if math.isfinite(plain) else None
    return plain if plain is None or isinstance(plain, bool | int) else str(plain)


def show_rows(ranking: pd.DataFrame, uncut: str) -> None:
    """Draw ranked rows on the terminal; long texts are cut except in the column ``uncut``."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def shown(name: str, value: Any) -> Text:
        match name:
            case "anomaly_score" | "new_score":
                return Text(f"{value:.2f}")
            case "p_value":
                return Text(p_value(value))
            case "severity":
                return Text(f"{value:.1f}")
            case "is_anomaly":
                return Text("yes", style="bold red") if value else Text("no")
            case "duplicate_of":
                return Text("" if is_missing(value) else str(value))
        return Text(printable(str(value)) if name == uncut else plain(value))

    table = Table()
    for name in ranking.columns:
        if name in ("row", "anomaly_score", "new_score", "p_value", "severity", "duplicate_of"):
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(Text(plain(name)), overflow="fold" if name == uncut else "ellipsis")
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
        for cell in cells[:SHOWN_COLUMNS].to_dict("records"):
            bar = "█" * round(BAR * max(cell["surprise"], 0.0) / longest)
            texts = plain(cell["column"]), _value(cell["value"]), _expected(cell)
            table.add_row(*map(Text, texts), f"{cell['nats']:.2f}", f"{cell['surprise']:6.2f} {bar}")
        console.print(table)


def _expected(cell: Mapping[Any, Any]) -> str:
    """The expected range of a number, or the expected value."""
    import pandas as pd

    low, high = cell["low"], cell["high"]
    ends = dict.fromkeys([_value(cell["expected"])] if pd.isna(low) else [_value(low), _value(high)])
    return " to ".join(ends)


def _value(value: Any) -> str:
    import pandas as pd

    return "" if pd.isna(value) else cell_text(value, most=WIDEST)


def plain(value: object) -> str:
    """A cell as short, printable text."""
    return shorten(value, WIDEST)
