"""Files named on the command line, checked before anything slow begins: nobody waits minutes for a typo."""

import os
from pathlib import Path

import typer

from vae_anomaly.errors import DataError


def check_input(source: str) -> None:
    """Refuse a file that cannot be read at all; ``-`` is standard input."""
    if source == "-":
        return
    if not Path(source).exists():
        raise DataError(f"{source}: there is no such file.")
    if Path(source).is_dir():
        raise DataError(f"{source}: this is a folder; name a file.")


def check_output(target: str, suffixes: tuple[str, ...], inputs: tuple[str | None, ...]) -> None:
    """Refuse a file that could not be written at the end, or that would overwrite what is read."""
    path = Path(target)
    if target == "-":
        raise wrong_output("this goes into a file, not to standard output.")
    if suffixes and not target.lower().endswith(suffixes):
        raise wrong_output(f"{target}: the suffix says how to write, and must be one of {', '.join(suffixes)}.")
    if path.is_dir():
        raise wrong_output(f"{target} is a folder; name a file.")
    if not path.parent.is_dir():
        raise wrong_output(f"there is no folder {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise wrong_output(f"the folder {path.parent} cannot be written to.")
    for source in inputs:
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise wrong_output(f"{target} is the file that is read; name another one.")


def wrong_output(message: str) -> typer.BadParameter:
    """Wrong usage of ``--output``."""
    return typer.BadParameter(message, param_hint="--output")
