"""``vae-anomaly explain``: chosen rows, their cells, and refusals."""

import io

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import load

pytestmark = pytest.mark.usefixtures("_quick_fits")

ANOMALOUS_ROW = 17
COLUMNS = ["row", "anomaly_score", "column", "nats", "surprise", "value", "expected", "low", "high", "reason"]


EXACTLY = ("explain", "--digits", 17)


def table_of(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def test_the_cells_of_flagged_rows_add_up_to_the_scores_of_the_library(cli, csv, model):
    reasons, rows, detector = table_of(cli(*EXACTLY, csv, "--model", model).out), pd.read_csv(csv), load(model)
    assert list(reasons.columns) == COLUMNS
    assert reasons["row"][0] == ANOMALOUS_ROW
    flagged = detector.predict(rows) == -1
    assert set(reasons["row"] - 1) == set(np.flatnonzero(flagged))
    totals = reasons.groupby("row")["nats"].sum()
    np.testing.assert_allclose(totals, detector.anomaly_score(rows)[totals.index - 1], rtol=1e-9)


def test_a_cell_has_its_value_and_the_expected_range(cli, csv, model):
    reasons = table_of(cli("explain", csv, "--model", model, "--top", 1).out)
    assert len(reasons) == 4  # three columns and the latent term
    first = reasons.iloc[0]
    assert (first["column"], float(first["value"])) == ("weight", 140.0)
    assert float(first["low"]) <= float(first["expected"]) <= float(first["high"]) < 140.0
    assert reasons["surprise"].is_monotonic_decreasing


def test_rows_are_explained_by_number_and_known_by_kept_columns(cli, named_csv, model):
    command = ("explain", named_csv, "--model", model, "--row", 5, "--row", 2, "--keep", "name", "--quiet")
    reasons = table_of(cli(*command).out)
    assert list(dict.fromkeys(reasons["row"])) == [5, 2]
    assert list(dict.fromkeys(reasons["name"])) == ["no. 5", "no. 2"]


def test_every_format_holds_them(cli, csv, model, tmp_path):
    for suffix, read in ((".parquet", pd.read_parquet), (".jsonl", lambda path: pd.read_json(path, lines=True))):
        ended = cli("explain", csv, "--model", model, "--top", 2, "--output", tmp_path / f"reasons{suffix}")
        assert "2 rows explained" in ended.err
        assert len(read(tmp_path / f"reasons{suffix}")) == 8


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--row", "41"), 1, "There is no row 41; the rows of the table are numbered 1 to 40"),
        (("--row", "0"), 2, "1"),
        (("--row", "3", "--top", "2"), 2, "--row and --top cannot be combined"),
        (("--keep", "nats"), 2, "'nats'"),
        (("--output", "reasons.xls"), 2, ".parquet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_explained_is_refused(cli, csv, model, arguments, status, said):
    ended = cli("explain", csv, "--model", model, *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert said in " ".join(ended.err.split())


def test_without_a_model_one_is_fitted_to_the_file(cli, csv, tmp_path):
    """With the options of a fit; they are refused beside a model."""
    fitted = tmp_path / "own.vae"
    cli("fit", csv, "--output", fitted, "--seed", 3, "--exclude", "height", "--quiet")
    own = cli("explain", csv, "--seed", 3, "--exclude", "height", "--quiet")
    assert own.status == 0
    assert own.out == cli("explain", csv, "--model", fitted, "--exclude", "height", "--quiet").out
    refused = cli("explain", csv, "--model", fitted, "--seed", 3)
    assert refused.status == 2
    assert "applies to a fit" in " ".join(refused.err.split())


def test_a_row_that_is_not_there_is_refused_before_a_model_is_fitted(cli, csv, monkeypatch):
    monkeypatch.setattr("vae_anomaly.VAEDetector.fit", None)
    ended = cli("explain", csv, "--row", 7, "--row", 41)
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert "There is no row 41; the rows of the table are numbered 1 to 40" in ended.err
