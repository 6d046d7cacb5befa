"""``vae-anomaly features``: the codes of rows or images, for other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.columns import refuse_written
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.models import read_fitted
from vae_anomaly_cli.output import plain_warnings, write_rows
from vae_anomaly_cli.paths import check_table_output
from vae_anomaly_cli.source import read_source

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly features data.csv --model data.vae --output codes.parquet

vae-anomaly features data.csv --model data.vae --keep id --keep label --output codes.csv

vae-anomaly features digits/ --model digits.vae --output codes.csv

zcat data.csv.gz | vae-anomaly features - --model data.vae | head"""


@user_errors
def features(
    context: typer.Context,
    file: options.File,
    model: options.FittedModel,
    output: options.TableOut = None,
    keep: options.Keep = None,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the code of each row or image of FILE: a few numbers to cluster, to plot or to learn from.

    Rows stay in the order of FILE; first come the columns that --keep names, or the names of the images.

    The codes, vaedetector0 and so on, are the posterior means of the model's first member.
    """
    check_table_output(output, inputs=(file, model))
    with plain_warnings(quiet=quiet):
        with naming(file):
            source = read_source(context, file, [], keep or [], encoding, skip_bad=skip_bad)
        detector = read_fitted(model, device)
        refuse_written(keep or [], detector.get_feature_names_out())
        with naming(file):
            codes = encode(detector, source.rows_for(detector))
    told = f"{len(codes)} rows written; {codes.shape[1]} codes each, of the model's first member."
    write_rows(source.named().join(codes), output, told, quiet=quiet)


def encode(detector: VAEDetector, rows: Any) -> pd.DataFrame:
    """The codes of the rows under their names, numbered from 0 whatever the index of the rows."""
    import pandas as pd

    return pd.DataFrame(detector.transform(rows), columns=detector.get_feature_names_out())
