"""MLflow's model registry: register a model under a name, find it, and load it again."""

import re
from contextlib import redirect_stderr
from io import StringIO

import mlflow

from vae_anomaly.detector import VAEDetector, load
from vae_anomaly.errors import TrackingError
from vae_anomaly.integrations.mlflow.flavor import DIGEST, load_model, log_model
from vae_anomaly.integrations.mlflow.store import FAILURES, first_line, short_timeouts, store_address
from vae_anomaly.io.model_file import model_digest

ADDRESS = re.compile(r"(models|runs|mlflow-artifacts):/")  # of a model in the store; anything else is a file


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

    If the store has the run in which the model of a file was fitted, the version is that of the run.

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
    detector = None if ADDRESS.match(model) else load(model, device="cpu")
    with short_timeouts():
        try:
            logged = None if detector is None else logged_model(model)
            address = model if logged is None else f"models:/{logged}"
            if detector is not None and logged is None:
                address = log_model(detector).model_uri
            with redirect_stderr(StringIO()):  # MLflow prints two lines there
                version = mlflow.register_model(address, name).version
            if alias is not None:
                mlflow.MlflowClient().set_registered_model_alias(name, alias, version)
        except FAILURES as error:
            message = f"{model} cannot be registered in MLflow's store, {store_address()}: {first_line(error)}"
            raise TrackingError(message) from error
    return int(version)


def logged_model(model: str) -> str | None:
    """
    Id of a logged model in the store, None if it has none for this file or address.

    Parameters
    ----------
    model : str
        As for `register`. A file is recognised by its content, an alias stands for the version that has it now.
    """
    client = mlflow.MlflowClient()
    if not ADDRESS.match(model):
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        tagged = f"tags.`{DIGEST}` = '{model_digest(model)}'"
        return next((found.model_id for found in client.search_logged_models(experiments, tagged)), None)
    if run := re.match(r"runs:/([^/]+)/(.+)", model):
        outputs = client.get_run(run[1]).outputs
        ids = [output.model_id for output in outputs.model_outputs] if outputs else []
        return next((each for each in ids if client.get_logged_model(each).name == run[2]), None)
    source: str | None = model
    if alias := re.match("models:/(.+)@(.+)", model):
        source = client.get_model_version_by_alias(alias[1], alias[2]).source
    elif version := re.match(r"models:/(.+)/(\d+)", model):
        source = client.get_model_version(version[1], version[2]).source
    found = re.fullmatch("models:/(m-[0-9a-f]+)", source or "")
    return None if found is None else found[1]
