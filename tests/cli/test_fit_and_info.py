"""``vae-anomaly fit`` and ``info``: the model file, and what `info` shows of it."""

import errno
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from vae_anomaly import load
from vae_anomaly.io import model_file as persistence
from vae_anomaly.io.atomic import whole_file
from vae_anomaly.training import checkpoints
from vae_anomaly_cli.output import only_writer

pytestmark = pytest.mark.usefixtures("_quick_fits")


def test_fit_writes_a_model_and_nothing_else(cli, csv, tmp_path):
    ended = cli("fit", csv, "--output", tmp_path / "people.vae", "--contamination", 0.1, "--seed", 3, "--novelty")
    parameters = load(tmp_path / "people.vae").get_params()
    assert (ended.status, ended.out) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["people.vae"]
    assert {"contamination": 0.1, "random_state": 3, "novelty": True}.items() <= parameters.items()
    assert "40 rows, 3 columns" in ended.err


def test_fitting_twice_gives_the_same_model(cli, csv, quick_model, tmp_path):
    cli("fit", csv, "--output", tmp_path / "again.vae")
    assert (tmp_path / "again.vae").read_bytes() == quick_model.read_bytes()


def test_an_excluded_column_is_unknown_to_the_model(cli, csv, tmp_path):
    cli("fit", csv, "--output", tmp_path / "people.vae", "--exclude", "colour")
    assert list(load(tmp_path / "people.vae").schema_.names) == ["height", "weight"]


def test_a_column_of_the_model_cannot_be_excluded_afterwards(cli, csv, model):
    ended = cli("score", csv, "--model", model, "--exclude", "colour")
    assert ended.status == 1
    assert "colour" in ended.err


@pytest.mark.parametrize("target", ["people.csv", "nowhere/people.vae", ".", "-"])
def test_a_model_is_not_written_where_it_would_hurt(cli, csv, tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_bytes(csv.read_bytes())
    ended = cli("fit", "people.csv", "--output", target)
    assert ended.status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["people.csv"]


def test_fit_names_a_file_that_is_not_there(cli, tmp_path):
    ended = cli("fit", "nosuch.csv", "--output", tmp_path / "people.vae")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "error: There is no file 'nosuch.csv'. Check the name and the folder.\n"


def test_two_fits_do_not_write_one_model(cli, csv, model):
    before = model.read_bytes()
    with only_writer(str(model)):
        ended = cli("fit", csv, "--output", model, "--seed", 1)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: Another command is writing '{model}'.")
    assert model.read_bytes() == before


def test_a_full_disk_costs_no_old_model_and_no_checkpoint(cli, csv, tmp_path, monkeypatch):
    """The error names the model and not the table; when there is space, the same command continues at the end."""
    target, folder = tmp_path / "people.vae", tmp_path / "state"
    target.write_text("old")
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "DEARER", 0.0)

    @contextmanager
    def full(path):
        with whole_file(path) as temporary:
            yield temporary
            if Path(path) == target:
                raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(persistence, "whole_file", full)
        ended = cli("fit", csv, "--output", target, "--checkpoint", folder)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: Cannot write '{target}': the disk is full.")
    assert target.read_text() == "old"
    ended = cli("fit", csv, "--output", target, "--checkpoint", folder)
    assert f"{folder}: continuing after 20 of 20 rounds" in ended.err
    assert (ended.status, list(folder.iterdir())) == (0, [])
    cli("fit", csv, "--output", tmp_path / "again.vae")
    assert (tmp_path / "again.vae").read_bytes() == target.read_bytes()


def test_a_folder_for_checkpoints_that_cannot_be_is_one_sentence(cli, csv, tmp_path):
    ended = cli("fit", csv, "--output", tmp_path / "people.vae", "--checkpoint", csv)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"error: Cannot make the folder '{csv}' for checkpoints: File exists. Name another one.\n"


def test_info_describes_the_model(cli, model):
    ended = cli("info", model)
    message, _, findings = ended.out.partition("\n\n")
    facts = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in message.splitlines()}
    assert (ended.status, ended.err) == (0, "")
    assert facts["rows"] == "40"
    assert facts["columns"].startswith("height (")
    assert float(facts["threshold"]) == pytest.approx(-load(model).offset_, abs=1e-3)
    assert "torch" in facts["versions"]
    diagnosed = load(model).diagnose()
    lines = [line.split(maxsplit=2) for line in findings.splitlines()]
    assert lines == diagnosed[["verdict", "check", "message"]].to_numpy().tolist()


def test_info_as_json_holds_the_same(cli, model):
    facts = json.loads(cli("info", model, "--json").out)
    assert facts["rows"] == 40
    assert list(facts["columns"]) == ["height", "weight", "colour"]
    assert facts["threshold"] == -load(model).offset_
    found = facts["findings"]
    assert list(found[0]) == ["check", "value", "verdict", "message"]
    assert [row["check"] for row in found] == load(model).diagnose()["check"].tolist()


def test_info_of_what_could_not_be_measured_is_null_in_json(cli, csv, tmp_path):
    csv.with_name("few.csv").write_text("\n".join(csv.read_text().splitlines()[:13]))
    cli("fit", csv.with_name("few.csv"), "--output", tmp_path / "few.vae")
    found = {row["check"]: row for row in json.loads(cli("info", tmp_path / "few.vae", "--json").out)["findings"]}
    assert found["p_values"]["value"] is None
    assert "too few" in found["p_values"]["message"]
    assert found["rows_per_column"]["verdict"] == "look"


def test_info_of_a_file_that_is_no_model(cli, csv):
    ended = cli("info", csv)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert "people.csv" in ended.err
