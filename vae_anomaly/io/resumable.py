"""An output that an interrupted run leaves half written, and the same run, begun again, goes on with."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from vae_anomaly.errors import DataError, OutputError
from vae_anomaly.io.atomic import DISK_FULL, DiskFullError, followed, mode_for, settle, whole_file


class PartialFile:
    """
    The part of an output that is written, in a hidden file beside it that its owner alone may read.

    A journal beside it says up to where it is safely on the disk, and in which state the run was then. Only what the
    journal says counts: whatever was written after is cut off when the run goes on.

    Attributes
    ----------
    state
        What the run said of itself when it was last safe; empty at the beginning.
    differs
        In what a run whose part was found here, and given up, is not this one.
    """

    def __init__(self, target: Path, plan: Mapping[str, Any]) -> None:
        self.path = target.with_name(f".{target.name}.partial")
        self.state: dict[str, Any] = {}
        self.differs: list[str] = []
        self.is_finishing = False
        self._journal = target.with_name(f".{target.name}.journal")
        self._target = target
        self._plan = dict(plan)
        self._file = _locked(self.path, target)
        self._resume()

    def write(self, data: bytes) -> None:
        """Add to what is written."""
        self._file.write(data)

    def commit(self, **state: Any) -> None:
        """Have all that was written safely on the disk, and then the journal that says so, with the run's state."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.state = state
        _replace(self._journal, {"plan": self._plan, "size": self._file.tell(), "state": state})

    def finish(self, convert: Callable[[Path, Path], None] | None = None) -> None:
        """Put the output in its place: what was written, or what ``convert`` makes of that file in another one."""
        self.is_finishing = True
        self._file.flush()
        if convert is None:
            settle(self.path, mode_for(self._target))
            os.replace(self.path, self._target)
        else:
            with whole_file(self._target) as path:
                convert(self.path, path)
        self.discard()

    def discard(self) -> None:
        """Leave nothing behind."""
        for path in (self._journal, _new(self._journal), self.path):
            path.unlink(missing_ok=True)

    def close(self, *, stays: bool) -> None:
        """Let others write; the part stays, if it is wanted and any of it is safe."""
        try:
            if not (stays and self.state):
                self.discard()
        finally:
            with suppress(OSError):  # what it cannot write any more is beyond what is safe
                self._file.close()

    def _resume(self) -> None:
        """Go on behind what is safe, if the run that wrote it was this one."""
        found = _read(self._journal)
        kept, plan = found.get("plan", {}), self._plan
        size = found.get("size", 0) if kept == plan else 0
        if 0 < size <= os.fstat(self._file.fileno()).st_size:
            self.state = found["state"]
        else:
            size = 0
            self.differs = [key for key in plan if kept and kept.get(key) != plan[key]]
        self._file.truncate(size)
        self._file.seek(size)


@contextmanager
def partial_file(target: str | PathLike[str], plan: Mapping[str, Any], *, stays: bool = True) -> Iterator[PartialFile]:
    """
    Give the part of ``target`` that a run with the same plan has written, to go on with.

    The part stays where the block is interrupted or the disk is full, unless ``stays`` is False; not where the data is
    at fault, since the same run would fail again. The block ends with `PartialFile.finish`.

    Parameters
    ----------
    plan
        All that the output depends on, in JSON's types.

    Raises
    ------
    DataError
        If the file cannot be written, another run is writing it, or the disk is full.
    """
    partial = PartialFile(followed(Path(target)), json.loads(json.dumps(plan)))
    try:
        yield partial
    except DataError:
        stays = stays and partial.is_finishing
        raise
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        message = f"Cannot write {str(target)!r}: the disk is full. Free some space"
        kept = f", and run the same again: it goes on from {str(partial.path)!r}" if stays and partial.state else ""
        raise DiskFullError(f"{message}{kept}.") from error
    finally:
        partial.close(stays=stays)


def _locked(path: Path, target: Path) -> Any:
    """Open the file, so that no other run does."""
    while True:
        try:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")
        except PermissionError as error:
            message = f"Cannot write {str(target)!r}: no permission to create files in {str(target.parent)!r}."
            raise OutputError(f"{message} Choose another folder.") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            busy = f"Another run is writing {str(target)!r}. Wait for it, or choose another name."
            raise OutputError(busy) from error
        if _is_at(file, path):
            return file
        file.close()  # the other run ended in between, and the file has become its output


def _is_at(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _read(journal: Path) -> dict[str, Any]:
    """What a journal says; nothing where there is none, or it is damaged."""
    try:
        found = json.loads(journal.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(journal: Path, content: Mapping[str, Any]) -> None:
    """Write a journal, whole or not at all."""
    new = _new(journal)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, journal)


def _new(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.new")
