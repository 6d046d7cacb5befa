"""``vae-anomaly features``: write the latent means of rows or images, for other tools."""

from __future__ import annotations

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.groups import Reading, grouped
from vae_anomaly_cli.inputs import read_input, read_model, refuse_output_names
from vae_anomaly_cli.output import check_table_output, phase, plain_warnings, write_rows

EXAMPLES = """\
vae-anomaly features data.csv --model data.vae --output features.parquet
vae-anomaly features data.csv --model data.vae --keep id --keep label -o f.csv
vae-anomaly features digits/ --model digits.vae --output features.csv
zcat data.csv.gz | vae-anomaly features - --model data.vae | head"""


@user_errors
@grouped
def features(
    context: typer.Context,
    file: options.File,
    model: options.Model,
    *,
    output: options.TableOut = None,
    keep: options.Keep = None,
    device: options.Device = "auto",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Write latent features of each row or image of FILE, to cluster, plot or train on.

    Rows keep the order of FILE. The columns named by --keep, or the image names, come first.

    The features, vaedetector0 and so on, are the posterior means of the model's first member.
    """
    check_table_output(output, inputs=(file, model))

    import pandas as pd

    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_input(context, file, [], keep or [], reading, skip_bad=skip_bad)
        with phase(f"loading {model}", quiet=quiet):
            detector = read_model(model, device)
        refuse_output_names(keep or [], detector.get_feature_names_out())
        with naming(file), phase(f"computing features of {file}", quiet=quiet):
            latents = detector.transform(source.rows_for(detector))
    rows = source.identifiers().join(pd.DataFrame(latents, columns=detector.get_feature_names_out()))
    message = f"{len(rows)} rows written, with {latents.shape[1]} latent features from the model's first member."
    write_rows(rows, output, message, quiet=quiet)
