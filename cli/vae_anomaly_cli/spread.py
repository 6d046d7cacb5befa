"""``--engine ray``: a folder of files fitted and scored on a cluster, with the model and the output of one machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import typer

from vae_anomaly_cli.errors import refuse_given
from vae_anomaly_cli.groups import Cluster, Tracking, option_names
from vae_anomaly_cli.stream import Encoded, StreamedTable, StreamScorer, Tally

if TYPE_CHECKING:
    from vae_anomaly import Dataset, VAEDetector

NOT_SPREAD = {"skip_bad": "--skip-bad", "top": "--top", "device": "--device", **option_names(Tracking)}


def check_engine(context: typer.Context, cluster: Cluster) -> None:
    """Refuse options that do not apply to a cluster."""
    if cluster.engine is not None:
        reason = f"it does not apply with --engine {cluster.engine.value}; leave out one of the two."
        refuse_given(context, NOT_SPREAD, reason)
    elif cluster.address is not None:
        raise typer.BadParameter("it is the address of a cluster; add --engine ray.", param_hint="--address")


def check_scoring(cluster: Cluster, model: str | None, output: str | None) -> None:
    """Require a model and an output where a cluster scores."""
    if cluster.is_wanted and model is None:
        raise typer.BadParameter("it needs a model: fit one first, and name it with --model.", param_hint="--engine")
    if cluster.is_wanted and output is None:
        raise typer.BadParameter("it writes all scores: name a file with --output.", param_hint="--engine")


def connected(cluster: Cluster) -> AbstractContextManager[None]:
    """The cluster at an address within it, or one of this machine; nothing without an engine."""
    if not cluster.is_wanted:
        return nullcontext()
    from vae_anomaly.integrations import ray

    return ray.connected(cluster.address)


def fit_spread(detector: VAEDetector, rows: Any) -> VAEDetector:
    """Fit a detector to the rows of files, each of which is read by a worker."""
    from vae_anomaly.integrations import ray

    return ray.fit(detector, rows)


@dataclass(frozen=True, eq=False)
class SpreadScorer(StreamScorer):
    """Scores each file on a worker. The output is that of one machine, so either continues a run of the other."""

    @classmethod
    def of(
        cls, detector: VAEDetector, source: StreamedTable, rule: dict[str, Any], *, append: bool, digits: int
    ) -> Self:
        """Have columns read with the types that the detector was fitted to, and each file by a worker."""
        from vae_anomaly.integrations.ray import SpreadFiles

        scorer = super().of(detector, source, rule, append=append, digits=digits)
        return replace(scorer, dataset=SpreadFiles(scorer.dataset))

    def encoded(self, output: str, before: Tally) -> Iterator[Encoded]:
        """What is to be written, piece by piece, after the rows that an earlier run has written."""
        from vae_anomaly.integrations.ray import in_order, shared
        from vae_anomaly.integrations.shipping import as_bytes

        table: Any = self.dataset
        scorer = StreamScorer(**{**vars(self), "detector": None, "dataset": None, "source": _without_rows(self.source)})
        sent, table.rows_read = shared((as_bytes(self.detector), scorer)), before.rows
        parts = enumerate(zip(table.starts, table.n_rows, strict=True))
        unwritten = ((k, first) for k, (first, n_rows) in parts if first + n_rows > before.rows)
        files = ((sent, table.alone(number, first), output, before.rows) for number, first in unwritten)
        for piece in in_order(_encoded_file, files):
            table.rows_read += piece.rows
            yield piece


def _encoded_file(sent: tuple[bytes, StreamScorer], file: Dataset, output: str, done: int) -> Iterator[Encoded]:
    """On a worker: the scores of one file, without the rows that were written before."""
    from vae_anomaly.integrations.shipping import from_bytes

    model, scorer = sent
    source = replace(scorer.source, dataset=file)
    scorer = replace(scorer, detector=from_bytes(model, "cpu"), source=source, dataset=file)
    return scorer.encoded(output, Tally(rows=done))


def _without_rows(source: StreamedTable) -> StreamedTable:
    """The options of a table, to be shipped; the rows are read where they are scored."""
    lacking: Any = None
    return replace(source, dataset=lacking)
