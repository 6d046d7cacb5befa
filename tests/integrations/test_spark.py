"""Fits and scores of frames of a local Spark: those of one machine."""

import sys

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.data import sampling
from vae_anomaly.errors import DataError, MissingExtraError
from vae_anomaly.integrations.spark import SpreadPartitions, fit, score
from vae_anomaly.io.model_file import model_digest

pytestmark = pytest.mark.spark
N = 1200


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=N)
    days = pd.date_range("2024-01-01", periods=N, freq="7h")
    columns = {"x": x, "y": x + rng.normal(0, 0.1, N), "t": rng.choice(["a", "b"], N), "d": days, "row": range(N)}
    return pd.DataFrame(columns)


@pytest.fixture(scope="module")
def frame(spark, table):
    """The table in three partitions and an empty one."""
    frame = spark.createDataFrame(table).coalesce(1).repartitionByRange(3, "row").sortWithinPartitions("row")
    return frame.union(frame.filter("row < 0").coalesce(1)).cache()


@pytest.fixture(scope="module")
def detector(table):
    return VAEDetector(max_iter=20, random_state=0).fit(table)


def digest_of(detector, tmp_path):
    detector.save(tmp_path / "compared.vae")
    return model_digest(tmp_path / "compared.vae")


def test_partitions_are_counted(frame):
    counts = SpreadPartitions(frame).n_rows
    assert sum(counts) == N
    assert len([n for n in counts if n]) == 3


def test_a_frame_gets_the_scores_of_the_table_and_keeps_its_columns(frame, detector, table):
    found = score(detector, frame, false_alarm_rate=0.02).toPandas().sort_values("row", ignore_index=True)
    expected = detector.detect(table, false_alarm_rate=0.02)
    assert [*found.columns] == [*table.columns, *expected.columns]
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    with pytest.raises(DataError, match="already has 'severity'"):
        score(detector, frame.withColumnRenamed("t", "severity"))


def test_a_fit_is_that_of_the_same_rows_on_one_machine(frame, table, tmp_path):
    found, rows = fit(VAEDetector(max_iter=20, random_state=0), frame), frame.toArrow()
    assert digest_of(found, tmp_path) == digest_of(VAEDetector(max_iter=20, random_state=0).fit(rows), tmp_path)


def test_a_fit_that_draws_rows_is_that_of_one_machine(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "TRAINING_ROWS", 500)
    monkeypatch.setattr(sampling, "FEWEST_ROWS", 100)
    found, rows = fit(VAEDetector(max_iter=20, random_state=0), frame), frame.toArrow()
    assert digest_of(found, tmp_path) == digest_of(VAEDetector(max_iter=20, random_state=0).fit(rows), tmp_path)


def test_a_frame_that_differs_each_time_is_refused(spark):
    def some_rows(batches):
        for batch in batches:
            yield batch[: np.random.default_rng().integers(1, batch.num_rows)]

    with pytest.raises(DataError, match="have changed since they were counted"):
        fit(VAEDetector(max_iter=20), spark.range(1000).mapInArrow(some_rows, "id long"))


def test_an_error_on_an_executor_is_raised_as_it_is(spark):
    rows = spark.createDataFrame(pd.DataFrame({"x": [1.0, 2.0, float("inf"), *range(97)]})).coalesce(1)
    with pytest.raises(DataError, match="'x'.*row 3"):
        fit(VAEDetector(max_iter=20), rows)


def test_the_command_that_installs_spark_is_named_where_it_is_missing(monkeypatch, detector):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vae-anomaly\[spark\]"'):
        score(detector, None)
