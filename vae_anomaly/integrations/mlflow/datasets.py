"""A table as an MLflow data set: its source, its columns, and a digest of every cell."""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.types import ColSpec, DataType, Schema

from vae_anomaly.data.parse import as_frame, is_frame

TYPES = {"b": DataType.boolean, "i": DataType.long, "u": DataType.long, "f": DataType.double, "M": DataType.datetime}


class TableDataset(Dataset):
    """A table in MLflow.

    The digests of MLflow's own data sets leave out dates, text with missing cells, and all rows after the first 10,000.
    """

    def __init__(self, X: Any, source: str | None) -> None:
        self._frame = as_frame(X) if is_frame(X) else pd.DataFrame(np.asarray(X))
        super().__init__(_source(source), name="table" if source is None else Path(source).name)

    @property
    def schema(self) -> Schema:
        """Columns with the types that they have in this table; what is no number, flag or date is text."""
        kinds = ((name, getattr(dtype, "kind", "O")) for name, dtype in self._frame.dtypes.items())
        return Schema([ColSpec(TYPES.get(kind, DataType.string), str(name)) for name, kind in kinds])

    @property
    def profile(self) -> dict[str, int]:
        """Number of rows and columns."""
        return {"num_rows": len(self._frame), "num_columns": self._frame.shape[1]}

    def to_dict(self) -> dict[str, str]:
        """JSON description of the data set."""
        schema = json.dumps({"mlflow_colspec": self.schema.to_dict()})
        return {**super().to_dict(), "profile": json.dumps(self.profile), "schema": schema}

    def _compute_digest(self) -> str:
        """Hexadecimal digest of all cells, of the order of rows and columns, and of names and types of the columns."""
        columns = [(str(name), str(dtype)) for name, dtype in self._frame.dtypes.items()]
        digest = hashlib.sha256(repr(columns).encode())
        digest.update(pd.util.hash_pandas_object(self._frame, index=False).to_numpy().tobytes())
        return digest.hexdigest()[:16]


def _source(source: str | None) -> DatasetSource:
    if source is None:
        return CodeDatasetSource(tags={})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more than one class of source accepts a file
        return resolve_dataset_source(source)
