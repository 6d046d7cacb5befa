"""Where a table's bytes come from: a file, standard input or a pipe, opened and decompressed."""

import bz2
import gzip
import io
import lzma
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from weakref import finalize

import pyarrow as pa

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted, listed_names
from vae_anomaly.io.pieces import Progress

STANDARD_INPUT = "-"
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\0": "xz", b"PK\x03\x04": "zip"}
_OFFICE = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"xl/", b"mimetype")  # first files of a spreadsheet
_MAGIC = 64  # bytes that identify a compression or a format
_BUFFER = 2**18
_REPLAYED = 2**25  # bytes of a pipe that can be read again: enough to find out what it holds


@dataclass(frozen=True)
class FileOptions:
    """
    What a user says about a file; None for what is found out.

    Parameters
    ----------
    encoding
        Encoding of text without a byte-order mark.
    missing
        Texts that mark a missing cell.
    table
        Sheet, or table of a database.
    query
        Query of a database.
    decimal, thousands
        Signs of numbers: the decimal sign, and the one between thousands.
    day_first
        Whether 03/04/2024 is in April.
    """

    encoding: str = "utf-8"
    missing: tuple[str, ...] = ()
    table: str | None = None
    query: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    day_first: bool | None = None

    @property
    def of_text(self) -> list[str]:
        """Options that are given and apply to text alone."""
        given = {
            "--decimal (decimal=)": self.decimal,
            "--thousands (thousands=)": self.thousands,
            "--dayfirst (day_first=)": self.day_first,
        }
        return [option for option, value in given.items() if value is not None]

    @classmethod
    def of(cls, *, missing: str | Sequence[str] = (), **others: Any) -> "FileOptions":
        """Options as users give them; a DataError if a sign is none."""
        options = cls(missing=(missing,) if isinstance(missing, str) else tuple(missing), **others)
        if options.table is not None and options.query is not None:
            raise DataError("--table (table=) and --query (query=) exclude one another. Leave out one.")
        if options.decimal not in (None, ".", ","):
            raise DataError(f"The decimal sign is '.' or ',', not {options.decimal!r}.")
        sign = options.thousands
        if sign is not None and (len(sign) != 1 or sign.isalnum() or sign in "+-%"):
            raise DataError(
                f"The sign between thousands is one such as ',', '.', a space or an apostrophe, not {sign!r}."
            )
        if sign is not None and sign == options.decimal:
            raise DataError(f"{sign!r} cannot be both the decimal sign and the one between thousands.")
        return options


class ByteSource(Protocol):
    """Bytes with a name."""

    name: str

    @property
    def size(self) -> int | None:
        """Number of bytes, if it is known before reading."""

    @property
    def is_repeatable(self) -> bool:
        """Whether all bytes can be read more than once."""

    def opened(self) -> BinaryIO:
        """Stream from the beginning, to be closed by the caller."""


def byte_source(source: str | PathLike[str]) -> ByteSource:
    """Source of a file, a pipe, or standard input ("-")."""
    if source == STANDARD_INPUT:
        if sys.stdin is None:  # as after `<&-` in a shell
            raise DataError("Standard input is closed. Name a file, or pipe the table in.")
        return Pipe(sys.stdin.buffer, "Standard input")
    stored = StoredFile(Path(source))
    stream = stored.opened()
    if stream.seekable():
        stream.close()
        return stored
    pipe = Pipe(stream, stored.name)
    finalize(pipe, stream.close)
    return pipe


def kept_in_memory(source: ByteSource) -> ByteSource:
    """The source if it is repeatable, otherwise its bytes in memory."""
    if source.is_repeatable:
        return source
    with source.opened() as stream:
        content = stream.read()
    return KeptStream(io.BytesIO(content), source.name, len(content))


def kept_on_disk(source: ByteSource) -> ByteSource:
    """The source if it is repeatable, otherwise its bytes in a temporary file."""
    if source.is_repeatable:
        return source
    with source.opened() as stream:
        return _temporary_copy(stream, source.name)


def seekable(source: ByteSource) -> ByteSource:
    """The source if it is repeatable and not compressed, otherwise its decompressed bytes in a temporary file."""
    with source.opened() as stream:
        if source.is_repeatable and compression_of(stream) is None:
            return source
    with decompressed(source) as content:
        return _temporary_copy(content, source.name)


def first_bytes(source: ByteSource) -> bytes:
    """The first 64 bytes after decompression."""
    with decompressed(source) as stream:
        return stream.read(_MAGIC)


@contextmanager
def decompressed(
    source: ByteSource, progress: Progress | None = None, *, is_text: bool = False
) -> Iterator[io.BufferedReader]:
    """
    Decompressed bytes from the beginning.

    Raises
    ------
    DataError
        If the bytes cannot be decompressed, or a text has a NUL byte.
    """
    with source.opened() as stored:
        raw = _Decompressed(stored, source.name, progress or Progress(), is_text=is_text)
        yield io.BufferedReader(raw, _BUFFER)


def unpacked_size(source: "StoredFile", most: int) -> int:
    """Number of bytes after decompression, or as many as show that it is more than ``most``; also of a spreadsheet."""
    with source.path.open("rb") as stored:
        if stored.peek(4).startswith(b"PK\x03\x04"):
            with suppress(zipfile.BadZipFile), zipfile.ZipFile(stored) as archive:
                return sum(member.file_size for member in archive.infolist())
        if compression_of(stored) is None:
            return source.size
    size, at_once = 0, 2**20
    with decompressed(source) as stream:
        while size <= most and (block := stream.read(at_once)):
            size += len(block)
    return size


