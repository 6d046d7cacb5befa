"""Errors in tables of mixed columns, found by our detector with its defaults and by plain peers.

Planted: realistic errors in clean rows, at several rates; new: the same, with a half that stays clean to learn from.
Outlier and novelty: labelled and dirty tables as they are. Only the measures, and the novelty setting's choice of
training rows, read labels.

The output folder holds errors.csv and errors.md. Re-running the command measures what errors.csv lacks and rewrites
the page; delete rows of the file to measure them again.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmarks.errors.measure import AP, FLAGGED, KEY, Figure, measure
from benchmarks.errors.methods import METHODS, methods_of
from benchmarks.errors.page import write_page
from benchmarks.errors.tables import NEW, PLANTED, SETTINGS, names, read
from benchmarks.shared.command import RESULTS, commit, make_parser, provenance
from benchmarks.shared.results_file import ResultsFile

RATES = [0.0, 0.002, 0.01, 0.05]
EPILOG = """examples:
  python -m benchmarks.errors --data ../shared
  python -m benchmarks.errors --data ../shared --settings planted --rates 0.01 --tables invoices --output /tmp/trial
  python -m benchmarks.errors --data ../shared --quick --output /tmp/trial
"""


class Run(NamedTuple):
    """A method on a table, and how the table is read."""

    setting: str
    table: str
    rate: float
    seed: int
    method: str
    most: int


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("benchmarks.errors", __doc__, EPILOG)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="holds plant_errors.py, make_tables.py and data/tables")
    add("--settings", nargs="+", choices=SETTINGS, default=SETTINGS, help="default: all")
    add("--tables", nargs="+", metavar="TABLE", help="default: all of a setting")
    rates = "fractions of wrong rows to plant, or numbers of them from 1 up; 0: none (default: %(default)s)"
    add("--rates", nargs="+", type=float, default=RATES, metavar="RATE", help=rates)
    add("--seeds", type=int, default=1, metavar="N", help="seeds 0 to N - 1 (default: %(default)s)")
    listed = f"from: {', '.join(map(repr, METHODS))} (default: all)"
    add("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD", help=listed)
    add("--most", type=int, default=0, metavar="N", help="most rows of each table; for development only")
    add("--quick", action="store_true", help="the same as --settings planted --rates 0.01 --seeds 1 --most 500")
    add("--output", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    return parser


def plan(options: argparse.Namespace, done: pd.DataFrame) -> Iterator[Run]:
    """What is not yet ``done``; the first seed of every table comes first, in case of an interruption."""
    have = set(done[list(Run._fields)].itertuples(index=False, name=None))
    for seed, setting in product(range(options.seeds), options.settings):
        rates = options.rates if setting in (PLANTED, NEW) else [0.0]
        tables = [name for name in names(options.data, setting) if not options.tables or name in options.tables]
        for table, rate, method in product(tables, rates, methods_of(setting, options.methods)):
            wanted = Run(setting, table, rate, seed, method, options.most)
            if tuple(wanted) not in have:
                yield wanted


read_once = lru_cache(maxsize=1)(read)  # the methods follow one another on a table; planting takes up to 20 s


def figures_of(run: Run, data: Path, code: str) -> list[Figure]:
    """Figures of one run."""
    table = read_once(data, run.setting, run.table, run.rate, run.seed, run.most)
    values, error = measure(run.method, table, run.seed)
    return [Figure(*run, *value, code, error) for value in values]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, print a line for each run, and write the page."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.quick:
        options.settings, options.rates, options.seeds, options.most = [PLANTED], [0.01], 1, 500
    facts, code = provenance("benchmarks.errors", argv), commit()
    try:
        known = {name for setting in options.settings for name in names(options.data, setting)}
        if unknown := sorted(set(options.tables or ()) - known):
            raise ValueError(f"There is no table {', '.join(unknown)}. Choose from {', '.join(sorted(known))}.")
        file = ResultsFile(options.output / "errors.csv", Figure, KEY)
    except (ValueError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    for run in plan(options, file.read()):
        figures = figures_of(run, options.data, code)
        file.append(figures)
        shown = {figure.measure: figure.value for figure in figures}
        texts = [f"{name} {shown[name]:.3f}" for name in (AP, FLAGGED) if name in shown]
        where = f"{run.setting} {run.table} {run.rate:g}, seed {run.seed}, {run.method}"
        print(", ".join([where, *texts, *filter(None, [figures[0].error])]), flush=True)
    measured = file.read()
    measured = measured[measured["most"] == options.most]
    (options.output / "errors.md").write_text(write_page(measured, facts))


if __name__ == "__main__":
    main()
