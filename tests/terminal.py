"""Commands on a terminal, as a person sees them: in this process, which is ten times as fast as starting one each."""

import contextlib
import io
import os
import pty
import re
import subprocess
import threading
import tty
from collections.abc import Callable

import pytest

from vae_anomaly_cli.main import main

STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def shown_on_terminal(write: Callable[[int], None]) -> str:
    """Text without colours that ``write`` writes to a pseudo-terminal, given its file descriptor."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    shown: list[bytes] = []

    def collect() -> None:
        with contextlib.suppress(OSError):  # Linux reports the closed end so
            while chunk := os.read(ours, 65536):
                shown.append(chunk)

    reader = threading.Thread(target=collect)
    reader.start()
    try:
        write(theirs)
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return STYLES.sub("", b"".join(shown).decode())


def in_process(*arguments: object, remarks_too: bool = False) -> tuple[int, str, str]:
    """Exit status, terminal output and standard error of one of our commands, run by ``main`` in this process.

    With ``remarks_too``, standard error is the same terminal.
    """
    errors, status = io.StringIO(), 0

    def write(terminal: int) -> None:
        nonlocal status
        with (
            os.fdopen(os.dup(terminal), "w") as out,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out if remarks_too else errors),
            pytest.raises(SystemExit) as exit_,
        ):
            main([str(argument) for argument in arguments])
        status = exit_.value.code or 0

    shown = shown_on_terminal(write)
    return status, shown, errors.getvalue()


def in_shell(command: str) -> tuple[int, str, str]:
    """Exit status, terminal output and standard error of a line of bash."""
    ended: list[subprocess.CompletedProcess[str]] = []

    def write(terminal: int) -> None:
        command_line = ["bash", "-c", command]
        ended.append(subprocess.run(command_line, stdout=terminal, stderr=subprocess.PIPE, text=True, timeout=300))

    shown = shown_on_terminal(write)
    return ended[0].returncode, shown, ended[0].stderr
