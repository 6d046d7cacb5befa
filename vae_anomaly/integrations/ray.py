"""Fits and scores on a cluster of Ray: the extra ``ray``.

A fit reads all rows side by side and trains on a sample of them, which is drawn as on one machine: the model is the
same to the last bit. Scores are computed by a pool of actors, which get the model once.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from typing import Any

import pandas as pd
import torch

from vae_anomaly.data.parse import as_frame
from vae_anomaly.data.sampling import SpreadTable
from vae_anomaly.detector import VAEDetector
from vae_anomaly.errors import ClusterError, VaeAnomalyError
from vae_anomaly.integrations.shipping import BatchScorer, as_bytes, refuse_own_names
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.io.pieces import rows_per_piece
from vae_anomaly.lazy import require_extra

MOST_RETRIES = 20  # of work whose worker or node has died; what kills each of its workers must end


def _ray() -> Any:
    """The package, or a MissingExtraError with the command that installs it."""
    require_extra("ray", "Work on several machines needs {}", "ray.data")
    import ray.data

    return ray


def fit(detector: VAEDetector, dataset: Any) -> VAEDetector:
    """Fit a detector to a data set; all rows are read side by side, and training takes place on one machine.

    If the cluster has a GPU and this machine has none, the detector is trained there, without its callbacks; otherwise
    here.

    Parameters
    ----------
    detector : VAEDetector
        With any parameters. A folder of ``checkpoint`` has to be shared by the machines.
    dataset : ray.data.Dataset or vae_anomaly.Dataset
        Ray's, whose blocks are read in their order, and read again if training needs more than one shard: each time
        they must have the same rows. Or files that all machines see under the same names; a file is read by one worker,
        and types and notations are those of all files.

    Returns
    -------
    VAEDetector
        The detector, fitted: with the same ``random_state`` the same model as a fit of the same rows on one machine.
    """
    table: Dataset = SpreadFiles(dataset) if isinstance(dataset, Dataset) else SpreadBlocks(dataset)
    if torch.cuda.is_available() or not _ray().cluster_resources().get("GPU"):
        return detector.fit(table)
    own = {"callbacks": detector.callbacks, "verbose": detector.verbose}  # of this process
    there = VAEDetector(**{**detector.get_params(deep=False), "callbacks": None, "verbose": 0})
    [fitted] = in_order(_fit_there, [(there, table)], num_gpus=1)
    detector.__setstate__(fitted.set_params(**own).__getstate__())
    return detector


def score(
    detector: VAEDetector,
    dataset: Any,
    *,
    false_alarm_rate: float | None = None,
    workers: int | tuple[int, int] | None = None,
    gpus: float = 0,
) -> Any:
    """Scores of a data set, computed when it is used.

    Parameters
    ----------
    detector : VAEDetector
        Fitted. Its file is shipped once to each machine.
    dataset : ray.data.Dataset
        With the columns of the fit, and any others.
    false_alarm_rate : float, optional
        As in `VAEDetector.detect`. Other rules need all scores at once: apply them to the column ``p_value``.
    workers : int or tuple of int, optional
        Number of actors, or the least and the most; by default as many as the cluster has processors, one at least.
    gpus : float
        GPUs of each actor.

    Returns
    -------
    ray.data.Dataset
        The rows with all their columns, and ``anomaly_score``, ``p_value``, ``severity`` and ``is_anomaly``. Ray may
        return blocks in another order: rows are known by their columns, or ask Ray to preserve the order.
    """
    names = list(dataset.schema().names)
    refuse_own_names(names)
    least, most = (workers, workers) if isinstance(workers, int) else workers or (1, None)
    return dataset.map_batches(
        _ScoringActor,
        fn_constructor_args=([_ray().put(as_bytes(detector))], false_alarm_rate),
        batch_format="pyarrow",
        batch_size=rows_per_piece(len(names), 1),
        compute=_ray().data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=1,
        num_gpus=gpus,
    )


class _ScoringActor(BatchScorer):
    """Gets the model from the object store, which has it once on each machine."""

    def __init__(self, model: list[Any], false_alarm_rate: float | None) -> None:
        super().__init__(_ray().get(model[0]), false_alarm_rate)


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Within it, tasks run in the cluster at an address, or in one of this machine alone; no usage is reported."""
    if _ray().is_initialized():
        yield
        return
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own = {"include_dashboard": False} if address is None else {}
    try:
        _ray().init(address=address or "local", log_to_driver=False, logging_level="ERROR", **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        advice = "Start one with `ray start --head`, or leave out the address to use this machine alone."
        raise ClusterError(f"There is no cluster of Ray at the address {address!r}. {advice}") from error
    if is_main:
        signal.signal(signal.SIGTERM, handler)  # Ray sets one of its own
    try:
        yield
    finally:
        _ray().shutdown()


def shared(thing: Any) -> Any:
    """An argument of work of `in_order` that is shipped once to each machine."""
    return _ray().put(thing)


def in_order(work: Callable[..., Iterable[Any]], items: Iterable[tuple[Any, ...]], **resources: float) -> Iterator[Any]:
    """Everything that ``work(*item)`` yields on workers, item after item.

    A few items for each processor are in work at a time. What an item has yielded waits in the object store until its
    turn has come. Work whose worker or node has died is done again. Errors of this package are raised as they are.
    """
    at_once = max(8, int(2 * _ray().cluster_resources().get("CPU", 1)))
    task = _ray().remote(num_returns="streaming", max_retries=MOST_RETRIES, **resources)(_yielding)
    waiting: deque[Any] = deque()
    upcoming = iter(items)
    try:
        while True:
            while len(waiting) < at_once and (item := next(upcoming, None)) is not None:
                waiting.append(task.remote(work, *item))
            if not waiting:
                return
            for reference in waiting[0]:
                yield _result(reference)
            waiting.popleft()
    finally:
        for begun in waiting:
            _ray().cancel(begun)


def _yielding(work: Callable[..., Iterable[Any]], *arguments: Any) -> Iterator[Any]:
    yield from work(*arguments)


def _result(reference: Any) -> Any:
    try:
        return _ray().get(reference)
    except _ray().exceptions.RayTaskError as error:
        if isinstance(error.cause, VaeAnomalyError):
            raise error.cause from None
        raise
    except _ray().exceptions.RayError as error:
        raise ClusterError(
            f"The cluster has lost the same work {MOST_RETRIES + 1} times ({type(error).__name__}). The logs of Ray "
            "have the cause. Often a machine lacks memory for its workers: start Ray there with fewer processors."
        ) from error


def _fit_there(detector: VAEDetector, table: Any) -> Iterator[VAEDetector]:
    yield detector.fit(table)


class SpreadFiles(Dataset, SpreadTable):
    """A data set of files, each of which is read by a worker."""

    def __init__(self, dataset: Dataset) -> None:
        self.__dict__.update(dataset.__dict__)
        self._dataset = dataset

    def alone(self, number: int, first: int) -> Dataset:
        """One of the files, whose rows begin at position ``first`` of the table, for a worker."""
        return self._dataset.file(number, first)

    @property
    def bytes_read(self) -> int:
        """Bytes of the files, about as many as belong to `rows_read`."""
        n_rows = sum(self.__dict__.get("n_rows", ()))  # only if they are counted
        return (self.n_bytes or 0) * self.rows_read // n_rows if n_rows else 0

    @cached_property
    def n_rows(self) -> list[int]:
        """Number of rows of each file; the files are read once, if they are text or Feather."""
        facts = [*in_order(_facts, ((self._dataset.file(number),) for number in range(len(self.files))))]
        self._dataset.settle(facts)
        return [found.n_rows for found in facts]

    @property
    def starts(self) -> list[int]:
        """Number of rows before each file."""
        return [*accumulate(self.n_rows, initial=0)][:-1]

    def each(self, work: Callable[..., Any], place: Callable[[int], Any]) -> Iterator[Any]:
        """Results of ``work(pieces, place)`` on each file, in the order of the files."""
        self._starts = [(first, file) for first, file in zip(self.starts, self.files, strict=True)]
        places = enumerate(zip(self.starts, self.n_rows, strict=True))
        return in_order(_on_file, ((self.alone(k, first), work, place(n)) for k, (first, n) in places))


def _facts(file: Dataset) -> Iterator[Any]:
    yield file.facts()


def _on_file(file: Dataset, work: Callable[..., Any], place: Any) -> Iterator[Any]:
    yield work(iter(file), place)


class SpreadBlocks(Dataset, SpreadTable):
    """A data set of Ray; its blocks are parts of the table, in their order."""

    def __init__(self, blocks: Any) -> None:
        super().__init__(lambda: (_rows_of(_ray().get(block), *rows) for block, *rows in self._references()))
        self._blocks = blocks

    @cached_property
    def columns(self) -> list[Any]:
        """Column names."""
        return list(self._blocks.schema().names)

    def each(self, work: Callable[..., Any], place: Callable[[int], Any]) -> Iterator[Any]:
        """Results of ``work(pieces, place)`` on each block, in the order of the blocks."""

        def items() -> Iterator[tuple[Any, ...]]:
            first = 0
            for block, begin, end in self._references():
                yield block, begin, end, work, first, place(end - begin)
                first += end - begin

        return in_order(_on_block, items())

    def _references(self) -> Iterator[tuple[Any, int, int]]:
        """Reference of each block, as soon as Ray has made it, and the rows of it that are in the data set."""
        options = self._blocks.context.execution_options
        before, options.preserve_order = options.preserve_order, True
        try:
            for bundle in self._blocks.iter_internal_ref_bundles():
                slices = bundle.slices or [None] * len(bundle.blocks)
                for entry, part in zip(bundle.blocks, slices, strict=True):
                    begin, end = (0, entry.metadata.num_rows) if part is None else (part.start_offset, part.end_offset)
                    yield entry.ref, begin, end
        finally:
            options.preserve_order = before


def _rows_of(block: Any, begin: int, end: int) -> pd.DataFrame:
    return as_frame(block).iloc[begin:end]


def _on_block(block: Any, begin: int, end: int, work: Callable[..., Any], first: int, place: Any) -> Iterator[Any]:
    frame = _rows_of(block, begin, end)
    yield work(iter([frame.set_axis(pd.RangeIndex(first, first + len(frame)))]), place)
