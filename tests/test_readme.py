"""The README, run: its Python in one namespace, its commands on a terminal, with their output compared.

``python tests/test_readme.py`` writes the output of this machine into the README.
"""

import os
import re
import runpy
import shutil
import tempfile
from pathlib import Path

import pytest
from pages import ENVIRONMENT, output_of, run

README = Path(__file__).parents[1] / "README.md"


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
    assert_shows(run(readme, README.name, shell=False), readme)


@pytest.mark.readme
@pytest.mark.usefixtures("_in_a_folder_with_the_examples")
def test_the_picture_shows_what_the_command_prints(assert_shows):
    picture = runpy.run_path(str(README.parent / "docs" / "terminal_picture.py"))
    shown = picture["text_of"](picture["PICTURE"].read_text())
    command = picture["COMMAND"]
    assert shown.startswith(f"$ {command}\n")
    assert_shows(picture["text_of"](picture["drawn"](command, output_of(command))), shown)


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
        README.write_text(run(README.read_text(), README.name, shell=False))


if __name__ == "__main__":
    write_outputs()
