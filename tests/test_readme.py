"""The README, run: its Python in one namespace, its commands on a terminal, with their output compared.

Commands run in this process, which is ten times as fast as starting one each; pipelines, and commands that are not
ours, run in a shell. ``python tests/test_readme.py`` writes the output of this machine into the README.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from terminal import in_process, in_shell

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(python|console|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENVIRONMENT = {
    "COLUMNS": "100",
    "TERM": "xterm",
    "CUDA_VISIBLE_DEVICES": "",  # a GPU draws other random numbers
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}


def output_of(command: str) -> str:
    """Terminal output, then remarks, of a command; ``COMMAND || OTHER`` runs the other one after a failure."""
    ours, _, otherwise = command.partition(" || ")
    if not ours.startswith("vae-anomaly ") or "|" in ours:
        status, shown, err = in_shell(command)
    else:
        status, shown, err = in_process(*shlex.split(ours)[1:])
        if otherwise:
            status, more, _ = in_shell(f"(exit {status}) || {otherwise}")
            shown += more
    assert status == 0, err
    return shown + err


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


@pytest.mark.readme
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
