"""The methods under comparison, ours and scikit-learn's, each with its defaults and the same two verbs.

``fit(train, seed)``, then ``score(test)``, (rows,), high for an odd row. In outlier detection the rows to score are
those of training, and what judges a row by its neighbours leaves the row itself out.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline

from vae_anomaly.comparison.numbers import PlainNumbers
from vae_anomaly.detector import VAEDetector

NEAREST = 5
FACTOR_NEAREST = 20  # scikit-learn's default for the local outlier factor


class Method(Protocol):
    """A detector in the making."""

    name: ClassVar[str]
    draws: ClassVar[bool]  # another seed, another score

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        """Learn from the training rows."""

    def score(self, test: pd.DataFrame) -> np.ndarray:
        """How odd each row is."""


@dataclass
class Ours:
    """The detector of this package."""

    novelty: bool
    device: str

    name: ClassVar[str] = "vae-anomaly"
    draws: ClassVar[bool] = True

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        self.detector = VAEDetector(novelty=self.novelty, device=self.device, random_state=seed).fit(train)

    def score(self, test: pd.DataFrame) -> np.ndarray:
        return self.detector.anomaly_score(test)


class Forest:
    """How few random cuts set a row apart from the others."""

    name: ClassVar[str] = "IsolationForest"
    draws: ClassVar[bool] = True

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        self.model = make_pipeline(PlainNumbers(), IsolationForest(random_state=seed)).fit(train)

    def score(self, test: pd.DataFrame) -> np.ndarray:
        return -self.model.score_samples(test)


@dataclass
class LocalOutliers:
    """How much sparser the rows are around a row than around its neighbours."""

    novelty: bool

    name: ClassVar[str] = "LocalOutlierFactor"
    draws: ClassVar[bool] = False

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        factor = LocalOutlierFactor(n_neighbors=min(FACTOR_NEAREST, len(train) - 1), novelty=self.novelty)
        self.model = make_pipeline(PlainNumbers(), factor).fit(train)

    def score(self, test: pd.DataFrame) -> np.ndarray:
        return -self.model.score_samples(test) if self.novelty else -self.model[-1].negative_outlier_factor_


@dataclass
class Neighbours:
    """Mean distance to the nearest training rows."""

    novelty: bool

    name: ClassVar[str] = f"{NEAREST} nearest neighbours"
    draws: ClassVar[bool] = False

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        self.numbers = PlainNumbers().fit(train)
        self.index = NearestNeighbors(n_neighbors=min(NEAREST, len(train) - 1)).fit(self.numbers.transform(train))

    def score(self, test: pd.DataFrame) -> np.ndarray:
        distances, _ = self.index.kneighbors(self.numbers.transform(test) if self.novelty else None)
        return distances.mean(axis=1)


def methods(*, novelty: bool, device: str) -> dict[str, Method]:
    """All of them by name, ours first."""
    made: list[Method] = [Ours(novelty, device), Forest(), LocalOutliers(novelty), Neighbours(novelty)]
    return {method.name: method for method in made}
