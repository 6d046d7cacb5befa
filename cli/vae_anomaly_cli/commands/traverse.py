"""``vae-anomaly traverse``: walks along the latents of a model, as a table or as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_anomaly.errors import DataError
from vae_anomaly_cli import options
from vae_anomaly_cli.commands.plot import draw_traversal
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.models import read_fitted
from vae_anomaly_cli.output import plain_warnings, write_rows
from vae_anomaly_cli.paths import check_picture_output, check_table_output, is_picture

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly traverse --model data.vae --output walks.csv

vae-anomaly traverse --model data.vae --dimension 3 --span 2

vae-anomaly traverse --model data.vae --output walks.png"""
OURS = ["latent", "position"]


@user_errors
def traverse(
    model: options.FittedModel,
    output: options.WalkOut = None,
    dimensions: options.Dimensions = None,
    span: options.Span = 3.0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Write what the model expects along one latent after another, the others held at their means.

    A table has the columns latent and position (the latent's value), then those of the model.

    A picture is that of `plot traversal`.
    """
    if output is not None and is_picture(output):
        check_picture_output(output, inputs=(model,))
        draw_traversal(model, output, dimensions, span, device, quiet=quiet)
        return
    check_table_output(output, inputs=(model,))

    with plain_warnings(quiet=quiet):
        detector = read_fitted(model, device)
        with naming(model):
            table = walk(detector, dimensions, span)
    told = f"{len(table)} rows written, {len(table) // table['latent'].nunique()} along each latent."
    write_rows(table, output, told, quiet=quiet)


def walk(detector: VAEDetector, dimensions: list[int] | None, span: float) -> pd.DataFrame:
    """The walks below one another, each row with its latent and where on it the row lies."""
    import pandas as pd

    from vae_anomaly.plots.traversal import traverse_latents

    for name in detector.schema_.names:
        if name in OURS:
            raise DataError(
                f"Column {name!r} of the model has the name of one that is written. Write a picture instead."
            )
    return pd.concat(traverse_latents(detector, dimensions or None, span=span), names=OURS).reset_index()
