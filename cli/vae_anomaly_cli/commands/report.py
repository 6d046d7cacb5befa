"""``vae-anomaly report``: write one HTML page about the anomalies in a table."""

from __future__ import annotations

from pathlib import Path

import typer

from vae_anomaly.report import require_jinja
from vae_anomaly_cli import options
from vae_anomaly_cli.commands.fit import read_or_fit, refuse_fitting
from vae_anomaly_cli.errors import naming, refuse_several, user_errors
from vae_anomaly_cli.inputs import Reading, read_input, reads_tables
from vae_anomaly_cli.output import check_page_output, plain_warnings, remark

EXAMPLES = """Examples:

vae-anomaly report data.csv --output report.html

vae-anomaly report new.csv --model normal.vae --keep id --output report.html

vae-anomaly report new.csv --model normal.vae --fdr 0.05 --top 200 --output report.html"""


@user_errors
@reads_tables
def report(
    context: typer.Context,
    file: options.File,
    output: options.PageOut,
    reading: Reading,
    model: options.OptionalModel = None,
    title: options.Title = None,
    keep: options.Keep = None,
    top: options.TopRows = 100,
    fdr: options.Fdr = None,
    alerts: options.Alerts = None,
    false_alarm_rate: options.FalseAlarmRate = None,
    exclude: options.Exclude = None,
    kind: options.Kind = None,
    novelty: options.Novelty = False,
    contamination: options.Contamination = "auto",
    calibration: options.CalibrationName = options.Calibration.leave_one_out,
    bound: options.BoundName = options.Bound.elbo,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
) -> None:
    """Write an HTML page about the anomalies in FILE, for any browser, also offline.

    Without --model, a model is fitted to FILE itself; with one, the rows are also compared with the training rows.

    The page shows the most anomalous rows with reasons, the distribution of the scores, a map of the rows, the checks
    of the model, and the columns.
    """
    refuse_fitting(context, model)
    refuse_several({"--fdr": fdr, "--alerts": alerts, "--false-alarm-rate": false_alarm_rate})
    check_page_output(output, inputs=(file, model))
    require_jinja()

    with plain_warnings(quiet=quiet):
        with naming(file):
            source = read_input(context, file, exclude or [], keep or [], reading, skip_bad=skip_bad)
        detector = read_or_fit(
            file, source, model, exclude, kind, novelty, contamination, calibration, bound, seed, device, quiet=quiet
        )
        with naming(file):
            from vae_anomaly.report import write_report

            rows = source.rows_for(detector)
            write_report(
                detector,
                rows,
                output,
                title=f"Anomalous {source.noun} of {_name(file)}" if title is None else title,
                keep=source.identifiers(),
                top=top,
                fdr=fdr,
                alerts=alerts,
                false_alarm_rate=false_alarm_rate,
                compare=model is not None,
            )
    remark(f"{output}: report on {len(rows)} {source.noun}.", quiet=quiet)


def _name(file: str) -> str:
    return "standard input" if file == "-" else Path(file).name
