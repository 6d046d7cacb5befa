"""MLflow's model registry: register a model under a name, and load it again."""

import re
from contextlib import redirect_stderr
from io import StringIO

import mlflow

from vae_anomaly.detector import VAEDetector, load
from vae_anomaly.errors import TrackingError
from vae_anomaly.integrations.mlflow.flavor import load_model, log_model
from vae_anomaly.integrations.mlflow.store import FAILURES, first_line, short_timeouts, store_address


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
        The store does not answer, or has no such model.
    ModelFileError
        The model was not written by vae-anomaly, or is damaged.
    """
    with short_timeouts():
        try:
            return load_model(model, device=device)
        except FAILURES as error:
            raise TrackingError(
                f"{model} cannot be loaded from MLflow's store, {store_address()}: {first_line(error)}"
            ) from error


def register(model: str, name: str, *, alias: str | None = None) -> int:
    """
    Register a model in MLflow as a new version of ``name``.

    Parameters
    ----------
    model : str
        A file that `VAEDetector.save` wrote, or an MLflow address as for `open_model`.
    name : str
        Created if it does not exist.
    alias : str, optional
        A name for this version from now on, such as "champion".

    Returns
    -------
    int
        The version.

    Raises
    ------
    TrackingError
        The store does not answer, has no such model, or does not accept the name.
    """
    is_address = re.match(r"(models|runs|mlflow-artifacts):/", model) is not None
    detector = None if is_address else load(model, device="cpu")
    with short_timeouts():
        try:
            address = model if detector is None else log_model(detector).model_uri
            with redirect_stderr(StringIO()):  # MLflow prints two lines there
                version = mlflow.register_model(address, name).version
            if alias is not None:
                mlflow.MlflowClient().set_registered_model_alias(name, alias, version)
        except FAILURES as error:
            message = f"{model} cannot be registered in MLflow's store, {store_address()}: {first_line(error)}"
            raise TrackingError(message) from error
    return int(version)
