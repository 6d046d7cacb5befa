"""How much the columns of a table say of one another, in nats a row, and the same rows without it."""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

RIDGE = 0.01  # share of noise of its own that each column is granted: a column and its copy share 2.3 nats, not all


def shuffled(x: np.ndarray, columns: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """The values of each column in an order of their own, (rows, cells): the margins are kept, what joins them is not.

    ``columns`` (cells,) names the table column of each cell; cells of one column stay together.
    """
    of_cell, mixed = np.asarray(columns), x.copy()
    for column in np.unique(of_cell):
        cells = np.flatnonzero(of_cell == column)
        mixed[:, cells] = x[rng.permutation(len(x))][:, cells]
    return mixed


def dependence(x: np.ndarray, rng: np.random.Generator) -> float:
    """Nats a row that there are to know beyond the margins: at least so many, for only monotone ties are seen.

    Total correlation of a Gaussian copula, ``-log det(R) / 2`` of the correlations of normal scores; what as many rows
    of independent columns would show by chance is subtracted.

    Parameters
    ----------
    x : ndarray
        (rows, columns), NaN where one is missing.
    rng : numpy.random.Generator
        Shuffles the columns.
    """
    scores = _normal_scores(x)
    by_chance = _total_correlation(shuffled(scores, range(x.shape[1]), rng))
    return max(0.0, _total_correlation(scores) - by_chance)


def _normal_scores(x: np.ndarray) -> np.ndarray:
    """Ranks as standard normal numbers, (rows, columns), 0 where a value is missing or the column is constant."""
    seen = np.isfinite(x)
    ranks = rankdata(x, axis=0, nan_policy="omit")
    scores = np.where(seen, ndtri(np.where(seen, ranks, 0.5) / (seen.sum(0) + 1)), 0.0)
    spread = scores.std(0)
    return (scores - scores.mean(0)) / np.where(spread > 0, spread, 1.0)


def _total_correlation(scores: np.ndarray) -> float:
    correlation = (1 - RIDGE) * scores.T @ scores / len(scores)
    np.fill_diagonal(correlation, 1.0)
    return float(-0.5 * np.linalg.slogdet(correlation)[1])
