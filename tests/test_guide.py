"""The pages of the site, run as `pages` says, with their output compared.

``python tests/test_guide.py [PAGE ...]`` writes the output of this machine into the pages.
"""

import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from pages import BLOCK, ENVIRONMENT, run
from terminal import in_shell

from vae_anomaly import VAEDetector, read_table
from vae_anomaly.io.read import COMPRESSED, SUFFIXES
from vae_anomaly.io.write import _FORMATS

ROOT = Path(__file__).parents[1]
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if BLOCK.search(page.read_text())]
FILES = ROOT / "docs" / "your-file.md"


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
