"""MLflow tracking for the options --track, --experiment, --run-name and --track-required."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vae_anomaly.formatting import without_password
from vae_anomaly_cli.groups import Tracking
from vae_anomaly_cli.output import remark

if TYPE_CHECKING:
    from vae_anomaly.integrations.mlflow import ComparisonTracker, MLflowCallback


def new_tracker(file: str, tracking: Tracking) -> MLflowCallback | None:
    """Callback that logs a fit in MLflow, None if no option asks for it."""
    if not tracking.is_wanted:
        return None
    quiet_mlflow()

    from vae_anomaly.integrations.mlflow import MLflowCallback

    return MLflowCallback(
        experiment=tracking.experiment,
        run_name=tracking.run_name,
        source=_source(file),
        required=tracking.track_required,
        report=find_spec("jinja2") is not None,
    )


def new_comparison_tracker(file: str, tracking: Tracking) -> ComparisonTracker | None:
    """Logger of a comparison in MLflow, None if no option asks for it."""
    if not tracking.is_wanted:
        return None
    quiet_mlflow()

    from vae_anomaly.integrations.mlflow import ComparisonTracker

    return ComparisonTracker(
        experiment=tracking.experiment,
        run_name=tracking.run_name,
        source=_source(file),
        required=tracking.track_required,
    )


def _source(file: str) -> str | None:
    if "://" in file:
        return without_password(file)
    return None if file == "-" else os.path.abspath(file)


def report_run(tracker: MLflowCallback | ComparisonTracker | None, *, quiet: bool) -> None:
    """Print where a run was tracked."""
    if tracker is not None and tracker.run_id is not None:
        from vae_anomaly.integrations.mlflow import store_address

        remark(f"tracked as run {tracker.run_id} in {store_address()}", quiet=quiet)


def quiet_mlflow() -> None:
    """Restrict MLflow's messages to errors; call this before MLflow is imported."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    for name in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