class StoredFile:
    """A file on the disk."""

    is_repeatable = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = repr(str(path))

    @property
    def size(self) -> int:
        """Number of bytes on the disk."""
        return self.path.stat().st_size

    def opened(self) -> BinaryIO:
        """The opened file; DataError if it cannot be opened."""
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


class KeptStream:
    """Bytes of a pipe, kept in memory or in an unnamed temporary file."""

    is_repeatable = True

    def __init__(self, stream: Any, name: str, size: int) -> None:
        self.stream = stream
        self.name = name
        self.size = size

    def opened(self) -> BinaryIO:
        """Stream from the beginning; closing it does not close the kept one."""
        return io.BufferedReader(_IndependentReader(self.stream), _BUFFER)


class Pipe:
    """
    A stream that can be read once, and is not kept, because it can be longer than the disk.

    Its first 32 MiB can be read again as long as no more were read: enough to find out what it holds.
    """

    is_repeatable = False
    size = None

    def __init__(self, stream: Any, name: str) -> None:
        self.stream = stream
        self.name = name
        self.head = bytearray()
        self.n_read = 0

    def opened(self) -> BinaryIO:
        """Stream from the beginning; DataError if more than the head was read before."""
        if self.n_read > len(self.head):
            raise DataError(f"{self.name} was read already and can be read only once. Write it to a file.")
        return io.BufferedReader(_PipeReader(self), _BUFFER)


def _temporary_copy(stream: BinaryIO, name: str) -> KeptStream:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (closed together with the source)
    shutil.copyfileobj(stream, copy, _BUFFER)
    kept = KeptStream(copy, name, copy.tell())
    finalize(kept, copy.close)
    return kept


def compression_of(stream: Any) -> str | None:
    """Name of the compression that the first bytes show, None if there is none."""
    head = stream.peek(_MAGIC)[:_MAGIC]
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "bzip2"
    if head.startswith(b"PK\x03\x04") and head[30:].startswith(_OFFICE):
        return None
    return next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), None)


class Reader(io.RawIOBase):
    """Base of the streams below: reads blocks and counts bytes."""

    position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes read so far."""
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        block = self.next_block(len(buffer))
        buffer[: len(block)] = block
        self.position += len(block)
        return len(block)

    def next_block(self, size: int) -> bytes:
        """The next bytes, at most ``size``; none at the end."""
        raise NotImplementedError


class _IndependentReader(Reader):
    """Reads a shared stream at a position of its own, and leaves it open."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.stream.seek(self.position)
        self.position = self.stream.seek(offset, whence)
        return self.position

    def next_block(self, size: int) -> bytes:
        self.stream.seek(self.position)
        return bytes(self.stream.read(size))


class _PipeReader(Reader):
    """Reads the head of a pipe, then what follows."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe

    def next_block(self, size: int) -> bytes:
        if block := bytes(self.pipe.head[self.position : self.position + size]):
            return block
        block = self.pipe.stream.read(size)
        self.pipe.n_read += len(block)
        if self.pipe.n_read <= _REPLAYED:
            self.pipe.head += block
        return block


def _only_member(stored: Any, name: str) -> Any:
    """The one file of a zip archive."""
    if not stored.seekable():
        raise DataError(f"{name} is a zip archive, which cannot be read from a pipe. Write it to a file, or use gzip.")
    try:
        archive = zipfile.ZipFile(stored)
        members = [member for member in archive.infolist() if not member.is_dir() and "__MACOSX" not in member.filename]
        if len(members) != 1:
            files = listed_names([member.filename for member in members], 5)
            held = f"{counted(len(members), 'files')}{': ' if files else ''}{files}"
            raise DataError(f"{name} holds {held}. Unpack it and name one.")
        return archive.open(members[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # RuntimeError: it has a password
        raise DataError(f"{name} is a zip archive that cannot be unpacked ({error}). Unpack it yourself.") from error


class _Decompressed(Reader):
    """Reads a compressed stream, refuses NUL bytes in text, and reports progress in stored bytes."""

    def __init__(self, stored: Any, name: str, progress: Progress, *, is_text: bool) -> None:
        self.stored = stored
        self.name = name
        self.progress = progress
        self.is_text = is_text
        self.n_lines = 0
        self.compression = compression_of(stored)
        match self.compression:
            case "gzip":
                self.stream: Any = gzip.GzipFile(fileobj=stored, mode="rb")
            case "zstd":
                self.stream = pa.CompressedInputStream(stored, "zstd")
            case "bzip2":
                self.stream = bz2.BZ2File(stored)
            case "xz":
                self.stream = lzma.LZMAFile(stored)  # noqa: SIM115 (it lives as long as this reader)
            case "zip":
                self.stream = _only_member(stored, name)
            case _:
                self.stream = stored

    def next_block(self, size: int) -> bytes:
        try:
            block: bytes = self.stream.read(size)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException) as error:
            if self.compression is None:
                raise
            fault = f"is damaged or cut short: it cannot be decompressed ({self.compression})"
            raise DataError(f"{self.name} {fault}. Fetch it again.") from error
        if self.is_text:
            if (position := block.find(b"\0")) >= 0:
                line = 1 + self.n_lines + block.count(b"\n", 0, position)
                raise DataError(
                    f"{self.name} is not text: line {line} has a NUL byte. Give a table, or say --encoding utf-16."
                )
            self.n_lines += block.count(b"\n")
        self.progress.here = self.stored.tell()
        return block
