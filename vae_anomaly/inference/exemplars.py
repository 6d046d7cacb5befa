"""Which rows the exemplar prior rests on after training, and which of them a scored row is itself."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MAX_EXEMPLARS = 2048
MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def row_keys(x: np.ndarray) -> np.ndarray:
    """64-bit key of each encoded row, (rows,): equal rows have equal keys, others almost surely not.

    The cells are rounded to float32 first, so that the last bit of a logarithm, which may differ between machines,
    does not count. The mixing is that of splitmix64 (Steele, Lea and Flood 2014).
    """
    bits = (np.where(np.isnan(x), np.float32(np.nan), x.astype(np.float32)) + np.float32(0)).view(np.uint32)
    keys = np.zeros(len(x), np.uint64)
    step, first, second = MIX
    for column in bits.T:
        keys = keys * second + column + step
        keys = (keys ^ (keys >> np.uint64(30))) * first
        keys = keys ^ (keys >> np.uint64(27))
    return keys


@dataclass(frozen=True)
class Exemplars:
    """Distinct training rows, how often each stands in the table, and their codes in every member."""

    keys: np.ndarray  # (exemplars,) uint64, rising
    counts: Tensor  # (exemplars,)
    codes: Tensor  # (members, exemplars, latents)

    def weights(self, keys: np.ndarray | None, device: torch.device) -> Tensor:
        """How often each exemplar counts for each row, (1, rows or 1, exemplars).

        Parameters
        ----------
        keys : ndarray or None
            Keys of the rows to score, where a row that is itself an exemplar must not explain itself; its double may.
            None where the rows are known to be others.
        """
        counts = self.counts.to(device)[None, None]
        if keys is None:
            return counts
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        itself = np.flatnonzero(self.keys[place] == keys)
        if not len(itself) or self.counts.sum() <= 1:
            return counts
        weights = counts.repeat(1, len(keys), 1)
        weights[0, itself, place[itself]] -= 1
        return weights


def choose_exemplars(x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most 2,048 distinct rows of ``x``: their positions, keys (rising) and counts among the rows drawn."""
    drawn = rng.permutation(len(x))[:MAX_EXEMPLARS]
    keys, first, counts = np.unique(row_keys(x[drawn]), return_index=True, return_counts=True)
    return drawn[first], keys, counts
