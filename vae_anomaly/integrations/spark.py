"""Fits and scores of Spark's data frames, without MLflow: the extra ``spark``.

The executors need this package. A fit reads all rows on them and brings a sample to the driver, which trains. Scores
are computed on the executors, which get the model once.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from typing import Any

import pandas as pd
import pyarrow as pa

from vae_anomaly.data.parse import as_frame
from vae_anomaly.data.sampling import SpreadTable
from vae_anomaly.detector import VAEDetector
from vae_anomaly.errors import DataError, VaeAnomalyError
from vae_anomaly.integrations.shipping import SCORES, BatchScorer, as_bytes, refuse_own_names
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.lazy import require_extra

Batches = Iterable[pa.RecordBatch]
OF_PARTITIONS = "partition int, rows long, result binary"
WHOLE = 2**26  # bytes of a result in one row of Spark, which holds less than 2 GiB
TYPE_NAMES = {pa.float64(): "double", pa.bool_(): "boolean"}  # Spark's


def fit(detector: VAEDetector, frame: Any) -> VAEDetector:
    """Fit a detector to a data frame: the executors survey all rows and draw the training rows, and the driver trains.

    Parameters
    ----------
    detector : VAEDetector
        With any parameters.
    frame : pyspark.sql.DataFrame
        It is computed twice, and again if training needs more than one shard: each time its partitions must have the
        same rows in the same order. Call its ``cache`` before, unless it is read from files as it is.

    Returns
    -------
    VAEDetector
        The detector, fitted: with the same ``random_state`` the same model as a fit of the same rows on one machine.
    """
    _require()
    return detector.fit(SpreadPartitions(frame))


def score(
    detector: VAEDetector, frame: Any, *, false_alarm_rate: float | None = None, device: str = "cpu"
) -> Any:  # a pyspark.sql.DataFrame
    """Scores of a data frame, computed when it is used.

    Parameters
    ----------
    detector : VAEDetector
        Fitted. Its file is broadcast: shipped once to each executor.
    frame : pyspark.sql.DataFrame
        With the columns of the fit, and any others.
    false_alarm_rate : float, optional
        As in `VAEDetector.detect`. Other rules need all scores at once: apply them to the column ``p_value``.
    device : str
        As in `vae_anomaly.load`, on the executors.

    Returns
    -------
    pyspark.sql.DataFrame
        The rows with all their columns, and ``anomaly_score``, ``p_value``, ``severity`` and ``is_anomaly``.
    """
    _require()
    from pyspark.sql.types import StructType

    refuse_own_names(frame.columns)
    model = frame.sparkSession.sparkContext.broadcast(as_bytes(detector))
    added = StructType.fromDDL(", ".join(f"{name} {TYPE_NAMES[kind]}" for name, kind in SCORES.items()))
    schema = StructType([*frame.schema.fields, *added.fields])
    return frame.mapInArrow(partial(_scored, model=model, false_alarm_rate=false_alarm_rate, device=device), schema)


def _require() -> None:
    require_extra("spark", "Work on frames of Spark needs {}", "pyspark.sql")


def _scored(batches: Batches, *, model: Any, false_alarm_rate: float | None, device: str) -> Iterator[pa.RecordBatch]:
    """On an executor: a partition with its scores."""
    scorer = BatchScorer(model.value, false_alarm_rate, device)
    for batch in batches:
        yield from scorer(pa.Table.from_batches([batch])).combine_chunks().to_batches()


class SpreadPartitions(Dataset, SpreadTable):
    """A data frame of Spark; its partitions are parts of the table, in their order."""

    def __init__(self, frame: Any) -> None:
        super().__init__(lambda: iter([as_frame(frame.toArrow())]))
        self._frame = frame

    @cached_property
    def columns(self) -> list[Any]:
        """Column names."""
        return list(self._frame.columns)

    @cached_property
    def n_rows(self) -> list[int]:
        """Number of rows of each partition."""
        counts = self._frame.selectExpr("true AS seen").mapInArrow(_count, OF_PARTITIONS).collect()
        found = {row.partition: row.rows for row in counts}
        return [found.get(number, 0) for number in range(max(found, default=-1) + 1)]

    def each(self, work: Callable[..., Any], place: Callable[[int], Any]) -> Iterator[Any]:
        """Results of ``work(pieces, place)`` on each partition, in the order of the partitions."""
        places, first = [], 0
        for n_rows in self.n_rows:
            places.append((first, n_rows, place(n_rows)))
            first += n_rows
        shipped = self._frame.sparkSession.sparkContext.broadcast(places)
        rows = self._frame.mapInArrow(partial(_on_partition, work=work, places=shipped), OF_PARTITIONS).collect()
        shipped.destroy()
        for number in range(len(places)):
            parts = [row.result for row in rows if row.partition == number]
            if parts:
                result = pickle.loads(b"".join(parts))
                if isinstance(result, VaeAnomalyError):
                    raise result
                yield result


def _partition() -> int:
    from pyspark import TaskContext

    context: Any = TaskContext.get()
    return context.partitionId()


def _count(batches: Batches) -> Iterator[pa.RecordBatch]:
    yield _row(sum(batch.num_rows for batch in batches), b"")


def _on_partition(batches: Batches, *, work: Callable[..., Any], places: Any) -> Iterator[pa.RecordBatch]:
    """On an executor: the result of work on a partition, in pieces that a row of Spark can hold."""
    number, known = _partition(), places.value
    first, n_rows, place = known[number] if number < len(known) else (0, 0, None)
    seen = [0]

    def pieces() -> Iterator[pd.DataFrame]:
        for batch in batches:
            begin = first + seen[0]
            seen[0] += batch.num_rows
            if batch.num_rows:
                frame = as_frame(_in_utc(pa.Table.from_batches([batch])))
                yield frame.set_axis(pd.RangeIndex(begin, begin + len(frame)))

    try:
        result = work(pieces(), place)
    except VaeAnomalyError as error:
        result = error
    else:
        if seen[0] != n_rows:
            result = DataError("The frame's partitions have changed since they were counted. Call its cache() first.")
    written = pickle.dumps(result)
    for begin in range(0, len(written), WHOLE):
        yield _row(seen[0], written[begin : begin + WHOLE])


def _in_utc(table: pa.Table) -> pa.Table:
    """The table with times in UTC, as `toArrow` has them: the same instants, whatever the session's time zone is."""
    for number, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            times = table.column(number).cast(pa.timestamp(field.type.unit, "UTC"))
            table = table.set_column(number, field.name, times)
    return table


def _row(rows: int, result: bytes) -> pa.RecordBatch:
    types = {"partition": pa.int32(), "rows": pa.int64(), "result": pa.binary()}
    cells = {"partition": [_partition()], "rows": [rows], "result": [result]}
    return pa.RecordBatch.from_pydict(cells, schema=pa.schema(types))
