"""Graphs score as their detectors do, for every kind of model and of row, without torch and without this package."""

import json
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from vae_anomaly import VAEDetector
from vae_anomaly.data.columns import CodeCell, FlagCell
from vae_anomaly.errors import DataError, ExportError, MissingExtraError
from vae_anomaly.integrations.onnx import export, exporting
from vae_anomaly.integrations.onnx.graph import ScoreGraph

READER = Path(__file__).parents[2] / "examples" / "score_onnx.py"
MODELS = {
    "outlier detection": {},
    "few exemplars": {"novelty": True, "rows": 120},
    "many exemplars": {"novelty": True},
    "many exemplars, few latents": {"novelty": True, "n_components": 3},
    "importance-weighted": {"bound": "iwae", "n_draws": 3},
    "importance-weighted, many exemplars": {"bound": "iwae", "novelty": True},
    "standard normal": {"prior": "gaussian"},
    "Gaussian noise": {"likelihood": "gaussian"},
    "plain autoencoder": {"variational": False},
    "float32": {"precision": "float32"},
}


def mixed_table(rng: np.random.Generator, n_rows: int) -> pd.DataFrame:
    """Every kind of column, with missing cells in most."""
    level = rng.normal(size=n_rows)
    table = pd.DataFrame(
        {
            "level": level,
            "height": 2 * level + rng.normal(0, 0.1, n_rows),
            "count": rng.integers(0, 1000, n_rows),
            "cost": np.where(rng.random(n_rows) < 0.3, 0.0, 100 * np.exp(rng.normal(size=n_rows))),
            "took": pd.to_timedelta(rng.integers(0, 9000, n_rows), unit="s"),
            "on": np.where(level > 0, True, False).astype(object),
            "city": rng.choice(["Oslo", "Rome", "Bern"], n_rows, p=[0.6, 0.3, 0.1]),
            "size": pd.Categorical(rng.choice([1, 2, 3], n_rows)),
            "when": pd.Timestamp("2024-02-28T22:00") + pd.to_timedelta(rng.integers(0, 10**7, n_rows), unit="s"),
        }
    )
    table["id"] = [f"K-{k:04}" for k in range(n_rows)]
    table.loc[table.index[9:12], "id"] = ["k 12", "K-17-Ab", None]
    table["until"] = table["when"] + pd.to_timedelta(rng.integers(0, 10**5, n_rows), unit="s")
    for name in ("level", "took", "on", "city", "when", "until"):
        table.loc[rng.random(n_rows) < 0.1, name] = None
    return table


def new_rows(rng: np.random.Generator, n_rows: int = 300) -> pd.DataFrame:
    """Rows of another sample; some are extreme, some have values that training did not see."""
    table = mixed_table(rng, n_rows).astype({"size": object})
    table.loc[0, "city"], table.loc[1, "level"], table.loc[2, "level"] = "Atlantis", 1e9, -1e300
    table.loc[3, "when"], table.loc[4, "when"] = pd.Timestamp("1969-12-31T23:59:59.999999"), pd.Timestamp("2200-01-01")
    table.loc[9, "when"] = table["when"].max() + pd.Timedelta("100D 5h")  # runs on
    table.loc[5, "size"] = 7
    table.loc[6, "cost"], table.loc[7, "cost"], table.loc[8, "cost"] = -1e300, 1.7e308, -50
    return table.astype({"size": pd.CategoricalDtype([1, 2, 3, 7])})


def fitted_to(table: pd.DataFrame, **parameters: object) -> VAEDetector:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Columns of which only the shape of the text is used")
        return VAEDetector(random_state=0, max_iter=20, **parameters).fit(table)


