"""``vae-anomaly update``: have a model learn from new rows, or images, without those that it was fitted to."""

from __future__ import annotations

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.models import read_fitted
from vae_anomaly_cli.output import plain_warnings, remark, wants_progress
from vae_anomaly_cli.paths import check_output, only_writer
from vae_anomaly_cli.source import read_source, trained_on

EXAMPLES = """Examples:

vae-anomaly update monday.csv --model normal.vae --output normal.vae

vae-anomaly update new.parquet --model models:/sensors@champion --output challenger.vae"""


@user_errors
def update(
    context: typer.Context,
    file: options.File,
    model: options.FittedModel,
    output: options.ModelOut,
    exclude: options.Exclude = None,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model on with the rows or images of FILE, each counting as much as one of those it has seen.

    The rows that it was fitted to are not needed, and the columns stay as they were then: kinds, scales and levels. The
    --output may be the --model itself.
    """
    check_output(output, inputs=(file,))
    with only_writer(output), plain_warnings(quiet=quiet):
        with naming(file):
            source = read_source(context, file, exclude or [], [], encoding, skip_bad=skip_bad)
        detector = read_fitted(model, device, excluded=exclude or [])
        with naming(file):
            rows = source.rows_for(detector)
            detector.set_params(verbose=wants_progress(quiet=quiet)).partial_fit(rows)
        detector.save(output)
    told = f"{output}: {model} updated with {len(rows)} {source.noun}; it has now seen {trained_on(detector)}."
    remark(told, quiet=quiet)
