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

KEYS_AT_ONCE = 4096  # rows, which stay in a processor's cache
FEW = 256  # exemplars up to which every row sees all of them, as in training
FEW_ROWS = 8  # whose keys are worked out one by one
MIX, ALL_BITS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB), 2**64 - 1


def row_keys(x: np.ndarray) -> np.ndarray:
    """64-bit key of each encoded row, (rows,): equal rows have equal keys, others almost surely not.

    The cells are rounded to float32 first, so that the last bit of a logarithm, which may differ between machines,
    does not count. The mixing is that of splitmix64 (Steele, Lea and Flood 2014).
    """
    if len(x) < FEW_ROWS:
        return np.array([_mix(row) for row in _bits(x).tolist()], np.uint64)
    keys = np.zeros(len(x), np.uint64)
    for begin in range(0, len(x), KEYS_AT_ONCE):
        _mix_rows(keys[begin : begin + KEYS_AT_ONCE], _bits(x[begin : begin + KEYS_AT_ONCE]))
    return keys


def _bits(x: np.ndarray) -> np.ndarray:
    """Cells as the bits of float32: one NaN of the many that there are, no negative zero."""
    cells = x.astype(np.float32)
    cells[np.isnan(cells)] = np.nan
    cells += 0
    return cells.view(np.uint32)


def _mix_rows(keys: np.ndarray, bits: np.ndarray) -> None:
    """Mix the cells of rows into their keys, in place."""
    step, first, second = map(np.uint64, MIX)
    for column in bits.T:
        keys *= second
        keys += column + step
        keys ^= keys >> np.uint64(30)
        keys *= first
        keys ^= keys >> np.uint64(27)


def _mix(bits: list[int]) -> int:
    """The same for one row: Python is quicker at that than numpy."""
    step, first, second = MIX
    key = 0
    for cell in bits:
        key = (key * second + cell + step) & ALL_BITS
        key = (key ^ key >> 30) * first & ALL_BITS
        key ^= key >> 27
    return key


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

    def whole_prior(self, log_bandwidth: Tensor) -> ExemplarPrior:
        """The prior that rests on all of them, for rows that are known to be others."""
        return ExemplarPrior(self.codes, log_bandwidth, log_share(self.counts.to(self.codes))[None, None])

    def leaving_out(self, prior: ExemplarPrior, keys: np.ndarray) -> ExemplarPrior:
        """The whole prior for rows of these keys: one that is itself an exemplar does not explain itself.

        Its double may, and an only exemplar stays.
        """
        own = self._own(keys)
        itself = np.flatnonzero(own >= 0)
        if not len(itself) or self.counts.sum() <= 1:
            return prior
        weights = self.counts.to(self.codes).repeat(len(itself), 1)
        weights[range(len(itself)), own[itself]] -= 1
        shares = prior.log_share.repeat(1, len(keys), 1)
        shares[0, itself] = log_share(weights)
        return prior.sharing(shares)

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


def choose_exemplars(x: Cells, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most so many distinct rows of ``x``: their positions, keys (rising) and counts among the rows drawn."""
    drawn = rng.permutation(len(x))[:most]
    keys, first, counts = np.unique(row_keys(x[drawn]), return_index=True, return_counts=True)
    return drawn[first], keys, counts
