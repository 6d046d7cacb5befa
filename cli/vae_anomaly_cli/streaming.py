"""Scores of rows that need not fit in memory: read, scored and written piece by piece, in the order of the rows."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly.errors import DataError
from vae_anomaly_cli.columns import leave_out, pick
from vae_anomaly_cli.contents import holds_images
from vae_anomaly_cli.output import SHOWN, is_terminal, remark, show_rows, wants_progress, write_rows
from vae_anomaly_cli.source import trained_on

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import Dataset, VAEDetector
    from vae_anomaly.partial import PartialFile
    from vae_anomaly.tables.dataset import Piece

COMMIT_SECONDS = 1.0  # between two moments at which what is written is made safe
PIPED = "-"


def open_dataset(file: str, exclude: list[str], keep: list[str], encoding: str) -> Dataset:
    """The rows of FILE, unless it holds images; columns that are named must be there."""
    import pandas as pd

    from vae_anomaly import Dataset

    if holds_images(file):
        raise typer.BadParameter(f"it concerns tables, and {file} holds images; leave it out.", param_hint="--stream")
    dataset = Dataset(file, encoding=encoding)
    header = pd.DataFrame(columns=pd.Index(dataset.columns, dtype=object))
    leave_out(header, exclude, "--exclude")
    pick(header, keep, "--keep")
    return dataset


@dataclass(frozen=True, eq=False)
class Scoring:
    """A detector at work on the rows of a dataset, flagged by a rule, with the columns to keep beside their scores."""

    detector: VAEDetector
    dataset: Dataset
    keep: list[str]
    columns: list[Any]
    rule: dict[str, Any]

    @classmethod
    def of(cls, detector: VAEDetector, dataset: Dataset, exclude: list[str], keep: list[str], rule: Any) -> Scoring:
        """Have columns read for what the detector takes them for."""
        if detector.image_shape is not None:
            raise DataError(f"This is a table, and the model was fitted to {trained_on(detector)}. Leave out --stream.")
        keep, rows = list(dict.fromkeys(keep)), dataset.without(exclude)
        if hasattr(detector, "feature_names_in_"):
            return cls(detector, rows.as_fitted(detector.schema_, keep=keep), keep, detector.schema_.names, rule)
        return cls(detector, dataset, keep, rows.columns, rule)  # fitted to an array, which has no names

    def pieces(self, skip: int = 0) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """Scores of the rows, with the rows; the next piece is read while one is scored."""
        from vae_anomaly.threads import ahead

        pieces = islice(self.dataset.pieces(), skip, None)
        for piece in ahead(pieces) if self.dataset.files else pieces:  # what waits for a pipe cannot be interrupted
            with piece.counting_rows():
                yield self._scored(piece), piece.frame

    def tables(self, skip: int = 0) -> Iterator[pd.DataFrame]:
        """Scores of the rows, with reasons where they are flagged."""
        for table, rows in self.pieces(skip):
            yield self.explained(table, rows, table["is_anomaly"].to_numpy())

    def explained(self, table: pd.DataFrame, rows: pd.DataFrame, chosen: Any) -> pd.DataFrame:
        """A table with the reasons of the chosen rows, and of all rows what is kept."""
        import pandas as pd

        table = table.assign(reason="")
        if chosen.any():
            table.loc[chosen, "reason"] = self.detector.reasons(rows.loc[chosen, self.columns]).to_numpy()
        return pd.concat([table, rows[self.keep].reset_index(drop=True)], axis=1)

    def _scored(self, piece: Piece) -> pd.DataFrame:
        import numpy as np

        rows = piece.frame
        table = self.detector.detect(rows[self.columns], **self.rule).reset_index(drop=True)
        table.insert(0, "row", rows.index.to_numpy() + 1)
        if len(self.dataset.files) > 1:
            table.insert(1, "file", piece.file)
            table.insert(2, "file_row", np.arange(piece.first + 1, piece.first + 1 + len(rows)))
        return table


@dataclass
class Tally:
    """How many rows were scored and flagged, and how fast."""

    rows: int = 0
    flagged: int = 0
    pieces: int = 0
    begin: float = field(default_factory=time.monotonic)
    before: int = 0  # rows of an earlier run

    def add(self, table: pd.DataFrame) -> None:
        """Count a piece."""
        self.rows += len(table)
        self.flagged += int(table["is_anomaly"].sum())
        self.pieces += 1

    def told(self) -> str:
        """It in words."""
        rate = (self.rows - self.before) / max(time.monotonic() - self.begin, 1e-9)
        return f"{self.flagged:,} of {self.rows:,} are flagged; {rate:,.0f} rows a second"


def write_oddest(scoring: Scoring, top: int, output: str | None, *, quiet: bool) -> None:
    """Write the oddest rows, ranked; on a terminal they are shown."""
    tally, oddest = Tally(), Oddest(top)
    with progress_bar(scoring.dataset, quiet=quiet):
        for table, rows in scoring.pieces():
            tally.add(table)
            oddest.add(table, rows)
    shows = output is None and is_terminal(sys.stdout)
    chosen = oddest.table["is_anomaly"].to_numpy() | shows
    ranking = scoring.explained(oddest.table, oddest.rows, chosen)
    if shows:
        show_rows(ranking, "reason")
        remark(f"{tally.told()}; write them all with --output scores.csv", quiet=quiet)
    else:
        write_rows(ranking, output or PIPED, f"{len(ranking)} rows written; {tally.told()}.", quiet=quiet)


class Oddest:
    """The oddest rows so far, oddest first; of equally odd ones the first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.table: Any = None
        self.rows: Any = None

    def add(self, table: pd.DataFrame, rows: pd.DataFrame) -> None:
        """Rank more rows among them."""
        import pandas as pd

        rows = rows.reset_index(drop=True)
        if self.table is not None:
            table = pd.concat([self.table, table], ignore_index=True)
            rows = pd.concat([self.rows, rows], ignore_index=True)
        order = table["anomaly_score"].sort_values(ascending=False, kind="stable").index[: self.count]
        self.table, self.rows = (part.loc[order].reset_index(drop=True) for part in (table, rows))


