"""From what a table's cells are to a model of them: densities, sizes, and where the weights start."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.model.anchor import anchor_rows, fit_exemplar_anchor, fit_gaussian_anchor
from vae_anomaly.model.convolutions import Shape
from vae_anomaly.model.likelihoods import (
    Bernoulli,
    BernoulliPixels,
    Categorical,
    Gaussian,
    Likelihood,
    Mixed,
    SquaredError,
    StudentT,
)
from vae_anomaly.model.vae import VAE
from vae_anomaly.tables import Cell, Cells, parts
from vae_anomaly.training.settings import Settings

NUMBER_LIKELIHOODS: dict[str, Callable[[tuple[float, ...]], Likelihood]] = {
    "gaussian": Gaussian,
    "student_t": StudentT,
    "bernoulli": BernoulliPixels,
}
MIN_EXEMPLAR_ROWS = 10
MOST_LATENTS = 16
CHANNELS = (16, 32)
GRAY, MOST_GRAY = 0.1, 0.2  # how far from black and white, and the share of such pixels in black and white images


@dataclass(frozen=True)
class Design:
    """The sizes of a model, every "auto" resolved."""

    n_components: int
    hidden_layer_sizes: tuple[int, ...]
    n_estimators: int
    prior: str
    variational: bool
    anchored: bool
    convolutional: bool
    image_shape: Shape | None

    @property
    def exemplars(self) -> bool:
        """Whether the prior sits on training rows; a plain autoencoder has no prior."""
        return self.variational and self.prior == "exemplar"

    def build(self, likelihood: Likelihood) -> VAE:
        """A model with all weights zero, on torch's current default device."""
        shape = self.image_shape if self.convolutional else None
        return VAE(likelihood, self.n_components, self.hidden_layer_sizes, self.n_estimators, shape)


def cells_likelihood(
    cells: Sequence[Cell], *, n_rows: int, numbers: str, variational: bool, indicators: tuple[int, ...]
) -> Mixed:
    """Density of an encoded table, whose cells are numbers first, then flags, then codes.

    A value never seen in training has, at first, the weight of one row among ``n_rows``. ``numbers`` names the density
    of numbers.
    """
    unseen = 1 / (n_rows + 1)
    floors = tuple(cell.floor for cell in cells if cell.kind == "number")
    n_flags = sum(cell.kind == "flag" for cell in cells)
    blocks: list[Likelihood] = [NUMBER_LIKELIHOODS[numbers](floors)] if floors else []
    blocks += [Bernoulli(n_flags, unseen)] if n_flags else []
    blocks += [Categorical(cell.n_codes, unseen, cell.spread) for cell in cells if cell.kind == "code"]
    if not variational:
        blocks = [SquaredError(block) for block in blocks]
    return Mixed(tuple(blocks), indicators)


def number_likelihood(settings: Settings, x: Cells) -> str:
    """Name of the density of numbers, given the encoded rows.

    Heavy tails where odd cells in training would else widen the noise of all. Pixels that are nearly all black or white
    are Bernoulli; of a gray one that says too little, and codes that tell grays apart need a noise scale to learn.
    """
    if settings.likelihood != "auto":
        return settings.likelihood
    if settings.convolutional:
        gray = sum(int(((part > GRAY) & (part < 1 - GRAY)).sum()) for part in parts(x))
        return "bernoulli" if gray < MOST_GRAY * len(x) * x.shape[1] else "gaussian"
    return "student_t" if settings.variational and not settings.anchored else "gaussian"


@dataclass(frozen=True)
class Loaded:
    """Encoded rows on their device, (rows, cells), and what is to be known of all of them.

    ``extent`` (2, cells) is the least and the largest of each cell, ``missing`` are the cells that some rows lack.
    """

    rows: Tensor
    extent: np.ndarray
    missing: tuple[int, ...]

    @classmethod
    def of(cls, x: Cells, dtype: torch.dtype, device: torch.device) -> "Loaded":
        """From encoded rows; long tables are encoded a few rows at a time, and never held in float64."""
        rows, first = _room(x, dtype, device), 0
        extent = np.full((2, x.shape[1]), np.nan)
        missing = np.zeros(x.shape[1], dtype=bool)
        for part in parts(x):
            rows[first : first + len(part)] = torch.as_tensor(part, dtype=dtype)
            extent = widened(extent, part)
            missing |= np.isnan(part).any(0)
            first += len(part)
        return cls(rows, extent, tuple(np.flatnonzero(missing).tolist()))


