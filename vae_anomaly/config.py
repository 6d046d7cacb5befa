"""From the parameters of a detector to the settings of a fit: every "auto" is resolved here and nowhere else."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils._param_validation import InvalidParameterError

from vae_anomaly.data.columns import Cell, CodeCell, FlagCell, NumberCell
from vae_anomaly.data.schema import EncodedMatrix, parts
from vae_anomaly.errors import DeviceError
from vae_anomaly.model.convolutions import Shape
from vae_anomaly.model.likelihoods import NUMBER_LIKELIHOODS, Bernoulli, Categorical, Likelihood, Mixed, SquaredError
from vae_anomaly.model.vae import VAE
from vae_anomaly.training.trainer import FenceTrimming, FixedTrimming, Plan, Trimming

LEAST_SIDE = 16  # pixels of an image that is convolved; in smaller ones there is little that repeats


@dataclass(frozen=True)
class Settings:
    """The detector's parameters that decide what is trained; their meaning stands at `VAEDetector`."""

    purpose: str
    n_components: int | str
    hidden_layer_sizes: Sequence[int] | str
    likelihood: str
    prior: str
    beta: float
    bound: str
    variational: bool
    image_shape: Sequence[int] | None
    n_estimators: int | str
    novelty: bool
    contamination: float | str
    calibration: str
    max_iter: int | str
    batch_size: int | str
    learning_rate: float
    validation_fraction: float
    n_draws: int
    device: str
    precision: str

    @property
    def anchored(self) -> bool:
        """Whether training starts at principal directions: where the training rows are taken as they are."""
        return self.novelty or self.represents

    @property
    def represents(self) -> bool:
        """Whether the code is the purpose, not the score."""
        return self.purpose == "representation"

    @property
    def convolutional(self) -> bool:
        """Whether the nets are convolutions: their codes of images are the better ones, their scores are not.

        Codes of small images are better where the nets start at principal components, as for tables (8 x 8 digits:
        benchmarks/results/representation.md).
        """
        return self.represents and self.image_shape is not None and min(self.image_shape[1:]) >= LEAST_SIDE

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """The settings among the parameters of a detector; numpy's numbers become Python's, which JSON can hold."""
        values = {field.name: parameters[field.name] for field in fields(cls)}
        plain = {name: v.tolist() if isinstance(v, np.generic | np.ndarray) else v for name, v in values.items()}
        return cls(**plain)


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse what the constraints of single parameters cannot see."""
    sizes = parameters["hidden_layer_sizes"]
    whole = isinstance(sizes, str) or all(isinstance(size, Integral) and int(size) > 0 for size in sizes)
    if not whole or not len(sizes):
        raise InvalidParameterError(
            f"The 'hidden_layer_sizes' parameter must be 'auto' or whole numbers from 1 up. Got {sizes!r}."
        )
    if parameters["image_shape"] is not None:
        layers = 1 if isinstance(sizes, str) else len(sizes)
        _check_images(parameters["image_shape"], layers * (parameters["purpose"] == "representation"))
    elif parameters["likelihood"] == "bernoulli":
        raise InvalidParameterError(
            "likelihood='bernoulli' is for pixels: give the image_shape, or leave it to 'auto'."
        )
    if parameters["checkpoint"] is not None and parameters["random_state"] in (None, np.random):
        raise InvalidParameterError(
            "A fit with a checkpoint needs a number as 'random_state': without one no other fit could go on from it."
        )
    densities = {"bound": "iwae", "prior": "exemplar", "likelihood": "student_t"}
    asked = [f"{name}={value!r}" for name, value in densities.items() if parameters[name] == value]
    if asked and not parameters["variational"]:
        raise InvalidParameterError(
            f"A plain autoencoder (variational=False) has no density, so {asked[0]} has no meaning. Leave it out."
        )


def _check_images(image_shape: Sequence[Any], convolutions: int) -> None:
    """Refuse shapes that are none, and images whose sides cannot be halved so often."""
    shape = list(image_shape)
    if len(shape) != 3 or not all(isinstance(size, Integral) and int(size) > 0 for size in shape):
        raise InvalidParameterError(
            f"The 'image_shape' parameter must be three whole numbers: channels, height and width. Got {shape!r}."
        )
    if LEAST_SIDE <= min(shape[1:]) < 2**convolutions:
        raise InvalidParameterError(
            f"Images of {shape[2]} x {shape[1]} pixels are too small for {convolutions} convolutions, "
            "each of which halves the sides."
        )


def plain(value: Any) -> Any:
    """A parameter as JSON has it; what JSON cannot hold (a generator, callbacks) is not kept."""
    match value:
        case np.generic():
            return value.item()
        case np.ndarray() | list() | tuple():
            items = [plain(item) for item in value]
            return None if None in items else items
        case str() | bool() | int() | float():
            return value
        case _:
            return None


WARM_UP = 0.2  # share of the steps, where a code is learned
IMAGE_BATCH, IMAGE_EPOCHS = 128, 30
TABLE_EXEMPLARS = 512  # a step, where a code is learned and the nets are quick
MIN_HELD_OUT = 10  # rows; fewer cannot tell when to stop


def make_plan(settings: Settings, n_rows: int, *, exemplars: bool, one_measure: bool = False) -> Plan:
    """Choose what was left to "auto".

    Both train short. In novelty detection an anchor with exemplars is near its best from the start: more steps find
    likelihood in directions that tell no odd row from a normal one (benchmarks/results/ablations.md), and held-out
    rows that stop gaining end it sooner. In outlier detection a net learns the frequent rows first and the odd ones
    later (ODIM, arXiv 2301.04257), and the oddest rows of each batch are left out. A representation takes long: all
    rows count, held-out rows say when it is done, and the KL is warmed up, so that latents are in use before they cost
    (Sønderby et al. 2016, arXiv 1602.02282); convolutions, which start from nothing, take longest.
    """
    usual = IMAGE_BATCH if settings.convolutional else 256
    batch = min(n_rows, usual if settings.batch_size == "auto" else int(settings.batch_size))
    held_out = round(settings.validation_fraction * n_rows) if settings.anchored else 0
    return Plan(
        max_iter=_steps(settings, n_rows, exemplars) if settings.max_iter == "auto" else int(settings.max_iter),
        batch_size=batch,
        learning_rate=settings.learning_rate,
        beta=settings.beta,
        trimming=_trimming(settings),
        held_out=held_out if held_out >= MIN_HELD_OUT else 0,
        warm_up=WARM_UP if settings.represents else 0.0,
        n_exemplars=TABLE_EXEMPLARS if settings.represents and not settings.convolutional else Plan.n_exemplars,
        common_noise=one_measure and _commons_noise(settings, exemplars),
    )


def _commons_noise(settings: Settings, exemplars: bool) -> bool:
    """Whether columns of one measure have one noise as well.

    With noise of their own, likelihood whitens them: a column that the code tells well has little noise, so it counts
    for more, so it is told better still; and what the columns have in common, which a code is for, counts for less.
    """
    asked = settings.likelihood in ("auto", "gaussian")
    return asked and settings.represents and (exemplars or settings.image_shape is not None)


def _steps(settings: Settings, n_rows: int, exemplars: bool) -> int:
    if settings.convolutional:
        return max(1000, min(IMAGE_EPOCHS * n_rows // IMAGE_BATCH, 5000))
    if settings.represents:
        return 1000
    if not settings.novelty:
        return 200
    return 60 if exemplars else 300  # without exemplars the anchor is no density of the table's shape


def _trimming(settings: Settings) -> Trimming:
    """Clean rows all count; of dirty ones the share declared odd is left out, or what the batch itself says."""
    if settings.anchored:
        return FixedTrimming(0.0)
    return FenceTrimming() if settings.contamination == "auto" else FixedTrimming(float(settings.contamination))


TYPES = {"float32": torch.float32, "float64": torch.float64}


def resolve_device(device: str) -> torch.device:
    """The device that was asked for; "auto" takes CUDA where there is one, else the processor.

    Raises
    ------
    DeviceError
        The device is not to be had on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
        torch.Generator(chosen)  # "meta" has tensors, but nothing in them
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(
            f"device={device!r} was asked for, but torch cannot use it here. "
            "Use device='auto' to let it choose, or device='cpu'."
        ) from error
    return chosen


