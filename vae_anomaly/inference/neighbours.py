"""The exemplars nearest to a code, by exact search: a tree where the code is narrow, all products where it is wide."""

from functools import cached_property

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from vae_anomaly.model.nearest import Search, search

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
