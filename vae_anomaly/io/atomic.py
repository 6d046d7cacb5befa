"""Output files appear whole or not at all, and one process at a time may claim a name."""

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from os import PathLike
from pathlib import Path

from vae_anomaly.errors import OutputError

_PERMISSIONS = 0o777
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_LONG = 200  # bytes of a name; a disk takes 255


class DiskFullError(OutputError):
    """There is no room for an output."""


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[Path]:
    """
    Give a private temporary path beside ``path``, which takes its place once the block has ended without an error.

    An old file keeps its mode, and stays as it is where the block fails; a link stays a link. What is no regular file
    (``/dev/stdout``, a pipe) is written directly.

    Raises
    ------
    OutputError
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


@contextmanager
def claimed(path: str | PathLike[str], busy: str) -> Iterator[None]:
    """
    Keep others from claiming ``path`` while the block runs, and remove what a killed writer of it has left behind.

    The claim is a lock on a file beside it, and ends with the process, however that ends. Where the disk knows no locks
    nobody is kept out.

    Parameters
    ----------
    path : path-like
        A file, which need not exist. What is no regular file cannot be claimed.
    busy : str
        What to say where it is claimed already.

    Raises
    ------
    OutputError
        If it is claimed already, or the folder is missing, or must not be written to.
    """
    if is_special(Path(path)):
        yield
        return
    target = followed(Path(path))
    lock = target.with_name(f".{_tag(target)}.lock")
    descriptor = _open(lock, os.O_CREAT | os.O_RDWR, target)
    try:
        if _locked(descriptor, lock, busy):
            remove_leftovers(target)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, lock: Path, busy: str) -> bool:
    """Lock an open file, or raise an error if another process has; False where the disk knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), lock.stat()):
            raise BlockingIOError
    except (BlockingIOError, FileNotFoundError) as error:  # the latter: who held the claim is just giving it up
        raise OutputError(busy) from error
    except OSError:
        return False
    return True


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of writers of ``path``, all of which have ended."""
    for temporary in path.parent.glob(f".{escape(_tag(path))}.{'[0-9a-f]' * 24}.tmp"):
        temporary.unlink(missing_ok=True)


def _tag(target: Path) -> str:
    """The name of a file, or its digest where nothing could be added to the name."""
    name = os.fsencode(target.name)
    return target.name if len(name) < _LONG else hashlib.sha256(name).hexdigest()


def mode_for(target: Path) -> int:
    """The mode that a file shall have: that of the old one, or the usual one."""
    probe = _beside(target)
    try:
        return _create(probe, target)
    finally:
        probe.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    """A new name for a temporary file."""
    return target.with_name(f".{_tag(target)}.{secrets.token_hex(12)}.tmp")


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
        raise OutputError(f"Cannot write {str(path)!r}: {error}. Choose another name.") from error
    if is_folder:
        raise OutputError(f"Cannot write {str(path)!r}: it is a folder. Name a file in it.")
    if not has_folder:
        raise OutputError(f"Cannot write {str(path)!r}: there is no folder {str(target.parent)!r}. Create it first.")
    if exists and not os.access(target, os.W_OK):
        raise OutputError(f"Cannot write {str(path)!r}: it is write-protected. Change its permissions, or the name.")
    return target


def _create(temporary: Path, target: Path) -> int:
    """Create the temporary file, readable by its owner alone; give the mode that it shall have in the end."""
    old = stat.S_IMODE(target.stat().st_mode) & _PERMISSIONS if target.exists() else None
    descriptor = _open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, target, 0o666 if old is None else 0o600)
    try:
        usual = stat.S_IMODE(os.fstat(descriptor).st_mode)  # tells the umask without touching it
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    return usual if old is None else old


def _open(path: Path, flags: int, target: Path, mode: int = 0o666) -> int:
    """Open a file beside ``target``, which an error names."""
    try:
        return os.open(path, flags, mode)
    except PermissionError as error:
        message = f"Cannot write {str(target)!r}: no permission to create files in {str(target.parent)!r}."
        raise OutputError(f"{message} Choose another folder.") from error
    except OSError as error:
        raise OutputError(f"Cannot write {str(target)!r}: {error.strerror}. Choose another place.") from error


def settle(temporary: Path, mode: int) -> None:
    """Set the final mode, and have the content on the disk before the name points at it."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
