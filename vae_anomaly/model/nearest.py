"""Nearest latents by exact search, and the bandwidths that the distances between them suggest.

`MemberSearch` finds the exemplars nearest to rows, in each member of an ensemble. Few latents are searched with a tree,
more of them with matrix products: `ExactSearch` takes the product of every pair, `FilteredSearch` takes it in single
precision first.
"""

import math
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree
from torch import Tensor

NEAREST = 16  # exemplars that a row sees where there are many
TREE_LATENTS = 8  # at most, for which a tree is faster
FEW_ROWS = 4096  # up to which a filter saves nothing
BLOCK_COLUMNS = 1280  # at least: torch finds the least k of 64 k or more numbers faster than of fewer
PAIRS_AT_ONCE = 2**19  # of rows, which stay in a processor's cache; 64 times as many on a GPU


class MemberSearch:
    """Search among the latent means of each member.

    Parameters
    ----------
    means : Tensor
        (members, exemplars, latents).
    """

    def __init__(self, means: Tensor) -> None:
        self.means = means

    @cached_property
    def _trees(self) -> list[cKDTree]:
        return [cKDTree(means.double().numpy()) for means in self.means]

    @cached_property
    def _searches(self) -> list["Search"]:
        on_cpu = self.means.device.type == "cpu"
        return [search(means.double() if on_cpu else means) for means in self.means]

    def nearest(self, z: Tensor, count: int) -> Tensor:
        """Indices of the ``count`` exemplars nearest to each row of ``z`` (members, rows, latents)."""
        on_cpu = z.device.type == "cpu"
        if on_cpu and z.shape[-1] <= TREE_LATENTS:
            found = [tree.query(rows.double().numpy(), count)[1] for tree, rows in zip(self._trees, z, strict=True)]
            return torch.as_tensor(np.stack(found).reshape(*z.shape[:2], count))
        size = max(1, (PAIRS_AT_ONCE if on_cpu else 64 * PAIRS_AT_ONCE) // self.means.shape[1])
        return torch.stack(
            [
                torch.cat([among.nearest(part, count) for part in rows.split(size)])
                for among, rows in zip(self._searches, z.double() if on_cpu else z, strict=True)
            ]
        )


class Search(Protocol):
    """A search among rows (rows, latents)."""

    def nearest(self, z: Tensor, count: int) -> Tensor:
        """Indices of the ``count`` rows nearest to each row of ``z`` (rows, latents), (rows, count), in any order."""


def search(rows: Tensor) -> Search:
    """The faster search among ``rows`` (rows, latents)."""
    filtered = rows.device.type == "cpu" and rows.dtype == torch.float64 and len(rows) > FEW_ROWS
    return FilteredSearch(rows) if filtered else ExactSearch(rows)


class ExactSearch:
    """Search among ``rows`` (rows, latents) by the product of every pair."""

    def __init__(self, rows: Tensor) -> None:
        self._centre = rows.mean(0)  # the squares are taken near 0, where they are exact
        centred = rows - self._centre
        self._transposed, self._half_square = centred.T, 0.5 * centred.square().sum(-1)

    def nearest(self, z: Tensor, count: int) -> Tensor:
        """The rows of the least half squared distance, up to a constant for each row of ``z``."""
        half_distances = torch.addmm(self._half_square, z - self._centre, self._transposed, alpha=-1)
        return half_distances.topk(count, largest=False).indices


class FilteredSearch:
    """Search among many ``rows`` (rows, latents) in double precision: candidates are found in single precision.

    A product in single precision gives a lower bound of each ``|c|^2 / 2 - z.c``, which is half the squared distance
    up to ``|z|^2 / 2``. With ``K`` terms its error is below ``(K + 4) u (|z| |c| + |c|^2 / 2)``, ``u`` half a unit in
    the last place (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); twice that is subtracted.
    Where the nearest candidates are farther than the bound of all other rows, the search takes every product.
    """

    def __init__(self, rows: Tensor) -> None:
        half_ulp = 2.0**-24  # of single precision
        self._rows, self._exact = rows, ExactSearch(rows)
        self._centre = rows.mean(0)
        centred = rows - self._centre
        half_square = 0.5 * centred.square().sum(-1)
        self._slack = 2 * (rows.shape[1] + 6) * half_ulp
        bounds = torch.cat([-centred.T, half_square[None] * (1 - self._slack), (2 * half_square).sqrt()[None]])
        self._blocks = max(1, len(rows) // BLOCK_COLUMNS)
        self._bounds = torch.nn.functional.pad(bounds, (0, -len(rows) % self._blocks))
        self._bounds[-2, len(rows) :] = torch.inf  # the padding is never near
        self._bounds = self._bounds.float()

    def nearest(self, z: Tensor, count: int) -> Tensor:
        """The nearest candidates, and where they are not certain to be the nearest rows, those of the exact search."""
        spare = 4  # candidates more than asked for: neighbours that single precision cannot put in order
        near, bound = self._candidates(z - self._centre, count + spare)
        half_distances = 0.5 * (self._rows[near] - z[:, None]).square().sum(-1)
        best = half_distances.topk(count, largest=False)
        found = near.gather(1, best.indices)
        certain = best.values.amax(1) - 0.5 * (z - self._centre).square().sum(-1) <= bound
        certain &= bound.isfinite()  # in single precision
        if not certain.all():
            found[~certain] = self._exact.nearest(z[~certain], count)
        return found

    def _candidates(self, z: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Indices of the rows of the least bounds, (rows, count), and a bound of all others, (rows,).

        The rows are arranged in a few blocks of columns; the least bounds are in the columns of the least minima.
        """
        length = z.square().sum(-1, keepdim=True).sqrt()
        bounds = torch.cat([z, torch.ones_like(length), -self._slack * length], 1).float() @ self._bounds
        blocks = bounds.unflatten(1, (self._blocks, -1))
        columns = blocks.amin(1).topk(count, largest=False).indices[:, None].expand(-1, self._blocks, -1)
        least = blocks.gather(2, columns).flatten(1).topk(count, largest=False)
        indices = columns + blocks.shape[2] * torch.arange(self._blocks)[:, None]
        indices = indices.flatten(1).gather(1, least.indices)
        return indices.clamp(max=len(self._rows) - 1), least.values.amax(1)  # NaN may give an index beyond the rows


MAX_ROWS = 1024  # rows that are left out in turn
SMALLEST = 0.05  # bandwidth where all rows are equal
CROWD, CROWD_ROWS = 5, 4096  # the neighbour whose distance tells how close the rows lie, and rows among which it is


def fit_kernels(z: Tensor, nearest: int, *, local: bool = True) -> tuple[float, Tensor]:
    """Bandwidth of the kernels, and the log width (rows,) of each kernel in units of it, 0 if all are alike.

    If they may be ``local``, kernels are wider where rows lie far apart, provided that this makes rows that are left
    out in turn likelier, and as narrow as many latents require. Otherwise, where levels are repeated, narrow kernels
    would only tell whether a row has been seen before.

    Parameters
    ----------
    z : Tensor
        (rows, latents), in random order.
    nearest : int
        Neighbours of a row that count, as in `leave_one_out_bandwidth`.
    """
    exact = z.double()
    if not local:
        return leave_one_out_bandwidth(exact, nearest)
    narrowest = 1 / 16  # in many latents, the likeliest is the distance over their square root
    other_widths = [_local_log_widths(exact)] if len(z) > CROWD else []
    return leave_one_out_bandwidth(exact, nearest, *other_widths, narrowest=narrowest)


def _local_log_widths(z: Tensor) -> Tensor:
    """Log width of each row's kernel, whose square grows with the distance to the fifth neighbour.

    The square root of the distance is Abramson's law (Annals of Statistics 10, 1982). Half a median is added, since
    noise and posterior have one width for all rows: without it, the KL of rows that lie close would rise.
    """
    least, added = 0.05, 0.5
    among = search(z[:CROWD_ROWS])
    near = torch.cat([among.nearest(part, CROWD + 1) for part in z.split(512)])
    ordered = (z[near] - z[:, None]).square().sum(-1).sort(1).values
    is_among = torch.arange(len(z), device=z.device) < CROWD_ROWS  # then the first neighbour is the row itself
    distances = torch.where(is_among, ordered[:, CROWD], ordered[:, CROWD - 1]).sqrt()
    positive = distances[distances > 0]
    if not len(positive):
        return torch.zeros_like(distances)
    relative = (distances / positive.median()).clamp_min(least)
    return 0.5 * ((relative + added) / (1 + added)).log()


def leave_one_out_bandwidth(
    z: Tensor, nearest: int, *other_widths: Tensor, narrowest: float = 1 / 4
) -> tuple[float, Tensor]:
    """Bandwidth of Gaussian kernels, equal in all directions, of the greatest leave-one-out likelihood.

    Equal rows count once.

    Parameters
    ----------
    z : Tensor
        (rows, latents), in random order.
    nearest : int
        Neighbours of a row that count; those further away add next to nothing.
    *other_widths : Tensor
        (rows,), log widths of the kernels in units of the bandwidth, tried beside kernels that are all alike; not if a
        latent does not depend on the rows, for in it the posterior is the kernel of any row.
    narrowest : float
        Least bandwidth, in units of the median distance to the nearest row.

    Returns
    -------
    tuple of float and Tensor
        The bandwidth, and the log widths (rows,) that belong to it.
    """
    alike = torch.zeros_like(z[:, 0])
    some, among = z[:MAX_ROWS], search(z)
    near = torch.cat([among.nearest(part, min(nearest + 1, len(z))) for part in some.split(64)])
    squared = (z[near] - some[:, None]).square().sum(-1)
    rounding = 1e-20 * z.var(0, correction=0).sum()  # squared distances up to it are 0
    squared = squared.masked_fill(squared <= rounding, torch.inf)
    distinct = squared.amin(1).isfinite()
    squared, near = squared[distinct], near[distinct]  # (rows, at most nearest)
    if not len(squared):
        return SMALLEST, alike
    spread = z.std(0, correction=0)
    used = int((spread > 1e-6 * spread.max()).sum())  # latents that depend on the rows
    unit = squared.amin(1).median().sqrt().item()
    bounds = math.log(unit * narrowest), math.log(unit * 16)

    def loss(log_bandwidth: float, scaled: Tensor, log_volumes: Tensor) -> float:
        log_kernels = -0.5 * scaled * math.exp(-2 * log_bandwidth) - log_volumes
        return used * log_bandwidth - log_kernels.logsumexp(1).mean().item()

    least, best = math.inf, (SMALLEST, alike)
    for log_widths in (alike, *(other_widths if used == z.shape[1] else ())):
        widths = log_widths[near]
        arguments = squared * (-2 * widths).exp(), used * widths
        found = minimize_scalar(loss, bounds=bounds, args=arguments, method="bounded", options={"xatol": 0.01})
        if found.fun < least:
            least, best = found.fun, (max(math.exp(found.x), 1e-6), log_widths)
    return best
