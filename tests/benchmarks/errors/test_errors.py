import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from benchmarks.errors import __main__ as errors
from benchmarks.errors.__main__ import main
from benchmarks.errors.measure import (
    AP,
    CELLS,
    FIRST_CELL,
    FIRST_REASON,
    FLAGGED,
    INSIDE,
    KEY,
    KIND,
    Figure,
    is_inside,
    ranks,
    values,
)
from benchmarks.errors.methods import METHODS, Findings, features, one_hot_with_flags, stated_cells
from benchmarks.errors.page import averages, write_page
from benchmarks.errors.tables import Table, labelled, names, planted
from benchmarks.shared.results_file import ResultsFile
from vae_anomaly import VAEDetector

PLANT = '''
import numpy as np
import pandas as pd

def plant(frame, *, rate, seed):
    """Amounts times 100 in the first rows."""
    dirty, mask = frame.copy(), pd.DataFrame(False, index=frame.index, columns=frame.columns)
    rows = range(max(1, round(rate * len(frame))))
    dirty.loc[rows, "amount"], mask.loc[rows, "amount"] = 100 * frame.loc[rows, "amount"], True
    return dirty, mask, pd.DataFrame([{"row": row, "kind": "unit", "columns": "amount"} for row in rows])
'''
MAKE = """
import numpy as np
import pandas as pd

def make(name, rows, seed):
    rng = np.random.default_rng(seed)
    amount = rng.normal(50, 3, 90)
    return pd.DataFrame({"amount": amount, "tax": amount / 5, "kind": rng.choice(["rent", "meal"], 90)})

TABLES = {"bills": make}
"""
QUICK = ["5 neighbours", "value frequency"]


@pytest.fixture
def data(tmp_path, rng):
    """A data folder: a table that is made, one of clean rows with labelled others, and a dirty one with its mask."""
    folder = tmp_path / "shared"
    tables = folder / "data" / "tables"
    tables.mkdir(parents=True)
    (folder / "plant_errors.py").write_text(PLANT)
    (folder / "make_tables.py").write_text(MAKE)
    frame = pd.DataFrame({"amount": rng.normal(50, 3, 60), "kind": rng.choice(["a", "b"], 60)})
    label = np.repeat([0, 1], [50, 10]).astype("int8")
    for name in ("loans", "wide"):
        frame.assign(__label__=label).to_parquet(tables / f"{name}.parquet")
    frame["kind"] = np.where(label == 1, [f"typo {i}" for i in range(60)], frame["kind"])
    frame.assign(__label__=label).to_parquet(tables / "beers.parquet")
    pd.DataFrame({"amount": False, "kind": label == 1}).to_parquet(tables / "beers.mask.parquet")
    pd.DataFrame({"name": ["beers", "loans", "wide"], "group": ["b", "a", "c"]}).to_csv(
        tables / "manifest.csv", index=False
    )
    return folder


@pytest.fixture
def start(data, tmp_path):
    """Run the command and read errors.csv."""

    def run(*arguments, methods=QUICK):
        output = tmp_path / "results"
        main(["--data", str(data), "--output", str(output), "--methods", *methods, *map(str, arguments)])
        return ResultsFile(output / "errors.csv", Figure, KEY).read()

    return run


def test_errors_are_planted_into_clean_rows_of_tables_that_are_not_wide(data):
    assert names(data) == ["bills", "loans", "beers"]
    assert names(data, "outlier") == ["loans", "beers", "wide"]
    table = planted(data, "loans", 0.04, 0)
    assert list(table.rows) == ["amount", "kind"]
    assert_array_equal(np.flatnonzero(table.labels), [0, 1])
    assert table.mask["amount"].sum() == len(table.log) == 2
    assert len(planted(data, "beers", 3, 0).log) == 3  # from 1 up, a number of rows
    assert not planted(data, "bills", 0, 0).labels.any()
    assert len(planted(data, "bills", 0, 0, most=20).rows) == 20


def test_errors_in_new_rows_are_not_learned_from(data):
    clean = planted(data, "bills", 0, 1).rows
    table = planted(data, "bills", 0.1, 1, new=True)
    assert_array_equal(table.labels, np.arange(45) < 4)
    assert (table.rows["amount"][:4] > 1000).all()
    assert table.train["amount"].max() < 100
    amounts = np.where(table.labels, table.rows["amount"] / 100, table.rows["amount"])
    assert_allclose(np.sort([*table.train["amount"], *amounts]), np.sort(clean["amount"]))


def test_in_novelty_detection_half_of_the_normal_rows_are_learned_from_and_not_scored(data):
    table = labelled(data, "beers", novelty_seed=1)
    assert len(table.train) == 25
    assert len(table.rows) == 35
    assert table.labels.sum() == 10
    assert not set(table.train.index) & set(table.rows.index)
    assert not table.train["kind"].str.startswith("typo").any()
    assert_array_equal(table.mask["kind"], table.labels)


