"""Files to write, checked before anything slow begins: nobody waits minutes for a typo."""

import os
from pathlib import Path

import typer


def check_output(target: str, inputs: tuple[str | None, ...]) -> None:
    """Refuse a file that could not be written at the end, or that would overwrite what is read."""
    path = Path(target)
    if target == "-":
        raise wrong_output("This goes into a file, not to standard output.")
    if path.is_dir():
        raise wrong_output(f"{target} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise wrong_output(f"There is no folder {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise wrong_output(f"The folder {path.parent} cannot be written to.")
    for source in inputs:
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise wrong_output(f"{target} is the file that is read; name another one.")


def wrong_output(message: str) -> typer.BadParameter:
    """Wrong usage of ``--output``."""
    return typer.BadParameter(message, param_hint="--output")
