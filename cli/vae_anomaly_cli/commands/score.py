"""``vae-anomaly score``: the main job. Rank the rows of a table, or images, by how odd they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.columns import refuse_written
from vae_anomaly_cli.commands.fit import new_detector, refuse_fitting
from vae_anomaly_cli.errors import naming, refuse_given, user_errors
from vae_anomaly_cli.models import read_fitted
from vae_anomaly_cli.output import SHOWN, is_terminal, plain_warnings, remark, show_rows, write_rows
from vae_anomaly_cli.paths import check_table_output
from vae_anomaly_cli.source import read_source
from vae_anomaly_cli.stream_output import write_scores
from vae_anomaly_cli.streaming import OF_FILES, Scoring, Streamed
from vae_anomaly_cli.tracking import callbacks_of, new_tracker, tell_run

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

On a terminal the oddest rows are shown, or the oddest images by name; elsewhere all are written as CSV."""
OURS = ("row", "anomaly_score", "p_value", "is_anomaly", "reason")
OF_WHOLE_TABLES = {
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
    model: options.ModelIn = None,
    output: options.TableOut = None,
    keep: options.Keep = None,
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
    stream: options.Stream = False,
    skip_bad: options.SkipBad = False,
    track: options.Track = False,
    experiment: options.Experiment = None,
    run_name: options.RunName = None,
    track_required: options.TrackRequired = False,
    quiet: options.Quiet = False,
) -> None:
    """Rank the rows or images of FILE by how odd they are, oddest first.

    Without --model, a model is fitted to FILE itself.

    Written are the columns row (1 is the first row of data), anomaly_score (in nats: the higher, the odder), p_value
    (how probable so odd a score is for a normal row), is_anomaly, reason (of the rows that are flagged), and those that
    --keep names.

    For images a column image follows row, the name of the file or the number in an IDX file, and there is no reason.

    With --stream, rows are written in their order and never all in memory; of several files the columns file and
    file_row follow row.
    """
    refuse_written(keep or [], (*OURS, *OF_FILES) if stream else OURS)
    _check_usage(context, file, model, output)
    rule = detection_rule(fdr, alerts, false_alarm_rate)
    if stream:
        refuse_given(context, OF_WHOLE_TABLES, "it needs all rows at once; leave it out, or --stream.")
        refuse_given(context, {"skip_bad": "--skip-bad"}, "it concerns images, and --stream tables; leave one out.")
        with plain_warnings(quiet=quiet), naming(file):
            streamed = Streamed.read(file, exclude or [], keep or [], encoding)
            check_table_output(output, inputs=(*streamed.dataset.files, model))
            if model is not None:
                detector = read_fitted(model, device, excluded=exclude or [])
            else:
                detector = new_detector(novelty, contamination, calibration, bound, seed, device, quiet=quiet)
                detector.fit(streamed.rows)
            write_scores(Scoring.of(detector, streamed, rule), top, output, quiet=quiet)
        return
    tracker = new_tracker(file, track=track, experiment=experiment, run_name=run_name, required=track_required)
    with plain_warnings(quiet=quiet):
        with naming(file):
            source = read_source(context, file, exclude or [], keep or [], encoding, skip_bad=skip_bad)
        if model is not None:
            detector = read_fitted(model, device, excluded=exclude or [])
        with naming(file):
            if model is None:
                detector = new_detector(novelty, contamination, calibration, bound, seed, device, quiet=quiet)
                detector.set_params(image_shape=source.image_shape, callbacks=callbacks_of(tracker)).fit(source.rows)
            ranking = rank(detector, source.rows_for(detector), rule)
            if tracker is not None:
                tracker.log_scores(ranking, model=model)
            flagged, total = ranking["is_anomaly"].sum(), len(ranking)
            if output is None and is_terminal(sys.stdout):
                shown = ranking[: top or SHOWN]
                show_rows(*source.shown(source.explained(shown, detector, list(range(len(shown))))))
                told = f"{flagged} of {total} {source.noun} are flagged; write them all with --output scores.csv"
                remark(told, quiet=quiet)
                tell_run(tracker, quiet=quiet)
                return
            ranking = ranking[:top]
            written = source.written(source.explained(ranking, detector, ranking.index[ranking["is_anomaly"]].tolist()))
    write_rows(written, output, f"{len(written)} rows written; {flagged} of {total} are flagged.", quiet=quiet)
    tell_run(tracker, quiet=quiet)


def rank(detector: VAEDetector, rows: Any, rule: dict[str, Any]) -> pd.DataFrame:
    """All rows, oddest first; equally odd ones in the order of the file."""
    import numpy as np

    detected = detector.detect(rows, **rule).reset_index(drop=True)
    detected.insert(0, "row", np.arange(1, len(detected) + 1))
    return detected.sort_values("anomaly_score", ascending=False, kind="stable", ignore_index=True)


def detection_rule(fdr: float | None, alerts: int | None, false_alarm_rate: float | None) -> dict[str, Any]:
    """How rows are flagged, as `VAEDetector.detect` takes it."""
    asked = {"--fdr": fdr, "--alerts": alerts, "--false-alarm-rate": false_alarm_rate}
    given = [option for option, value in asked.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter("rows are flagged in one way; leave out all but one.", param_hint=" and ".join(given))
    return {"fdr": fdr, "alerts": alerts, "false_alarm_rate": false_alarm_rate}


def _check_usage(context: typer.Context, file: str, model: str | None, output: str | None) -> None:
    refuse_fitting(context, model)
    check_table_output(output, inputs=(file, model))
