"""SIGTERM ends a command as Ctrl-C does: with a status of its own, and nothing is left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector

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
    ended = process.returncode if process.returncode >= 0 else 128 - process.returncode  # as a shell counts
    assert (ended, err.splitlines()[-1:]) == (status, ["interrupted"])  # Ctrl-C within exec() ends Python by the signal
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_server_that_is_stopped_says_so(tmp_path, number):
    pytest.importorskip("mlflow")
    VAEDetector(max_iter=2, random_state=0).fit(np.random.default_rng(0).normal(size=(30, 2))).save(tmp_path / "m.vae")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    command = [*COMMAND, "serve", tmp_path / "m.vae", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1:]) == (0, [f"{tmp_path}/m.vae: stopped."])


def test_who_ignores_sigterm_goes_on_ignoring_it(tmp_path):
    """As a process does whose parent has set it so."""
    script = (
        "import os, signal, sys\nfrom vae_anomaly_cli.errors import termination_as_ctrl_c\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "with termination_as_ctrl_c():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
