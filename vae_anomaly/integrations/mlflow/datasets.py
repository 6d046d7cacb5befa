"""A table as MLflow's notes on data have it: where it is from, its columns, and a digest of every cell."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.types import Schema

from vae_anomaly.tables import as_frame, is_frame

DIGITS = 16


def dataset_of(X: Any, source: str | None, schema: Schema) -> MetaDataset:
    """Describe a table; MLflow's own digest leaves out dates, gaps in text, and whatever is below row 10,000."""
    name = "table" if source is None else Path(source).name
    return MetaDataset(_source(source), name=name, digest=digest(X), schema=schema)


def digest(X: Any) -> str:
    """Sixteen hexadecimal digits that depend on every cell, on the order of rows and columns, and on their names."""
    frame = as_frame(X) if is_frame(X) else pd.DataFrame(np.asarray(X))
    hashed = hashlib.sha256(repr([(str(name), str(dtype)) for name, dtype in frame.dtypes.items()]).encode())
    hashed.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return hashed.hexdigest()[:DIGITS]


def _source(source: str | None) -> DatasetSource:
    if source is None:
        return CodeDatasetSource(tags={})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # several kinds of source can be a file
        return resolve_dataset_source(source)
