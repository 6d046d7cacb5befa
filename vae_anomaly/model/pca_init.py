"""Initial weights from a principal component analysis, as the linear path of encoder and decoder.

Before the first step the encoder projects onto the principal directions and the decoder inverts it, so training begins
at a model that is already a density of the table: a kernel density of the latents (exemplar prior) or probabilistic
principal component analysis (Gaussian prior; Tipping and Bishop 1999).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.model.likelihoods import START_SCALE
from vae_anomaly.model.nearest import NEAREST, leave_one_out_bandwidth

NOISE_FRACTION = 0.5  # of the bandwidth: the noise scale of a cell that the latents determine
LEAST_NOISE = 0.02  # of a standardised number
MAX_ROWS = 10_000
EXACT_SIDE = 2000  # rows or features up to which the principal components are exact
RANK_TOLERANCE = 1e-10  # of the largest variance: below it lies rounding
LEAST_VARIANCE = 1e-12  # of a column in which all rows are equal up to rounding


def deviations(rows: np.ndarray) -> np.ndarray:
    """Standard deviation of each column."""
    return rows.std(0)


def ranges(rows: np.ndarray) -> np.ndarray:
    """Distance from the least to the largest value of each column."""
    return np.ptp(rows, 0)


Unit = Callable[[np.ndarray], np.ndarray]
UNITS: tuple[Unit, ...] = (deviations, ranges)


@dataclass(frozen=True)
class PCAInit:
    """An affine encoder ``(f - centre) @ encode`` with log variances, and its inverse, the decoder ``z @ decode``.

    All tensors are float64, in the processor's memory.
    """

    centre: Tensor  # (features,)
    encode: Tensor  # (features, latents)
    decode: Tensor  # (latents, features)
    log_var: Tensor  # (latents,)
    log_bandwidth: Tensor  # ()
    noise_scale: Tensor  # (features,)


def fit_exemplar_init(
    features: Tensor,
    n_components: int,
    member: int,
    *,
    seed: int,
    one_scale: bool = False,
    common_noise: bool = False,
) -> PCAInit:
    """Kernel density on the principal directions, of columns in the member's own units.

    Members measure the columns differently, even ones by the standard deviation, odd ones by the range: the better of
    the two differs by table, and members that differ complement one another. The bandwidth is that of the greatest
    leave-one-out likelihood; the residual of a column is its noise.

    Parameters
    ----------
    features : Tensor
        (rows, features), float64, in the processor's memory, in random order; of a long table, its `pca_rows`.
    n_components : int
        Latents; those beyond the rank of the features start unused.
    member : int
        Index in the ensemble.
    seed : int
        For the randomised solver that scikit-learn uses for wide tables.
    one_scale : bool
        Whether the columns have one measure already, as pixels have.
    common_noise : bool
        Whether the noise scale of every column is the same fraction of its unit, which is the range for all members.
    """
    distinct_rows = 4096  # rows among which the bandwidth is found, each once
    unit = ranges if common_noise else UNITS[member % len(UNITS)]
    units = torch.ones(features.shape[1]) if one_scale else torch.as_tensor(_column_units(features.numpy(), unit))
    rows = features / units
    centre, directions, _ = _principal(rows, n_components, seed)
    z = (rows - centre) @ directions.T
    _, first = np.unique(features[:distinct_rows].numpy(), axis=0, return_index=True)
    bandwidth = torch.tensor(leave_one_out_bandwidth(z[np.sort(first)], NEAREST)[0], dtype=features.dtype)
    noise = NOISE_FRACTION * bandwidth
    residual = (rows - centre - z @ directions).square().mean(0)
    noise_variance = residual + noise**2
    if common_noise:
        noise_variance = noise_variance.mean().expand_as(noise_variance)
    used = directions.any(1)  # the posterior of an unused latent is the kernel, at a KL of 0
    variance = torch.where(used, 1 / (bandwidth**-2 + noise**-2), bandwidth**2)
    return PCAInit(
        centre * units,
        (directions / units).T.contiguous(),
        directions * units,
        variance.log(),
        bandwidth.log(),
        (noise_variance.sqrt() * units).clamp_min(LEAST_NOISE),
    )


def fit_gaussian_init(features: Tensor, n_components: int, *, seed: int) -> PCAInit:
    """Posterior and decoder of probabilistic PCA with the noise scale that training starts at.

    The parameters are those of `fit_exemplar_init`; it is the same for all members.
    """
    centre, directions, variances = _principal(features, n_components, seed)
    noise = START_SCALE**2
    used = directions.any(1)  # the posterior of an unused latent is the prior, at a KL of 0
    signal = (variances - noise).clamp_min(1e-2 * noise) * used
    total = signal + noise
    encode = directions.T * (signal.sqrt() / total)
    decode = directions * signal.sqrt()[:, None]
    return PCAInit(
        centre, encode, decode, (noise / total).log(), features.new_zeros(()), torch.full_like(centre, START_SCALE)
    )


def pca_rows(n_rows: int, seed: int) -> np.ndarray:
    """Indices of all rows, or of 10,000 drawn uniformly, in random order."""
    return np.random.default_rng(seed).permutation(n_rows)[:MAX_ROWS]


def _column_units(rows: np.ndarray, unit: Unit) -> np.ndarray:
    """Unit of each column, 1 for a constant one; scaled so that the standard deviation is typically 1."""
    spread, units = deviations(rows), unit(rows)
    varying = spread > 1e-6
    typical = np.exp(np.log(spread[varying] / units[varying]).mean()) if varying.any() else 1.0
    return np.where(varying, units * typical, 1.0)


def _principal(features: Tensor, n_components: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centre, directions (latents, features) and variances along them; zeros and ones beyond the rank."""
    rows = features.numpy()
    centre, rank = rows.mean(0), min(n_components, *rows.shape)
    if min(rows.shape) <= EXACT_SIDE:
        variances, directions = _eigenvectors(rows - centre, rank)
    else:
        from sklearn.decomposition import PCA  # loads half of scikit-learn, and most fits do without

        pca = PCA(rank, random_state=seed).fit(rows)
        variances, directions = pca.explained_variance_, pca.components_
    pad = (0, n_components - len(variances))
    padded = torch.nn.functional.pad(torch.as_tensor(directions), (0, 0, *pad))
    return torch.as_tensor(centre), padded, torch.nn.functional.pad(torch.as_tensor(variances), pad, value=1.0)