def resolve_precision(precision: str, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """Types of training and of scoring; "auto" trains in float32 and scores in float64 where the device has it."""
    has_double = device.type != "mps"
    if precision == "auto":
        return torch.float32, torch.float64 if has_double else torch.float32
    if precision == "float64" and not has_double:
        raise DeviceError(
            f"precision='float64' was asked for, but device {str(device)!r} has no float64. Use device='cpu'."
        )
    return TYPES[precision], TYPES[precision]


def _one_thread() -> None:
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # torch hangs in a forked child once its parent has used two threads
    os.register_at_fork(after_in_child=_one_thread)
MIN_EXEMPLAR_ROWS = 10
MOST_LATENTS = 16
CHANNELS = (16, 32)
GRAY, MOST_GRAY = 0.1, 0.2  # how far from black and white, and the share of such pixels in black and white images


@dataclass(frozen=True)
class Architecture:
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


def build_likelihood(
    cells: Sequence[Cell], *, n_rows: int, numbers: str, variational: bool, indicators: tuple[int, ...]
) -> Mixed:
    """Density of an encoded table, whose cells are numbers first, then flags, then codes.

    A value never seen in training has, at first, the weight of one row among ``n_rows``. ``numbers`` names the density
    of numbers.
    """
    unseen = 1 / (n_rows + 1)
    floors = tuple(cell.floor for cell in cells if isinstance(cell, NumberCell))
    n_flags = sum(isinstance(cell, FlagCell) for cell in cells)
    blocks: list[Likelihood] = [NUMBER_LIKELIHOODS[numbers](floors)] if floors else []
    blocks += [Bernoulli(n_flags, unseen)] if n_flags else []
    blocks += [Categorical(cell.n_codes, unseen, cell.spread) for cell in cells if isinstance(cell, CodeCell)]
    if not variational:
        blocks = [SquaredError(block) for block in blocks]
    return Mixed(tuple(blocks), indicators)


def number_likelihood(settings: Settings, x: EncodedMatrix) -> str:
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


def choose_architecture(settings: Settings, n_rows: int, n_features: int, *, one_measure: bool = False) -> Architecture:
    """Choose what was left to "auto"; ``one_measure`` says whether the columns are of one, as pixels are.

    A prior that follows the rows needs rows to follow: below 10 it is the standard normal. The plain autoencoder
    compresses, so its code is at most half as wide as what it sees.
    """
    latents = _latents(settings, n_features) if settings.n_components == "auto" else settings.n_components
    members = _members(settings) if settings.n_estimators == "auto" else settings.n_estimators
    return Architecture(
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
    tell classes apart better where they may gather around one another (benchmarks/results/representation.md).
    """
    few = n_rows < MIN_EXEMPLAR_ROWS
    return "gaussian" if few or (settings.represents and not one_measure) else "exemplar"
