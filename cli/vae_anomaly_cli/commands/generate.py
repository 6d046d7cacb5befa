"""``vae-anomaly generate``: new rows or images, drawn from a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.models import read_fitted
from vae_anomaly_cli.output import plain_warnings, remark, write_rows
from vae_anomaly_cli.paths import check_output, check_table_output

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly generate --model data.vae --rows 5

vae-anomaly generate --model data.vae --rows 1000 --seed 1 --output new.parquet

vae-anomaly generate --model digits.vae --rows 100 --output new.png"""


@user_errors
def generate(
    model: options.FittedModel,
    rows: options.Rows,
    output: options.DrawnOut = None,
    seed: options.DrawSeed = 0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Draw new rows from a model, with the columns, types and categories of the table that it was fitted to.

    Columns that the fit left out (`info` lists them) are not drawn, and no cell is missing.

    A model of images draws a table of pixels, or, where --output ends in .png, a picture of the images side by side.
    """
    picture = output if output is not None and Path(output).suffix.lower() == ".png" else None
    if picture is None:
        check_table_output(output, inputs=(model,))
    else:
        check_output(picture, inputs=(model,))
    with plain_warnings(quiet=quiet):
        detector = read_fitted(model, device)
        shape = detector.get_params()["image_shape"]
        if picture is not None and shape is None:
            message = f"a .png shows images, and {model} was fitted to a table; choose .csv, .tsv, .parquet or .jsonl."
            raise typer.BadParameter(message, param_hint="--output")
        with naming(model):
            drawn = draw(detector, rows, seed)
    if picture is None:
        write_rows(drawn, output, f"{rows} rows written, drawn from {model}.", quiet=quiet)
        return
    from vae_anomaly import write_image_grid

    write_image_grid(picture, detector.schema_.encode(drawn), shape)  # encoded pixels are 0 to 1, whatever the fit saw
    remark(f"{picture}: {rows} images written, drawn from {model}.", quiet=quiet)


def draw(detector: VAEDetector, rows: int, seed: int) -> pd.DataFrame:
    """New rows under the names of the columns; a model that was fitted to an array draws them without names."""
    import pandas as pd

    return pd.DataFrame(detector.sample(rows, random_state=seed), columns=detector.schema_.names)
