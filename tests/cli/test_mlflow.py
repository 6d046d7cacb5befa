"""Tracking, registry and server from the command line; the last test starts real servers."""

import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
from numpy.testing import assert_allclose

from vae_anomaly import load, read_table
from vae_anomaly.integrations.mlflow import Limits
from vae_anomaly_cli.inputs import read_model

MODULE = [sys.executable, "-m", "vae_anomaly_cli"]
AWAY = "http://127.0.0.1:9"  # nobody listens at the port of "discard"


def only_run(store, experiment: str = "Default"):
    [run] = store.search_runs([store.get_experiment_by_name(experiment).experiment_id])
    return run


def test_fit_is_tracked(cli, csv, store, tmp_path):
    target = tmp_path / "people.vae"
    ended = cli("fit", csv, "--experiment", "people", "--run-name", "first", "--output", target)
    run = only_run(store, "people")
    assert (ended.status, ended.out) == (0, "")
    assert f"tracked as run {run.info.run_id} in sqlite:" in ended.err
    assert "INFO" not in ended.err
    assert (run.info.run_name, run.data.params["n_samples_fit_"]) == ("first", "40")
    assert run.inputs.dataset_inputs[0].dataset.name == "people.csv"
    assert [artifact.path for artifact in store.list_artifacts(run.info.run_id)] == ["history.png", "report.html"]
    page = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/report.html")
    assert "<title>Anomalous rows of people.csv</title>" in page
    assert load(target).score_samples(read_table(csv)).shape == (40,)
    cli("register", target, "--name", "people")
    assert store.get_model_version("people", "1").run_id == run.info.run_id


def test_a_tracked_fit_writes_the_model_that_an_untracked_one_writes(cli, csv, model, store, tmp_path):
    cli("fit", csv, "--track", "--output", tmp_path / "people.vae")
    table = read_table(csv)
    assert (load(tmp_path / "people.vae").score_samples(table) == load(model).score_samples(table)).all()


def test_scores_are_tracked_with_the_fit_that_they_come_from(cli, csv, store, scored):
    ended = cli("score", csv, "--track")
    assert (ended.status, ended.out) == (0, scored)
    assert only_run(store).data.metrics["scored_rows"] == 40
    assert only_run(store).data.params["n_samples_fit_"] == "40"


def test_scores_of_a_fitted_model_are_tracked_with_its_name(cli, csv, model, store):
    cli("score", csv, "--model", model, "--track", "--alerts", 3)
    run = only_run(store)
    assert (run.data.params["model"], run.data.metrics["flagged_rows"]) == (str(model), 3)
    [noted] = run.inputs.dataset_inputs
    assert (noted.dataset.name, noted.dataset.profile) == ("people.csv", '{"num_rows": 40, "num_columns": 3}')


@pytest.mark.parametrize("option", [["--track"], ["--experiment", "people"]])
def test_a_store_that_is_away_costs_the_tracking_and_not_the_model(cli, csv, tmp_path, monkeypatch, option):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    ended = cli("fit", csv, *option, "--output", tmp_path / "people.vae")
    assert ended.status == 0
    assert ended.err.count("warning: ") == 1
    assert f"Tracking stopped: MLflow's store, {AWAY}, fails" in ended.err
    assert "tracked as run" not in ended.err
    assert (tmp_path / "people.vae").exists()


