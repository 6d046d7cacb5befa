"""How fast each method fits and scores tables of numbers, how much memory it takes, and how both grow with the table.

``python -m benchmarks.speed --output benchmarks/results`` measures each method on each size in a process of its own
(benchmarks/timing.py), writes ``speed.csv`` as it goes, ``speed.md`` and ``speed.png``, and goes on where it stopped. A
method is left out where its last smaller table says that it would pass ``--limit``. PyOD's detectors need
``pip install "vae-anomaly[benchmark]"``. Report ratios of one run on a quiet machine.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.shared.page import commit, provenance, spell
from benchmarks.shared.results_file import FigureFile
from benchmarks.speed.page import page, plot
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
PATIENCE = 3  # times the limit until a process is ended, beyond what it needs to start
START = 120  # seconds


def measurements(
    methods: Sequence[str], rows: Sequence[int], columns: Sequence[int], limit: float, known: pd.DataFrame
) -> Iterator[Timing]:
    """A timing for each method and size that is not ``known``, the small tables first."""
    table = known
    for size, width in product(sorted(rows), sorted(columns)):
        for method in methods:
            if len(_chosen(table, method, size, width)):
                continue
            if expected(table, method, size, width) > limit:
                timing = replace(NOTHING, method=method, rows=size, columns=width, error=TOO_LONG)
            else:
                timing = in_own_process(method, size, width, limit)
            table = pd.concat([table, pd.DataFrame([timing])], ignore_index=True)
            yield timing


def expected(table: pd.DataFrame, method: str, rows: int, columns: int) -> float:
    """Seconds that a method will take at least, if it grows with the rows as any method must that looks at each.

    Two smaller tables of the same width show how it grows; one alone says that it will not be quicker on more rows.
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


def in_own_process(method: str, rows: int, columns: int, limit: float) -> Timing:
    """One measurement by ``benchmarks.speed.timing``; a process that fails or takes far too long gives the reason."""
    command = [sys.executable, "-m", "benchmarks.speed.timing", method, str(rows), str(columns)]
    failed = replace(NOTHING, method=method, rows=rows, columns=columns, commit=commit())
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE * limit + START)
    except subprocess.TimeoutExpired:
        return replace(failed, error=TOO_LONG)
    except subprocess.CalledProcessError as error:
        return replace(failed, error=(error.stderr.strip().splitlines() or [f"ended with {error.returncode}"])[-1])
    return Timing(**{**json.loads(done.stdout.splitlines()[-1]), "commit": commit()})


def _chosen(table: pd.DataFrame, method: str, rows: int, columns: int) -> pd.DataFrame:
    return table[(table["method"] == method) & (table["rows"] == rows) & (table["columns"] == columns)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, tell each figure, write file, page and picture."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--columns", type=int, nargs="+", default=COLUMNS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=COMPARED)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds of fit and score, about")
    parser.add_argument("--output", type=Path, default=Path("speed"), help="folder of speed.csv, speed.md, speed.png")
    options = parser.parse_args(given)
    figures = FigureFile(options.output / "speed.csv", Timing, KEY)
    for timing in measurements(options.methods, options.rows, options.columns, options.limit, figures.read()):
        figures.append([timing])
        print(told(timing), flush=True)
    table = figures.read()
    (options.output / "speed.md").write_text(page(table, provenance(spell(given, "benchmarks.speed"))))
    plot(table, options.output / "speed.png")


def told(timing: Timing) -> str:
    """A line of the log."""
    size = f"{timing.rows:>9,} x {timing.columns:<4}{timing.method:22}"
    if timing.error:
        return f"{size}{timing.error}"
    return (
        f"{size}fit {timing.fit_seconds:8.2f} s  score {timing.score_seconds:8.2f} s  "
        f"memory {max(timing.fit_mib, timing.score_mib):6.0f} MiB  AUROC {timing.auroc:.3f}"
    )


if __name__ == "__main__":
    main()
