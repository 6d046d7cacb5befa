"""A table that need not fit in memory: its rows as frames, one after the other, as often as they are asked for."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any, Protocol, Self

import pandas as pd

from vae_anomaly.data.parse import as_frame, is_frame
from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError, RowError
from vae_anomaly.io.read import FilesSource

Name = str | int
Frames = Callable[[], Iterable[Any]] | Sequence[Any]
Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass(frozen=True, eq=False)
class Piece:
    """
    Some rows of a table.

    Attributes
    ----------
    frame
        The rows; their index are their positions in the whole table.
    file
        Of which file they are, where they are of one.
    first
        Position of the first row in that file.
    """

    frame: pd.DataFrame
    file: str | None = None
    first: int = 0

    @contextmanager
    def counting_rows(self) -> Iterator[None]:
        """Have errors that tell of a row of the frame tell of the row of the file."""
        try:
            yield
        except RowError as error:
            raise error.moved(self.first, self.file) from error


class Source(Protocol):
    """Where the rows of a dataset come from."""

    @property
    def files(self) -> list[str]:
        """Names of the files, where there are any."""

    @property
    def n_bytes(self) -> int | None:
        """Bytes of all files, where they are known."""

    @property
    def bytes_read(self) -> int:
        """Bytes read in the present pass."""

    @property
    def columns(self) -> list[Name]:
        """Names of the columns."""

    def rows(self, only: Collection[Name] | None) -> Iterator[tuple[pd.DataFrame, str | None]]:
        """Frames with the columns asked for, all of them by default, each with the name of its file."""

    def as_fitted(self, schema: Schema, keep: Collection[Name], without: Collection[Name]) -> "Source":
        """The source with its columns, without some, read for what a schema takes them for, and with those to keep."""


class Dataset:
    """
    Rows of a table, in pieces.

    Iterating gives pandas frames in the order of the rows; each has the positions of its rows in the whole table as its
    index. It can be iterated more than once, and holds one piece at a time. `VAEDetector.fit` takes it as it is.

    A column of text files (CSV) has one type, as if all files had been read at once: one pass finds it out before the
    first piece is given. `as_fitted` needs none. Parquet says its types itself.

    Parameters
    ----------
    source
        A file, a folder of tables, a pattern such as ``"logs/*.parquet"``, a list of files, or "-" for standard input.
        Files have the same columns, in whatever order; those of a folder and of a pattern come in the order of their
        names, ``part-2`` before ``part-10``, and what begins with a dot or an underscore is no data.
        Or a frame, a list of frames, or a function without parameters that gives an iterator of frames, anew on each
        call.
    encoding
        Encoding of text that has no byte-order mark.

    Attributes
    ----------
    columns
        Names of the columns.
    files
        Names of the files, none where there are frames.
    n_bytes
        Bytes of all files on the disk, where they are known.
    bytes_read
        How many of them have been read in the iteration that was begun last.
    rows_read
        Rows of the pieces that this iteration has been through.

    Raises
    ------
    DataError
        If a file is missing or damaged, has other columns than the first, or no rows are there: says which and where.

    Examples
    --------
    >>> import pandas as pd
    >>> pass
    >>> [len(piece) for piece in Dataset([pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [3]})])]
    [2, 1]
    """

    def __init__(self, source: Paths | Frames, *, encoding: str = "utf-8") -> None:
        self._source: Source = FilesSource(source, encoding) if _are_paths(source) else _FramesSource(_many(source))
        self._without: frozenset[Name] = frozenset()
        self.rows_read = 0
        self._starts: list[tuple[int, str | None]] = []  # where each file begins, in the order of the rows

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Frames in the order of the rows."""
        return (piece.frame for piece in self.pieces())

    def pieces(self) -> Iterator[Piece]:
        """Frames in the order of the rows, each with its place in its file."""
        first, starts = 0, dict.fromkeys([None, *self.files], 0)
        self._starts = []
        only = self.columns if self._without else None
        for frame, file in self._source.rows(only):
            if len(frame):
                if not starts[file]:
                    self._starts.append((first, file))
                yield Piece(frame.set_axis(pd.RangeIndex(first, first + len(frame))), file, starts[file])
                first += len(frame)
                self.rows_read = first
                starts[file] += len(frame)

    def located(self, error: RowError) -> RowError:
        """An error in a row that was read, its row counted in its file where there are several."""
        before = [start for start in self._starts if start[0] <= error.row]
        return error.moved(-before[-1][0], before[-1][1]) if len(self.files) > 1 else error

    def without(self, columns: Collection[Name]) -> Self:
        """The same rows without these columns."""
        return self._changed(_without=self._without | set(columns))

    def as_fitted(self, schema: Schema, *, keep: Collection[Name] = ()) -> Self:
        """
        The same rows with the columns that a schema has, read for what it takes them for, and those to keep beside.

        No pass over text files comes first, unless a column that is kept is one of numbers, or a category has numbers
        for levels. Columns kept from text files that the schema does not have are text, as it stands there.

        Parameters
        ----------
        schema
            Of a detector, `VAEDetector.schema_`.
        keep
            Further columns, whether `without` left them out or not.

        Raises
        ------
        DataError
            If the table lacks a column of the schema.
        """
        return self._changed(_source=self._source.as_fitted(schema, keep, self._without), _without=frozenset())

    @property
    def columns(self) -> list[Name]:
        """Names of the columns."""
        return [name for name in self._source.columns if name not in self._without]

    @property
    def files(self) -> list[str]:
        """Names of the files."""
        return self._source.files

    @property
    def n_bytes(self) -> int | None:
        """Bytes of all files on the disk, None where they are not known."""
        return self._source.n_bytes

    @property
    def bytes_read(self) -> int:
        """Bytes that the present iteration has read."""
        return self._source.bytes_read

    def _changed(self, **parts: Any) -> Self:
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__ | parts)
        return changed