def test_features_are_standardised_numbers_levels_and_flags():
    frame = pd.DataFrame(
        {
            "number": pd.array([1, 2, None, 3], dtype="Int64"),
            "date": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01", "2024-01-02"]),
            "text": ["a", "b", None, "a"],
        }
    )
    deviation = np.sqrt(0.5)
    wanted = [
        [-1 / deviation, 0, -1, 1, 0, 0, 0],
        [0, 0, 1, 0, 1, 0, 0],
        [0, 1, -1, 0, 0, 0, 1],
        [1 / deviation, 0, 1, 1, 0, 0, 0],
    ]
    assert_allclose(one_hot_with_flags(frame), wanted)
    new = pd.DataFrame({"number": [5], "date": pd.to_datetime(["2024-01-03"]), "text": ["c"]})
    assert_allclose(one_hot_with_flags(new, frame), [[3 / deviation, 0, 3, 0, 0, 1, 0]])


def test_rows_and_training_rows_have_the_same_features():
    train = pd.DataFrame({"number": [1.0, 2, 3], "text": ["a", "b", "a"]})
    rows = pd.DataFrame({"number": [None, 2.0], "text": ["a", None]})
    table = Table(rows, np.zeros(2, bool), rows.isna(), pd.DataFrame(), train)
    known, new = features(table)
    assert known.shape == (3, 6)
    assert_allclose(new[:, [1, 5]], [[1, 0], [0, 1]])  # the flags of missing cells
    for name in ("5 neighbours", "IsolationForest", "ECOD"):
        assert METHODS[name](table, 0).scores.shape == (2,)


def test_text_of_which_most_cells_differ_gives_no_levels():
    ids = pd.DataFrame({"id": [f"no {i}" for i in range(60)], "usual": ["x"] * 60})
    assert one_hot_with_flags(ids).shape == (60, 2)
    common = pd.DataFrame({"city": [f"city {i % 70}" for i in range(210)]})
    levels = one_hot_with_flags(common)
    assert levels.shape == (210, 51)
    assert levels[:, -1].sum() == 60  # the 20 cities beyond the 50 most frequent


def test_the_measures_can_be_counted_by_hand():
    mask = pd.DataFrame({"a": [True, False, False, False, False], "b": [False, False, True, False, False]})
    log = pd.DataFrame({"row": [0, 2], "kind": ["unit", "sign"], "columns": ["a", "b"]})
    rows = pd.DataFrame(np.zeros((5, 2)), columns=["a", "b"])
    table = Table(rows, mask.any(axis=1).to_numpy(), mask, log, rows)
    stated = pd.DataFrame({"row": [0, 0, 3], "column": ["b", "a", "a"], "value": [2.0, 5, 1], "low": 1.0, "high": 3.0})
    findings = Findings(
        np.array([5.0, 4, 3, 2, 1]),
        pd.DataFrame({"a": [9.0, 0, 1, 0, 0], "b": [0.0, 0, 2, 3, 0]}),
        np.array([True, False, False, True, False]),
        lambda positions: stated[stated["row"].isin(positions)],
    )
    found = {value.measure: (value.value, value.of) for value in values(findings, table)}
    assert found[AP] == (pytest.approx((1 + 2 / 3) / 2), 5)
    assert [found[f"found in {times}"] for times in ("k", "2k", "3k")] == [(0.5, 2), (1, 2), (1, 2)]
    assert found[f"{KIND}unit"] == (1, 1)
    assert found[CELLS] == (pytest.approx((1 + 2 / 3) / 2), 10)
    assert found[FIRST_CELL] == (1, 2)
    assert found[FIRST_REASON] == (0, 2)  # row 0 names b first, row 2 names nothing
    assert found[FLAGGED] == (0.4, 5)
    assert found[INSIDE] == (pytest.approx(2 / 3), 3)


def test_a_table_without_errors_has_no_accuracy(data):
    table = planted(data, "bills", 0, 0)
    findings = Findings(np.arange(90.0), flagged=np.arange(90) < 9)
    assert [(value.measure, value.value) for value in values(findings, table)] == [(FLAGGED, pytest.approx(0.1))]


def test_rows_with_equal_scores_are_ranked_without_regard_to_their_order():
    assert_array_equal(ranks(np.array([1.0, 3, 2])), [2, 0, 1])
    equal = ranks(np.zeros(1000))
    assert abs(equal[:500].mean() - 500) < 50
    assert_array_equal(ranks(np.zeros(1000)), equal)


def test_values_at_the_ends_are_inside_and_cells_without_a_range_do_not_count():
    stated = pd.DataFrame({"value": [1.0, 4, "x", "?"], "low": [1.0, 1, None, 1], "high": [3.0, 3, None, 3]})
    assert is_inside(stated).tolist() == [True, False, False]


def test_stated_cells_are_those_of_the_reasons(data):
    rows = planted(data, "bills", 1, 0).rows
    detector = VAEDetector(novelty=True, random_state=0, max_iter=20).fit(rows)
    stated = stated_cells(detector, rows, np.array([0, 7]))
    texts = detector.reasons(rows.iloc[[0, 7]])
    assert all(column in texts[row] for row, column in zip(stated["row"], stated["column"], strict=True))
    first = stated[stated["row"] == 0].iloc[0]
    assert first["column"] == "amount"
    assert first["value"] == rows.loc[0, "amount"] > first["high"]


