"""Where the nets start: principal component analysis as the linear path of encoder and decoder.

Before the first step the encoder is the projection on the principal directions and the decoder its transpose, so that
training begins at a model that is already a density of the table: a kernel density in the code (exemplar prior) or
probabilistic principal component analysis (Gaussian prior; Tipping and Bishop 1999).
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from vae_anomaly.model.likelihoods import START_SCALE
from vae_anomaly.model.networks import MemberLinear

START_DEVIATION = 0.1  # of the posterior, on codes that are not whitened
MAX_ROWS = 10_000


@dataclass(frozen=True)
class Anchor:
    """An affine encoder ``(f - centre) @ encode`` with log variances, and the decoder ``z @ decode`` that undoes it."""

    centre: Tensor  # (features,)
    encode: Tensor  # (features, latents)
    decode: Tensor  # (latents, features)
    log_var: Tensor  # (latents,)
    deviation: Tensor  # (latents,) of the codes

    def to(self, device: torch.device) -> "Anchor":
        """The same on another device."""
        return Anchor(*(getattr(self, part.name).to(device) for part in fields(self)))

    def place(self, encoder: MemberLinear, decoder: MemberLinear, outputs: Tensor, gains: Tensor) -> None:
        """Write the linear paths; ``outputs`` and ``gains`` say how features become outputs of the decoder."""
        k = self.encode.shape[1]
        encoder.weight[:, :, :k] = self.encode
        encoder.bias[:, :, :k] = -self.centre @ self.encode
        encoder.bias[:, :, k:] = self.log_var
        decoder.weight[:] = self.decode[:, : len(outputs)] * gains
        decoder.bias[:] = outputs

    def log_bandwidth(self, n_rows: int) -> Tensor:
        """Scott's rule for a kernel density of ``n_rows`` rows; training takes it from there."""
        k = len(self.deviation)
        return (self.deviation * max(n_rows, 2) ** (-1 / (k + 4))).clamp_min(0.05).log()


def fit_anchor(features: Tensor, n_components: int, *, whiten: bool, seed: int) -> Anchor:
    """Principal directions of the encoder's features.

    Parameters
    ----------
    features : Tensor
        (rows, features), float64, in the processor's memory; of a long table, its `anchor_rows`.
    n_components : int
        Latents; those beyond the rank of the features start unused.
    whiten : bool
        Scale the codes to the standard normal, as a Gaussian prior has them; an exemplar prior keeps the table's
        distances.
    seed : int
        For the randomised solver that scikit-learn takes for wide tables.
    """
    rows = features.numpy()
    rank = min(n_components, *rows.shape)
    centre = rows.mean(0)
    if rows.std(0).max() < 1e-6:  # one row, or rows all alike: there is no direction to take
        directions, variances = torch.zeros(rank, rows.shape[1]), torch.ones(rank)
    else:
        pca = PCA(rank, random_state=seed).fit(rows)
        directions, variances = torch.as_tensor(pca.components_), torch.as_tensor(pca.explained_variance_)
    pad = (0, n_components - rank)
    directions = torch.nn.functional.pad(directions.double(), (0, 0, *pad))
    variances = torch.nn.functional.pad(variances.double(), pad, value=1.0)
    if whiten:
        return _probabilistic(centre, directions, variances)
    log_var = torch.full((n_components,), 2 * math.log(START_DEVIATION))
    return Anchor(torch.as_tensor(centre), directions.T, directions, log_var, variances.clamp_min(1e-6).sqrt())


def anchor_rows(n_rows: int, seed: int) -> np.ndarray:
    """Places of all rows, or of enough drawn from everywhere: the first rows of a sorted table are no sample of it."""
    if n_rows <= MAX_ROWS:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(seed).choice(n_rows, MAX_ROWS, replace=False))


def _probabilistic(centre: np.ndarray, directions: Tensor, variances: Tensor) -> Anchor:
    """Posterior and decoder of probabilistic PCA with the noise scale that training starts at."""
    noise = START_SCALE**2
    used = directions.any(1)  # the posterior of a latent that nothing depends on is the prior, at a KL of 0
    signal = (variances - noise).clamp_min(1e-2 * noise) * used
    total = signal + noise
    encode = directions.T * (signal.sqrt() / total)
    decode = directions * signal.sqrt()[:, None]
    return Anchor(torch.as_tensor(centre), encode, decode, (noise / total).log(), torch.ones_like(total))
