"""Single cells that stand out: nats for what a VAE that was trained on all rows cannot reconstruct."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.model.nearest import search
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.calibration import flagged_by_tail

USUAL = 0.99  # quantile of a column's nats that is the end of the usual ones
LIMIT, WEIGHT = 2.0, 1.5  # larger limits find fewer planted errors, larger weights fewer dense anomalies (ADBench)
LEAST_RANGE, LEAST_UNIT = 0.1, 0.25  # nats
FEW = 3  # rows


@dataclass(frozen=True, eq=False)
class OutstandingCells:
    """Nats that single cells add to the anomaly score, because all that is wrong with a row may be one cell.

    The model that scores rows in outlier detection is trained shortly and without anomalous rows, which finds anomalies
    that are many and alike. Scattered errors are the opposite: few, each in a cell or two of a row that is otherwise
    like others. They show in a second VAE, trained on all rows until it follows the rules that an error breaks: its
    reconstruction of a wrong cell is far worse than that of nearly all other cells of the column.

    With the negative log-likelihood of a cell, measured from the median of its column in units of the distance to the
    ``USUAL`` quantile, what exceeds ``LIMIT`` counts ``WEIGHT`` times the upper spread of the anomaly scores (from the
    median to the third quartile). Nearly all cells add 0.

    Parameters
    ----------
    vae : VAE
        The second model, frozen.
    columns : ndarray
        (cells,) index of the column of each cell.
    usual : ndarray
        (2, columns): median negative log-likelihood, and the distance to the ``USUAL`` quantile, in nats.
    unit : float
        Nats that a cell adds for each such distance beyond the limit.
    """

    vae: VAE
    columns: np.ndarray
    usual: np.ndarray
    unit: float

    @classmethod
    def of(cls, vae: VAE, columns: np.ndarray) -> Self:
        """Before anything is learned from rows."""
        return cls(vae, columns, np.zeros((2, columns.max() + 1)), 0.0)

    def learned(self, nats: np.ndarray, charges: np.ndarray, scores: np.ndarray) -> Self:
        """What is usual among training rows.

        Parameters
        ----------
        nats : ndarray
            (rows, columns) negative log-likelihood of their cells, NaN where a cell is missing.
        charges : ndarray
            (rows, columns) nats of cells for being missing or observed.
        scores : ndarray
            (rows,) their scores, before this adds anything.
        """
        known = ~np.isnan(nats).all(0)
        median = np.zeros(nats.shape[1])
        median[known] = np.nanmedian(nats[:, known], axis=0)
        charged = _charged(nats, charges, median)
        middle = np.median(charged, 0)
        spread = np.quantile(charged, USUAL, axis=0) - middle + LEAST_RANGE
        quartile, half = np.quantile(scores, [0.25, 0.5])
        return replace(self, usual=np.stack([middle, spread]), unit=WEIGHT * max(float(half - quartile), LEAST_UNIT))

    def negative_log_likelihood(self, x: Tensor) -> Tensor:
        """Of the cells of each column given the reconstruction, (rows, columns), mean over members; NaN for missing."""
        mean, _ = self.vae.encode(x)
        nats = -self.vae.log_prob(x, mean[None]).mean((0, 1))
        is_in = torch.as_tensor(self.columns[:, None] == np.arange(self.usual.shape[1])).to(nats)
        first = torch.as_tensor(np.unique(self.columns, return_index=True)[1], device=x.device)
        return (nats @ is_in).masked_fill(x[:, first].isnan(), torch.nan)

    def excess(self, nats: np.ndarray, charges: np.ndarray) -> np.ndarray:
        """Nats (rows, columns) that cells add to the anomaly score; the arguments are those of `learned`."""
        middle, spread = self.usual
        found: np.ndarray = self.unit * ((_charged(nats, charges, middle) - middle) / spread - LIMIT).clip(0)
        return found


def most_anomalies(excess: np.ndarray, z: Tensor) -> float:
    """Largest fraction of the training rows that may be anomalies.

    These are rows in which a cell stands out, or rows far from all others: where many rows are wrong in many cells, no
    single cell is unusual. Neither is true of a small group of normal rows that are alike. A few more are allowed for,
    because in a table of some dozens of rows a single one changes what is usual.

    Parameters
    ----------
    excess : ndarray
        (rows, columns) what `OutstandingCells.excess` gives.
    z : Tensor
        (rows, latents) latents of the rows in the second model.
    """
    few, at_once, among = min(6, len(z)), 512, search(z)  # a row itself is the nearest
    nearest = torch.cat([among.nearest(part, few) for part in z.split(at_once)])
    distances = (z[nearest] - z[:, None]).norm(dim=-1).amax(1).cpu().numpy()
    least = max(1e-3 * float(np.median(distances)), np.finfo(float).tiny)  # equal rows have a distance of 0
    is_far = flagged_by_tail(-np.log(distances + least))
    has_wrong_cell = (excess > 0).any(1)
    return float(min(1.0, max(has_wrong_cell.mean(), is_far.mean()) + FEW / len(excess)))


def _charged(nats: np.ndarray, charges: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """The nats with their charges, those of a missing cell as ``usual`` (columns,) in its column."""
    return np.where(np.isnan(nats), usual, nats) + charges
