"""The methods under comparison, all with two verbs: ``fit(train)``, then ``score(test, own)``, high for an odd row.

``own`` (test rows,) is the training row that a test row is, -1 for none: what judges a row by its neighbours leaves the
row itself out. Parameters are each library's defaults, ours included. PyOD is imported where it is used.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from benchmarks.shared.kernels import KernelContraction, KernelDensity
from vae_anomaly import VAEDetector

OURS = "vae-anomaly"
YARDSTICK = "IsolationForest"  # whose seconds are the unit of everyone's


class Peer(Protocol):
    """A detector in the making."""

    def fit(self, train: np.ndarray) -> None:
        """Learn from the training rows."""

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        """How odd each test row is."""


@dataclass
class Ours:
    """The detector of this project."""

    novelty: bool
    seed: int

    def fit(self, train: np.ndarray) -> None:
        self.detector = VAEDetector(novelty=self.novelty, random_state=self.seed).fit(train)

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        return self.detector.anomaly_score(test)


@dataclass
class Neighbours:
    """Mean distance to the nearest training rows."""

    count: int = 5

    def fit(self, train: np.ndarray) -> None:
        distinct, self.place, self.copies = np.unique(train, axis=0, return_inverse=True, return_counts=True)
        self.index = NearestNeighbors().fit(distinct)  # a tree of equal rows would be searched from end to end

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        distances, places = self.index.kneighbors(test, min(self.count + 1, self.index.n_samples_fit_))
        itself = (self.place[own, None] == places) & (own >= 0)[:, None]
        seen = np.minimum((self.copies[places] - itself).cumsum(1), self.count)
        return (np.diff(seen, axis=1, prepend=0) * distances).sum(1) / seen[:, -1]


class LocalOutliers:
    """Local outlier factor; training rows keep the factor of the fit, in which a row is not its own neighbour."""

    def fit(self, train: np.ndarray) -> None:
        self.model = LocalOutlierFactor(novelty=True).fit(train)

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        return _known_or_new(-self.model.negative_outlier_factor_, lambda x: -self.model.score_samples(x), test, own)


@dataclass
class SklearnPeer:
    """A detector of scikit-learn's, whose low scores are odd."""

    model: OutlierMixin

    def fit(self, train: np.ndarray) -> None:
        self.model.fit(train)

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        return -self.model.score_samples(test)


@dataclass
class PyODPeer:
    """A detector of PyOD's; training rows keep the scores of the fit, as PyOD's users do.

    ECOD and COPOD rank a new row among the training rows and all other new rows: that is theirs. So is that LUNAR finds
    a training row among its own neighbours.
    """

    module: str
    name: str
    options: dict[str, object] = field(default_factory=dict)

    def fit(self, train: np.ndarray) -> None:
        self.model = self._make(train.shape[1]).fit(train)

    def _make(self, columns: int) -> Any:
        return getattr(import_module(f"pyod.models.{self.module}"), self.name)(**self.options)

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        return _known_or_new(self.model.decision_scores_, self.model.decision_function, test, own)


@dataclass
class DeepSVDDPeer(PyODPeer):
    """The one detector of PyOD's that wants the number of columns beforehand."""

    def _make(self, columns: int) -> Any:
        self.options = {**self.options, "n_features": columns}
        return super()._make(columns)


def _known_or_new(
    known: np.ndarray, score_new: Callable[[np.ndarray], np.ndarray], test: np.ndarray, own: np.ndarray
) -> np.ndarray:
    """The known scores of the training rows, and computed ones of all others."""
    scores, new = np.asarray(known, dtype=np.float64)[own], own < 0
    if new.any():
        scores[new] = score_new(test[new])
    return scores


@dataclass(frozen=True)
class Method:
    """A line of the comparison: how to make the peer, and what the run must know of it."""

    name: str
    make: Callable[[bool, int], Peer]  # of novelty and seed
    scaled: bool = True  # rows come standardised; False: it scales them itself
    max_train: int | None = None  # training rows drawn at most, where more would take hours
    max_seeds: int | None = None  # likewise, seeds
    deterministic: bool = False  # the same rows give the same scores, whatever the seed
    needs: str = ""  # a package of the extra


def _seeded(module: str, name: str) -> Callable[[bool, int], Peer]:
    """Maker of a detector of PyOD's that draws."""
    peer = DeepSVDDPeer if name == "DeepSVDD" else PyODPeer
    return lambda novelty, seed: peer(module, name, {"random_state": seed, "verbose": 0})


def _plain(module: str, name: str) -> Callable[[bool, int], Peer]:
    """Maker of a detector of PyOD's that does not draw."""
    return lambda novelty, seed: PyODPeer(module, name)


def _heavy(name: str, make: Callable[[bool, int], Peer], *, scaled: bool = True, needs: str = "") -> Method:
    """A method that would take hours on the longest tables."""
    return Method(name, make, scaled, max_train=10_000, max_seeds=1, needs=needs)


METHODS = {
    method.name: method
    for method in [
        Method(OURS, lambda novelty, seed: Ours(novelty, seed), scaled=False),
        Method("5 neighbours", lambda novelty, seed: Neighbours(), max_seeds=1, deterministic=True),
        Method("KCM", lambda novelty, seed: KernelContraction(), max_train=3_000, max_seeds=1),
        _heavy("LOF", lambda novelty, seed: LocalOutliers()),
        _heavy("KDE", lambda novelty, seed: KernelDensity()),
        Method(YARDSTICK, lambda novelty, seed: SklearnPeer(IsolationForest(random_state=seed))),
        _heavy("OCSVM", lambda novelty, seed: SklearnPeer(OneClassSVM())),
        Method("MCD", lambda novelty, seed: SklearnPeer(EllipticEnvelope(random_state=seed)), max_seeds=1),
        Method("PCA", _plain("pca", "PCA"), scaled=False, deterministic=True, needs="pyod"),
        Method("ECOD", _plain("ecod", "ECOD"), deterministic=True, needs="pyod"),
        Method("HBOS", _plain("hbos", "HBOS"), deterministic=True, needs="pyod"),
        Method("COPOD", _plain("copod", "COPOD"), deterministic=True, needs="pyod"),
        _heavy("LUNAR", _seeded("lunar", "LUNAR"), scaled=False, needs="pyod"),
        _heavy("PyOD VAE", _seeded("vae", "VAE"), scaled=False, needs="pyod"),
        _heavy("AutoEncoder", _seeded("auto_encoder", "AutoEncoder"), scaled=False, needs="pyod"),
        _heavy("DeepSVDD", _seeded("deep_svdd", "DeepSVDD"), scaled=False, needs="pyod"),
    ]
}


def seeds_of(name: str, seeds: int) -> range:
    """The seeds that a method is measured with, of so many asked for."""
    limit = METHODS[name].max_seeds if name in METHODS else None
    return range(seeds if limit is None else min(seeds, limit))


def missing(names: list[str]) -> str:
    """One sentence if a package that one of these methods needs is not installed, else nothing."""
    without = [name for name in names if METHODS[name].needs and find_spec(METHODS[name].needs) is None]
    if not without:
        return ""
    return (
        f"{', '.join(without)}: pyod is not installed. Install it with"
        ' `pip install "vae-anomaly[benchmark]"`, or name other --methods.'
    )
