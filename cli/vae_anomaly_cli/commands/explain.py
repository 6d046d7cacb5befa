"""``vae-anomaly explain``: why rows of a table have their scores, cell by cell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from vae_anomaly.errors import DataError
from vae_anomaly_cli import options
from vae_anomaly_cli.columns import refuse_written
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.models import read_fitted
from vae_anomaly_cli.output import is_terminal, plain_warnings, remark, show_reasons, write_rows
from vae_anomaly_cli.paths import check_table_output
from vae_anomaly_cli.source import Table, read_source

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly explain data.csv --model data.vae

vae-anomaly explain data.csv --model data.vae --row 17 --row 230

vae-anomaly explain new.csv --model data.vae --top 50 --keep id --output reasons.csv

On a terminal each row's most surprising cells are shown; elsewhere all cells are written as CSV."""
OURS = ("row", "anomaly_score", "column", "nats", "surprise", "value", "expected", "low", "high", "reason")
SHOWN_ROWS = 3


@user_errors
def explain(
    context: typer.Context,
    file: options.Table,
    model: options.FittedModel,
    output: options.TableOut = None,
    rows: options.RowNumbers = None,
    top: options.Top = None,
    keep: options.Keep = None,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    quiet: options.Quiet = False,
) -> None:
    """Write why rows of FILE have their scores: the nats of each cell, what it holds and what was expected.

    Of the rows that --row names, or of the oddest ones: those that are flagged, or as many as --top says.

    The nats of a row's columns and of the latent term add up to its anomaly_score. The surprise is what a column adds
    beyond what is usual for it; low and high are the range expected beside the other columns.
    """
    refuse_written(keep or [], OURS)
    check_table_output(output, inputs=(file, model))
    if rows and top:
        raise typer.BadParameter("--row says which rows; leave one of the two out.", param_hint="--top")
    with plain_warnings(quiet=quiet):
        with naming(file):
            source = read_source(context, file, [], keep or [], encoding, skip_bad=False)

        detector = read_fitted(model, device)
        with naming(file):
            if not isinstance(source, Table):
                raise DataError("Single pixels tell a person nothing; explain is for tables.")
            frame = source.rows_for(detector)
            chosen = choose(detector, frame, rows, top)
            watched = output is None and is_terminal(sys.stdout)
            if watched and not (rows or top):
                chosen = chosen[:SHOWN_ROWS]
            reasons = reasons_of(detector, frame, chosen)
    told = f"{len(chosen)} row{'s' * (len(chosen) != 1)} explained"
    if watched:
        show_reasons(reasons)
        remark(f"{told}; write all cells with --output reasons.csv", quiet=quiet)
        return
    kept = source.named().iloc[reasons["row"] - 1].reset_index(drop=True)
    written = reasons.join(kept) if len(kept.columns) else reasons
    write_rows(as_text(written), output, f"{told}.", quiet=quiet)


def choose(detector: VAEDetector, frame: pd.DataFrame, rows: list[int] | None, top: int | None) -> np.ndarray:
    """Positions of the rows to explain, the oddest first."""
    import numpy as np

    if rows:
        if max(rows) > len(frame):
            raise DataError(f"There is no row {max(rows)}; the table has {len(frame)}, of which the first is 1.")
        return np.array(list(dict.fromkeys(rows))) - 1
    scores = detector.score_samples(frame)
    order = np.argsort(scores, kind="stable")
    return order[:top] if top else order[: max(1, int((scores < detector.offset_).sum()))]


def reasons_of(detector: VAEDetector, frame: pd.DataFrame, chosen: np.ndarray) -> pd.DataFrame:
    """The long form of the reasons of these rows, numbered as in the file."""
    picked = frame.iloc[chosen].set_axis(chosen + 1)
    reasons = detector.explain(picked, long=True)
    totals = reasons.groupby("row", sort=False)["nats"].transform("sum")
    reasons.insert(1, "anomaly_score", totals)
    return reasons


def as_text(reasons: pd.DataFrame) -> pd.DataFrame:
    """Values of columns of all kinds stand below one another: as text, for a column of a file has one kind."""
    text = reasons.assign(column=reasons["column"].astype(str))
    for name in reasons.columns.intersection(["value", "expected", "low", "high", "suggestion"]):
        text[name] = reasons[name].map(str, na_action="ignore")
    return text
