"""From the parameters of a detector to the settings of a fit: every "auto" is resolved here and nowhere else."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils._param_validation import InvalidParameterError

from vae_anomaly.data.columns import IGNORE, KINDS, Cell, CodeCell, FlagCell, NumberCell
from vae_anomaly.data.schema import EncodedMatrix, parts
from vae_anomaly.errors import DeviceError
from vae_anomaly.model.convolutions import Shape
from vae_anomaly.model.likelihoods import (
    NUMBER_LIKELIHOODS,
    Bernoulli,
    Categorical,
    Frequency,
    Likelihood,
    Mixed,
    SquaredError,
)
from vae_anomaly.model.pca_init import count_components, pca_rows, standardised_variances
from vae_anomaly.model.vae import VAE
from vae_anomaly.training.trainer import FenceTrimming, FixedTrimming, Plan, Trimming

LEAST_SIDE = 16  # pixels; smaller images have little that repeats, so convolutions gain nothing
MIN_EXEMPLAR_ROWS = 10  # a prior on rows needs rows
WIDE = 1000  # features; up to here a model of any size is quick
MIN_HELD_OUT = 10  # rows; fewer cannot tell when to stop
REFERENCE_ROWS = 4096  # training rows, at most, that set threshold and p-values and stay in the model
BASELINE_ROWS = 1024  # of these, rows whose contributions are the baseline of each column
FOLDS = 5  # of calibration="cross"


@dataclass(frozen=True)
class Recipe:
    """What "auto" stands for in one kind of fit, and how that fit trains."""

    n_components: int  # largest number of latents, unless they are to carry a fraction of the variance
    autoencoder_components: int  # the same for a plain autoencoder
    hidden_layer_sizes: tuple[int, ...]  # of convolutions, channels
    n_estimators: int
    image_estimators: int  # members where rows are images
    number_likelihood: str
    mixed_prior: str  # prior where columns have different units
    max_iter: int  # gradient steps under an exemplar prior
    gaussian_max_iter: int  # under a standard normal prior
    batch_size: int
    n_exemplars: int  # drawn for each step
    holds_out: bool  # held-out rows stop training
    trims: bool  # training leaves anomalous rows out
    pca_init: bool  # training starts at principal components
    carried: float = 0.0  # fraction of the variance that the latents carry, with more of them where that takes more,
    most_components: int = 0  # up to this number
    warm_up: float = 0.0  # fraction of the steps over which the weight of the KL rises
    epochs: int = 0  # training takes this many where they are more than max_iter steps,
    longest: int = 0  # but not more than this number of steps
    represents: bool = False  # the latents are the purpose, not the score
    convolutional: bool = False


RECIPES = {
    "outlier": Recipe(  # the training rows may hold anomalies
        n_components=16,
        autoencoder_components=8,
        hidden_layer_sizes=(64, 64),
        n_estimators=3,  # members that differ by chance; scores are means over them
        image_estimators=3,
        number_likelihood="student_t",  # heavy tails: otherwise anomalies widen the noise scale of all rows
        mixed_prior="exemplar",
        max_iter=200,  # short: networks learn frequent rows first and anomalies later (ODIM, arXiv 2301.04257)
        gaussian_max_iter=200,
        batch_size=256,
        n_exemplars=128,
        holds_out=False,
        trims=True,
        pca_init=False,  # principal components follow anomalies
    ),
    "novelty": Recipe(  # the training rows are normal
        n_components=32,
        carried=0.99,  # neighbours differ in all directions: AUROC of 64 pixels 0.952 with 32 latents, 0.979 with 54
        most_components=256,  # more of them gain little and cost memory (1,555 columns: 0.907 with 256, 0.905 with 357)
        autoencoder_components=8,
        hidden_layer_sizes=(64, 64),
        n_estimators=2,  # one measures columns by the standard deviation, one by the range: see model/pca_init.py
        image_estimators=1,  # pixels have one unit
        number_likelihood="gaussian",
        mixed_prior="exemplar",
        max_iter=60,  # the start is nearly the best density; more steps detect no better (results/ablations.md)
        gaussian_max_iter=300,  # without exemplars the start is not the table's density
        batch_size=256,
        n_exemplars=128,
        holds_out=True,
        trims=False,
        pca_init=True,
    ),
    "representation": Recipe(  # the latents are for something else
        n_components=16,
        autoencoder_components=16,
        hidden_layer_sizes=(64, 64),
        n_estimators=1,  # latents are those of one member
        image_estimators=1,
        number_likelihood="gaussian",
        mixed_prior="gaussian",  # each latent has a meaning of its own, and missing cells are filled better
        max_iter=1000,  # long: all rows count, and held-out rows end it
        gaussian_max_iter=1000,
        batch_size=256,
        n_exemplars=512,  # these networks are quick
        holds_out=True,
        trims=False,
        pca_init=True,
        warm_up=0.2,  # latents are in use before they cost (Sønderby et al. 2016, arXiv 1602.02282)
        represents=True,
    ),
    "images": Recipe(  # the same of images of 16 pixels a side or more: convolutions give the better latents
        n_components=16,
        autoencoder_components=16,
        hidden_layer_sizes=(16, 32),
        n_estimators=1,
        image_estimators=1,
        number_likelihood="gaussian",
        mixed_prior="gaussian",
        max_iter=1000,
        gaussian_max_iter=1000,
        batch_size=128,
        n_exemplars=128,  # each is encoded by convolutions
        holds_out=True,
        trims=False,
        pca_init=False,  # convolutions have no linear path
        warm_up=0.2,
        epochs=30,  # they start from nothing, so training takes longest
        longest=5000,
        represents=True,
        convolutional=True,
    ),
}


@dataclass(frozen=True)
class Settings:
    """The detector's parameters that decide what is trained; `VAEDetector` describes them."""

    purpose: str
    n_components: int | str
    hidden_layer_sizes: Sequence[int] | str
    likelihood: str
    prior: str
    beta: float
    bound: str
    variational: bool
    image_shape: Sequence[int] | None
    kinds: Mapping[str, str]
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

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """The settings among the parameters of a detector; numbers of numpy become Python's, which JSON can hold."""
        values = {field.name: parameters[field.name] for field in fields(cls)}
        values["kinds"] = {str(name): kind for name, kind in (values["kinds"] or {}).items()}
        return cls(**{name: v.tolist() if isinstance(v, np.generic | np.ndarray) else v for name, v in values.items()})

    @property
    def recipe(self) -> Recipe:
        """The recipe of this fit."""
        if self.purpose != "representation":
            return RECIPES["novelty" if self.novelty else "outlier"]
        large = self.image_shape is not None and min(self.image_shape[1:]) >= LEAST_SIDE
        return RECIPES["images" if large else "representation"]


