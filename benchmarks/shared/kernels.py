"""Gaussian kernels at the training rows: their density, and how far they move an anomalous row.

Kernel i has centre ``centres[i]`` and scale ``scales[i]``, in the unit of the columns. ``train_index`` (rows,) is the
centre that a scored row is identical to, or -1; that centre is left out for the row.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import logsumexp, softmax
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors

CHUNK = 2_000  # rows at a time: 48 MB with 3,000 centres
NEIGHBOUR = 10  # its distance is the scale of a kernel
FLOOR = 0.01  # least scale in standard deviations: the distance between duplicate rows is 0
FACTORS = np.geomspace(1 / 16, 2, 11)


def log_kernels(
    rows: np.ndarray, centres: np.ndarray, scales: np.ndarray, train_index: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Chunks of rows and their log kernels (chunk, centres), up to a constant; -inf at a row's own centre."""
    for begin in range(0, len(rows), CHUNK):
        chunk = slice(begin, begin + CHUNK)
        squared = euclidean_distances(rows[chunk], centres, squared=True)
        log_kernel = -squared / (2 * scales**2) - rows.shape[1] * np.log(scales)
        known = np.flatnonzero(train_index[chunk] >= 0)
        log_kernel[known, train_index[chunk][known]] = -np.inf
        yield chunk, log_kernel


class KernelDensity:
    """Kernel density with scikit-learn's default bandwidth, 1, that can leave out the scored row.

    Subtracting a row's own kernel from scikit-learn's density would cancel to 0 for an isolated row.
    """

    def fit(self, train: np.ndarray) -> None:
        """Keep the training rows as centres."""
        self.centres = train

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        """Negative log density of each row, up to a constant."""
        scales = np.ones(len(self.centres))
        return np.concatenate(
            [-logsumexp(log, axis=1) for _, log in log_kernels(test, self.centres, scales, train_index)]
        )


class KernelContraction:
    """Distance of a row to the mean of the training rows, weighted by the posterior probability of their kernels.

    A kernel's scale is the distance to its 10th neighbour times a common factor, chosen by leave-one-out likelihood.
    """

    def fit(self, train: np.ndarray) -> None:
        """Keep the rows, at most a few thousand, and choose the factor."""
        self.centres = train
        distance = np.maximum(neighbour_distance(train), FLOOR)
        self.scales = distance * likeliest_factor(train, distance, np.arange(len(train)))

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        """Distance between each row and its posterior mean."""
        return density_and_residual(test, self.centres, self.scales, train_index)[1]


def neighbour_distance(centres: np.ndarray) -> np.ndarray:
    """Distance of each centre to its 10th neighbour."""
    index = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(centres) - 1)).fit(centres)
    distances: np.ndarray = index.kneighbors()[0][:, -1]
    return distances


def likeliest_factor(centres: np.ndarray, scales: np.ndarray, some: np.ndarray) -> float:
    """The factor of the scales under which ``some`` centres are likeliest, each under all others."""

    def likelihood(factor: float) -> float:
        chunks = log_kernels(centres[some], centres, scales * factor, some)
        return sum(float(logsumexp(log, axis=1).sum()) for _, log in chunks)

    return max(FACTORS, key=likelihood)


def density_and_residual(
    rows: np.ndarray, centres: np.ndarray, scales: np.ndarray, train_index: np.ndarray
) -> np.ndarray:
    """Negative log density, and distance to the mean of the centres weighted by their kernels, (2, rows)."""
    found = np.empty((2, len(rows)))
    for chunk, log in log_kernels(rows, centres, scales, train_index):
        found[0, chunk] = -logsumexp(log, axis=1)
        found[1, chunk] = np.linalg.norm(rows[chunk] - softmax(log, axis=1) @ centres, axis=1)
    return found


class TwoKernelDensities:
    """Densities and distances to the neighbourhood's mean, in two units: the mean of four log tail probabilities.

    Kernels are those of `KernelContraction`, but for the least scale and for the rows that choose the factor. Columns
    are measured by the standard deviation and by the range. Each of the four readings becomes minus the logarithm of
    its tail probability among training rows that are left out; beyond the largest of them the tail is exponential.
    """

    left_out = 700  # training rows at most, for the factor and the tails

    def fit(self, train: np.ndarray) -> None:
        """Keep the rows in both units, with their scales and tails."""
        units = [np.where(spread > 0, spread, 1.0) for spread in (train.std(0), np.ptp(train, 0))]
        self.parts = [(unit, _AdaptiveKernels(train / unit, self.left_out)) for unit in units]

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        """Mean of the four readings of each row."""
        readings = [kernels.tails(test / unit, train_index) for unit, kernels in self.parts]
        return np.concatenate(readings).mean(0)


class _AdaptiveKernels:
    """Kernels of a scale for each centre, and the readings of centres that are left out."""

    def __init__(self, centres: np.ndarray, left_out: int) -> None:
        self.centres, distance = centres, neighbour_distance(centres)
        typical = np.median(distance[distance > 0]) if (distance > 0).any() else 1.0
        distance = np.maximum(distance, 0.1 * typical)
        some = np.random.default_rng(0).permutation(len(centres))[:left_out]
        self.scales = distance * likeliest_factor(centres, distance, some)
        self.reference = np.sort(density_and_residual(centres[some], centres, self.scales, some), axis=1)

    def tails(self, rows: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        """Minus the log tail probability of both readings, (2, rows)."""
        outer, tails = 0.05, []
        readings = density_and_residual(rows, self.centres, self.scales, train_index)
        for reference, reading in zip(self.reference, readings, strict=True):
            n = len(reference)
            probability = (n - np.searchsorted(reference, reading) + 1) / (n + 2)
            start = np.quantile(reference, 1 - outer)
            mean_excess = max((reference[reference >= start] - start).mean(), 1e-9 * (1 + abs(start)))
            beyond = ((reading - reference[-1]) / mean_excess).clip(0, 1e3)
            tails.append(-np.log(probability) + beyond)
        return np.stack(tails)
