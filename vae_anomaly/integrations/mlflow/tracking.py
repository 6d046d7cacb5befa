"""A fit as a run of MLflow's: parameters, figures of each round, the table's digest, the model, and pictures.

Figures are sent in batches every few seconds: one call takes as long as several steps of a small model.
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

from vae_anomaly.detector import VAEDetector
from vae_anomaly.integrations.mlflow.connection import manners
from vae_anomaly.integrations.mlflow.datasets import TableDataset
from vae_anomaly.integrations.mlflow.flavor import log_model
from vae_anomaly.integrations.mlflow.runs import Run, Tracker, log
from vae_anomaly.integrations.mlflow.signatures import example_of, signature_of
from vae_anomaly.plots import plot_history, write_figure
from vae_anomaly.report import require_jinja, write_report
from vae_anomaly.training.callbacks import Context

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


class MLflowCallback(Tracker):
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
        Whether to log the page of `vae_anomaly.report.write_report` on the training table as well, in about the
        time that its scores take.

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
        super().__init__(experiment, run_name, source, required)
        self.report = report
        self._manners = ExitStack()

    def setup(self, estimator: VAEDetector, context: Context) -> None:
        """Begin the run, with the parameters that were asked for."""
        self._manners.enter_context(manners())
        asked = {name: value for name, value in estimator.get_params(deep=False).items() if name != "callbacks"}
        self._begin(asked)
        if self._run is not None and context.done:
            self._run.last_step = None

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
                title = f"Anomalous rows of {'the training table' if self.source is None else Path(self.source).name}"
                self._try(partial(_log_pages, self._run, fitted_estimator, X if self.report else None, title))
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
                self._try(partial(log, self.run_id or "", metrics=_figures(found)))
                return
            self._begin({"model": model})
            if self._run is not None:
                self._try(partial(log, self._run.run_id, metrics=_figures(found)))
            if self._run is not None:
                self._try(partial(self._run.end, "FINISHED"))
            self._run = None


def _log_fit(run: Run, fitted: VAEDetector, X: Any, source: str | None) -> None:
    while run.waiting:
        run.send(now=True)
    chosen = {name: getattr(fitted, name) for name in CHOSEN}
    figures = {"threshold": -float(fitted.offset_), "active_latents": float(fitted.latents_["active"].sum())}
    versions = {f"version.{library}": version for library, version in fitted.versions_.items()}
    log(run.run_id, params=chosen, metrics=figures, tags=versions)
    mlflow.log_input(TableDataset(X, source, signature_of(fitted).inputs), context="training")
    log_model(fitted, run_id=run.run_id, input_example=example_of(fitted, X))


def _log_pages(run: Run, fitted: VAEDetector, X: Any, title: str) -> None:
    """Log a picture of the history, where it can be drawn, and a report on ``X``, where it is given."""
    with tempfile.TemporaryDirectory() as folder:
        if find_spec("matplotlib") is not None:
            write_figure(plot_history(fitted), Path(folder, "history.png"))
        if X is not None:
            write_report(fitted, X, Path(folder, "report.html"), title=title, compare=False)
        mlflow.log_artifacts(folder, run_id=run.run_id)


def _figures(found: pd.DataFrame) -> dict[str, float]:
    scores, flagged = found["anomaly_score"], found["is_anomaly"]
    quantiles = {f"anomaly_score_{share:.0%}".replace("%", ""): float(scores.quantile(share)) for share in SHARES}
    counts = {"scored_rows": float(len(found)), "flagged_rows": float(flagged.sum())}
    return {**counts, **quantiles, "anomaly_score_max": float(scores.max())}
