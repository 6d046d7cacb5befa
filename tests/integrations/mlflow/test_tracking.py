"""A tracked fit in MLflow's store, and fits whose store does not answer or fails."""

import json
import os
import pickle
import time

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from vae_anomaly import VAEDetector
from vae_anomaly.errors import FitWarning, TrackingError
from vae_anomaly.integrations.mlflow import MLflowCallback, load_model, register
from vae_anomaly.integrations.mlflow.datasets import TableDataset
from vae_anomaly.integrations.mlflow.signatures import signature_of

AWAY = "http://127.0.0.1:9"  # nobody listens at the port of "discard"


def tracked(table: pd.DataFrame, callback: MLflowCallback, **parameters: object) -> VAEDetector:
    chosen = {"max_iter": 20, "random_state": 0, **parameters}
    return VAEDetector(callbacks=[callback], **chosen).fit(table)


@pytest.fixture
def run_of(store):
    """The run of a callback, from the store."""
    return lambda callback: store.get_run(callback.run_id)


def test_each_round_is_logged_with_the_values_of_the_history(store, table):
    callback = MLflowCallback()
    detector = tracked(table, callback, purpose="representation", validation_fraction=0.3, max_iter=40)
    steps = detector.history_["step"]
    assert "held_out_elbo" in detector.history_
    for name in detector.history_.keys() - {"step"}:
        logged = [(metric.step, metric.value) for metric in store.get_metric_history(callback.run_id, name)]
        assert logged == list(zip(steps, detector.history_[name], strict=True))
    seconds = [metric.value for metric in store.get_metric_history(callback.run_id, "step_seconds")]
    assert len(seconds) == len(steps)
    assert min(seconds) > 0


def test_kinds_are_logged_and_many_of_them_are_shortened(store, run_of):
    table = pd.DataFrame(
        np.random.default_rng(0).normal(size=(40, 300)), columns=[f"column {k:020}" for k in range(300)]
    )
    callback = MLflowCallback()
    tracked(table, callback, max_iter=2, kinds=dict.fromkeys(table, "number"))
    logged = run_of(callback).data.params["kinds"]
    assert logged.startswith("{'column 00000000000000000000': 'number', ")
    assert len(logged) == 6000


class Interrupting:
    """A callback that interrupts a fit after ``rounds`` rounds."""

    def __init__(self, rounds):
        self.rounds = rounds

    def on_fit_task_end(self, estimator, context, *, metadata):
        if context.parent is not None and context.task_id == self.rounds:
            raise KeyboardInterrupt


def test_the_run_of_a_resumed_fit_begins_at_its_step(store, table, tmp_path, monkeypatch):
    monkeypatch.setattr("vae_anomaly.training.checkpoints.EVERY", 0.0)
    monkeypatch.setattr("vae_anomaly.training.checkpoints.DEARER", 0.0)
    parameters = {"max_iter": 20, "random_state": 0, "checkpoint": tmp_path / "state"}
    with pytest.raises(KeyboardInterrupt):
        VAEDetector(**parameters, callbacks=[Interrupting(5)]).fit(table)
    callback = MLflowCallback()
    detector = VAEDetector(**parameters, callbacks=[callback]).fit(table)
    steps = [metric.step for metric in store.get_metric_history(callback.run_id, "elbo")]
    timed = [metric.step for metric in store.get_metric_history(callback.run_id, "step_seconds")]
    assert steps == detector.history_["step"][5:]
    assert timed == steps[1:]  # the start of the first one is unknown


def test_metrics_are_sent_together_and_not_round_by_round(store, table, monkeypatch):
    sent, send = [], mlflow.MlflowClient.log_batch

    def counted(client, run_id, metrics=(), **more):
        sent.append(len(metrics))
        send(client, run_id, metrics=metrics, **more)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", counted)
    detector = tracked(table, MLflowCallback())
    assert max(sent) == len(detector.history_["step"]) * len(detector.history_)
    assert len(sent) < 6


def test_the_metrics_of_a_long_fit_are_sent_during_training(store, table, monkeypatch):
    monkeypatch.setattr("vae_anomaly.integrations.mlflow.store.SEND_EVERY", 0.0)
    callback, seen = MLflowCallback(), []

    class Watcher:
        def on_fit_task_end(self, estimator, context):
            seen.append(len(store.get_metric_history(callback.run_id, "elbo")))

    VAEDetector(max_iter=4, callbacks=[callback, Watcher()]).fit(table)
    assert seen[:4] == [1, 2, 3, 4]


