"""Quality of latent means, samples and filled cells, compared with plain peers.

The output folder holds representation.csv, with a row for each figure, and representation.md, which is rewritten after
each figure. Re-running the command measures what representation.csv lacks; delete rows of the file to repeat them.
"""

import argparse
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.representation.classify import build_digits, build_families, build_mnist
from benchmarks.representation.disentangling import build_disentangling
from benchmarks.representation.imputation import build_imputation
from benchmarks.representation.mnist import build_one_class, build_samples
from benchmarks.representation.page import write_page
from benchmarks.representation.tasks import SEEDS, Chapter, Method, Result, Task
from benchmarks.representation.training_time import build_training_time
from benchmarks.shared.page import commit, provenance, spell
from benchmarks.shared.results_file import FigureFile

CHAPTERS = {
    "mnist": Chapter(
        "MNIST: codes of 16",
        "The 10,000 test digits. Share of the test half told right by logistic regression and by 5 nearest neighbours, "
        "on standardised codes, by the same neighbours on codes as they are, and by logistic regression that has 100 "
        "labels (five draws). PyOD's VAE has its defaults but for 16 latents; it standardises the pixels.",
        build_mnist,
    ),
    "digits": Chapter(
        "scikit-learn's small digits: codes of 16",
        "1,797 digits of 8 x 8 pixels, as a table and as images; judged like MNIST.",
        build_digits,
    ),
    "nsl_kdd": Chapter(
        "NSL-KDD: the family of an attack from 16 numbers",
        "25,192 connections, no row left out; logistic regression on standardised codes tells normal, dos, probe, r2l "
        "and u2r (11 rows) apart. Ours sees the columns as they are, the peers standardised numbers and one-hot text; "
        "one-hot alone has more than 100 columns.",
        build_families,
    ),
    "imputation": Chapter(
        "Missing cells",
        "15 % of the cells are removed at random; root mean square error of what is filled in, in standard deviations "
        "of the column: lower is better. Of ADBench's sets the normal rows, 2,000 at most. The methods learn from the "
        "table that they fill. The imputers of scikit-learn see standardised columns.",
        build_imputation,
        averaged=True,
        lower_is_better=True,
    ),
    "samples": Chapter(
        "Samples of digits",
        "A model for each digit of MNIST's training half draws 200 samples; a support vector machine (RBF) trained on "
        "real digits says what they are. The share that it takes for what they were drawn as: it says that samples "
        "look like their digit, not that they differ, and typical ones agree more often than real ones.",
        build_samples,
        averaged=True,
    ),
    "one_class": Chapter(
        "One-class digits",
        "Trained on one digit of MNIST's training half; AUROC on the test half, where the nine others are odd. All "
        "methods are given pixels from 0 to 1 as they are; PyOD's VAE standardises them.",
        build_one_class,
        averaged=True,
    ),
    "disentanglement": Chapter(
        "Disentanglement: a latent for each factor",
        "Rendered images of a blob on 15 x 15 pixels, whose place, radius and brightness are drawn independently: "
        "5,000 to learn from, 5,000 to judge. By how much more the best of 6 latents tells of a factor than the second "
        "best, as a share of all there is to tell; the mean is the mutual information gap (arXiv 1802.04942), from 20 "
        "bins of equal count and codes drawn from the posterior. Ours has a standard normal prior, Gaussian pixels and "
        "3,000 steps. Walks along the latents of one model: traversal.png.",
        build_disentangling,
        averaged=True,
    ),
    "training_time": Chapter(
        "Learning 60,000 images of 28 x 28",
        "The 10,000 test digits of MNIST six times, each copy moved by up to two pixels and with some noise; the "
        "defaults of a representation, on as many threads as there are cores unless OMP_NUM_THREADS says less.",
        build_training_time,
        lower_is_better=True,
    ),
}
EPILOG = """examples:
  python -m benchmarks.representation --data ../shared/data
  python -m benchmarks.representation --data ../shared/data --tasks digits imputation --seeds 1 --output /tmp/trial
"""
KEY = ["task", "method", "measure", "seed"]


@dataclass(frozen=True)
class Value:
    """A row of representation.csv."""

    task: str
    method: str
    measure: str
    seed: int
    value: float
    seconds: float
    commit: str  # of the code that was measured


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.representation",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder of mnist/, nsl_kdd/ and adbench/")
    add("--tasks", nargs="+", choices=list(CHAPTERS), default=list(CHAPTERS), metavar="TASK", help=_listed())
    add(
        "--seeds", type=int, default=SEEDS, metavar="N", help=f"seeds 0 to N - 1, slow methods fewer (default: {SEEDS})"
    )
    add("--output", type=Path, default=Path("benchmarks/results"), metavar="DIR", help="default: benchmarks/results")
    return parser


def _listed() -> str:
    return f"from: {', '.join(CHAPTERS)} (default: all)"


def plan(tasks: dict[str, Task], seeds: int) -> Iterator[tuple[str, Method, int]]:
    """What is wanted: every task's first seed before any second one, so that an early stop leaves no task out."""
    for seed in range(seeds):
        for name, task in tasks.items():
            yield from ((name, method, seed) for method in task.methods if seed < method.seeds)


def missing(name: str, task: Task, method: Method, seed: int, known: pd.DataFrame) -> Collection[str]:
    """Measures that the file does not hold yet."""
    have = known[(known["task"] == name) & (known["method"] == method.name) & (known["seed"] == seed)]
    return set(task.measures) - set(have["measure"])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing; print each figure, and write the page."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = make_parser().parse_args(argv)
    file = FigureFile(arguments.output / "representation.csv", Value, KEY)
    facts, code = provenance(spell(argv, "benchmarks.representation")), commit()
    tasks = {name: CHAPTERS[name].build(arguments.data) for name in arguments.tasks}
    for name, method, seed in plan(tasks, arguments.seeds):
        if lacking := missing(name, tasks[name], method, seed, file.read()):
            for measure, value, seconds in quietly(tasks[name].measure(method, seed, lacking)):
                file.append([Value(name, method.name, measure, seed, value, seconds, code)])
                print(f"{name}, {method.name}, seed {seed}, {measure}: {value:.4f} ({seconds:.1f} s)", flush=True)
                report(file, arguments.output, facts)
    report(file, arguments.output, facts)


def quietly(results: Iterator[Result]) -> Iterator[Result]:
    """The same results; what libraries warn of on the way is theirs."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = next(results, None)
        if result is None:
            return
        yield result


def report(file: FigureFile, output: Path, facts: Sequence[str]) -> None:
    """Write the page of all that is known."""
    (output / "representation.md").write_text(write_page(CHAPTERS, file.read(), facts))


if __name__ == "__main__":
    main()