def _eigenvectors(centred: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest variances and their directions (directions, features), at most ``most`` and only those above rounding.

    The largest entry of a direction is positive.
    """
    n_rows, of_rows = len(centred), len(centred) < centred.shape[1]
    if not centred.shape[1]:  # all columns count by their shape alone
        return np.empty(0), np.empty((0, 0))
    squares, vectors = np.linalg.eigh(_products(centred))  # ascending
    kept = np.flatnonzero((squares > RANK_TOLERANCE * squares[-1]) & (squares > n_rows * LEAST_VARIANCE))[::-1][:most]
    squares, vectors = squares[kept], vectors[:, kept].T
    directions = (vectors @ centred) / np.sqrt(squares)[:, None] if of_rows else vectors
    largest = np.abs(directions).argmax(1)[:, None]
    return squares / max(1, n_rows - 1), directions * np.sign(np.take_along_axis(directions, largest, 1))


def _products(rows: np.ndarray) -> np.ndarray:
    """Products of the columns, or of the rows if they are fewer: both have the same eigenvalues, except for zeros."""
    products: np.ndarray = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    return products


def standardised_variances(features: Tensor) -> np.ndarray:
    """Variances along the principal components of the standardised features (rows, features), the largest first."""
    rows = features.numpy()
    rows = (rows - rows.mean(0)) / _column_units(rows, deviations)
    return np.linalg.eigvalsh(_products(rows))[::-1].clip(0.0) / len(rows)


def count_components(variances: np.ndarray, *, usual: int, most: int, fraction: float) -> int:
    """Number of principal components to use, given the variances along them, the largest first.

    They are the ``usual`` number, or as many as carry this ``fraction`` of the variance, up to ``most``, but no
    component without variance: there all rows are alike.
    """
    used = np.count_nonzero(variances > RANK_TOLERANCE * variances[0])
    carrying = 1 + np.searchsorted(variances.cumsum(), fraction * variances.sum())
    return max(1, min(max(usual, int(carrying)), most, int(used)))
