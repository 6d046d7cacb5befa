"""What the codes of normal rows look like before any row is seen: densities p(z), in nats.

``z`` is (draws, members, rows, latents); a posterior's ``mean`` and ``log_var`` are (members, rows, latents).
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

LOG_TWO_PI, LOG2_E = math.log(2 * math.pi), math.log2(math.e)
NEGLIGIBLE = -60.0  # log of a share that double precision does not see beside 1
PAIRS_AT_ONCE = 2**19  # of codes and exemplars, of one draw; measured twice as fast as all at once


class Prior(Protocol):
    """What every prior can do."""

    @property
    def variance(self) -> Tensor:
        """Of one component in every latent, (members or 1, 1, 1)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of each code, (draws, members, rows)."""

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """KL(q(z|x) || p(z)) of each row, (members, rows), or an upper bound of it: exact, without draws."""


def normal_log_prob(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Log density of a diagonal Gaussian, summed over the latents."""
    return -0.5 * (LOG_TWO_PI + log_var + (z - mean) ** 2 * (-log_var).exp()).sum(-1)


def entropy(log_var: Tensor) -> Tensor:
    """Entropy of a diagonal Gaussian, in nats."""
    return 0.5 * (1 + LOG_TWO_PI + log_var).sum(-1)


@dataclass(frozen=True)
class GaussianPrior:
    """Standard normal in every latent; the KL has a closed form (Kingma and Welling, arXiv 1312.6114, appendix B)."""

    like: Tensor  # (members, 1, latents): gives shape, type and device

    @property
    def variance(self) -> Tensor:
        return self.like.new_ones(1, 1, 1)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (LOG_TWO_PI + z**2).sum(-1)

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        return 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(-1)

    def sample(self, members: int, rows: int, generator: torch.Generator) -> Tensor:
        """Codes drawn from the prior, (members, rows, latents)."""
        shape = (members, rows, self.like.shape[-1])
        return torch.randn(shape, dtype=self.like.dtype, device=self.like.device, generator=generator)