def write_all(scoring: Scoring, output: str | None, plan: dict[str, Any], *, quiet: bool) -> None:
    """Write every row: to standard output, or to a file, with which an interrupted run can go on."""
    from vae_anomaly.files import is_special

    if output is None or output == PIPED or is_special(Path(output)):
        tally = _pour(scoring, output or PIPED, quiet=quiet)
    else:
        tally = _fill(scoring, output, plan, quiet=quiet)
    remark(f"{output or PIPED}: {tally.rows:,} rows written; {tally.told()}.", quiet=quiet)


def _pour(scoring: Scoring, output: str, *, quiet: bool) -> Tally:
    """Write where nothing can be taken back."""
    from vae_anomaly.tables.appending import Appender

    appender, tally = Appender(output), Tally()
    if appender.is_draft:
        raise DataError(f"Parquet cannot be written to {output} row by row. Name a file, or another format.")
    with _stream(output) as stream, progress_bar(scoring.dataset, quiet=quiet):
        for table in scoring.tables():
            stream.write(appender.encode(table, is_first=tally.pieces == 0))
            stream.flush()
            tally.add(table)
    return tally


@contextmanager
def _stream(output: str) -> Iterator[Any]:
    if output == PIPED:
        sys.stdout.flush()
        yield sys.stdout.buffer
        return
    with Path(output).open("wb") as stream:
        yield stream


def _fill(scoring: Scoring, output: str, plan: dict[str, Any], *, quiet: bool) -> Tally:
    """Write a file, going on where a run before was interrupted."""
    from vae_anomaly.partial import partial_file
    from vae_anomaly.tables.appending import Appender

    appender = Appender(output)
    with partial_file(output, plan, stays=bool(scoring.dataset.files)) as partial:
        tally = _begin(partial, output, quiet=quiet)
        try:
            with progress_bar(scoring.dataset, quiet=quiet):
                _append(scoring, appender, partial, tally)
        except KeyboardInterrupt:
            if partial.state and scoring.dataset.files:
                kept = f"{partial.state['rows']:,} rows are kept; the same command goes on there"
                remark(f"{output}: {kept}.", quiet=quiet)
            raise
        partial.finish(appender.convert if appender.is_draft else None)
    return tally


def _begin(partial: PartialFile, output: str, *, quiet: bool) -> Tally:
    """The count of rows that are written already."""
    state = partial.state
    if state:
        remark(f"{output}: going on after row {state['rows']:,}.", quiet=quiet)
    elif partial.differs:
        others = ", ".join(partial.differs)
        remark(f"{output}: an unfinished run is there, but with other {others}; beginning anew.", quiet=quiet)
    return Tally(**state, before=state.get("rows", 0))


def _append(scoring: Scoring, appender: Any, partial: PartialFile, tally: Tally) -> None:
    safe = time.monotonic()
    for table in scoring.tables(skip=tally.pieces):
        partial.write(appender.encode(table, is_first=tally.pieces == 0))
        tally.add(table)
        if time.monotonic() - safe >= COMMIT_SECONDS:
            partial.commit(rows=tally.rows, flagged=tally.flagged, pieces=tally.pieces)
            safe = time.monotonic()
    partial.commit(rows=tally.rows, flagged=tally.flagged, pieces=tally.pieces)


def plan_of(scoring: Scoring, exclude: list[str], encoding: str) -> dict[str, Any]:
    """All that the written scores depend on."""
    import pandas
    import torch

    from vae_anomaly import __version__
    from vae_anomaly.tables import sizes

    inputs = [(name, Path(name).stat()) for name in scoring.dataset.files]
    return {
        "model": _digest(scoring.detector),
        "input": [[name, found.st_size, found.st_mtime_ns] for name, found in inputs],
        "options": [scoring.keep, sorted(exclude), scoring.rule, encoding, str(scoring.detector.device_)],
        "versions": [__version__, torch.__version__, pandas.__version__],
        "piece sizes": [sizes.MOST_ROWS, sizes.MOST_CELLS, sizes.MOST_BYTES],
    }


def _digest(detector: VAEDetector) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.vae")
        detector.save(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def progress_bar(dataset: Dataset, *, quiet: bool) -> Iterator[None]:
    """Draw how many bytes have been read, for people who watch."""
    if not wants_progress(quiet=quiet):
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    class Bar(Progress):
        """Asks the dataset whenever it is drawn: a pass that finds out types gives no pieces."""

        def get_renderables(self) -> Any:
            for task in self.tasks:
                self.update(task.id, completed=dataset.bytes_read)
            return super().get_renderables()

    columns = TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        bar.add_task("reading", total=dataset.n_bytes)
        yield


def shown_on_terminal(output: str | None) -> bool:
    """Whether the oddest rows are shown rather than all written."""
    return output is None and is_terminal(sys.stdout)


def top_of(top: int | None, output: str | None) -> int | None:
    """How many of the oddest rows are asked for; None for all rows."""
    return SHOWN if top is None and shown_on_terminal(output) else top
