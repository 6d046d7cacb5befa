"""The guide, run: its commands in a shell, and each of its Python blocks by itself, where its library is installed."""

import ast
import os
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from terminal import in_shell

from vae_anomaly import VAEDetector, read_table
from vae_anomaly.io.read import COMPRESSED, SUFFIXES
from vae_anomaly.io.write import _FORMATS

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "your-file.md").read_text()
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, content in BLOCKS if kind == "sh" for line in content.splitlines()]
PYTHON = [content for kind, content in BLOCKS if kind == "python"]
pytestmark = pytest.mark.readme


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files that the guide names: a table, a database and a model."""
    folder = tmp_path_factory.mktemp("guide")
    shutil.copy(ROOT / "examples" / "penguins.csv", folder / "data.csv")
    table = read_table(folder / "data.csv")
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        table.assign(id=range(len(table)), day="2024-02-01").to_sql("orders", connection, index=False)
    VAEDetector(random_state=0, max_iter=50).fit(table).save(folder / "normal.vae")
    return folder


@pytest.fixture
def _beside_them(files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))  # vae-anomaly


@pytest.mark.usefixtures("_beside_them")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_guide_run(command):
    if "sqlite3" in command and shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not installed")
    status, _, errors = in_shell(f"set -o pipefail; {command}")
    assert status == 0, errors
    assert "error" not in errors


@pytest.mark.usefixtures("_beside_them")
def test_columns_pasted_beside_the_file_are_those_of_its_rows(files):
    in_shell(next(command for command in COMMANDS if "paste" in command))
    pasted, scored = pd.read_csv(files / "pasted.csv"), VAEDetector(random_state=0).fit(read_table("data.csv"))
    expected = scored.anomaly_score(read_table("data.csv"))
    assert pasted["anomaly_score"].tolist() == pytest.approx(expected.tolist(), rel=1e-4)


@pytest.mark.usefixtures("_beside_them")
@pytest.mark.parametrize("number", range(len(PYTHON)))
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_python_of_the_guide_runs(number):
    for node in ast.walk(ast.parse(PYTHON[number])):
        if isinstance(node, ast.Import):
            pytest.importorskip(node.names[0].name)
    namespace: dict[str, object] = {}
    exec(compile(PYTHON[number], "your-file.md", "exec"), namespace)
    anomalous = namespace["detector"].detect(read_table("data.csv"))["is_anomaly"] if number == 0 else None
    assert anomalous is None or namespace["anomalous"] == [*anomalous[anomalous].index]
    assert namespace.get("passed", True)


def test_the_guide_names_every_format():
    for suffix in {*SUFFIXES, *_FORMATS, *COMPRESSED}:
        known = {".pq": "parquet", ".ndjson": "json", ".txt": "text", ".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2"}
        assert known.get(suffix, suffix[1:]).lower() in GUIDE.lower()
