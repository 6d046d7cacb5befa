"""Checkpoints: the state of a training in a file, from which a fit that was killed continues."""

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from vae_anomaly.errors import FitWarning, ModelFileError, OutputError
from vae_anomaly.io.atomic import claimed, remove_leftovers
from vae_anomaly.io.model_file import read_model, write_model

SUFFIX = ".checkpoint"
NAMES = ("fit", "fold-[0-9]")  # patterns of the names of a fit's trainings
EVERY = 5.0  # seconds between two writings, at least
DEARER = 50  # times as long as a writing takes the training goes on before the next one, at least


@dataclass(frozen=True)
class State:
    """State of a training after a round: ``facts`` in JSON's types, and named arrays."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Checkpoint:
    """
    File with the state of one training, in a folder that `checkpoint_folder` has claimed.

    Parameters
    ----------
    path : Path
        The file.
    identity : mapping
        Everything that decides the training, by name, in JSON's types: the state of another training is refused.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self._path, self._identity = path, json.loads(json.dumps(identity))
        self._next = time.monotonic() + EVERY
        remove_leftovers(path)

    def read(self) -> State | None:
        """
        State in the file, or None where there is no file.

        Raises
        ------
        OutputError
            The file is damaged, or belongs to another training.
        """
        if not self._path.exists():
            return None
        try:
            document, arrays = read_model(self._path)
            identity, facts = document["identity"], document["facts"]
        except (ModelFileError, KeyError) as error:
            raise OutputError(f"The checkpoint {str(self._path)!r} is damaged. Delete it to begin anew.") from error
        names = identity | self._identity
        if others := [name for name in names if identity.get(name) != self._identity.get(name)]:
            raise OutputError(
                f"The checkpoint {str(self._path)!r} is that of another fit; the two differ in {', '.join(others)}. "
                "Name another folder, or delete it to begin anew."
            )
        return State(facts, arrays)

    def offer(self, make: Callable[[], State]) -> None:
        """
        Write the state that ``make`` returns, if the last writing was long enough ago.

        Warns
        -----
        FitWarning
            The state cannot be written; the file stays as it was, and training continues.
        """
        began = time.monotonic()
        if began < self._next:
            return
        state = make()
        try:
            write_model(self._path, {"identity": self._identity, "facts": state.facts}, state.arrays)
        except (OutputError, OSError) as error:
            warnings.warn(f"The fit goes on without a new checkpoint. {error}", FitWarning, stacklevel=2)
        ended = time.monotonic()
        self._next = ended + max(EVERY, DEARER * (ended - began))


@contextmanager
def checkpoint_folder(folder: str | PathLike[str]) -> Iterator[Path]:
    """
    Claim a folder for the checkpoints of a fit, made if it is missing; after a block without an error they are removed.

    Raises
    ------
    OutputError
        It cannot be made or written to, or another fit has claimed it.
    """
    path = Path(folder)
    try:
        path.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        message = f"Cannot make the folder {str(path)!r} for checkpoints: {reason}. Name another one."
        raise OutputError(message) from error
    busy = f"Another fit keeps its checkpoints in {str(path)!r}. Wait until it has ended, or name another folder."
    with claimed(path / "fit", busy):
        yield path
        for name in NAMES:
            for file in path.glob(f"{name}{SUFFIX}"):
                file.unlink(missing_ok=True)
