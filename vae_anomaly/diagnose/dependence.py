"""How much information the columns of a table share, and shuffled rows that share none."""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata


def shuffled(x: np.ndarray, columns: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Rows (rows, cells) with each column permuted by itself: the margins stay, the dependence goes.

    ``columns`` (cells,) is the index of each cell's column; cells of one column stay together.
    """
    of_cell, mixed = np.asarray(columns), x.copy()
    for column in np.unique(of_cell):
        cells = np.flatnonzero(of_cell == column)
        mixed[:, cells] = x[rng.permutation(len(x))][:, cells]
    return mixed


def dependence(x: np.ndarray, rng: np.random.Generator) -> float:
    """Information that the columns share, in nats a row; a lower bound, since only monotone dependence is seen.

    The total correlation of a Gaussian copula, ``-log det(R) / 2`` with the correlations R of normal scores, less what
    as many rows of independent columns show by chance.

    Parameters
    ----------
    x : ndarray
        (rows, columns), NaN where a value is missing.
    rng : numpy.random.Generator
        Shuffles the columns.
    """
    scores = _normal_scores(x)
    by_chance = _total_correlation(shuffled(scores, range(x.shape[1]), rng))
    return max(0.0, _total_correlation(scores) - by_chance)


def _normal_scores(x: np.ndarray) -> np.ndarray:
    """Ranks as standard normal quantiles, (rows, columns), 0 where a value is missing or the column is constant."""
    seen = np.isfinite(x)
    ranks = rankdata(x, axis=0, nan_policy="omit")
    scores = np.where(seen, ndtri(np.where(seen, ranks, 0.5) / (seen.sum(0) + 1)), 0.0)
    spread = scores.std(0)
    return (scores - scores.mean(0)) / np.where(spread > 0, spread, 1.0)


def _total_correlation(scores: np.ndarray) -> float:
    """Total correlation in nats of standardised columns (rows, columns)."""
    ridge = (
        0.01  # independent part of each column's variance: a column and its copy share 2.3 nats, not infinitely many
    )
    correlation = (1 - ridge) * scores.T @ scores / len(scores)
    np.fill_diagonal(correlation, 1.0)
    return float(-0.5 * np.linalg.slogdet(correlation)[1])
