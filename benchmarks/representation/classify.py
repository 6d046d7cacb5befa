"""Classification from 16 features, which are learned without labels on one half of the rows.

All methods, including our detector, are transformers in scikit-learn's sense.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from benchmarks.representation.mnist import OURS_AS_IMAGE, SHAPE, read_digits
from benchmarks.representation.tasks import Method, Result, halves
from benchmarks.shared.nsl_kdd import families, one_hot, read_connections
from benchmarks.shared.peers import OURS
from benchmarks.shared.timing import timed
from vae_anomaly import VAEDetector

SIZE = 16  # features
FEW, DRAWS = 100, 5  # labels, and how many times they are sampled
PRINCIPAL, RAW, ONE_HOT = f"PCA of {SIZE}", "raw pixels", "one-hot"
LOGISTIC, NEIGHBOURS, FEW_LABELS = "logistic regression", "5 neighbours", f"{FEW} labels"
UNSCALED = "5 neighbours, codes as they are"
DIGIT_MEASURES = [LOGISTIC, NEIGHBOURS, UNSCALED, FEW_LABELS]
FAMILY_MEASURES = [MACRO, ACCURACY] = ["macro F1", "accuracy"]


class PyODLatents:
    """Latent means of PyOD's VAE, which standardises the columns itself."""

    def __init__(self, seed: int):
        self.seed = seed

    def fit(self, rows: np.ndarray) -> Self:
        """Train on the rows."""
        from pyod.models.vae import VAE

        self.detector = VAE(latent_dim=SIZE, random_state=self.seed, verbose=0).fit(rows)
        return self

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Latent means, (rows, 16)."""
        from pyod.utils.torch_utility import TorchDataset

        scaled = TorchDataset(rows, mean=self.detector.X_mean, std=self.detector.X_std)  # as for its scores
        model = self.detector.model.eval()
        with torch.no_grad():
            means, _ = model.encode(scaled[np.arange(len(rows))].to(self.detector.device))
        return means.cpu().numpy().astype(np.float64)


Evaluate = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], dict[str, float]]


@dataclass(frozen=True)
class ClassificationTask:
    """Features learned on one half without labels, and classifiers trained on that half and tested on the other."""

    rows: Any  # a frame or an array
    labels: np.ndarray
    methods: Sequence[Method]  # make(seed) is a transformer
    measures: Sequence[str]
    evaluate: Evaluate  # from features and labels of both halves and a seed

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """Learn the features and evaluate all measures."""
        split = halves(self.rows, self.labels, seed)
        transformer = method.make(seed)
        fit = timed(transformer.fit, split.train)
        train, test = (timed(transformer.transform, rows) for rows in (split.train, split.test))
        seconds = fit.seconds + train.seconds + test.seconds
        features = np.asarray(train.result), np.asarray(test.result)
        values = self.evaluate(features[0], split.train_labels, features[1], split.test_labels, seed)
        yield from (Result(measure, values[measure], seconds) for measure in self.measures)


def evaluate_digits(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, seed: int
) -> dict[str, float]:
    """Accuracy of classifiers on the test rows; with few labels, the mean over several samples of labels."""
    scaler = StandardScaler().fit(train)
    train_scaled, test_scaled = scaler.transform(train), scaler.transform(test)

    def accuracy(classifier: ClassifierMixin, rows: np.ndarray | slice = slice(None)) -> float:
        return float(classifier.fit(train_scaled[rows], train_labels[rows]).score(test_scaled, test_labels))

    few = [sample_rows(train_labels, FEW, DRAWS * seed + draw) for draw in range(DRAWS)]
    return {
        LOGISTIC: accuracy(logistic()),
        NEIGHBOURS: accuracy(KNeighborsClassifier(5)),
        UNSCALED: float(KNeighborsClassifier(5).fit(train, train_labels).score(test, test_labels)),
        FEW_LABELS: float(np.mean([accuracy(logistic(), rows) for rows in few])),
    }


def evaluate_families(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, seed: int
) -> dict[str, float]:
    """Macro F1 and accuracy of logistic regression on standardised features; it does not use the seed."""
    predicted = make_pipeline(StandardScaler(), logistic()).fit(train, train_labels).predict(test)
    return {
        MACRO: float(f1_score(test_labels, predicted, average="macro", zero_division=0)),
        ACCURACY: float(accuracy_score(test_labels, predicted)),
    }


def logistic() -> LogisticRegression:
    """Logistic regression with enough iterations to converge."""
    return LogisticRegression(max_iter=1000)


def sample_rows(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of ``count`` rows, stratified by label."""
    rows, _ = train_test_split(np.arange(len(labels)), train_size=count, stratify=labels, random_state=seed)
    return rows


def represent(seed: int, **parameters: Any) -> VAEDetector:
    """Our detector with 16 latents, for representation."""
    return VAEDetector(purpose="representation", n_components=SIZE, random_state=seed, **parameters)


def principal(seed: int) -> PCA:
    """PCA with 16 components."""
    return PCA(SIZE, random_state=seed)


def build_mnist(data: Path) -> ClassificationTask:
    """Classify the test digits of MNIST."""
    digits = read_digits(data / "mnist")
    image = partial(represent, image_shape=SHAPE)
    methods = [
        Method(OURS, image),
        Method(f"{OURS}, standard normal prior", partial(image, prior="gaussian"), seeds=1),
        Method(f"{OURS}, plain autoencoder", partial(image, variational=False), seeds=1),
        Method(PRINCIPAL, principal),
        Method(RAW, lambda seed: FunctionTransformer()),
        Method("PyOD VAE", PyODLatents, seeds=3),
    ]
    return ClassificationTask(digits.pixels, digits.labels, methods, DIGIT_MEASURES, evaluate_digits)


def build_digits(data: Path) -> ClassificationTask:
    """Classify the small digits of scikit-learn."""
    pixels, labels = load_digits(return_X_y=True)
    methods = [
        Method(OURS, represent),
        Method(OURS_AS_IMAGE, partial(represent, image_shape=(1, 8, 8))),
        Method(PRINCIPAL, principal),
        Method(RAW, lambda seed: FunctionTransformer()),
    ]
    return ClassificationTask(pixels, labels, methods, DIGIT_MEASURES, evaluate_digits)


def build_families(data: Path) -> ClassificationTask:
    """Classify the connections of NSL-KDD by the family of their attack."""
    rows, attacks = read_connections(data / "nsl_kdd" / "train.csv")
    methods = [
        Method(OURS, represent, seeds=3),
        Method(f"one-hot, {PRINCIPAL}", lambda seed: make_pipeline(one_hot(rows), principal(seed)), seeds=3),
        Method(ONE_HOT, lambda seed: one_hot(rows), seeds=3),
    ]
    return ClassificationTask(rows, families(attacks), methods, FAMILY_MEASURES, evaluate_families)
