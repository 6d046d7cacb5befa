"""``vae-anomaly monitor``: test whether rows or images have changed since training."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly.formatting import number, p_value, printable
from vae_anomaly_cli import options
from vae_anomaly_cli.errors import FOUND, naming, user_errors
from vae_anomaly_cli.groups import Reading, grouped
from vae_anomaly_cli.inputs import read_input, read_model
from vae_anomaly_cli.output import (
    check_summary_output,
    check_table_output,
    is_terminal,
    phase,
    plain,
    plain_warnings,
    print_json,
    remark,
    with_digits,
    write_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly.monitor.drift import Drift

EXAMPLES = """\
vae-anomaly monitor today.csv --model normal.vae
vae-anomaly monitor today.csv --model normal.vae --level 0.01 -o drift.csv
vae-anomaly monitor sorted.csv --model normal.vae --unordered

Exit status: 0 no drift, 3 drift, 1 error in the data or the model, 2 wrong usage."""
LISTED = 20  # columns on a terminal


@user_errors
@grouped
def monitor(
    context: typer.Context,
    file: options.File,
    model: options.Model,
    *,
    output: options.TableOut = None,
    exclude: options.Exclude = None,
    level: options.Level = 0.05,
    unordered: options.Unordered = False,
    seed: options.DriftSeed = 0,
    digits: options.Digits = 6,
    as_json: options.JsonSummary = False,
    device: options.Device = "auto",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Test whether FILE differs from the training data of MODEL.

    Tests each column, the score, and whether a change begins somewhere along the rows.

    The output has the columns column, kind, p_value, adjusted_p_value (at most the level if there is drift), drifted,
    effect (the largest difference in the fraction of rows, 0 to 1) and message (a description).

    The rows are treated as a stream, in which a change may begin anywhere, unless --unordered is given.

    The exit status is 3 if anything has drifted, otherwise 0.
    """
    check_table_output(output, inputs=(file, model))
    check_summary_output(output, as_json=as_json)
    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_input(context, file, exclude or [], [], reading, skip_bad=skip_bad)

        with phase(f"loading {model}", quiet=quiet):
            detector = read_model(model, device, excluded=exclude or [])
        with naming(file), phase(f"comparing {file} with the training data", quiet=quiet):
            rows = source.rows_for(detector)
            drift = detector.drift(rows, level=level, ordered=not unordered, random_state=seed)
    columns = drift.columns.sort_values(["adjusted_p_value", "p_value"], kind="stable").reset_index()
    if as_json:
        print_json(facts(drift))
    if output is None and not as_json and is_terminal(sys.stdout):
        _show(columns)
        if len(columns) > LISTED:
            message = f"the first {LISTED} of {len(columns)} are shown; write them all with --output drift.csv"
            remark(message, quiet=quiet)
    elif output is not None or not as_json:
        columns = with_digits(columns, ("p_value", "adjusted_p_value", "effect"), digits)
        write_rows(columns, output, f"{len(columns)} rows written.", quiet=quiet)
    remark(summary(drift, source.noun), quiet=quiet)
    raise typer.Exit(FOUND if drift.drifted else 0)


def facts(drift: Drift) -> dict[str, Any]:
    """Result for machines."""
    stream = None if drift.stream is None else asdict(drift.stream)
    return {"drifted": drift.drifted, "columns": drift.columns.reset_index().to_dict("records"), "stream": stream}


def summary(drift: Drift, noun: str) -> str:
    """Result in one line."""
    moved = drift.columns["drifted"]
    columns = f"{moved[:-1].sum()} of {len(moved) - 1} columns{' and the score' if moved.iloc[-1] else ''}"
    result = f"drift in {columns}" if moved.any() else f"no drift in {len(moved) - 1} columns and the score"
    if (stream := drift.stream) is None:
        return f"{result}."
    if stream.alarm is None:
        evidence = f"evidence {number(stream.largest, 2)}, threshold {number(stream.threshold, 3)}"
        return f"{result}; no change along the {noun} ({evidence})."
    detected = f"change detected at {noun.removesuffix('s')} {stream.alarm + 1:,}"
    return f"{result}; {detected} (evidence {number(stream.largest, 2)}, threshold {number(stream.threshold, 3)})."


def _show(columns: pd.DataFrame) -> None:
    """Draw the columns on the terminal, clearest drift first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("column", "adjusted p", "effect", "what")
    shown = columns[:LISTED][["column", "adjusted_p_value", "effect", "message", "drifted"]]
    for column, adjusted, effect, message, drifted in shown.itertuples(index=False, name=None):
        cells = plain(column), p_value(adjusted), f"{effect:.2f}", printable(message)
        table.add_row(*(Text(cell, style="bold red" if drifted else "") for cell in cells))
    Console().print(table)
