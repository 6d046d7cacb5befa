"""What Ray costs on one machine: speed and memory of ``score --engine ray`` and ``score --stream``, bytes shipped.

``python -m benchmarks.speed.machines --rows 100000`` writes folders of Parquet files with that many rows and ten times
as many, fits a model to the shorter one, and scores both with 1 and 2 processors: in one process, and by as many Ray
workers. Each run is a process of its own. Rates use the rows by which the long table exceeds the short one, so they do
not include the start. Processor seconds are those of all processes of a run. Then each file of the long table is
surveyed as in a fit, to see how many bytes a worker sends back and how long the driver takes to merge them.
``--output benchmarks/results/machines.md`` writes the page.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.shared.command import make_parser, provenance
from benchmarks.shared.page import markdown, provenance_section
from benchmarks.speed.scale import make_table

TIMES = 10  # rows of the long table for one of the short
FILES = 20
PROCESSORS = (1, 2)
STORE = 100 * 2**20  # bytes of Ray's object store


@dataclass(frozen=True)
class Run:
    """A table scored by one process (``workers`` is 0) or by workers of Ray."""

    processors: int
    workers: int
    rows: int
    start_seconds: float  # until the cluster is there
    seconds: float  # of scoring, its start included
    processor_seconds: float
    peak_bytes: int  # of the process, or of the largest worker


@dataclass(frozen=True)
class Survey:
    """What a part of a table costs the driver and a worker of a fit, in processor seconds and bytes."""

    rows: int
    place_seconds: float  # to find which of its rows can be in the sample
    survey_seconds: float  # of its worker
    n_bytes: int  # that its worker sends back
    merge_seconds: float


def score(folder: str, model: str, workers: int) -> dict[str, float]:
    """Score a folder in this process or by workers of Ray; seconds, processor seconds and peak memory."""
    import psutil
    import torch  # noqa: F401 - importing it is not part of the work

    from vae_anomaly_cli.main import app

    begin = time.monotonic()
    if workers:
        import ray

        ray.init("local", num_cpus=workers, object_store_memory=STORE, include_dashboard=False, log_to_driver=False)
    started = time.monotonic()
    output, engine = f"{folder}.csv", ["--engine", "ray"] if workers else ["--stream"]
    app(["score", folder, "--model", model, "--output", output, "--quiet", *engine], standalone_mode=False)
    ended = time.monotonic()
    own, others = psutil.Process(), psutil.Process().children(recursive=True)
    times = [process.cpu_times() for process in (own, *others)]
    peaks = [_peak(process.pid) for process in others if "ray::" in process.name() + " ".join(process.cmdline()[:1])]
    if workers:
        ray.shutdown()
    os.remove(output)
    return {
        "start_seconds": started - begin,
        "seconds": ended - started,
        "processor_seconds": sum(spent.user + spent.system for spent in times),
        "peak_bytes": max(peaks) if workers else _peak(own.pid),
    }


def _peak(pid: int) -> int:
    """Peak memory of a process in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def runs(folders: dict[int, Path], model: Path) -> Iterator[Run]:
    """Every folder, which has so many rows, scored with 1 and 2 processors, without Ray and with it."""
    for processors in PROCESSORS:
        for workers in (0, processors):
            for rows, folder in folders.items():
                command = [sys.executable, "-m", "benchmarks.speed.machines", "--work", str(folder), str(model)]
                environment = {**os.environ, "OMP_NUM_THREADS": str(1 if workers else processors)}
                environment |= {"RAY_USAGE_STATS_ENABLED": "0"}
                printed = subprocess.run(
                    [*command, str(workers)], check=True, stdout=subprocess.PIPE, text=True, env=environment
                ).stdout
                yield Run(processors, workers, rows, **json.loads(printed.splitlines()[-1]))


