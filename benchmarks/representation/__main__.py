"""Quality of latent means, samples and filled cells, compared with plain peers.

The output folder holds representation.csv, with a row for each figure, and representation.md, which is rewritten after
each figure. Re-running the command measures what representation.csv lacks; delete rows of the file to repeat them.
"""

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
from benchmarks.shared.command import RESULTS, commit, make_parser, provenance
from benchmarks.shared.results_file import ResultsFile

CHAPTERS = {
    "mnist": Chapter(
        "MNIST: 16 features",
        "The 10,000 test digits. Accuracy on the test half of logistic regression and of 5 nearest neighbours on "
        "standardised features, of the same neighbours on unscaled features (*codes as they are*), and of logistic "
        "regression trained on 100 labels (mean over five samples of labels). PyOD's VAE has its defaults apart from "
        "16 latents; it standardises the pixels.",
        build_mnist,
    ),
    "digits": Chapter(
        "Small digits of scikit-learn: 16 features",
        "1,797 digits of 8 x 8 pixels, as a table and as images; evaluated like MNIST.",
        build_digits,
    ),
    "nsl_kdd": Chapter(
        "NSL-KDD: the family of an attack from 16 features",
        "25,192 connections, no row left out. Logistic regression on standardised features distinguishes normal, dos, "
        "probe, r2l and u2r (11 rows). Our detector sees the columns unchanged, the peers see standardised numbers and "
        "one-hot text; one-hot alone has more than 100 columns.",
        build_families,
    ),
    "imputation": Chapter(
        "Missing cells",
        "15 % of the cells are removed at random. Root mean square error of the filled cells, in standard deviations "
        "of the column: lower is better. Sets of ADBench are represented by their normal rows, at most 2,000. The "
        "methods learn from the table that they fill. The imputers of scikit-learn see standardised columns.",
        build_imputation,
        averaged=True,
        lower_is_better=True,
    ),
    "samples": Chapter(
        "Samples of digits",
        "For each digit, a model of MNIST's training half draws 200 samples, and a support vector machine (RBF) "
        "trained on real digits classifies them. Fraction of samples that are classified as their digit. It measures "
        "whether samples look like their digit, not whether they differ from each other; typical samples score higher "
        "than real digits.",
        build_samples,
        averaged=True,
    ),
    "one_class": Chapter(
        "One-class digits",
        "Trained on one digit of MNIST's training half; AUROC on the test half, where the nine other digits are "
        "anomalies. All methods get pixels from 0 to 1; PyOD's VAE standardises them.",
        build_one_class,
        averaged=True,
    ),
    "disentanglement": Chapter(
        "Disentanglement: a latent for each factor",
        "Rendered images of a blob on 15 x 15 pixels, with independent random position, radius and brightness: 5,000 "
        "for training, 5,000 for evaluation. For each factor, the mutual information with the best of 6 latents minus "
        "that with the second best, divided by the factor's entropy. The mean is the mutual information gap (arXiv "
        "1802.04942), with 20 bins of equal count and latents drawn from the posterior. Our detector has a standard "
        "normal prior, Gaussian pixels and 3,000 steps. Latent traversals of one model: traversal.png.",
        build_disentangling,
        averaged=True,
    ),
    "training_time": Chapter(
        "Training on 60,000 images of 28 x 28 pixels",
        "Six copies of the 10,000 test digits of MNIST, each shifted by up to two pixels and with some noise. Defaults "
        "for representation, with as many threads as cores unless OMP_NUM_THREADS sets fewer.",
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
    commit: str  # of the measured code


def plan(tasks: dict[str, Task], seeds: int) -> Iterator[tuple[str, Method, int]]:
    """Task, method and seed of each run; the first seed of every task comes first, in case of an interruption."""
    for seed in range(seeds):
        for name, task in tasks.items():
            yield from ((name, method, seed) for method in task.methods if seed < method.seeds)


def missing_measures(name: str, task: Task, method: Method, seed: int, known: pd.DataFrame) -> Collection[str]:
    """Measures of a run that the file does not hold."""
    have = known[(known["task"] == name) & (known["method"] == method.name) & (known["seed"] == seed)]
    return set(task.measures) - set(have["measure"])


def without_warnings(results: Iterator[Result]) -> Iterator[Result]:
    """The same results, without the warnings of the measured libraries."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = next(results, None)
        if result is None:
            return
        yield result


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print each figure, and write the page."""
    parser = make_parser("benchmarks.representation", __doc__, EPILOG)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder that contains mnist/, nsl_kdd/ and adbench/")
    listed = f"from: {', '.join(CHAPTERS)} (default: all)"
    add("--tasks", nargs="+", choices=list(CHAPTERS), default=list(CHAPTERS), metavar="TASK", help=listed)
    fewer = f"seeds 0 to N - 1; slow methods use fewer (default: {SEEDS})"
    add("--seeds", type=int, default=SEEDS, metavar="N", help=fewer)
    add("--output", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    options = parser.parse_args(arguments)
    file = ResultsFile(options.output / "representation.csv", Value, KEY)
    facts, code = provenance("benchmarks.representation", arguments), commit()

    def report() -> None:
        (options.output / "representation.md").write_text(write_page(CHAPTERS, file.read(), facts))

    tasks = {name: CHAPTERS[name].build(options.data) for name in options.tasks}
    for name, method, seed in plan(tasks, options.seeds):
        if lacking := missing_measures(name, tasks[name], method, seed, file.read()):
            for measure, value, seconds in without_warnings(tasks[name].measure(method, seed, lacking)):
                file.append([Value(name, method.name, measure, seed, value, seconds, code)])
                print(f"{name}, {method.name}, seed {seed}, {measure}: {value:.4f} ({seconds:.1f} s)", flush=True)
                report()
    report()


if __name__ == "__main__":
    main()
