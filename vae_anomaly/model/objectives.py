"""Bounds on the log evidence of each row, in nats: summed over cells and latents, never averaged over them."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vae_anomaly.model.priors import Prior, normal_log_prob
from vae_anomaly.model.vae import VAE


@dataclass(frozen=True)
class Terms:
    """The two terms of the ELBO."""

    cells: Tensor  # (members, rows, cells): expected log-likelihood of each cell
    kl: Tensor  # (members, rows)

    def elbo(self, beta: float = 1.0) -> Tensor:
        """Expected log-likelihood minus ``beta`` times the KL, (members, rows)."""
        return self.cells.sum(-1) - beta * self.kl


class Objective(Protocol):
    """What a model can be trained on and scored by."""

    def terms(self, vae: VAE, x: Tensor, prior: Prior, noise: Tensor) -> Terms:
        """Terms of each row; ``noise`` is (draws, members or 1, rows or 1, latents), standard normal."""


@dataclass(frozen=True)
class ELBO:
    """E_q[log p(x|z)] - KL(q(z|x) || p(z)), the expectation over reparameterised draws (arXiv 1312.6114)."""

    def terms(self, vae: VAE, x: Tensor, prior: Prior, noise: Tensor) -> Terms:
        """Decode the draws; the KL, or its bound, needs none."""
        mean, log_var = vae.encode(x)
        return Terms(expected_log_prob(vae, x, mean, log_var, noise), prior.kl(mean, log_var))


def expected_log_prob(vae: VAE, x: Tensor, mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """Mean log density of each cell over draws from the posterior, (members, rows, cells)."""
    z = mean + (0.5 * log_var).exp() * noise
    log_prob = vae.log_prob(x, z)
    return log_prob.mean(0) if vae.training else log_prob.mT.mean(0).mT  # rows lie side by side: a tenth of the time


@dataclass(frozen=True)
class Reconstruction:
    """The plain autoencoder: decode the code itself; no prior, no KL."""

    def terms(self, vae: VAE, x: Tensor, prior: Prior, noise: Tensor) -> Terms:
        """Minus the squared errors; ``prior`` and ``noise`` are not used."""
        mean, _ = vae.encode(x)
        cells = vae.log_prob(x, mean[None]).squeeze(0)
        return Terms(cells, torch.zeros_like(cells[..., 0]))


def importance_weighted_bound(vae: VAE, x: Tensor, prior: Prior, noise: Tensor) -> Tensor:
    """Log of the mean of p(x, z) / q(z|x) over the draws, (members, rows): between the ELBO and log p(x).

    Burda, Grosse and Salakhutdinov, arXiv 1509.00519.
    """
    mean, log_var = vae.encode(x)
    z = mean + (0.5 * log_var).exp() * noise
    log_weights = vae.log_prob(x, z).sum(-1) + prior.log_prob(z) - normal_log_prob(z, mean, log_var)
    return log_weights.logsumexp(0) - math.log(len(noise))


def attributed_terms(
    objective: Objective, vae: VAE, x: Tensor, prior: Prior, noise: Tensor
) -> tuple[Terms, Tensor | None]:
    """Terms of each row, as the objective has them, and what each feature carries of the KL, where there is one.

    The second is (members, rows, features): the features of the encoder in its order, marks of missing cells included.
    """
    if not isinstance(objective, ELBO):
        return objective.terms(vae, x, prior, noise), None
    features = vae.features(x)
    with torch.enable_grad():
        seen = features.clone().requires_grad_()
        mean, log_var = vae.posterior(seen)
        code, log_var = mean.detach().requires_grad_(), log_var.detach()
        kl = prior.kl(code, log_var)
        (pull,) = torch.autograd.grad(kl.sum(), code)
        (slope,) = torch.autograd.grad((mean * pull).sum(), seen)  # as an argument it would load torch's compiler
    code = code.detach()
    expected = vae.likelihood.expected(vae.decode((code - prior.variance * pull)[None]), vae.shared).squeeze(0)
    carried = 0.5 * slope * (features - vae.likelihood.features(expected))
    return Terms(expected_log_prob(vae, x, code, log_var, noise), kl.detach()), carried
