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
        index = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(train) - 1)).fit(train)
        distance = np.maximum(index.kneighbors()[0][:, -1], FLOOR)
        self.scales = distance * max(FACTORS, key=lambda factor: self._leave_one_out_likelihood(distance * factor))

    def _leave_one_out_likelihood(self, scales: np.ndarray) -> float:
        """Sum of the log-likelihoods of the centres, each under the others, up to a constant."""
        chunks = log_kernels(self.centres, self.centres, scales, np.arange(len(self.centres)))
        return sum(float(logsumexp(log, axis=1).sum()) for _, log in chunks)

    def score(self, test: np.ndarray, train_index: np.ndarray) -> np.ndarray:
        """Distance between each row and its posterior mean."""
        distances = np.empty(len(test))
        for chunk, log_kernel in log_kernels(test, self.centres, self.scales, train_index):
            posterior_mean = softmax(log_kernel, axis=1) @ self.centres
            distances[chunk] = np.linalg.norm(test[chunk] - posterior_mean, axis=1)
        return distances
