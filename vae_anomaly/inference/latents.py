"""What the training rows made of each latent: which are in use, and how far their codes reach."""

from dataclasses import dataclass

import numpy as np

ACTIVE = 0.01  # share of a latent's variance that must tell rows apart


@dataclass(frozen=True)
class Latents:
    """Figures of each latent, lists of one length.

    ``mean`` and ``deviation`` are those of the posterior means over the rows, ``noise`` is the posterior's own root
    mean square deviation, ``kl`` the mean Kullback-Leibler divergence in nats. The divergence is that from the prior
    where this is the standard normal; a prior of exemplars does not fall apart into latents, and it is that from the
    normal density that has the latent's own mean and variance.
    """

    mean: list[float]
    deviation: list[float]
    noise: list[float]
    kl: list[float]

    @classmethod
    def of(cls, means: np.ndarray, variances: np.ndarray, *, standard: bool) -> "Latents":
        """From posterior means and variances, (rows, latents); ``variances`` is 0 for a plain autoencoder."""
        centre, spread, noise = means.mean(0), means.var(0), variances.mean(0)
        around = np.zeros_like(centre) if standard else centre
        total = np.ones_like(centre) if standard else spread + noise
        with np.errstate(divide="ignore", invalid="ignore"):
            each = 0.5 * (variances / total + (means - around) ** 2 / total - 1 - np.log(variances / total))
        kl = np.where(noise > 0, each.mean(0), 0.0)
        return cls(centre.tolist(), np.sqrt(spread).tolist(), np.sqrt(noise).tolist(), kl.tolist())

    @property
    def active(self) -> np.ndarray:
        """Whether each latent tells rows apart: an active unit (Burda et al., arXiv 1509.00519)."""
        spread, noise = np.square(self.deviation), np.square(self.noise)
        return spread > ACTIVE * (spread + noise)

    @property
    def reach(self) -> np.ndarray:
        """Standard deviation of each latent's codes, posterior noise included; 1 where there is none."""
        total = np.hypot(self.deviation, self.noise)
        return np.where(total > 0, total, 1.0)
