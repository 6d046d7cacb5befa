"""Resumable output: running the same command again continues an interrupted run."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from vae_anomaly.errors import DataError
from vae_anomaly.io.atomic import (
    DISK_FULL,
    DiskFullError,
    claimed,
    final_mode,
    move_into_place,
    refused,
    resolved,
    whole_file,
)


@contextmanager
def partial_file(
    target: str | PathLike[str], plan: Mapping[str, Any], *, stays: bool = True
) -> Iterator["PartialFile"]:
    """
    Partial output of ``target``, continued if an earlier run with the same plan was interrupted.

    The block ends with `PartialFile.finish`. If it is interrupted or the disk is full, the partial output stays, unless
    ``stays`` is False. After an error in the data it is removed, since the same run would fail again.

    Parameters
    ----------
    plan
        Everything that the output depends on, as JSON types.

    Raises
    ------
    DataError
        If the file cannot be written, another run is writing it, or the disk is full.
    """
    path = resolved(Path(target))
    busy = f"Another run is writing {str(path)!r}. Wait for it, or choose another name."
    with claimed(path, busy):
        partial = PartialFile(path, json.loads(json.dumps(plan)))
        try:
            yield partial
        except DataError:
            stays = stays and partial.is_finishing
            raise
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            message = f"Cannot write {str(target)!r}: the disk is full. Free some space"
            if stays and partial.state:
                message += f", then run the same command again: it continues from {str(partial.path)!r}"
            raise DiskFullError(f"{message}.") from error
        finally:
            partial.close(stays=stays)


class PartialFile:
    """
    Partial output, in a hidden file next to the target that only its owner can read.

    A journal, also next to it, records how many bytes are safely on the disk, the state of the run at that point, and a
    digest of both. When a run continues, everything after those bytes is cut off.

    Attributes
    ----------
    state
        State of the run at the last commit; empty at the beginning.
    differs
        Keys of the plan in which an earlier, abandoned run differs from this one.
    is_damaged
        What an earlier run left does not match its digest, so that this one begins anew.
    """

    def __init__(self, target: Path, plan: dict[str, Any]) -> None:
        self.path = target.with_name(f".{target.name}.partial")
        self.state: dict[str, Any] = {}
        self.differs: list[str] = []
        self.is_damaged = False
        self.is_finishing = False
        self._journal = target.with_name(f".{target.name}.journal")
        self._new_journal = target.with_name(f".{target.name}.journal.new")
        self._target = target
        self._plan = plan
        try:
            self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")
        except PermissionError as error:
            raise refused(target, error) from error
        self._resume()

    def _resume(self) -> None:
        """Continue after the bytes that the journal records, or begin anew if these are others, or of another plan."""
        self._digest = hashlib.sha256()
        match self._read_journal():
            case None:
                size = 0
            case {"plan": dict(plan), "size": int(size), "state": dict(state), "digest": digest}:
                self.differs = [key for key in self._plan if plan.get(key) != self._plan[key]]
                if not self.differs and self._read_part(size) and self._digest_with(state) == digest:
                    self.state = state
                else:
                    self.is_damaged = not self.differs
            case _:
                self.is_damaged = True
        if not self.state:
            size, self._digest = 0, hashlib.sha256()
        self._file.truncate(size)
        self._file.seek(size)

    def _read_journal(self) -> Any:
        """The journal, None if there is none, and an empty one for a file that is no journal."""
        try:
            with open(os.open(self._journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
                return json.load(file) or {}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            return {}

    def _read_part(self, size: int) -> bool:
        """Add the first bytes of the partial file to the digest; False if it is shorter."""
        at_once = 2**20
        while size > 0 and (data := self._file.read(min(size, at_once))):
            self._digest.update(data)
            size -= len(data)
        return size == 0

    def _digest_with(self, state: Mapping[str, Any]) -> str:
        """Digest of everything written so far and of the state and the plan."""
        digest = self._digest.copy()
        digest.update(json.dumps([self._plan, state], sort_keys=True).encode())
        return digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._digest.update(data)

    def commit(self, **state: Any) -> None:
        """Save everything written so far on the disk, and then the journal with the run's state."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.state = state
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        journal = {"plan": self._plan, "size": self._file.tell(), "state": state, "digest": self._digest_with(state)}
        with open(os.open(self._new_journal, flags, 0o600), "w") as file:
            json.dump(journal, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._new_journal, self._journal)

    def finish(self, convert: Callable[[Path, Path], None] | None = None) -> None:
        """Move the partial file to the target, or the file that ``convert(partial, path)`` writes from it."""
        self.is_finishing = True
        self._file.flush()
        if convert is None:
            move_into_place(self.path, self._target, final_mode(self._target))
        else:
            with whole_file(self._target) as path:
                convert(self.path, path)
        self._discard()

    def close(self, *, stays: bool) -> None:
        """Close the file; the partial output stays if ``stays`` is True and something was committed."""
        try:
            if not (stays and self.state):
                self._discard()
        finally:
            with suppress(OSError):  # bytes that cannot be flushed any more were not committed
                self._file.close()

    def _discard(self) -> None:
        for path in (self._journal, self._new_journal, self.path):
            path.unlink(missing_ok=True)
