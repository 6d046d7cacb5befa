"""The flavor and its signature, through MLflow's pyfunc and its server's request handler."""

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


def test_numbers_are_declared_double_and_the_rest_text(served):
    declared = {column.name: column.type.name for column in served.metadata.get_input_schema().inputs}
    assert {name for name, kind in declared.items() if kind == "double"} == {"number", "whole", "flag"}
    assert set(declared.values()) == {"double", "string"}


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


def test_mixed_rows_in_csv_score_as_in_the_table(served, detector, table):
    body = table.to_csv(index=False)
    assert_allclose(answer(served, body, "text/csv")["anomaly_score"], detector.anomaly_score(table), rtol=1e-9)


def test_params_come_with_json(served, detector, table):
    found = answer(served, as_json(as_request(detector, table), **EXPLAINED), "application/json")
    assert found["is_anomaly"].sum() == 3
    assert found["reason"].astype(bool).sum() == 3


def test_columns_in_another_order_and_more_of_them_score_the_same(served, detector, table):
    request = as_request(detector, table)[::-1]
    body = request[request.columns[::-1]].assign(more=1.0).to_csv(index=False)
    assert_allclose(answer(served, body, "text/csv")["anomaly_score"], detector.anomaly_score(table[::-1]), rtol=1e-9)


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
    "kind, body",
    [
        ("application/json", lambda X: json.dumps({"inputs": X.tolist()}).replace("NaN", "null")),
        ("application/json", lambda X: as_json(pd.DataFrame(X))),
        ("text/csv", lambda X: pd.DataFrame(X, columns=["a", "b", "c"]).to_csv(index=False)),
    ],
    ids=["inputs", "split", "csv"],
)
def test_rows_of_an_array_need_no_names(of_array, kind, body):
    X, expected, path = of_array
    assert_allclose(answer(mlflow.pyfunc.load_model(str(path)), body(X), kind)["anomaly_score"], expected, rtol=1e-9)


def test_an_array_is_accepted(of_array):
    X, expected, path = of_array
    assert (mlflow.pyfunc.load_model(str(path)).predict(X)["anomaly_score"] == expected).all()


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
