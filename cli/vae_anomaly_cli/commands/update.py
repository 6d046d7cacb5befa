"""``vae-anomaly update``: continue the training of a model with new rows or images."""

from __future__ import annotations

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.groups import Reading, grouped
from vae_anomaly_cli.inputs import read_input, read_model, trained_on
from vae_anomaly_cli.output import check_output, only_writer, phase, plain_warnings, remark, wants_progress

EXAMPLES = """\
vae-anomaly update monday.csv --model normal.vae --output normal.vae
vae-anomaly update new.csv --model models:/sensors@champion --output next.vae"""


@user_errors
@grouped
def update(
    context: typer.Context,
    file: options.File,
    model: options.Model,
    output: options.ModelOut,
    *,
    exclude: options.Exclude = None,
    device: options.Device = "auto",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Continue the training of a model with the rows or images of FILE.

    They weigh as much as the earlier training rows, which are not needed. Column kinds and scales stay unchanged;
    category levels that are new are learned. The --output may be the --model itself.
    """
    check_output(output, inputs=(file,))
    with only_writer(output), plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_input(context, file, exclude or [], [], reading, skip_bad=skip_bad)
        with phase(f"loading {model}", quiet=quiet):
            detector = read_model(model, device, excluded=exclude or [])
        with naming(file):
            rows = source.rows_for(detector)
            detector.set_params(verbose=wants_progress(quiet=quiet)).partial_fit(rows)
        detector.save(output)
    total = trained_on(detector)
    remark(f"{output}: {model} updated with {len(rows)} {source.noun}; trained on {total} in total.", quiet=quiet)
