"""A fitted detector as an MLflow model, around the file that `VAEDetector.save` writes: no pickle."""

import json
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME, ModelInfo
from mlflow.models.utils import _save_example
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils.environment import _mlflow_conda_env, _PythonEnv
from mlflow.utils.model_utils import _validate_and_prepare_target_save_path

from vae_anomaly.data.parse import as_frame
from vae_anomaly.detector import VAEDetector, load
from vae_anomaly.errors import ModelFileError, VaeAnomalyError
from vae_anomaly.formatting import listed
from vae_anomaly.integrations.mlflow.signatures import PARAMETERS, as_trained, example_of, signature_of
from vae_anomaly.io.model_file import model_digest

FLAVOR = "vae_anomaly"
DIGEST = "vae_anomaly.digest"  # tag of a logged model: the digest of its file, by which the file is recognised
MODULE = "vae_anomaly.integrations.mlflow"
DATA = "model.vae"


def save_model(
    detector: VAEDetector,
    path: str | PathLike[str],
    *,
    mlflow_model: Model | None = None,
    signature: ModelSignature | None = None,
    input_example: Any = None,
) -> None:
    """
    Write a fitted detector as an MLflow model, a folder.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    path : path-like
        A folder that does not exist yet, or an empty one.
    mlflow_model : Model, optional
        The description to complete; MLflow passes it when it logs a model.
    signature : ModelSignature, optional
        By default that of the training table.
    input_example : DataFrame, optional
        Rows as `as_request` returns them; by default a training row that the model keeps.
    """
    folder, model = Path(path).absolute(), mlflow_model or Model()
    _validate_and_prepare_target_save_path(str(folder))
    detector.save(folder / DATA)
    model.signature = signature_of(detector) if signature is None else signature
    _save_example(model, example_of(detector) if input_example is None else input_example, str(folder))
    conda, python = "conda.yaml", "python_env.yaml"
    mlflow.pyfunc.add_to_model(model, loader_module=MODULE, data=DATA, conda_env=conda, python_env=python)
    model.add_flavor(FLAVOR, vae_anomaly_version=version("vae-anomaly"), data=DATA)
    model.save(str(folder / MLMODEL_FILE_NAME))
    _write_requirements(detector, folder, conda, python)


def log_model(
    detector: VAEDetector,
    name: str = "model",
    *,
    run_id: str | None = None,
    registered_model_name: str | None = None,
    input_example: Any = None,
) -> ModelInfo:
    """
    Log a fitted detector as an MLflow model, in the active run if there is one.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    name : str
        Name of the model in its run.
    run_id : str, optional
        A run other than the active one.
    registered_model_name : str, optional
        Also register it under this name, as a new version.
    input_example : DataFrame, optional
        As in `save_model`.

    Returns
    -------
    ModelInfo
        MLflow's description; `load_model` takes its ``model_uri``.
    """
    from vae_anomaly.integrations import mlflow as flavor

    return Model.log(
        artifact_path=None,
        name=name,
        flavor=flavor,
        run_id=run_id,
        registered_model_name=registered_model_name,
        params={"columns": _columns(detector)},
        tags={DIGEST: _digest(detector)},
        detector=detector,
        input_example=input_example,
    )


def load_model(model_uri: str, *, device: str = "auto") -> VAEDetector:
    """
    Load a detector from an MLflow model.

    Parameters
    ----------
    model_uri : str
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``runs:/RUN/NAME``, or a folder.
    device : str
        Where to score; "auto" takes CUDA if there is one.

    Returns
    -------
    VAEDetector
        Fitted; it takes the same tables as the detector that was logged.

    Raises
    ------
    ModelFileError
        The model was not written by vae-anomaly, or is damaged.
    """
    folder = Path(mlflow.artifacts.download_artifacts(model_uri))
    flavors = Model.load(str(folder)).flavors
    if FLAVOR not in flavors:
        raise ModelFileError(f"{model_uri} is a model of {', '.join(flavors)}, not of vae-anomaly.")
    return load(folder / flavors[FLAVOR]["data"], device=device)


class Predictor:
    """The model behind ``pyfunc.predict``: takes frames, or rows of a request, and returns a frame."""

    def __init__(self, detector: VAEDetector):
        self.detector = detector

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the columns of `VAEDetector.detect` for each row, and ``reason`` with ``explain``.

        Flagged rows have reasons; the others have an empty text.
        """
        try:
            return self.detect(as_trained(self.detector, model_input), params or {})
        except (VaeAnomalyError, ValueError) as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error

    def detect(self, rows: Any, params: Mapping[str, Any]) -> pd.DataFrame:
        """Answer for rows as the detector takes them."""
        options = {name: default for name, (_, default) in PARAMETERS.items()} | dict(params)
        explain = options.pop("explain")
        detected = as_frame(self.detector.detect(rows, **options)).reset_index(drop=True)
        if explain:
            flagged = detected["is_anomaly"].to_numpy()
            reasons = np.full(len(flagged), "", dtype=object)
            if flagged.any():
                reasons[flagged] = self.detector.reasons(rows[flagged]).to_numpy()
            detected["reason"] = reasons
        return detected


def _load_pyfunc(data_path: str) -> Predictor:
    """Load the model that ``mlflow.pyfunc.load_model`` wraps, given the file in the model's folder."""
    return Predictor(load(data_path))


def _columns(detector: VAEDetector) -> str:
    """The columns with their kinds for MLflow's pages, whose schema has names only."""
    if detector.image_shape is not None:
        return f"pixels of images, {detector.image_shape}"
    columns: Any = detector.schema_.to_json()["columns"]
    return listed((f"{column['name']} ({column['kind']})" for column in columns), 100)


def _digest(detector: VAEDetector) -> str:
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder, DATA))
        return model_digest(Path(folder, DATA))


def _write_requirements(detector: VAEDetector, folder: Path, conda: str, python: str) -> None:
    """Write the requirements of the model: this release, and the torch that fitted it."""
    torch = detector.versions_["torch"].partition("+")[0]  # without the build, which depends on the machine
    requirements = [f"vae-anomaly[mlflow]=={version('vae-anomaly')}", f"torch=={torch}"]
    environment = _mlflow_conda_env(additional_pip_deps=requirements)
    (folder / conda).write_text(json.dumps(environment, indent=2))  # JSON is YAML
    (folder / "requirements.txt").write_text("\n".join([f"mlflow=={mlflow.__version__}", *requirements]) + "\n")
    _PythonEnv.current().to_yaml(str(folder / python))
