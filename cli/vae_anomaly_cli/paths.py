"""Files to write, checked before anything slow begins: nobody waits minutes for a typo."""

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import typer

from vae_anomaly.errors import DataError
from vae_anomaly.io.atomic import claimed


def check_output(target: str, inputs: tuple[str | None, ...]) -> None:
    """Refuse a file that could not be written at the end, or that would overwrite what is read."""
    path = Path(target)
    if target == "-":
        raise _wrong_output("This goes into a file, not to standard output.")
    if path.is_dir():
        raise _wrong_output(f"{target} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise _wrong_output(f"There is no folder {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise _wrong_output(f"The folder {path.parent} cannot be written to.")
    for source in inputs:
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise _wrong_output(f"{target} is the file that is read; name another one.")


def only_writer(target: str) -> AbstractContextManager[None]:
    """Within it, other commands that would write the same file end with an error."""
    return claimed(
        target, f"Another command is about to write {target!r}. Wait until it has ended, or name another file."
    )


def check_table_output(target: str | None, inputs: tuple[str | None, ...]) -> None:
    """Refuse what ``check_output`` refuses and a suffix without a format; ``-`` and None mean standard output."""
    if target is not None and target != "-":
        check_output(target, inputs)
        _check_format(target)
    elif sys.stdout is None:
        raise DataError("Standard output is closed; name a file with --output.")


def check_picture_output(target: str, inputs: tuple[str | None, ...]) -> None:
    """Refuse what ``check_output`` refuses and a suffix that is none of a picture."""
    from vae_anomaly.plots.figures import picture_format

    check_output(target, inputs)
    try:
        picture_format(target)
    except DataError as error:
        raise _wrong_output(str(error)) from error


def check_page_output(target: str, inputs: tuple[str | None, ...]) -> None:
    """Refuse what ``check_output`` refuses and a suffix that is not that of a page."""
    from vae_anomaly.report import check_path

    check_output(target, inputs)
    try:
        check_path(target)
    except DataError as error:
        raise _wrong_output(str(error)) from error


def is_picture(target: str | None) -> bool:
    """Whether a file's suffix is that of a picture."""
    from vae_anomaly.plots.figures import picture_format

    try:
        picture_format(target or "-")
    except DataError:
        return False
    return True


def _check_format(target: str) -> None:
    from vae_anomaly.io.write import format_of

    try:
        format_of(target)
    except DataError as error:
        raise _wrong_output(str(error)) from error


def _wrong_output(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--output")
