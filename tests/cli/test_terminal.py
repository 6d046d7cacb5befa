"""Terminals, pipes, Ctrl-C and start-up."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from terminal import in_process

COMMANDS = (
    "score",
    "fit",
    "update",
    "explain",
    "suggest",
    "monitor",
    "report",
    "benchmark",
    "features",
    "generate",
    "traverse",
    "info",
    "export",
    "register",
    "serve",
    "plot",
)
PICTURES = ("scores", "reasons", "history", "latents", "samples", "reconstructions", "traversal")
HEAVY = ("torch", "sklearn", "pandas", "mlflow", "pyarrow", "scipy", "matplotlib", "onnx", "onnxruntime")
README = (Path(__file__).parents[2] / "README.md").read_text()
HELPS = [
    ("--help",),
    ("--version",),
    *((name, "-h") for name in COMMANDS),
    *(("plot", name, "-h") for name in PICTURES),
]
MODULE = [sys.executable, "-m", "vae_anomaly_cli"]


@pytest.fixture(autouse=True)
def _wide_enough(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")


def cells_of(shown: str) -> list[list[str]]:
    """The cells of a table on the terminal, row by row."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]


def test_a_terminal_shows_the_most_anomalous_rows_with_reasons(csv, model):
    status, shown, err = in_process("score", csv, "--model", model, "--keep", "colour")
    rows = cells_of(shown)
    assert status == 0
    assert len([row for row in rows if row[0].isdigit()]) == 10
    assert (rows[0][0], rows[0][4], rows[0][-1]) == ("17", "yes", "red")
    assert "weight 140" in " ".join(row[5] for row in rows[:6])
    *_, read, needed, most, head, explain, report, whole = err.splitlines()
    assert read == f"{csv}: 40 rows and 3 columns read."
    assert re.fullmatch(r"\d+ of 40 rows need a look. Rows are flagged if at most 1 % of normal rows .*", needed)
    assert most.startswith("The most anomalous is row 17: weight 140.0, expected ")
    again = f"{csv} --model {model}"
    commands = [line.partition("#")[0].strip() for line in (explain, report, whole)]
    assert (head, commands) == (
        "Next:",
        [
            f"vae-anomaly explain {again} --row 17",
            f"vae-anomaly report {again} --output report.html",
            f"vae-anomaly score {again} --output scores.csv",
        ],
    )


def test_a_terminal_shows_the_first_changes_as_a_table(csv, model):
    status, shown, err = in_process("suggest", csv, "--model", model)
    rows = cells_of(shown)
    assert (status, {row[0] for row in rows} >= {"17"}) == (0, True)
    assert re.fullmatch(r"\d changes suggested; \d of \d flagged rows become normal; write them all .*", err.strip())


def test_a_terminal_shows_findings_in_whole_words(model):
    status, shown, err = in_process("info", model)
    assert (status, err) == (0, "")
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("good  constant columns") for line in lines)
    assert "weight (number), colour (category)" in " ".join(shown.split())


def test_a_terminal_shows_the_surest_drift_first(csv, model, tmp_path):
    moved = pd.read_csv(csv).assign(weight=lambda rows: rows["weight"] + 20)
    moved.to_csv(tmp_path / "moved.csv", index=False)
    status, shown, err = in_process("monitor", tmp_path / "moved.csv", "--model", model, "--unordered")
    rows = cells_of(shown)
    assert status == 3
    assert sorted(row[0] for row in rows) == ["(score)", "colour", "height", "weight"]
    assert re.fullmatch(r"shifted up by 1\.\d deviations", next(row[-1] for row in rows if row[0] == "weight"))
    p_values = [float(row[1].removeprefix("<")) for row in rows]
    assert p_values == sorted(p_values)
    assert re.match(r"drift in 1 of 3 columns( and the score)?\.", err)


def test_of_many_columns_a_terminal_shows_those_with_the_surest_drift(tmp_path):
    numbers = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 30))).rename(columns="x{}".format)
    numbers.to_csv(tmp_path / "wide.csv", index=False)
    numbers.assign(x17=9.0).to_csv(tmp_path / "moved.csv", index=False)
    model = tmp_path / "wide.vae"
    assert in_process("fit", tmp_path / "wide.csv", "--novelty", "--output", model)[0] == 0
    status, shown, err = in_process("monitor", tmp_path / "moved.csv", "--model", model, "--unordered")
    names = [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line]
    assert (status, len(names)) == (3, 20)
    assert "x17" in names[:2]
    assert "the first 20 of 31 are shown; write them all with --output drift.csv" in err


def test_a_streamed_score_shows_the_most_anomalous_rows_and_a_bar(csv, model):
    status, shown, _ = in_process("score", csv, "--stream", "--model", model, remarks_too=True)
    assert status == 0
    assert re.search(r"reading .*bytes", shown)
    assert next(row[0] for row in cells_of(shown) if row[0].isdigit()) == "17"
    assert re.search(
        r"\d+ of 40 rows need a look.*\nNext:\n  vae-anomaly score \S+ --model \S+ --stream --output", shown
    )