@dataclass(frozen=True)
class Architecture:
    """The model to build, every "auto" resolved.

    ``missing_indicators`` are the cells that were missing in some training rows: the encoder also sees whether they are
    missing.
    """

    n_components: int
    hidden_layer_sizes: tuple[int, ...]
    n_estimators: int
    prior: str
    variational: bool
    pca_init: bool
    convolutional: bool
    image_shape: Shape | None
    number_likelihood: str
    missing_indicators: tuple[int, ...]

    @property
    def exemplars(self) -> bool:
        """The prior is a mixture around training rows; a plain autoencoder has no prior."""
        return self.variational and self.prior == "exemplar"

    def likelihood(self, cells: Sequence[Cell], n_rows: int) -> Mixed:
        """Density of an encoded table with these ``cells``: numbers, then flags, then codes.

        A value never seen in training, or unreadable, starts with the weight of one row among ``n_rows``.
        """
        unseen = 1 / (n_rows + 1)
        floors = tuple(cell.floor for cell in cells if isinstance(cell, NumberCell))
        n_flags = sum(isinstance(cell, FlagCell) for cell in cells)
        blocks: list[Likelihood] = [NUMBER_LIKELIHOODS[self.number_likelihood](floors, unseen)] if floors else []
        blocks += [Bernoulli(n_flags, unseen)] if n_flags else []
        for cell in cells:
            if isinstance(cell, CodeCell) and cell.nats is None:
                blocks.append(Categorical(cell.n_codes, unseen, cell.spread))
            elif isinstance(cell, CodeCell) and cell.nats is not None:
                blocks.append(Frequency(cell.nats))
        if not self.variational:
            blocks = [block if isinstance(block, Frequency) else SquaredError(block) for block in blocks]
        return Mixed(tuple(blocks), self.missing_indicators)

    def build(self, cells: Sequence[Cell], n_rows: int, device: torch.device | str) -> VAE:
        """The model of this `likelihood`, with all weights zero."""
        with torch.device(device):
            return VAE(
                self.likelihood(cells, n_rows),
                self.n_components,
                self.hidden_layer_sizes,
                self.n_estimators,
                self.image_shape if self.convolutional else None,
            )


