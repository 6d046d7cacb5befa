"""Accuracy on ADBench's tables, in both settings, beside fifteen peers; each figure is kept as soon as it is known.

Novelty: train on a random half of the normal rows, by seed, test on the other half and every anomaly. Outlier: train
and test on all rows. Every method has its library's defaults; no label is read but by the metric and the novelty split.

The output folder holds figures.csv and, for each setting, a page of tables and two plots. Started again, the command
measures what figures.csv lacks and writes the pages anew; delete rows of the file to measure them again.
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
from benchmarks.accuracy.page import main_table, page
from benchmarks.accuracy.summary import complete_methods
from benchmarks.shared.adbench import CHECKSUMS, SPLITS, download, find_tables
from benchmarks.shared.page import commit, cores, provenance, spell
from benchmarks.shared.peers import METHODS, missing, seeds_of
from benchmarks.shared.results_file import FigureFile

EXTRA = 'Install it with `pip install "vae-anomaly[benchmark]"`.'
EPILOG = """examples:
  python -m benchmarks.accuracy --data adbench --download
  python -m benchmarks.accuracy --data adbench --setting novelty --methods vae-anomaly "5 neighbours" KCM
  python -m benchmarks.accuracy --data adbench --cap 300 --seeds 1 --output /tmp/trial
"""


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder of .npz files with X and y (1 = anomaly)")
    add("--setting", choices=[*SPLITS, "both"], default="both")
    add("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD", help=_listed())
    add("--seeds", type=_positive, default=5, metavar="N", help="seeds 0 to N - 1 (default: 5)")
    add("--cap", type=_positive, default=0, metavar="N", help="rows of each set at most: for development only")
    add("--jobs", type=_positive, default=1, metavar="N", help="processes (default: 1, or seconds are not honest)")
    add("--output", type=Path, default=Path("benchmarks/results"), metavar="DIR", help="default: benchmarks/results")
    add(
        "--download",
        action="store_true",
        help=f"first fetch what is missing of the {len(CHECKSUMS)} of ADBench's 47 classical sets whose checksums are "
        "known; put the others into the folder yourself",
    )
    return parser


def _listed() -> str:
    return "from: " + ", ".join(f'"{name}"' if " " in name else name for name in METHODS) + " (default: all)"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def plan(
    paths: Sequence[Path], settings: Sequence[str], arguments: argparse.Namespace, done: pd.DataFrame
) -> list[Task]:
    """What is still to be measured, a method at a time; what cannot differ between seeds is measured once for all."""
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
    """Figures as they come; several processes share the cores between them."""
    if jobs == 1:
        return map(measure, tasks)
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=max(1, cores() // jobs)):
        return Parallel(return_as="generator_unordered")(delayed(measure)(task) for task in tasks)


def followed(results: Iterable[list[Figure]], total: int) -> Iterator[list[Figure]]:
    """The same results, with a bar on standard error if that is a terminal."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("", total=total)
        for figures in results:
            progress.update(bar, advance=1, description=f"{figures[0].method}, {figures[0].set}")
            yield figures


def report(figures: pd.DataFrame, paths: Sequence[Path], arguments: argparse.Namespace, facts: Sequence[str]) -> None:
    """Write a setting's page and plots; print its main table."""
    setting, sets = str(figures["setting"].iloc[0]), [path.stem for path in paths]
    figures = figures[
        figures["set"].isin(sets) & (figures["seed"] < arguments.seeds) & (figures["cap"] == arguments.cap)
    ]
    complete = complete_methods(figures, sets, lambda method: seeds_of(method, arguments.seeds))
    (arguments.output / f"{setting}.md").write_text(page(setting, figures, complete, facts))
    whole = figures[figures["method"].isin(complete)]
    print(f"{setting}\n\n{main_table(whole)}\n")
    draw(whole, arguments.output, setting)


def draw(whole: pd.DataFrame, output: Path, setting: str) -> None:
    """The two plots; without matplotlib a sentence on standard error instead, for the pages are what matters."""
    from benchmarks.accuracy.plots import plot_ranks, plot_time

    try:
        plot_ranks(whole, output / f"ranks-{setting}.png")
        plot_time(whole, output / f"time-{setting}.png")
    except ModuleNotFoundError as error:
        print(f"{setting}: no plots, for {error.name} is not installed. {EXTRA}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch, measure, report."""
    argv = sys.argv[1:] if argv is None else argv
    parser = make_parser()
    arguments = parser.parse_args(argv)
    settings = list(SPLITS) if arguments.setting == "both" else [arguments.setting]
    if sentence := missing(arguments.methods):
        parser.error(sentence)
    try:
        if arguments.download:
            download(arguments.data)
        paths = find_tables(arguments.data)
        file = FigureFile(arguments.output / "figures.csv", Figure, KEY)
    except ModuleNotFoundError as error:
        parser.error(f"{error.name} is not installed. {EXTRA}")
    except (ValueError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    tasks = plan(paths, settings, arguments, file.read())
    for figures in followed(run(tasks, arguments.jobs), len(tasks)):
        file.append(figures)
    facts = provenance(spell(argv))
    known = file.read()
    for setting in settings:
        report(known[known["setting"] == setting], paths, arguments, facts)


if __name__ == "__main__":
    main()
