"""The digits of MNIST, and two tasks: detecting other digits than the one in training, and sampling a digit."""

import gzip
from collections.abc import Collection, Iterator, Sequence
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
from benchmarks.shared.peers import BASELINE, OURS, Neighbours, Ours, Peer, PyODPeer, SklearnPeer
from benchmarks.shared.timing import timed
from vae_anomaly import VAEDetector, read_images

SHAPE = (1, 28, 28)
SAMPLES = 200  # for each digit
COMPONENTS = 32  # of the linear models
OURS_AS_IMAGE, PRINCIPAL_ERROR = f"{OURS}, image", f"PCA of {COMPONENTS}, squared error"
DIGITS = [f"digit {digit}" for digit in range(10)]


class Digits(NamedTuple):
    """Pixels (images, 784) from 0 to 1, and the digit of each image."""

    pixels: np.ndarray
    labels: np.ndarray


def read_digits(folder: Path) -> Digits:
    """The 10,000 test images, read from the published IDX files."""
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = read_images(folder / "t10k-images-idx3-ubyte.gz").pixels
    # The header of an IDX file of labels has 8 bytes.
    return Digits(pixels, np.frombuffer(labels, dtype=np.uint8, offset=8).astype(int))


class PCAError:
    """Squared error of the reconstruction from principal components."""

    def fit(self, train: np.ndarray) -> None:
        """Fit the components."""
        self.pca = PCA(COMPONENTS, random_state=0).fit(train)

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        """Squared error of each row."""
        return ((test - self.pca.inverse_transform(self.pca.transform(test))) ** 2).sum(1)


def novelty(seed: int, **parameters: Any) -> Ours:
    """Our detector for novelty detection, with these parameters."""
    return Ours(True, seed, parameters)


ONE_CLASS = [  # make(seed) -> Peer
    Method(OURS_AS_IMAGE, partial(novelty, image_shape=SHAPE), seeds=2),
    Method(f"{OURS}, table", novelty, seeds=2),
    Method(f"{OURS}, table, 64 latents", partial(novelty, n_components=64), seeds=2),
    Method(PRINCIPAL_ERROR, lambda seed: PCAError(), seeds=2),
    Method(BASELINE, lambda seed: SklearnPeer(IsolationForest(random_state=seed)), seeds=2),
    Method("5 neighbours", lambda seed: Neighbours(), seeds=2),
    Method("PyOD VAE", lambda seed: PyODPeer("vae", "VAE", {"random_state": seed, "verbose": 0}), seeds=2),
]


@dataclass(frozen=True)
class OneClassTask:
    """AUROC of detecting the nine other digits, after training on one digit; for each digit."""

    digits: Digits
    methods: Sequence[Method]

    @property
    def measures(self) -> list[str]:
        """A measure for each digit."""
        return DIGITS

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """One digit at a time."""
        split = halves(*self.digits, seed)
        for digit, name in enumerate(DIGITS):
            if name in lacking:
                scores = timed(train_and_score, method.make(seed), split, digit)
                auroc = roc_auc_score(split.test_labels != digit, scores.result)
                yield Result(name, float(auroc), scores.seconds)


def train_and_score(peer: Peer, split: Halves, digit: int) -> np.ndarray:
    """Anomaly scores of the test rows from a peer trained on one digit."""
    peer.fit(split.train[split.train_labels == digit])
    return peer.score(split.test, np.full(len(split.test), -1))


def sample_ours(split: Halves, digit: int, seed: int) -> np.ndarray:
    """Samples from a model of the digit's training rows."""
    detector = VAEDetector(purpose="representation", image_shape=SHAPE, random_state=seed)
    return detector.fit(split.train[split.train_labels == digit]).sample(SAMPLES, random_state=seed)


def sample_linear(split: Halves, digit: int, seed: int) -> np.ndarray:
    """Samples from a normal density of the digit's principal components."""
    pca = PCA(COMPONENTS, random_state=seed).fit(split.train[split.train_labels == digit])
    components = np.random.default_rng(seed).normal(size=(SAMPLES, COMPONENTS)) * np.sqrt(pca.explained_variance_)
    return pca.inverse_transform(components).clip(0, 1)


def sample_real(split: Halves, digit: int, seed: int) -> np.ndarray:
    """Test rows of the digit, as a reference."""
    rows = np.flatnonzero(split.test_labels == digit)
    return split.test[np.random.default_rng(seed).permutation(rows)[:SAMPLES]]


SAMPLERS = [  # make(split, digit, seed) -> samples (SAMPLES, pixels)
    Method(OURS, sample_ours, seeds=1),
    Method(f"normal density in PCA of {COMPONENTS}", sample_linear, seeds=1),
    Method("real digits of the test half", sample_real, seeds=1),
]


@dataclass(frozen=True)
class SamplingTask:
    """A model for each digit; a classifier trained on real digits predicts the digit of each sample."""

    digits: Digits
    methods: Sequence[Method]

    @property
    def measures(self) -> list[str]:
        """Fraction of each digit's samples that are classified as that digit."""
        return DIGITS

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """One digit at a time."""
        split = halves(*self.digits, seed)
        classifier = SVC(C=5).fit(split.train, split.train_labels)
        for digit, name in enumerate(DIGITS):
            if name in lacking:
                samples = timed(method.make, split, digit, seed)
                yield Result(name, float((classifier.predict(samples.result) == digit).mean()), samples.seconds)


def build_one_class(data: Path) -> OneClassTask:
    """Detect other digits than the one in training."""
    return OneClassTask(read_digits(data / "mnist"), ONE_CLASS)


def build_samples(data: Path) -> SamplingTask:
    """Sample each digit."""
    return SamplingTask(read_digits(data / "mnist"), SAMPLERS)
