"""SIGTERM ends a command as Ctrl-C does: with a status of its own, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

COMMAND = [sys.executable, "-m", "vae_anomaly_cli"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    pd.DataFrame(np.random.default_rng(0).normal(size=(20_000, 12))).add_prefix("c").to_csv(path, index=False)
    return path


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"])
def test_a_terminated_fit_leaves_nothing(table, tmp_path, number, status):
    command = [*COMMAND, "fit", table, "--output", tmp_path / "model.vae"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not os.listdir(tmp_path):  # until it has claimed its output
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.5)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1:]) == (status, ["interrupted"])
    assert os.listdir(tmp_path) == []


def test_who_ignores_sigterm_goes_on_ignoring_it(tmp_path):
    """As a process does whose parent has set it so."""
    script = (
        "import os, signal, sys\nfrom vae_anomaly_cli.errors import termination_as_ctrl_c\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "with termination_as_ctrl_c():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
