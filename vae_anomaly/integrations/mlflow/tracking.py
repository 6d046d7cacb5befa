"""Tracking of fits and comparisons as MLflow runs: parameters, metrics, the table's digest, the model, and figures.

Metrics are sent in batches every few seconds: one call takes as long as several steps of a small model.
"""

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelInput

from vae_anomaly.detector import VAEDetector
from vae_anomaly.fit import library_versions
from vae_anomaly.integrations.mlflow.datasets import TableDataset
from vae_anomaly.integrations.mlflow.flavor import log_model
from vae_anomaly.integrations.mlflow.registry import logged_model
from vae_anomaly.integrations.mlflow.signatures import example_of
from vae_anomaly.integrations.mlflow.store import FAILURES, Run, Tracker, log, short_timeouts
from vae_anomaly.plots import plot_history, write_figure
from vae_anomaly.report import require_jinja, write_report
from vae_anomaly.training.callbacks import Context

RESOLVED = (  # attributes of a fitted detector that are logged as parameters
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


class MLflowCallback(Tracker):
    """
    Logs a fit in MLflow: in the active run, or in a new one if there is none.

    The store is MLflow's: ``MLFLOW_TRACKING_URI``, or by default the file ``mlflow.db`` in the working directory. If it
    does not answer, the fit goes on without tracking, with a FitWarning.

    Parameters
    ----------
    experiment : str, optional
        Name of the experiment, created if it does not exist; by default MLflow's active one.
    run_name : str, optional
        Name of a new run; by default MLflow generates one.
    source : str, optional
        The file that the table was read from.
    required : bool
        Whether a store that does not answer when training begins is a TrackingError.
    report : bool
        Whether to log the page of `vae_anomaly.report.write_report` on the training table as well; it takes about as
        long as scoring the table.

    Attributes
    ----------
    run_id : str or None
        Id of the last run.

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
        super().__init__(experiment, run_name, source, required)
        self.report = report
        self._timeouts = ExitStack()

    def setup(self, estimator: VAEDetector, context: Context) -> None:
        """Begin the run with the parameters of the detector."""
        self._timeouts.enter_context(short_timeouts())
        self._begin({name: value for name, value in estimator.get_params(deep=False).items() if name != "callbacks"})
        if self._run is not None and context.done:
            self._run.last_step = None

    def on_fit_task_end(self, estimator: VAEDetector, context: Context, *, metadata: Mapping[str, float]) -> None:
        """Log the metrics of a round."""
        if self._run is not None and context.parent is not None:
            metrics = {name: value for name, value in metadata.items() if name != "step"}
            self._run.add(metrics, int(metadata["step"]))
            self._try(Run.send)
        if self._run is not None and context.parent is not None:  # after sending, whose time is not that of a step
            self._run.last_step, self._run.round_began = int(metadata["step"]), time.monotonic()

    def on_fit_over(
        self, estimator: VAEDetector, *, fitted_estimator: VAEDetector | None = None, X: Any = None
    ) -> None:
        """Log the result of the fit, and end the run."""
        with self._timeouts:
            if fitted_estimator is not None:
                title = f"Anomalous rows of {'the training table' if self.source is None else Path(self.source).name}"
                table = X if self.report else None
                self._try(partial(_log_fit, fitted=fitted_estimator, X=X, source=self.source))
                self._try(partial(_log_artifacts, fitted=fitted_estimator, X=table, title=title))
            self._try(partial(Run.end, status="FAILED" if fitted_estimator is None else "FINISHED"))
            self._run = None

    def log_scores(self, detected: pd.DataFrame, X: Any = None, *, model: str | None = None) -> None:
        """
        Log the number of scored and of flagged rows, and the distribution of their scores.

        Parameters
        ----------
        detected : DataFrame
            The result of `VAEDetector.detect`.
        X : DataFrame or array-like, optional
            The rows that were scored, for a new run, which has them as its data set.
        model : str, optional
            The model that scored them, a file or an address in the store, for a new run, which is linked to that model;
            by default they are logged in the run of the fit.
        """
        with short_timeouts():
            if model is not None:
                self._begin({"model": model})
                self._try(partial(_log_scores, detected=detected, X=X, source=self.source, model=model))
                self._try(partial(Run.end, status="FINISHED"))
                self._run = None
            elif self.run_id is not None:  # otherwise the fit has stopped tracking, with a warning
                try:
                    log(self.run_id, metrics=_score_metrics(detected))
                except FAILURES as error:
                    self._stop_tracking(error)


def _log_fit(run: Run, fitted: VAEDetector, X: Any, source: str | None) -> None:
    while run.waiting:
        run.send(now=True)
    resolved = {name: getattr(fitted, name) for name in RESOLVED}
    metrics = {"threshold": -float(fitted.offset_), "active_latents": float(fitted.latents_["active"].sum())}
    versions = {f"version.{library}": version for library, version in fitted.versions_.items()}
    log(run.run_id, params=resolved, metrics=metrics, tags=versions)
    mlflow.log_input(TableDataset(X, source), context="training")
    log_model(fitted, run_id=run.run_id, input_example=example_of(fitted, X))


def _log_scores(run: Run, detected: pd.DataFrame, X: Any, source: str | None, model: str) -> None:
    """Log scores of a fitted model: also among the metrics of the model, if the store has it."""
    model_id = logged_model(model)
    log(run.run_id, metrics=_score_metrics(detected), model_id=model_id)
    if model_id is not None:
        mlflow.MlflowClient().log_inputs(run.run_id, models=[LoggedModelInput(model_id)])
    if X is not None:
        mlflow.log_input(TableDataset(X, source), context="scoring")


def _log_artifacts(run: Run, fitted: VAEDetector, X: Any, title: str) -> None:
    """Log a figure of the history, if matplotlib is installed, and a report on ``X``, if it is given."""
    with tempfile.TemporaryDirectory() as folder:
        if find_spec("matplotlib") is not None:
            write_figure(plot_history(fitted), Path(folder, "history.png"))
        if X is not None:
            write_report(fitted, X, Path(folder, "report.html"), title=title, compare=False)
        mlflow.log_artifacts(folder, run_id=run.run_id)


def _score_metrics(detected: pd.DataFrame) -> dict[str, float]:
    scores = detected["anomaly_score"]
    counts = {"scored_rows": float(len(detected)), "flagged_rows": float(detected["is_anomaly"].sum())}
    quantiles = {f"anomaly_score_{percent}": float(scores.quantile(percent / 100)) for percent in (50, 90, 99)}
    return {**counts, **quantiles, "anomaly_score_max": float(scores.max())}


class ComparisonTracker(Tracker):
    """
    Logs a comparison in MLflow: the table and all measurements in one run, and below it a run for each method.

    MLflow can then sort and plot methods as it does fits. If the store does not answer, the comparison goes on without
    tracking, with a FitWarning.

    Parameters
    ----------
    experiment, run_name, source, required
        As for `MLflowCallback`.

    Attributes
    ----------
    run_id : str or None
        Id of the run of the whole comparison.
    """

    def __init__(
        self,
        *,
        experiment: str | None = None,
        run_name: str | None = None,
        source: str | None = None,
        required: bool = False,
    ) -> None:
        super().__init__(experiment, run_name, source, required)

    def begin(self, X: Any, params: Mapping[str, Any]) -> None:
        """Begin the run with the table and the parameters of the comparison."""
        with short_timeouts():
            self._begin(params)
            self._try(lambda run: mlflow.log_input(TableDataset(X, self.source), context="comparison"))

    def end(self, measured: pd.DataFrame | None) -> None:
        """
        Log the measurements, and end the run.

        Parameters
        ----------
        measured : DataFrame or None
            Columns ``method``, ``seed``, ``auroc`` and other figures; None if the comparison failed.
        """
        with short_timeouts():
            if measured is not None:
                self._try(partial(_log_measurements, measured=measured))
            self._try(partial(Run.end, status="FAILED" if measured is None else "FINISHED"))
            self._run = None


def _log_measurements(run: Run, measured: pd.DataFrame) -> None:
    versions = library_versions()
    libraries = ("vae-anomaly", "scikit-learn", "torch")
    log(run.run_id, tags={f"version.{library}": versions[library] for library in libraries})
    mlflow.MlflowClient().log_text(run.run_id, measured.to_csv(index=False), "comparison.csv")
    figures = dict(list(measured.drop(columns="seed").set_index("method").groupby("method")))
    for method in sorted(figures, key=lambda method: figures[method]["auroc"].mean()):
        _log_method(run.run_id, str(method), figures[method])  # the best last: MLflow lists the latest run first


def _log_method(parent: str, method: str, figures: pd.DataFrame) -> None:
    """Log the means over seeds, and the standard deviations if there are several."""
    client = mlflow.MlflowClient()
    child = client.create_run(
        client.get_run(parent).info.experiment_id, tags={"mlflow.parentRunId": parent}, run_name=method
    )
    deviations = {f"{name}_sd": value for name, value in figures.std().items()} if len(figures) > 1 else {}
    metrics = {**figures.mean(), **deviations}
    log(child.info.run_id, params={"method": method, "seeds": len(figures)}, metrics=metrics)
    client.set_terminated(child.info.run_id)
