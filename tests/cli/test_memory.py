"""A table too large for the memory: scored piece by piece where that gives the same answer, otherwise one sentence."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_anomaly_cli import memory

pytestmark = pytest.mark.usefixtures("_quick_fits")

GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def little(monkeypatch):
    """Hardly any memory, and no table so small that pieces of it would save nothing."""
    short_of_memory(monkeypatch)


def short_of_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 0)
    monkeypatch.setattr(memory, "FEW_BYTES", 0)


@pytest.mark.parametrize("options", [(), ("--append",), ("--keep", "colour"), ("--top", 3), ("--json",)], ids=str)
def test_the_answer_is_that_of_a_run_with_enough_memory(cli, csv, model, tmp_path, monkeypatch, options):
    enough = cli("score", csv, "--model", model, *options, "--output", tmp_path / "enough.csv")
    short_of_memory(monkeypatch)
    ended = cli("score", csv, "--model", model, *options, "--output", tmp_path / "little.csv")
    assert (tmp_path / "little.csv").read_bytes() == (tmp_path / "enough.csv").read_bytes()
    assert ended.out.replace("little", "enough") == enough.out
    assert "it is scored piece by piece, and repeats are not looked for." in ended.err.splitlines()[0]


def test_a_model_fitted_to_the_file_itself_is_the_same(cli, csv, tmp_path, monkeypatch):
    cli("score", csv, "--output", tmp_path / "enough.csv")
    short_of_memory(monkeypatch)
    ended = cli("score", csv, "--output", tmp_path / "little.csv")
    assert "piece by piece" in ended.err
    assert (tmp_path / "little.csv").read_bytes() == (tmp_path / "enough.csv").read_bytes()


@pytest.mark.parametrize("option", [("--fdr", 0.1), ("--sort",), ("--duplicates",), ("--alerts", 3)], ids=str)
def test_an_option_that_needs_all_rows_is_refused_in_one_sentence(cli, csv, model, little, option):
    ended = cli("score", csv, "--model", model, *option)
    assert (ended.status, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert f"Without {option[0]}, which needs all rows at once" in ended.err


def test_addresses_that_are_too_few_are_one_sentence(csv):
    """Libraries abort where they get none: "std::bad_alloc" from torch, "giving up" from OpenBLAS."""
    command = [sys.executable, "-m", "vae_anomaly_cli", "score", csv]
    limit = 'ulimit -v 1200000; exec "$@"'
    ended = subprocess.run(["bash", "-c", limit, "bash", *command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1)
    assert ended.stderr.startswith("error: The address space is limited to 1.2 GB (ulimit -v), and the program takes")


def test_the_limit_of_addresses_counts(monkeypatch):
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 10**8)
    monkeypatch.setattr(memory, "_address_limit", lambda: memory.ADDRESSES + 3 * 10**8)
    assert memory.free_memory() == 3 * 10**8 + memory.PROGRAM_BYTES - 10**8


@pytest.mark.parametrize("command", ["explain", "monitor"])
def test_other_commands_say_what_it_takes(cli, csv, model, little, command):
    ended = cli(command, csv, "--model", model)
    assert (ended.status, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert f"{csv} takes about 0.4 GB of memory at once, and " in ended.err
    assert "--stream" in ended.err


def test_small_tables_are_never_refused(cli, csv, model, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 0)
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 0)
    assert cli("score", csv, "--model", model, "--fdr", 0.1).status == 0


# What a table takes


def test_of_a_compressed_file_what_comes_out_counts(tmp_path, monkeypatch):
    """A gzip of 60 kB holds 60 MB."""
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 15_000_000, compresslevel=9))
    monkeypatch.setattr(memory, "free_memory", lambda: 10**9)
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 0)
    assert path.stat().st_size < 200_000
    assert "takes about 1.6 GB" in memory.shortage(str(path))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "csv.gz", "jsonl"])
def test_bytes_and_cells_of_a_file_are_known(tmp_path, suffix):
    from vae_anomaly.io.read import size_of_table

    table, path = pd.DataFrame(np.random.default_rng(0).normal(size=(5000, 7))), tmp_path / f"table.{suffix}"
    table.columns = [f"c{number}" for number in range(7)]
    plain = tmp_path / "plain.csv"
    table.to_csv(plain, index=False)
    match suffix:
        case "parquet":
            table.to_parquet(path)
        case "jsonl":
            table.to_json(path, orient="records", lines=True)
        case _:
            table.to_csv(path, index=False)
    n_bytes, n_cells, n_columns = size_of_table(path, most=10**9)
    assert n_cells == pytest.approx(35_000, rel=0.05)
    assert n_columns == 7
    assert n_bytes == pytest.approx({"jsonl": path, "parquet": path}.get(suffix, plain).stat().st_size, rel=0.05)


def test_counting_ends_once_it_is_too_much(tmp_path):
    from vae_anomaly.io.read import size_of_table

    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 5_000_000))
    assert 10**6 <= size_of_table(path, most=10**6)[0] < 3 * 10**6


# What is free


def group(folder, names, limit, usage, cached):
    folder.mkdir(parents=True, exist_ok=True)
    limit_file, usage_file, keys = names
    (folder / limit_file).write_text(f"{limit}\n")
    (folder / usage_file).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text("".join(f"{key} {cached // len(keys)}\n" for key in keys))


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    return tmp_path / "proc", tmp_path / "groups"


def test_without_groups_it_is_what_the_machine_has(machine):
    assert memory.free_memory(*machine) == 8000 * 1024


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("place", ["/", "/jobs", "/jobs/mine"])
def test_a_group_or_one_above_it_limits_it(machine, version, place):
    """The page cache of the group counts as free."""
    proc, groups = machine
    lines = {"v1": "7:cpu,memory:/jobs/mine", "v2": "0::/jobs/mine", "hybrid": "7:memory:/jobs/mine\n0::/other"}
    (proc / "self" / "cgroup").write_text(lines[version] + "\n")
    root, names, endless = (groups, memory.V2, "max") if version == "v2" else (groups / "memory", memory.V1, 2**63 - 1)
    for folder in ("/", "/jobs", "/jobs/mine"):
        group(root / folder.lstrip("/"), names, 1_000_000 if folder == place else endless, 600_000, 200_000)
    assert memory.free_memory(proc, groups) == 600_000


def test_in_a_container_the_root_that_it_sees_is_its_group(machine):
    proc, groups = machine
    (proc / "self" / "cgroup").write_text("0::/docker/0123abcd\n")
    group(groups, memory.V2, 1_000_000, 500_000, 0)
    assert memory.free_memory(proc, groups) == 500_000


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.skipif(not os.access(GROUPS, os.W_OK) or os.geteuid() != 0, reason="no control group can be made here")
def test_a_group_with_less_memory_than_the_table_takes_does_not_kill(csv, cli, tmp_path):
    table, model = tmp_path / "long.csv.gz", tmp_path / "model.vae"
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(12_000, 3))).add_prefix("c").assign(text="long " * 2000)
    frame.to_csv(table, index=False, compression={"method": "gzip", "compresslevel": 1})
    frame[:200].drop(columns="text").to_csv(tmp_path / "few.csv", index=False)
    cli("fit", tmp_path / "few.csv", "--novelty", "--output", model)
    mine = GROUPS / f"vae-anomaly-test-{os.getpid()}"
    mine.mkdir()
    try:
        (mine / "memory.limit_in_bytes").write_text(str(650 * 2**20))
        script = f"echo $$ > {mine}/cgroup.procs; exec {sys.executable} -m vae_anomaly_cli"
        command = f"{script} score {table} --exclude text --model {model} --output {tmp_path}/scores.csv"
        ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (ended.returncode, "piece by piece" in ended.stderr) == (0, True), ended.stderr
    finally:
        mine.rmdir()
    assert len(pd.read_csv(tmp_path / "scores.csv")) == len(frame)
