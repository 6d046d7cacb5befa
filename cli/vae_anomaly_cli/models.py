"""The model that a command uses, read from its file or from MLflow's store."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from vae_anomaly_cli.columns import refuse_known
from vae_anomaly_cli.errors import naming

if TYPE_CHECKING:
    from vae_anomaly import VAEDetector

ADDRESSES = ("models:/", "runs:/", "mlflow-artifacts:/")  # of MLflow's


def read_fitted(model: str, device: str, *, excluded: Collection[str] = ()) -> VAEDetector:
    """Load MODEL; this brings torch, which takes seconds, so that data is read first: its faults are told sooner.

    Columns that are ``excluded`` must not be among those that it was fitted to.
    """
    with naming(model):
        detector = _open(model, device)
        refuse_known(excluded, detector.schema_.names)
    return detector


def _open(model: str, device: str) -> VAEDetector:
    if model.startswith(ADDRESSES):
        from vae_anomaly_cli.tracking import quiet_mlflow

        quiet_mlflow()

        from vae_anomaly.integrations.mlflow import open_model

        return open_model(model, device=device)

    from vae_anomaly import load

    return load(model, device=device)
