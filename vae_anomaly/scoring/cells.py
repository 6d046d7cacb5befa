"""Single cells that stand out: nats for what a VAE that was trained on all rows cannot reconstruct."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae_anomaly.model.nearest import search
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.calibration import flagged_by_tail

USUAL = 0.99  # quantile of a column's nats that is the end of the usual ones
LIMIT, WEIGHT = 2.0, 2.0  # larger limits find fewer planted errors, larger weights fewer dense anomalies (ADBench)
CLEAN = 0.998  # of clean training rows have no cell of a column that stands out
LEAST_RANGE, LEAST_UNIT = 0.1, 0.25  # nats
FEW = 3  # rows
FAR = 2.0  # smaller numbers find more planted errors, but fewer labelled anomalies that share a category
REPEATED = 5  # rows that hold a value which is no slip
SLIPS = 0.003  # fraction of the rows with other values, up to which such a value is a surprise in itself
AT_ZERO = 1e-6  # relative tolerance for rounding
MISSING = float(np.finfo(np.float32).min)  # stands for a missing cell among values


@dataclass(frozen=True, eq=False)
class OutstandingCells:
    """Nats that single cells add to the anomaly score, because all that is wrong with a row may be one cell.

    The model that scores rows in outlier detection is trained shortly and without anomalous rows, which finds anomalies
    that are many and alike; that of novelty detection compares whole rows with their neighbours. Scattered errors are
    few, each in a cell or two of a row that is otherwise like others. They show in a second VAE, trained on all rows
    until it follows the rules that an error breaks, with fewer latents than in novelty detection: its reconstruction of
    a wrong cell is far worse than that of nearly all other cells of the column.

    With the negative log-likelihood of a cell, measured from the median of its column in units of the distance to the
    ``USUAL`` quantile, what exceeds ``LIMIT`` counts ``WEIGHT`` times the upper spread of the anomaly scores (from the
    median to the third quartile). Nearly all cells add 0.

    A value that several rows hold is no slip. Where the model cannot tell when it occurs, all of these rows would stand
    out, so the nats of such a value are measured from its own median. Where next to all numbers of a column are such
    values, as prices or rates are, any other number costs the negative logarithm of how often others occur. So does a
    number on the other side of 0 than next to all others, as negative amounts are: it may lie near enough to the others
    for the model.

    New rows hold categories that were never seen about as often as training rows hold categories that no other row has
    (Good 1953, Biometrika 40, 237). So in such a training cell an unseen category is measured: where they are many,
    none stands out.

    Rows of a small ordinary group, such as rents among invoices, are all anomalous to a model of outlier detection. So
    a category spares its rows nats: those by which their median score lies more than ``FAR`` upper spreads beyond that
    of all rows. Of the categories of a row the one that spares it most counts, and the nats of that cell are negative.

    In novelty detection training rows are normal, so what counts is how far a cell exceeds the fraction ``CLEAN`` of
    those of its column in training, too. Otherwise a few of these would set the line for rows that are far as a whole.
    Not all of them, because a few training rows may be wrong for all that.

    Parameters
    ----------
    vae : VAE
        The second model, frozen.
    columns : ndarray
        (cells,) index of the column of each cell.
    first_cells : ndarray
        (columns,) index of the first cell of each column.
    usual : ndarray
        (4, columns): median negative log-likelihood, the distance to the ``USUAL`` quantile, what a number costs that
        is no repeated value, and how far above the median a cell begins to stand out, in nats.
    ends : ndarray
        (4, columns): where the numbers of a column end, as far as 0 is an end, and what a number below costs, in nats;
        where they end above, and what a number above costs.
    repeated : ndarray
        (values, 4), in the order of columns and values: for each value that at least ``REPEATED`` rows hold its column,
        the value of the first cell, the median negative log-likelihood, and the nats that rows with it are spared.
    unit : float
        Nats that a cell adds for each such distance beyond the limit.
    """

    vae: VAE
    columns: np.ndarray
    first_cells: np.ndarray
    usual: np.ndarray
    ends: np.ndarray
    repeated: np.ndarray
    unit: float

    @classmethod
    def of(cls, vae: VAE, columns: np.ndarray) -> Self:
        """Before anything is learned from rows."""
        first_cells = np.unique(columns, return_index=True)[1]
        n_columns = len(first_cells)
        usual, ends = np.zeros((4, n_columns)), np.zeros((4, n_columns))
        return cls(vae, columns, first_cells, usual, ends, np.zeros((0, 4)), 0.0)

    def learned(
        self,
        x: np.ndarray,
        nats: np.ndarray,
        charges: np.ndarray,
        scores: np.ndarray,
        zeros: np.ndarray,
        unseen: np.ndarray,
        *,
        clean: bool,
    ) -> Self:
        """What is usual among training rows.

        Parameters
        ----------
        x : ndarray
            (rows, cells) encoded rows.
        nats : ndarray
            (rows, columns) negative log-likelihood of their cells, NaN where a cell is missing.
        charges : ndarray
            (rows, columns) nats of cells for being missing or observed.
        scores : ndarray
            (rows,) their scores, before this adds anything.
        zeros : ndarray
            (columns,) encoded 0 of the columns of plain numbers; NaN for others. Dates are none: they run on.
        unseen : ndarray
            (columns,) nats of a category that was never seen; NaN for columns that are no categories.
        clean : bool
            Whether training rows are normal: then next to none of their cells stands out, and no category spares nats.
        """
        known = ~np.isnan(nats).all(0)
        median = np.zeros(nats.shape[1])
        median[known] = np.nanmedian(nats[:, known], axis=0)
        cells = replace(self, ends=_ends(self._read(x)[0], zeros))
        keys, beyond = cells._read(x)
        distinct = (np.unique(values, return_inverse=True, return_counts=True) for values in keys.T)
        n_alike = np.stack([counts[inverse] for _, inverse, counts in distinct], 1)  # rows with the same value
        charged, price = np.where(np.isnan(nats), median, nats) + charges + beyond, np.zeros(nats.shape[1])
        for column in np.flatnonzero(~np.isnan(unseen)).tolist():
            is_single = (n_alike[:, column] == 1) & (keys[:, column] != MISSING)
            charged[is_single, column] = unseen[column] + charges[is_single, column]
        for column in np.flatnonzero(~np.isnan(zeros)).tolist():
            is_other, is_known = n_alike[:, column] < REPEATED, keys[:, column] != MISSING
            frequency = ((is_other & is_known).sum() + 1) / (is_known.sum() + 2)
            if frequency <= SLIPS:
                price[column] = -np.log(frequency)
                charged[is_other & is_known, column] += price[column]
        middle = np.median(charged, 0)
        spread = np.quantile(charged, USUAL, axis=0) - middle + LEAST_RANGE
        quartile, half = np.quantile(scores, [0.25, 0.5])
        upper_spread, repeated = max(float(half - quartile), LEAST_UNIT), []
        for column, values in enumerate(keys.T):
            groups = pd.DataFrame({"nats": charged[:, column], "score": scores}).groupby(values)
            of_values = groups.median()[groups.size() >= REPEATED]
            spared = (not clean and not np.isnan(unseen[column])) * (
                half - of_values["score"] - FAR * upper_spread
            ).clip(lower=0)
            repeated.append(np.stack(np.broadcast_arrays(column, of_values.index, of_values["nats"], spared), 1))
        learned = replace(
            cells,
            usual=np.stack([middle, spread, price, LIMIT * spread]),
            repeated=np.concatenate(repeated).astype(np.float64),
            unit=WEIGHT * upper_spread,
        )
        if clean:
            excess = np.quantile(learned.excess(x, nats, charges), CLEAN, axis=0, method="higher")
            learned.usual[3] += spread * excess / learned.unit
        return learned

    def negative_log_likelihood(self, x: Tensor) -> Tensor:
        """Of the cells of each column given the reconstruction, (rows, columns), mean over members; NaN for missing."""
        mean, _ = self.vae.encode(x)
        log_prob = self.vae.log_prob(x, mean[None])[0]
        nats = log_prob.sum(0, dtype=torch.float64) / -len(log_prob)
        first = torch.as_tensor(self.first_cells, device=x.device)
        if len(self.columns) == len(first):
            nats = nats[:, first]
        else:  # sums; a product rounds differently by row
            cells = [np.flatnonzero(self.columns == column) for column in range(len(first))]
            nats = torch.stack([nats[:, torch.as_tensor(of_column)].sum(1) for of_column in cells], 1)
        return nats.masked_fill(x[:, first].isnan(), torch.nan)

    def excess(self, x: np.ndarray, nats: np.ndarray, charges: np.ndarray) -> np.ndarray:
        """Nats (rows, columns) that cells add to the anomaly score; the arguments are those of `learned`."""
        middle, spread, price, limit = self.usual
        keys, beyond = self._read(x)
        above = np.where(np.isnan(nats), 0.0, nats - middle) + charges + beyond
        spared = np.zeros(above.shape)
        spares = np.isin(np.arange(len(price)), self.repeated[self.repeated[:, 3] > 0, 0])
        for column in np.flatnonzero(spares | (price > 0) | (above > limit).any(0)).tolist():
            _, values, usual, of_values = self.repeated[self.repeated[:, 0] == column].T
            if len(values):
                at = np.searchsorted(values, keys[:, column]).clip(max=len(values) - 1)
                is_repeated = values[at] == keys[:, column]
                above[:, column] -= np.where(is_repeated, (usual[at] - middle[column]).clip(0), 0.0)
                above[:, column] += np.where(is_repeated | (keys[:, column] == MISSING), 0.0, price[column])
                spared[:, column] = np.where(is_repeated, of_values[at], 0.0)
        spared[np.arange(spared.shape[1]) != spared.argmax(1)[:, None]] = 0.0
        found: np.ndarray = self.unit * ((above - limit) / spread).clip(0) - spared
        return found

    def _read(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values (rows, columns) to compare, in float32, so that the last bits do not count, and nats for ``ends``."""
        keys: np.ndarray = np.nan_to_num(x[:, self.first_cells].astype(np.float32), nan=MISSING)
        low, below, high, above = self.ends
        return keys, np.where(keys == MISSING, 0.0, (keys < low) * below + (keys > high) * above)


def _ends(keys: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """The `OutstandingCells.ends` of training cells (rows, columns), given the encoded 0 of columns of numbers.

    Where next to no number is at most 0, such a number costs the negative logarithm of their frequency. Where only
    negative numbers are that rare, only they do. Likewise on the other side.
    """
    ends = np.zeros((4, len(zeros)))
    n_known = (keys != MISSING).sum(0)
    for side, sign in ((0, 1), (2, -1)):
        for margin in (-AT_ZERO, AT_ZERO):
            end = zeros + sign * margin * (1 + np.abs(zeros))
            n_beyond = ((keys != MISSING) & (sign * keys < sign * end)).sum(0)
            frequency = (n_beyond + 1) / (n_known + 2)
            is_rare = (frequency <= SLIPS) & ~np.isnan(zeros)
            ends[side : side + 2, is_rare] = end[is_rare], -np.log(frequency[is_rare])
    return ends


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
