"""Runs of MLflow's: begun, filled in few calls, and lost without harm where the store fails."""

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunTag

from vae_anomaly.errors import FitWarning, TrackingError
from vae_anomaly.integrations.mlflow.connection import FAILURES, first_line, store

SEND_EVERY = 5.0  # seconds
MOST_METRICS = 1000  # a batch: MLflow takes no more


@dataclass
class Run:
    """The run that is logged in, and the figures that are still to be sent."""

    run_id: str
    is_ours: bool
    waiting: list[Metric] = field(default_factory=list)
    sent: float = field(default_factory=time.monotonic)
    round_began: float = field(default_factory=time.monotonic)
    last_step: int | None = 0  # None where nobody has seen it: a fit that goes on from a checkpoint

    @classmethod
    def begin(cls, experiment: str | None, run_name: str | None) -> "Run":
        """Log in the active run where there is one, else in a new one."""
        if active := mlflow.active_run():
            return cls(active.info.run_id, is_ours=False)
        measured = find_spec("psutil") is not None
        found = None if experiment is None else _experiment_id(experiment)
        run = mlflow.start_run(experiment_id=found, run_name=run_name, log_system_metrics=measured)
        return cls(run.info.run_id, is_ours=True)

    def note(self, figures: Mapping[str, float], step: int) -> None:
        """Keep figures of one round, to be sent with others."""
        if self.last_step is not None:
            seconds = (time.monotonic() - self.round_began) / max(1, step - self.last_step)
            figures = {**figures, "step_seconds": seconds}
        moment = int(time.time() * 1000)
        self.waiting += [Metric(name, value, moment, step) for name, value in figures.items()]

    def send(self, *, now: bool = False) -> None:
        """Send what waits, if it has waited long enough or ``now``; the time that takes is no part of a step's."""
        if self.waiting and (now or len(self.waiting) > MOST_METRICS // 2 or time.monotonic() - self.sent > SEND_EVERY):
            mlflow.MlflowClient().log_batch(self.run_id, metrics=self.waiting[:MOST_METRICS])
            self.waiting, self.sent = self.waiting[MOST_METRICS:], time.monotonic()

    def end(self, status: str) -> None:
        """End the run, unless somebody else began it."""
        if self.is_ours:
            mlflow.end_run(status)


class Tracker:
    """Has one run at a time, or none once the store has failed; see `MLflowCallback` for the parameters."""

    def __init__(self, experiment: str | None, run_name: str | None, source: str | None, required: bool) -> None:
        self.experiment = experiment
        self.run_name = run_name
        self.source = source
        self.required = required
        self.run_id: str | None = None
        self._run: Run | None = None

    def _begin(self, params: Mapping[str, Any]) -> None:
        """Begin a run with these parameters; what the store says decides whether there is one."""
        self.run_id = self._run = None
        try:
            self._run = Run.begin(self.experiment, self.run_name)
            log(self._run.run_id, params=params)
            self.run_id = self._run.run_id
        except FAILURES as error:
            if self.required:
                self._drop()
                raise TrackingError(f"MLflow's store, {store()}, does not answer: {first_line(error)}") from error
            self._lose(error)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except FAILURES as error:
            self._lose(error)

    def _lose(self, error: BaseException) -> None:
        """From here on nothing is tracked."""
        self._drop()
        message = f"This is not tracked any further: MLflow's store, {store()}, fails: {first_line(error)}"
        warnings.warn(message, FitWarning, stacklevel=2)

    def _drop(self) -> None:
        run, self._run, self.run_id = self._run, None, None
        if run is not None:
            with suppress(*FAILURES):
                run.end("FAILED")


def log(
    run_id: str,
    *,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log everything in one call."""
    moment = int(time.time() * 1000)
    mlflow.MlflowClient().log_batch(
        run_id,
        params=[Param(name, str(value)) for name, value in (params or {}).items()],
        metrics=[Metric(name, value, moment, 0) for name, value in (metrics or {}).items()],
        tags=[RunTag(name, value) for name, value in (tags or {}).items()],
    )


def _experiment_id(name: str) -> str:
    """The experiment of this name, made where there is none."""
    found = mlflow.get_experiment_by_name(name)
    return mlflow.create_experiment(name) if found is None else found.experiment_id
