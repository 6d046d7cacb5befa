"""Which rows the exemplar prior rests on after training, and which of them a scored row is itself."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.inference.neighbours import Neighbours
from vae_anomaly.model.bandwidth import NEAREST
from vae_anomaly.model.priors import ExemplarPrior, NearestPrior, log_share
from vae_anomaly.tables import Cells

FEW = 256  # exemplars up to which every row sees all of them, as in training
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

    @property
    def are_few(self) -> bool:
        """Whether every row sees all of them."""
        return len(self.keys) <= FEW

    def whole_prior(self, log_bandwidth: Tensor, keys: np.ndarray | None) -> ExemplarPrior:
        """The prior that rests on all of them; see `weights` for ``keys``."""
        weights = self.weights(keys, self.codes.device).to(self.codes.dtype)
        return ExemplarPrior(self.codes, log_bandwidth, log_share(weights))

    def nearest_prior(self, log_bandwidth: Tensor, keys: np.ndarray | None, z: Tensor) -> NearestPrior:
        """The prior that rests on the exemplars nearest to the rows' own codes ``z`` (members, rows, latents)."""
        near = self._neighbours.nearest(z, NEAREST)
        codes = torch.stack([codes[places] for codes, places in zip(self.codes, near, strict=True)])
        weights, total = self.counts.to(z.device)[near], self.counts.sum().to(z.device)
        if keys is not None:
            own = torch.as_tensor(self._own(keys), device=z.device)
            weights = weights - (near == own[:, None]).to(weights.dtype)
            total = total - (own >= 0).to(total.dtype)[:, None]
        return NearestPrior(codes, log_bandwidth, weights.to(z.dtype).log() - total.to(z.dtype).log())

    @cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours(self.codes)

    def _own(self, keys: np.ndarray) -> np.ndarray:
        """Place of the exemplar that each row is, -1 for none, (rows,)."""
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[place] == keys, place, -1)

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
        own = self._own(keys)
        itself = np.flatnonzero(own >= 0)
        if not len(itself) or self.counts.sum() <= 1:
            return counts
        weights = counts.repeat(1, len(keys), 1)
        weights[0, itself, own[itself]] -= 1
        return weights


def choose_exemplars(x: Cells, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most so many distinct rows of ``x``: their positions, keys (rising) and counts among the rows drawn."""
    drawn = rng.permutation(len(x))[:most]
    keys, first, counts = np.unique(row_keys(x[drawn]), return_index=True, return_counts=True)
    return drawn[first], keys, counts