def choose_architecture(
    settings: Settings,
    x: EncodedMatrix,
    cells: Sequence[Cell],
    *,
    missing: tuple[int, ...] = (),
    one_measure: bool = False,
) -> Architecture:
    """The model for the encoded rows ``x`` (rows, cells).

    Parameters
    ----------
    settings : Settings
        What was asked for.
    x : EncodedMatrix
        Training rows.
    cells : sequence of Cell
        Description of each cell.
    missing : tuple of int
        Cells that are missing in some rows.
    one_measure : bool
        The columns have one unit, as pixels have, and distances between rows mean something.
    """
    recipe, image_shape = settings.recipe, settings.image_shape
    seen = tuple(cell for cell in missing if cells[cell].n_features)
    indicators = () if recipe.convolutional else seen  # convolutions see pixels alone
    n_features = len(indicators) + sum(cell.n_features for cell in cells)
    # so few rows support no larger model, which at 100,000 columns would take minutes
    is_flat = len(x) < MIN_EXEMPLAR_ROWS and n_features > WIDE and not recipe.convolutional
    n_components = settings.n_components
    if n_components == "auto" and settings.variational:
        n_components = max(1, min(recipe.n_components, n_features, len(x) if is_flat else n_features))
    elif n_components == "auto":  # an autoencoder has to compress
        n_components = max(1, min(recipe.autoencoder_components, n_features // 2))
    n_estimators = settings.n_estimators
    if n_estimators == "auto":
        n_estimators = recipe.n_estimators if image_shape is None else recipe.image_estimators
        n_estimators = 1 if is_flat and len(x) == 1 else n_estimators
    prior = settings.prior
    if prior == "auto":  # latents of comparable columns separate classes better under exemplars (representation.md)
        prior = "exemplar" if one_measure else recipe.mixed_prior
        prior = prior if len(x) >= MIN_EXEMPLAR_ROWS else "gaussian"
    likelihood = settings.likelihood
    if likelihood == "auto" and recipe.convolutional and _is_black_and_white(x):
        likelihood = "bernoulli"
    elif likelihood == "auto":
        likelihood = recipe.number_likelihood if settings.variational else "gaussian"
    sizes = settings.hidden_layer_sizes
    if sizes == "auto":
        sizes = [min(size, 2 * len(x)) if is_flat else size for size in recipe.hidden_layer_sizes]
    architecture = Architecture(
        n_components=int(n_components),
        hidden_layer_sizes=tuple(int(size) for size in sizes),
        n_estimators=int(n_estimators),
        prior=prior,
        variational=settings.variational,
        pca_init=recipe.pca_init,
        convolutional=recipe.convolutional,
        image_shape=None if image_shape is None else (int(image_shape[0]), int(image_shape[1]), int(image_shape[2])),
        number_likelihood=likelihood,
        missing_indicators=indicators,
    )
    if settings.n_components == "auto" and recipe.carried and architecture.exemplars:
        return replace(architecture, n_components=_count_latents(architecture, recipe, x, cells))
    return architecture


def finds_outstanding_cells(settings: Settings, n_rows: int, cells: Sequence[Cell]) -> bool:
    """Whether a second model looks for single wrong cells: in outlier detection, and in tables with categories.

    Where clean rows are only numbers, a row with a wrong one is far from all of them, and the second model adds noise.
    """
    if settings.purpose != "detection" or not settings.variational or settings.image_shape is not None:
        return False
    has_codes = any(isinstance(cell, CodeCell) for cell in cells)
    return n_rows >= MIN_EXEMPLAR_ROWS and (has_codes or not settings.novelty)


def choose_thorough(
    settings: Settings, x: EncodedMatrix, cells: Sequence[Cell], *, missing: tuple[int, ...]
) -> tuple[Architecture, Plan]:
    """The model in which outstanding cells are found and its training, on all rows: those of novelty detection.

    What was asked for is about the first model, except for the layers, the rates and a shorter training. There are at
    least 20 rows to a latent, or the reconstruction of new rows would be much worse than that of training rows.
    """
    fewest_rows = 20  # at 100 rows of 16 columns, 47 % of new rows stood out with 32 latents, 17 % with 5
    asked = replace(settings, novelty=True, n_components="auto", n_estimators="auto", max_iter="auto")
    asked = replace(asked, likelihood="auto", prior="auto")
    architecture = choose_architecture(asked, x, cells, missing=missing)
    n_components = min(architecture.n_components, max(2, len(x) // fewest_rows))
    plan = make_plan(asked, len(x), exemplars=architecture.exemplars)
    if settings.max_iter != "auto":
        plan = replace(plan, max_iter=min(plan.max_iter, int(settings.max_iter)))
    return replace(architecture, n_components=n_components), plan


def _count_latents(architecture: Architecture, recipe: Recipe, x: EncodedMatrix, cells: Sequence[Cell]) -> int:
    """Latents for most of the variance of the rows ``x`` (rows, cells), as far as a prior of exemplars needs them.

    A row is compared with its neighbours in the latents alone; differences in other directions count as noise. Latents
    in which the training rows do not differ do harm: they make the bandwidth too narrow.
    """
    fewest_rows, most_cells = 512, 2**22
    rows = pca_rows(len(x), 0)[: max(fewest_rows, most_cells // x.shape[1])]
    features = architecture.likelihood(cells, len(x)).features(torch.as_tensor(x[rows], dtype=torch.float64))
    variances = standardised_variances(features)
    if not (len(variances) and variances[0] > 0):  # there are no features where all columns count by shape alone
        return architecture.n_components
    usual, most = architecture.n_components, recipe.most_components
    return count_components(variances, usual=usual, most=most, fraction=recipe.carried)


def _is_black_and_white(x: EncodedMatrix) -> bool:
    """Fewer than a fifth of the pixels are gray: Bernoulli fits; latents that distinguish grays need a noise scale."""
    gray = sum(int(((part > 0.1) & (part < 0.9)).sum()) for part in parts(x))
    return gray < 0.2 * len(x) * x.shape[1]


def make_plan(settings: Settings, n_rows: int, *, exemplars: bool, one_measure: bool = False) -> Plan:
    """How to train on ``n_rows`` rows.

    Parameters
    ----------
    settings : Settings
        What was asked for.
    n_rows : int
        Training rows.
    exemplars : bool
        The prior has exemplars.
    one_measure : bool
        The columns have one unit, as pixels have.
    """
    recipe, max_iter = settings.recipe, settings.max_iter
    if max_iter == "auto":
        max_iter = recipe.max_iter if exemplars else recipe.gaussian_max_iter
        max_iter = max(max_iter, min(recipe.epochs * n_rows // recipe.batch_size, recipe.longest))
    held_out = round(settings.validation_fraction * n_rows) if recipe.holds_out else 0
    trimming: Trimming = FixedTrimming(0.0)
    if recipe.trims:
        trimming = FenceTrimming() if settings.contamination == "auto" else FixedTrimming(float(settings.contamination))
    # With one noise scale for each column, training weights a column that is reconstructed well ever more, and what the
    # columns have in common, which latents are for, ever less.
    one_scale = recipe.represents and (exemplars or settings.image_shape is not None)
    return Plan(
        max_iter=int(max_iter),
        batch_size=min(n_rows, recipe.batch_size if settings.batch_size == "auto" else int(settings.batch_size)),
        learning_rate=settings.learning_rate,
        scale_rate=10.0,
        gradient_norm=10.0,
        beta=settings.beta,
        warm_up=recipe.warm_up,
        trimming=trimming,
        n_exemplars=recipe.n_exemplars,
        held_out=held_out if held_out >= MIN_HELD_OUT else 0,
        patience=3,
        interval=max(1, int(max_iter) // 20),
        common_noise=one_measure and one_scale and settings.likelihood in ("auto", "gaussian"),
    )


TYPES = {"float32": torch.float32, "float64": torch.float64}


def resolve_device(device: str) -> torch.device:
    """The device asked for; "auto" takes CUDA where there is one, else the processor.

    Raises
    ------
    DeviceError
        torch cannot use the device on this machine.
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
    has_float64 = device.type != "mps"
    if precision == "auto":
        return torch.float32, torch.float64 if has_float64 else torch.float32
    if precision == "float64" and not has_float64:
        raise DeviceError(
            f"precision='float64' was asked for, but device {str(device)!r} has no float64. Use device='cpu'."
        )
    return TYPES[precision], TYPES[precision]


if hasattr(os, "register_at_fork"):  # torch hangs in a forked child once its parent has used two threads
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise for parameters that are valid one by one but not together.

    Raises
    ------
    InvalidParameterError
        The message names the parameter, its value and the remedy.
    """
    sizes, image_shape = parameters["hidden_layer_sizes"], parameters["image_shape"]
    whole = isinstance(sizes, str) or all(isinstance(size, Integral) and int(size) > 0 for size in sizes)
    if not whole or not len(sizes):
        raise InvalidParameterError(
            f"The 'hidden_layer_sizes' parameter must be 'auto' or whole numbers from 1 up. Got {sizes!r}."
        )
    if image_shape is not None:
        shape = list(image_shape)
        if len(shape) != 3 or not all(isinstance(size, Integral) and int(size) > 0 for size in shape):
            raise InvalidParameterError(
                f"The 'image_shape' parameter must be three whole numbers: channels, height and width. Got {shape!r}."
            )
        convolutions = (1 if isinstance(sizes, str) else len(sizes)) * (parameters["purpose"] == "representation")
        if LEAST_SIDE <= min(shape[1:]) < 2**convolutions:
            raise InvalidParameterError(
                f"Images of {shape[2]} x {shape[1]} pixels are too small for {convolutions} convolutions, "
                "each of which halves the sides."
            )
        if parameters["kinds"]:
            raise InvalidParameterError("kinds= is for tables: all columns of images are pixels. Leave it out.")
    elif parameters["likelihood"] == "bernoulli":
        raise InvalidParameterError(
            "likelihood='bernoulli' is for pixels: give the image_shape, or leave it to 'auto'."
        )
    for name, kind in (parameters["kinds"] or {}).items():
        if kind not in {*KINDS, IGNORE}:
            raise InvalidParameterError(
                f"The 'kinds' parameter has {kind!r} for column {name!r}; kinds are {', '.join(KINDS)} and {IGNORE}."
            )
    if parameters["checkpoint"] is not None and parameters["random_state"] in (None, np.random):
        raise InvalidParameterError(
            "A fit with a checkpoint needs a number as 'random_state': without one no other fit could continue it."
        )
    densities = {"bound": "iwae", "prior": "exemplar", "likelihood": "student_t"}
    asked = [f"{name}={value!r}" for name, value in densities.items() if parameters[name] == value]
    if asked and not parameters["variational"]:
        raise InvalidParameterError(
            f"A plain autoencoder (variational=False) has no density, so {asked[0]} has no meaning. Leave it out."
        )


def as_json(value: Any) -> Any:
    """A parameter in JSON's types; None for what JSON cannot hold, such as a random generator."""
    match value:
        case np.generic():
            return value.item()
        case np.ndarray() | list() | tuple():
            items = [as_json(item) for item in value]
            return None if None in items else items
        case dict():
            return {str(name): as_json(item) for name, item in value.items()}
        case str() | bool() | int() | float():
            return value
        case _:
            return None
