"""``vae-anomaly fit``: fit a model to a table or to images, and save it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, refuse_given, user_errors
from vae_anomaly_cli.groups import Cluster, Fitting, Reading, Tracking, grouped, option_names
from vae_anomaly_cli.inputs import ImageInput, TableInput, is_long, read_input, read_model, trained_on
from vae_anomaly_cli.output import check_output, only_writer, phase, plain_warnings, remark, wants_progress
from vae_anomaly_cli.spread import check_engine, connected, fit_spread
from vae_anomaly_cli.stream import StreamedTable
from vae_anomaly_cli.tracking import new_tracker, report_run

if TYPE_CHECKING:
    from vae_anomaly import VAEDetector
    from vae_anomaly.integrations.mlflow import MLflowCallback
    from vae_anomaly.training.callbacks import Context

EXAMPLES = """\
vae-anomaly fit data.csv --output data.vae
vae-anomaly fit normal.csv --novelty --exclude id --output normal.vae
vae-anomaly fit data.parquet --contamination 0.02 --output data.vae
vae-anomaly fit invoices.csv --kind account=category --output invoices.vae
vae-anomaly fit 'logs/*.parquet' --output logs.vae
vae-anomaly fit data.csv --track --experiment sensors --output data.vae
vae-anomaly fit long.parquet --checkpoint state --output long.vae
vae-anomaly fit digits/ --purpose representation --output digits.vae"""


@user_errors
@grouped
def fit(
    context: typer.Context,
    file: options.File,
    output: options.ModelOut,
    *,
    exclude: options.Exclude = None,
    purpose: options.PurposeName = options.Purpose.detection,
    fitting: Fitting,
    checkpoint: options.Checkpoint = None,
    device: options.Device = "auto",
    stream: options.StreamFit = False,
    cluster: Cluster,
    skip_bad: options.SkipBad = False,
    tracking: Tracking,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Fit a model to the rows or images of FILE, for other files.

    Other commands use it with --model: `score`, for instance, then compares new rows with those of FILE.
    """
    check_output(output, inputs=(file,))
    check_engine(context, cluster)
    stream = stream or cluster.is_wanted
    tracker = new_tracker(file, tracking)
    with only_writer(output), plain_warnings(quiet=quiet), naming(file):
        with phase(f"reading {file}", quiet=quiet):
            source = _read(context, file, output, exclude or [], reading, stream=stream, skip_bad=skip_bad)
        with phase("loading PyTorch", quiet=quiet):
            detector = fitting.detector(device)
        callbacks = [*([] if tracker is None else [tracker]), ModelWriter(output, checkpoint, quiet=quiet)]
        detector.set_params(purpose=purpose.value, image_shape=source.image_shape, verbose=wants_progress(quiet=quiet))
        detector.set_params(callbacks=callbacks, checkpoint=checkpoint)
        if cluster.is_wanted:
            with connected(cluster):
                fit_spread(detector, source.rows).save(output)
        else:
            detector.fit(source.rows)
    message = f"{output}: fitted to {trained_on(detector)}. Use it with `vae-anomaly score FILE --model {output}`."
    remark(message, quiet=quiet)
    report_run(tracker, quiet=quiet)


class ModelWriter:
    """Callback that saves the model before the checkpoints are removed: if the disk is full, they keep the fit.

    Parameters
    ----------
    output : str
        Model file.
    checkpoint : str or None
        Folder of the checkpoints.
    """

    def __init__(self, output: str, checkpoint: str | None, *, quiet: bool) -> None:
        self.output, self.checkpoint, self.quiet = output, checkpoint, quiet

    def setup(self, _estimator: VAEDetector, context: Context) -> None:
        """Report that the fit continues from a checkpoint."""
        if context.done:
            done = f"{context.done} of {context.max_subtasks} rounds of training"
            remark(f"{self.checkpoint}: continuing after {done}.", quiet=self.quiet)

    def on_fit_over(self, _estimator: VAEDetector, *, fitted_estimator: VAEDetector | None = None) -> None:
        """Save the model, if the fit has succeeded."""
        if fitted_estimator is not None:
            fitted_estimator.save(self.output)


def _read(
    context: typer.Context,
    file: str,
    output: str,
    exclude: list[str],
    reading: Reading,
    *,
    stream: bool,
    skip_bad: bool,
) -> StreamedTable | TableInput | ImageInput:
    """Read FILE, or only its column names if the fit reads it piece by piece."""
    if not (stream or is_long(file)):
        return read_input(context, file, exclude, [], reading, skip_bad=skip_bad)
    refuse_given(
        context, {"skip_bad": "--skip-bad"}, f"it applies to images, and {file} is read as a table; leave it out."
    )
    source = StreamedTable.read(file, exclude, [], reading)
    check_output(output, inputs=tuple(source.dataset.files))
    return source


def read_or_fit(
    file: str,
    source: TableInput | ImageInput | StreamedTable,
    model: str | None,
    exclude: list[str] | None,
    fitting: Fitting,
    device: str,
    *,
    quiet: bool,
    callbacks: list[MLflowCallback] | None = None,
) -> VAEDetector:
    """MODEL if there is one, else a detector fitted to FILE."""
    if model is not None:
        with phase(f"loading {model}", quiet=quiet):
            return read_model(model, device, excluded=exclude or [])
    with naming(file):
        with phase("loading PyTorch", quiet=quiet):
            detector = fitting.detector(device).set_params(verbose=wants_progress(quiet=quiet))
        return detector.set_params(callbacks=callbacks, image_shape=source.image_shape).fit(source.rows)


def refuse_fitting(context: typer.Context, model: str | None) -> None:
    """Raise an error for options that apply to a fit if a fitted model is given."""
    if model is not None:
        reason = f"it applies to a fit, and {model} is already fitted; leave one of the two out."
        refuse_given(context, option_names(Fitting), reason)
