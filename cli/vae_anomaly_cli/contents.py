"""Whether FILE holds images or a table: told by what it is, how it begins, and at last by its suffix."""

import gzip
import zlib
from contextlib import suppress
from pathlib import Path

_GZIP = b"\x1f\x8b"
_IDX = tuple(bytes([0, 0, kind]) for kind in range(0x08, 0x0F))
_PICTURE = (b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")  # no text begins like these


def holds_images(source: str) -> bool:
    """Whether ``source`` is a folder of no tables, an IDX file (gzip is looked into) or an image; "-" is a table."""
    from vae_anomaly.images.decoding import SUFFIXES

    path = Path(source)
    if source == "-":
        return False
    return (
        (path.is_dir() and not _is_folder_of_tables(path))
        or path.suffix.lower() in SUFFIXES
        or _beginning(path).startswith(_IDX + _PICTURE)
    )


def _is_folder_of_tables(folder: Path) -> bool:
    """Whether there are tables in a folder, and no images in it or below."""
    from vae_anomaly.images.decoding import SUFFIXES
    from vae_anomaly.io.read import holds_tables

    return holds_tables(folder) and not any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def _beginning(path: Path) -> bytes:
    """First bytes of a file, unpacked; none of a pipe, which could not be read again, or of what cannot be read."""
    if not path.is_file():
        return b""
    with suppress(OSError, EOFError, zlib.error), path.open("rb") as file:
        if file.read(2) != _GZIP:
            file.seek(0)
            return file.read(8)
        file.seek(0)
        return gzip.GzipFile(fileobj=file).read(8)
    return b""
