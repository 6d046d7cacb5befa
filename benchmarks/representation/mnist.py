"""The digits of MNIST, and two tasks on them: to tell a digit from the others, and to draw one."""

import gzip
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from benchmarks.representation.tasks import Halves, Method, Result, halves
from benchmarks.shared.peers import OURS, YARDSTICK, Neighbours, Peer, PyODPeer, SklearnPeer
from vae_anomaly import VAEDetector, read_images

SHAPE = (1, 28, 28)
LABELS_START = 8  # bytes of the header of an IDX file of labels
DRAWN = 200  # samples of each digit
COMPONENTS = 32  # of the linear models
OURS_AS_IMAGE, PRINCIPAL_ERROR = f"{OURS}, image", f"PCA of {COMPONENTS}, squared error"
DIGITS = [f"digit {digit}" for digit in range(10)]


class Digits(NamedTuple):
    """Pixels (digits, 784) from 0 to 1, and which digit each is."""

    pixels: np.ndarray
    labels: np.ndarray


def read_digits(folder: Path) -> Digits:
    """The 10,000 test digits, from the IDX files as published."""
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = read_images(folder / "t10k-images-idx3-ubyte.gz").pixels
    return Digits(pixels, np.frombuffer(labels, dtype=np.uint8, offset=LABELS_START).astype(int))


class Residual:
    """Squared distance to the principal components' plane."""

    def fit(self, train: np.ndarray) -> None:
        """Find the plane."""
        self.plane = PCA(COMPONENTS, random_state=0).fit(train)

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        """How far off each row is."""
        return ((test - self.plane.inverse_transform(self.plane.transform(test))) ** 2).sum(1)


@dataclass
class Novelty:
    """The detector of this project, told that its training rows are normal."""

    detector: VAEDetector

    def fit(self, train: np.ndarray) -> None:
        """Learn from the training rows."""
        self.detector.fit(train)

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Negative ELBO."""
        return self.detector.anomaly_score(test)


def novelty(seed: int, **parameters: Any) -> Novelty:
    """Ours with other parameters than the defaults."""
    return Novelty(VAEDetector(novelty=True, random_state=seed, **parameters))


ONE_CLASS = [  # make(seed) is a peer
    Method(OURS_AS_IMAGE, partial(novelty, image_shape=SHAPE), seeds=2),
    Method(f"{OURS}, table", novelty, seeds=2),
    Method(f"{OURS}, table, 64 latents", partial(novelty, n_components=64), seeds=2),
    Method(PRINCIPAL_ERROR, lambda seed: Residual(), seeds=2),
    Method(YARDSTICK, lambda seed: SklearnPeer(IsolationForest(random_state=seed)), seeds=2),
    Method("5 neighbours", lambda seed: Neighbours(), seeds=2),
    Method("PyOD VAE", lambda seed: PyODPeer("vae", "VAE", {"random_state": seed, "verbose": 0}), seeds=2),
]


@dataclass(frozen=True)
class OneClassTask:
    """Trained on one digit; how well the scores part it from the nine others, for each digit in turn."""

    digits: Digits
    methods: Sequence[Method]

    @property
    def measures(self) -> list[str]:
        """AUROC for each digit."""
        return DIGITS

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """A digit at a time."""
        split = halves(*self.digits, seed)
        for digit, name in enumerate(DIGITS):
            if name in lacking:
                begin = time.perf_counter()
                scores = scored(method.make(seed), split, digit)
                seconds = time.perf_counter() - begin
                yield Result(name, float(roc_auc_score(split.test_labels != digit, scores)), seconds)


def scored(peer: Peer, split: Halves, digit: int) -> np.ndarray:
    """How odd each test row is to what has seen one digit only; no test row was in training."""
    peer.fit(split.train[split.train_labels == digit])
    return peer.score(split.test, np.full(len(split.test), -1))


Draw = Callable[[Halves, int, int], np.ndarray]  # samples (DRAWN, pixels) of a split, a digit and a seed


def draw_ours(split: Halves, digit: int, seed: int) -> np.ndarray:
    """From a model of the digit's training rows."""
    detector = VAEDetector(purpose="representation", image_shape=SHAPE, random_state=seed)
    return detector.fit(split.train[split.train_labels == digit]).sample(DRAWN, random_state=seed)


def draw_linear(split: Halves, digit: int, seed: int) -> np.ndarray:
    """From a normal density in the plane of the digit's principal components."""
    plane = PCA(COMPONENTS, random_state=seed).fit(split.train[split.train_labels == digit])
    codes = np.random.default_rng(seed).normal(size=(DRAWN, COMPONENTS)) * np.sqrt(plane.explained_variance_)
    return plane.inverse_transform(codes).clip(0, 1)


def draw_real(split: Halves, digit: int, seed: int) -> np.ndarray:
    """Test rows of the digit: what the judge makes of real ones."""
    rows = np.flatnonzero(split.test_labels == digit)
    return split.test[np.random.default_rng(seed).permutation(rows)[:DRAWN]]


SAMPLERS = [  # make is a `Draw`
    Method(OURS, draw_ours, seeds=1),
    Method(f"normal density in PCA of {COMPONENTS}", draw_linear, seeds=1),
    Method("real digits of the test half", draw_real, seeds=1),
]


@dataclass(frozen=True)
class SamplingTask:
    """A model for each digit; a judge trained on real digits says which digit each sample is."""

    digits: Digits
    methods: Sequence[Method]

    @property
    def measures(self) -> list[str]:
        """Share of each digit's samples that the judge takes for that digit."""
        return DIGITS

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """A digit at a time."""
        split = halves(*self.digits, seed)
        judge = SVC(C=5).fit(split.train, split.train_labels)
        for digit, name in enumerate(DIGITS):
            if name in lacking:
                begin = time.perf_counter()
                samples = method.make(split, digit, seed)
                seconds = time.perf_counter() - begin
                yield Result(name, float((judge.predict(samples) == digit).mean()), seconds)


def build_one_class(data: Path) -> OneClassTask:
    """One-class digits."""
    return OneClassTask(read_digits(data / "mnist"), ONE_CLASS)


def build_samples(data: Path) -> SamplingTask:
    """Samples of each digit."""
    return SamplingTask(read_digits(data / "mnist"), SAMPLERS)
