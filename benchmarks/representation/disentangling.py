"""Mutual information gaps: how far each latent stands for one factor of images whose factors are known.

``python -m benchmarks.representation.disentangling`` plots the latent traversals of one model; the figures are a task
of `benchmarks.representation`.
"""

import argparse
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import mutual_info_score

from benchmarks.representation.tasks import Method, Result
from benchmarks.shared.peers import OURS
from vae_anomaly import VAEDetector

SIDE = 15  # below the size from which on images are convolved: training begins at principal components
SHAPE = (1, SIDE, SIDE)
FACTORS = {  # the ends between which each is drawn, alike everywhere
    "across": (4.0, SIDE - 5.0),
    "down": (4.0, SIDE - 5.0),
    "radius": (1.5, 4.0),
    "brightness": (0.3, 1.0),
}
EDGE = 0.4  # pixels over which a blob fades
LATENTS = 6
IMAGES = 5000  # to learn from, and as many to judge
BINS = 20  # of equal count, of factors and codes
STEPS = 3000
BETAS = (1, 4, 8, 16)


class Blobs(NamedTuple):
    """Images (images, pixels) from 0 to 1, and the factors (images, factors) behind them."""

    pixels: np.ndarray
    factors: np.ndarray


def draw_blobs(count: int, seed: int) -> Blobs:
    """Bright blobs on black, all factors independent of one another."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.uniform(*ends, count) for ends in FACTORS.values()], axis=1)
    across, down, radius, brightness = factors[:, :, None, None].swapaxes(0, 1)
    pixel = np.arange(SIDE)
    far = np.hypot(pixel - across, pixel[:, None] - down)
    images = brightness / (1 + np.exp((far - radius) / EDGE))
    return Blobs(images.reshape(count, -1), factors)


def information_gaps(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """By how much more the best latent tells of each factor than the second best, as a share of all there is to tell.

    Their mean is the mutual information gap of Chen et al. (2018, arXiv 1802.04942).
    """
    code_bins, factor_bins = in_bins(codes), in_bins(factors)
    told = np.array([[mutual_info_score(factor, code) for code in code_bins.T] for factor in factor_bins.T])
    second, most = np.sort(told, axis=1)[:, -2:].T
    entropies = np.array([mutual_info_score(factor, factor) for factor in factor_bins.T])
    return (most - second) / entropies


def in_bins(values: np.ndarray) -> np.ndarray:
    """For each value the number of its bin, in its own column; bins of a column hold equally many."""
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
    return np.stack([np.searchsorted(e, v, side="right") for e, v in zip(edges.T, values.T, strict=True)], axis=1)


class Coder(Protocol):
    """What is asked of a method."""

    def fit(self, rows: np.ndarray) -> Any:
        """Learn from images."""

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Codes, (rows, latents)."""


@dataclass
class PosteriorDraws:
    """Codes drawn from the posterior: the mean alone of a latent that is not in use would still tell something."""

    detector: VAEDetector
    seed: int

    def fit(self, rows: np.ndarray) -> None:
        """Train on the images."""
        self.detector.fit(rows)

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Means, with noise as strong as each latent's is on average."""
        means, noise = self.detector.transform(rows), self.detector.latents_["posterior_std"].to_numpy()
        return means + noise * np.random.default_rng(self.seed).normal(size=means.shape)


def parted(seed: int, beta: float) -> VAEDetector:
    """Ours, made to have a latent for each factor: under a standard normal prior, the KL at a price."""
    return VAEDetector(
        purpose="representation",
        n_components=LATENTS,
        image_shape=SHAPE,
        likelihood="gaussian",
        prior="gaussian",
        beta=beta,
        max_iter=STEPS,
        random_state=seed,
    )


def named(beta: int) -> str:
    """The line of a beta in the table."""
    return f"{OURS}, beta {beta}"


def ours(seed: int, beta: float) -> PosteriorDraws:
    """The same, drawn from."""
    return PosteriorDraws(parted(seed, beta), seed)


METHODS = [  # make(seed) is a `Coder`
    Method(f"PCA of {LATENTS}", lambda seed: PCA(LATENTS, random_state=seed), seeds=3),
    *(Method(named(beta), partial(ours, beta=beta), seeds=3) for beta in BETAS),
]


@dataclass(frozen=True)
class DisentanglingTask:
    """Codes of some images, judged on others; both are drawn by seed."""

    methods: Sequence[Method]
    images: int = IMAGES

    @property
    def measures(self) -> list[str]:
        """The gap of each factor."""
        return list(FACTORS)

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """All factors at once."""
        train, test = (draw_blobs(self.images, 2 * seed + part) for part in (0, 1))
        coder: Coder = method.make(seed)
        begin = time.perf_counter()
        coder.fit(train.pixels)
        codes = coder.transform(test.pixels)
        seconds = (time.perf_counter() - begin) / len(FACTORS)
        gaps = information_gaps(codes, test.factors)
        yield from (Result(name, float(gap), seconds) for name, gap in zip(FACTORS, gaps, strict=True))


def build_disentangling(data: Path) -> DisentanglingTask:
    """The task, which reads nothing."""
    return DisentanglingTask(METHODS)


def main(argv: Sequence[str] | None = None) -> None:
    """Fit one model and draw the walks along its latents."""
    from vae_anomaly.plots import plot_traversal, write_figure

    parser = argparse.ArgumentParser(prog="python -m benchmarks.representation.disentangling", description=__doc__)
    parser.add_argument("--beta", type=float, default=8.0, metavar="B", help="price of the KL (default: 8)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="as in benchmarks.representation (default: 0)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/traversal.png"), metavar="FILE")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    detector = parted(arguments.seed, arguments.beta).fit(draw_blobs(IMAGES, 2 * arguments.seed).pixels)
    write_figure(plot_traversal(detector, span=2.0), arguments.output)
    print(f"{arguments.output}: walks along the latents of a model with beta {arguments.beta:g}.")


if __name__ == "__main__":
    main()
