"""What the README shows, run: its Python in one namespace, its commands on a terminal, their output held against it.

Figures differ a little between machines and releases: numbers may be off by a tenth or by 2, all else must be equal.
"""

import contextlib
import io
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(
    r"^```(python|console|text)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")
COLUMNS = "100"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with the examples in it, and the commands of this environment."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", COLUMNS)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return tmp_path


def assert_shows(output: str, shown: str) -> None:
    """Words and layout equal, numbers close."""
    assert _words(output) == _words(shown)
    for found, expected in zip(NUMBER.findall(output), NUMBER.findall(shown), strict=True):
        assert float(found) == pytest.approx(float(expected), rel=0.1, abs=2), output


def _words(text: str) -> list[str]:
    return [re.sub(r"[ ━─]+", " ", NUMBER.sub("0", line)).strip() for line in text.strip().splitlines()]


def on_terminal(command: str) -> str:
    """What a user sees of a command: its standard output, a terminal, then its remarks."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(["bash", "-c", command], stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that nobody holds the other end
            while chunk := os.read(ours, 65536):
                shown += chunk
        _, err = process.communicate(timeout=300)
    os.close(ours)
    assert process.returncode == 0, err.decode()
    return shown.decode().replace("\r\n", "\n") + err.decode()


def test_the_python_of_the_readme_prints_what_it_says(folder):
    namespace: dict[str, object] = {"__name__": "readme"}
    outputs = [shown for kind, shown in BLOCKS if kind == "text"]
    for kind, code in BLOCKS:
        if kind != "python":
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, "README.md", "exec"), namespace)
        if printed.getvalue():
            assert_shows(printed.getvalue(), outputs.pop(0))
    assert outputs == []


def test_the_commands_of_the_readme_show_what_it_says(folder):
    for kind, session in BLOCKS:
        if kind == "console":
            for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
                assert_shows(on_terminal(command), shown)


def test_the_two_commands_are_one_line_each():
    readme = (ROOT / "README.md").read_text()
    for name in ("first-command", "test-command"):
        between = re.search(rf"^<!-- {name} -->\n(.*?)^<!-- /{name} -->$", readme, re.MULTILINE | re.DOTALL)
        assert len([line for line in between[1].splitlines() if line and not line.startswith("```")]) == 1
