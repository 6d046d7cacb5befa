"""What holds for all tests: nothing is sent anywhere. And a store of MLflow's for those that need one."""

import contextlib
import os
import shutil

import pytest

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before anything imports MLflow


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A store with its tables and nothing in them: to make it takes seconds, to copy it none."""
    import mlflow

    path = tmp_path_factory.mktemp("store") / "empty.db"
    with contextlib.chdir(path.parent):  # artifacts go into a folder of the one in which the store is made
        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(empty_store, tmp_path, monkeypatch):
    """A client of the test's own store, which all of MLflow uses; the working directory is the test's own as well."""
    import mlflow

    path = tmp_path / "mlflow.db"
    shutil.copy(empty_store, path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    yield mlflow.MlflowClient(f"sqlite:///{path}")
    assert mlflow.active_run() is None
