"""``vae-anomaly suggest``: find the few cells to change to make anomalous rows normal."""

from __future__ import annotations

import sys

import typer

from vae_anomaly.errors import DataError
from vae_anomaly_cli import options
from vae_anomaly_cli.commands.explain import as_text
from vae_anomaly_cli.commands.fit import read_or_fit, refuse_fitting
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.groups import Fitting, Reading, grouped
from vae_anomaly_cli.inputs import TableInput, read_input
from vae_anomaly_cli.output import (
    check_table_output,
    is_terminal,
    phase,
    plain_warnings,
    remark,
    show_rows,
    with_digits,
    write_rows,
)

EXAMPLES = """\
vae-anomaly suggest data.csv
vae-anomaly suggest new.csv --model data.vae --most 2 --output changes.csv

A terminal shows the first changes; files and pipes get all of them."""
SHOWN = 20  # changes on a terminal


@user_errors
@grouped
def suggest(
    context: typer.Context,
    file: options.Table,
    *,
    model: options.OptionalModel = None,
    output: options.TableOut = None,
    most: options.MaxChanges = 5,
    digits: options.Digits = 6,
    exclude: options.Exclude = None,
    fitting: Fitting,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Suggest corrections of FILE: the few cells that make a flagged row normal if they are changed.

    Without --model, a model is fitted to FILE itself.

    Rows that `score` flags get corrections. The output has one line per cell, with the columns row (1 is the first row
    of data), column, value, suggestion and, for the whole row, anomaly_score, new_score (after all changes) and
    is_normal (true if it is no longer flagged).
    """
    refuse_fitting(context, model)
    check_table_output(output, inputs=(file, model))
    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_input(context, file, exclude or [], [], reading, skip_bad=False)
            if not isinstance(source, TableInput):
                raise DataError("suggest works on tables only: single pixels mean nothing to a person.")
        detector = read_or_fit(file, source, model, exclude, fitting, device, quiet=quiet)
        with naming(file), phase("looking for changes", quiet=quiet):
            rows = source.rows_for(detector)
            flagged = int((detector.predict(rows) == -1).sum())
            changes = detector.suggest(rows.set_axis(range(1, len(rows) + 1)), max_changes=most)
    counts = f"{changes.groupby('row')['is_normal'].all().sum()} of {flagged} flagged rows become normal"
    message = f"{len(changes)} changes suggested; {counts}"
    if output is None and is_terminal(sys.stdout):
        show_rows(as_text(changes[:SHOWN]).fillna({"value": "", "suggestion": ""}), "suggestion")
        remark(f"{message}; write them all with --output changes.csv", quiet=quiet)
        return
    written = with_digits(as_text(changes), ("anomaly_score", "new_score"), digits)
    write_rows(written, output, f"{message}.", quiet=quiet)
