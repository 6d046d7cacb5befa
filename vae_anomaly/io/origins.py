"""Where a table's bytes come from: opened from their beginning as often as they are asked for, and unpacked."""

import gzip
import io
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from weakref import finalize

import pyarrow as pa

from vae_anomaly.errors import DataError

STANDARD_INPUT = "-"
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_MAGIC = 4  # bytes that tell what follows
_BUFFER = 2**18
_REPLAYED = 2**25  # bytes of a pipe that can be read again: as many as tell what it holds


class Origin(Protocol):
    """Bytes under a name."""

    name: str

    @property
    def size(self) -> int | None:
        """How many bytes there are, where that is known beforehand."""

    @property
    def lasts(self) -> bool:
        """Whether the bytes can be read again after they have been read."""

    def opened(self) -> BinaryIO:
        """A stream from the beginning, to be closed."""


class StoredFile:
    """A file."""

    lasts = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = repr(str(path))

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size

    def opened(self) -> BinaryIO:
        """The file, open."""
        try:
            return self.path.open("rb")
        except FileNotFoundError as error:
            raise DataError(f"There is no file {self.name}. Check the name and the folder.") from error
        except IsADirectoryError as error:
            raise DataError(f"{self.name} is a folder. Name a file in it.") from error
        except PermissionError as error:
            raise DataError(f"No permission to read {self.name}. Change its permissions.") from error
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
            raise DataError(f"Cannot read {self.name}: {getattr(error, 'strerror', None) or error}.") from error


class Kept:
    """What came once and was kept: in memory, or in a temporary file without a name."""

    lasts = True

    def __init__(self, stream: Any, name: str, size: int | None = None) -> None:
        self.stream = stream
        self.name = name
        self.size = size

    def opened(self) -> BinaryIO:
        """The stream, from its beginning; closing it leaves what was kept."""
        return io.BufferedReader(_Reading(self.stream), _BUFFER)


class Pipe:
    """
    What comes once and is not kept, so that it may be longer than any disk.

    As long as no more than its first bytes were read, they can be read again: enough to see what it holds.
    """

    lasts = False
    size = None

    def __init__(self, stream: Any, name: str) -> None:
        self.stream = stream
        self.name = name
        self.head = bytearray()
        self.taken = 0

    def opened(self) -> BinaryIO:
        """The stream, from its beginning."""
        if self.taken > len(self.head):
            raise DataError(f"{self.name} was read already and comes only once. Write it to a file.")
        return io.BufferedReader(_Replay(self), _BUFFER)


class _Reading(io.RawIOBase):
    """The bytes of another stream, which stays open, from a place of its own: several may read it by turns."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        self.stream.seek(self.place)
        self.place = self.stream.seek(place, whence)
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        self.stream.seek(self.place)
        block = self.stream.read(len(buffer))
        buffer[: len(block)] = block
        self.place += len(block)
        return len(block)


class _Replay(io.RawIOBase):
    """The head of a pipe, and then what follows it."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.place = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        block = bytes(self.pipe.head[self.place : self.place + len(buffer)]) or self._next(len(buffer))
        buffer[: len(block)] = block
        self.place += len(block)
        return len(block)

    def _next(self, most: int) -> bytes:
        block: bytes = self.pipe.stream.read(most)
        self.pipe.taken += len(block)
        if self.pipe.taken <= _REPLAYED:
            self.pipe.head += block
        return block


def origin_of(source: str | PathLike[str]) -> Origin:
    """A file, or what standard input or a pipe brings."""
    if source == STANDARD_INPUT:
        return Pipe(sys.stdin.buffer, "Standard input")
    stored = StoredFile(Path(source))
    stream = stored.opened()
    if stream.seekable():
        stream.close()
        return stored
    pipe = Pipe(stream, stored.name)
    finalize(pipe, stream.close)
    return pipe


def in_memory(origin: Origin) -> Origin:
    """An origin that lasts: what a pipe brings is read into memory."""
    if origin.lasts:
        return origin
    with origin.opened() as stream:
        content = stream.read()
    return Kept(io.BytesIO(content), origin.name, len(content))


