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
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shared.page import ending, markdown, provenance, spell

SMALL = 1_000_000
ROWS_AT_A_TIME = 250_000
COMMON = 5  # directions that the columns share
NOISE = 0.3


@dataclass(frozen=True)
class Run:
    """What one process did with a file, and what it took."""

    work: str
    rows: int
    seconds: float
    peak_bytes: int


def make_table(path: Path, rows: int, columns: int, seed: int = 0) -> None:
    """Numbers with some directions in common, and noise; never all in memory."""
    rng = np.random.default_rng(seed)
    mixing, names = rng.normal(size=(COMMON, columns)), [f"c{number}" for number in range(columns)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, ROWS_AT_A_TIME):
            n = min(ROWS_AT_A_TIME, rows - first)
            x = rng.normal(size=(n, COMMON)) @ mixing + NOISE * rng.normal(size=(n, columns))
            writer.write_table(pa.table(dict(zip(names, x.T, strict=True))))


def fit(table: str, model: str) -> None:
    """Fit a model to all rows, as they come."""
    from vae_anomaly import Dataset, VAEDetector

    VAEDetector(random_state=0).fit(Dataset(table)).save(model)


def score_stream(table: str, model: str) -> None:
    """Score and write piece by piece."""
    _score(table, model, "--stream")


def score_in_memory(table: str, model: str) -> None:
    """Score the table read whole."""
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
WORDS = {"fit": "fit", "score_in_memory": "score, in memory", "score_stream": "score --stream"}


def measure(work: str, table: Path, model: Path, rows: int) -> Run:
    """Do some work in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.scale", "--work", work, str(table), str(model)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Run(WORDS[work], rows, **json.loads(ended.stdout.splitlines()[-1]))


def do(work: str, table: str, model: str) -> None:
    """What such a process does: the work, timed without the imports, and what it took as JSON."""
    import torch  # noqa: F401 (loading it is not the work)

    begin = time.perf_counter()
    WORK[work](table, model)
    seconds = time.perf_counter() - begin
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_bytes": kilobytes * 1024}))


def runs(rows: int, columns: int, folder: Path) -> Iterator[Run]:
    """All that is measured, as it comes: each table is deleted before the next is made."""
    for n, works in ((min(SMALL, rows), list(WORK)), (rows, ["fit", "score_stream"])):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            table, model = Path(place, "table.parquet"), Path(place, "model.vae")
            make_table(table, n, columns)
            yield from (measure(work, table, model, n) for work in works)


def page(found: list[Run], columns: int, command: str) -> str:
    """The figures as Markdown, what they come to, and where they come from."""
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
    streamed = rates[WORDS["score_stream"]]
    rates_told = " and ".join(f"{rate / rates[WORDS['score_in_memory']]:.0%}" for rate in np.atleast_1d(streamed))
    parts = [
        "# Rows without end",
        f"A Parquet file of {columns} columns of numbers, each work in a process of its own: seconds without imports, "
        "peak memory with them. Scoring reads the file and writes scores and reasons to Parquet.",
        f"Piece by piece, rows are scored at {rates_told} of the rate of the table in memory.",
        markdown(lines, [",d", ",.1f", ",.0f", ",.0f"], "what"),
        ending(provenance(command)),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as they come, and write the page."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where to make the file; the system's temporary folder by default")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--work", nargs=3, metavar=("WORK", "TABLE", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.work:
        do(*options.work)
        return
    found = []
    for run in runs(options.rows, options.columns, options.folder):
        found.append(run)
        print(run, flush=True)
    text = page(found, options.columns, spell(given, "benchmarks.speed.scale"))
    print(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