def test_a_closed_pipe_is_no_error(csv, model):
    with subprocess.Popen(
        [*MODULE, "score", csv, "--model", model], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, b"")


def test_ctrl_c_in_the_fit_leaves_nothing_behind(tmp_path):
    table, target = tmp_path / "large.csv", tmp_path / "large.vae"
    numbers = np.random.default_rng(0).normal(size=(20_000, 10))
    np.savetxt(table, numbers, delimiter=",", header=",".join("abcdefghij"), comments="")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*MODULE, "fit", table, "--output", target],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job may ignore it
    ) as process:
        os.close(theirs)
        os.read(ours, 1)  # the progress bar: the fit has begun
        process.send_signal(signal.SIGINT)
        shown = ""
        with contextlib.suppress(OSError):  # Linux reports the closed end so
            while chunk := os.read(ours, 65536).decode():
                shown += chunk
    os.close(ours)
    assert process.returncode == 130
    assert "interrupted" in shown
    assert "Traceback" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["large.csv"]


def test_help_and_version_load_nothing_heavy():
    script = f"""
import contextlib, io, sys
from vae_anomaly_cli.main import main
for arguments in {HELPS}:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main(list(arguments))
    assert out.getvalue(), arguments
    loaded = [name for name in {HEAVY} if name in sys.modules]
    assert not loaded, f"{{' '.join(arguments)}} loads {{loaded}}"
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_scoring_a_table_loads_no_compiler_and_no_other_models(tmp_path):
    """All of these take a while to load, and some come in by the back door: see where, and go round it."""
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{i % 7},{i * i % 11}\n" for i in range(60)))
    unwanted = {"sympy", "torch._dynamo", "torch._inductor", "torch.fx.experimental.symbolic_shapes", "mlflow"}
    unwanted |= {"sklearn.decomposition", "sklearn.linear_model", "sklearn.ensemble", "sklearn.metrics"}
    unwanted |= {"sklearn.cluster", "sklearn.neighbors", "sklearn.preprocessing", "scipy.cluster", "scipy.signal"}
    unwanted |= {"matplotlib", "PIL", "jinja2", "onnx", "polars", "duckdb", "sqlalchemy", "openpyxl", "starlette"}
    unwanted |= {"vae_anomaly.plots.figures", "vae_anomaly.report.page", "vae_anomaly.integrations"}
    script = f"""
import atexit, sys
atexit.register(lambda: print(sorted({unwanted} & set(sys.modules)), file=sys.stderr))
from vae_anomaly_cli.main import main
main(["score", "rows.csv", "--quiet"])
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ended.stderr == "[]\n"
    assert len(ended.stdout.splitlines()) == 61


def test_the_version_is_that_of_the_package(cli):
    for option in ("--version", "-V"):
        assert cli(option).out == f"vae-anomaly {version('vae-anomaly')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_examples_and_stands_in_the_readme(cli, name):
    ended = cli(name, "--help")
    assert "bool" not in ended.out.lower()  # flags take no value
    assert ended.status == 0
    assert f"\n vae-anomaly {name} " in ended.out
    assert re.search(rf"vae-anomaly {name} |`{name}`", README)


def test_examples_can_be_copied_line_by_line(cli, monkeypatch):
    """None is broken on a terminal of 80 columns, and none ends without its output."""
    monkeypatch.setenv("COLUMNS", "80")
    for path in (Path(__file__).parents[2] / "cli").rglob("*.py"):
        for examples in re.findall(r'^EXAMPLES = """\\\n(.*?)\n?"""', path.read_text(), re.MULTILINE | re.DOTALL):
            block = examples.split("\n\n")[0].splitlines()
            assert max(map(len, block)) <= 79, path
    shown = cli("monitor", "--help").out
    assert "\n vae-anomaly monitor today.csv --model normal.vae --level 0.01 -o drift.csv" in shown


def test_the_list_of_commands_is_complete(cli):
    listed = re.findall(r"^│ (\w+) ", cli("--help").out.partition("Commands")[2], flags=re.MULTILINE)
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_helps_with_an_example(cli, name):
    ended = cli("plot", name, "--help")
    assert "bool" not in ended.out.lower()
    assert ended.status == 0
    assert f"vae-anomaly plot {name} " in ended.out


def test_the_list_of_pictures_is_complete(cli):
    listed = re.findall(r"^│ (\w+) ", cli("plot", "--help").out.partition("Commands")[2], flags=re.MULTILINE)
    assert tuple(listed) == PICTURES


def test_the_script_is_installed(tmp_path):
    script = Path(sys.executable).with_name("vae-anomaly")
    assert subprocess.run([script, "--version"], capture_output=True, timeout=60, check=True).stdout.startswith(b"vae-")
