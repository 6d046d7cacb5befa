"""The result of a fit, and the same as a JSON document and named arrays, for model files and pickles."""

import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from vae_anomaly.config import TYPES, Architecture
from vae_anomaly.data import documents
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema, TableForm
from vae_anomaly.errors import ModelFileError
from vae_anomaly.model.convolutions import halved_sides
from vae_anomaly.model.likelihoods import CELL_RANGE, NUMBER_LIKELIHOODS
from vae_anomaly.model.objectives import OBJECTIVES
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.cells import OutstandingCells
from vae_anomaly.scoring.missing import FRACTIONS, MissingCells
from vae_anomaly.scoring.scorer import Exemplars, Scorer


@dataclass(frozen=True)
class LatentSummary:
    """Figures of each latent over training rows, lists of equal length.

    ``mean`` and ``std`` describe the posterior means, ``posterior_std`` is the root mean square of the posterior's own
    standard deviation, ``kl`` the mean Kullback-Leibler divergence in nats (see `vae_anomaly.fit.summarise_latents`).
    """

    mean: list[float]
    std: list[float]
    posterior_std: list[float]
    kl: list[float]

    @property
    def active(self) -> np.ndarray:
        """Each latent distinguishes rows, (latents,): an active unit (Burda et al., arXiv 1509.00519)."""
        least = 0.01  # fraction of a latent's variance that is variance of the posterior means
        between, within = np.square(self.std), np.square(self.posterior_std)
        return between > least * (between + within)

    @property
    def reach(self) -> np.ndarray:
        """Standard deviation of draws from all rows' posteriors, (latents,); 1 for a latent that never changes."""
        total = np.hypot(self.std, self.posterior_std)
        return np.where(total > 0, total, 1.0)


@dataclass(frozen=True)
class ReferenceRows:
    """Encoded rows and their scores, each scored as if it had not been in training.

    ``cells`` are (rows, cells), NaN where a cell is missing and inf where it is unreadable; ``scores`` (rows,) are in
    nats: low is anomalous.
    """

    cells: np.ndarray
    scores: np.ndarray


MISSING = "means", "weights", "curves", "charges"  # arrays of `MissingCells` in a file
OUTSTANDING = "usual", "ends", "repeated"  # of `OutstandingCells`
OF_ARRAYS = "float64", "mixed"  # how columns of an array are stored; "mixed" where it was asked for as text
MOST_ROW_BYTES = 2**30
LARGER, FEW_WEIGHTS = 16, 2**20  # the parameters in a file may ask for so many times its weights, or this number
MOST_STEPS, MOST_ROWS, MOST = 10**7, 2**40, 1e9  # that parameters in a file may ask for
TYPE_NAMES = {dtype: name for name, dtype in TYPES.items()}


@dataclass(frozen=True)
class FitRecord:
    """Threshold, history and versions of a fit: the attributes of `VAEDetector` of these names.

    ``most_anomalies`` is the largest fraction of training rows that may be anomalies, 1 where there is no second model
    to tell.
    """

    offset: float
    most_anomalies: float
    history: dict[str, list[float]]
    n_iter: int
    batch_size: int
    versions: dict[str, str]


