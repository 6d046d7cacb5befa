"""A session of Spark for the tests of several integrations."""

import shutil
import sys

import pytest


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """Two workers that write only to a folder of the test."""
    pyspark = pytest.importorskip("pyspark.sql", reason="Spark is tested where pyspark is installed")
    if shutil.which("java") is None:
        pytest.skip("Spark is tested where Java is installed")
    folder = tmp_path_factory.mktemp("spark")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYSPARK_PYTHON", sys.executable)
        environment.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        environment.setenv("SPARK_LOCAL_DIRS", str(folder))
        builder = pyspark.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        builder = builder.config("spark.driver.memory", "512m").config("spark.sql.warehouse.dir", str(folder))
        session = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 100).getOrCreate()
        yield session
        session.stop()
