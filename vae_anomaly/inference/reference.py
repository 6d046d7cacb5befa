"""Training rows that a model keeps, to judge others by."""

from dataclasses import dataclass

import numpy as np

from vae_anomaly.tables import Cells

MOST_ROWS = 4096
MOST_CELLS = 2**19  # 4 MiB in a model file
LEAST_ROWS = 256  # of a table however wide


@dataclass(frozen=True)
class Reference:
    """Encoded training rows and their scores, each as if the row had not been in training.

    ``cells`` are (rows, cells), NaN where one is missing; ``scores`` (rows,) are in nats: low is odd.
    """

    cells: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, x: Cells, scores: np.ndarray, rng: np.random.Generator) -> "Reference":
        """From encoded rows (rows, cells) and their scores: all of them, or as many drawn as a file can bear."""
        most = min(MOST_ROWS, max(LEAST_ROWS, MOST_CELLS // x.shape[1]))
        drawn = np.arange(len(x)) if len(x) <= most else np.sort(rng.permutation(len(x))[:most])
        return cls(x[drawn], scores[drawn])
