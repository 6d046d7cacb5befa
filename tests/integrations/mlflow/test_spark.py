"""Scoring of a Spark frame with the flavor: in a local Spark, whose workers load the model."""

import re
import shutil
from pathlib import Path

import mlflow
import pytest
from numpy.testing import assert_allclose

from vae_anomaly import VAEDetector, read_table
from vae_anomaly.integrations.mlflow import as_request, register, save_model

ROOT = Path(__file__).parents[3]

ANSWER = "anomaly_score double, p_value double, severity double, is_anomaly boolean"

pytestmark = pytest.mark.slow


def test_the_spark_frame_of_the_guide_is_scored_as_the_table(spark, store, tmp_path):
    [snippet] = re.findall(r"^```py\n(.*?)^```$", (ROOT / "docs" / "mlflow.md").read_text(), re.MULTILINE | re.DOTALL)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    penguins = read_table("examples/penguins.csv")
    detector = VAEDetector(max_iter=20, random_state=0).fit(penguins)
    detector.save("penguins.vae")
    register("penguins.vae", "penguins", alias="champion")
    namespace = {"spark": spark}
    exec(compile(snippet, "mlflow.md", "exec"), namespace)
    found, expected = namespace["scored"].toPandas(), detector.detect(penguins)
    assert_allclose(found["anomaly_score"], expected["anomaly_score"], rtol=1e-6)
    assert_allclose(found["p_value"], expected["p_value"], rtol=1e-6)
    assert (found["is_anomaly"] == expected["is_anomaly"]).all()


def test_columns_of_all_kinds_with_missing_cells_are_scored_on_several_workers(spark, detector, table, tmp_path):
    save_model(detector, tmp_path / "model")
    request = as_request(detector, table)
    columns = ", ".join(f"{name} {'double' if request[name].dtype == float else 'string'}" for name in request)
    rows = spark.createDataFrame(request.assign(row=range(len(request))), f"{columns}, row int").repartition(3)
    score = mlflow.pyfunc.spark_udf(
        spark, str(tmp_path / "model"), env_manager="local", result_type=f"struct<{ANSWER}>"
    )
    found = rows.withColumn("found", score(*request.columns)).select("row", "found.*").toPandas().sort_values("row")
    assert_allclose(found["anomaly_score"], detector.anomaly_score(table), rtol=1e-6)
