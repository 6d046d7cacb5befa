"""Nothing is reported written that was not: full disks and closed pipes behind standard output, buffered or not."""

import os
import resource
import subprocess
import sys

import pandas as pd
import pytest

MODULE = [sys.executable, "-m", "vae_anomaly_cli"]
LIMIT = 100_000  # bytes of a file, as if the disk were full


@pytest.fixture(scope="module")
def long_csv(frame, tmp_path_factory):
    """A table whose scores take more bytes than the limit, and than a pipe holds."""
    path = tmp_path_factory.mktemp("long") / "long.csv"
    pd.concat([frame.drop(columns="name")] * 100).to_csv(path, index=False)
    return path


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def environment(request):
    return {**os.environ, "PYTHONUNBUFFERED": request.param}


def limit_files(size: int = LIMIT) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("command", [("score", "--stream"), ("score",)], ids=["stream", "whole"])
def test_a_disk_that_is_full_is_an_error_and_no_rows_are_reported(command, long_csv, model, tmp_path, environment):
    target = tmp_path / "scores.csv"
    with target.open("wb") as output:
        ended = subprocess.run(
            [*MODULE, *command, long_csv, "--model", model],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=limit_files,
            timeout=120,
            check=False,
        )
    assert (ended.returncode, target.stat().st_size) == (1, LIMIT)
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: Cannot write all rows to standard output: File too large.")


def test_text_that_a_full_disk_cuts_is_an_error(model, tmp_path, environment):
    with (tmp_path / "info.txt").open("wb") as output:
        ended = subprocess.run(
            [*MODULE, "info", model],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=lambda: limit_files(1_000),
            timeout=120,
            check=False,
        )
    assert (ended.returncode, "File too large" in ended.stderr, "Exception" in ended.stderr) == (1, True, False)


def test_a_reader_that_stops_early_is_no_error_and_no_rows_are_reported(long_csv, model, environment):
    with subprocess.Popen(
        [*MODULE, "score", long_csv, "--stream", "--model", model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        head = os.read(process.stdout.fileno(), 1_000)
        process.stdout.close()
        err = process.stderr.read()
    assert head.startswith(b"row,anomaly_score")
    assert (process.returncode, err) == (0, b"")


def test_the_library_writes_all_rows_to_an_unbuffered_standard_output(tmp_path):
    script = """
import sys
import pandas as pd
from vae_anomaly.errors import OutputError
from vae_anomaly.io.write import write_table
try:
    write_table(pd.DataFrame({"x": range(100_000)}), "-")
except OutputError:
    sys.exit(7)
"""
    with (tmp_path / "x.csv").open("wb") as output:
        command = [sys.executable, "-u", "-c", script]
        ended = subprocess.run(command, stdout=output, preexec_fn=limit_files, timeout=120, check=False)
    assert ended.returncode == 7
