"""The compared methods, with the verbs ``fit(train)`` and ``score(test, train_index)``; high scores are anomalous.

``train_index`` (test rows,) is the index of each test row among the training rows, or -1. Methods that compare a row
with its neighbours use it to leave the row itself out. All parameters are the libraries' defaults, also for our
detector. PyOD is imported where it is used.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import OneClassSVM

from benchmarks.shared.kernels import KernelContraction, KernelDensity, TwoKernelDensities
from vae_anomaly import VAEDetector

OURS = "vae-anomaly"
BY_RANGE = "5 neighbours, by range"
BASELINE = "IsolationForest"  # relative seconds are multiples of its seconds


class Peer(Protocol):
    """Interface of a compared detector."""

    def fit(self, train: np.ndarray) -> None:
        """Learn from the training rows."""

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        """Anomaly score of each test row."""


@dataclass
class Ours:
    """Our detector, with the defaults apart from ``parameters``."""

    novelty: bool
    seed: int
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def fit(self, train: np.ndarray) -> None:
        self.detector = VAEDetector(novelty=self.novelty, random_state=self.seed, **self.parameters).fit(train)

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        return self.detector.anomaly_score(test)


@dataclass
class Neighbours:
    """Mean distance to the nearest training rows."""

    count: int = 5

    def fit(self, train: np.ndarray) -> None:
        distinct, self.distinct_index, self.copies = np.unique(train, axis=0, return_inverse=True, return_counts=True)
        self.tree = NearestNeighbors().fit(distinct)  # searching a tree of equal rows would visit all of them

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        distances, nearest = self.tree.kneighbors(test, min(self.count + 1, self.tree.n_samples_fit_))
        is_itself = (self.distinct_index[train_index, None] == nearest) & (train_index >= 0)[:, None]
        counted = np.minimum((self.copies[nearest] - is_itself).cumsum(1), self.count)
        return (np.diff(counted, axis=1, prepend=0) * distances).sum(1) / counted[:, -1]


class NeighboursByRange(Neighbours):
    """The same with columns measured by their range."""

    def fit(self, train: np.ndarray) -> None:
        self.scaler = MinMaxScaler().fit(train)
        super().fit(self.scaler.transform(train))

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        return super().score(self.scaler.transform(test), train_index)


class LocalOutliers:
    """Local outlier factor; training rows keep the factor from the fit, in which a row is not its own neighbour."""

    def fit(self, train: np.ndarray) -> None:
        self.model = LocalOutlierFactor(novelty=True).fit(train)

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        known = -self.model.negative_outlier_factor_
        return _known_or_new(known, lambda rows: -self.model.score_samples(rows), test, train_index)


@dataclass
class SklearnPeer:
    """A scikit-learn detector, whose low scores are anomalous."""

    model: OutlierMixin

    def fit(self, train: np.ndarray) -> None:
        self.model.fit(train)

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        return -self.model.score_samples(test)


@dataclass
class PyODPeer:
    """A PyOD detector; training rows keep the scores from the fit, as is usual with PyOD.

    Two properties of PyOD are left unchanged: ECOD and COPOD rank a new row among the training rows and all other new
    rows, and LUNAR counts a training row among its own neighbours.
    """

    module: str
    name: str
    options: dict[str, object] = field(default_factory=dict)

    def fit(self, train: np.ndarray) -> None:
        self.model = self._make(train.shape[1]).fit(train)

    def _make(self, columns: int) -> Any:
        return getattr(import_module(f"pyod.models.{self.module}"), self.name)(**self.options)

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        return _known_or_new(self.model.decision_scores_, self.model.decision_function, test, train_index)


@dataclass
class DeepSVDDPeer(PyODPeer):
    """PyOD's DeepSVDD, the only one of its detectors that needs the number of columns in advance."""

    def _make(self, columns: int) -> Any:
        self.options = {**self.options, "n_features": columns}
        return super()._make(columns)


def _known_or_new(
    known: np.ndarray, score_new: Callable[[np.ndarray], np.ndarray], test: np.ndarray, train_index: np.ndarray
) -> np.ndarray:
    """Known scores for training rows, computed scores for all other rows."""
    scores, new = np.asarray(known, dtype=np.float64)[train_index], train_index < 0
    if new.any():
        scores[new] = score_new(test[new])
    return scores


