"""Whether errors are as rare as asked: false discoveries, p-values of normal rows, anomalies among the reference rows.

The output folder holds decisions.csv, a row for each figure, and decisions.md, which is written anew after each trial.
Started again, the command runs the trials that decisions.csv lacks; delete rows of the file to run them again.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest

from benchmarks.decisions.judges import Wrapped
from benchmarks.decisions.page import FEW, LEVEL, LIBRARY, NO_LIBRARY, TAINTED, UNIFORM, write_page
from benchmarks.decisions.trials import Correlated, Halves, Judge, Ours, Reading, Rule, Source, Trial, run
from benchmarks.shared.adbench import read_table
from benchmarks.shared.page import commit, provenance, spell
from benchmarks.shared.results_file import FigureFile
from vae_anomaly import VAEDetector

SYNTHETIC = "synthetic"
SETS = ("2_annthyroid", "23_mammography", "28_pendigits", "30_satellite")
SET_ROWS = (450, 50)  # of a batch of a set of ADBench, normal ones and anomalies
CALIBRATIONS = ("leave_one_out", "split", "cross")
BH, EXTRAPOLATED = Rule("bh"), Rule("bh, extrapolate=True", {"extrapolate": True})
EPILOG = """examples:
  python -m benchmarks.decisions --data adbench
  python -m benchmarks.decisions --data adbench --parts uniform few --fits 2 --output /tmp/trial
