"""Datasets: tables that need not fit in memory, read as many pandas frames in order, as many times as needed."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, Self

import pandas as pd

from vae_anomaly.data.parse import as_frame, is_frame
from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError, RowError
from vae_anomaly.io.pieces import Piece
from vae_anomaly.io.read import FileFacts, FilesSource, Rows
from vae_anomaly.io.source import FileOptions

Name = str | int
Frames = Callable[[], Iterable[Any]] | Sequence[Any]
Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


class Dataset:
    """
    Rows of a table, in pieces.

    Iterating gives pandas frames in the order of the rows. The index of each frame is the position of its rows in the
    whole table. A dataset can be iterated several times and holds one piece in memory at a time. `VAEDetector.fit` and
    the other methods of a detector take it as a table.

    A column of text files (CSV) has the type that it would have if all files were read at once. The first iteration
    reads the files twice to find these types. `as_fitted` does not need that, nor does Parquet.

    Parameters
    ----------
    source
        A file, a folder of tables, a pattern such as ``"logs/*.parquet"``, a list of files, the URL of a database, or
        "-" for standard input.
        All files must have the same columns, in any order. The files of a folder or a pattern are sorted by name,
        ``part-2`` before ``part-10``; names that begin with a dot or an underscore are ignored.
        Alternatively a frame, a list of frames, or a function without parameters that returns a new iterator of frames
        on each call.
    encoding
        Encoding of text that has no byte-order mark.
    missing
        Texts in files that mark a missing cell, such as ``"?"``, besides those of `pandas.read_csv`. In frames, replace
        them by NaN.
    table, query, decimal, thousands, day_first
        As in `read_table`.

    Attributes
    ----------
    columns
        Column names.
    files
        File names; empty for frames.
    n_bytes
        Size of all files on the disk, None if it is not known.
    bytes_read
        Bytes of them that the latest iteration has read.
    rows_read
        Rows that the latest iteration has given.

    Raises
    ------
    DataError
        If a file is missing or damaged, has other columns than the first, or there are no rows. The message names the
        file and the line.

    Examples
    --------
    >>> import pandas as pd
    >>> from vae_anomaly import Dataset
    >>> [len(piece) for piece in Dataset([pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [3]})])]
    [2, 1]
    """

    def __init__(
        self,
        source: Paths | Frames,
        *,
        encoding: str = "utf-8",
        missing: str | Sequence[str] = (),
        table: str | None = None,
        query: str | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        day_first: bool | None = None,
    ) -> None:
        self._source: RowSource
        options = FileOptions.of(
            encoding=encoding,
            missing=missing,
            table=table,
            query=query,
            decimal=decimal,
            thousands=thousands,
            day_first=day_first,
        )
        if _are_paths(source):
            self._source = FilesSource(source, options)
        elif missing:
            raise DataError(f"Markers of missing cells ({missing!r}) apply to files. In frames, replace them by NaN.")
        elif options != FileOptions(encoding=encoding):
            raise DataError("table, query, decimal, thousands and day_first apply to files. Leave them out.")
        else:
            self._source = FramesSource(source)
        self._without: frozenset[Name] = frozenset()
        self._first = 0  # position of the first row
        self.rows_read = 0
        self._starts: list[tuple[int, str | None]] = []  # position of each file's first row, and the file's name

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Frames in the order of the rows."""
        return (piece.frame for piece in self.pieces())

    def pieces(self) -> Iterator[Piece]:
        """Frames in the order of the rows, each with its position in its file."""
        first, n_in_file = self._first, dict.fromkeys([None, *self.files], 0)
        self._starts = []
        only = self.columns if self._without else None
        for frame, kept, file in self._source.rows(only):
            if len(frame):
                if not n_in_file[file]:
                    self._starts.append((first, file))
                yield Piece(frame.set_axis(pd.RangeIndex(first, first + len(frame))), file, n_in_file[file], kept)
                first += len(frame)
                self.rows_read = first - self._first
                n_in_file[file] += len(frame)

    def located(self, error: RowError) -> RowError:
        """The error with the file and the row in that file, if there are several files."""
        before = [start for start in self._starts if start[0] <= error.row]
        return error.moved(-before[-1][0], before[-1][1]) if len(self.files) > 1 else error

    def file(self, number: int, first: int = 0) -> Self:
        """One of the files, whose rows begin at position ``first`` of the table; read as `settle` knows it."""
        return self._changed(_source=self._files.alone(number), _first=first, _starts=[])

    def facts(self) -> FileFacts:
        """What the file holds, for a data set of one file; another process can find it out."""
        return self._files.facts()

    def settle(self, facts: Sequence[FileFacts]) -> None:
        """Take types and notation from the facts of all files, in their order, in place of a pass over the rows."""
        self._files.settle(facts)

    @property
    def _files(self) -> FilesSource:
        if not isinstance(self._source, FilesSource) or not all(Path(name).is_file() for name in self.files or [""]):
            raise DataError("Only files can be read side by side, not standard input, a database or frames in memory.")
        return self._source

    def without(self, columns: Collection[Name]) -> Self:
        """The same rows without these columns."""
        return self._changed(_without=self._without | set(columns))

    def as_fitted(self, schema: Schema, *, keep: Collection[Name] = ()) -> Self:
        """
        The same rows, restricted to the columns of a fitted detector and read with the types of the fit.

        Text files are then read once. Kept columns that the schema does not have are read as text, and `Piece.kept` has
        all kept columns as they stand in the file.

        Parameters
        ----------
        schema
            The detector's `VAEDetector.schema_`.
        keep
            Further columns to read, even if `without` left them out.

        Raises
        ------
        DataError
            If the table lacks a column of the schema.
        """
        return self._changed(_source=self._source.as_fitted(schema, keep, self._without), _without=frozenset())

    @property
    def columns(self) -> list[Name]:
        """Column names."""
        return [name for name in self._source.columns if name not in self._without]

    @property
    def files(self) -> list[str]:
        """File names; empty for frames."""
        return self._source.files

    @property
    def n_bytes(self) -> int | None:
        """Size of all files on the disk, None if it is not known."""
        return self._source.n_bytes

    @property
    def bytes_read(self) -> int:
        """Bytes that the latest iteration has read."""
        return self._source.bytes_read

    def _changed(self, **parts: Any) -> Self:
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__ | parts)
        return changed