def test_every_method_finds_an_amount_times_100(data):
    table = planted(data, "bills", 1, 0)
    for name, method in METHODS.items():
        findings = method(table, 0)
        assert findings.scores.shape == (90,)
        if name not in ("value frequency", "ECOD"):  # all amounts differ; ECOD sees only ranks
            assert findings.scores.argmax() == 0, name
        if findings.cells is not None:
            assert findings.cells.shape == table.mask.shape


def test_ecod_adds_the_smaller_tail_of_each_column():
    rows = pd.DataFrame({"one": [1.0, 2, 3, 10], "two": [5.0, 5, 5, 1]})
    table = Table(rows, np.zeros(4, bool), rows == 0, pd.DataFrame(), rows)
    tails = [[1 / 4, 3 / 4], [1 / 2, 3 / 4], [1 / 2, 3 / 4], [1 / 4, 1 / 4]]
    assert_allclose(METHODS["ECOD"](table, 0).scores, -np.log(tails).sum(1))


def test_a_rare_or_new_value_is_surprising_only_in_a_column_of_frequent_ones():
    train = pd.DataFrame({"kind": ["a"] * 7 + ["b"], "id": list("12345678"), "gap": [None] * 8})
    rows = pd.DataFrame({"kind": ["a", "b", "c"], "id": ["1", "2", "9"], "gap": [None, "x", None]})
    table = Table(rows, np.zeros(3, bool), rows.isna(), pd.DataFrame(), train)
    findings = METHODS["value frequency"](table, 0)
    mean = 7 / 8 * np.log(9 / 8) + 1 / 8 * np.log(9 / 2)
    assert_allclose(findings.cells["kind"], [np.log(9 / 8) - mean, np.log(9 / 2) - mean, np.log(9) - mean])
    assert_allclose(findings.cells["id"], [0, 0, np.log(2)], atol=1e-12)
    assert_allclose(findings.cells["gap"], [0, np.log(9), 0], atol=1e-12)
    assert_allclose(findings.scores, findings.cells.max(axis=1))


def test_the_command_writes_figures_and_a_page_and_resumes(start, tmp_path, monkeypatch):
    figures = start("--rates", 0, 0.05)
    found = figures[(figures["setting"] == "planted") & (figures["measure"] == AP)]
    assert set(found["table"]) == {"bills", "loans", "beers"}
    assert found.loc[found["method"] == "5 neighbours", "value"].min() > 0.9
    text = (tmp_path / "results" / "errors.md").read_text()
    assert "### 5 % of the rows" in text
    assert "| unit | 1.00 |" in text
    assert "Average precision of cells:" in text
    assert str(tmp_path) not in text
    monkeypatch.setattr(errors, "measure", lambda *_: pytest.fail("measured again"))
    assert len(start("--rates", 0, 0.05)) == len(figures)


def test_a_trial_on_few_rows_is_never_mixed_with_whole_tables(start, tmp_path):
    start("--tables", "bills", "--quick", methods=["value frequency"])
    assert "for development only" in (tmp_path / "results" / "errors.md").read_text()
    figures = start("--settings", "planted", "--tables", "bills", "--rates", 0.01, methods=["value frequency"])
    assert set(figures["most"]) == {0, 500}
    assert "for development only" not in (tmp_path / "results" / "errors.md").read_text()


def test_a_method_that_fails_gets_the_figures_of_a_constant_score(start, tmp_path, monkeypatch):
    def fail(table, seed):
        raise ValueError("no\nway")

    monkeypatch.setitem(METHODS, "value frequency", fail)
    figures = start("--settings", "outlier", "--tables", "beers").query("method == 'value frequency'")
    assert set(figures["error"]) == {"ValueError: no way"}
    found = figures.set_index("measure")["value"]
    assert found[["AUROC", AP, CELLS]].to_list() == [0.5, pytest.approx(10 / 60), pytest.approx(10 / 120)]
    assert "- value frequency on beers: ValueError: no way" in (tmp_path / "results" / "errors.md").read_text()


def test_unknown_tables_and_folders_are_one_sentence(start, tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        start("--tables", "bils")
    assert "There is no table bils" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="1"):
        main(["--data", str(tmp_path), "--output", str(tmp_path)])
    assert "Name the folder that holds make_tables.py" in capsys.readouterr().err


def test_fractions_of_few_cases_are_pooled_and_others_averaged_over_tables():
    figures = pd.DataFrame(
        [("one", KIND + "unit", 1.0, 1), ("two", KIND + "unit", 0.0, 3), ("one", AP, 1.0, 1), ("two", AP, 0.0, 3)],
        columns=["table", "measure", "value", "of"],
    ).assign(method="m", setting="planted", rate=10.0, seed=0, most=0, commit="abc", error="")
    assert averages(figures).loc["m"].to_dict() == {KIND + "unit": 0.25, AP: 0.5}
    text = write_page(figures, ["machine: one"])
    assert "### 10 wrong rows" in text
    assert "| m | 0.500 | 2 |" in text
    assert "| unit | 0.25 | 4 |" in text
