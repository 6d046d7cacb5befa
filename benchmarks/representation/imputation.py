"""Imputation error of cells that were removed at random."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - the import is the switch
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from benchmarks.representation.tasks import Method, Result
from benchmarks.shared.adbench import read_table
from benchmarks.shared.peers import OURS
from benchmarks.shared.timing import timed
from vae_anomaly import VAEDetector

FRACTION = 0.15  # of the cells are removed
MOST_ROWS = 2000  # of a set
SKLEARN = {"wine": load_wine, "breast cancer": load_breast_cancer, "diabetes": load_diabetes}
ADBENCH = ["31_satimage-2", "28_pendigits", "6_cardio", "27_PageBlocks", "12_fault"]


def fill_ours(incomplete: np.ndarray, seed: int) -> np.ndarray:
    """Table filled by our detector, which sees the columns unchanged."""
    return VAEDetector(purpose="representation", random_state=seed).fit(incomplete).impute(incomplete)


def standardised(make: Callable[[int], KNNImputer | IterativeImputer]) -> Callable[[np.ndarray, int], np.ndarray]:
    """Function that fills a table with a scikit-learn imputer on standardised columns."""

    def fill(incomplete: np.ndarray, seed: int) -> np.ndarray:
        scaler = StandardScaler().fit(incomplete)
        return scaler.inverse_transform(make(seed).fit_transform(scaler.transform(incomplete)))

    return fill


METHODS = [  # make(incomplete, seed) -> filled table
    Method(OURS, fill_ours, seeds=3),
    Method("KNNImputer", standardised(lambda seed: KNNImputer()), seeds=3),
    Method("IterativeImputer", standardised(lambda seed: IterativeImputer(random_state=seed)), seeds=3),
    Method("column means", lambda incomplete, seed: SimpleImputer().fit_transform(incomplete), seeds=3),
]


@dataclass(frozen=True)
class ImputationTask:
    """Tables by name; every method fills the same cells."""

    tables: Mapping[str, np.ndarray]
    methods: Sequence[Method]

    @property
    def measures(self) -> list[str]:
        """Error on each table."""
        return list(self.tables)

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """One table at a time."""
        for name in self.tables:
            if name in lacking:
                imputation = timed(error, self.tables[name], method, seed)
                yield Result(name, imputation.result, imputation.seconds)


def error(table: np.ndarray, method: Method, seed: int) -> float:
    """Root mean square error of the filled cells, in standard deviations of their columns."""
    removed = np.random.default_rng(seed).random(table.shape) < FRACTION
    filled = method.make(np.where(removed, np.nan, table), seed)
    scales = table.std(0)
    return float(np.sqrt(np.mean(((filled - table) / np.where(scales > 0, scales, 1.0))[removed] ** 2)))


def normal_rows(path: Path) -> np.ndarray:
    """At most 2,000 normal rows of an ADBench table, always the same ones."""
    table = read_table(path)
    normal = table.x[table.y == 0]
    return normal[np.random.default_rng(0).permutation(len(normal))[:MOST_ROWS]]


def build_imputation(data: Path) -> ImputationTask:
    """Fill three tables of scikit-learn and five of ADBench."""
    tables = {name: load().data for name, load in SKLEARN.items()}
    tables |= {name.partition("_")[2]: normal_rows(data / "adbench" / f"{name}.npz") for name in ADBENCH}
    return ImputationTask(tables, METHODS)
