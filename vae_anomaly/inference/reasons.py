"""What each column adds to the anomaly score, in nats."""

from collections.abc import Sequence

import numpy as np


def column_contributions(cells: np.ndarray, kl: np.ndarray, columns: Sequence[int], n_columns: int) -> np.ndarray:
    """Negative log-likelihood of each column, then the KL, (rows, n_columns + 1): they add up to the negative ELBO.

    Parameters
    ----------
    cells : ndarray
        (rows, cells) expected log-likelihood.
    kl : ndarray
        (rows,).
    columns : sequence of int
        The table column that each cell came from.
    n_columns : int
        Table columns.
    """
    contributions = np.zeros((n_columns + 1, len(cells)))
    np.subtract.at(contributions, np.asarray(columns, int), cells.T)
    contributions[-1] = kl
    return contributions.T
