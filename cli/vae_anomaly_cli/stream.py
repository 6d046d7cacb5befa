"""Scores of tables that need not fit in memory: read, scored and written piece by piece, in the order of the rows.

All scores go to a file, where an interrupted run continues, or to a pipe; a terminal shows the most anomalous rows.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import typer

from vae_anomaly.errors import DataError
from vae_anomaly_cli.groups import Reading
from vae_anomaly_cli.inputs import drop_columns, header, holds_images, reasons_of, select_columns, trained_on
from vae_anomaly_cli.output import (
    MEASURES,
    SHOWN,
    is_terminal,
    remark,
    show_rows,
    wants_progress,
    with_digits,
    write_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import Dataset, VAEDetector

COMMIT_SECONDS = 1.0  # between two moments at which the written rows are made safe
FILE_COLUMNS = ("file", "file_row")  # written if there are several files


@dataclass(frozen=True, eq=False)
class StreamedTable:
    """A table in one or more files, the columns to hide from the model, and those to keep in the output."""

    dataset: Dataset
    exclude: list[str]
    keep: list[str]
    reading: Reading

    noun = "rows"
    image_shape = None

    @classmethod
    def read(cls, file: str, exclude: list[str], keep: list[str], reading: Reading) -> StreamedTable:
        """Read the column names only; an error if named columns are not among them."""
        from vae_anomaly import Dataset

        if holds_images(file):
            message = f"it applies to tables, and {file} holds images; leave it out."
            raise typer.BadParameter(message, param_hint="--stream")
        dataset = Dataset(file, **reading.options)
        names = header(dataset.columns)
        drop_columns(names, exclude, "--exclude")
        kept = list(select_columns(names, keep, "--keep").columns)
        return cls(dataset, exclude, kept, reading)

    @property
    def rows(self) -> Dataset:
        """Rows without the hidden columns."""
        return self.dataset.without(self.exclude)

    @property
    def is_rereadable(self) -> bool:
        """True if the rows come from files, which another run can read again, and not from a pipe."""
        files = self.dataset.files
        return bool(files) and all(Path(name).is_file() for name in files)


class Encoded(NamedTuple):
    """A piece of the output as it is written, and how many rows it has and how many of them are flagged."""

    content: bytes
    rows: int
    flagged: int


@dataclass(frozen=True, eq=False)
class StreamScorer:
    """A fitted detector, the rows that it scores, the columns of them that it uses, and the rule that flags rows.

    Scores are written with some ``digits``, before the kept columns, or after them with ``append``.
    """

    detector: VAEDetector
    source: StreamedTable
    dataset: Dataset
    columns: list[Any]
    rule: dict[str, Any]
    append: bool
    digits: int
    several: bool  # files

    @classmethod
    def of(
        cls, detector: VAEDetector, source: StreamedTable, rule: dict[str, Any], *, append: bool, digits: int
    ) -> Self:
        """Have columns read with the types that the detector was fitted to."""
        if detector.image_shape is not None:
            raise DataError(f"This is a table, and the model was fitted to {trained_on(detector)}. Leave out --stream.")
        if hasattr(detector, "feature_names_in_"):
            schema: Any = detector.schema_  # of a table, not of images
            rows, columns = source.rows.as_fitted(schema, keep=source.keep), schema.names
        else:  # an array's columns have no names
            rows, columns = source.dataset, source.rows.columns
        return cls(detector, source, rows, columns, rule, append, digits, several=len(rows.files) > 1)

    def pieces(self, done: int = 0) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
        """Scores, rows and kept columns of each piece after the first ``done`` rows of the table.

        The next piece is read while one is scored.
        """
        import numpy as np

        from vae_anomaly.parallel import ahead

        pieces = (piece for piece in self.dataset.pieces() if piece.frame.index[0] >= done)
        # a thread that waits for a pipe cannot be interrupted
        for piece in ahead(pieces) if self.source.is_rereadable else pieces:
            rows = piece.frame
            with piece.counting_rows():
                table = self.detector.detect(rows[self.columns], **self.rule).reset_index(drop=True)
                table.insert(0, "row", rows.index.to_numpy() + 1)
                if self.several:
                    table.insert(1, "file", piece.file)
                    table.insert(2, "file_row", np.arange(piece.first + 1, piece.first + 1 + len(rows)))
                # a model of an array does not name the columns to read
                yield table, rows, piece.kept if len(piece.kept.columns) else rows[self.source.keep]

    def tables(self, done: int = 0) -> Iterator[pd.DataFrame]:
        """Scores of each piece, with the reasons of flagged rows and the kept columns."""
        for table, rows, kept in self.pieces(done):
            yield self.with_reasons(self.with_digits(table), rows, kept, table["is_anomaly"].to_numpy())

    def encoded(self, output: str, before: Tally) -> Iterator[Encoded]:
        """What is to be written, piece by piece, after the rows that an earlier run has written."""
        from vae_anomaly.io.write import Appender

        appender = Appender(output)
        for table in self.tables(before.rows):
            content = appender.encode(table, is_first=table["row"].iloc[0] == 1)
            yield Encoded(content, len(table), int(table["is_anomaly"].sum()))

    def with_reasons(self, table: pd.DataFrame, rows: pd.DataFrame, kept: pd.DataFrame, chosen: Any) -> pd.DataFrame:
        """Scores with the reasons of the chosen rows, and the kept columns of all rows."""
        import pandas as pd

        table = table.assign(reason="")
        if chosen.any():
            table.loc[chosen, "reason"] = reasons_of(self.detector, rows.loc[chosen, self.columns])
        parts = [table, kept[self.source.keep].reset_index(drop=True)]
        return pd.concat(parts[::-1] if self.append else parts, axis=1)

    def with_digits(self, table: pd.DataFrame) -> pd.DataFrame:
        """Scores with the digits that are written."""
        return with_digits(table, MEASURES, self.digits)


@dataclass
class Tally:
    """Numbers of rows scored and flagged, and the speed."""

    rows: int = 0
    flagged: int = 0
    pieces: int = 0
    begin: float = field(default_factory=time.monotonic)
    before: int = 0  # rows of an earlier run

    def add(self, rows: int, flagged: int) -> None:
        """Count a piece."""
        self.rows += rows
        self.flagged += flagged
        self.pieces += 1

    def __str__(self) -> str:
        rate = (self.rows - self.before) / max(time.monotonic() - self.begin, 1e-9)
        return f"{rate:,.0f} rows a second"


def write_scores(
    scorer: StreamScorer, top: int | None, output: str | None, *, quiet: bool, counts_only: bool = False
) -> Tally:
    """Write scores of all rows, or of the ``top`` most anomalous ones, ranked; a terminal shows only some of these."""
    from vae_anomaly.io.atomic import is_special

    if counts_only:
        return _count(scorer, quiet=quiet)
    shows, target = output is None and is_terminal(sys.stdout), output or "-"
    if top is not None or shows:
        return _write_top(scorer, top or SHOWN, output, shows=shows, quiet=quiet)
    write = _write_stream if target == "-" or is_special(Path(target)) else _write_file
    tally = write(scorer, target, quiet=quiet)
    remark(f"{target}: {tally.rows:,} rows written; {tally}.", quiet=quiet)
    return tally


def _count(scorer: StreamScorer, *, quiet: bool) -> Tally:
    """Score all rows and write none."""
    tally = Tally()
    with progress_bar(scorer, quiet=quiet):
        for table, *_ in scorer.pieces():
            tally.add(len(table), int(table["is_anomaly"].sum()))
    return tally


def _write_top(scorer: StreamScorer, top: int, output: str | None, *, shows: bool, quiet: bool) -> Tally:
    """Write or show the most anomalous rows, ranked; of equal scores the first."""
    import pandas as pd

    tally = Tally()
    best: list[pd.DataFrame] = []  # scores, rows and kept columns
    with progress_bar(scorer, quiet=quiet):
        for table, rows, kept in scorer.pieces():
            tally.add(len(table), int(table["is_anomaly"].sum()))
            parts = [part.reset_index(drop=True) for part in (table, rows, kept)]
            if best:
                parts = [pd.concat(pair, ignore_index=True) for pair in zip(best, parts, strict=True)]
            order = parts[0]["anomaly_score"].sort_values(ascending=False, kind="stable").index[:top]
            best = [part.loc[order].reset_index(drop=True) for part in parts]
    table, rows, kept = best
    shown = table if shows else scorer.with_digits(table)
    ranking = scorer.with_reasons(shown, rows, kept, table["is_anomaly"].to_numpy() | shows)
    if shows:
        show_rows(ranking, "reason")
    else:
        write_rows(ranking, output, f"{len(ranking)} rows written; {tally}.", quiet=quiet)
    return tally


def _write_stream(scorer: StreamScorer, output: str, *, quiet: bool) -> Tally:
    """Write to standard output, a pipe or a device, where nothing can be taken back."""
    from vae_anomaly.io.write import Appender, standard_output

    appender, tally = Appender(output), Tally()
    if appender.is_draft:
        raise DataError(f"Parquet cannot be written to {output} row by row. Name a file, or another format.")
    with ExitStack() as stack:
        device = None if output == "-" else stack.enter_context(Path(output).open("wb"))
        stack.enter_context(progress_bar(scorer, quiet=quiet))
        for content, *counts in scorer.encoded(output, tally):
            with standard_output() if device is None else nullcontext(device) as stream:
                stream.write(content)
                stream.flush()
            tally.add(*counts)
    return tally


def _write_file(scorer: StreamScorer, output: str, *, quiet: bool) -> Tally:
    """Write a file, from where an interrupted run with the same input and options has stopped."""
    from vae_anomaly.io.resumable import partial_file
    from vae_anomaly.io.write import Appender

    appender, rereadable = Appender(output), scorer.source.is_rereadable
    with partial_file(output, _plan_of(scorer), stays=rereadable) as partial:
        if partial.state:
            remark(f"{output}: continuing after row {partial.state['rows']:,}.", quiet=quiet)
        elif partial.differs:
            others = ", ".join(partial.differs)
            remark(f"{output}: there is an unfinished run, but with other {others}; starting again.", quiet=quiet)
        elif partial.is_damaged:
            remark(f"{output}: what an unfinished run left there is damaged; starting again.", quiet=quiet)
        tally = Tally(**partial.state, before=partial.state.get("rows", 0))

        def commit() -> None:
            partial.commit(rows=tally.rows, flagged=tally.flagged, pieces=tally.pieces)

        try:
            with progress_bar(scorer, quiet=quiet):
                last = time.monotonic()
                for content, *counts in scorer.encoded(output, tally):
                    partial.write(content)
                    tally.add(*counts)
                    if time.monotonic() - last >= COMMIT_SECONDS:
                        commit()
                        last = time.monotonic()
                commit()
        except KeyboardInterrupt:
            if partial.state and rereadable:
                rows = f"{partial.state['rows']:,}"
                remark(f"{output}: {rows} rows are kept; the same command continues there.", quiet=quiet)
            raise
        partial.finish(appender.convert if appender.is_draft else None)
    return tally


def _plan_of(scorer: StreamScorer) -> dict[str, Any]:
    """Everything that the written scores depend on."""
    import pandas
    import torch

    from vae_anomaly import __version__
    from vae_anomaly.io import pieces as sizes
    from vae_anomaly.io.model_file import model_digest

    source, detector = scorer.source, scorer.detector
    files = [(name, Path(name).stat()) for name in scorer.dataset.files]
    known = [[name, found.st_size, found.st_mtime_ns] for name, found in files]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.vae")
        detector.save(path)
        digest = model_digest(path)
    return {
        "model": digest,
        "input": known if source.is_rereadable else secrets.token_hex(),  # a pipe is never the same input
        "options": [
            *(source.keep, sorted(source.exclude), scorer.rule, source.reading.options),
            *(scorer.append, scorer.digits),
            str(detector.device_),
        ],
        "versions": [__version__, torch.__version__, pandas.__version__],
        "piece sizes": [sizes.MOST_ROWS, sizes.MOST_CELLS, sizes.MOST_BYTES],
    }


def progress_bar(scorer: StreamScorer, *, quiet: bool) -> AbstractContextManager[None]:
    """Bar of the bytes read, if a person watches."""
    from vae_anomaly.io.dataset import reading_bar

    return reading_bar(scorer.dataset, shown=bool(wants_progress(quiet=quiet)))