@dataclass(frozen=True)
class FittedModel(TableForm):
    """A fitted model, as `VAEDetector.model_` gives it.

    Attributes
    ----------
    schema : Schema or PixelSchema
        Columns in use and how they are encoded.
    inputs : list of str or int
        All columns of the training table, those left out included.
    is_frame : bool
        The training table had column names: it was a frame or a data set, not an array.
    architecture : Architecture
        Sizes of the networks, density of numbers and kind of the prior.
    thorough : Architecture or None
        The same of the second model, in which outstanding cells are found, where there is one.
    weight_type : torch.dtype
        Type of the weights in training and in the model file.
    scorer : Scorer
        Scores, latents and reconstructions of encoded rows.
    latents : LatentSummary
        Figures of each latent over training rows.
    ranges : ndarray
        (2, cells), smallest and largest value of each cell in training.
    reference : ReferenceRows
        Rows that set the threshold and the p-values.
    record : FitRecord
        Threshold, history and versions.
    """

    architecture: Architecture
    thorough: Architecture | None
    weight_type: torch.dtype
    scorer: Scorer
    latents: LatentSummary
    ranges: np.ndarray
    reference: ReferenceRows
    record: FitRecord

    @property
    def missing(self) -> MissingCells:
        """What missing cells do to a score; its means are the baseline of the contributions."""
        assert self.scorer.missing is not None
        return self.scorer.missing

    def to_parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON document and named arrays, from which `from_parts` rebuilds the same model."""
        scorer = self.scorer
        weights = {f"vae.{name}": tensor.to(self.weight_type) for name, tensor in scorer.vae.state_dict().items()}
        tensors = {name: tensor.cpu().numpy() for name, tensor in {**weights, "noise": scorer.draws}.items()}
        if scorer.outstanding is not None:
            weights = {f"cells.vae.{name}": tensor for name, tensor in scorer.outstanding.vae.state_dict().items()}
            tensors |= {name: tensor.to(self.weight_type).cpu().numpy() for name, tensor in weights.items()}
            tensors |= {f"cells.{name}": getattr(scorer.outstanding, name) for name in OUTSTANDING}
            tensors["cells.unit"] = np.array([scorer.outstanding.unit])
        tensors["latents"] = np.array(astuple(self.latents))
        tensors["extent"] = self.ranges
        tensors["reference.cells"], tensors["reference.scores"] = self.reference.cells, self.reference.scores
        tensors |= {f"missing.{name}": getattr(self.missing, name) for name in MISSING}
        if scorer.exemplars is not None:
            tensors["exemplars.counts"] = scorer.exemplars.counts.cpu().numpy()
            tensors["exemplars.codes"] = scorer.exemplars.means.cpu().numpy()
            tensors["exemplars.widths"] = scorer.exemplars.log_widths.cpu().numpy()
        document = {
            "schema": self.schema.to_json(),
            "inputs": self.inputs,
            "frame": self.is_frame,
            "design": _design(self.architecture),
            "thorough": None if self.thorough is None else _design(self.thorough),
            "weight_type": TYPE_NAMES[self.weight_type],
            "score_type": TYPE_NAMES[scorer.dtype],
            "leave_one_out": scorer.leave_one_out,
            "bound": scorer.objective.bound,
            "record": asdict(self.record),
        }
        return document, tensors

    @classmethod
    def from_parts(
        cls, document: Mapping[str, Any], tensors: Mapping[str, np.ndarray], device: torch.device
    ) -> "FittedModel":
        """Rebuild the model on ``device``.

        Names, shapes, types and finiteness of the arrays are compared with the document first.

        Raises
        ------
        ModelFileError
            Document and arrays do not describe a model.
        """
        try:
            return _rebuild(document, tensors, device)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError, RuntimeError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(
                f"The model file does not describe a model ({type(error).__name__}: {error})."
            ) from error


def _rebuild(document: Mapping[str, Any], tensors: Mapping[str, np.ndarray], device: torch.device) -> FittedModel:
    n_tensors = len(tensors)
    architecture = _architecture(document["design"], n_tensors)
    thorough = None if document["thorough"] is None else _architecture(document["thorough"], n_tensors)
    schema = (Schema if architecture.image_shape is None else PixelSchema).from_json(document["schema"])
    is_frame = documents.truth(document, "frame")
    _check_goes_together(schema, architecture, thorough, is_frame)
    inputs, record = _inputs(document, schema), _record(document["record"])
    models = {"vae": architecture} | ({} if thorough is None else {"cells.vae": thorough})
    # shapes only: nothing is allocated before the checks
    vaes = {name: model.build(schema.cells, schema.n_rows, "meta") for name, model in models.items()}
    weight_type, score_type = TYPES[document["weight_type"]], TYPES[document["score_type"]]
    types = str(document["weight_type"]), str(document["score_type"])
    _check_arrays(tensors, vaes, architecture, schema, *types)
    _check_memory(vaes["vae"], architecture, len(tensors["noise"]))
    if device.type == "mps":
        score_type = torch.float32
    for name, vae in vaes.items():
        arrays = {key: tensors[f"{name}.{key}"] for key in vae.state_dict()}
        weights = {key: torch.tensor(array, dtype=score_type, device=device) for key, array in arrays.items()}
        vae.load_state_dict(weights, assign=True)
        vae.freeze()
    bound = documents.text(document, "bound")
    if (architecture.variational, bound) not in OBJECTIVES:
        raise documents.damaged("bound", "a bound that the model has")
    exemplars = outstanding = None
    if architecture.exemplars:
        exemplars = Exemplars(
            counts=torch.tensor(tensors["exemplars.counts"]),
            means=torch.tensor(tensors["exemplars.codes"], dtype=score_type, device=device),
            log_widths=torch.tensor(tensors["exemplars.widths"], dtype=score_type, device=device),
        )
    columns = np.array([cell.column for cell in schema.cells])
    first_cells = np.unique(columns, return_index=True)[1]
    if thorough is not None:
        arrays = {name: np.array(tensors[f"cells.{name}"]) for name in OUTSTANDING}
        unit = float(tensors["cells.unit"][0])
        outstanding = OutstandingCells(vaes["cells.vae"], columns, first_cells, **arrays, unit=unit)
    return FittedModel(
        schema=schema,
        inputs=inputs,
        is_frame=is_frame,
        architecture=architecture,
        thorough=thorough,
        weight_type=weight_type,
        scorer=Scorer(
            vaes["vae"],
            OBJECTIVES[architecture.variational, bound],
            torch.tensor(tensors["noise"], dtype=score_type, device=device),
            exemplars,
            leave_one_out=documents.truth(document, "leave_one_out"),
            missing=MissingCells(first_cells, *(np.array(tensors[f"missing.{name}"]) for name in MISSING)),
            outstanding=outstanding,
        ),
        latents=LatentSummary(*tensors["latents"].tolist()),
        ranges=tensors["extent"],
        reference=ReferenceRows(np.array(tensors["reference.cells"]), np.array(tensors["reference.scores"])),
        record=record,
    )


def _check_goes_together(
    schema: Schema | PixelSchema, architecture: Architecture, thorough: Architecture | None, is_frame: bool
) -> None:
    """Raise unless the networks are made for rows of the schema."""
    shape, n_cells = architecture.image_shape, len(schema.cells)
    if shape is not None and math.prod(shape) != n_cells:
        raise documents.damaged("image_shape", f"of {n_cells} pixels")
    for model in (architecture,) if thorough is None else (architecture, thorough):
        indicators = model.missing_indicators
        if indicators and (indicators[-1] >= n_cells or model.convolutional):
            raise documents.damaged(
                "missing_indicators", "rising positions of cells, none where there are convolutions"
            )
    if thorough is not None and not (shape is None and thorough.image_shape is None and thorough.variational):
        raise documents.damaged("thorough", "a variational autoencoder of a table")
    if not is_frame and any(getattr(column, "storage", "float64") not in OF_ARRAYS for column in schema.columns):
        raise documents.damaged("frame", "true for columns that are not numbers")


def _check_memory(vae: VAE, architecture: Architecture, n_draws: int) -> None:
    """Raise if one row alone would take more memory to score than the model of any fit."""
    likelihood, sizes, shape = vae.likelihood, architecture.hidden_layer_sizes, architecture.image_shape
    if shape is not None and architecture.convolutional:
        sides = halved_sides(shape, len(sizes))[1:]
        sizes = tuple(channels * height * width for channels, (height, width) in zip(sizes, sides, strict=True))
    widest = max(likelihood.n_cells, likelihood.n_features, likelihood.n_outputs, vae.n_components, *sizes)
    if 8 * widest * vae.n_estimators * n_draws > MOST_ROW_BYTES:
        raise ModelFileError("The model file describes a model of which a single row takes more than 1 GiB.")


def check_asked(asked: Mapping[str, Any], fitted: FittedModel) -> None:
    """Raise if the parameters in a file do not go with the model in it, or ask for a far larger one or longer training.

    `VAEDetector.drift` fits a second model with these parameters.
    """
    n_weights = sum(weight.numel() for weight in fitted.scorer.vae.parameters())
    n_draws, steps, batch = (
        usual if isinstance(asked[name], str) else int(asked[name])
        for name, usual in {"n_draws": 1, "max_iter": 1, "batch_size": 1}.items()
    )
    too_large = n_asked(asked, fitted) > LARGER * max(n_weights, FEW_WEIGHTS)
    too_large = too_large or n_draws > LARGER * max(64, len(fitted.scorer.draws))
    too_long = steps > MOST_STEPS or batch > MOST_ROWS
    if too_large or too_long or not all(0 <= float(asked[name]) <= MOST for name in ("beta", "learning_rate")):
        raise ModelFileError(
            "The model file asks for a far larger model, or a longer training, than the one in it took."
        )
    shape, own = asked["image_shape"], fitted.architecture.image_shape
    if (None if shape is None else tuple(map(int, shape))) != own:
        raise documents.damaged("image_shape", f"{own}, as in the fit")


def n_asked(asked: Mapping[str, Any], fitted: FittedModel) -> int:
    """Weights, about, of the model that these parameters ask for, for the table of a fitted model."""
    architecture, likelihood = fitted.architecture, fitted.scorer.vae.likelihood
    members, latents = (
        usual if isinstance(asked[name], str) else int(asked[name])
        for name, usual in {
            "n_estimators": architecture.n_estimators,
            "n_components": architecture.n_components,
        }.items()
    )
    sizes = asked["hidden_layer_sizes"]
    sizes = architecture.hidden_layer_sizes if isinstance(sizes, str) else [int(size) for size in sizes]
    return members * sum(a * b for a, b in pairwise([likelihood.n_features + likelihood.n_outputs, *sizes, latents]))


def _inputs(document: Mapping[str, Any], schema: Schema | PixelSchema) -> list[str | int]:
    inputs = [documents.name({"inputs": name}, "inputs") for name in documents.items(document, "inputs")]
    used, left_out = [name for name in inputs if name not in schema.left_out], set(inputs) & schema.left_out.keys()
    if used != schema.names or len(inputs) != len(used) + len(schema.left_out) or left_out != schema.left_out.keys():
        raise documents.damaged("inputs", "the columns of the table, each once and in their order")
    return inputs


def _record(document: Any) -> FitRecord:
    record = FitRecord(**document)
    rounds = list(record.history.values())
    figures = [record.offset, *(figure for figures in rounds for figure in figures)]
    finite = all(type(figure) in (int, float) and math.isfinite(figure) for figure in figures)
    counted = all(type(count) is int and 0 < count < MOST_ROWS for count in (record.n_iter, record.batch_size))
    named = all(isinstance(text, str) for text in record.versions.values())
    share = record.most_anomalies
    finite = finite and type(share) in (int, float) and 0 <= share <= 1
    if not (finite and counted and named and len(set(map(len, rounds))) == 1):
        raise documents.damaged("record", "what a fit measured")
    return record


def _design(architecture: Architecture) -> dict[str, Any]:
    return {**asdict(architecture), "missing_indicators": list(architecture.missing_indicators)}


def _architecture(design: Mapping[str, Any], n_tensors: int) -> Architecture:
    likelihood, indicators = documents.text(design, "number_likelihood"), documents.items(design, "missing_indicators")
    if likelihood not in NUMBER_LIKELIHOODS:
        raise documents.damaged("number_likelihood", f"one of {', '.join(NUMBER_LIKELIHOODS)}")
    rising = sorted(set(indicators)) == indicators
    if not rising or not all(type(cell) is int and cell >= 0 for cell in indicators):
        raise documents.damaged("missing_indicators", "rising positions of cells")
    sizes, shape = list(design["hidden_layer_sizes"]), design["image_shape"]
    shape = None if shape is None else tuple(shape)
    known = {"hidden_layer_sizes": tuple(sizes), "image_shape": shape, "missing_indicators": tuple(indicators)}
    architecture = Architecture(**{**design, **known})
    plain = [field for field in fields(Architecture) if field.type in (int, str, bool)]
    if not all(type(getattr(architecture, field.name)) is field.type for field in plain):
        raise ModelFileError("The model file describes a model with sizes of the wrong type.")
    whole = [*sizes, *(shape or ()), architecture.n_components, architecture.n_estimators]
    possible = all(type(size) is int and size > 0 for size in whole) and 0 < len(sizes) < n_tensors
    if shape is not None and possible:
        possible = len(shape) == 3 and (not architecture.convolutional or min(halved_sides(shape, len(sizes))[-1]) > 0)
    elif architecture.convolutional:
        possible = False
    if not possible or architecture.prior not in ("gaussian", "exemplar"):
        raise ModelFileError("The model file describes a model with impossible sizes.")
    return architecture


def _check_arrays(
    tensors: Mapping[str, np.ndarray],
    vaes: Mapping[str, VAE],
    architecture: Architecture,
    schema: Schema | PixelSchema,
    weight_type: str,
    score_type: str,
) -> None:
    """Raise unless the arrays are those that the model needs."""
    wanted: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, vae in vaes.items():
        wanted |= {f"{name}.{key}": (tuple(tensor.shape), weight_type) for key, tensor in vae.state_dict().items()}
    n_cells, n_columns = len(schema.cells), len(schema.names)
    if len(vaes) > 1:
        wanted |= {f"cells.{name}": ((4, n_columns), "float64") for name in ("usual", "ends")}
        wanted["cells.unit"] = ((1,), "float64")
        wanted["cells.repeated"] = ((len(tensors["cells.repeated"]), 4), "float64")
    wanted["noise"] = ((len(tensors["noise"]), architecture.n_components), score_type)
    wanted["latents"] = ((len(fields(LatentSummary)), architecture.n_components), "float64")
    wanted["extent"] = ((2, n_cells), "float64")
    wanted["reference.cells"] = ((len(tensors["reference.scores"]), n_cells), "float64")
    wanted["reference.scores"] = ((len(tensors["reference.cells"]),), "float64")
    wanted["missing.means"] = ((n_columns + 1,), "float64")
    wanted["missing.weights"] = ((n_columns,), "float64")
    wanted["missing.curves"] = ((2, len(FRACTIONS)), "float64")
    wanted["missing.charges"] = ((2, n_columns), "float64")
    if architecture.exemplars:
        n = len(tensors["exemplars.counts"])
        wanted["exemplars.counts"] = ((n,), "int64")
        wanted["exemplars.codes"] = ((architecture.n_estimators, n, architecture.n_components), score_type)
        wanted["exemplars.widths"] = ((architecture.n_estimators, n), score_type)
    found = {name: (array.shape, array.dtype.name) for name, array in tensors.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise ModelFileError(
            f"The model file does not hold the model that it describes: {', '.join(wrong[:5])} differ."
        )
    finite = all(np.isfinite(array).all() for name, array in tensors.items() if name != "reference.cells")
    if not finite or np.isneginf(tensors["reference.cells"]).any() or not len(tensors["noise"]):
        raise ModelFileError("The model file holds numbers that are not finite.")
    if not len(tensors["reference.scores"]):
        raise ModelFileError("The model file holds no reference rows.")
    largest = np.array([CELL_RANGE / 2 if cell.is_number else cell.unseen for cell in schema.cells])
    cells, is_code = tensors["reference.cells"], ~np.array([cell.is_number for cell in schema.cells])
    is_wrong = (np.abs(cells) > largest) | is_code & ((cells < 0) | (cells != np.rint(cells)))
    if (is_wrong & np.isfinite(cells)).any():
        raise ModelFileError("The model file holds cells that its table cannot have.")
    negative = any((tensors[f"missing.{name}"] < 0).any() for name in ("weights", "charges"))
    if negative or (tensors["missing.curves"][1] <= 0).any():
        raise ModelFileError("The model file holds a scale of missing cells that cannot be.")
    if len(vaes) > 1 and not (
        (tensors["cells.usual"][1] > 0).all()
        and (tensors["cells.ends"][1::2] >= 0).all()
        and tensors["cells.unit"] >= 0
    ):
        raise ModelFileError("The model file holds a scale of outstanding cells that cannot be.")
    if len(vaes) > 1:
        columns, values, _, spared = tensors["cells.repeated"].T
        ordered = np.array_equal(np.lexsort((values, columns)), np.arange(len(columns)))
        if not (ordered and np.isin(columns, np.arange(n_columns)).all() and (spared >= 0).all()):
            raise ModelFileError("The model file holds repeated values that cannot be.")
    if architecture.exemplars and not (n and (tensors["exemplars.counts"] > 0).all()):
        raise ModelFileError("The model file holds exemplars that cannot be.")
