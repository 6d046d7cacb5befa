"""The digits of MNIST, and two tasks: detecting other digits than the one in training, and sampling a digit."""

import gzip
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


@dataclass(frozen=True)
class DigitTask:
    """A measure for each digit, from the result of a method that is trained on this digit only."""

    digits: Digits
    methods: Sequence[Method]  # make(split, digit, seed) -> result
    evaluator: Callable[[Halves], Callable[[np.ndarray, int], float]]  # measure of a result and its digit

    @property
    def measures(self) -> list[str]:
        """A measure for each digit."""
        return DIGITS

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """One digit at a time."""
        split = halves(*self.digits, seed)
        evaluate = self.evaluator(split)
        for digit, name in enumerate(DIGITS):
            if name in lacking:
                run = timed(method.make, split, digit, seed)
                yield Result(name, evaluate(run.result, digit), run.seconds)


def novelty(seed: int, **parameters: Any) -> Ours:
    """Our detector for novelty detection, with these parameters."""
    return Ours(True, seed, parameters)


def train_and_score(make: Callable[[int], Peer], split: Halves, digit: int, seed: int) -> np.ndarray:
    """Anomaly scores of the test rows from a peer trained on one digit."""
    peer = make(seed)
    peer.fit(split.train[split.train_labels == digit])
    return peer.score(split.test, np.full(len(split.test), -1))


def detection_auroc(split: Halves) -> Callable[[np.ndarray, int], float]:
    """AUROC of detecting the other digits by the scores of the test rows."""
    return lambda scores, digit: float(roc_auc_score(split.test_labels != digit, scores))


ONE_CLASS = [
    Method(name, partial(train_and_score, make), seeds=2)
    for name, make in {
        OURS_AS_IMAGE: partial(novelty, image_shape=SHAPE),
        f"{OURS}, table": novelty,
        f"{OURS}, table, 64 latents": partial(novelty, n_components=64),
        PRINCIPAL_ERROR: lambda seed: PCAError(),
        BASELINE: lambda seed: SklearnPeer(IsolationForest(random_state=seed)),
        "5 neighbours": lambda seed: Neighbours(),
        "PyOD VAE": lambda seed: PyODPeer("vae", "VAE", {"random_state": seed, "verbose": 0}),
    }.items()
]


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


SAMPLERS = [
    Method(OURS, sample_ours, seeds=1),
    Method(f"normal density in PCA of {COMPONENTS}", sample_linear, seeds=1),
    Method("real digits of the test half", sample_real, seeds=1),
]


def classifier_agreement(split: Halves) -> Callable[[np.ndarray, int], float]:
    """Fraction of samples that a classifier of the training half takes for their digit."""
    classifier = SVC(C=5).fit(split.train, split.train_labels)
    return lambda samples, digit: float((classifier.predict(samples) == digit).mean())


def build_one_class(data: Path) -> DigitTask:
    """Detect other digits than the one in training."""
    return DigitTask(read_digits(data / "mnist"), ONE_CLASS, detection_auroc)


def build_samples(data: Path) -> DigitTask:
    """Sample each digit."""
    return DigitTask(read_digits(data / "mnist"), SAMPLERS, classifier_agreement)
