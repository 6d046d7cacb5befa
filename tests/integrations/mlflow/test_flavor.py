"""The flavor and its signature, through MLflow's pyfunc and its server's request handler."""

import io
import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations
from numpy.testing import assert_allclose

from vae_anomaly import VAEDetector, load
from vae_anomaly.errors import DataError, ModelFileError
from vae_anomaly.integrations.mlflow import as_request, load_model, save_model

EXPLAINED = {"explain": True, "alerts": 3}


@pytest.fixture(scope="module")
def folder(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("flavor") / "model"
    save_model(detector, path)
    return path


@pytest.fixture
def served(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    return mlflow.pyfunc.load_model(str(folder))


def answer(model, body: str, kind: str) -> pd.DataFrame:
    """The server's answer to a request, as a frame."""
    answered = invocations(body.encode(), kind, model, model.metadata.get_input_schema())
    assert answered.status == 200
    return pd.DataFrame(json.loads(answered.response)["predictions"])


def as_json(table: pd.DataFrame, **params: object) -> str:
    """A request with all digits of numbers, unlike ``DataFrame.to_json``, and null for missing cells."""
    rows = [[None if pd.isna(cell) else cell for cell in row] for row in table.astype(object).to_numpy().tolist()]
    return json.dumps({"dataframe_split": {"columns": table.columns.tolist(), "data": rows}, "params": params})


def test_the_model_folder_has_our_file_and_no_pickle(folder, detector, table):
    assert_allclose(load(folder / "model.vae").score_samples(table), detector.score_samples(table), rtol=0)
    assert [path.name for path in folder.iterdir() if path.suffix in {".pkl", ".pickle", ".skops", ".py"}] == []


def test_a_loaded_detector_scores_the_same_table_alike(folder, detector, table, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    assert (load_model(str(folder)).score_samples(table) == detector.score_samples(table)).all()


def test_the_signature_names_the_columns(served, table):
    assert served.metadata.get_input_schema().input_names() == table.columns.tolist()


def test_the_frame_of_the_fit_is_taken_as_it_is(served, detector, table):
    """All types of columns, whole numbers and truth values among them, with and without missing cells."""
    for rows in (table, table.dropna(), table[:1], table[3:4], table.convert_dtypes()):
        found = served.predict(rows, params={"false_alarm_rate": 0.1})
        expected = detector.detect(rows, false_alarm_rate=0.1).reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("dated", [False, True], ids=["text", "dates"])
def test_frames_of_read_csv_are_taken_for_fit_and_score(tmp_path, gaps, dated):
    """A column of whole numbers has floats where a cell is missing; either frame is scored by a model of either."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "amount": rng.normal(50, 9, 60).round(2),
            "count": rng.integers(3, 90, 60),
            "account": rng.choice([4100, 4200, 4711], 60),
            "zip": rng.choice(["00123", "10115", "80331"], 60),
            "paid": rng.random(60) < 0.5,
            "urgent": rng.integers(0, 2, 60),
            "day": pd.date_range("2026-01-01", periods=60).astype(str),
            "town": rng.choice(["Bonn", "Kiel"], 60),
        }
    )
    holes = table.copy().astype(object)
    for row, name in enumerate(holes):
        holes.loc[row, name] = None

    def read(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.read_csv(io.StringIO(frame.to_csv(index=False)), parse_dates=["day"] if dated else None)

    trained = read(holes if gaps else table)
    detector = VAEDetector(max_iter=10, random_state=0, kinds={"account": "category"}).fit(trained)
    save_model(detector, tmp_path / "model")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    for rows in (read(table), read(holes), read(holes)[:1], read(holes)[4:5]):
        assert_allclose(model.predict(rows)["anomaly_score"], detector.anomaly_score(rows), rtol=0)


def test_text_among_numbers_is_an_unreadable_cell_as_in_detect(served, detector, table):
    changed = table.assign(number=table["number"].astype(object))
    changed.iloc[3, changed.columns.get_loc("number")] = "12.0 oz"
    found = served.predict(changed, params={"explain": True, "alerts": 1})
    assert found["reason"][3].startswith("number '12.0 oz' is not a number")
    assert_allclose(found["anomaly_score"], detector.anomaly_score(changed), rtol=0)


def test_a_request_gives_what_detect_gives(served, detector, table):
    found = served.predict(as_request(detector, table), params={"fdr": 0.5})
    pd.testing.assert_frame_equal(found, detector.detect(table, fdr=0.5), check_exact=True)


def test_without_a_rule_the_threshold_flags(served, detector, table):
    flagged = served.predict(as_request(detector, table))["is_anomaly"]
    assert (flagged == (detector.predict(table) == -1)).all()


def test_reasons_are_those_of_the_flagged_rows(served, detector, table):
    found = served.predict(as_request(detector, table), params=EXPLAINED)
    flagged = found["is_anomaly"]
    assert flagged.sum() == 3
    assert found["reason"][flagged].tolist() == detector.reasons(table[flagged]).tolist()
    assert (found["reason"][~flagged] == "").all()


def test_mixed_rows_in_json_score_as_in_the_table(served, detector, table):
    """Whole numbers and truth values as such, missing cells as null, dates and categories as text."""
    body = as_json(as_request(detector, table).assign(whole=table["whole"], flag=table["flag"], truth=table["truth"]))
    assert "null" in body
    assert_allclose(answer(served, body, "application/json")["anomaly_score"], detector.anomaly_score(table), rtol=1e-9)


def test_params_come_with_json(served, detector, table):
    found = answer(served, as_json(as_request(detector, table), **EXPLAINED), "application/json")
    assert found["is_anomaly"].sum() == 3
    assert found["reason"].astype(bool).sum() == 3


def test_columns_in_another_order_and_more_of_them_score_the_same(served, detector, table):
    request = as_request(detector, table)[::-1]
    body = as_json(request[request.columns[::-1]].assign(more=1.0))
    expected = detector.anomaly_score(table[::-1])
    assert_allclose(answer(served, body, "application/json")["anomaly_score"], expected, rtol=1e-9)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda request: request.drop(columns="number"), "missing inputs"),
        (lambda request: request.assign(day="tomorrow"), "Column 'day' held dates in fit; found text 'tomorrow'"),
        (lambda request: request.assign(truth="perhaps"), "Column 'truth' held truth values"),
        (lambda request: request.assign(length="long"), "Column 'length' held durations in fit"),
        (lambda request: request.assign(number=np.inf), "infinite"),
    ],
    ids=["missing", "date", "truth", "duration", "infinite"],
)
def test_rows_that_do_not_fit_are_a_client_error(served, detector, table, change, message):
    with pytest.raises(MlflowException, match=message) as raised:
        served.predict(change(as_request(detector, table)))
    assert raised.value.get_http_status_code() == 400


@pytest.mark.parametrize("name, text", [("day", "31.31.2020"), ("length", "long"), ("truth", "perhaps")])
def test_an_unreadable_cell_is_scored_as_in_the_table(served, detector, table, name, text):
    changed = table.assign(**{name: table[name].astype(object)})
    changed.iloc[3, changed.columns.get_loc(name)] = text
    expected = detector.anomaly_score(changed)
    assert expected[3] > detector.anomaly_score(table)[3]
    request = as_request(detector, changed)
    assert request[name].iloc[3] == text
    assert_allclose(served.predict(request)["anomaly_score"], expected, rtol=1e-9)


def test_text_among_numbers_cannot_be_in_a_request(detector, table):
    changed = table.assign(number=table["number"].astype(object))
    changed.iloc[3, changed.columns.get_loc("number")] = "12.0 oz"
    with pytest.raises(DataError, match="'number' has text '12.0 oz' in row 4 .*; a request has numbers there"):
        as_request(detector, changed)


def test_two_rules_are_one_too_many(served, detector, table):
    with pytest.raises(MlflowException, match="one rule at a time"):
        served.predict(as_request(detector, table), params={"fdr": 0.1, "alerts": 3})


def test_the_example_is_a_training_row_without_missing_cells(served, detector, table):
    example = served.input_example
    requests = as_request(detector, table)
    alike = (requests[["whole", "flag", "text", "day"]] == example[["whole", "flag", "text", "day"]].iloc[0]).all(
        axis=1
    )
    assert alike.sum() == 1
    assert example.notna().all(axis=None)
    assert example["number"][0] == pytest.approx(requests["number"][alike].iloc[0], rel=1e-6)


def test_the_example_is_served(served):
    example = served.input_example
    found = answer(served, as_json(example), "application/json")
    assert found["anomaly_score"].tolist() == served.predict(example)["anomaly_score"].tolist()


@pytest.fixture(scope="module")
def of_array(tmp_path_factory):
    X = np.random.default_rng(0).normal(size=(60, 3))
    X[2, 1] = np.nan
    path = tmp_path_factory.mktemp("array") / "model"
    detector = VAEDetector(max_iter=10, random_state=0).fit(X)
    save_model(detector, path)
    return X, detector.anomaly_score(X), path


@pytest.mark.parametrize(
    "body",
    [lambda X: json.dumps({"inputs": X.tolist()}).replace("NaN", "null"), lambda X: as_json(pd.DataFrame(X))],
    ids=["inputs", "split"],
)
def test_rows_of_an_array_need_no_names(of_array, body):
    X, expected, path = of_array
    found = answer(mlflow.pyfunc.load_model(str(path)), body(X), "application/json")
    assert_allclose(found["anomaly_score"], expected, rtol=1e-9)


def test_an_array_is_accepted(of_array):
    X, expected, path = of_array
    model = mlflow.pyfunc.load_model(str(path))
    assert (model.predict(X)["anomaly_score"] == expected).all()
    assert len(model.predict(np.array([[1, 2, 3]]))) == 1  # of whole numbers


def test_images_are_rows_of_pixels(tmp_path):
    X = np.random.default_rng(0).uniform(size=(40, 16))
    detector = VAEDetector(max_iter=5, image_shape=(1, 4, 4), random_state=0).fit(X)
    save_model(detector, tmp_path / "model")
    found = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(X)
    assert (found["anomaly_score"] == detector.anomaly_score(X)).all()


def test_a_table_that_does_not_fit_is_an_error(detector, table):
    with pytest.raises(DataError, match="Column 'day' held dates in fit"):
        as_request(detector, table.assign(day="tomorrow"))


def test_a_model_of_another_library_is_an_error(tmp_path):
    model = mlflow.models.Model(flavors={"sklearn": {}})
    model.save(str(tmp_path / "MLmodel"))
    with pytest.raises(ModelFileError, match="a model of sklearn, not of vae-anomaly"):
        load_model(str(tmp_path))


def test_an_altered_file_is_an_error(folder, tmp_path):
    altered = tmp_path / "model"
    mlflow.artifacts.download_artifacts(str(folder), dst_path=str(tmp_path))
    data = bytearray(Path(altered, "model.vae").read_bytes())
    data[-1] ^= 1
    Path(altered, "model.vae").write_bytes(data)
    with pytest.raises(ModelFileError, match="damaged"):
        load_model(str(altered))
