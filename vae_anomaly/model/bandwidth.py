"""The bandwidth under which each code is most probable given the others: leave-one-out maximum likelihood.

Duin, On the choice of smoothing parameters for Parzen estimators, IEEE Transactions on Computers 1976.
"""

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from vae_anomaly.model.nearest import search

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
