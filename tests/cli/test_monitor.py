"""``vae-anomaly monitor``: what has moved since training, on a terminal, into a pipe, and by exit status."""

import io

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector, load

WRITTEN = ["column", "kind", "p_value", "adjusted_p_value", "drifted", "effect", "message"]


def draw(seed: int, rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    height = rng.normal(170, 10, rows)
    return pd.DataFrame(
        {
            "height": height,
            "weight": height - 100 + rng.normal(0, 2, rows),
            "colour": np.where(rng.random(rows) < 0.4, "red", "blue"),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of novelty detection, rows like its own, rows that are taller, and rows that are sorted."""
    path = tmp_path_factory.mktemp("monitor")
    detector = VAEDetector(novelty=True, random_state=0).fit(draw(0))
    detector.save(path / "people.vae")
    draw(1).to_csv(path / "same.csv", index=False)
    draw(1).assign(height=draw(1)["height"] + 10).to_csv(path / "taller.csv", index=False)
    same = draw(1)
    same.iloc[np.argsort(detector.score_samples(same))].to_csv(path / "sorted.csv", index=False)
    return path


def test_rows_like_those_of_training_end_with_status_0(cli, folder):
    ended = cli("monitor", folder / "same.csv", "--model", folder / "people.vae")
    written = pd.read_csv(io.StringIO(ended.out))
    assert ended.status == 0
    assert list(written.columns) == WRITTEN
    assert sorted(written["column"]) == ["(score)", "colour", "height", "weight"]
    assert not written["drifted"].any()
    assert ended.err.startswith("no drift in 3 columns and the score; no change along the rows (evidence ")


def test_rows_that_have_moved_end_with_status_3_and_say_how(cli, folder):
    ended = cli("monitor", folder / "taller.csv", "--model", folder / "people.vae")
    written = pd.read_csv(io.StringIO(ended.out))
    assert ended.status == 3
    assert written["adjusted_p_value"].is_monotonic_increasing
    assert written[written["drifted"]]["column"].tolist() == ["(score)", "height"]
    assert "shifted up by 1 deviation" in written["message"].tolist()
    assert ended.err.startswith("drift in 1 of 3 columns and the score; change detected at row ")


def test_what_is_written_is_what_python_finds(cli, folder, tmp_path):
    ended = cli(
        "monitor", folder / "taller.csv", "--model", folder / "people.vae", "--seed", 4, "--output", tmp_path / "d.csv"
    )
    found = load(folder / "people.vae").drift(pd.read_csv(folder / "taller.csv"), random_state=4)
    written = pd.read_csv(tmp_path / "d.csv").set_index("column")
    pd.testing.assert_frame_equal(written.loc[found.columns.index], found.columns, check_dtype=False)
    assert (ended.status, ended.out) == (3, "")
    first, second = ended.err.splitlines()
    assert first.endswith("d.csv: 4 rows written.")
    assert f"change detected at row {found.stream.alarm + 1} " in second


def test_sorted_rows_are_drift_unless_their_order_means_nothing(cli, folder):
    model = folder / "people.vae"
    ordered, unordered = (cli("monitor", folder / "sorted.csv", "-m", model, *more) for more in ([], ["--unordered"]))
    assert (ordered.status, unordered.status) == (3, 0)
    assert "no drift in 3 columns and the score; change detected at row " in ordered.err
    assert unordered.err == "no drift in 3 columns and the score.\n"


def test_a_stricter_level_finds_less(cli, folder):
    ended = cli("monitor", folder / "taller.csv", "--model", folder / "people.vae", "--level", "1e-300", "--quiet")
    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize("level", ["0", "1", "nan"])
def test_a_level_that_is_no_probability_is_wrong_usage(cli, folder, level):
    ended = cli("monitor", folder / "same.csv", "--model", folder / "people.vae", "--level", level)
    assert ended.status == 2
    assert "--level" in ended.err


def test_a_table_that_does_not_fit_the_model_is_at_fault(cli, folder, tmp_path):
    draw(1).drop(columns="height").to_csv(tmp_path / "short.csv", index=False)
    ended = cli("monitor", tmp_path / "short.csv", "--model", folder / "people.vae")
    assert (ended.status, ended.out) == (1, "")
    assert "'height'" in ended.err


def test_a_column_of_the_model_cannot_be_hidden_and_others_can(cli, folder, tmp_path):
    draw(1).assign(extra=1).to_csv(tmp_path / "extra.csv", index=False)
    command = "monitor", tmp_path / "extra.csv", "--model", folder / "people.vae", "--exclude"
    assert cli(*command, "height").status == 1
    hidden = cli(*command, "extra")
    assert hidden.status == 0
    assert "warning" not in hidden.err