"""
KEY = ["part", "source", "judge", "rule", "measure"]


@dataclass(frozen=True)
class Value:
    """A row of decisions.csv."""

    part: str
    source: str
    judge: str
    rule: str
    measure: str
    mean: float
    error: float  # standard error of the mean, of the fits' means
    fits: int
    batches: int  # of each
    commit: str  # of the code that was measured


def level_trials() -> list[Trial]:
    """Clean training rows, three calibrations; folds are dear, so fewer fits judge more batches."""
    rules = [BH, Rule("by", method="by"), Rule("storey", method="storey"), EXTRAPOLATED]
    trials = []
    for calibration in CALIBRATIONS:
        make = partial(_ours, novelty=True, calibration=calibration)
        many, some = ((8, 25), (5, 40)) if calibration == "cross" else ((20, 10), (10, 20))
        trials.append(Trial(LEVEL, SYNTHETIC, calibration, make, rules, times=many, uniform=True))
        trials += [
            Trial(LEVEL, name, calibration, make, rules[::3], rows=SET_ROWS, times=some, uniform=True) for name in SETS
        ]
    return trials


def uniform_trials() -> list[Trial]:
    """Small tables, and models without exemplars: where a row has had a say in how it is scored."""
    return [
        Trial(
            UNIFORM,
            source,
            f"{n_train:,} rows, {prior}, {calibration}",
            partial(_ours, novelty=True, prior=prior, calibration=calibration),
            n_train=n_train,
            rows=(500, 0),
            times=(6, 1) if (prior, calibration) == ("gaussian", "cross") else (20, 1),
            uniform=True,
        )
        for source, n_train, prior in [
            (SYNTHETIC, 80, "exemplar"),
            ("30_satellite", 80, "exemplar"),
            (SYNTHETIC, 80, "gaussian"),
            (SYNTHETIC, 1_000, "gaussian"),
        ]
        for calibration in CALIBRATIONS
    ]


def tainted_trials() -> list[Trial]:
    """Anomalies among the training rows, of the kinds that are to be found."""
    return [
        Trial(
            TAINTED,
            source,
            f"novelty={novelty}, {share:.0%}",
            partial(_ours, novelty=novelty),
            [Rule(f"contamination={told!r}", {"contamination": told}, levels=(0.1,)) for told in (0.0, share, "auto")],
            contamination=share,
            rows=SET_ROWS,
            times=(5, 40),
        )
        for share, sources in [
            (0.2, (SYNTHETIC, "2_annthyroid", "27_PageBlocks", "30_satellite")),
            (0.05, (SYNTHETIC, "30_satellite")),
        ]
        for source in sources
        for novelty in (True, False)
    ]


def library_trials() -> list[Trial]:
    """The wrapper library, where it is installed, and ours; both hold out a fifth."""
    judges = {
        f"vae-anomaly, {calibration}": partial(_ours, novelty=True, calibration=calibration)
        for calibration in ("leave_one_out", "split")
    }
    if find_spec("nonconform") is not None:
        judges["nonconform around vae-anomaly"] = _wrapped_ours
        judges["nonconform around IsolationForest"] = _wrapped_forest
        if find_spec("pyod") is not None:
            judges["nonconform around PyOD's KNN"] = _wrapped_neighbours
    return [
        Trial(LIBRARY, source, name, make, rows=rows, times=(10, 20))
        for source, rows in [(SYNTHETIC, (900, 100)), ("30_satellite", SET_ROWS)]
        for name, make in judges.items()
    ]


def few_trials() -> list[Trial]:
    """Ten anomalies among a thousand rows: fewer than conformal p-values of few reference rows can flag."""
    return [
        Trial(
            FEW,
            SYNTHETIC,
            f"{n_train} rows, {calibration}",
            partial(_ours, novelty=True, calibration=calibration),
            [BH, EXTRAPOLATED],
            n_train=n_train,
            rows=(990, 10),
            times=(10, 20),
        )
        for n_train, calibration in [(100, "leave_one_out"), (1_000, "leave_one_out"), (1_000, "split")]
    ]


PARTS = {
    LEVEL: level_trials,
    UNIFORM: uniform_trials,
    TAINTED: tainted_trials,
    LIBRARY: library_trials,
    FEW: few_trials,
}


def _ours(seed: int, **parameters: object) -> Judge:
    return Ours(random_state=seed, **parameters)


def _wrapped_ours(seed: int) -> Judge:
    return Wrapped(VAEDetector(novelty=True, random_state=seed), seed)


def _wrapped_forest(seed: int) -> Judge:
    return Wrapped(IsolationForest(random_state=seed), seed)


def _wrapped_neighbours(seed: int) -> Judge:
    from pyod.models.knn import KNN

    return Wrapped(KNN(), seed)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decisions",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="ADBench's .npz files")
    add("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    add("--fits", type=int, metavar="N", help="fits of a trial at most: for development only")
    add("--output", type=Path, default=Path("benchmarks/results"), metavar="DIR", help="default: benchmarks/results")
    return parser


def find_source(name: str, folder: Path) -> Source:
    """Made-up rows, or those of a file."""
    return Correlated() if name == SYNTHETIC else Halves(read_table(folder / f"{name}.npz"))


def summarised(trial: Trial, readings: Iterable[Reading], code: str) -> list[Value]:
    """Means over fits, with their standard errors."""
    table = pd.DataFrame(readings).groupby(["rule", "measure"], sort=False)["value"].agg(["mean", "std", "size"])
    return [
        Value(
            trial.part, trial.source, trial.judge, rule, measure, mean, std / np.sqrt(size), size, trial.times[1], code
        )
        for (rule, measure), (mean, std, size) in zip(table.index, table.itertuples(index=False), strict=True)
    ]


def is_known(trial: Trial, known: pd.DataFrame) -> bool:
    """Whether the file has figures of every rule of this trial."""
    same = (known["part"] == trial.part) & (known["source"] == trial.source) & (known["judge"] == trial.judge)
    return {rule.name for rule in trial.rules} <= set(known.loc[same, "rule"])


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing; print what is done, and write the page."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = make_parser().parse_args(argv)
    file = FigureFile(arguments.output / "decisions.csv", Value, KEY)
    facts, code = provenance(spell(argv, "benchmarks.decisions")), commit()
    if find_spec("nonconform") is None:
        print(NO_LIBRARY, file=sys.stderr)
    else:
        facts.append(f"nonconform {version('nonconform')}")
    for trial in (trial for part in arguments.parts for trial in PARTS[part]()):
        if not is_known(trial, file.read()):
            limited = trial.limited(arguments.fits)
            file.append(summarised(limited, run(limited, find_source(trial.source, arguments.data)), code))
            print(f"{trial.part}: {trial.source}, {trial.judge}", flush=True)
        (arguments.output / "decisions.md").write_text(write_page(file.read(), facts))


if __name__ == "__main__":
    main()
