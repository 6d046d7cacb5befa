"""The codes nearest to others, by exact search: all products of pairs, and a sieve that makes most of them cheaply."""

from typing import Protocol

import torch
from torch import Tensor

FEW_CODES = 4096  # up to which a sieve saves nothing
SPARE = 4  # codes kept beyond those asked for: what single precision cannot put in order
HEAP_COLUMNS = 1280  # at least: torch is quicker to find the least k of 64 k numbers or more than of fewer
HALF_ULP = 2.0**-24  # of single precision


class Search(Protocol):
    """What every search can do."""

    def nearest(self, z: Tensor, count: int) -> Tensor:
        """Places of the ``count`` codes nearest to each row of ``z`` (rows, latents), (rows, count), in any order."""


def search(codes: Tensor) -> Search:
    """The quicker search among ``codes`` (rows, latents)."""
    sieved = codes.device.type == "cpu" and codes.dtype == torch.float64 and len(codes) > FEW_CODES
    return Sieve(codes) if sieved else Products(codes)


class Products:
    """Search among ``codes`` (rows, latents) by the product of every pair."""

    def __init__(self, codes: Tensor) -> None:
        self._centre = codes.mean(0)  # the squares are taken near 0, where they are exact
        centred = codes - self._centre
        self._transposed, self._half_square = centred.T, 0.5 * centred.square().sum(-1)

    def nearest(self, z: Tensor, count: int) -> Tensor:
        """Half the squared distance to each code, but for what belongs to the row alone; the least of them."""
        half_distances = torch.addmm(self._half_square, z - self._centre, self._transposed, alpha=-1)
        return half_distances.topk(count, largest=False).indices


class Sieve:
    """Search among many ``codes`` (rows, latents) in double precision: single precision first, then the few by all.

    A product in single precision gives a lower bound of each ``|c|^2 / 2 - z.c``, which is half the squared distance
    but for ``|z|^2 / 2``. With ``K`` terms it is off by less than ``(K + 4) u (|z| |c| + |c|^2 / 2)``, ``u`` half a
    unit in the last place (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); twice that is
    subtracted. A row whose nearest are farther than what is certain of the codes not kept is searched by all products.
    """

    def __init__(self, codes: Tensor) -> None:
        self._codes, self._exact = codes, Products(codes)
        self._centre = codes.mean(0)
        centred = codes - self._centre
        half_square = 0.5 * centred.square().sum(-1)
        self._slack = 2 * (codes.shape[1] + 6) * HALF_ULP
        bounds = torch.cat([-centred.T, half_square[None] * (1 - self._slack), (2 * half_square).sqrt()[None]])
        self._heaps = max(1, len(codes) // HEAP_COLUMNS)
        self._bounds = torch.nn.functional.pad(bounds, (0, -len(codes) % self._heaps))
        self._bounds[-2, len(codes) :] = torch.inf  # what fills the heaps up is never near
        self._bounds = self._bounds.float()

    def nearest(self, z: Tensor, count: int) -> Tensor:
        """The nearest of those kept, and for rows where that is not certain the nearest of all."""
        near, bound = self._kept(z - self._centre, count + SPARE)
        half_distances = 0.5 * (self._codes[near] - z[:, None]).square().sum(-1)
        best = half_distances.topk(count, largest=False)
        found = near.gather(1, best.indices)
        certain = best.values.amax(1) - 0.5 * (z - self._centre).square().sum(-1) <= bound
        certain &= bound.isfinite()  # in single precision
        if not certain.all():
            found[~certain] = self._exact.nearest(z[~certain], count)
        return found

    def _kept(self, z: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Places of the codes of the least bounds, (rows, count), and what no other code is nearer than, (rows,).

        The codes lie in a few heaps, one beside the other; the least of all are in the columns of the least minima.
        """
        length = z.square().sum(-1, keepdim=True).sqrt()
        bounds = torch.cat([z, torch.ones_like(length), -self._slack * length], 1).float() @ self._bounds
        heaps = bounds.unflatten(1, (self._heaps, -1))
        columns = heaps.amin(1).topk(count, largest=False).indices[:, None].expand(-1, self._heaps, -1)
        least = heaps.gather(2, columns).flatten(1).topk(count, largest=False)
        places = columns + heaps.shape[2] * torch.arange(self._heaps)[:, None]
        places = places.flatten(1).gather(1, least.indices)
        return places.clamp(max=len(self._codes) - 1), least.values.amax(1)  # of what is no number, no place beyond
