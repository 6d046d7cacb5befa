"""The README, run: its Python in one namespace, its commands on a terminal, with their output compared.

Commands run in this process, which is ten times as fast as starting one each; pipelines, and commands that are not
ours, run in a shell. ``python tests/test_readme.py`` writes the output of this machine into the README.
"""

import contextlib
import io
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from vae_anomaly_cli.main import main

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(python|console|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STYLES = re.compile(r"\x1b\[[0-9;]*m")
ENVIRONMENT = {
    "COLUMNS": "100",
    "TERM": "xterm",
    "CUDA_VISIBLE_DEVICES": "",  # a GPU draws other random numbers
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}


def terminal_output(write: Callable[[int], str]) -> str:
    """What a user sees: what ``write`` writes to a terminal, given its descriptor, then the remarks that it returns."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    shown: list[bytes] = []

    def collect() -> None:
        with contextlib.suppress(OSError):  # how Linux reports that the other end is closed
            while chunk := os.read(ours, 65536):
                shown.append(chunk)

    reader = threading.Thread(target=collect)
    reader.start()
    try:
        remarks = write(theirs)
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return STYLES.sub("", b"".join(shown).decode()) + remarks


def in_shell(command: str) -> str:
    def write(terminal: int) -> str:
        ended = subprocess.run(
            ["bash", "-c", command], stdout=terminal, stderr=subprocess.PIPE, text=True, timeout=300, check=True
        )
        return ended.stderr

    return terminal_output(write)


def in_process(arguments: list[str]) -> tuple[int, str]:
    """Exit status and terminal output of one of our commands."""
    status = 0

    def write(terminal: int) -> str:
        nonlocal status
        remarks = io.StringIO()
        with (
            os.fdopen(os.dup(terminal), "w") as out,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(remarks),
            pytest.raises(SystemExit) as exit_,
        ):
            main(arguments)
        status = exit_.value.code or 0
        return remarks.getvalue()

    shown = terminal_output(write)
    return status, shown


def output_of(command: str) -> str:
    """The output of a command of the README; ``COMMAND || OTHER`` runs the other one after a failure."""
    ours, _, otherwise = command.partition(" || ")
    if not ours.startswith("vae-anomaly ") or "|" in ours:
        return in_shell(command)
    status, shown = in_process(shlex.split(ours)[1:])
    assert otherwise or status == 0, shown
    return shown + in_shell(f"(exit {status}) || {otherwise}") if otherwise else shown


def run(readme: str) -> str:
    """The page with the output of this machine; a text block holds what the Python before it prints."""
    namespace: dict[str, object] = {"__name__": "readme"}
    printed = ""

    def block(found: re.Match[str]) -> str:
        nonlocal printed
        kind, content = found.groups()
        match kind:
            case "python":
                assert printed == "", f"the README does not show {printed!r}"
                with contextlib.redirect_stdout(io.StringIO()) as stream:
                    exec(compile(content, "README.md", "exec"), namespace)
                printed = stream.getvalue()
            case "text":
                content, printed = printed, ""
            case "console":
                commands = re.findall(r"^\$ (.*)$", content, re.MULTILINE)
                content = "".join(f"$ {command}\n{output_of(command)}" for command in commands)
        return f"```{kind}\n{content}```"

    return BLOCK.sub(block, readme)


@pytest.fixture
def _in_a_folder_with_the_examples(tmp_path, monkeypatch):
    shutil.copytree(README.parent / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_in_a_folder_with_the_examples")
def test_what_the_readme_shows_is_what_comes_out(assert_shows):
    readme = README.read_text()
    assert_shows(run(readme), readme)


def test_the_two_commands_are_one_line_each():
    for name in ("first-command", "test-command"):
        between = re.search(rf"^<!-- {name} -->\n(.*?)^<!-- /{name} -->$", README.read_text(), re.MULTILINE | re.DOTALL)
        assert len([line for line in between[1].splitlines() if line and not line.startswith("```")]) == 1


def write_outputs() -> None:
    """Put what this machine shows into the README."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(README.parent / "examples", Path(folder) / "examples")
        os.chdir(folder)
        os.environ.update(ENVIRONMENT)
        README.write_text(run(README.read_text()))


if __name__ == "__main__":
    write_outputs()