def surveys(folder: Path) -> Iterator[Survey]:
    """Cost of each part of a table for the driver of a fit."""
    from vae_anomaly import Dataset
    from vae_anomaly.data import sampling

    dataset = Dataset(folder)
    places = sampling._Places(sampling.most_rows(len(dataset.columns)), 0, split=False)
    whole, first = None, 0
    for number in range(len(dataset.files)):
        file = dataset.file(number, first)
        n_rows = file.facts().n_rows
        begin = time.process_time()
        place = places.next(n_rows)
        placed = time.process_time()
        _, found = sampling._survey_part(iter(file), place, names=dataset.columns, seed=0, kinds={}, split=False)
        sent = pickle.dumps(found)
        surveyed = time.process_time()
        if whole is None:
            whole = pickle.loads(sent)
        else:
            whole.join(pickle.loads(sent))
        yield Survey(n_rows, placed - begin, surveyed - placed, len(sent), time.process_time() - surveyed)
        first += n_rows


def rates(found: list[Run]) -> pd.DataFrame:
    """For each number of processors, without Ray and with it: rates without the start, and what Ray loses of them."""
    lines = []
    for processors in PROCESSORS:
        pairs = [[run for run in found if (run.processors, run.workers) == (processors, n)] for n in (0, processors)]
        rate, spent = [], []
        for short, long in pairs:
            n_rows = long.rows - short.rows
            rate.append(n_rows / (long.seconds - short.seconds))
            spent.append((long.processor_seconds - short.processor_seconds) / n_rows * 1e6)
        for (short, long), name, own, cost in zip(pairs, ["one process", "Ray"], rate, spent, strict=True):
            facts = [own, 1 - own / rate[0], cost, short.start_seconds, short.seconds]
            lines.append([processors, name, *facts, short.peak_bytes / 1e6, long.peak_bytes / 1e6])
    names = ["processors", "engine", "rows a second", "lost", "processor µs a row", "start, s", "short table, s"]
    return pd.DataFrame(lines, columns=[*names, "peak memory, short, MB", "long, MB"]).set_index("processors")


def write_page(found: list[Run], parts: list[Survey], model_bytes: int, columns: int, facts: Sequence[str]) -> str:
    """Text of the page."""
    short, long = sorted({run.rows for run in found})
    survey = pd.DataFrame([vars(part) for part in parts]).set_index("rows")
    survey.columns = pd.Index(["place, ms", "survey, ms", "sent back, MB", "merge, ms"])
    sections = [
        "# More than one machine",
        f"Folders of {FILES} Parquet files with {columns} columns of numbers: {short:,} and {long:,} rows. Each run is "
        "a process of its own. Rates use the rows by which one table exceeds the other; memory is the peak of the "
        "process, or of the largest worker.",
        markdown(rates(found), ["", ",.0f", ".0%", ",.1f", ",.1f", ",.1f", ",.0f", ",.0f"], "processors"),
        f"The model's file, which is shipped once to each machine, has {model_bytes / 1e6:,.2f} MB.",
        "## The survey of a fit",
        "What each file of the long table costs, in processor time: the driver finds which of its rows can be in the "
        "sample, a worker surveys it and sends back what it has found, and the driver merges that.",
        markdown(survey * [1e3, 1e3, 1e-6, 1e3], [",.1f", ",.1f", ",.2f", ",.1f"], "rows"),
        provenance_section(facts),
    ]
    return "\n\n".join(sections) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each run when it is finished, and write the page."""
    parser = make_parser("benchmarks.speed.machines", __doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--work", nargs=3, metavar=("FOLDER", "MODEL", "WORKERS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        folder, model, workers = options.work
        print(json.dumps(score(folder, model, int(workers))))
        return

    from vae_anomaly import Dataset, VAEDetector

    with tempfile.TemporaryDirectory() as temporary:
        folders = {rows: Path(temporary, str(rows)) for rows in (options.rows, TIMES * options.rows)}
        for rows, folder in folders.items():
            folder.mkdir()
            for number in range(FILES):
                make_table(folder / f"part-{number}.parquet", rows // FILES, options.columns, seed=number)
        model = Path(temporary, "model.vae")
        VAEDetector(random_state=0).fit(Dataset(folders[options.rows])).save(model)
        found = []
        for run in runs(folders, model):
            found.append(run)
            print(run, flush=True)
        parts = list(surveys(folders[TIMES * options.rows]))
        print(parts[0], parts[-1], sep="\n")
        facts = provenance("benchmarks.speed.machines", arguments)
        page = write_page(found, parts, model.stat().st_size, options.columns, facts)
    if options.output:
        options.output.write_text(page)
    else:
        print(page)


if __name__ == "__main__":
    main()
