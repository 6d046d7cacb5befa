"""Lower bounds on the log density of each row, in nats: training maximises them, and they are the scores.

They are sums over cells and latents, never averages over them. Expectations over the posterior are estimated with
``draws`` (draws, members or 1, rows or 1, latents) of mean 0 and variance 1: the figures are estimates of the bounds.
A ``posterior`` is the mean and the log variance that the caller has already encoded x to.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.model.priors import Prior, normal_log_prob
from vae_anomaly.model.vae import VAE

Posterior = tuple[Tensor, Tensor]  # mean and log variance, each (members, rows, latents)


@dataclass(frozen=True)
class Terms:
    """The two terms of the ELBO."""

    cells: Tensor  # (members, rows, cells): expected log-likelihood of each cell
    kl: Tensor  # (members, rows)

    def elbo(self, beta: float = 1.0, dtype: torch.dtype | None = None) -> Tensor:
        """Expected log-likelihood, summed in ``dtype``, minus ``beta`` times the KL, (members, rows)."""
        return self.cells.sum(-1, dtype=dtype) - beta * self.kl


class Objective(Protocol):
    """The verbs of every objective."""

    bound: ClassVar[str]  # the parameter of the detector, and the entry of the model file
    draw_sets: ClassVar[int]  # sets of draws from which a scorer chooses

    def draws(self, rng: np.random.Generator, count: int, latents: int) -> np.ndarray:
        """Draws (count, latents) that all rows to score share, in pairs of opposite sign: an even number has mean 0."""

    def terms(self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, posterior: Posterior | None = None) -> Terms:
        """Terms of each row that training maximises."""

    def score(self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, posterior: Posterior | None = None) -> Tensor:
        """Score of each row in each member, (members, rows)."""

    def attributed(
        self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, features: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Expected log-likelihood of each cell, part of the KL that each feature carries, and score of each row.

        They are (members, rows, cells), (members, rows, features) and (members, rows). The features are those of the
        encoder in its order, indicators of missing cells included.
        """