def run(graph: Path, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tuple(onnxruntime.InferenceSession(graph).run(["anomaly_score", "is_anomaly"], {"rows": rows}))


@pytest.fixture(scope="module")
def detector():
    return fitted_to(mixed_table(np.random.default_rng(0), 400))


@pytest.fixture(scope="module")
def graph(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "mixed.onnx"
    assert export(detector, path) < 1e-10
    return path


@pytest.mark.parametrize("name", MODELS)
def test_the_traced_module_scores_as_the_detector_does(name):
    parameters = {"rows": 400, **MODELS[name]}
    detector = fitted_to(mixed_table(np.random.default_rng(0), parameters.pop("rows")), **parameters)
    fitted, new = detector.model_, new_rows(np.random.default_rng(1))
    with torch.no_grad():
        scores, flags = ScoreGraph(fitted)(torch.as_tensor(fitted.schema.as_numbers(new)))
    expected = detector.anomaly_score(new)
    assert_allclose(scores, expected, rtol=1e-4 if name == "float32" else 1e-12)
    assert_array_equal(flags, -scores.numpy() < detector.offset_)
    assert len(set(flags.tolist())) == 2


@pytest.mark.parametrize("n_rows", [1, 7, 300])
def test_the_graph_scores_any_number_of_rows_as_the_detector_does(detector, graph, n_rows):
    new = new_rows(np.random.default_rng(1))[:n_rows]
    scores, flags = run(graph, detector.schema_.as_numbers(new))
    assert_allclose(scores, detector.anomaly_score(new), rtol=1e-10)
    assert_array_equal(flags, detector.predict(new) == -1)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_exported(name, tmp_path):
    parameters = {"rows": 400, **MODELS[name]}
    detector = fitted_to(mixed_table(np.random.default_rng(0), parameters.pop("rows")), **parameters)
    new = new_rows(np.random.default_rng(1))
    assert export(detector, tmp_path / "a.onnx") < (1e-4 if name == "float32" else 1e-10)
    for n_rows in (1, 7, 300):
        scores, flags = run(tmp_path / "a.onnx", detector.schema_.as_numbers(new[:n_rows]))
        expected = detector.anomaly_score(new[:n_rows])
        assert_allclose(scores, expected, rtol=1e-4 if name == "float32" else 1e-10)
        assert_array_equal(flags, -scores < detector.offset_)


def test_the_score_of_a_row_does_not_depend_on_other_rows(detector, graph):
    rows = detector.schema_.as_numbers(new_rows(np.random.default_rng(1))[:5])
    one_by_one = np.concatenate([run(graph, row[None])[0] for row in rows])
    assert_allclose(run(graph, rows)[0], one_by_one, rtol=1e-12)


def test_a_training_row_does_not_explain_itself(detector, graph):
    """As in the detector, and also after its numbers are rounded."""
    training = mixed_table(np.random.default_rng(0), 400)
    scores, _ = run(graph, detector.schema_.as_numbers(training))
    assert_allclose(scores, detector.anomaly_score(training), rtol=1e-9)
    rounded, _ = run(graph, detector.schema_.as_numbers(training.assign(**training.select_dtypes(float).round(6))))
    assert_allclose(rounded, scores, atol=0.01 * scores.std())


@pytest.mark.parametrize("name, text", [("level", "12.0 oz"), ("when", "31.31.2020")])
def test_an_unreadable_cell_scores_as_in_the_detector(detector, graph, name, text):
    rows = new_rows(np.random.default_rng(1))
    rows = rows.assign(**{name: rows[name].astype(object)})
    rows.loc[3, name] = text
    scores, _ = run(graph, detector.schema_.as_numbers(rows))
    assert_allclose(scores, detector.anomaly_score(rows), rtol=1e-9)


def test_invalid_codes_count_as_unseen_and_infinity_is_anomalous(detector, graph):
    rows = detector.schema_.as_numbers(new_rows(np.random.default_rng(1))[10:11]).repeat(6, 0)
    city, on, level = (detector.schema_.names.index(name) for name in ("city", "on", "level"))
    unchanged, _ = run(graph, rows[:1])
    rows[0, city], rows[1, city], rows[2, city] = 3, -1, 0.5  # three codes are known: 0, 1 and 2
    rows[3, on] = 0.5
    rows[4, level], rows[5, level] = np.inf, -np.inf
    scores, flags = run(graph, rows)
    assert_allclose(scores[1:3], scores[0])
    assert np.isfinite(scores).all()
    assert scores.min() > unchanged.max() + 3
    assert flags[4:].all()


def test_scoring_needs_only_the_description_and_onnxruntime(detector, graph, tmp_path):
    new = new_rows(np.random.default_rng(1))
    new.drop(columns="took").assign(took=new["took"].astype(str)).to_csv(tmp_path / "new.csv", index=False)
    code = (
        "import runpy, sys\n"
        "sys.modules['torch'] = sys.modules['vae_anomaly'] = None\n"
        "runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(READER), str(graph), "new.csv"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    (tmp_path / "scores.csv").write_text(done.stdout)
    scored = pd.read_csv(tmp_path / "scores.csv")
    assert_allclose(scored["anomaly_score"], detector.anomaly_score(new), rtol=1e-9)
    assert_array_equal(scored["is_anomaly"], detector.predict(new) == -1)


def test_the_description_names_columns_levels_and_threshold(detector, graph):
    session = onnxruntime.InferenceSession(graph)
    about = json.loads(session.get_modelmeta().custom_metadata_map["vae_anomaly"])
    columns = {column["name"]: column for column in about["columns"]}
    assert list(columns) == detector.schema_.names
    assert columns["city"] == {
        "name": "city", "kind": "category", "levels": ["Oslo", "Rome", "Bern"], "codes": [0, 1, 2], "unseen": 3,
    }  # fmt: skip
    assert columns["on"] == {"name": "on", "kind": "flag"}
    assert columns["took"] == {"name": "took", "kind": "number", "unit": "seconds"}
    assert columns["when"]["unit"].startswith("microseconds since 1970")
    assert about["format"] == 1
    assert about["threshold"] == -detector.offset_
    assert about["exported_with"]["torch"] == torch.__version__
    assert (session.get_inputs()[0].type, session.get_inputs()[0].shape[1]) == ("tensor(double)", 11)


def test_a_graph_is_valid_and_has_no_paths_of_the_machine(graph):
    onnx.checker.check_model(onnx.load(graph), full_check=True)
    content = graph.read_bytes()
    assert b"site-packages" not in content
    assert str(READER.parents[1]).encode() not in content


def test_the_threshold_is_the_current_one(tmp_path):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    detector = fitted_to(table, n_estimators=1, hidden_layer_sizes=(4,), likelihood="gaussian", prior="gaussian")
    detector.offset_ = float(np.median(detector.score_samples(table)))
    export(detector, tmp_path / "a.onnx")
    _, flags = run(tmp_path / "a.onnx", table.to_numpy())
    assert flags.sum() == 30


def test_images_are_scored_as_the_detector_does():
    pixels = np.random.default_rng(0).integers(0, 200, (50, 16)).astype(float)
    detector = VAEDetector(image_shape=(1, 4, 4), novelty=True, max_iter=5, random_state=0).fit(pixels)
    new = np.vstack([pixels[:3] + 0.5, np.full((1, 16), 255.0), np.full((1, 16), np.nan)])
    with torch.no_grad():
        scores, _ = ScoreGraph(detector.model_)(torch.as_tensor(new))
    assert_allclose(scores, detector.anomaly_score(new), rtol=1e-12)


def test_times_of_day_are_an_error(tmp_path):
    table = pd.DataFrame({"t": [f"{hour:02}:15" for hour in range(24)] * 2, "x": np.arange(48.0) ** 2})
    detector = VAEDetector(max_iter=2, random_state=0).fit(table)
    with pytest.raises(ExportError, match="^Times of day are not exported: 't'"):
        export(detector, tmp_path / "t.onnx")


def test_convolutional_networks_are_an_error(tmp_path):
    pixels = np.random.default_rng(0).random((40, 256))
    code = VAEDetector(purpose="representation", image_shape=(1, 16, 16), max_iter=2, random_state=0).fit(pixels)
    with pytest.raises(ExportError, match="^Convolutional networks are not exported"):
        export(code, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_with_other_scores_is_not_written(detector, graph, tmp_path, monkeypatch):
    content = onnx.load(graph)
    (weight,) = [array for array in content.graph.initializer if array.name == "vae.encoder.linear.bias"]
    changed = onnx.numpy_helper.to_array(weight) + 0.01
    weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
    monkeypatch.setattr(exporting, "_graph", lambda _: content)
    (tmp_path / "a.onnx").write_text("old")
    with pytest.raises(ExportError, match="^The graph's scores differ from the detector's by 0.*Nothing was written"):
        export(detector, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_text() == "old"


def test_the_rows_compared_have_missing_extreme_and_unseen_cells(detector):
    numbers, cells = exporting.comparison_rows(detector.model_)
    assert np.isnan(cells[400:]).mean() > np.isnan(cells[:400]).mean() + 0.05
    assert (np.abs(cells[400:, :3]) > 10).any(0).all()
    assert np.isposinf(cells[400:, :3]).any(0).all()
    assert_array_equal(np.isposinf(cells).sum(), np.isposinf(numbers).sum())
    for index, cell in enumerate(detector.schema_.cells):
        if isinstance(cell, FlagCell) or (isinstance(cell, CodeCell) and cell.part is None):
            assert (cells[400:, index] == cell.unseen).any()
            assert_array_equal(cells[:, index], numbers[:, cell.column])


def test_an_unfitted_detector_and_a_missing_folder_are_named(detector, graph, tmp_path, monkeypatch):
    with pytest.raises(NotFittedError):
        export(VAEDetector(), tmp_path / "a.onnx")
    monkeypatch.setattr(exporting, "_graph", lambda _: onnx.load(graph))
    with pytest.raises(DataError, match="there is no folder"):
        export(detector, tmp_path / "none" / "a.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(detector, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'^ONNX needs {package}, .*: pip install "vae-anomaly\[onnx\]"$'):
        export(detector, tmp_path / "a.onnx")


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    """A table in which a number is a category, a detector of it and its graph."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"account": rng.choice([4400, 4930, 70115], 200), "total": rng.normal(size=200)})
    detector = fitted_to(table, kinds={"account": "category"})
    path = tmp_path_factory.mktemp("graphs") / "accounts.onnx"
    export(detector, path)
    return table, detector, path


@pytest.mark.parametrize("storage", [int, float, str])
def test_a_number_that_is_a_category_scores_as_in_the_detector(accounts, storage):
    table, detector, path = accounts
    new = table[:20].astype({"account": storage})
    scored = runpy.run_path(str(READER))["score"](str(path), new)
    assert_allclose(scored["anomaly_score"], detector.anomaly_score(new), rtol=1e-9)
