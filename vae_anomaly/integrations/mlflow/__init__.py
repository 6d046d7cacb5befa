"""MLflow: tracking of fits, and saving, registering and serving of models. The extra ``mlflow``.

`MLflowCallback` logs a fit, `ComparisonTracker` a comparison. `save_model`, `log_model` and `load_model` are a flavor
of MLflow, around the file that `VAEDetector.save` writes: no pickle is written or read. `as_request` converts a table
into the form of a model's signature. The names are resolved, and MLflow is imported, when they are first used.
"""

from typing import TYPE_CHECKING

from vae_anomaly.lazy import lazy_names, require_extra

if TYPE_CHECKING:
    from vae_anomaly.integrations.mlflow.application import Limits
    from vae_anomaly.integrations.mlflow.flavor import _load_pyfunc, load_model, log_model, save_model
    from vae_anomaly.integrations.mlflow.registry import open_model, register
    from vae_anomaly.integrations.mlflow.serving import serve
    from vae_anomaly.integrations.mlflow.signatures import as_request
    from vae_anomaly.integrations.mlflow.store import store_address
    from vae_anomaly.integrations.mlflow.tracking import ComparisonTracker, MLflowCallback

__all__ = [
    "ComparisonTracker",
    "Limits",
    "MLflowCallback",
    "_load_pyfunc",
    "as_request",
    "load_model",
    "log_model",
    "open_model",
    "register",
    "save_model",
    "serve",
    "store_address",
]


def _require_mlflow() -> None:
    """Raise a MissingExtraError with the install command if MLflow is missing."""
    require_extra("mlflow", "Tracking and serving need MLflow", "mlflow.pyfunc")


__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ComparisonTracker": "tracking",
        "Limits": "application",
        "MLflowCallback": "tracking",
        "_load_pyfunc": "flavor",
        "as_request": "signatures",
        "load_model": "flavor",
        "log_model": "flavor",
        "open_model": "registry",
        "register": "registry",
        "save_model": "flavor",
        "serve": "serving",
        "store_address": "store",
    },
    require=_require_mlflow,
)
