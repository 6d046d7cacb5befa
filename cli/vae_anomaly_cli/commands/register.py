"""``vae-anomaly register``: add a model to MLflow's registry."""

from __future__ import annotations

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import user_errors
from vae_anomaly_cli.output import remark
from vae_anomaly_cli.tracking import quiet_mlflow

EXAMPLES = """\
vae-anomaly register data.vae --name sensors --alias champion
vae-anomaly register runs:/RUN/model --name sensors

The store is MLFLOW_TRACKING_URI, or mlflow.db in the current folder."""


@user_errors
def register(
    model: options.ModelFile,
    name: options.RegisteredName,
    alias: options.Alias = None,
    quiet: options.Quiet = False,
) -> None:
    """Register MODEL in MLflow as a new version of a name.

    Other commands then accept --model models:/NAME@ALIAS.
    """
    quiet_mlflow()

    from vae_anomaly.integrations.mlflow import register as register_model

    version = register_model(model, name, alias=alias)
    aliased = f" and models:/{name}@{alias}" if alias else ""
    remark(f"{model}: registered as models:/{name}/{version}{aliased}.", quiet=quiet)