@dataclass(frozen=True)
class Method:
    """A compared method: how to create it, and the limits of its runs."""

    name: str
    make: Callable[[bool, int], Peer]  # from novelty and seed
    scaled: bool = True  # the method gets standardised rows; False: it scales them itself
    max_train: int | None = None  # most training rows, where more would take hours
    max_seeds: int | None = None  # most seeds, where more would take hours
    deterministic: bool = False  # the scores do not depend on the seed
    requires: str = ""  # an optional package


def _seeded(module: str, name: str) -> Callable[[bool, int], Peer]:
    """Factory of a PyOD detector that takes a seed."""
    peer = DeepSVDDPeer if name == "DeepSVDD" else PyODPeer
    return lambda novelty, seed: peer(module, name, {"random_state": seed, "verbose": 0})


def _plain(module: str, name: str) -> Callable[[bool, int], Peer]:
    """Factory of a PyOD detector without a seed."""
    return lambda novelty, seed: PyODPeer(module, name)


def _heavy(name: str, make: Callable[[bool, int], Peer], *, scaled: bool = True, requires: str = "") -> Method:
    """A method limited in rows and seeds, because it would take hours on the longest tables."""
    return Method(name, make, scaled, max_train=10_000, max_seeds=1, requires=requires)


METHODS = {
    method.name: method
    for method in [
        Method(OURS, lambda novelty, seed: Ours(novelty, seed), scaled=False),
        Method("5 neighbours", lambda novelty, seed: Neighbours(), max_seeds=1, deterministic=True),
        Method(BY_RANGE, lambda novelty, seed: NeighboursByRange(), scaled=False, max_seeds=1, deterministic=True),
        Method("two kernel densities", lambda novelty, seed: TwoKernelDensities(), max_train=3_000, max_seeds=1),
        Method("KCM", lambda novelty, seed: KernelContraction(), max_train=3_000, max_seeds=1),
        _heavy("LOF", lambda novelty, seed: LocalOutliers()),
        _heavy("KDE", lambda novelty, seed: KernelDensity()),
        Method(BASELINE, lambda novelty, seed: SklearnPeer(IsolationForest(random_state=seed))),
        _heavy("OCSVM", lambda novelty, seed: SklearnPeer(OneClassSVM())),
        Method("MCD", lambda novelty, seed: SklearnPeer(EllipticEnvelope(random_state=seed)), max_seeds=1),
        Method("PCA", _plain("pca", "PCA"), scaled=False, deterministic=True, requires="pyod"),
        Method("ECOD", _plain("ecod", "ECOD"), deterministic=True, requires="pyod"),
        Method("HBOS", _plain("hbos", "HBOS"), deterministic=True, requires="pyod"),
        Method("COPOD", _plain("copod", "COPOD"), deterministic=True, requires="pyod"),
        _heavy("LUNAR", _seeded("lunar", "LUNAR"), scaled=False, requires="pyod"),
        _heavy("PyOD VAE", _seeded("vae", "VAE"), scaled=False, requires="pyod"),
        _heavy("AutoEncoder", _seeded("auto_encoder", "AutoEncoder"), scaled=False, requires="pyod"),
        _heavy("DeepSVDD", _seeded("deep_svdd", "DeepSVDD"), scaled=False, requires="pyod"),
    ]
}


def seeds_of(name: str, seeds: int) -> range:
    """Seeds to measure a method with, of the ``seeds`` requested."""
    limit = METHODS[name].max_seeds if name in METHODS else None
    return range(seeds if limit is None else min(seeds, limit))


def missing_packages(names: list[str]) -> str:
    """Error message if one of these methods requires a package that is not installed, else ''."""
    without = [name for name in names if METHODS[name].requires and find_spec(METHODS[name].requires) is None]
    if not without:
        return ""
    return (
        f"{', '.join(without)}: pyod is not installed. Install it with"
        ' `pip install "vae-anomaly[benchmark]"`, or choose other --methods.'
    )


@cache
def warm_up(method: Method) -> None:
    """Import and compile what the method needs before it is timed, by fitting and scoring a few rows."""
    rows = np.random.default_rng(0).normal(size=(64, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = method.make(True, 0)
        peer.fit(rows)
        peer.score(rows, np.full(len(rows), -1))
