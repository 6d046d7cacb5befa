"""A fitted detector as bytes, and its scores for batches of Arrow: what Ray and Spark share."""

import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from vae_anomaly.data.schema import Schema
from vae_anomaly.detector import VAEDetector, load
from vae_anomaly.errors import DataError, RowError
from vae_anomaly.formatting import listed_names
from vae_anomaly.io.read import as_known

SCORES: Mapping[str, Any] = MappingProxyType(  # columns that `BatchScorer` adds, as in `VAEDetector.detect`
    {"anomaly_score": pa.float64(), "p_value": pa.float64(), "severity": pa.float64(), "is_anomaly": pa.bool_()}
)


def as_bytes(detector: VAEDetector) -> bytes:
    """The file that `VAEDetector.save` writes; nothing in it is executed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.vae")
        detector.save(path)
        return path.read_bytes()


@lru_cache(maxsize=2)
def from_bytes(model: bytes, device: str = "auto") -> VAEDetector:
    """The detector of such a file, which a process loads once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.vae")
        path.write_bytes(model)
        return load(path, device=device)


def refuse_own_names(names: list[str]) -> None:
    """Raise a DataError if a table has a column of the name of one that is added."""
    if taken := [name for name in SCORES if name in names]:
        raise DataError(
            f"The table already has {listed_names(taken)}, which scoring adds. Rename or drop these columns."
        )


class BatchScorer:
    """Adds the columns of `SCORES` to batches of rows, and leaves the others as they are.

    Parameters
    ----------
    model : bytes
        From `as_bytes`.
    false_alarm_rate : float or None
        As in `VAEDetector.detect`.
    device : str
        As in `vae_anomaly.load`.
    """

    def __init__(self, model: bytes, false_alarm_rate: float | None = None, device: str = "auto") -> None:
        self._detector, self._rate = from_bytes(model, device), false_alarm_rate

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The batch with scores, p-values, severities and flags."""
        if not batch.num_rows:
            return pa.table({**dict(zip(batch.column_names, batch.columns, strict=True)), **_nothing()})
        frame = batch.select(self._used(batch.column_names)).to_pandas()
        schema = self._detector.schema_
        if isinstance(schema, Schema):
            frame = as_known(frame, schema.reading)
        try:
            found = self._detector.detect(frame, false_alarm_rate=self._rate)
        except RowError as error:  # the row's number in the whole table is not known here
            raise error.moved(0, "In a block of rows") from error
        for name, kind in SCORES.items():
            batch = batch.append_column(pa.field(name, kind), pa.array(found[name].to_numpy(), kind))
        return batch

    def _used(self, names: list[str]) -> list[str]:
        """Columns that the model reads; if it was fitted to an array, all of them."""
        if not hasattr(self._detector, "feature_names_in_"):
            return names
        return [name for name in self._detector.schema_.names if name in names]


def _nothing() -> dict[str, Any]:
    return {name: pa.array([], kind) for name, kind in SCORES.items()}
