"""``vae-anomaly suggest``: which few cells to change for odd rows to count as normal."""

from __future__ import annotations

import typer

from vae_anomaly.errors import DataError
from vae_anomaly_cli import options
from vae_anomaly_cli.commands.explain import as_text
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.models import read_fitted
from vae_anomaly_cli.output import plain_warnings, write_rows
from vae_anomaly_cli.paths import check_table_output
from vae_anomaly_cli.source import Table, read_source

EXAMPLES = """Examples:

vae-anomaly suggest data.csv --model data.vae

vae-anomaly suggest new.csv --model data.vae --most 2 --output changes.csv"""


@user_errors
def suggest(
    context: typer.Context,
    file: options.Table,
    model: options.FittedModel,
    output: options.TableOut = None,
    most: options.MostChanges = 5,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    quiet: options.Quiet = False,
) -> None:
    """Write the fewest cells found to change for each odd row of FILE to count as normal, and their new values.

    A line for each cell: row (1 is the first row of data), column, value, suggestion, and of the whole row
    anomaly_score, new_score after all its changes, and is_normal: whether it is not odd any more.
    """
    check_table_output(output, inputs=(file, model))
    with plain_warnings(quiet=quiet):
        with naming(file):
            source = read_source(context, file, [], [], encoding, skip_bad=False)

        detector = read_fitted(model, device)
        with naming(file):
            if not isinstance(source, Table):
                raise DataError("Single pixels are not mended; suggest is for tables.")
            rows = source.rows_for(detector)
            changes = detector.suggest(rows.set_axis(range(1, len(rows) + 1)), max_changes=most)
    mended = changes.groupby("row")["is_normal"].all()
    told = f"{len(changes)} changes suggested; {mended.sum()} of {len(mended)} odd rows are then normal."
    write_rows(as_text(changes), output, told, quiet=quiet)
