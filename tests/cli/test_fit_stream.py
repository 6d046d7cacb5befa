"""``vae-anomaly fit`` on tables that are read piece by piece."""

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from vae_anomaly import load
from vae_anomaly.data import sampling
from vae_anomaly_cli import inputs

pytestmark = pytest.mark.usefixtures("_quick_fits")


@pytest.fixture
def parts(csv, tmp_path):
    """The table in a folder of two files."""
    folder = tmp_path / "parts"
    folder.mkdir()
    lines = csv.read_text().splitlines(keepends=True)
    (folder / "part-2.csv").write_text("".join(lines[:15]))
    (folder / "part-10.csv").write_text("".join([lines[0], *lines[15:]]))
    return folder


def document(path):
    with safe_open(path, "numpy") as file:
        return file.metadata()  # it holds a digest of every tensor


@pytest.mark.parametrize("how", ["folder", "pattern", "--stream"])
def test_a_table_read_in_pieces_gives_the_model_of_the_table_read_whole(cli, csv, parts, quick_model, tmp_path, how):
    source = {"folder": [parts], "pattern": [parts / "part-*.csv"], "--stream": [csv, "--stream"]}[how]
    ended = cli("fit", *source, "--output", tmp_path / "again.vae")
    assert (ended.status, ended.out) == (0, "")
    assert "fitted to 40 rows, 3 columns" in ended.err
    assert document(tmp_path / "again.vae") == document(quick_model)


def test_a_large_file_is_read_in_pieces_without_an_option(cli, csv, model, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "LONG_BYTES", 10)
    monkeypatch.setattr("vae_anomaly.read_table", None)
    ended = cli("fit", csv, "--output", tmp_path / "again.vae", "--exclude", "colour")
    assert ended.status == 0
    assert load(tmp_path / "again.vae").schema_.names == ["height", "weight"]


def test_an_error_in_one_of_many_files_names_it(cli, parts, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "TRAINING_ROWS", 20)
    monkeypatch.setattr(sampling, "FEWEST_ROWS", 10)
    table = pd.read_csv(parts / "part-10.csv")
    table.loc[3, "weight"] = np.inf
    table.to_csv(parts / "part-10.csv", index=False)
    ended = cli("fit", parts, "--output", tmp_path / "none.vae")
    assert (ended.status, ended.out) == (1, "")
    assert "part-10.csv: Column 'weight' is infinite in row 4 (the first row is 1)" in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "none.vae").exists()


def test_files_without_rows_are_one_sentence(cli, tmp_path):
    (tmp_path / "empty.csv").write_text("a,b\n")
    ended = cli("fit", tmp_path / "empty.csv", "--stream", "--output", tmp_path / "none.vae")
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert "rows" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--skip-bad",), "--skip-bad"), (("--exclude", "nosuch"), "nosuch"), (("--output", "part-2.csv"), "part-2.csv")],
)
def test_wrong_usage_is_refused_before_the_rows_are_read(cli, parts, monkeypatch, arguments, said):
    monkeypatch.chdir(parts)
    ended = cli("fit", parts, "--output", "model.vae", *arguments)
    assert ended.status in (1, 2)
    assert said in ended.err
    assert sorted(path.name for path in parts.iterdir()) == ["part-10.csv", "part-2.csv"]


def test_images_are_not_read_in_pieces(cli, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    ended = cli("fit", tmp_path / "a.png", "--stream", "--output", tmp_path / "none.vae")
    assert ended.status == 2
    assert "--stream" in ended.err