class RowSource(Protocol):
    """Where the rows of a dataset come from: `FilesSource` or `FramesSource`."""

    @property
    def files(self) -> list[str]:
        """File names; empty for frames."""

    @property
    def n_bytes(self) -> int | None:
        """Size of all files, None if it is not known."""

    @property
    def bytes_read(self) -> int:
        """Bytes that the latest iteration has read."""

    @property
    def columns(self) -> list[Name]:
        """Column names."""

    def rows(self, only: Collection[Name] | None) -> Rows:
        """Frames with some columns, by default all; the columns to keep; the name of the file."""

    def as_fitted(self, schema: Schema, keep: Collection[Name], without: Collection[Name]) -> "RowSource":
        """The source with the columns of a schema, except those in ``without``, and those in ``keep``."""


class FramesSource:
    """One frame, a list of frames, or a function that returns an iterator of frames."""

    n_bytes = None
    bytes_read = 0

    def __init__(self, frames: Any, keep: Collection[Name] = ()) -> None:
        is_repeatable = callable(frames) or isinstance(frames, Sequence)
        if not is_repeatable and not is_frame(frames):
            kind = type(frames).__name__
            raise DataError(
                f"A dataset is read more than once: give a list of frames, or a function that returns them, not {kind}."
            )
        self._frames = frames if is_repeatable else [frames]
        self._keep = keep
        self.files: list[str] = []

    @property
    def columns(self) -> list[Name]:
        """Columns of the first frame."""
        return next((list(frame.columns) for frame, *_ in self.rows(None)), [])

    def rows(self, only: Collection[Name] | None) -> Rows:
        """Frames with some columns, by default all."""
        for table in self._frames() if callable(self._frames) else self._frames:
            frame = as_frame(table)
            chosen = frame if only is None else frame[[name for name in frame if name in only]]
            yield chosen, frame[[name for name in frame if name in self._keep]], None

    def as_fitted(self, schema: Schema, keep: Collection[Name], without: Collection[Name]) -> "FramesSource":
        """The frames with the columns of a schema, except those in ``without``, and those in ``keep``."""
        chosen = {*schema.choose([name for name in self.columns if name not in without]), *keep}
        columns = [name for name in self.columns if name in chosen]
        return FramesSource(lambda: (frame for frame, *_ in self.rows(columns)), keep)  # a frame has its types already


def _are_paths(source: Any) -> bool:
    if isinstance(source, Sequence) and not isinstance(source, str):
        return len(source) > 0 and all(isinstance(part, str | PathLike) for part in source)
    return isinstance(source, str | PathLike)


@contextmanager
def reading_bar(dataset: Dataset, *, shown: bool) -> Iterator[None]:
    """Within it, a progress bar on standard error, if that is a terminal; counts rows if the bytes are not known."""
    if not shown:
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    class Bar(Progress):
        """Asks the dataset at each refresh, because the pass that infers column types gives no pieces to count."""

        def get_renderables(self) -> Any:
            for task in self.tasks:
                self.update(task.id, completed=dataset.bytes_read, rows=f"{dataset.rows_read:,} rows")
            return super().get_renderables()

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    is_known = dataset.n_bytes is not None
    counts = [DownloadColumn(), TimeRemainingColumn()] if is_known else [TextColumn("{task.fields[rows]}")]
    bar = Bar(TextColumn("reading"), BarColumn(), *counts, console=console, transient=True, refresh_per_second=4)
    with bar:
        bar.add_task("reading", total=dataset.n_bytes, rows="")
        yield
