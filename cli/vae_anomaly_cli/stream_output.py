"""Where streamed scores go: to a file, with which an interrupted run goes on, to a pipe, or the oddest to a person."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_anomaly.errors import DataError
from vae_anomaly_cli.output import SHOWN, is_terminal, remark, show_rows, wants_progress, write_rows
from vae_anomaly_cli.streaming import Oddest, Scoring

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import Dataset, VAEDetector
    from vae_anomaly.io.resumable import PartialFile

COMMIT_SECONDS = 1.0  # between two moments at which what is written is made safe
PIPED = "-"


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


def write_scores(scoring: Scoring, top: int | None, output: str | None, *, quiet: bool) -> None:
    """Write the scores of all rows, or of the ``top`` oddest ones, ranked; a terminal is shown some of these."""
    shows = output is None and is_terminal(sys.stdout)
    if top is None and not shows:
        _write_all(scoring, output or PIPED, quiet=quiet)
    else:
        _write_oddest(scoring, top or SHOWN, output, shows=shows, quiet=quiet)


def _write_oddest(scoring: Scoring, top: int, output: str | None, *, shows: bool, quiet: bool) -> None:
    tally, oddest = Tally(), Oddest(top)
    with progress_bar(scoring.dataset, quiet=quiet):
        for table, rows in scoring.pieces():
            tally.add(table)
            oddest.add(table, rows)
    chosen = oddest.table["is_anomaly"].to_numpy() | shows
    ranking = scoring.explained(oddest.table, oddest.rows, chosen)
    if shows:
        show_rows(ranking, "reason")
        remark(f"{tally.told()}; write them all with --output scores.csv", quiet=quiet)
    else:
        write_rows(ranking, output or PIPED, f"{len(ranking)} rows written; {tally.told()}.", quiet=quiet)


def _write_all(scoring: Scoring, output: str, *, quiet: bool) -> None:
    """Write to standard output, or to a file, with which an interrupted run can go on."""
    from vae_anomaly.io.atomic import is_special

    write = _pour if output == PIPED or is_special(Path(output)) else _fill
    tally = write(scoring, output, quiet=quiet)
    remark(f"{output}: {tally.rows:,} rows written; {tally.told()}.", quiet=quiet)


def _pour(scoring: Scoring, output: str, *, quiet: bool) -> Tally:
    """Write where nothing can be taken back."""
    from vae_anomaly.io.write import Appender

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


def _fill(scoring: Scoring, output: str, *, quiet: bool) -> Tally:
    """Write a file, going on where a run before was interrupted."""
    from vae_anomaly.io.resumable import partial_file
    from vae_anomaly.io.write import Appender

    appender = Appender(output)
    with partial_file(output, _plan_of(scoring), stays=scoring.source.lasts) as partial:
        tally = _begin(partial, output, quiet=quiet)
        try:
            with progress_bar(scoring.dataset, quiet=quiet):
                _append(scoring, appender, partial, tally)
        except KeyboardInterrupt:
            if partial.state and scoring.source.lasts:
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


def _plan_of(scoring: Scoring) -> dict[str, Any]:
    """All that the written scores depend on."""
    import pandas
    import torch

    from vae_anomaly import __version__
    from vae_anomaly.io import pieces as sizes

    source, detector = scoring.source, scoring.detector
    files = [(name, Path(name).stat()) for name in scoring.dataset.files]
    known = [[name, found.st_size, found.st_mtime_ns] for name, found in files]
    return {
        "model": _digest(detector),
        "input": known if source.lasts else secrets.token_hex(),  # what a pipe brings is never the same
        "options": [source.keep, sorted(source.exclude), scoring.rule, source.encoding, str(detector.device_)],
        "versions": [__version__, torch.__version__, pandas.__version__],
        "piece sizes": [sizes.MOST_ROWS, sizes.MOST_CELLS, sizes.MOST_BYTES],
    }


def _digest(detector: VAEDetector) -> str:
    from vae_anomaly.io.model_file import model_digest

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.vae")
        detector.save(path)
        return model_digest(path)


@contextmanager
def progress_bar(dataset: Dataset, *, quiet: bool) -> Iterator[None]:
    """Draw how many bytes have been read, for people who watch."""
    from vae_anomaly.io.dataset import reading_bar

    with reading_bar(dataset, shown=bool(wants_progress(quiet=quiet))):
        yield
