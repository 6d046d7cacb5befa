"""MLflow's store: short timeouts, errors in one line, and runs that are filled in few calls and given up on failure."""

import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils as database
from sqlalchemy.exc import SQLAlchemyError

from vae_anomaly.errors import FitWarning, TrackingError

FAILURES = (MlflowException, SQLAlchemyError, OSError)  # errors of a store; requests raises OSError
SEND_EVERY = 5.0  # seconds
MOST_METRICS = 1000  # in a batch: MLflow takes no more
_VARIABLES = {  # MLflow's environment variables, with values for those that the user has not set
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # instead of 7, which take four minutes if nobody answers
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@contextmanager
def short_timeouts() -> Iterator[None]:
    """Within the block, MLflow gives up after seconds and prints nothing; variables that the user has set are kept."""
    added = {name: value for name, value in _VARIABLES.items() if name not in os.environ}
    retries = database.MAX_RETRY_COUNT
    os.environ.update(added)
    database.MAX_RETRY_COUNT = 3  # to open a database: 10 take 100 s, and no variable sets the number
    try:
        yield
    finally:
        database.MAX_RETRY_COUNT = retries
        for name in added:
            os.environ.pop(name, None)


def first_line(error: BaseException) -> str:
    """First line of an error's message, without passwords: MLflow's messages are pages long."""
    text = str(error).strip()
    return _without_password(text.splitlines()[0]) if text else type(error).__name__


def store_address() -> str:
    """Address of the tracking store, without its password."""
    return _without_password(mlflow.get_tracking_uri())


def _without_password(text: str) -> str:
    return re.sub(r"//[^@/\s]*@", "//", text)


@dataclass
class Run:
    """An MLflow run, and the metrics that are still to be sent to it."""

    run_id: str
    is_ours: bool
    waiting: list[Metric] = field(default_factory=list)
    sent: float = field(default_factory=time.monotonic)
    round_began: float = field(default_factory=time.monotonic)
    last_step: int | None = 0  # None if it is unknown: the fit was resumed from a checkpoint

    @classmethod
    def begin(cls, experiment: str | None, run_name: str | None) -> "Run":
        """The active run, or a new one if there is none."""
        if active := mlflow.active_run():
            return cls(active.info.run_id, is_ours=False)
        has_psutil = find_spec("psutil") is not None
        experiment_id = None if experiment is None else _experiment_id(experiment)
        run = mlflow.start_run(experiment_id=experiment_id, run_name=run_name, log_system_metrics=has_psutil)
        return cls(run.info.run_id, is_ours=True)

    def add(self, metrics: Mapping[str, float], step: int) -> None:
        """Keep the metrics of a round, to be sent with others, and add the seconds per step."""
        if self.last_step is not None:
            seconds = (time.monotonic() - self.round_began) / max(1, step - self.last_step)
            metrics = {**metrics, "step_seconds": seconds}
        moment = int(time.time() * 1000)
        self.waiting += [Metric(name, value, moment, step) for name, value in metrics.items()]

    def send(self, *, now: bool = False) -> None:
        """Send the waiting metrics if there are many, every few seconds, or ``now``."""
        if self.waiting and (now or len(self.waiting) > MOST_METRICS // 2 or time.monotonic() - self.sent > SEND_EVERY):
            mlflow.MlflowClient().log_batch(self.run_id, metrics=self.waiting[:MOST_METRICS])
            self.waiting, self.sent = self.waiting[MOST_METRICS:], time.monotonic()

    def end(self, status: str) -> None:
        """End the run, unless it was active before."""
        if self.is_ours:
            mlflow.end_run(status)


class Tracker:
    """Base of the trackers: one run at a time, none after the store has failed."""

    def __init__(self, experiment: str | None, run_name: str | None, source: str | None, required: bool) -> None:
        self.experiment = experiment
        self.run_name = run_name
        self.source = source
        self.required = required
        self.run_id: str | None = None
        self._run: Run | None = None

    def _begin(self, params: Mapping[str, Any]) -> None:
        """Begin a run with these parameters; if the store fails, there is none."""
        self.run_id = self._run = None
        try:
            self._run = Run.begin(self.experiment, self.run_name)
            log(self._run.run_id, params=params)
            self.run_id = self._run.run_id
        except FAILURES as error:
            if self.required:
                self._abandon_run()
                raise TrackingError(
                    f"MLflow's store, {store_address()}, does not answer: {first_line(error)}"
                ) from error
            self._stop_tracking(error)

    def _try(self, act: Callable[[Run], None]) -> None:
        """Call ``act`` with the run, if there is one; if the store fails, tracking stops."""
        if self._run is None:
            return
        try:
            act(self._run)
        except FAILURES as error:
            self._stop_tracking(error)

    def _stop_tracking(self, error: BaseException) -> None:
        """Warn that nothing is tracked from now on."""
        self._abandon_run()
        message = f"Tracking stopped: MLflow's store, {store_address()}, fails: {first_line(error)}"
        warnings.warn(message, FitWarning, stacklevel=2)

    def _abandon_run(self) -> None:
        run, self._run, self.run_id = self._run, None, None
        if run is not None:
            with suppress(*FAILURES):
                run.end("FAILED")


MOST_LETTERS = 6000  # of a parameter in MLflow's store


def log(
    run_id: str,
    *,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    model_id: str | None = None,
) -> None:
    """Log parameters, metrics, also of a logged model, and tags in one call."""
    moment = int(time.time() * 1000)
    mlflow.MlflowClient().log_batch(
        run_id,
        params=[Param(name, str(value)[:MOST_LETTERS]) for name, value in (params or {}).items()],
        metrics=[Metric(name, value, moment, 0, model_id=model_id) for name, value in (metrics or {}).items()],
        tags=[RunTag(name, value) for name, value in (tags or {}).items()],
    )


def _experiment_id(name: str) -> str:
    """Id of the experiment with this name, which is created if there is none."""
    found = mlflow.get_experiment_by_name(name)
    return mlflow.create_experiment(name) if found is None else found.experiment_id
