"""The codes nearest to others, by exact search: all products of pairs, and a sieve that makes most of them cheaply."""

import math
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree
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


MOST_LATENTS = 8  # for which a tree is the faster
PAIRS_AT_ONCE = 2**19  # of codes, which stay in a processor's cache; 64 times as many on a device


class Neighbours:
    """Search among the codes of each member.

    Parameters
    ----------
    codes : Tensor
        (members, exemplars, latents).
    """

    def __init__(self, codes: Tensor) -> None:
        self.codes = codes

    @cached_property
    def _trees(self) -> list[cKDTree]:
        return [cKDTree(codes.double().numpy()) for codes in self.codes]

    @cached_property
    def _searches(self) -> list[Search]:
        return [search(codes) for codes in self.codes]

    def nearest(self, z: Tensor, count: int) -> Tensor:
        """Places of the ``count`` exemplars nearest to each code of ``z`` (members, rows, latents)."""
        if z.device.type == "cpu" and z.shape[-1] <= MOST_LATENTS:
            found = [tree.query(rows.double().numpy(), count)[1] for tree, rows in zip(self._trees, z, strict=True)]
            return torch.as_tensor(np.stack(found).reshape(*z.shape[:2], count))
        pairs = PAIRS_AT_ONCE if z.device.type == "cpu" else 64 * PAIRS_AT_ONCE
        size = max(1, pairs // self.codes.shape[1])
        return torch.stack(
            [
                torch.cat([among.nearest(part, count) for part in rows.split(size)])
                for among, rows in zip(self._searches, z, strict=True)
            ]
        )


NEAREST = 16  # kernels that a row sees of many
MAX_ROWS = 1024  # codes that are left out in turn
SMALLEST = 0.05  # where all codes are alike
ALIKE = 1e-20  # of the codes' variance: squared distances that are no more than rounding
UNUSED = 1e-6  # of the widest latent's deviation: a latent that nothing depends on
RANGE = (1 / 4, 16.0)  # of the median distance between nearest neighbours, within which it is looked for


def leave_one_out_bandwidth(codes: Tensor, nearest: int) -> float:
    """Bandwidth of a Gaussian kernel, alike in all directions, at each distinct code.

    Parameters
    ----------
    codes : Tensor
        (rows, latents), in random order.
    nearest : int
        Neighbours of a code that count; those further away add next to nothing.
    """
    squared = _to_neighbours(codes, nearest)
    if not len(squared):
        return SMALLEST
    spread = codes.std(0, correction=0)
    unit, latents = squared[:, 0].median().sqrt().item(), int((spread > UNUSED * spread.max()).sum())

    def loss(log_bandwidth: float) -> float:
        log_kernels = -0.5 * squared * math.exp(-2 * log_bandwidth)
        return latents * log_bandwidth - log_kernels.logsumexp(1).mean().item()

    bounds = [math.log(unit * factor) for factor in RANGE]
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 0.01})
    return max(math.exp(found.x), 1e-6)


def _to_neighbours(codes: Tensor, nearest: int) -> Tensor:
    """Squared distances (rows, at most ``nearest``), rising, from codes to the nearest others that differ."""
    some, among = codes[:MAX_ROWS], search(codes)
    count = min(nearest + 1, len(codes))
    near = torch.cat([among.nearest(part, count) for part in some.split(64)])
    squared = (codes[near] - some[:, None]).square().sum(-1)
    squared = squared.masked_fill(squared <= ALIKE * codes.var(0, correction=0).sum(), torch.inf).sort(1).values
    return squared[squared[:, 0].isfinite()]
