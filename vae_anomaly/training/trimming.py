"""Which rows of a batch count in the loss: without the oddest, a net learns what the others have in common."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

FENCE = 0.5  # interquartile ranges below the first quartile; of 0.5, 1 and a fixed 15 % the most accurate (benchmarks)


class Trimming(Protocol):
    """What every rule can do."""

    def weights(self, elbo: Tensor) -> Tensor:
        """Weights (members, rows), adding up to 1 for each member, given the ELBO of each row of its batch."""


@dataclass(frozen=True)
class Share:
    """Leave out this share of each member's batch, its oddest rows; 0 keeps all."""

    share: float

    def weights(self, elbo: Tensor) -> Tensor:
        """The same for all rows that are kept."""
        kept = elbo.shape[1] - int(self.share * elbo.shape[1])
        best = elbo.detach().topk(kept, dim=1).indices
        return torch.zeros_like(elbo).scatter(1, best, 1 / kept)


@dataclass(frozen=True)
class Fence:
    """Leave out the rows far below the first quartile of their batch: how many, the batch itself says."""

    def weights(self, elbo: Tensor) -> Tensor:
        """The same for all rows that are kept."""
        rows = elbo.detach()
        low, high = torch.quantile(rows, rows.new_tensor([0.25, 0.75]), dim=1, keepdim=True)
        kept = (rows >= low - FENCE * (high - low)).to(elbo.dtype)
        return kept / kept.sum(1, keepdim=True)