def on_disk(origin: Origin) -> Origin:
    """An origin that lasts: what a pipe brings is copied into a temporary file, which is gone when it is closed."""
    if origin.lasts:
        return origin
    with origin.opened() as stream:
        return _copied(stream, origin.name)


def seekable(origin: Origin) -> Origin:
    """The origin as it is where its bytes can be read at any place, else a copy of them that can."""
    with origin.opened() as stream:
        compression = _compression(stream)
        if compression is None and origin.lasts:
            return origin
        with unpacking(origin) as content:
            return _copied(content, origin.name)


def _copied(stream: BinaryIO, name: str) -> Origin:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (it is closed with the origin that holds it)
    shutil.copyfileobj(stream, copy, _BUFFER)
    kept = Kept(copy, name, copy.tell())
    finalize(kept, copy.close)
    return kept


def beginning(origin: Origin) -> bytes:
    """The first bytes, unpacked."""
    with unpacking(origin) as stream:
        return stream.read(_MAGIC)


@dataclass
class Progress:
    """How many bytes of a source, as they are stored, have been read: of its earlier files, and of the present one."""

    before: int = 0
    here: int = 0

    @property
    def n_bytes(self) -> int:
        """Bytes read."""
        return self.before + self.here

    def next_file(self) -> None:
        """Count on, in another file."""
        self.before, self.here = self.n_bytes, 0


@contextmanager
def unpacking(
    origin: Origin, progress: Progress | None = None, *, is_text: bool = False
) -> Iterator[io.BufferedReader]:
    """Bytes from the beginning, unpacked; what does not decompress, and a NUL byte in text, is a DataError."""
    with origin.opened() as stored:
        raw = _Unpacked(stored, origin.name, progress or Progress(), is_text=is_text)
        yield io.BufferedReader(raw, _BUFFER)


def _compression(stream: Any) -> str | None:
    head = stream.peek(_MAGIC)[:_MAGIC]
    return next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), None)


def _decompressing(stream: BinaryIO, compression: str | None) -> Any:
    match compression:
        case "gzip":
            return gzip.GzipFile(fileobj=stream, mode="rb")
        case "zstd":
            return pa.CompressedInputStream(stream, compression)
    return stream


class _Unpacked(io.RawIOBase):
    """Bytes as they come out of their compression; progress is told of."""

    def __init__(self, stored: Any, name: str, progress: Progress, *, is_text: bool) -> None:
        self.stored = stored
        self.compression = _compression(stored)
        self.stream = _decompressing(stored, self.compression)
        self.name = name
        self.progress = progress
        self.is_text = is_text
        self.n_bytes = self.n_lines = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.n_bytes

    def readinto(self, buffer: Any) -> int:
        try:
            block = self.stream.read(len(buffer))
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            if self.compression is None:
                raise
            kind = self.compression
            raise DataError(f"{self.name} is damaged or cut short: it does not decompress ({kind}).") from error
        if self.is_text:
            self._refuse_nul(block)
        buffer[: len(block)] = block
        self.n_bytes += len(block)
        self.progress.here = self.stored.tell()
        return len(block)

    def _refuse_nul(self, block: bytes) -> None:
        place = block.find(b"\0")
        if place >= 0:
            line = 1 + self.n_lines + block.count(b"\n", 0, place)
            raise DataError(f"{self.name} is no text: line {line} has a NUL byte. Give CSV or Parquet.")
        self.n_lines += block.count(b"\n")


MOST_ROWS = 2**16


MOST_CELLS = 2**23  # 64 MB as float64; fewer, and 10,000 columns cost pandas more than their cells do


MOST_BYTES = 2**26  # of a file's own


def rows_a_piece(n_columns: int, row_bytes: int) -> int:
    """
    Rows to read at a time, of so many columns and of so many bytes each.

    A power of two: rows are then scored in the same company as those of the whole table, and alike to the last bit.
    """
    most = max(1, min(MOST_ROWS, MOST_CELLS // max(1, n_columns), MOST_BYTES // max(1, row_bytes)))
    return 1 << (most.bit_length() - 1)
