"""Priors: densities p(z) of the latents of normal rows, in nats.

``z`` is (draws, members, rows, latents); a posterior's ``mean`` and ``log_var`` are (members, rows, latents).
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

LOG_TWO_PI, LOG2_E = math.log(2 * math.pi), math.log2(math.e)
PAIRS_AT_ONCE = 2**19  # of latents and exemplars, of one draw; measured twice as fast as all at once


class Prior(Protocol):
    """The verbs of every prior."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of each latent vector, (draws, members, rows)."""

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """KL(q(z|x) || p(z)) of each row, (members, rows), or an upper bound of it: exact, without draws."""

    def nearby(self, mean: Tensor, log_var: Tensor, pull: Tensor) -> Tensor:
        """Mean of the components, weighted by how well each explains the row, (members, rows, latents).

        ``pull`` is the gradient of the KL with respect to the posterior's ``mean``.
        """


def normal_log_prob(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Log density of a diagonal Gaussian, summed over the latents."""
    return -0.5 * (LOG_TWO_PI + log_var + (z - mean) ** 2 * (-log_var).exp()).sum(-1)


@dataclass(frozen=True)
class GaussianPrior:
    """Standard normal in every latent; the KL has a closed form (Kingma and Welling, arXiv 1312.6114, appendix B)."""

    log_bandwidth: Tensor  # (members, 1, latents), all 0

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (LOG_TWO_PI + z**2).sum(-1)

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        return 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(-1)

    def nearby(self, mean: Tensor, log_var: Tensor, pull: Tensor) -> Tensor:
        return torch.zeros_like(mean)

    def sample(self, members: int, rows: int, generator: torch.Generator) -> Tensor:
        """Latents drawn from the prior, (members, rows, latents)."""
        like, shape = self.log_bandwidth, (members, rows, self.log_bandwidth.shape[-1])
        return torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)


def log_weights(counts: Tensor) -> Tensor:
    """Log weight of each exemplar for each row; an exemplar of count 0 has no weight."""
    return counts.log() - counts.sum(-1, keepdim=True).log()


@dataclass(frozen=True)
class ExemplarPrior:
    """Mixture of Gaussian kernels at the latent means of training rows, with one bandwidth for all.

    Norouzi, Fleet and Norouzi, Exemplar VAE, arXiv 2004.04795. A bandwidth for each latent is more likely and less
    accurate: it stretches the directions in which the rows lie close (benchmarks/results/ablations.md). ``means`` is
    (members, exemplars, latents), ``log_weights`` (members or 1, rows or 1, exemplars); the weights of a row sum to 1.
    """

    means: Tensor
    log_bandwidth: Tensor  # (members, 1, 1)
    log_weights: Tensor

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """Upper bound of the KL from a Gaussian to the mixture, in closed form.

        ``-log sum_k w_k exp(-KL(q || p_k))``: the component of a row is a second latent, with its own best posterior
        (Hershey and Olsen, ICASSP 2007). So with this bound the ELBO is still below the log evidence.
        """
        blur = 0.5 * (log_var - 2 * self.log_bandwidth).exp().sum(-1)
        entropy = 0.5 * (1 + LOG_TWO_PI + log_var).sum(-1)
        return blur - self.log_prob(mean[None]).squeeze(0) - entropy

    def nearby(self, mean: Tensor, log_var: Tensor, pull: Tensor) -> Tensor:
        return mean - (2 * self.log_bandwidth).exp() * pull

    def log_prob(self, z: Tensor) -> Tensor:
        """One matrix product for all pairs: with a shared bandwidth, ``|u - c|^2 = |u|^2 - 2 u.c + |c|^2``."""
        centre, inverse, c_and_square, log_volume = self._kernels
        u = (z - centre) * inverse
        u_and_one = torch.cat([u, torch.ones_like(u[..., :1])], -1)
        return self._log_kernels(u_and_one, c_and_square) - 0.5 * (u**2).sum(-1) - log_volume

    def reweighted(self, log_weights: Tensor) -> "ExemplarPrior":
        """The prior with other weights of the same exemplars; what belongs to no row is not computed again."""
        other = replace(self, log_weights=log_weights)
        other.__dict__["_kernels"] = self._kernels
        return other

    @cached_property
    def _kernels(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centre, inverse bandwidth, exemplars in units of it with minus half their squares, log volume of a kernel."""
        latents = self.means.shape[-1]
        centre = self.means.mean(1, keepdim=True)  # the square is taken near 0, where it is exact
        inverse = (-self.log_bandwidth).exp()
        c = (self.means - centre) * inverse
        c_and_square = torch.cat([c, -0.5 * (c**2).sum(-1, keepdim=True)], -1)
        c_and_square = c_and_square.transpose(-1, -2).contiguous()
        log_volume = self.log_bandwidth.expand(-1, -1, latents).sum(-1) + 0.5 * latents * LOG_TWO_PI
        return centre, inverse, c_and_square, log_volume

    def _log_kernels(self, u: Tensor, c: Tensor) -> Tensor:
        """Log of the sum over exemplars of exp(u c + log weight), (draws, members, rows), in parts that fit a cache."""
        weights, pairs = self.log_weights, PAIRS_AT_ONCE if u.device.type == "cpu" else 64 * PAIRS_AT_ONCE
        size = max(1, pairs // (c.shape[0] * c.shape[2]))
        if len(u) == 1 and u.shape[-2] <= size:
            return _log_sum_exp(torch.baddbmm(weights, u[0], c))[None]
        parts = u.split(size, -2)
        of_parts = weights.split(size, -2) if weights.shape[-2] > 1 else [weights] * len(parts)
        sums = [
            torch.stack([_log_sum_exp(torch.baddbmm(own, draw, c)) for draw in part])
            for part, own in zip(parts, of_parts, strict=True)
        ]
        return torch.cat(sums, -1)


@dataclass(frozen=True)
class NearestPrior:
    """An exemplar prior of which each row sees only the exemplars nearest to its latent mean.

    Kernels left out of the sum only lower it: the bound stays a bound, and many exemplars cost little. Each kernel has
    a bandwidth of its own, as in Abramson (1982). ``means`` is (members, rows, nearest, latents), ``log_weights``
    (members, rows, nearest), those among all exemplars: the weights of a row sum to less than 1.
    """

    means: Tensor
    log_bandwidth: Tensor  # (members, rows, nearest), or broadcast against it
    log_weights: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        return self._log_kernels(z).logsumexp(-1)

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """The bound of `ExemplarPrior.kl`, in which each kernel has its own blur."""
        entropy = 0.5 * (1 + LOG_TWO_PI + log_var).sum(-1)
        return -self._explained(mean, log_var).logsumexp(-1) - entropy

    def nearby(self, mean: Tensor, log_var: Tensor, pull: Tensor) -> Tensor:
        """Kernels count by their precision as well: a narrow one pulls harder."""
        log_pull = self._explained(mean, log_var) - 2 * self.log_bandwidth
        return (log_pull.softmax(-1)[..., None] * self.means).sum(-2)

    def _explained(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """Expected log of each weighted kernel under the posterior, (members, rows, nearest)."""
        return self._log_kernels(mean) - 0.5 * log_var.exp().sum(-1, keepdim=True) * (-2 * self.log_bandwidth).exp()

    def _log_kernels(self, z: Tensor) -> Tensor:
        squared = (z[..., None, :] - self.means).square().sum(-1) * (-2 * self.log_bandwidth).exp()
        return self.log_weights - 0.5 * squared - z.shape[-1] * (self.log_bandwidth + 0.5 * LOG_TWO_PI)


def _log_sum_exp(logits: Tensor) -> Tensor:
    """Log of the sum of exponentials over the last axis, where at least one is finite.

    Exponents are clamped at -60, which double precision does not see next to 0: where exp underflows, a processor takes
    up to thirty times as long. In place unless the gradient needs the logits, because new pages of memory take longer
    than the arithmetic.
    """
    negligible = -60.0
    if not logits.requires_grad:
        largest = logits.amax(-1, keepdim=True)
        terms = logits.sub_(largest).clamp_min_(negligible)
        terms = terms.mul_(LOG2_E).exp2_() if terms.dtype == torch.float64 else terms.exp_()  # half of exp's time
        return terms.sum(-1).log_() + largest.squeeze(-1)
    largest = logits.detach().amax(-1, keepdim=True)
    return (logits - largest).clamp_min(negligible).exp().sum(-1).log() + largest.squeeze(-1)
