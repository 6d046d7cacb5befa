"""Output files appear whole or not at all."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from vae_anomaly.errors import DataError

_PERMISSIONS = 0o777
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class DiskFullError(DataError):
    """There is no room for an output."""


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[Path]:
    """
    Give a private temporary path beside ``path``, which takes its place once the block has ended without an error.

    An old file keeps its mode, and stays as it is where the block fails; a link stays a link. What is no regular file
    (``/dev/stdout``, a pipe) is written directly.

    Raises
    ------
    DataError
        If the folder is missing, or the file must not be written, or the disk is full.
    """
    if is_special(Path(path)):
        yield Path(path)
        return
    target = followed(Path(path))
    temporary = _beside(target)
    try:
        mode = _create(temporary, target)
        yield temporary
        settle(temporary, mode)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFullError(f"Cannot write {str(path)!r}: the disk is full. Free some space.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def mode_for(target: Path) -> int:
    """The mode that a file shall have: that of the old one, or the usual one."""
    probe = _beside(target)
    try:
        return _create(probe, target)
    finally:
        probe.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{secrets.token_hex(12)}.tmp")


def is_special(path: Path) -> bool:
    """Whether it is a device or a pipe, which cannot be replaced."""
    in_devices = Path(os.path.abspath(path)).is_relative_to("/dev") and not path.is_relative_to("/dev/shm")
    try:
        found = path.stat().st_mode
    except (OSError, ValueError):
        return in_devices
    return in_devices or not (stat.S_ISREG(found) or stat.S_ISDIR(found))


def followed(path: Path) -> Path:
    """Follow links, so that it is the file they lead to which is replaced."""
    try:
        target = path.resolve()
        is_folder, has_folder, exists = target.is_dir(), target.parent.is_dir(), target.exists()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a circle of links; ValueError: a NUL byte
        raise DataError(f"Cannot write {str(path)!r}: {error}. Choose another name.") from error
    if is_folder:
        raise DataError(f"Cannot write {str(path)!r}: it is a folder. Name a file in it.")
    if not has_folder:
        raise DataError(f"Cannot write {str(path)!r}: there is no folder {str(target.parent)!r}. Create it first.")
    if exists and not os.access(target, os.W_OK):
        raise DataError(f"Cannot write {str(path)!r}: it is write-protected. Change its permissions, or the name.")
    return target


def _create(temporary: Path, target: Path) -> int:
    """Create the temporary file, readable by its owner alone; give the mode that it shall have in the end."""
    old = stat.S_IMODE(target.stat().st_mode) & _PERMISSIONS if target.exists() else None
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if old is None else 0o600)
    except PermissionError as error:
        message = f"Cannot write {str(target)!r}: no permission to create files in {str(target.parent)!r}."
        raise DataError(f"{message} Choose another folder.") from error
    except OSError as error:
        raise DataError(f"Cannot write {str(target)!r}: {error.strerror}. Choose another place.") from error
    try:
        usual = stat.S_IMODE(os.fstat(descriptor).st_mode)  # tells the umask without touching it
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    return usual if old is None else old


def settle(temporary: Path, mode: int) -> None:
    """Set the final mode, and have the content on the disk before the name points at it."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
