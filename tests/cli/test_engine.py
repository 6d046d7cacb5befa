"""``--engine ray``: the output of one machine, byte for byte, whatever dies in the middle."""

import subprocess
import sys

import pytest

from vae_anomaly import Dataset, VAEDetector

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def fitted(dated_folder, tmp_path_factory):
    """A model of the folder."""
    path = tmp_path_factory.mktemp("model") / "parts.vae"
    VAEDetector(max_iter=20, random_state=0).fit(Dataset(dated_folder)).save(path)
    return path


@pytest.mark.parametrize("kept", [(), ("--keep", "t")], ids=["scores", "kept"])
def test_the_scores_of_a_folder_are_the_bytes_of_one_machine(ray, cli, dated_folder, fitted, tmp_path, kept):
    small, options = tmp_path / "one.csv", ("--model", fitted, *kept)
    assert cli("score", dated_folder, "--stream", "--output", small, *options).status == 0
    ended = cli("score", dated_folder, "--engine", "ray", "--output", tmp_path / "ray.csv", *options)
    assert ended.status == 0, ended.err
    assert "1,200 rows written" in ended.err
    assert (tmp_path / "ray.csv").read_bytes() == small.read_bytes()


def test_a_fit_of_a_folder_by_command_is_that_of_one_machine(ray, cli, dated_folder, tmp_path):
    assert cli("fit", dated_folder, "--stream", "--output", tmp_path / "one.vae").status == 0
    ended = cli("fit", dated_folder, "--engine", "ray", "--output", tmp_path / "ray.vae")
    assert ended.status == 0, ended.err
    assert (tmp_path / "ray.vae").read_bytes() == (tmp_path / "one.vae").read_bytes()


@pytest.mark.parametrize("engine", [("--engine", "ray"), ("--stream",)], ids=["ray", "one machine"])
def test_an_interrupted_run_continues_with_either_engine(ray, cli, dated_folder, fitted, tmp_path, monkeypatch, engine):
    from vae_anomaly_cli.stream import StreamScorer

    monkeypatch.setattr("vae_anomaly_cli.stream.COMMIT_SECONDS", 0)
    options = ("--model", fitted, "--output")
    cli("score", dated_folder, "--stream", *options, tmp_path / "whole.csv")
    encoded = StreamScorer.encoded

    def interrupted(*arguments):
        for number, piece in enumerate(encoded(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield piece

    with monkeypatch.context() as once:
        once.setattr(StreamScorer, "encoded", interrupted)
        assert cli("score", dated_folder, "--stream", *options, tmp_path / "parts.csv").status == 130
    assert not (tmp_path / "parts.csv").exists()
    ended = cli("score", dated_folder, *engine, *options, tmp_path / "parts.csv")
    assert "continuing after row 500" in ended.err
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_bad_cell_is_named_with_its_file_and_row_and_nothing_is_written(ray, cli, dated, fitted, tmp_path):
    (tmp_path / "t").mkdir()
    dated[:50].to_csv(tmp_path / "t" / "a.csv", index=False)
    dated[50:100].assign(y=[*["1.5"] * 7, "inf", *["2"] * 42]).to_csv(tmp_path / "t" / "b.csv", index=False)
    ended = [
        cli("score", tmp_path / "t", engine, *rest, "--model", fitted, "--output", tmp_path / "scores.csv")
        for engine, *rest in [("--engine", "ray"), ("--stream",)]
    ]
    assert [one.status for one in ended] == [1, 1]
    assert "b.csv" in ended[0].err
    assert "row 8" in ended[0].err
    assert ended[0].err == ended[1].err
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--address", "auto"], "it is the address of a cluster; add --engine ray"),
        (["--engine", "ray"], "it writes all scores: name a file with --output"),
        (["--engine", "ray", "--top", "3", "--output", "x.csv"], "does not apply with --engine ray"),
    ],
    ids=["address", "output", "top"],
)
def test_options_that_do_not_apply_are_refused(cli, dated_folder, fitted, arguments, told):
    ended = cli("score", dated_folder, "--model", fitted, *arguments)
    assert ended.status == 2
    assert told in " ".join(ended.err.replace("│", " ").split())


TWO_NODES = """
import os, signal, sys
import psutil, ray
from ray.cluster_utils import Cluster
from vae_anomaly.io.resumable import PartialFile
from vae_anomaly_cli.main import main

SMALL = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
second = cluster.add_node(**SMALL)
cluster.wait_for_nodes()
ray.init(cluster.address, log_to_driver=False)
write, written = PartialFile.write, []

def and_break(self, data):
    write(self, data)
    written.append(len(data))
    if len(written) == 2:
        worker = next(p for p in psutil.process_iter() if p.name().startswith("ray::_yielding") and ours(p))
        os.kill(worker.pid, signal.SIGKILL)
        print("killed")
    if len(written) == 4:
        cluster.remove_node(second, allow_graceful=False)
        print("removed", len([node for node in ray.nodes() if node["Alive"]]))

def ours(process):
    return any(p.pid == os.getpid() for p in process.parents())

PartialFile.write = and_break
try:
    main(sys.argv[1:])
finally:
    print(len(written), "pieces")
    ray.shutdown()
    cluster.shutdown()
"""


def test_a_killed_worker_and_a_removed_node_change_nothing(dated, fitted, cli, tmp_path):
    pytest.importorskip("ray", reason="Ray is tested where ray[data] is installed")
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(12):
        dated[100 * number : 100 * (number + 1)].to_csv(folder / f"part-{number}.csv", index=False)
    options = ["--model", str(fitted), "--output"]
    assert cli("score", folder, "--stream", *options, tmp_path / "one.csv").status == 0
    command = ["score", str(folder), "--engine", "ray", *options, str(tmp_path / "ray.csv")]
    ended = subprocess.run([sys.executable, "-c", TWO_NODES, *command], capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr
    assert "killed" in ended.stdout
    assert "removed" in ended.stdout
    assert "12 pieces" in ended.stdout
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
