"""``vae-anomaly suggest``: the library's changes, rows numbered as in the file."""

import io

import pandas as pd
import pytest

from vae_anomaly import VAEDetector, load

pytestmark = pytest.mark.usefixtures("_quick_fits")

ANOMALOUS_ROW = 17


def test_it_writes_the_changes_of_the_library(cli, csv, model):
    changes = pd.read_csv(io.StringIO(cli("suggest", csv, "--model", model).out))
    wanted = load(model).suggest(pd.read_csv(csv))
    assert changes["row"].tolist() == (wanted["row"] + 1).tolist()
    assert changes["suggestion"].astype(str).tolist() == wanted["suggestion"].astype(str).tolist()
    assert ANOMALOUS_ROW in set(changes["row"])


def test_a_file_is_reported_with_how_many_rows_become_normal(cli, csv, model, tmp_path):
    ended = cli("suggest", csv, "--model", model, "--most", 1, "--output", tmp_path / "changes.csv")
    changes = pd.read_csv(tmp_path / "changes.csv")
    becomes_normal = changes.groupby("row")["is_normal"].all()
    assert changes.groupby("row").size().max() == 1
    n_flagged = pd.read_csv(io.StringIO(cli("score", csv, "--model", model).out))["is_anomaly"].sum()
    assert f"{becomes_normal.sum()} of {n_flagged} flagged rows become normal" in ended.err


def test_flagged_rows_that_no_change_helps_are_counted_as_well(cli, csv, model, tmp_path, monkeypatch):
    """Before, rows without a suggestion were left out, and suggest counted fewer than score."""
    suggest = VAEDetector.suggest
    monkeypatch.setattr(VAEDetector, "suggest", lambda self, rows, **options: suggest(self, rows, **options)[:0])
    n_flagged = (load(model).predict(pd.read_csv(csv)) == -1).sum()
    assert n_flagged > 0
    ended = cli("suggest", csv, "--model", model, "--output", tmp_path / "changes.csv")
    assert f"0 of {n_flagged} flagged rows become normal" in ended.err


def test_at_least_one_cell_may_be_changed(cli, csv, model):
    assert cli("suggest", csv, "--model", model, "--most", 0).status == 2


def test_without_a_model_one_is_fitted_to_the_file(cli, csv, tmp_path):
    """With the options of a fit; they are refused beside a model."""
    fitted = tmp_path / "own.vae"
    cli("fit", csv, "--output", fitted, "--seed", 3, "--exclude", "height", "--quiet")
    own = cli("suggest", csv, "--seed", 3, "--exclude", "height", "--quiet")
    assert own.status == 0
    assert own.out == cli("suggest", csv, "--model", fitted, "--exclude", "height", "--quiet").out
    refused = cli("suggest", csv, "--model", fitted, "--seed", 3)
    assert refused.status == 2
    assert "applies to a fit" in " ".join(refused.err.split())
