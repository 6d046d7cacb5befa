"""Accuracy on tables of numbers in both settings, compared with peers: ADBench, OddBench and files of the same form.

Novelty: train on a random half of the normal rows, by seed; test on the other half and every anomaly. Outlier: train
and test on all rows. Every method has its library's defaults. Only the metric and the novelty split read labels.

The output folder holds figures.csv and, for each setting, a page of tables and two plots. Re-running the command
measures what figures.csv lacks and rewrites the pages; delete rows of the file to measure them again.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.accuracy.measure import KEY, Figure, Task, measure
from benchmarks.accuracy.page import main_table, write_page
from benchmarks.accuracy.plots import plot_ranks, plot_time
from benchmarks.accuracy.summary import complete_methods
from benchmarks.shared.adbench import CHECKSUMS, SPLITS, download, find_tables
from benchmarks.shared.command import RESULTS, commit, cores, make_parser, provenance
from benchmarks.shared.peers import METHODS, missing_packages, seeds_of
from benchmarks.shared.results_file import ResultsFile

EXTRA = 'Install it with `pip install "vae-anomaly[benchmark]"`.'
EPILOG = """examples:
  python -m benchmarks.accuracy --data adbench --download
  python -m benchmarks.accuracy --data adbench --setting novelty --methods vae-anomaly "5 neighbours" KCM
  python -m benchmarks.accuracy --data adbench --cap 300 --seeds 1 --output /tmp/trial
  python -m benchmarks.accuracy --data oddbench --setting novelty --seeds 1 --output benchmarks/results/oddbench
"""


def _parser() -> argparse.ArgumentParser:
    methods = ", ".join(f'"{name}"' if " " in name else name for name in METHODS)
    parser = make_parser("benchmarks.accuracy", __doc__, EPILOG)
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of .npz files with X and y (1 = anomaly), or train, test and test_labels",
    )
    add("--setting", choices=[*SPLITS, "both"], default="both")
    add(
        "--methods",
        nargs="+",
        choices=list(METHODS),
        default=list(METHODS),
        metavar="METHOD",
        help=f"from: {methods} (default: all)",
    )
    add("--seeds", type=_positive, default=5, metavar="N", help="seeds 0 to N - 1 (default: 5)")
    add("--cap", type=_positive, default=0, metavar="N", help="most rows of each set; for development only")
    add("--jobs", type=_positive, default=1, metavar="N", help="processes (default: 1; more distort the seconds)")
    add("--output", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    add(
        "--download",
        action="store_true",
        help=f"first download the {len(CHECKSUMS)} sets whose checksums are known, if the folder lacks them; copy "
        "others of ADBench's 47 classical sets into the folder yourself",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def plan(
    paths: Sequence[Path], settings: Sequence[str], arguments: argparse.Namespace, done: pd.DataFrame
) -> list[Task]:
    """Tasks for the figures that are not ``done``; seeds that cannot differ share a task."""
    have = set(done[KEY].itertuples(index=False, name=None))
    code = commit()
    tasks = []
    for name, setting, path in product(arguments.methods, settings, paths):
        wanted = [(setting, path.stem, seed, name, arguments.cap) for seed in seeds_of(name, arguments.seeds)]
        seeds = tuple(seed for seed, key in enumerate(wanted) if key not in have)
        once = METHODS[name].deterministic and setting == "outlier"
        served = [seeds] if once and seeds else [(seed,) for seed in seeds]
        tasks += [Task(path, setting, name, seeds, arguments.cap, arguments.jobs, code) for seeds in served]
    return tasks


def run(tasks: Sequence[Task], jobs: int) -> Iterator[list[Figure]]:
    """Figures of each task as it finishes; parallel processes share the cores."""
    if jobs == 1:
        return map(measure, tasks)
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=max(1, cores() // jobs)):
        return Parallel(return_as="generator_unordered")(delayed(measure)(task) for task in tasks)


def with_progress(results: Iterable[list[Figure]], total: int) -> Iterator[list[Figure]]:
    """The same results, with a progress bar if standard error is a terminal."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("", total=total)
        for figures in results:
            progress.update(bar, advance=1, description=f"{figures[0].method}, {figures[0].set}")
            yield figures


def report(figures: pd.DataFrame, paths: Sequence[Path], arguments: argparse.Namespace, facts: Sequence[str]) -> None:
    """Write the page and the plots of a setting, and print its main table."""
    setting, sets = str(figures["setting"].iloc[0]), [path.stem for path in paths]
    figures = figures[
        figures["set"].isin(sets) & (figures["seed"] < arguments.seeds) & (figures["cap"] == arguments.cap)
    ]
    complete = complete_methods(figures, sets, lambda method: seeds_of(method, arguments.seeds))
    page = write_page(arguments.data.resolve().name, setting, figures, complete, facts)
    (arguments.output / f"{setting}.md").write_text(page)
    averaged = figures[figures["method"].isin(complete)]
    print(f"{setting}\n\n{main_table(averaged)}\n")
    try:
        plot_ranks(averaged, arguments.output / f"ranks-{setting}.png")
        plot_time(averaged, arguments.output / f"time-{setting}.png")
    except ModuleNotFoundError as error:
        print(f"{setting}: no plots, because {error.name} is not installed. {EXTRA}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> None:
    """Download, measure and report."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    settings = list(SPLITS) if arguments.setting == "both" else [arguments.setting]
    if sentence := missing_packages(arguments.methods):
        parser.error(sentence)
    try:
        if arguments.download:
            download(arguments.data)
        paths = find_tables(arguments.data)
        file = ResultsFile(arguments.output / "figures.csv", Figure, KEY)
    except ModuleNotFoundError as error:
        parser.error(f"{error.name} is not installed. {EXTRA}")
    except (ValueError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    tasks = plan(paths, settings, arguments, file.read())
    for figures in with_progress(run(tasks, arguments.jobs), len(tasks)):
        file.append(figures)
    facts = provenance("benchmarks.accuracy", argv)
    known = file.read()
    for setting in settings:
        report(known[known["setting"] == setting], paths, arguments, facts)


if __name__ == "__main__":
    main()
