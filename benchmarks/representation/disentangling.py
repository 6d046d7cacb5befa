"""Mutual information gaps: how far each latent stands for one factor of images whose factors are known.

``python -m benchmarks.representation.disentangling`` plots the latent traversals of one model; the figures are a task
of `benchmarks.representation`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import mutual_info_score

from benchmarks.representation.tasks import Method, Result
from benchmarks.shared.command import RESULTS, make_parser
from benchmarks.shared.peers import OURS
from benchmarks.shared.timing import timed
from vae_anomaly import VAEDetector

SIDE = 15  # pixels; too small for convolutions, so that training starts from principal components
SHAPE = (1, SIDE, SIDE)
FACTORS = {  # range of each uniform distribution
    "across": (4.0, SIDE - 5.0),
    "down": (4.0, SIDE - 5.0),
    "radius": (1.5, 4.0),
    "brightness": (0.3, 1.0),
}
EDGE = 0.4  # width of a blob's edge in pixels
LATENTS = 6
IMAGES = 5000  # for training, and as many for evaluation
BINS = 20  # of equal count, for factors and latents
STEPS = 3000
BETAS = (1, 4, 8, 16)


class Blobs(NamedTuple):
    """Images (images, pixels) from 0 to 1, and their factors (images, factors)."""

    pixels: np.ndarray
    factors: np.ndarray


def draw_blobs(count: int, seed: int) -> Blobs:
    """Images of bright blobs on black, with independent factors."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.uniform(*ends, count) for ends in FACTORS.values()], axis=1)
    across, down, radius, brightness = factors[:, :, None, None].swapaxes(0, 1)
    pixel = np.arange(SIDE)
    distance = np.hypot(pixel - across, pixel[:, None] - down)
    images = brightness / (1 + np.exp((distance - radius) / EDGE))
    return Blobs(images.reshape(count, -1), factors)


def information_gaps(latents: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Difference of mutual information between each factor and its two best latents, divided by the factor's entropy.

    The mean is the mutual information gap of Chen et al. (2018, arXiv 1802.04942).
    """
    latent_bins, factor_bins = in_bins(latents), in_bins(factors)
    information = np.array(
        [[mutual_info_score(factor, latent) for latent in latent_bins.T] for factor in factor_bins.T]
    )
    second, largest = np.sort(information, axis=1)[:, -2:].T
    entropies = np.array([mutual_info_score(factor, factor) for factor in factor_bins.T])
    return (largest - second) / entropies


def in_bins(values: np.ndarray) -> np.ndarray:
    """Bin index of each value within its column; all bins of a column hold equally many values."""
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
    return np.stack([np.searchsorted(e, v, side="right") for e, v in zip(edges.T, values.T, strict=True)], axis=1)


@dataclass
class PosteriorDraws:
    """Latents sampled from the posterior, because the mean alone of an inactive latent still carries information."""

    detector: VAEDetector
    seed: int

    def fit(self, rows: np.ndarray) -> None:
        """Train on images."""
        self.detector.fit(rows)

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Latent means plus noise with each latent's mean posterior standard deviation."""
        means, deviations = self.detector.transform(rows), self.detector.latents_["posterior_std"].to_numpy()
        return means + deviations * np.random.default_rng(self.seed).normal(size=means.shape)


def beta_vae(seed: int, beta: float) -> VAEDetector:
    """Our detector as a beta-VAE with a standard normal prior."""
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


def method_name(beta: int) -> str:
    """Name of the method with this beta."""
    return f"{OURS}, beta {beta}"


def _sampled_beta_vae(seed: int, beta: float) -> PosteriorDraws:
    return PosteriorDraws(beta_vae(seed, beta), seed)


METHODS = [  # make(seed) -> object with fit(rows) and transform(rows)
    Method(f"PCA of {LATENTS}", lambda seed: PCA(LATENTS, random_state=seed), seeds=3),
    *(Method(method_name(beta), partial(_sampled_beta_vae, beta=beta), seeds=3) for beta in BETAS),
]


@dataclass(frozen=True)
class DisentanglingTask:
    """Information gaps on new images; training and test images are drawn by seed."""

    methods: Sequence[Method]
    images: int = IMAGES

    @property
    def measures(self) -> list[str]:
        """A gap for each factor."""
        return list(FACTORS)

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """All factors at once."""
        train, test = (draw_blobs(self.images, 2 * seed + part) for part in (0, 1))
        transformer = method.make(seed)
        fit, latents = timed(transformer.fit, train.pixels), timed(transformer.transform, test.pixels)
        seconds = (fit.seconds + latents.seconds) / len(FACTORS)
        gaps = information_gaps(latents.result, test.factors)
        yield from (Result(name, float(gap), seconds) for name, gap in zip(FACTORS, gaps, strict=True))


def build_disentangling(data: Path) -> DisentanglingTask:
    """The task; it needs no data."""
    return DisentanglingTask(METHODS)


def main(argv: Sequence[str] | None = None) -> None:
    """Fit one model and plot its latent traversals."""
    from vae_anomaly.plots import plot_traversal, write_figure

    parser = make_parser("benchmarks.representation.disentangling", __doc__)
    parser.add_argument("--beta", type=float, default=8.0, metavar="B", help="weight of the KL divergence (default: 8)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="as in benchmarks.representation (default: 0)")
    parser.add_argument("--output", type=Path, default=RESULTS / "traversal.png", metavar="FILE")
    arguments = parser.parse_args(argv)
    detector = beta_vae(arguments.seed, arguments.beta).fit(draw_blobs(IMAGES, 2 * arguments.seed).pixels)
    write_figure(plot_traversal(detector, span=2.0), arguments.output)
    print(f"{arguments.output}: latent traversals of a model with beta {arguments.beta:g}.")


if __name__ == "__main__":
    main()
