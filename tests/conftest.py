"""What all tests share: threads, markers, an MLflow store, the comparison of output, a mixed table and its models."""

import contextlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before anything imports MLflow
if "PYTEST_XDIST_WORKER" in os.environ:  # before anything imports torch: two processes with two threads each get in
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each other's way on two cores
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")


def pytest_collection_modifyitems(items):
    """Mark the tests that have runs of their own: benchmark scripts, MLflow stores, and ONNX, slow to load."""
    folder = Path(__file__).parent
    items.sort(key=lambda item: item.path.name not in ("test_readme.py", "test_detector.py"))  # the longest files first
    for item in items:
        test_file = str(item.path.relative_to(folder)) if item.path.is_relative_to(folder) else ""
        if test_file.startswith("benchmarks"):
            item.add_marker(pytest.mark.benchmarks)
        if "mlflow" in test_file or "store" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.mlflow)
        if test_file in ("integrations/test_onnx.py", "cli/test_export.py"):
            item.add_marker(pytest.mark.onnx)


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
    """Words and layout equal, numbers close; lines in any order, for two rows of about the same score may swap.

    Numbers may differ by 2 % or by one unit of the last digit shown, counts by 2: machines round differently, and a row
    next to the threshold is then flagged or not.
    """
    found, expected = sorted(output.splitlines()), sorted(shown.splitlines())
    assert [_words(line) for line in found] == [_words(line) for line in expected]
    for line, other in zip(found, expected, strict=True):
        for number, same in zip(NUMBER.findall(line), NUMBER.findall(other), strict=True):
            unit = 10.0 ** -len(same.partition("e")[0].partition(".")[2])
            close = pytest.approx(float(same), rel=0.02, abs=2 if unit == 1 else 1.01 * unit)
            assert float(number) == close, f"{line!r} is not {other!r}"


def _words(line: str) -> str:
    return re.sub(r"[ ━─]+", " ", NUMBER.sub("0", line)).strip()


def people(n, seed):
    """Two factors behind numbers, a category, a flag and a date; some cells are missing."""
    rng = np.random.default_rng(seed)
    size, age = rng.normal(size=(2, n))
    height = 170 + 10 * size + rng.normal(size=n)
    return pd.DataFrame(
        {
            "height": np.where(rng.random(n) < 0.1, np.nan, height),
            "cost in $ of a_b and $": 50 + 20 * age + 2 * rng.normal(size=n),
            "build": pd.Series(np.where(size > 0.8, "large", np.where(size < -0.8, "small", "usual"))).mask(
                rng.random(n) < 0.1
            ),
            "retired": age > 1,
            "born": pd.Timestamp("1980-01-01") - pd.to_timedelta((3000 * age).round(), unit="D"),
        }
    )


@pytest.fixture
def rng():
    return np.random.default_rng(20260117)


@pytest.fixture(scope="session")
def table():
    return people(300, 0)


@pytest.fixture(scope="session")
def model(table):
    """A model of the mixed table, with held-out rows."""
    return VAEDetector(purpose="representation", n_components=5, max_iter=150, random_state=0).fit(table)


@pytest.fixture(scope="session")
def numbers():
    """An array of five columns that hang together."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(200, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(200, 5))


@pytest.fixture(scope="session")
def of_numbers(numbers):
    """A model of the array, without held-out rows."""
    return VAEDetector(max_iter=40, random_state=0).fit(numbers)


@pytest.fixture(scope="session")
def plain(table):
    """A plain autoencoder."""
    return VAEDetector(variational=False, n_components=3, max_iter=40, random_state=0).fit(table)


@pytest.fixture(scope="session")
def of_images(numbers):
    """A model of images, one row of five pixels each, in a range of their own."""
    return VAEDetector(image_shape=(1, 1, 5), max_iter=40, random_state=0).fit(numbers)


@pytest.fixture(scope="session")
def bright(numbers):
    """How bright a pixel of those images is drawn: 0 the darkest of the fit, 1 the brightest."""

    def brightness(pixels):
        return np.clip((np.asarray(pixels) - numbers.min()) / np.ptp(numbers), 0, 1)

    return brightness


@pytest.fixture
def settings_of():
    """Settings of a detector with these parameters."""
    from vae_anomaly.config import Settings

    return lambda **parameters: Settings.of(VAEDetector(**parameters).get_params(deep=False))


@pytest.fixture(scope="session")
def ray():
    """A cluster of Ray: one machine with two processors."""
    ray = pytest.importorskip("ray", reason="Ray is tested where ray[data] is installed")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
        yield ray
        ray.shutdown()


@pytest.fixture(scope="session")
def dated():
    """A table with numbers, a category and a date."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1200)
    days = pd.date_range("2024-01-01", periods=1200, freq="7h").strftime("%d/%m/%Y")
    return pd.DataFrame({"x": x, "y": x + rng.normal(0, 0.1, 1200), "t": rng.choice(["a", "b"], 1200), "d": days})


@pytest.fixture(scope="session")
def dated_folder(dated, tmp_path_factory):
    """The table in five files: one has no rows, and from the first alone a day cannot be told from a month."""
    folder = tmp_path_factory.mktemp("parts")
    for number, (begin, end) in enumerate([(0, 30), (30, 30), (30, 500), (500, 501), (501, 1200)]):
        dated[begin:end].to_csv(folder / f"part-{number}.csv", index=False)
    return folder
