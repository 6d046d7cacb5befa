"""Anomaly detection with variational autoencoders, for tables of numbers, categories, dates and missing cells.

The names are resolved when they are first used, so that importing the package loads neither torch nor scikit-learn.
"""

from typing import TYPE_CHECKING

from vae_anomaly.lazy import lazy_names

if TYPE_CHECKING:
    from vae_anomaly.data.duplicates import find_duplicates
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
    "find_duplicates",
    "load",
    "read_images",
    "read_table",
    "write_image_grid",
    "write_table",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Dataset": "io.dataset",
        "VAEDetector": "detector",
        "find_duplicates": "data.duplicates",
        "load": "detector",
        "read_images": "images",
        "read_table": "io.read",
        "write_image_grid": "images",
        "write_table": "io.write",
    },
)
