"""Output files appear complete or not at all, and one process at a time may claim a file name."""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from vae_anomaly.errors import OutputError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class DiskFullError(OutputError):
    """There is no space left for an output."""


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[Path]:
    """
    Private temporary path next to ``path``, which replaces it when the block ends without an error.

    An existing file keeps its permissions, and stays unchanged if the block fails. A symbolic link remains a link: the
    file that it leads to is replaced. Devices and pipes (``/dev/stdout``) are written directly. First, what killed
    writers of the file left behind is removed.

    Raises
    ------
    OutputError
        If the folder is missing, the file is write-protected, or the disk is full.
    """
    if is_special(Path(path)):
        yield Path(path)
        return
    target = resolved(Path(path))
    remove_leftovers(target)
    temporary, descriptor, mode = _create(target)
    try:
        yield temporary
        move_into_place(temporary, target, mode)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFullError(f"Cannot write {str(path)!r}: the disk is full. Free some space.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def claimed(path: str | PathLike[str], busy: str) -> Iterator[None]:
    """
    Keep other processes from claiming ``path`` while the block runs, and remove what killed writers of it left behind.

    The claim is a lock on a hidden file next to ``path``. It ends with the process, even if that is killed. On a disk
    without locks, several processes can claim the same file.

    Parameters
    ----------
    path : path-like
        A file, which need not exist. A device or a pipe is not locked.
    busy : str
        Error message if another process has claimed the file.

    Raises
    ------
    OutputError
        If the file is claimed already, or the folder is missing or write-protected.
    """
    if is_special(Path(path)):
        yield
        return
    target = resolved(Path(path))
    lock_file = target.with_name(f".{_tag(target)}.lock")
    while True:
        try:
            descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise refused(target, error) from error
        is_locked = _lock(descriptor)
        if is_locked is not False and _is_at(lock_file, descriptor):
            break
        os.close(descriptor)
        if is_locked is False:
            raise OutputError(busy)
    try:
        remove_leftovers(target)
        yield
    finally:
        lock_file.unlink(missing_ok=True)  # before the release: afterwards it can be the lock of another process
        if is_locked:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also if a forked process has the file open
        os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed writers of ``path`` left behind: those that no process has locked."""
    name = re.compile(rf"\.{re.escape(_tag(path))}\.[0-9a-f]{{24}}\.tmp")
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in [entry for entry in entries if name.fullmatch(entry.name)]:
            with suppress(OSError):
                descriptor = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    if _lock(descriptor):
                        os.unlink(entry.path)
                finally:
                    os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock an open file until it is closed; False if another process has locked it, None on a disk without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return None
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """True if the open file still has this name."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def is_special(path: Path) -> bool:
    """Whether the path is a device or a pipe, which cannot be replaced."""
    in_devices = Path(os.path.abspath(path)).is_relative_to("/dev") and not path.is_relative_to("/dev/shm")
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return in_devices
    return in_devices or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def resolved(path: Path) -> Path:
    """Path of the file to replace, with symbolic links followed; OutputError if it cannot be written."""
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


def final_mode(target: Path) -> int:
    """Permissions of the existing file, or those that the system gives to a new one."""
    probe, descriptor, mode = _create(target)
    probe.unlink(missing_ok=True)
    os.close(descriptor)
    return mode


def move_into_place(temporary: Path, target: Path, mode: int) -> None:
    """Replace ``target`` by a temporary file, after its permissions are set and its content is safely on the disk."""
    descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, target)


def refused(target: Path, error: OSError) -> OutputError:
    """Error for a file that cannot be created in the folder of ``target``."""
    if isinstance(error, PermissionError):
        fault = f"no permission to create files in {str(target.parent)!r}. Choose another folder."
    else:
        fault = f"{error.strerror}. Choose another place."
    return OutputError(f"Cannot write {str(target)!r}: {fault}")


def _create(target: Path) -> tuple[Path, int, int]:
    """Create a temporary file that only its owner can read.

    Returns its path, its descriptor, which locks it, and the permissions that ``target`` is to have.
    """
    old = stat.S_IMODE(target.stat().st_mode) & 0o777 if target.exists() else None
    while True:
        temporary = target.with_name(f".{_tag(target)}.{secrets.token_hex(12)}.tmp")
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        try:
            descriptor = os.open(temporary, flags, 0o666 if old is None else 0o600)
        except OSError as error:
            raise refused(target, error) from error
        if _lock(descriptor) is not False and _is_at(temporary, descriptor):
            break
        os.close(descriptor)  # between the two calls another writer took it for a leftover
    new = stat.S_IMODE(os.fstat(descriptor).st_mode)  # 0o666 without the bits of the umask
    os.fchmod(descriptor, 0o600)
    return temporary, descriptor, new if old is None else old


def _tag(target: Path) -> str:
    """The file's name, or its digest if the name is too long to be extended: file systems allow 255 bytes."""
    name = os.fsencode(target.name)
    return target.name if len(name) < 200 else hashlib.sha256(name).hexdigest()
