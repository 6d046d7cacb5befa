"""Memory and speed of fitting and scoring a file that need not fit in memory.

``python -m benchmarks.speed.scale --rows 100000000 --columns 10`` writes a Parquet file to a temporary folder inside
``--folder`` (deleted afterwards), fits a model to it, and scores it with ``vae-anomaly score --stream``, each in a
process of its own. It first does the same with 1,000,000 rows, which are also scored in memory. Peak memory is
that of the whole process, including torch. ``--output benchmarks/results/scale.md`` writes the page.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shared.command import make_parser, provenance
from benchmarks.shared.page import markdown, provenance_section
from benchmarks.shared.timing import timed

SMALL = 1_000_000
ROWS_AT_A_TIME = 250_000
DIRECTIONS = 5  # common to all columns
NOISE = 0.3


@dataclass(frozen=True)
class Run:
    """Work of one process on a file, with its seconds and peak memory."""

    work: str
    rows: int
    seconds: float
    peak_bytes: int


def make_table(path: Path, rows: int, columns: int, seed: int = 0) -> None:
    """Write a table of numbers with common directions and noise, without holding it in memory."""
    rng = np.random.default_rng(seed)
    mixing, names = rng.normal(size=(DIRECTIONS, columns)), [f"c{number}" for number in range(columns)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, ROWS_AT_A_TIME):
            n = min(ROWS_AT_A_TIME, rows - first)
            x = rng.normal(size=(n, DIRECTIONS)) @ mixing + NOISE * rng.normal(size=(n, columns))
            writer.write_table(pa.table(dict(zip(names, x.T, strict=True))))


def fit(table: str, model: str) -> None:
    """Fit a model to the file."""
    from vae_anomaly import Dataset, VAEDetector

    VAEDetector(random_state=0).fit(Dataset(table)).save(model)


def score_stream(table: str, model: str) -> None:
    """Score the file piece by piece."""
    _score(table, model, "--stream")


def score_in_memory(table: str, model: str) -> None:
    """Read the whole table and score it."""
    _score(table, model)


def _score(table: str, model: str, *options: str) -> None:
    from vae_anomaly_cli.main import app

    output = str(Path(table).with_name("scores.parquet"))
    app(["score", table, "--model", model, "--output", output, "--quiet", *options], standalone_mode=False)
    Path(output).unlink()


WORK: dict[str, Callable[[str, str], None]] = {
    "fit": fit,
    "score_in_memory": score_in_memory,
    "score_stream": score_stream,
}
NAMES = {"fit": "fit", "score_in_memory": "score, in memory", "score_stream": "score --stream"}


def measure(work: str, table: Path, model: Path, rows: int) -> Run:
    """Do the work in a new process."""
    command = [sys.executable, "-m", "benchmarks.speed.scale", "--work", work, str(table), str(model)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Run(NAMES[work], rows, **json.loads(ended.stdout.splitlines()[-1]))


def do_work(work: str, table: str, model: str) -> None:
    """Do the work in this process, and print its seconds without imports and its peak memory as JSON."""
    import torch  # noqa: F401 - importing it is not part of the work

    seconds = timed(WORK[work], table, model).seconds
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_bytes": kilobytes * 1024}))


def runs(rows: int, columns: int, folder: Path) -> Iterator[Run]:
    """Runs on the small and the large table; each table is deleted before the next is written."""
    for n, works in ((min(SMALL, rows), list(WORK)), (rows, ["fit", "score_stream"])):
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            table, model = Path(temporary, "table.parquet"), Path(temporary, "model.vae")
            make_table(table, n, columns)
            yield from (measure(work, table, model, n) for work in works)


def write_page(found: list[Run], columns: int, facts: Sequence[str]) -> str:
    """Text of the page."""
    lines = pd.DataFrame(
        {
            "rows": [run.rows for run in found],
            "seconds": [run.seconds for run in found],
            "rows a second": [run.rows / run.seconds for run in found],
            "peak memory, MB": [run.peak_bytes / 1e6 for run in found],
        },
        index=[run.work for run in found],
    )
    rates = lines["rows a second"]
    streamed = rates[NAMES["score_stream"]]
    ratios = " and ".join(f"{rate / rates[NAMES['score_in_memory']]:.0%}" for rate in np.atleast_1d(streamed))
    parts = [
        "# Large files",
        f"A Parquet file with {columns} columns of numbers; each step runs in its own process. Seconds are without "
        "imports, peak memory includes them. Scoring reads the file and writes scores and reasons to Parquet.",
        f"Piece by piece, rows are scored at {ratios} of the rate of the table in memory.",
        markdown(lines, [",d", ",.1f", ",.0f", ",.0f"], "step"),
        provenance_section(facts),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each run when it is finished, and write the page."""
    parser = make_parser("benchmarks.speed.scale", __doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where to write the file (default: the system's temporary folder)")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--work", nargs=3, metavar=("WORK", "TABLE", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        do_work(*options.work)
        return
    found = []
    for run in runs(options.rows, options.columns, options.folder):
        found.append(run)
        print(run, flush=True)
    text = write_page(found, options.columns, provenance("benchmarks.speed.scale", arguments))
    print(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
