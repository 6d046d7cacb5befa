"""Gaussian kernels at training rows: their density, and how far they pull a row that is odd.

Kernel i stands at training row ``centres[i]`` with its own ``scales[i]``, in the unit of the columns. A scored row that
is itself a centre does not explain itself: ``own`` is the centre that a row is, -1 for none.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import logsumexp, softmax
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors

CHUNK = 2_000  # rows at a time: 48 MB beside 3,000 centres
NEIGHBOUR = 10  # the one whose distance is a kernel's scale
FLOOR = 0.01  # of a column's deviation: duplicated rows have no distance
FACTORS = np.geomspace(1 / 16, 2, 11)


def log_kernels(
    rows: np.ndarray, centres: np.ndarray, scales: np.ndarray, own: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Chunks of rows and their log kernels, (chunk, centres), up to a constant; a row's own is -inf."""
    for begin in range(0, len(rows), CHUNK):
        chunk = slice(begin, begin + CHUNK)
        squared = euclidean_distances(rows[chunk], centres, squared=True)
        log_kernel = -squared / (2 * scales**2) - rows.shape[1] * np.log(scales)
        known = np.flatnonzero(own[chunk] >= 0)
        log_kernel[known, own[chunk][known]] = -np.inf
        yield chunk, log_kernel


class KernelDensity:
    """scikit-learn's kernel density with its default bandwidth, 1; here, for it cannot leave a row out.

    Subtracting a row's own kernel from scikit-learn's sum would cancel to nothing where a row is alone.
    """

    def fit(self, train: np.ndarray) -> None:
        """Keep the rows."""
        self.centres = train

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Minus log density, up to a constant."""
        scales = np.ones(len(self.centres))
        return np.concatenate([-logsumexp(log, axis=1) for _, log in log_kernels(test, self.centres, scales, own)])


class KernelContraction:
    """How far a row is from the mean of the training rows, weighted by the posterior of their kernels.

    A kernel's scale is the distance to its 10th neighbour times one factor, chosen by the leave-one-out likelihood.
    """

    def fit(self, train: np.ndarray) -> None:
        """Keep the rows, at most some thousand, and choose the factor."""
        self.centres = train
        index = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(train) - 1)).fit(train)
        reach = np.maximum(index.kneighbors()[0][:, -1], FLOOR)
        self.scales = reach * max(FACTORS, key=lambda factor: self._left_out(reach * factor))

    def _left_out(self, scales: np.ndarray) -> float:
        """Log-likelihood of each centre under the others, summed, up to a constant."""
        everyone = np.arange(len(self.centres))
        chunks = log_kernels(self.centres, self.centres, scales, everyone)
        return sum(float(logsumexp(log, axis=1).sum()) for _, log in chunks)

    def score(self, test: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Distance between a row and where the kernels pull it."""
        distances = np.empty(len(test))
        for chunk, log_kernel in log_kernels(test, self.centres, self.scales, own):
            pulled = softmax(log_kernel, axis=1) @ self.centres
            distances[chunk] = np.linalg.norm(test[chunk] - pulled, axis=1)
        return distances
