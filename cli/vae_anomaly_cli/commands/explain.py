"""``vae-anomaly explain``: how each cell of a row contributes to its anomaly score."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from vae_anomaly.errors import DataError
from vae_anomaly_cli import options
from vae_anomaly_cli.commands.fit import read_or_fit, refuse_fitting
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.groups import Fitting, Reading, grouped
from vae_anomaly_cli.inputs import TableInput, read_input, refuse_output_names
from vae_anomaly_cli.output import (
    check_table_output,
    is_terminal,
    phase,
    plain_warnings,
    remark,
    show_reasons,
    with_digits,
    write_rows,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """\
vae-anomaly explain data.csv
vae-anomaly explain data.csv --row 17 --row 230
vae-anomaly explain new.csv --model data.vae --top 50 --output reasons.csv

A terminal shows the most surprising cells of each row; files and pipes get all cells."""
OUTPUT_COLUMNS = ("row", "anomaly_score", "column", "nats", "surprise", "value", "expected", "low", "high", "reason")
SHOWN_ROWS = 3


@user_errors
@grouped
def explain(
    context: typer.Context,
    file: options.Table,
    *,
    model: options.OptionalModel = None,
    output: options.TableOut = None,
    rows: options.RowNumbers = None,
    top: options.Top = None,
    keep: options.Keep = None,
    digits: options.Digits = 6,
    exclude: options.Exclude = None,
    fitting: Fitting,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Explain rows of FILE cell by cell: what is there, what was expected, and what that adds to the score.

    Explains the rows named by --row, or the N most anomalous ones with --top N; the default is all flagged rows.

    Without --model, a model is fitted to FILE itself.

    The contributions (nats) of the columns and of the latent term add up to the anomaly_score of the row. The surprise
    is the part of a contribution above the column's baseline; low and high are the range expected given the other
    columns.
    """
    refuse_output_names(keep or [], OUTPUT_COLUMNS)
    refuse_fitting(context, model)
    check_table_output(output, inputs=(file, model))
    if rows and top:
        raise typer.BadParameter("--row and --top cannot be combined; leave one of the two out.", param_hint="--top")
    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_explained(context, file, exclude or [], keep or [], rows or [], reading)
        detector = read_or_fit(file, source, model, exclude, fitting, device, quiet=quiet)
        with naming(file), phase("explaining rows", quiet=quiet):
            frame = source.rows_for(detector)
            chosen = choose(detector, frame, rows, top)
            shows = output is None and is_terminal(sys.stdout)
            if shows and not (rows or top):
                chosen = chosen[:SHOWN_ROWS]
            reasons = detector.explain(frame.iloc[chosen].set_axis(chosen + 1), long=True)
            reasons.insert(1, "anomaly_score", reasons.groupby("row", sort=False)["nats"].transform("sum"))
    message = f"{len(chosen)} row{'s' * (len(chosen) != 1)} explained"
    if shows:
        show_reasons(reasons)
        remark(f"{message}; write all cells with --output reasons.csv", quiet=quiet)
        return
    kept = source.identifiers().iloc[reasons["row"] - 1].reset_index(drop=True)
    written = reasons.join(kept) if len(kept.columns) else reasons
    written = with_digits(as_text(written), ("anomaly_score", "nats", "surprise"), digits)
    write_rows(written, output, f"{message}.", quiet=quiet)


def read_explained(
    context: typer.Context, file: str, exclude: list[str], keep: list[str], rows: list[int], reading: Reading
) -> TableInput:
    """Read FILE, which must be a table that has the numbered rows."""
    source = read_input(context, file, exclude, keep, reading, skip_bad=False)
    if not isinstance(source, TableInput):
        raise DataError("Only rows of a table are explained: single pixels mean nothing to a person.")
    if (asked := max(rows, default=0)) > (last := source.table.n_rows):
        raise DataError(f"There is no row {asked}; the rows of the table are numbered 1 to {last}.")
    return source


def choose(detector: VAEDetector, frame: pd.DataFrame, rows: list[int] | None, top: int | None) -> np.ndarray:
    """Positions of the rows to explain, most anomalous first."""
    import numpy as np

    if rows:
        return np.array(list(dict.fromkeys(rows))) - 1
    scores = detector.score_samples(frame)
    order = np.argsort(scores, kind="stable")
    return order[:top] if top else order[: max(1, int((scores < detector.offset_).sum()))]


def as_text(reasons: pd.DataFrame) -> pd.DataFrame:
    """Values as text: values of several columns share one column of the file, which has one type."""
    text = reasons.assign(column=reasons["column"].astype(str))
    for name in reasons.columns.intersection(["value", "expected", "low", "high", "suggestion"]):
        text[name] = reasons[name].map(str, na_action="ignore")
    return text
