"""``vae-anomaly update``: a model that has learned from a second file."""

import pytest

from vae_anomaly import VAEDetector, load, read_table
from vae_anomaly_cli.output import only_writer

pytestmark = pytest.mark.usefixtures("_quick_fits")


def test_update_writes_the_model_that_partial_fit_gives(cli, csv, model, tmp_path):
    before = model.read_bytes()
    ended = cli("update", csv, "--model", model, "--output", tmp_path / "new.vae")
    assert (ended.status, ended.out) == (0, "")
    assert "40 rows" in ended.err
    assert "80 rows, 3 columns" in ended.err
    load(model).partial_fit(read_table(csv)).save(tmp_path / "wanted.vae")
    assert (tmp_path / "new.vae").read_bytes() == (tmp_path / "wanted.vae").read_bytes()
    assert model.read_bytes() == before


def test_levels_of_the_second_file_are_learned(cli, frame, model, tmp_path):
    frame.drop(columns="name").assign(colour="green").to_csv(tmp_path / "green.csv", index=False)
    assert cli("update", tmp_path / "green.csv", "--model", model, "--output", tmp_path / "new.vae").status == 0
    rows = frame.drop(columns="name").assign(colour=["green"] * 20 + ["grey"] * 20)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    told = cli("explain", tmp_path / "rows.csv", "--model", tmp_path / "new.vae", "--top", "40").out
    assert "colour 'grey' is new" in told
    assert "colour 'green', not seen" not in told


def test_a_model_can_take_its_own_place(cli, csv, model, tmp_path):
    own = tmp_path / "own.vae"
    own.write_bytes(model.read_bytes())
    for rows in (80, 120):
        assert cli("update", csv, "--model", own, "--output", own, "--quiet").err == ""
        assert load(own).n_samples_fit_ == rows
    assert [path.name for path in tmp_path.iterdir()] == ["own.vae"]


def test_a_column_that_is_missing_is_named_and_the_model_stays(cli, csv, model, tmp_path):
    own, bad = tmp_path / "own.vae", tmp_path / "bad.csv"
    own.write_bytes(model.read_bytes())
    bad.write_text("height,weight\n170,70\n")
    ended = cli("update", bad, "--model", own, "--output", own)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {bad}: Columns of the fit that the table lacks: 'colour'")
    assert own.read_bytes() == model.read_bytes()


def test_a_model_with_held_out_calibration_rows_is_not_updated(cli, csv, tmp_path):
    VAEDetector(calibration="split", max_iter=2, random_state=0).fit(read_table(csv)).save(tmp_path / "split.vae")
    ended = cli("update", csv, "--model", tmp_path / "split.vae", "--output", tmp_path / "new.vae")
    assert ended.status == 1
    assert "calibration='split'" in ended.err
    assert not (tmp_path / "new.vae").exists()


def test_two_updates_of_one_model_do_not_meet(cli, csv, model):
    before = model.read_bytes()
    with only_writer(str(model)):
        ended = cli("update", csv, "--model", model, "--output", model)
    assert (ended.status, model.read_bytes()) == (1, before)
    assert "Another command is writing" in ended.err


@pytest.mark.parametrize("target", ["-", "nowhere/new.vae"])
def test_update_needs_a_file_to_write(cli, csv, model, target):
    assert cli("update", csv, "--model", model, "--output", target).status == 2