def widened(extent: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The least and the largest of each cell, (2, cells), with those of more rows ``x`` (rows, cells)."""
    lows, highs = extent
    return np.stack([np.fmin(lows, np.fmin.reduce(x)), np.fmax(highs, np.fmax.reduce(x))])


def _room(x: Cells, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Room for these rows: pixels lie column by column, as their schema gives them."""
    n_rows, n_cells = x.shape
    if x[:2].flags.c_contiguous:
        return torch.empty(n_rows, n_cells, dtype=dtype, device=device)
    return torch.empty(n_cells, n_rows, dtype=dtype, device=device).T


def make_design(settings: Settings, n_rows: int, n_features: int, *, one_measure: bool = False) -> Design:
    """Choose what was left to "auto"; ``one_measure`` says whether the columns are of one, as pixels are.

    A prior that follows the rows needs rows to follow: below 10 it is the standard normal. The plain autoencoder
    compresses, so its code is at most half as wide as what it sees.
    """
    latents = _latents(settings, n_features) if settings.n_components == "auto" else settings.n_components
    members = _members(settings) if settings.n_estimators == "auto" else settings.n_estimators
    return Design(
        n_components=int(latents),
        hidden_layer_sizes=tuple(int(width) for width in _sizes(settings)),
        n_estimators=int(members),
        prior=_prior(settings, n_rows, one_measure) if settings.prior == "auto" else settings.prior,
        variational=settings.variational,
        anchored=settings.anchored and not settings.convolutional,
        convolutional=settings.convolutional,
        image_shape=None if settings.image_shape is None else _shape(settings.image_shape),
    )


def _sizes(settings: Settings) -> Sequence[int]:
    """Widths of layers; channels of convolutions, as many as the sides of an image can be halved."""
    if not isinstance(settings.hidden_layer_sizes, str):
        return settings.hidden_layer_sizes
    if settings.image_shape is None or not settings.convolutional:
        return 64, 64
    return CHANNELS[: max(1, min(_shape(settings.image_shape)[1:]).bit_length() - 1)]


def _shape(sizes: Sequence[int]) -> Shape:
    channels, height, width = (int(size) for size in sizes)
    return channels, height, width


def _latents(settings: Settings, n_features: int) -> int:
    if not settings.variational:
        return max(1, min(n_features // 2, MOST_LATENTS if settings.represents else 8))
    return min(n_features, MOST_LATENTS if settings.represents or not settings.novelty else 2 * MOST_LATENTS)


def _members(settings: Settings) -> int:
    """Two that measure columns differently (see the anchor), or three that differ by chance.

    A code needs one, and so do pixels, which are all of one measure.
    """
    if settings.represents or (settings.novelty and settings.image_shape is not None):
        return 1
    return 2 if settings.novelty else 3


def _prior(settings: Settings, n_rows: int, one_measure: bool) -> str:
    """Rows to rest on, if there are enough.

    The code of a table has a standard normal prior, under which each latent has a meaning of its own and missing cells
    are filled better. Where the columns are of one measure, how far rows lie apart means something, and their codes
    tell classes apart better where they may gather around one another (benchmarks/results/features.md).
    """
    few = n_rows < MIN_EXEMPLAR_ROWS
    return "gaussian" if few or (settings.represents and not one_measure) else "exemplar"


def start(vae: VAE, x: Tensor, design: Design, generator: torch.Generator, *, common_noise: bool = False) -> None:
    """Anchor the linear paths on the rows ``x``, if the design says so, and draw the rest."""
    anchors = []
    if design.anchored:
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator, device=generator.device))
        features = vae.likelihood.features(x[anchor_rows(len(x), seed)].cpu().double())
        if design.prior == "gaussian":
            anchors = [fit_gaussian_anchor(features, design.n_components, seed=seed)] * design.n_estimators
        else:
            fit = partial(
                fit_exemplar_anchor,
                features,
                design.n_components,
                seed=seed,
                one_scale=design.image_shape is not None,
                common_noise=common_noise,
            )
            anchors = [fit(member) for member in range(design.n_estimators)]
    vae.start([anchor.to(x.device) for anchor in anchors], x, generator)
