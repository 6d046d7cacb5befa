"""Error rates compared with the requested level: false discoveries, p-values of normal rows, contaminated references.

The output folder holds decisions.csv, with a row for each figure, and decisions.md, rewritten after each trial.
Re-running the command runs the trials that decisions.csv lacks; delete rows of the file to repeat them.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest

from benchmarks.decisions.judges import DetectorJudge, Judge, NonconformJudge
from benchmarks.decisions.page import CONTAMINATED, FEW, LEVEL, LIBRARY, NO_LIBRARY, UNIFORM, write_page
from benchmarks.decisions.trials import Correlated, Halves, Reading, Rule, Source, Trial, run
from benchmarks.shared.adbench import read_table
from benchmarks.shared.command import RESULTS, commit, make_parser, provenance
from benchmarks.shared.results_file import ResultsFile
from vae_anomaly import VAEDetector

SYNTHETIC = "synthetic"
SETS = ("2_annthyroid", "23_mammography", "28_pendigits", "30_satellite")
SET_ROWS = (450, 50)  # normal rows and anomalies of a batch from a set of ADBench
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
    error: float  # standard error of the mean, from the means of the fits
    fits: int
    batches: int  # for each fit
    commit: str  # of the measured code


def level_trials() -> list[Trial]:
    """Clean training rows, three calibrations; cross-fitting is slow, so fewer fits are tested on more batches."""
    rules = [BH, Rule("by", method="by"), Rule("storey", method="storey"), EXTRAPOLATED]
    trials = []
    for calibration in CALIBRATIONS:
        make = partial(_ours, novelty=True, calibration=calibration)
        synthetic, of_set = ((8, 25), (5, 40)) if calibration == "cross" else ((20, 10), (10, 20))
        trials.append(Trial(LEVEL, SYNTHETIC, calibration, make, rules, times=synthetic, uniform=True))
        trials += [
            Trial(LEVEL, name, calibration, make, rules[::3], rows=SET_ROWS, times=of_set, uniform=True)
            for name in SETS
        ]
    return trials


def uniform_trials() -> list[Trial]:
    """Small tables and models without exemplars, where a training row influences its own score."""
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


def contaminated_trials() -> list[Trial]:
    """Training rows that contain anomalies like those to be found."""
    return [
        Trial(
            CONTAMINATED,
            source,
            f"novelty={novelty}, {fraction:.0%}",
            partial(_ours, novelty=novelty),
            [
                Rule(f"contamination={assumed!r}", {"contamination": assumed}, levels=(0.1,))
                for assumed in (0.0, fraction, "auto")
            ],
            contamination=fraction,
            rows=SET_ROWS,
            times=(5, 40),
        )
        for fraction, sources in [
            (0.2, (SYNTHETIC, "2_annthyroid", "27_PageBlocks", "30_satellite")),
            (0.05, (SYNTHETIC, "30_satellite")),
        ]
        for source in sources
        for novelty in (True, False)
    ]


def library_trials() -> list[Trial]:
    """The library nonconform, if installed, and our detector; both hold out a fifth of the rows."""
    judges: dict[str, Callable[[int], Judge]] = {
        f"vae-anomaly, {calibration}": partial(_ours, novelty=True, calibration=calibration)
        for calibration in ("leave_one_out", "split")
    }
    if find_spec("nonconform") is not None:
        judges["nonconform around vae-anomaly"] = lambda seed: NonconformJudge(
            VAEDetector(novelty=True, random_state=seed), seed
        )
        judges["nonconform around IsolationForest"] = lambda seed: NonconformJudge(
            IsolationForest(random_state=seed), seed
        )
        if find_spec("pyod") is not None:
            from pyod.models.knn import KNN

            judges["nonconform around PyOD's KNN"] = lambda seed: NonconformJudge(KNN(), seed)
    return [
        Trial(LIBRARY, source, name, make, rows=rows, times=(10, 20))
        for source, rows in [(SYNTHETIC, (900, 100)), ("30_satellite", SET_ROWS)]
        for name, make in judges.items()
    ]


def few_trials() -> list[Trial]:
    """Ten anomalies among 1,000 rows: too few to be flagged by conformal p-values from few reference rows."""
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
    CONTAMINATED: contaminated_trials,
    LIBRARY: library_trials,
    FEW: few_trials,
}


def _ours(seed: int, **parameters: object) -> Judge:
    return DetectorJudge(random_state=seed, **parameters)


def find_source(name: str, folder: Path) -> Source:
    """Synthetic rows, or the rows of a file."""
    return Correlated() if name == SYNTHETIC else Halves(read_table(folder / f"{name}.npz"))


def summarise(trial: Trial, readings: Iterable[Reading], code: str) -> list[Value]:
    """Means over fits with their standard errors, a row for each rule and measure."""
    table = pd.DataFrame(readings).groupby(["rule", "measure"], sort=False)["value"].agg(["mean", "std", "size"])
    return [
        Value(
            trial.part, trial.source, trial.judge, rule, measure, mean, std / np.sqrt(size), size, trial.times[1], code
        )
        for (rule, measure), (mean, std, size) in zip(table.index, table.itertuples(index=False), strict=True)
    ]


def is_known(trial: Trial, known: pd.DataFrame) -> bool:
    """True if the file has figures for every rule of the trial."""
    same = (known["part"] == trial.part) & (known["source"] == trial.source) & (known["judge"] == trial.judge)
    return {rule.name for rule in trial.rules} <= set(known.loc[same, "rule"])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the missing trials, print their names, and write the page."""
    parser = make_parser("benchmarks.decisions", __doc__, EPILOG)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of ADBench's .npz files")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    parser.add_argument("--fits", type=int, metavar="N", help="most fits of a trial; for development only")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    arguments = parser.parse_args(argv)
    file = ResultsFile(arguments.output / "decisions.csv", Value, KEY)
    facts, code = provenance("benchmarks.decisions", argv), commit()
    if find_spec("nonconform") is None:
        print(NO_LIBRARY, file=sys.stderr)
    else:
        facts.append(f"nonconform {version('nonconform')}")
    for trial in (trial for part in arguments.parts for trial in PARTS[part]()):
        if not is_known(trial, file.read()):
            limited = trial.limited(arguments.fits)
            file.append(summarise(limited, run(limited, find_source(trial.source, arguments.data)), code))
            print(f"{trial.part}: {trial.source}, {trial.judge}", flush=True)
        (arguments.output / "decisions.md").write_text(write_page(file.read(), facts))


if __name__ == "__main__":
    main()
