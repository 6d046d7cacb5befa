"""``vae-anomaly generate``: draw new rows or images from a model."""

from __future__ import annotations

from pathlib import Path

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.inputs import read_model
from vae_anomaly_cli.output import check_output, check_table_output, plain_warnings, remark, write_rows

EXAMPLES = """\
vae-anomaly generate --model data.vae --rows 5
vae-anomaly generate --model data.vae --rows 1000 --seed 1 --output new.parquet
vae-anomaly generate --model digits.vae --rows 100 --output new.png"""


@user_errors
def generate(
    model: options.Model,
    rows: options.Rows,
    output: options.SamplesOut = None,
    seed: options.SampleSeed = 0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Draw new rows or images from a model.

    The rows have the columns, types and categories of the training table. Columns that the fit left out (`info` lists
    them) are not generated, and no cell is missing.

    A model of images generates a table of pixels, or a picture with a grid of images if --output ends in .png.
    """
    picture = output if output is not None and Path(output).suffix.lower() == ".png" else None
    if picture is None:
        check_table_output(output, inputs=(model,))
    else:
        check_output(picture, inputs=(model,))

    import pandas as pd

    with plain_warnings(quiet=quiet):
        detector = read_model(model, device)
        shape = detector.get_params()["image_shape"]
        if picture is not None and shape is None:
            message = f"a .png shows images, and {model} was fitted to a table; choose .csv, .tsv, .parquet or .jsonl."
            raise typer.BadParameter(message, param_hint="--output")
        with naming(model):
            # a model that was fitted to an array draws columns without names
            drawn = pd.DataFrame(detector.sample(rows, random_state=seed), columns=detector.schema_.names)
    if picture is None:
        write_rows(drawn, output, f"{rows} rows written, drawn from {model}.", quiet=quiet)
        return
    from vae_anomaly import write_image_grid

    write_image_grid(picture, detector.schema_.encode(drawn), shape)  # encoded pixels are 0 to 1
    remark(f"{picture}: {rows} images written, drawn from {model}.", quiet=quiet)
