"""Models under names: put there, and found again."""

import re
from contextlib import redirect_stderr
from io import StringIO

import mlflow

from vae_anomaly.detector import VAEDetector, load
from vae_anomaly.errors import TrackingError
from vae_anomaly.integrations.mlflow.connection import FAILURES, first_line, manners, store
from vae_anomaly.integrations.mlflow.flavor import load_model, log_model

_ADDRESS = re.compile(r"(models|runs|mlflow-artifacts):/")


def is_address(model: str) -> bool:
    """Whether a model is named by an address of MLflow's, such as ``models:/NAME@ALIAS``, and not by its file."""
    return _ADDRESS.match(model) is not None


def open_model(model: str, *, device: str = "auto") -> VAEDetector:
    """
    Load a model from MLflow's store.

    Parameters
    ----------
    model : str
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``runs:/RUN/NAME``.
    device : str
        Where to score.

    Raises
    ------
    TrackingError
        The store does not answer, or does not have the model.
    ModelFileError
        The model is not one of ours, or damaged.
    """
    with manners():
        try:
            return load_model(model, device=device)
        except FAILURES as error:
            raise TrackingError(f"{model} cannot be had from MLflow's store, {store()}: {first_line(error)}") from error


def register(model: str, name: str, *, alias: str | None = None) -> int:
    """
    Put a model into MLflow's registry as a new version of ``name``.

    Parameters
    ----------
    model : str
        A file that `VAEDetector.save` wrote, or an address of MLflow's.
    name : str
        Made where it does not exist.
    alias : str, optional
        Points at this version from now on, such as "champion".

    Returns
    -------
    int
        The version.

    Raises
    ------
    TrackingError
        The store does not answer, does not have the model, or does not take the name.
    """
    detector = None if is_address(model) else load(model, device="cpu")
    with manners():
        try:
            address = model if detector is None else log_model(detector).model_uri
            with redirect_stderr(StringIO()):  # MLflow tells of it there, in two lines
                version = mlflow.register_model(address, name).version
            if alias is not None:
                mlflow.MlflowClient().set_registered_model_alias(name, alias, version)
        except FAILURES as error:
            message = f"{model} cannot be registered in MLflow's store, {store()}: {first_line(error)}"
            raise TrackingError(message) from error
    return int(version)