def test_a_store_that_is_away_ends_a_fit_that_requires_it(cli, csv, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    ended = cli("fit", csv, "--track-required", "--output", tmp_path / "people.vae")
    assert ended.status == 1
    assert f"MLflow's store, {AWAY}, does not answer" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_registered_model_is_taken_wherever_a_file_is(cli, csv, model, store, scored):
    ended = cli("register", model, "--name", "people", "--alias", "champion")
    assert (ended.status, ended.out) == (0, "")
    assert f"{model}: registered as models:/people/1 and models:/people@champion." in ended.err
    address = "models:/people@champion"
    assert cli("score", csv, "--model", address).out == cli("score", csv, "--model", model).out
    table = read_table(csv)
    assert_allclose(read_model(address, "cpu").score_samples(table), load(model).score_samples(table), rtol=0)
    assert cli("info", address).out == cli("info", model).out
    assert cli("generate", "--model", address, "--rows", 3).out == cli("generate", "--model", model, "--rows", 3).out


@pytest.mark.parametrize("command", ["score", "features", "explain", "suggest", "monitor"])
def test_a_name_that_is_not_registered_is_an_error(cli, csv, store, command):
    ended = cli(command, csv, "--model", "models:/nobody@champion")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: models:/nobody@champion cannot be loaded from MLflow's store, sqlite:")


@pytest.mark.parametrize("command", ["info", "export", "serve"])
def test_a_command_whose_argument_is_a_model_looks_there_too(cli, store, tmp_path, command):
    output = ["--output", tmp_path / "out.onnx"] if command == "export" else []
    ended = cli(command, "models:/nobody@champion", *output)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: models:/nobody@champion cannot be loaded from MLflow's store, sqlite:")


def test_without_mlflow_the_command_that_installs_it_is_named(cli, csv, tmp_path, monkeypatch):
    for name in ("mlflow", "mlflow.pyfunc"):
        monkeypatch.setitem(sys.modules, name, None)
    ended = cli("fit", csv, "--track", "--output", tmp_path / "people.vae")
    assert ended.status == 1
    assert 'pip install "vae-anomaly[mlflow]"' in ended.err


def test_an_address_in_use_is_an_error(cli, model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = cli("serve", model, "--port", port)
    assert ended.status == 1
    assert f"error: cannot listen at 127.0.0.1:{port}" in ended.err


@pytest.fixture
def asked(monkeypatch):
    """What the command asks of the server, which does not start."""
    found: dict[str, object] = {}
    monkeypatch.setattr("vae_anomaly.integrations.mlflow.serve", lambda _detector, **options: found.update(options))
    monkeypatch.delenv("VAE_ANOMALY_TOKEN", raising=False)
    return found


def test_limits_of_the_server_are_options(cli, model, asked):
    options = ["--max-body", 2.5, "--max-rows", 70, "--max-requests", 3, "--port", 8080]
    assert cli("serve", model, *options).status == 0
    assert (asked["port"], asked["token"], asked["host"]) == (8080, None, "127.0.0.1")
    assert asked["limits"] == Limits(body=2_500_000, rows=70, requests=3)


def test_the_token_comes_from_a_file_or_else_from_the_environment(cli, model, asked, tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_ANOMALY_TOKEN", "from-the-environment")
    assert cli("serve", model).status == 0
    assert asked["token"] == "from-the-environment"
    (tmp_path / "token.txt").write_text("from-a-file\n")
    assert cli("serve", model, "--token-file", tmp_path / "token.txt").status == 0
    assert asked["token"] == "from-a-file"


@pytest.mark.parametrize("text", ["", " \n", "two words", "lines\nof it", "\xe9"])
def test_a_file_without_one_token_is_an_error(cli, model, asked, tmp_path, text):
    (tmp_path / "token.txt").write_text(text)
    ended = cli("serve", model, "--token-file", tmp_path / "token.txt")
    assert (ended.status, asked) == (1, {})
    assert "token.txt must have one token, without spaces." in ended.err


def test_an_empty_token_in_the_environment_is_an_error_and_no_open_server(cli, model, asked, monkeypatch):
    monkeypatch.setenv("VAE_ANOMALY_TOKEN", "")
    ended = cli("serve", model)
    assert (ended.status, asked) == (1, {})
    assert ended.err.startswith("error: VAE_ANOMALY_TOKEN must have one token")


@pytest.mark.parametrize("host, warns", [("0.0.0.0", True), ("127.0.0.1", False), ("::1", False), ("localhost", False)])
def test_a_server_for_other_machines_without_a_token_is_warned_of(cli, model, asked, tmp_path, host, warns):
    assert ("whoever reaches" in cli("serve", model, "--host", host).err) == warns
    (tmp_path / "token.txt").write_text("s3cret")
    assert "whoever" not in cli("serve", model, "--host", host, "--token-file", tmp_path / "token.txt").err


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


@contextmanager
def server(command: list[str], port: int, log: Path, **environment: str):
    """Run a server until it answers and for the block; SIGTERM to its process must end it, of ours all its children."""
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream, env=environment) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            started = [process, *psutil.Process(process.pid).children(recursive=True)]
            yield started
        finally:
            process.terminate()
            process.wait(30)
    _, alive = psutil.wait_procs(started[1:], timeout=10)
    for child in alive:
        child.kill()
    assert alive == [] or "mlflow" in command  # the tracking server of MLflow 3.7 leaves its workers behind


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


def ask(port: int, body: str, kind: str) -> np.ndarray:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body.encode(), {"Content-Type": kind}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return pd.DataFrame(json.load(answer)["predictions"])["anomaly_score"].to_numpy()


@pytest.mark.slow
def test_from_a_table_to_an_answered_request(tmp_path, monkeypatch):
    """Fit with --track, find the run, register, load by alias, serve, ask: real servers, and what they say is equal."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    days = pd.date_range("2026-01-01", periods=300, freq="5h")
    frame = pd.DataFrame({"x": x, "count": rng.poisson(5, 300), "state": np.where(x > 0, "on", "off"), "day": days})
    frame.loc[[3, 4], "x"], frame.loc[5, "state"], frame["alarm"] = np.nan, None, x > 1
    frame.to_csv(tmp_path / "sensors.csv", index=False)
    monkeypatch.chdir(tmp_path)
    tracking, serving = free_port(), free_port()
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{tracking}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "kept"),
    ]
    track = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(tracking), *store]

    def run(*arguments: str) -> None:
        subprocess.run([*MODULE, *arguments], env=environment, check=True, timeout=300)

    with server(track, tracking, tmp_path / "tracking.log", **environment):
        run("fit", "sensors.csv", "--experiment", "sensors", "--run-name", "first", "--output", "sensors.vae")
        client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
        [found] = client.search_runs([client.get_experiment_by_name("sensors").experiment_id])
        assert found.info.run_name == "first"
        run("register", f"runs:/{found.info.run_id}/model", "--name", "sensors", "--alias", "champion")
        serve = [*MODULE, "serve", "models:/sensors@champion", "--port", str(serving)]
        with server(serve, serving, tmp_path / "serving.log", **environment):
            table = read_table(tmp_path / "sensors.csv")
            expected = -load(tmp_path / "sensors.vae").score_samples(table)
            csv = (tmp_path / "sensors.csv").read_text()
            assert_allclose(ask(serving, csv, "text/csv"), expected, rtol=1e-6)
            rows = pd.read_csv(io.StringIO(csv)).astype(object).replace({np.nan: None}).to_dict("records")
            body = json.dumps({"dataframe_records": rows})
            assert_allclose(ask(serving, body, "application/json"), expected, rtol=1e-6)
