"""``vae-anomaly traverse``: expected rows along the latents of a model, as a table or as a picture."""

from __future__ import annotations

from vae_anomaly.errors import DataError
from vae_anomaly_cli import options
from vae_anomaly_cli.commands.plot import draw_traversal
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.inputs import read_model
from vae_anomaly_cli.output import check_picture_output, check_table_output, is_picture, plain_warnings, write_rows

EXAMPLES = """\
vae-anomaly traverse --model data.vae --output traversal.csv
vae-anomaly traverse --model data.vae --dimension 3 --span 2
vae-anomaly traverse --model data.vae --output traversal.png"""
INDEX_COLUMNS = ["latent", "position"]


@user_errors
def traverse(
    model: options.Model,
    output: options.TraversalOut = None,
    dimensions: options.Dimensions = None,
    span: options.Span = 3.0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Write the rows that the model expects along one latent after another.

    The other latents stay at their means.

    A table has the columns latent and position (the value of the latent), then those of the model.

    A picture is that of `plot traversal`.
    """
    if output is not None and is_picture(output):
        check_picture_output(output, inputs=(model,))
        draw_traversal(model, output, dimensions, span, device, quiet=quiet)
        return
    check_table_output(output, inputs=(model,))

    import pandas as pd

    from vae_anomaly.plots import traverse_latents

    with plain_warnings(quiet=quiet):
        detector = read_model(model, device)
        with naming(model):
            for name in detector.schema_.names:
                if name in INDEX_COLUMNS:
                    raise DataError(f"Column {name!r} of the model is also an output column. Write a picture instead.")
            tables = traverse_latents(detector, dimensions or None, span=span)
            table = pd.concat(tables, names=INDEX_COLUMNS).reset_index()
    message = f"{len(table)} rows written, {len(table) // len(tables)} along each latent."
    write_rows(table, output, message, quiet=quiet)
