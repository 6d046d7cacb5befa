"""``vae-anomaly score``: rank the rows of a table, or images, by how anomalous they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.commands.fit import new_detector, refuse_fitting
from vae_anomaly_cli.errors import naming, refuse_given, refuse_several, user_errors
from vae_anomaly_cli.inputs import read_input, read_model, refuse_output_names
from vae_anomaly_cli.output import SHOWN, check_table_output, is_terminal, plain_warnings, remark, show_rows, write_rows
from vae_anomaly_cli.stream import FILE_COLUMNS, StreamedTable, StreamScorer, write_scores
from vae_anomaly_cli.tracking import new_tracker, report_run

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly score data.csv

vae-anomaly score data.csv --keep id --exclude id --output scores.csv

vae-anomaly score new.parquet --model normal.vae --top 20

vae-anomaly score new.csv --model normal.vae --fdr 0.05 --output alarms.csv

vae-anomaly score new.csv --model models:/sensors@champion --track --output scores.csv

vae-anomaly score photos/ --skip-bad --output scores.csv

vae-anomaly score 'logs/*.parquet' --stream --model normal.vae --output scores.parquet

zcat data.csv.gz | vae-anomaly score - | head

A terminal shows the most anomalous rows or images; files and pipes get all of them."""
OUTPUT_COLUMNS = ("row", "anomaly_score", "p_value", "is_anomaly", "reason")
NOT_STREAMED = {
    "duplicates": "--duplicates",
    "fdr": "--fdr",
    "alerts": "--alerts",
    "track": "--track",
    "experiment": "--experiment",
    "run_name": "--run-name",
    "track_required": "--track-required",
}


@user_errors
def score(
    context: typer.Context,
    file: options.File,
    model: options.OptionalModel = None,
    output: options.TableOut = None,
    keep: options.Keep = None,
    duplicates: options.Duplicates = False,
    top: options.Top = None,
    exclude: options.Exclude = None,
    fdr: options.Fdr = None,
    alerts: options.Alerts = None,
    false_alarm_rate: options.FalseAlarmRate = None,
    novelty: options.Novelty = False,
    contamination: options.Contamination = "auto",
    calibration: options.CalibrationName = options.Calibration.leave_one_out,
    bound: options.BoundName = options.Bound.elbo,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    missing: options.Missing = None,
    stream: options.Stream = False,
    skip_bad: options.SkipBad = False,
    track: options.Track = False,
    experiment: options.Experiment = None,
    run_name: options.RunName = None,
    track_required: options.TrackRequired = False,
    quiet: options.Quiet = False,
) -> None:
    """Rank the rows or images of FILE by how anomalous they are, most anomalous first.

    Without --model, a model is fitted to FILE itself.

    The output has the columns row (1 is the first row of data), anomaly_score (in nats; higher is more anomalous),
    p_value (the probability that a normal row scores at least as high), is_anomaly, reason (for flagged rows), and
    those named by --keep.

    Rows that repeat an earlier row, exactly or in every column but identifiers, are counted on standard error, unless
    the table has so few different rows that they repeat naturally. --duplicates adds the column duplicate_of after
    is_anomaly: the number of that earlier row.

    Images have a column image after row (the file name, or the number in an IDX file) and no reason.

    With --stream, rows keep their order and are never all in memory, so repeats are not looked for; with several files,
    the columns file and file_row follow row.
    """
    own = (*OUTPUT_COLUMNS, *(FILE_COLUMNS if stream else ()), *(["duplicate_of"] if duplicates else ()))
    refuse_output_names(keep or [], own)
    refuse_fitting(context, model)
    check_table_output(output, inputs=(file, model))
    refuse_several({"--fdr": fdr, "--alerts": alerts, "--false-alarm-rate": false_alarm_rate})
    rule = {"fdr": fdr, "alerts": alerts, "false_alarm_rate": false_alarm_rate}
    if stream:
        refuse_given(context, NOT_STREAMED, "it needs all rows at once; leave out either it or --stream.")
        refuse_given(context, {"skip_bad": "--skip-bad"}, "it applies to images, and --stream to tables.")
        with plain_warnings(quiet=quiet), naming(file):
            streamed = StreamedTable.read(file, exclude or [], keep or [], encoding, missing)
            check_table_output(output, inputs=(*streamed.dataset.files, model))
            if model is not None:
                detector = read_model(model, device, excluded=exclude or [])
            else:
                detector = new_detector(novelty, contamination, calibration, bound, seed, device, quiet=quiet)
                detector.fit(streamed.rows)
            write_scores(StreamScorer.of(detector, streamed, rule), top, output, quiet=quiet)
        return
    tracker = new_tracker(file, track=track, experiment=experiment, run_name=run_name, required=track_required)
    with plain_warnings(quiet=quiet):
        with naming(file):
            source = read_input(context, file, exclude or [], keep or [], encoding, missing, skip_bad=skip_bad)
        if model is not None:
            detector = read_model(model, device, excluded=exclude or [])
        with naming(file):
            if model is None:
                detector = new_detector(novelty, contamination, calibration, bound, seed, device, quiet=quiet)
                detector.set_params(callbacks=None if tracker is None else [tracker])
                detector.set_params(image_shape=source.image_shape).fit(source.rows)
            ranking = rank(detector, source.rows_for(detector), rule)
            if tracker is not None:
                tracker.log_scores(ranking, model=model)
            flagged, total = ranking["is_anomaly"].sum(), len(ranking)
            duplicate_of, repeats = source.find_duplicates(detector)
            if duplicates and duplicate_of is not None:
                ranking["duplicate_of"] = duplicate_of.iloc[ranking["row"] - 1].array
            if repeats:
                remark(repeats if duplicates else f"{repeats}; mark them with --duplicates", quiet=quiet)
            if output is None and is_terminal(sys.stdout):
                shown = ranking[: top or SHOWN]
                shown = source.with_identifiers(source.with_reasons(shown, detector, list(range(len(shown)))))
                show_rows(shown, source.uncut)
                summary = f"{flagged} of {total} {source.noun} are flagged"
                remark(f"{summary}; write them all with --output scores.csv", quiet=quiet)
                report_run(tracker, quiet=quiet)
                return
            ranking = ranking[:top]
            ranking = source.with_reasons(ranking, detector, ranking.index[ranking["is_anomaly"]].tolist())
            written = source.with_identifiers(ranking)
    write_rows(written, output, f"{len(written)} rows written; {flagged} of {total} are flagged.", quiet=quiet)
    report_run(tracker, quiet=quiet)


def rank(detector: VAEDetector, rows: Any, rule: dict[str, Any]) -> pd.DataFrame:
    """All rows, most anomalous first; rows of equal score in the order of the file."""
    import numpy as np

    detected = detector.detect(rows, **rule).reset_index(drop=True)
    detected.insert(0, "row", np.arange(1, len(detected) + 1))
    return detected.sort_values("anomaly_score", ascending=False, kind="stable", ignore_index=True)