@dataclass(frozen=True)
class ELBO:
    """E_q[log p(x|z)] - KL(q(z|x) || p(z)), the expectation over reparameterised draws (arXiv 1312.6114)."""

    bound: ClassVar[str] = "elbo"
    draw_sets: ClassVar[int] = 32

    def draws(self, rng: np.random.Generator, count: int, latents: int) -> np.ndarray:
        """Signs, -1 or 1: a pair of opposite ones integrates the square of each latent exactly.

        Squares of normal draws vary, and the level of all scores would vary with them.
        """
        return opposite_pairs(rng.choice([-1.0, 1.0], (-(-count // 2), latents)), count)

    def terms(self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, posterior: Posterior | None = None) -> Terms:
        """Expected log-likelihood over the draws; the KL, or its upper bound, is in closed form."""
        mean, log_var = posterior or vae.encode(x)
        return Terms(_expected_log_prob(vae, x, mean, log_var, draws), prior.kl(mean, log_var))

    def score(self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, posterior: Posterior | None = None) -> Tensor:
        """The ELBO."""
        return self.terms(vae, x, prior, draws, posterior).elbo(dtype=torch.float64)

    def attributed(
        self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, features: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """First-order attribution of the KL: its gradient at the row times half the way from the expected row.

        The expected row is decoded from the mean of the prior's components, weighted by how well they explain the row.
        """
        features = vae.features(x)
        with torch.enable_grad():
            inputs = features.clone().requires_grad_()
            mean, log_var = vae.posterior(inputs)
            z, log_var = mean.detach().requires_grad_(), log_var.detach()
            kl = prior.kl(z, log_var)
            (pull,) = torch.autograd.grad(kl.sum(), z)
            (slope,) = torch.autograd.grad((mean * pull).sum(), inputs)  # grad_outputs would load torch's compiler
        z = z.detach()
        expected = vae.likelihood.expected(vae.decode(prior.nearby(z, log_var, pull)[None])).squeeze(0)
        carried = 0.5 * slope * (features - vae.likelihood.features(expected))
        terms = Terms(_expected_log_prob(vae, x, z, log_var, draws), kl.detach())
        return terms.cells, carried, terms.elbo(dtype=torch.float64)


@dataclass(frozen=True)
class IWAE(ELBO):
    """Log of the mean of p(x, z) / q(z|x) over the draws: between the ELBO and log p(x).

    Burda, Grosse and Salakhutdinov, arXiv 1509.00519. Only scores use it: training maximises the ELBO.
    """

    bound: ClassVar[str] = "iwae"
    draw_sets: ClassVar[int] = 1

    def draws(self, rng: np.random.Generator, count: int, latents: int) -> np.ndarray:
        """Standard normal draws: importance weights need the posterior's own distribution."""
        return opposite_pairs(rng.standard_normal((-(-count // 2), latents)), count)

    def score(self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, posterior: Posterior | None = None) -> Tensor:
        """The importance-weighted bound."""
        mean, log_var = posterior or vae.encode(x)
        z = mean + (0.5 * log_var).exp() * draws
        log_weights = (
            vae.log_prob(x, z).sum(-1, dtype=torch.float64) + prior.log_prob(z) - normal_log_prob(z, mean, log_var)
        )
        return log_weights.logsumexp(0) - math.log(len(draws))

    def attributed(
        self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, features: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attribution of the ELBO's terms, and the score."""
        cells, carried, _ = super().attributed(vae, x, prior, draws)
        return cells, carried, self.score(vae, x, prior, draws)


@dataclass(frozen=True)
class Reconstruction:
    """Minus the squared reconstruction error of a plain autoencoder: no prior and no KL, and draws are not used."""

    bound: ClassVar[str] = "elbo"
    draw_sets: ClassVar[int] = 1

    def draws(self, rng: np.random.Generator, count: int, latents: int) -> np.ndarray:
        """Zeros."""
        return np.zeros((count, latents))

    def terms(self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, posterior: Posterior | None = None) -> Terms:
        """Minus the squared errors, decoded from the latent means; the KL is 0."""
        mean, _ = posterior or vae.encode(x)
        cells = vae.log_prob(x, mean[None]).squeeze(0)
        return Terms(cells, torch.zeros_like(cells[..., 0]))

    def score(self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, posterior: Posterior | None = None) -> Tensor:
        """Minus the squared error of each row."""
        return self.terms(vae, x, prior, draws, posterior).elbo(dtype=torch.float64)

    def attributed(
        self, vae: VAE, x: Tensor, prior: Prior, draws: Tensor, features: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Minus the squared error of each cell; there is no KL to carry."""
        terms = self.terms(vae, x, prior, draws)
        return (
            terms.cells,
            torch.zeros_like(vae.likelihood.features(x)).expand(vae.n_estimators, -1, -1),
            terms.elbo(dtype=torch.float64),
        )


OBJECTIVES: dict[tuple[bool, str], Objective] = {  # by whether the model is variational, and its bound
    (True, "elbo"): ELBO(),
    (True, "iwae"): IWAE(),
    (False, "elbo"): Reconstruction(),
}


def opposite_pairs(half: np.ndarray, count: int) -> np.ndarray:
    """The first ``count`` of the draws ``half`` (draws, latents) followed by the same with the other sign."""
    return np.concatenate([half, -half])[:count]


def _expected_log_prob(vae: VAE, x: Tensor, mean: Tensor, log_var: Tensor, draws: Tensor) -> Tensor:
    """Mean log density of each cell over draws from the posterior, (members, rows, cells)."""
    z = mean + (0.5 * log_var).exp() * draws
    log_prob = vae.log_prob(x, z)
    if vae.training:
        return log_prob.mean(0)
    return log_prob.mT.mean(0).mT  # a tenth of the time: in scoring, rows are contiguous in memory
