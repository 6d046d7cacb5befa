"""``vae-anomaly score``: the main job. Rank the rows of a table, or images, by how odd they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.columns import refuse_known, refuse_written
from vae_anomaly_cli.commands.fit import new_detector
from vae_anomaly_cli.errors import naming, refuse_given, user_errors
from vae_anomaly_cli.output import SHOWN, is_terminal, plain_warnings, remark, show_rows, write_rows
from vae_anomaly_cli.paths import check_table_output
from vae_anomaly_cli.source import read_source

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly score data.csv

vae-anomaly score data.csv --keep id --exclude id --output scores.csv

vae-anomaly score new.parquet --model normal.vae --top 20

vae-anomaly score photos/ --skip-bad --output scores.csv

zcat data.csv.gz | vae-anomaly score - | head

On a terminal the oddest rows are shown with the values that make them odd, or the oddest images by name; elsewhere all
are written as CSV."""
OURS = ("row", "anomaly_score", "is_anomaly")
FITTING = {"novelty": "--novelty", "contamination": "--contamination", "bound": "--bound", "seed": "--seed"}


@user_errors
def score(
    context: typer.Context,
    file: options.File,
    model: options.ModelIn = None,
    output: options.TableOut = None,
    keep: options.Keep = None,
    top: options.Top = None,
    exclude: options.Exclude = None,
    novelty: options.Novelty = False,
    contamination: options.Contamination = "auto",
    bound: options.BoundName = options.Bound.elbo,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
) -> None:
    """Rank the rows or images of FILE by how odd they are, oddest first.

    Without --model, a model is fitted to FILE itself.

    Written are the columns row (1 is the first row of data), anomaly_score (in nats: the higher, the odder),
    is_anomaly, and those that --keep names.

    For images a column image follows row: the name of the file, or the number in an IDX file.
    """
    _check_usage(context, file, model, output, keep or [])
    with plain_warnings(quiet=quiet):
        with naming(file):
            source = read_source(context, file, exclude or [], keep or [], encoding, skip_bad=skip_bad)
        if model is not None:
            from vae_anomaly import load  # brings torch, which takes seconds: after the file has been read

            with naming(model):
                detector = load(model, device=device)
                refuse_known(exclude or [], detector.schema_.names)
        with naming(file):
            if model is None:
                detector = new_detector(novelty, contamination, bound, seed, device, quiet=quiet)
                detector.set_params(image_shape=source.image_shape).fit(source.rows)
            ranking = rank(detector, source.rows_for(detector))
            flagged, total = ranking["is_anomaly"].sum(), len(ranking)
            if output is None and is_terminal(sys.stdout):
                show_rows(*source.shown(ranking[: top or SHOWN], detector))
                told = f"{flagged} of {total} {source.noun} are flagged; write them all with --output scores.csv"
                remark(told, quiet=quiet)
                return
    written = source.written(ranking[:top])
    write_rows(written, output, f"{len(written)} rows written; {flagged} of {total} are flagged.", quiet=quiet)


def rank(detector: VAEDetector, rows: Any) -> pd.DataFrame:
    """All rows, oddest first; equally odd ones in the order of the file."""
    import numpy as np
    import pandas as pd

    scores = detector.anomaly_score(rows)
    order = np.argsort(-scores, kind="stable")
    odd = scores[order] > -detector.offset_  # as predict has it, without scoring twice
    return pd.DataFrame({"row": order + 1, "anomaly_score": scores[order], "is_anomaly": odd})


def _check_usage(context: typer.Context, file: str, model: str | None, output: str | None, keep: list[str]) -> None:
    if model is not None:
        reason = f"it concerns fitting, and {model} is fitted already; leave one of the two out."
        refuse_given(context, FITTING, reason)
    refuse_written(keep, OURS)
    check_table_output(output, inputs=(file, model))