def mixture_kl(prior: Prior, log_bandwidth: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Upper bound of the KL from a Gaussian to a mixture of Gaussians of one bandwidth, in closed form.

    ``-log sum_k w_k exp(-KL(q || p_k))``: which component a row belongs to is a second latent, with its own best
    posterior (Hershey and Olsen, ICASSP 2007). So minus this bound the ELBO is still below the log evidence.
    """
    blur = 0.5 * (log_var - 2 * log_bandwidth).exp().sum(-1)
    return blur - prior.log_prob(mean[None]).squeeze(0) - entropy(log_var)


def log_share(weights: Tensor) -> Tensor:
    """Log of each exemplar's share for each row; weight 0 leaves one out, so that no row explains itself."""
    return weights.log() - weights.sum(-1, keepdim=True).log()


@dataclass(frozen=True)
class ExemplarPrior:
    """Mixture whose components sit at the codes of training rows, under one bandwidth for all latents.

    Norouzi, Fleet and Norouzi, Exemplar VAE, arXiv 2004.04795. A bandwidth for each latent is more likely and less
    accurate: it stretches the directions in which the rows lie close (benchmarks/results/ablations.md). ``log_share``
    is the log weight of each exemplar for each row; over the exemplars the weights add up to 1.
    """

    codes: Tensor  # (members, exemplars, latents)
    log_bandwidth: Tensor  # (members, 1, 1)
    log_share: Tensor  # (members or 1, rows or 1, exemplars)

    @property
    def variance(self) -> Tensor:
        return (2 * self.log_bandwidth).exp()

    def log_prob(self, z: Tensor) -> Tensor:
        """One matrix product for all pairs: with a shared bandwidth, |u - c|^2 = |u|^2 - 2 u.c + |c|^2."""
        centre, inverse, c_and_square, log_volume = self._kernels
        u = (z - centre) * inverse
        u_and_one = torch.cat([u, torch.ones_like(u[..., :1])], -1)
        return self._log_kernels(u_and_one, c_and_square) - 0.5 * (u**2).sum(-1) - log_volume

    def sharing(self, log_share: Tensor) -> "ExemplarPrior":
        """The prior with the same exemplars in other shares; what belongs to no row is not computed again."""
        other = replace(self, log_share=log_share)
        other.__dict__["_kernels"] = self._kernels
        return other

    @cached_property
    def _kernels(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centre, inverse bandwidth, the exemplars in units of it with minus half their squares, and log volume."""
        centre = self.codes.mean(1, keepdim=True)  # the square is taken near 0, where it is exact
        inverse = (-self.log_bandwidth).exp()
        c = (self.codes - centre) * inverse
        c_and_square = torch.cat([c, -0.5 * (c**2).sum(-1, keepdim=True)], -1)
        c_and_square = c_and_square.transpose(-1, -2).contiguous()
        return centre, inverse, c_and_square, _log_volume(self.log_bandwidth, self.codes.shape[-1])

    def _log_kernels(self, u: Tensor, c: Tensor) -> Tensor:
        return _log_kernels(u, c, self.log_share)

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        return mixture_kl(self, self.log_bandwidth, mean, log_var)

    def sample(self, members: int, rows: int, generator: torch.Generator) -> Tensor:
        """Codes around exemplars chosen by their weights."""
        weights = self.log_share.exp().mean(1).expand(members, -1)
        chosen = torch.multinomial(weights, rows, replacement=True, generator=generator)
        around = self.codes.gather(1, chosen[..., None].expand(-1, -1, self.codes.shape[-1]))
        noise = torch.randn(around.shape, dtype=around.dtype, device=around.device, generator=generator)
        return around + self.log_bandwidth.exp() * noise


@dataclass(frozen=True)
class NearestPrior:
    """An exemplar prior of which each row sees only the exemplars nearest to its code.

    What is left out of a sum of kernels only lowers it: the bound stays a bound, and many exemplars cost little.
    """

    codes: Tensor  # (members, rows, nearest, latents)
    log_bandwidth: Tensor  # (members, 1, 1)
    log_share: Tensor  # (members, rows, nearest), shares of all exemplars: they add up to less than 1

    @property
    def variance(self) -> Tensor:
        return (2 * self.log_bandwidth).exp()

    def log_prob(self, z: Tensor) -> Tensor:
        squared = ((z[..., None, :] - self.codes) * (-self.log_bandwidth[..., None]).exp()).square().sum(-1)
        return (self.log_share - 0.5 * squared).logsumexp(-1) - _log_volume(self.log_bandwidth, z.shape[-1])

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        return mixture_kl(self, self.log_bandwidth, mean, log_var)


def _log_volume(log_bandwidth: Tensor, latents: int) -> Tensor:
    """What makes a kernel integrate to 1, (members, 1)."""
    return log_bandwidth.expand(-1, -1, latents).sum(-1) + 0.5 * latents * LOG_TWO_PI


def _log_kernels(u: Tensor, c: Tensor, bias: Tensor) -> Tensor:
    """Log of the sum over the columns of c of exp(u c + bias), (draws, members, rows), in parts that stay in cache."""
    pairs = PAIRS_AT_ONCE if u.device.type == "cpu" else 64 * PAIRS_AT_ONCE
    size = max(1, pairs // (c.shape[0] * c.shape[2]))
    if len(u) == 1 and u.shape[-2] <= size:
        return _log_sum_exp(torch.baddbmm(bias, u[0], c))[None]
    parts = u.split(size, -2)
    biases = bias.split(size, -2) if bias.shape[-2] > 1 else [bias] * len(parts)
    sums = [
        torch.stack([_log_sum_exp(torch.baddbmm(at, draw, c)) for draw in part])
        for part, at in zip(parts, biases, strict=True)
    ]
    return torch.cat(sums, -1)


def _log_sum_exp(logits: Tensor) -> Tensor:
    """Log of the sum of exponentials over the last axis, one of them finite, those too small to be noticed as one size.

    Where they underflow, a processor takes up to thirty times as long. In place unless the gradient needs what was
    there: pages of memory that are new take longer than the arithmetic.
    """
    if not logits.requires_grad:
        largest = logits.amax(-1, keepdim=True)
        shares = logits.sub_(largest).clamp_min_(NEGLIGIBLE)
        shares = shares.mul_(LOG2_E).exp2_() if shares.dtype == torch.float64 else shares.exp_()  # half of exp's time
        return shares.sum(-1).log_() + largest.squeeze(-1)
    largest = logits.detach().amax(-1, keepdim=True)
    return (logits - largest).clamp_min(NEGLIGIBLE).exp().sum(-1).log() + largest.squeeze(-1)