class _FramesSource:
    """Frames that are given."""

    n_bytes = None
    bytes_read = 0

    def __init__(self, frames: Any) -> None:
        self._frames = frames
        self.files: list[str] = []

    @property
    def columns(self) -> list[Name]:
        return next((list(frame.columns) for frame, _ in self.rows(None)), [])

    def rows(self, only: Collection[Name] | None) -> Iterator[tuple[pd.DataFrame, str | None]]:
        for table in self._frames() if callable(self._frames) else self._frames:
            frame = as_frame(table)
            yield (frame if only is None else frame[[name for name in frame if name in only]]), None

    def as_fitted(self, schema: Schema, keep: Collection[Name], without: Collection[Name]) -> "_FramesSource":
        chosen = {*schema.choose([name for name in self.columns if name not in without]), *keep}
        columns = [name for name in self.columns if name in chosen]
        return _FramesSource(lambda: (frame for frame, _ in self.rows(columns)))  # they have their types


def _are_paths(source: Any) -> bool:
    if isinstance(source, Sequence) and not isinstance(source, str):
        return len(source) > 0 and all(isinstance(part, str | PathLike) for part in source)
    return isinstance(source, str | PathLike)


def _many(source: Any) -> Any:
    """Frames that can be gone through more than once."""
    if callable(source) or isinstance(source, Sequence):
        return source
    if is_frame(source):
        return [source]
    kind = type(source).__name__
    raise DataError(
        f"A dataset is read more than once: give a list of frames, or a function that gives them, no {kind}."
    )


@contextmanager
def reading_bar(dataset: Dataset, *, shown: bool) -> Iterator[None]:
    """Draw on standard error, if that is a terminal, how many bytes were read; rows, where bytes are not known."""
    if not shown:
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    class Bar(Progress):
        """Asks the data set whenever it is drawn: a pass that finds out types gives no pieces."""

        def get_renderables(self) -> Any:
            for task in self.tasks:
                self.update(task.id, completed=dataset.bytes_read, rows=f"{dataset.rows_read:,} rows")
            return super().get_renderables()

    by_bytes = dataset.n_bytes is not None
    told = [DownloadColumn(), TimeRemainingColumn()] if by_bytes else [TextColumn("{task.fields[rows]}")]
    columns = [TextColumn("reading"), BarColumn(), *told]
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with Bar(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        bar.add_task("reading", total=dataset.n_bytes, rows="")
        yield
