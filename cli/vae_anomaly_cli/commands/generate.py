"""``vae-anomaly generate``: new rows, drawn from a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.output import plain_warnings, write_rows
from vae_anomaly_cli.paths import check_table_output

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly generate --model data.vae --rows 5

vae-anomaly generate --model data.vae --rows 1000 --seed 1 --output new.parquet"""


@user_errors
def generate(
    model: options.FittedModel,
    rows: options.Rows,
    output: options.TableOut = None,
    seed: options.DrawSeed = 0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Draw new rows from a model, with the columns, types and categories of the table that it was fitted to.

    Columns that the fit left out (`info` lists them) are not drawn, and no cell is missing.
    """
    check_table_output(output, inputs=(model,))

    from vae_anomaly import load

    with plain_warnings(quiet=quiet), naming(model):
        drawn = draw(load(model, device=device), rows, seed)
    write_rows(drawn, output, f"{rows} rows written, drawn from {model}.", quiet=quiet)


def draw(detector: VAEDetector, rows: int, seed: int) -> pd.DataFrame:
    """New rows under the names of the columns; a model that was fitted to an array draws them without names."""
    import pandas as pd

    return pd.DataFrame(detector.sample(rows, random_state=seed), columns=detector.schema_.names)
