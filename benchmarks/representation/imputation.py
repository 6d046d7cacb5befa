"""Cells removed at random, and how far from them a method fills them in."""

import time
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
from vae_anomaly import VAEDetector

SHARE = 0.15  # of the cells are removed
MOST = 2000  # rows of a set
SKLEARN = {"wine": load_wine, "breast cancer": load_breast_cancer, "diabetes": load_diabetes}
ADBENCH = ["31_satimage-2", "28_pendigits", "6_cardio", "27_PageBlocks", "12_fault"]


def fill_ours(gone: np.ndarray, seed: int) -> np.ndarray:
    """What the model expects, on the columns as they are."""
    return VAEDetector(purpose="representation", random_state=seed).fit(gone).impute(gone)


def standardised(make: Callable[[int], KNNImputer | IterativeImputer]) -> Callable[[np.ndarray, int], np.ndarray]:
    """A filler of scikit-learn's, that sees standardised columns."""

    def fill(gone: np.ndarray, seed: int) -> np.ndarray:
        scaler = StandardScaler().fit(gone)
        return scaler.inverse_transform(make(seed).fit_transform(scaler.transform(gone)))

    return fill


METHODS = [  # make(gone, seed) is the whole table
    Method(OURS, fill_ours, seeds=3),
    Method("KNNImputer", standardised(lambda seed: KNNImputer()), seeds=3),
    Method("IterativeImputer", standardised(lambda seed: IterativeImputer(random_state=seed)), seeds=3),
    Method("column means", lambda gone, seed: SimpleImputer().fit_transform(gone), seeds=3),
]


@dataclass(frozen=True)
class ImputationTask:
    """Tables by name; every method fills the same holes."""

    tables: Mapping[str, np.ndarray]
    methods: Sequence[Method]

    @property
    def measures(self) -> list[str]:
        """Error on each table."""
        return list(self.tables)

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """A table at a time."""
        for name in self.tables:
            if name in lacking:
                begin = time.perf_counter()
                value = error(self.tables[name], method, seed)
                yield Result(name, value, time.perf_counter() - begin)


def error(table: np.ndarray, method: Method, seed: int) -> float:
    """Root mean square error of the filled cells, in standard deviations of their columns."""
    holes = np.random.default_rng(seed).random(table.shape) < SHARE
    filled = method.make(np.where(holes, np.nan, table), seed)
    units = table.std(0)
    return float(np.sqrt(np.mean(((filled - table) / np.where(units > 0, units, 1.0))[holes] ** 2)))


def normal_rows(path: Path) -> np.ndarray:
    """Some rows of a table of ADBench's that are no anomalies, the same every time."""
    table = read_table(path)
    normal = table.x[table.y == 0]
    return normal[np.random.default_rng(0).permutation(len(normal))[:MOST]]


def build_imputation(data: Path) -> ImputationTask:
    """Three tables of scikit-learn's, five of ADBench's."""
    tables = {name: load().data for name, load in SKLEARN.items()}
    tables |= {name.partition("_")[2]: normal_rows(data / "adbench" / f"{name}.npz") for name in ADBENCH}
    return ImputationTask(tables, METHODS)
