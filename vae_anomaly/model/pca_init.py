"""Where the nets start: principal component analysis as the linear path of encoder and decoder.

Before the first step the encoder is the projection on the principal directions and the decoder undoes it, so that
training begins at a model that is already a density of the table: a kernel density in the code (exemplar prior) or
probabilistic principal component analysis (Gaussian prior; Tipping and Bishop 1999).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.model.likelihoods import START_SCALE
from vae_anomaly.model.nearest import NEAREST, leave_one_out_bandwidth
from vae_anomaly.model.networks import MemberLinear

NOISE_SHARE = 0.5  # of the bandwidth: the noise of a cell that the code tells in full
LEAST_NOISE = 0.02  # of a standardised number
MAX_ROWS = 10_000
DISTINCT_ROWS = 4096  # rows among which the bandwidth is found, each once


def deviations(rows: np.ndarray) -> np.ndarray:
    """Standard deviation of each column."""
    return rows.std(0)


def ranges(rows: np.ndarray) -> np.ndarray:
    """Distance from the least to the largest value of each column."""
    return np.ptp(rows, 0)


Unit = Callable[[np.ndarray], np.ndarray]
UNITS: tuple[Unit, ...] = (deviations, ranges)


@dataclass(frozen=True)
class Anchor:
    """An affine encoder ``(f - centre) @ encode`` with log variances, and the decoder ``z @ decode`` that undoes it."""

    centre: Tensor  # (features,)
    encode: Tensor  # (features, latents)
    decode: Tensor  # (latents, features)
    log_var: Tensor  # (latents,)
    log_bandwidth: Tensor  # ()
    noise: Tensor  # (features,) scale

    def to(self, device: torch.device) -> "Anchor":
        """The same on another device."""
        return Anchor(*(getattr(self, part.name).to(device) for part in fields(self)))

    def place(self, member: int, encoder: MemberLinear, decoder: MemberLinear, outputs: Tensor, gains: Tensor) -> None:
        """Write a member's linear paths; ``outputs`` and ``gains`` say how features become outputs of the decoder."""
        k = self.encode.shape[1]
        encoder.weight[member, :, :k] = self.encode
        encoder.bias[member, :, :k] = -self.centre @ self.encode
        encoder.bias[member, :, k:] = self.log_var
        decoder.weight[member] = self.decode[:, : len(outputs)] * gains
        decoder.bias[member] = outputs


def fit_exemplar_anchor(
    features: Tensor,
    n_components: int,
    member: int,
    *,
    seed: int,
    one_scale: bool = False,
    common_noise: bool = False,
) -> Anchor:
    """Kernel density on the principal directions, in units of the member's own.

    Members measure the columns differently, the even ones by the standard deviation, the odd ones by the range: which
    of the two tells odd rows better differs by table, and unlike members help one another. The bandwidth is that of
    the greatest leave-one-out likelihood; what the code does not tell of a column is its noise.

    Parameters
    ----------
    features : Tensor
        (rows, features), float64, in the processor's memory, in random order; of a long table, its `anchor_rows`.
    n_components : int
        Latents; those beyond the rank of the features start unused.
    member : int
        Place in the ensemble.
    seed : int
        For the randomised solver that scikit-learn takes for wide tables.
    one_scale : bool
        Whether the columns are of one measure already, as pixels are.
    common_noise : bool
        Whether the noise of every column is the same share of its unit, which then is the range for all members.
    """
    unit = ranges if common_noise else UNITS[member % len(UNITS)]
    units = torch.ones(features.shape[1]) if one_scale else torch.as_tensor(_units(features.numpy(), unit))
    rows = features / units
    centre, directions, _ = _principal(rows, n_components, seed)
    codes = (rows - centre) @ directions.T
    _, first = np.unique(features[:DISTINCT_ROWS].numpy(), axis=0, return_index=True)
    bandwidth = torch.tensor(leave_one_out_bandwidth(codes[np.sort(first)], NEAREST), dtype=features.dtype)
    noise = NOISE_SHARE * bandwidth
    untold = (rows - centre - codes @ directions).square().mean(0)
    left = untold + noise**2
    if common_noise:
        left = left.mean().expand_as(left)
    used = directions.any(1)  # the posterior of a latent that nothing depends on is the kernel, at a KL of 0
    variance = torch.where(used, 1 / (bandwidth**-2 + noise**-2), bandwidth**2)
    return Anchor(
        centre * units,
        (directions / units).T.contiguous(),
        directions * units,
        variance.log(),
        bandwidth.log(),
        (left.sqrt() * units).clamp_min(LEAST_NOISE),
    )


def fit_gaussian_anchor(features: Tensor, n_components: int, *, seed: int) -> Anchor:
    """Posterior and decoder of probabilistic PCA with the noise scale that training starts at.

    Parameters as of `fit_exemplar_anchor`; members have it alike.
    """
    centre, directions, variances = _principal(features, n_components, seed)
    noise = START_SCALE**2
    used = directions.any(1)  # the posterior of a latent that nothing depends on is the prior, at a KL of 0
    signal = (variances - noise).clamp_min(1e-2 * noise) * used
    total = signal + noise
    encode = directions.T * (signal.sqrt() / total)
    decode = directions * signal.sqrt()[:, None]
    return Anchor(
        centre, encode, decode, (noise / total).log(), features.new_zeros(()), torch.full_like(centre, START_SCALE)
    )


def anchor_rows(n_rows: int, seed: int) -> np.ndarray:
    """Places of all rows, or of enough drawn from everywhere, in random order."""
    return np.random.default_rng(seed).permutation(n_rows)[:MAX_ROWS]


def _units(rows: np.ndarray, unit: Unit) -> np.ndarray:
    """Unit of each column, 1 for a constant one; scaled so that the standard deviation is typically 1."""
    spread, units = deviations(rows), unit(rows)
    moving = spread > 1e-6
    typical = np.exp(np.log(spread[moving] / units[moving]).mean()) if moving.any() else 1.0
    return np.where(moving, units * typical, 1.0)


def _principal(features: Tensor, n_components: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centre, directions (latents, features) and variances along them; zeros and ones beyond the rank."""
    rows = features.numpy()
    rank = min(n_components, *rows.shape)
    if rows.std(0).max() < 1e-6:  # one row, or rows all alike: there is no direction to take
        directions, variances = torch.zeros(rank, rows.shape[1]), torch.ones(rank)
    else:
        from sklearn.decomposition import PCA  # brings in half of scikit-learn, and most fits need no anchor

        pca = PCA(rank, random_state=seed).fit(rows)
        directions, variances = torch.as_tensor(pca.components_), torch.as_tensor(pca.explained_variance_)
    pad = (0, n_components - rank)
    directions = torch.nn.functional.pad(directions.double(), (0, 0, *pad))
    variances = torch.nn.functional.pad(variances.double(), pad, value=1.0)
    return torch.as_tensor(rows.mean(0)), directions, variances
