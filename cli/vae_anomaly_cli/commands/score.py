"""``vae-anomaly score``: the main job. Rank the rows of a table by how odd they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.columns import leave_out, pick, refuse_known, refuse_written
from vae_anomaly_cli.commands.fit import new_detector
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.output import SHOWN, is_terminal, plain_warnings, remark, show_rows, telling, write_rows
from vae_anomaly_cli.paths import check_table_output

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly score data.csv

vae-anomaly score data.csv --keep id --exclude id --output scores.csv

vae-anomaly score new.parquet --model normal.vae --top 20

zcat data.csv.gz | vae-anomaly score - | head

On a terminal the oddest rows are shown with the values that make them odd; elsewhere all rows are written as CSV."""
OURS = ("row", "anomaly_score", "is_anomaly")
FITTING = {"novelty": "--novelty", "contamination": "--contamination", "bound": "--bound", "seed": "--seed"}


@user_errors
def score(
    context: typer.Context,
    table: options.Table,
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
    quiet: options.Quiet = False,
) -> None:
    """Rank the rows of FILE by how odd they are, oddest first.

    Without --model, a model is fitted to FILE itself.

    Written are the columns row (1 is the first row of data), anomaly_score (in nats: the higher, the odder),
    is_anomaly, and those that --keep names.
    """
    _check_usage(context, table, model, output, keep or [])

    from vae_anomaly import read_table

    with plain_warnings(quiet=quiet):
        with naming(table):
            frame = read_table(table, encoding=encoding)
            kept, rows = pick(frame, keep or [], "--keep"), leave_out(frame, exclude or [], "--exclude")
        if model is not None:
            from vae_anomaly import load  # brings torch, which takes seconds: after the table has been read

            with naming(model):
                detector = load(model, device=device)
                refuse_known(exclude or [], detector.schema_.names)
        with naming(table):
            if model is None:
                detector = new_detector(novelty, contamination, bound, seed, device, quiet=quiet).fit(rows)
            ranking = rank(detector, rows)
            reasons = _reasons(detector, rows, ranking[: top or SHOWN]) if _is_shown(output) else []
    flagged, total = ranking["is_anomaly"].sum(), len(ranking)
    ranking = with_columns(ranking, kept)[:top]
    if _is_shown(output):
        show_rows(ranking[: top or SHOWN], reasons)
        remark(f"{flagged} of {total} rows are flagged; write them all with --output scores.csv", quiet=quiet)
        return
    write_rows(ranking, output, f"{len(ranking)} rows written; {flagged} of {total} are flagged.", quiet=quiet)


def rank(detector: VAEDetector, rows: pd.DataFrame) -> pd.DataFrame:
    """All rows, oddest first; equally odd ones in the order of the table."""
    import numpy as np
    import pandas as pd

    scores = detector.anomaly_score(rows)
    order = np.argsort(-scores, kind="stable")
    odd = scores[order] > -detector.offset_  # as predict has it, without scoring twice
    return pd.DataFrame({"row": order + 1, "anomaly_score": scores[order], "is_anomaly": odd})


def with_columns(ranking: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Put the kept columns of each ranked row beside it."""
    import pandas as pd

    return pd.concat([ranking, kept.iloc[ranking["row"] - 1].reset_index(drop=True)], axis=1)


def _is_shown(output: str | None) -> bool:
    return output is None and is_terminal(sys.stdout)


def _reasons(detector: VAEDetector, rows: pd.DataFrame, ranking: pd.DataFrame) -> list[str]:
    ranked = rows.iloc[ranking["row"] - 1]
    return telling(ranked, detector.contributions(ranked, relative=True))


def _check_usage(context: typer.Context, table: str, model: str | None, output: str | None, keep: list[str]) -> None:
    for name, option in FITTING.items():
        source = context.get_parameter_source(name)
        if model is not None and source is not None and source.name == "COMMANDLINE":
            message = f"it concerns fitting, and {model} is fitted already; leave one of the two out."
            raise typer.BadParameter(message, param_hint=option)
    refuse_written(keep, OURS)
    check_table_output(output, inputs=(table, model))
