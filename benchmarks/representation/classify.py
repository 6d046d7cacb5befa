"""Codes of 16 numbers for a classifier: what is learned without labels on one half, judged on the other.

The methods are transformers in scikit-learn's sense, ours among them.
"""

import time
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
from benchmarks.shared.nsl_kdd import LABEL, families, one_hot
from benchmarks.shared.peers import OURS
from vae_anomaly import VAEDetector, read_table

SIZE = 16  # numbers in a code
FEW, DRAWS = 100, 5  # labels, and how often they are drawn
PRINCIPAL, RAW, ONE_HOT = f"PCA of {SIZE}", "raw pixels", "one-hot"
LOGISTIC, NEIGHBOURS, FEW_LABELS = "logistic regression", "5 neighbours", f"{FEW} labels"
UNSCALED = "5 neighbours, codes as they are"
DIGIT_MEASURES = [LOGISTIC, NEIGHBOURS, UNSCALED, FEW_LABELS]
FAMILY_MEASURES = [MACRO, ACCURACY] = ["macro F1", "accuracy"]


class PyODCodes:
    """Posterior means of PyOD's VAE, which standardises the columns itself."""

    def __init__(self, seed: int):
        self.seed = seed

    def fit(self, rows: np.ndarray) -> Self:
        """Train on the rows."""
        from pyod.models.vae import VAE

        self.detector = VAE(latent_dim=SIZE, random_state=self.seed, verbose=0).fit(rows)
        return self

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Codes (rows, 16)."""
        from pyod.utils.torch_utility import TorchDataset

        scaled = TorchDataset(rows, mean=self.detector.X_mean, std=self.detector.X_std)  # as its scores have them
        model = self.detector.model.eval()
        with torch.no_grad():
            means, _ = model.encode(scaled[np.arange(len(rows))].to(self.detector.device))
        return means.cpu().numpy().astype(np.float64)


Judge = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], dict[str, float]]


@dataclass(frozen=True)
class CodingTask:
    """Codes learned on a half without its labels; a judge reads codes and labels of both halves."""

    rows: Any  # a frame or an array
    labels: np.ndarray
    methods: Sequence[Method]  # make(seed) is a transformer
    measures: Sequence[str]
    judge: Judge

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """Learn the codes, then judge them: every measure at once."""
        split = halves(self.rows, self.labels, seed)
        coder = method.make(seed)
        begin = time.perf_counter()
        coder.fit(split.train)
        train, test = (np.asarray(coder.transform(rows)) for rows in (split.train, split.test))
        seconds = time.perf_counter() - begin
        values = self.judge(train, split.train_labels, test, split.test_labels, seed)
        yield from (Result(measure, values[measure], seconds) for measure in self.measures)


def judge_digits(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, seed: int
) -> dict[str, float]:
    """Share of the test rows told right by classifiers of the codes; with few labels the mean over some draws."""
    scaler = StandardScaler().fit(train)
    train_scaled, test_scaled = scaler.transform(train), scaler.transform(test)

    def share_right(classifier: ClassifierMixin, rows: np.ndarray | slice = slice(None)) -> float:
        return float(classifier.fit(train_scaled[rows], train_labels[rows]).score(test_scaled, test_labels))

    few = [draw_rows(train_labels, FEW, DRAWS * seed + draw) for draw in range(DRAWS)]
    return {
        LOGISTIC: share_right(logistic()),
        NEIGHBOURS: share_right(KNeighborsClassifier(5)),
        UNSCALED: float(KNeighborsClassifier(5).fit(train, train_labels).score(test, test_labels)),
        FEW_LABELS: float(np.mean([share_right(logistic(), rows) for rows in few])),
    }


def judge_families(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, seed: int
) -> dict[str, float]:
    """Macro F1 and accuracy of logistic regression on standardised codes, which draws nothing."""
    told = make_pipeline(StandardScaler(), logistic()).fit(train, train_labels).predict(test)
    return {
        MACRO: float(f1_score(test_labels, told, average="macro", zero_division=0)),
        ACCURACY: float(accuracy_score(test_labels, told)),
    }


def logistic() -> LogisticRegression:
    """The classifier that is not blamed for stopping early."""
    return LogisticRegression(max_iter=1000)


def draw_rows(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Some rows, with every label in its share."""
    rows, _ = train_test_split(np.arange(len(labels)), train_size=count, stratify=labels, random_state=seed)
    return rows


def represent(seed: int, **parameters: Any) -> VAEDetector:
    """Ours, made to represent rows by 16 numbers."""
    return VAEDetector(purpose="representation", n_components=SIZE, random_state=seed, **parameters)


def principal(seed: int) -> PCA:
    """The linear code."""
    return PCA(SIZE, random_state=seed)


def as_they_are(seed: int) -> FunctionTransformer:
    """The rows themselves."""
    return FunctionTransformer()


def build_mnist(data: Path) -> CodingTask:
    """The test digits of MNIST."""
    digits = read_digits(data / "mnist")
    image = partial(represent, image_shape=SHAPE)
    methods = [
        Method(OURS, image),
        Method(f"{OURS}, standard normal prior", partial(image, prior="gaussian"), seeds=1),
        Method(f"{OURS}, plain autoencoder", partial(image, variational=False), seeds=1),
        Method(PRINCIPAL, principal),
        Method(RAW, as_they_are),
        Method("PyOD VAE", PyODCodes, seeds=3),
    ]
    return CodingTask(digits.pixels, digits.labels, methods, DIGIT_MEASURES, judge_digits)


def build_digits(data: Path) -> CodingTask:
    """The small digits that come with scikit-learn."""
    pixels, labels = load_digits(return_X_y=True)
    methods = [
        Method(OURS, represent),
        Method(OURS_AS_IMAGE, partial(represent, image_shape=(1, 8, 8))),
        Method(PRINCIPAL, principal),
        Method(RAW, as_they_are),
    ]
    return CodingTask(pixels, labels, methods, DIGIT_MEASURES, judge_digits)


def build_families(data: Path) -> CodingTask:
    """The connections of NSL-KDD and the families of their attacks."""
    table = read_table(data / "nsl_kdd" / "train.csv")
    rows = table.drop(columns=LABEL)
    methods = [
        Method(OURS, represent, seeds=3),
        Method(f"one-hot, {PRINCIPAL}", lambda seed: make_pipeline(one_hot(rows), principal(seed)), seeds=3),
        Method(ONE_HOT, lambda seed: one_hot(rows), seeds=3),
    ]
    return CodingTask(rows, families(table[LABEL]), methods, FAMILY_MEASURES, judge_families)
