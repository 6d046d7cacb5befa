"""The methods that are compared, ours and scikit-learn's, each with its defaults and the same two verbs.

``fit(train, seed)`` and ``score(test)``, (rows,), high for an anomalous row. In outlier detection the rows to score are
those of training; methods that judge a row by its neighbours leave out the row itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from vae_anomaly.data.columns import CategoryColumn
from vae_anomaly.data.infer import kinds_of
from vae_anomaly.data.parse import column_names
from vae_anomaly.data.schema import Schema
from vae_anomaly.detector import VAEDetector

NEAREST = 5  # rows


class PlainNumbers(TransformerMixin, BaseEstimator):
    """A table as numbers for other detectors: standardised, missing cells filled, categories one-hot encoded.

    The columns are those that our detector uses; a date is the time elapsed. A missing number is the median of
    training; a missing category has a column of its own; one never seen in training has zeros in all of them.
    ``kinds`` are as in `VAEDetector`.
    """

    def __init__(self, kinds: Mapping[Any, str] | None = None) -> None:
        self.kinds = kinds

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn the columns of a table."""
        self.schema_ = Schema.learn(X, kinds=kinds_of(self.kinds or {}, column_names(X)))
        categories = [isinstance(column, CategoryColumn) for column in self.schema_.columns]
        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        self.columns_ = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), categories), remainder=numbers
        ).fit(self.schema_.as_numbers(X))
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """Numbers (rows, numbers and one-hot columns), sparse if most are 0."""
        return self.columns_.transform(self.schema_.as_numbers(X))


class Method(Protocol):
    """A detector."""

    name: ClassVar[str]
    draws: ClassVar[bool]  # another seed gives other scores

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        """Learn from the training rows."""

    def score(self, test: pd.DataFrame) -> np.ndarray:
        """Anomaly score of each row, (rows,)."""


@dataclass
class Ours:
    """The detector of this package."""

    novelty: bool
    device: str
    kinds: Mapping[Any, str] | None = None

    name: ClassVar[str] = "vae-anomaly"
    draws: ClassVar[bool] = True

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        detector = VAEDetector(kinds=self.kinds, novelty=self.novelty, device=self.device, random_state=seed)
        self.detector = detector.fit(train)

    def score(self, test: pd.DataFrame) -> np.ndarray:
        return self.detector.anomaly_score(test)


@dataclass
class Forest:
    """How few random cuts isolate a row."""

    kinds: Mapping[Any, str] | None = None

    name: ClassVar[str] = "IsolationForest"
    draws: ClassVar[bool] = True

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        self.model = make_pipeline(PlainNumbers(self.kinds), IsolationForest(random_state=seed)).fit(train)

    def score(self, test: pd.DataFrame) -> np.ndarray:
        return -self.model.score_samples(test)


@dataclass
class LocalOutliers:
    """Density around the neighbours of a row, relative to that around the row."""

    novelty: bool
    kinds: Mapping[Any, str] | None = None

    name: ClassVar[str] = "LocalOutlierFactor"
    draws: ClassVar[bool] = False

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        nearest = min(20, len(train) - 1)  # scikit-learn's default, which warns in smaller tables
        factor = LocalOutlierFactor(nearest, novelty=self.novelty)
        self.model = make_pipeline(PlainNumbers(self.kinds), factor).fit(train)

    def score(self, test: pd.DataFrame) -> np.ndarray:
        return -self.model.score_samples(test) if self.novelty else -self.model[-1].negative_outlier_factor_


@dataclass
class Neighbours:
    """Mean distance to the nearest training rows."""

    novelty: bool
    kinds: Mapping[Any, str] | None = None

    name: ClassVar[str] = f"{NEAREST} nearest neighbours"
    draws: ClassVar[bool] = False

    def fit(self, train: pd.DataFrame, seed: int) -> None:
        self.numbers = PlainNumbers(self.kinds).fit(train)
        self.index = NearestNeighbors(n_neighbors=min(NEAREST, len(train) - 1)).fit(self.numbers.transform(train))

    def score(self, test: pd.DataFrame) -> np.ndarray:
        distances, _ = self.index.kneighbors(self.numbers.transform(test) if self.novelty else None)
        return distances.mean(axis=1)


def methods(*, novelty: bool, device: str, kinds: Mapping[Any, str] | None = None) -> dict[str, Method]:
    """All methods by name, ours first."""
    made: list[Method] = [
        Ours(novelty, device, kinds),
        Forest(kinds),
        LocalOutliers(novelty, kinds),
        Neighbours(novelty, kinds),
    ]
    return {method.name: method for method in made}
