"""Anomaly detection with variational autoencoders, for tables of numbers, categories, dates and missing cells.

The names are resolved when they are first used, so that importing the package loads neither torch nor scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector, load
    from vae_anomaly.images import read_images, write_image_grid
    from vae_anomaly.io.dataset import Dataset
    from vae_anomaly.io.read import read_table
    from vae_anomaly.io.write import write_table

__version__ = "0.1.0"
__all__ = [
    "Dataset",
    "VAEDetector",
    "__version__",
    "load",
    "read_images",
    "read_table",
    "write_image_grid",
    "write_table",
]

_HOMES = {
    "Dataset": "vae_anomaly.io.dataset",
    "VAEDetector": "vae_anomaly.detector",
    "load": "vae_anomaly.detector",
    "read_images": "vae_anomaly.images",
    "read_table": "vae_anomaly.io.read",
    "write_image_grid": "vae_anomaly.images",
    "write_table": "vae_anomaly.io.write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
