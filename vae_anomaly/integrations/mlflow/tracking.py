"""A fit as a run of MLflow's: parameters, figures of each round, the table's digest, the model, and pictures.

Figures are sent in batches every few seconds: one call takes as long as several steps of a small model.
"""

import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Metric, Param, RunTag

from vae_anomaly.detector import VAEDetector
from vae_anomaly.errors import FitWarning, TrackingError
from vae_anomaly.integrations.mlflow.connection import FAILURES, first_line, manners, store
from vae_anomaly.integrations.mlflow.datasets import TableDataset
from vae_anomaly.integrations.mlflow.flavor import log_model
from vae_anomaly.integrations.mlflow.signatures import example_of, signature_of
from vae_anomaly.reports import plot_history, write_figure, write_report
from vae_anomaly.reports.page.needs import require_jinja
from vae_anomaly.training.callbacks import Context

SEND_EVERY = 5.0  # seconds
MOST_METRICS = 1000  # a batch: MLflow takes no more
CHOSEN = (
    "n_components_",
    "n_estimators_",
    "hidden_layer_sizes_",
    "likelihood_",
    "prior_",
    "batch_size_",
    "n_iter_",
    "n_samples_fit_",
    "n_features_in_",
    "device_",
)
SHARES = (0.5, 0.9, 0.99)  # of the scored rows: their scores are logged