def test_the_machine_is_measured(store, table, run_of, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.01")
    callback = MLflowCallback()
    tracked(table, callback, max_iter=200)
    assert "system/cpu_utilization_percentage" in run_of(callback).data.metrics


def test_a_callback_can_be_pickled():
    assert pickle.loads(pickle.dumps(MLflowCallback(experiment="sensors"))).experiment == "sensors"


def test_parameters_are_logged_with_the_values_chosen_for_auto(run_of, table):
    callback = MLflowCallback()
    detector = tracked(table, callback)
    params = run_of(callback).data.params
    assert (params["n_components"], params["n_components_"]) == ("auto", str(detector.n_components_))
    assert (params["prior_"], params["likelihood_"]) == (detector.prior_, detector.likelihood_)
    assert (params["device_"], params["n_samples_fit_"], params["random_state"]) == ("cpu", str(len(table)), "0")
    assert "callbacks" not in params


def test_tags_name_the_versions(run_of, table):
    callback = MLflowCallback()
    detector = tracked(table, callback)
    tags = run_of(callback).data.tags
    assert {name.removeprefix("version."): tag for name, tag in tags.items() if name.startswith("version.")} == (
        detector.versions_
    )


def test_the_model_is_logged_with_signature_and_example(store, run_of, table):
    callback = MLflowCallback()
    detector = tracked(table, callback)
    [output] = run_of(callback).outputs.model_outputs
    address = f"models:/{output.model_id}"
    assert (load_model(address).score_samples(table) == detector.score_samples(table)).all()
    model = mlflow.pyfunc.load_model(address)
    assert model.metadata.signature == signature_of(detector)
    assert "whole (number)" in store.get_logged_model(output.model_id).params["columns"]
    assert model.input_example["day"][0] in {str(day) for day in table["day"]}


def test_the_table_is_logged_with_its_name_and_size(run_of, table, tmp_path):
    file = tmp_path / "sensors.csv"
    table.to_csv(file)
    callback = MLflowCallback(source=str(file))
    tracked(table, callback)
    [noted] = run_of(callback).inputs.dataset_inputs
    assert (noted.dataset.name, noted.dataset.profile) == ("sensors.csv", '{"num_rows": 80, "num_columns": 10}')
    assert str(file) in noted.dataset.source
    assert [tag.value for tag in noted.tags] == ["training"]
    columns = json.loads(noted.dataset.schema)["mlflow_colspec"]
    assert [(column["name"], column["type"]) for column in columns] == [
        *(("number", "double"), ("whole", "long"), ("flag", "long"), ("truth", "boolean"), ("maybe", "boolean")),
        *(("text", "string"), ("category", "string"), ("code", "string"), ("day", "datetime"), ("length", "string")),
    ]


@pytest.mark.parametrize("name", ["number", "day", "text", "truth", "code"])
def test_the_digest_depends_on_every_cell(table, name):
    changed = table.copy()
    changed.loc[79, name] = table.loc[table[name].notna() & (table[name] != table[name][79]), name].iloc[0]
    assert TableDataset(changed, None).digest != TableDataset(table, None).digest
    assert TableDataset(table.copy(), None).digest == TableDataset(table, None).digest


def test_the_digest_depends_on_the_order_of_rows_and_on_names(table):
    others = [table, table[::-1], table.rename(columns={"number": "other"}), table[table.columns[::-1]]]
    assert len({TableDataset(other, None).digest for other in others}) == len(others)


def test_the_history_is_logged_as_a_figure(store, table):
    callback = MLflowCallback()
    tracked(table, callback)
    assert [artifact.path for artifact in store.list_artifacts(callback.run_id)] == ["history.png"]


def test_the_report_is_logged_on_request(store, table):
    callback = MLflowCallback(report=True)
    tracked(table, callback)
    [page] = [each.path for each in store.list_artifacts(callback.run_id) if each.path.endswith(".html")]
    address = f"runs:/{callback.run_id}/{page}"
    assert "<title>Anomalous rows of the training table</title>" in mlflow.artifacts.load_text(address)


def test_a_run_has_the_given_name_and_experiment(store, run_of, table):
    callback = MLflowCallback(experiment="sensors", run_name="first")
    tracked(table, callback)
    run = run_of(callback)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.info.experiment_id == store.get_experiment_by_name("sensors").experiment_id


def test_a_fit_in_an_active_run_is_logged_there_and_leaves_it_open(store, table):
    callback = MLflowCallback(run_name="not made")
    with mlflow.start_run() as run:
        tracked(table, callback)
        assert mlflow.active_run().info.run_id == callback.run_id == run.info.run_id
        assert store.get_run(run.info.run_id).info.status == "RUNNING"


def test_a_fit_that_fails_leaves_a_failed_run(store, table):
    class Broken:
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("broken")

    callback = MLflowCallback()
    with pytest.raises(RuntimeError, match="broken"):
        VAEDetector(callbacks=[callback, Broken()], max_iter=20).fit(table)
    assert store.get_run(callback.run_id).info.status == "FAILED"


def test_clones_are_tracked_each_in_its_own_run(store, table):
    estimator = VAEDetector(max_iter=10, callbacks=[MLflowCallback()])
    fitted = [clone(estimator).fit(table), clone(estimator).fit(table)]
    assert len({each.callbacks[0].run_id for each in fitted} - {None}) == 2


def test_tracking_does_not_change_the_model(store, table, detector):
    assert (tracked(table, MLflowCallback()).score_samples(table) == detector.score_samples(table)).all()


def test_arrays_are_tracked_too(run_of):
    callback = MLflowCallback()
    tracked(np.random.default_rng(0).normal(size=(50, 3)), callback)
    assert run_of(callback).inputs.dataset_inputs[0].dataset.profile == '{"num_rows": 50, "num_columns": 3}'


def test_scores_are_logged_in_the_run_of_the_fit(store, table, run_of):
    callback = MLflowCallback()
    found = tracked(table, callback).detect(table, alerts=7)
    callback.log_scores(found)
    metrics = run_of(callback).data.metrics
    assert (metrics["scored_rows"], metrics["flagged_rows"]) == (80, 7)
    assert metrics["anomaly_score_90"] == pytest.approx(np.quantile(found["anomaly_score"], 0.9))


def test_scores_of_a_model_are_logged_in_a_run_with_the_data_set_and_the_model(store, table, run_of):
    """The model is found by its file, its run, its version and its alias."""
    callback = MLflowCallback(source="today.csv")
    detector = tracked(table, callback)
    detector.save("sensors.vae")
    fit, found = callback.run_id, detector.detect(table)
    [logged] = run_of(callback).outputs.model_outputs
    register("sensors.vae", "sensors", alias="champion")
    for model in ("sensors.vae", f"runs:/{fit}/model", "models:/sensors/1", "models:/sensors@champion"):
        callback.log_scores(found, table, model=model)
        run = run_of(callback)
        assert (run.info.run_id != fit, run.data.params) == (True, {"model": model})
        assert run.data.metrics["anomaly_score_max"] == found["anomaly_score"].max()
        assert [noted.model_id for noted in run.inputs.model_inputs] == [logged.model_id]
        [noted] = run.inputs.dataset_inputs
        assert (noted.dataset.name, [tag.value for tag in noted.tags]) == ("today.csv", ["scoring"])
        metrics = store.get_logged_model(logged.model_id).metrics
        assert {metric.value for metric in metrics if metric.key == "scored_rows"} == {80}


def test_a_model_that_the_store_does_not_have_is_named_only(store, table, detector, run_of):
    detector.save("sensors.vae")
    callback = MLflowCallback()
    callback.log_scores(detector.detect(table), table, model="sensors.vae")
    run = run_of(callback)
    assert (run.data.params, run.inputs.model_inputs) == ({"model": "sensors.vae"}, [])


def test_without_an_answer_of_the_store_the_fit_goes_on_untracked(table, detector, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    callback, began = MLflowCallback(experiment="sensors"), time.monotonic()
    with pytest.warns(FitWarning, match=f"Tracking stopped: MLflow's store, {AWAY}, fails") as caught:
        found = tracked(table, callback)
    assert time.monotonic() - began < 30  # MLflow's own limit is four minutes
    assert len(caught) == 1
    assert callback.run_id is None
    assert (found.score_samples(table) == detector.score_samples(table)).all()


def test_without_an_answer_of_a_required_store_the_fit_fails(table, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    with pytest.raises(TrackingError, match="does not answer"):
        tracked(table, MLflowCallback(required=True))


def test_a_store_that_fails_during_the_fit_stops_the_tracking(store, table, detector, monkeypatch):
    def broken(*_args: object, **_more: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("vae_anomaly.integrations.mlflow.tracking.log_model", broken)
    callback = MLflowCallback(required=True)
    with pytest.warns(FitWarning, match="No space left on device"):
        found = tracked(table, callback)
    assert (found.score_samples(table) == detector.score_samples(table)).all()


def test_a_password_in_the_address_is_not_shown(table, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(TrackingError) as raised:
        tracked(table, MLflowCallback(required=True))
    assert "secret" not in str(raised.value)


def test_nothing_is_printed_and_the_environment_is_as_it_was(store, table, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "33")
    tracked(table, MLflowCallback())
    assert capsys.readouterr().out == ""
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "33"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
