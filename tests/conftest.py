"""What holds for all tests: nothing is sent anywhere. A store of MLflow's, and how a page is held to its output."""

import contextlib
import os
import re
import shutil

import pytest

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before anything imports MLflow
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")


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


@pytest.fixture(scope="session")
def assert_shows():
    """What the README and the notebook are held to: ``assert_shows(output, shown)``."""
    return _assert_shows


def _assert_shows(output: str, shown: str) -> None:
    """Words and layout equal, numbers close; lines in any order, for two rows of about the same score may swap."""
    found, expected = sorted(output.splitlines()), sorted(shown.splitlines())
    assert [_words(line) for line in found] == [_words(line) for line in expected]
    for line, other in zip(found, expected, strict=True):
        numbers, others = ([float(number) for number in NUMBER.findall(text)] for text in (line, other))
        assert numbers == pytest.approx(others, rel=0.1, abs=2), f"{line!r} is not {other!r}"


def _words(line: str) -> str:
    return re.sub(r"[ ━─]+", " ", NUMBER.sub("0", line)).strip()
