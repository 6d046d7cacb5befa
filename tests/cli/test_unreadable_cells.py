"""Cells that cannot be read, and texts that mark missing cells, from the shell: reported by row, not an error."""

import io

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.io.read import read_table

N = 240


def beers(seed):
    rng = np.random.default_rng(seed)
    strength = rng.normal(size=N)
    return pd.DataFrame(
        {
            "abv": (0.05 + 0.01 * strength).round(4),
            "ibu": (40 + 20 * strength + 5 * rng.normal(size=N)).round(),
            "fresh": strength > 0,
            "born": (pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 999, N), unit="D")).strftime(
                "%Y-%m-%d"
            ),
        }
    )


def write(table, path, *cells, **options):
    """Write a CSV file of the table with some cells, (row from 1, column, text), changed."""
    table = table.astype(object)
    for row, column, text in cells:
        table.loc[row - 1, column] = text
    table.to_csv(path, index=False, **options)
    return path


def scored(ended):
    assert ended.status == 0, ended.err
    return pd.read_csv(io.StringIO(ended.out)).fillna({"reason": ""})


def ranked(ended):
    return scored(ended).sort_values("anomaly_score", ascending=False, kind="stable", ignore_index=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of a clean file."""
    from vae_anomaly import VAEDetector

    path = tmp_path_factory.mktemp("model") / "beers.vae"
    VAEDetector(random_state=0).fit(beers(0)).save(path)
    return path


@pytest.mark.parametrize(
    "column, text, reason, rank",
    [
        ("abv", "12.0 oz", "abv '12.0 oz' is not a number, expected 0.", 1),
        ("ibu", "about 40", "ibu 'about 40' is not a number, expected ", 1),
        ("born", "31.31.2020", "born '31.31.2020' is not a date, expected 2020-", 3),  # beside two unusual rows
    ],
)
def test_the_row_of_an_unreadable_cell_comes_first(cli, model, tmp_path, monkeypatch, column, text, reason, rank):
    clean, changed = write(beers(1), tmp_path / "a.csv"), write(beers(1), tmp_path / "b.csv", (77, column, text))
    ended = cli("score", changed, "--model", model)
    assert ended.err.count("\n") <= 1
    scores, before = ranked(ended), ranked(cli("score", clean, "--model", model))
    assert scores["row"].tolist().index(77) < rank
    assert before["row"].tolist().index(77) > 20
    found = scores.set_index("row").loc[77]
    assert found["is_anomaly"]
    assert reason in found["reason"]
    others = [table.set_index("row")["anomaly_score"].drop(77).sort_index() for table in (scores, before)]
    pd.testing.assert_series_equal(*others)

    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 16)
    streamed = scored(cli("score", changed, "--model", model, "--stream"))
    whole = scores.sort_values("row", ignore_index=True)
    np.testing.assert_allclose(streamed["anomaly_score"], whole["anomaly_score"], rtol=1e-5)
    assert streamed["reason"][76] == whole["reason"][76]


def test_a_truth_value_that_is_none_leaves_the_others_what_they_are(cli, model, tmp_path, monkeypatch):
    changed = write(beers(1), tmp_path / "b.csv", (77, "fresh", "perhaps"))
    whole = ranked(cli("score", changed, "--model", model)).set_index("row").sort_index()
    clean = ranked(cli("score", write(beers(1), tmp_path / "a.csv"), "--model", model)).set_index("row").sort_index()
    np.testing.assert_allclose(whole["anomaly_score"].drop(77), clean["anomaly_score"].drop(77), rtol=1e-5)
    assert whole["anomaly_score"][77] > clean["anomaly_score"][77] + 3
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 16)
    streamed = scored(cli("score", changed, "--model", model, "--stream")).set_index("row")
    np.testing.assert_allclose(streamed["anomaly_score"], whole["anomaly_score"], rtol=1e-5)


def test_more_than_a_tenth_is_an_error_that_names_the_column(cli, model, tmp_path):
    cells = [(row, "abv", "0.05%") for row in range(5, 30)]
    ended = cli("score", write(beers(1), tmp_path / "b.csv", *cells), "--model", model)
    assert ended.status == 1
    assert "Column 'abv' held numbers in fit; found text '0.05%' in row 5 (the first row is 1); 25 of 240" in ended.err
    assert ended.err.endswith("are no numbers. Convert it, or refit with the new table.\n")


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_fit_to_a_file_with_a_few_texts_warns_once_and_finds_them(cli, tmp_path, stream):
    cells = [(8, "abv", "12.0 oz"), (9, "born", "soon"), (88, "ibu", "many")]
    changed, model = write(beers(0), tmp_path / "b.csv", *cells), tmp_path / "b.vae"
    ended = cli("fit", changed, "--output", model, *stream)
    assert ended.status == 0
    assert ended.err.count("unreadable cells") == 1
    assert "'abv' (1 of 240 values are no numbers; row 8 holds text '12.0 oz')" in ended.err
    assert "'born' (1 of 240 values are no dates; row 9 holds text 'soon')" in ended.err
    first = ranked(cli("score", changed, "--model", model))["row"][:5]
    assert {8, 9, 88} <= set(first)


def test_markers_of_missing_cells_are_proposed_and_taken(cli, model, tmp_path, monkeypatch):
    cells = [(row, "abv", "?") for row in range(1, 20)]
    marked = write(beers(1), tmp_path / "b.csv", *cells)
    empty = write(beers(1), tmp_path / "c.csv", *((row, column, None) for row, column, _ in cells))
    ended = cli("fit", marked, "--output", tmp_path / "b.vae")
    assert (
        "'?' stands in 19 of 240 cells of 'abv', else numbers; if it marks a missing cell, say --missing '?'"
        in ended.err
    )

    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 16)
    expected = ranked(cli("score", empty, "--model", model))
    pd.testing.assert_frame_equal(ranked(cli("score", marked, "--model", model, "--missing", "?")), expected)
    streamed = scored(cli("score", marked, "--model", model, "--missing", "-", "--missing", "?", "--stream"))
    ordered = expected.sort_values("row")["anomaly_score"]
    np.testing.assert_allclose(streamed["anomaly_score"], ordered, rtol=1e-5)
    table = read_table(marked).rename_axis(None, axis=1)
    table.to_parquet(tmp_path / "b.parquet")
    for stream in ([], ["--stream"]):
        ended = cli("score", tmp_path / "b.parquet", "--model", model, "--missing", "?", *stream)
        np.testing.assert_allclose(ranked(ended).sort_values("row")["anomaly_score"], ordered, rtol=1e-5)


def test_decimal_commas_are_read_beside_an_unreadable_cell(cli, model, tmp_path):
    cells = [(77, "abv", "12 oz")]
    points = write(beers(1), tmp_path / "c.csv", *cells)
    commas = tmp_path / "b.csv"
    commas.write_text(points.read_text().replace(",", ";").replace(".", ","))
    found, expected = (ranked(cli("score", path, "--model", model)) for path in (commas, points))
    pd.testing.assert_frame_equal(found, expected)
    assert found["row"][0] == 77


@pytest.mark.parametrize(
    "command",
    ["benchmark", "explain", "features", "fit", "monitor", "report", "score", "suggest", "update", "plot latents"],
)
def test_every_command_that_reads_a_table_has_the_option(cli, command):
    assert "--missing" in cli(*command.split(), "--help").out