@dataclass
class _Run:
    """The run that is logged in, and the figures that are still to be sent."""

    run_id: str
    is_ours: bool
    waiting: list[Metric] = field(default_factory=list)
    sent: float = field(default_factory=time.monotonic)
    round_began: float = field(default_factory=time.monotonic)
    last_step: int = 0

    @classmethod
    def begin(cls, experiment: str | None, run_name: str | None) -> "_Run":
        if active := mlflow.active_run():
            return cls(active.info.run_id, is_ours=False)
        measured = find_spec("psutil") is not None
        found = None if experiment is None else _experiment_id(experiment)
        run = mlflow.start_run(experiment_id=found, run_name=run_name, log_system_metrics=measured)
        return cls(run.info.run_id, is_ours=True)

    def note(self, figures: Mapping[str, float], step: int) -> None:
        """Keep figures of one round, to be sent with others."""
        seconds = (time.monotonic() - self.round_began) / max(1, step - self.last_step)
        moment = int(time.time() * 1000)
        self.waiting += [
            Metric(name, value, moment, step) for name, value in {**figures, "step_seconds": seconds}.items()
        ]

    def send(self, *, now: bool = False) -> None:
        """Send what waits, if it has waited long enough or ``now``; the time that takes is no part of a step's."""
        if self.waiting and (now or len(self.waiting) > MOST_METRICS // 2 or time.monotonic() - self.sent > SEND_EVERY):
            mlflow.MlflowClient().log_batch(self.run_id, metrics=self.waiting[:MOST_METRICS])
            self.waiting, self.sent = self.waiting[MOST_METRICS:], time.monotonic()

    def end(self, status: str) -> None:
        """End the run, unless somebody else began it."""
        if self.is_ours:
            mlflow.end_run(status)


class MLflowCallback:
    """
    Logs a fit in MLflow: in the active run where there is one, else in a new one.

    The store is MLflow's choice: ``MLFLOW_TRACKING_URI``, or the file ``mlflow.db`` in the working directory. A store
    that does not answer costs the fit its tracking, not its model: a FitWarning says so.

    Parameters
    ----------
    experiment : str, optional
        Name of the experiment, made where it does not exist; by default MLflow's active one.
    run_name : str, optional
        Name of a new run; by default MLflow makes one up.
    source : str, optional
        The file that the table is from.
    required : bool
        Whether a store that does not answer when training begins is a TrackingError.
    report : bool
        Whether to log the page of `vae_anomaly.reports.write_report` on the training table as well; it takes seconds.

    Attributes
    ----------
    run_id : str or None
        The last run that was begun.

    Examples
    --------
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.integrations.mlflow import MLflowCallback
    >>> detector = VAEDetector(callbacks=[MLflowCallback(experiment="penguins")])
    """

    def __init__(
        self,
        *,
        experiment: str | None = None,
        run_name: str | None = None,
        source: str | None = None,
        required: bool = False,
        report: bool = False,
    ) -> None:
        if report:
            require_jinja()
        self.experiment = experiment
        self.run_name = run_name
        self.source = source
        self.required = required
        self.report = report
        self.run_id: str | None = None
        self._run: _Run | None = None
        self._manners = ExitStack()

    def setup(self, estimator: VAEDetector, context: Context) -> None:
        """Begin the run, with the parameters that were asked for."""
        self._manners.enter_context(manners())
        asked = {name: value for name, value in estimator.get_params(deep=False).items() if name != "callbacks"}
        self._begin(asked)

    def on_fit_task_end(self, estimator: VAEDetector, context: Context, *, metadata: Mapping[str, float]) -> None:
        """Note the figures of a round."""
        if self._run is not None and context.parent is not None:
            figures = {name: value for name, value in metadata.items() if name != "step"}
            self._run.note(figures, int(metadata["step"]))
            self._try(self._run.send)
        if self._run is not None and context.parent is not None:
            self._run.last_step, self._run.round_began = int(metadata["step"]), time.monotonic()

    def on_fit_over(
        self, estimator: VAEDetector, *, fitted_estimator: VAEDetector | None = None, X: Any = None
    ) -> None:
        """Log what came of the fit, and end the run."""
        with self._manners:
            if self._run is not None and fitted_estimator is not None:
                self._try(partial(_log_fit, self._run, fitted_estimator, X, self.source))
            if self._run is not None and fitted_estimator is not None:
                self._try(partial(_log_pages, self._run, fitted_estimator, X if self.report else None))
            if self._run is not None:
                self._try(partial(self._run.end, "FAILED" if fitted_estimator is None else "FINISHED"))
            self._run = None

    def log_scores(self, found: pd.DataFrame, *, model: str | None = None) -> None:
        """
        Log how rows were scored: how many, how many are flagged, and the distribution of their scores.

        Parameters
        ----------
        found : DataFrame
            What `VAEDetector.detect` gave.
        model : str, optional
            The model that scored them. Then they have a run of their own; else they are logged in that of the fit.
        """
        if model is None and self.run_id is None:
            return  # the fit has lost its run, and has said so
        with manners():
            if model is None:
                self._try(partial(_log, self.run_id or "", metrics=_figures(found)))
                return
            self._begin({"model": model})
            if self._run is not None:
                self._try(partial(_log, self._run.run_id, metrics=_figures(found)))
            if self._run is not None:
                self._try(partial(self._run.end, "FINISHED"))
            self._run = None

    def _begin(self, params: Mapping[str, Any]) -> None:
        """Begin a run with these parameters; what the store says decides whether there is one."""
        self.run_id = self._run = None
        try:
            self._run = _Run.begin(self.experiment, self.run_name)
            _log(self._run.run_id, params=params)
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


def _experiment_id(name: str) -> str:
    """The experiment of this name, made where there is none."""
    found = mlflow.get_experiment_by_name(name)
    return mlflow.create_experiment(name) if found is None else found.experiment_id


def _log_fit(run: _Run, fitted: VAEDetector, X: Any, source: str | None) -> None:
    while run.waiting:
        run.send(now=True)
    chosen = {name: getattr(fitted, name) for name in CHOSEN}
    figures = {"threshold": -float(fitted.offset_), "active_latents": float(fitted.latents_["active"].sum())}
    versions = {f"version.{library}": version for library, version in fitted.versions_.items()}
    _log(run.run_id, params=chosen, metrics=figures, tags=versions)
    mlflow.log_input(TableDataset(X, source, signature_of(fitted).inputs), context="training")
    log_model(fitted, run_id=run.run_id, input_example=example_of(fitted, X))


def _log_pages(run: _Run, fitted: VAEDetector, X: Any) -> None:
    """Log a picture of the history, where it can be drawn, and a report on ``X``, where it is given."""
    with tempfile.TemporaryDirectory() as folder:
        if find_spec("matplotlib") is not None:
            write_figure(plot_history(fitted), Path(folder, "history.png"))
        if X is not None:
            write_report(fitted, X, Path(folder, "report.html"), title="Odd rows of the training table", compare=False)
        mlflow.log_artifacts(folder, run_id=run.run_id)


def _log(
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


def _figures(found: pd.DataFrame) -> dict[str, float]:
    scores, flagged = found["anomaly_score"], found["is_anomaly"]
    quantiles = {f"anomaly_score_{share:.0%}".replace("%", ""): float(scores.quantile(share)) for share in SHARES}
    counts = {"scored_rows": float(len(found)), "flagged_rows": float(flagged.sum())}
    return {**counts, **quantiles, "anomaly_score_max": float(scores.max())}
