"""The pages of the site, run: their Python in one namespace a page, their commands on a terminal or in a shell.

What stands in a ``text`` block is what the Python before it prints, and a ``console`` block shows the output of its
commands; ``sh`` blocks only have to succeed. Python that imports a package which is not installed is left out.
``python tests/test_guide.py [PAGE ...]`` writes the output of this machine into the pages.
"""

import ast
import contextlib
import importlib.util
import io
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from terminal import in_shell
from test_readme import ENVIRONMENT, output_of

from vae_anomaly import VAEDetector, read_table
from vae_anomaly.io.read import COMPRESSED, SUFFIXES
from vae_anomaly.io.write import _FORMATS

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(python|console|text|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if BLOCK.search(page.read_text())]
FILES = ROOT / "docs" / "your-file.md"
CHAINED = re.compile(r"[|<>;&]|\\$", re.MULTILINE)


def run(page: str, name: str) -> str:
    """The page with the output of this machine."""
    namespace: dict[str, object] = {"__name__": "page"}
    printed = ""

    def block(found: re.Match[str]) -> str:
        nonlocal printed
        kind, content = found.groups()
        match kind:
            case "python":
                assert printed == "", f"{name} does not show {printed!r}"
                printed = printed_by(content, name, namespace)
            case "text":
                content, printed = printed or content, ""
            case "console":
                commands = re.findall(r"^\$ (.*)$", content, re.MULTILINE)
                content = "".join(f"$ {command}\n{output_of(command)}" for command in commands)
            case "sh":
                for command in [content] if CHAINED.search(content) else content.splitlines():
                    run_command(command)
        return f"```{kind}\n{content}```"

    return BLOCK.sub(block, page)


def printed_by(python: str, name: str, namespace: dict[str, object]) -> str:
    """What a block prints, unless it imports what is not installed."""
    imports = [node for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in imports if isinstance(node, ast.ImportFrom) and node.module]
    if not all(importlib.util.find_spec(module.partition(".")[0]) for module in modules):
        return ""
    with contextlib.redirect_stdout(io.StringIO()) as stream, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        exec(compile(python, name, "exec"), namespace)
    return stream.getvalue()


def run_command(command: str) -> None:
    """Run one of our commands in this process, and all else in a shell; it must succeed."""
    if CHAINED.search(command) or not command.startswith("vae-anomaly "):
        status, _, errors = in_shell(f"set -eo pipefail; {command}")
        assert status == 0, f"{command}: {errors}"
        assert "error" not in errors
    elif command.strip():
        output_of(command)


@contextlib.contextmanager
def folder_of_a_page(path: str | None = None) -> Iterator[Path]:
    """A folder with the files that pages name: the examples, a table, a database and a model."""
    with tempfile.TemporaryDirectory() as own:
        folder = Path(path or own)
        shutil.copytree(ROOT / "examples", folder / "examples")
        shutil.copy(ROOT / "examples" / "penguins.csv", folder / "data.csv")
        table = read_table(folder / "data.csv")
        with closing(sqlite3.connect(folder / "shop.db")) as connection:
            table.assign(id=range(len(table)), day="2024-02-01").to_sql("orders", connection, index=False)
        VAEDetector(random_state=0, max_iter=50).fit(table).save(folder / "normal.vae")
        with contextlib.chdir(folder):
            yield folder


@pytest.fixture
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with folder_of_a_page(str(tmp_path)):
        yield


@pytest.mark.readme
@pytest.mark.usefixtures("_in_a_folder_of_its_own")
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_what_a_page_shows_is_what_comes_out(page, assert_shows):
    if "sqlite3" in page.read_text() and shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not installed")
    assert_shows(run(page.read_text(), page.name), page.read_text())


@pytest.mark.readme
@pytest.mark.usefixtures("_in_a_folder_of_its_own")
def test_columns_pasted_beside_the_file_are_those_of_its_rows():
    in_shell(next(line for line in FILES.read_text().splitlines() if "| paste " in line))
    scored = VAEDetector(random_state=0).fit(read_table("data.csv"))
    expected = scored.anomaly_score(read_table("data.csv"))
    assert pd.read_csv("pasted.csv")["anomaly_score"].tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_the_page_on_files_names_every_format():
    guide = FILES.read_text().lower()
    for suffix in {*SUFFIXES, *_FORMATS, *COMPRESSED}:
        known = {".pq": "parquet", ".ndjson": "json", ".txt": "text", ".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2"}
        assert known.get(suffix, suffix[1:]).lower() in guide


def write_outputs(names: list[str]) -> None:
    """Put what this machine shows into the pages."""
    os.environ.update(ENVIRONMENT)
    for page in PAGES:
        if not names or page.stem in names:
            with folder_of_a_page():
                shown = run(page.read_text(), page.name)
            page.write_text(shown)


if __name__ == "__main__":
    write_outputs(sys.argv[1:])
