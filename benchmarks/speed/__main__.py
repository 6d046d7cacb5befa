"""Seconds and memory of fit and score for each method, and their growth with the number of rows and columns.

``python -m benchmarks.speed --output benchmarks/results`` measures each method on each table size in its own process
(`benchmarks.speed.timing`). It writes ``speed.csv``, ``speed.md`` and ``speed.png``; re-running the command continues
an interrupted run. A size is skipped if the smaller tables indicate that the method would exceed ``--limit``. PyOD's
detectors need ``pip install "vae-anomaly[benchmark]"``. Report ratios of one run on an otherwise idle machine.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.shared.command import commit, make_parser, provenance
from benchmarks.shared.results_file import ResultsFile
from benchmarks.speed.page import plot, write_page
from benchmarks.speed.timing import COMPARED, MATCHED, OURS, OURS_NOVELTY, PYOD_MATCHED, Timing

ROWS, COLUMNS = (1_000, 10_000, 100_000, 1_000_000), (10, 30, 100, 300)
METHODS = (
    OURS,
    OURS_NOVELTY,
    "PyOD VAE",
    "AutoEncoder",
    "IsolationForest",
    "LOF",
    "5 neighbours",
    "ECOD",
    MATCHED,
    PYOD_MATCHED,
)
KEY = ["method", "rows", "columns"]
SECONDS = ["fit_seconds", "score_seconds"]
NOTHING = Timing("", 0, 0, *[float("nan")] * (len(fields(Timing)) - 5))
TOO_LONG = "would take longer than the limit"


def measurements(
    methods: Sequence[str], rows: Sequence[int], columns: Sequence[int], limit: float, known: pd.DataFrame
) -> Iterator[Timing]:
    """A timing for each method and size that is not ``known``; small tables first."""
    table = known
    for size, width in product(sorted(rows), sorted(columns)):
        for method in methods:
            if ((table["method"] == method) & (table["rows"] == size) & (table["columns"] == width)).any():
                continue
            if expected(table, method, size, width) > limit:
                timing = replace(NOTHING, method=method, rows=size, columns=width, error=TOO_LONG)
            else:
                timing = measure_in_process(method, size, width, limit)
            table = pd.concat([table, pd.DataFrame([timing])], ignore_index=True)
            yield timing


def expected(table: pd.DataFrame, method: str, rows: int, columns: int) -> float:
    """Lower bound of the seconds that a method will need, from smaller tables of the same width.

    Two or more tables give the exponent of growth with the rows; one gives its own seconds.
    """
    shorter = table[(table["method"] == method) & (table["columns"] == columns) & (table["rows"] < rows)]
    if shorter.empty:
        return 0.0
    if (shorter["error"] != "").any():
        return np.inf
    shorter = shorter.sort_values("rows")
    seconds = shorter[SECONDS].sum(axis=1).to_numpy()
    sizes = shorter["rows"].to_numpy()
    growth = 0.0 if len(shorter) < 2 else max(0.0, np.log(seconds[-1] / seconds[-2]) / np.log(sizes[-1] / sizes[-2]))
    return float(seconds[-1] * (rows / sizes[-1]) ** growth)


def measure_in_process(method: str, rows: int, columns: int, limit: float) -> Timing:
    """Timing from `benchmarks.speed.timing` in a new process; if it fails or takes far too long, the reason."""
    command = [sys.executable, "-m", "benchmarks.speed.timing", method, str(rows), str(columns)]
    failed = replace(NOTHING, method=method, rows=rows, columns=columns, commit=commit())
    try:
        # 120 s to start, and three times the limit, before the process is ended
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=3 * limit + 120)
    except subprocess.TimeoutExpired:
        return replace(failed, error=TOO_LONG)
    except subprocess.CalledProcessError as error:
        return replace(failed, error=(error.stderr.strip().splitlines() or [f"ended with {error.returncode}"])[-1])
    return Timing(**{**json.loads(done.stdout.splitlines()[-1]), "commit": commit()})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print each figure, and write the file, the page and the plot."""
    parser = make_parser("benchmarks.speed", __doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--columns", type=int, nargs="+", default=COLUMNS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=COMPARED)
    parser.add_argument("--limit", type=float, default=120.0, help="approximate limit for fit and score in seconds")
    parser.add_argument("--output", type=Path, default=Path("speed"), help="folder for the CSV file, page and plot")
    options = parser.parse_args(arguments)
    figures = ResultsFile(options.output / "speed.csv", Timing, KEY)
    for timing in measurements(options.methods, options.rows, options.columns, options.limit, figures.read()):
        figures.append([timing])
        print(describe(timing), flush=True)
    table = figures.read()
    (options.output / "speed.md").write_text(write_page(table, provenance("benchmarks.speed", arguments)))
    plot(table, options.output / "speed.png")


def describe(timing: Timing) -> str:
    """Line of the log."""
    size = f"{timing.rows:>9,} x {timing.columns:<4}{timing.method:22}"
    if timing.error:
        return f"{size}{timing.error}"
    return (
        f"{size}fit {timing.fit_seconds:8.2f} s  score {timing.score_seconds:8.2f} s  "
        f"memory {max(timing.fit_mib, timing.score_mib):6.0f} MiB  AUROC {timing.auroc:.3f}"
    )


if __name__ == "__main__":
    main()
