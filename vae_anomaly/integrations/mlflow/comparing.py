"""A comparison of detectors as runs of MLflow's: one for all of it, and below it one for each method."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import mlflow
import pandas as pd

from vae_anomaly.fit import library_versions
from vae_anomaly.integrations.mlflow.connection import manners
from vae_anomaly.integrations.mlflow.datasets import TableDataset
from vae_anomaly.integrations.mlflow.runs import Run, Tracker, log

PARENT = "mlflow.parentRunId"  # MLflow's tag of a run that belongs to another
LIBRARIES = ("vae-anomaly", "scikit-learn", "torch")


class ComparisonTracker(Tracker):
    """
    Logs a comparison in MLflow: the table, every measurement, and of each method the means, in a run of its own.

    So MLflow sorts and draws methods as it does fits. A store that does not answer costs the comparison its tracking: a
    FitWarning says so.

    Parameters
    ----------
    experiment, run_name, source, required
        As of `MLflowCallback`.

    Attributes
    ----------
    run_id : str or None
        The run that holds the others.
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
        """Begin the run, with the table and what was asked for."""
        with manners():
            self._begin(params)
            if self._run is not None:
                self._try(partial(mlflow.log_input, TableDataset(X, self.source, None), context="comparison"))

    def end(self, measured: pd.DataFrame | None) -> None:
        """
        Log what was measured, and end the run.

        Parameters
        ----------
        measured : DataFrame or None
            Columns ``method``, ``seed``, ``auroc`` and other figures; None if the comparison was broken off.
        """
        with manners():
            if self._run is not None and measured is not None:
                self._try(partial(_log_measured, self._run, measured))
            if self._run is not None:
                self._try(partial(self._run.end, "FAILED" if measured is None else "FINISHED"))
            self._run = None


def _log_measured(run: Run, measured: pd.DataFrame) -> None:
    versions = library_versions()
    log(run.run_id, tags={f"version.{library}": versions[library] for library in LIBRARIES})
    mlflow.MlflowClient().log_text(run.run_id, measured.to_csv(index=False), "comparison.csv")
    figures = dict(list(measured.drop(columns="seed").set_index("method").groupby("method")))
    for method in sorted(figures, key=lambda method: figures[method]["auroc"].mean()):
        _log_method(run.run_id, str(method), figures[method])  # the best last: MLflow shows the latest run on top


def _log_method(parent: str, method: str, figures: pd.DataFrame) -> None:
    """Log the means over seeds, and how far these spread where there are several."""
    client = mlflow.MlflowClient()
    child = client.create_run(client.get_run(parent).info.experiment_id, tags={PARENT: parent}, run_name=method)
    spread = {f"{name}_sd": value for name, value in figures.std().items()} if len(figures) > 1 else {}
    metrics = {**figures.mean(), **spread}
    log(child.info.run_id, params={"method": method, "seeds": len(figures)}, metrics=metrics)
    client.set_terminated(child.info.run_id)
