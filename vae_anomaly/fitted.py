"""What a fit leaves behind, and its other form: a JSON document and named arrays, for files and pickles alike."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_array

from vae_anomaly.config import TYPES, Architecture, build_likelihood
from vae_anomaly.data import documents
from vae_anomaly.data.parse import as_frame, index_of, is_frame, unmasked
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import EncodedMatrix, Schema
from vae_anomaly.errors import DataError, ModelFileError
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.model.convolutions import halved_sides
from vae_anomaly.model.likelihoods import NUMBER_LIKELIHOODS, Mixed
from vae_anomaly.model.objectives import OBJECTIVES
from vae_anomaly.scoring.scorer import Exemplars, Scorer

ACTIVE = 0.01  # share of a latent's variance that must tell rows apart


@dataclass(frozen=True)
class LatentSummary:
    """Figures of each latent over training rows, lists of one length.

    ``mean`` and ``std`` describe the posterior means, ``posterior_std`` is the root mean square of the posterior's own
    standard deviation, ``kl`` the mean Kullback-Leibler divergence in nats. The divergence is from the prior where the
    prior is the standard normal. A prior of exemplars does not factor into latents; the divergence is then from the
    normal density with the latent's own mean and variance.
    """

    mean: list[float]
    std: list[float]
    posterior_std: list[float]
    kl: list[float]

    @classmethod
    def of(cls, means: np.ndarray, variances: np.ndarray, *, standard: bool) -> "LatentSummary":
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
        spread, noise = np.square(self.std), np.square(self.posterior_std)
        return spread > ACTIVE * (spread + noise)

    @property
    def reach(self) -> np.ndarray:
        """Standard deviation of each latent's codes, posterior noise included; 1 where there is none."""
        total = np.hypot(self.std, self.posterior_std)
        return np.where(total > 0, total, 1.0)


MOST_ROWS = 4096
MOST_CELLS = 2**19  # 4 MiB in a model file
LEAST_ROWS = 256  # of a table however wide


@dataclass(frozen=True)
class ReferenceRows:
    """Encoded training rows and their scores, each as if the row had not been in training.

    ``cells`` are (rows, cells), NaN where one is missing; ``scores`` (rows,) are in nats: low is odd.
    """

    cells: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, x: EncodedMatrix, scores: np.ndarray, rng: np.random.Generator) -> "ReferenceRows":
        """From encoded rows (rows, cells) and their scores: all of them, or as many drawn as a file can bear."""
        most = min(MOST_ROWS, max(LEAST_ROWS, MOST_CELLS // x.shape[1]))
        drawn = np.arange(len(x)) if len(x) <= most else np.sort(rng.permutation(len(x))[:most])
        return cls(x[drawn], scores[drawn])


KEYS = {"baseline": "usual"}  # in a model file, of fields that have another name here
NAMES = {dtype: name for name, dtype in TYPES.items()}


@dataclass(frozen=True)
class FitRecord:
    """What the fit measured: see the attributes of `VAEDetector`."""

    offset: float
    history: dict[str, list[float]]
    n_iter: int
    batch_size: int
    baseline: list[float]
    versions: dict[str, str]


@dataclass(frozen=True)
class FittedModel:
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
        Sizes of the networks and kind of the prior.
    number_likelihood : str
        Density of numbers: "gaussian", "student_t" or "bernoulli".
    missing_indicators : tuple of int
        Cells that were missing in some training rows: the encoder also sees whether they are missing.
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

    schema: Schema | PixelSchema
    inputs: list[str | int]
    is_frame: bool
    architecture: Architecture
    number_likelihood: str
    missing_indicators: tuple[int, ...]
    weight_type: torch.dtype
    scorer: Scorer
    latents: LatentSummary
    ranges: np.ndarray
    reference: ReferenceRows
    record: FitRecord

    def frame_of(self, X: Any) -> pd.DataFrame:
        """Rows as a frame; the columns of an array are named as in the fit.

        The result may be ``X`` itself or share its memory: it is only to be read.

        Raises
        ------
        DataError
            ``X`` is a data set, or a frame without rows.
        ValueError
            An array does not have the number of columns of the training table.
        """
        if isinstance(X, Dataset):
            way = "[detector.anomaly_score(piece) for piece in dataset.as_fitted(detector.schema_)]"
            raise DataError(f"A data set may be longer than its scores can be held. Score it piece by piece: {way}.")
        if self.is_frame and is_frame(X):
            frame = as_frame(X)
            if not len(frame):
                raise DataError("The table to score has no rows; at least one is needed.")
            return frame
        if is_frame(X) and not self.is_frame:
            warnings.warn("X has feature names, but VAEDetector was fitted without feature names", stacklevel=2)
        elif self.is_frame and all(isinstance(name, str) for name in self.inputs):
            message = "X does not have valid feature names, but VAEDetector was fitted with feature names"
            warnings.warn(message, stacklevel=2)
        array = check_array(unmasked(X), dtype=np.float64, ensure_all_finite=False, estimator="VAEDetector")
        if array.shape[1] != len(self.inputs):
            raise ValueError(
                f"X has {array.shape[1]} features, but VAEDetector is expecting {len(self.inputs)} features as input."
            )
        return pd.DataFrame(array, columns=self.inputs, index=index_of(X), copy=False)

    def encode(self, X: Any) -> np.ndarray:
        """Encoded rows, (rows, cells) float64: what ``scorer`` takes; a missing cell is NaN."""
        return self.schema.encode(self.frame_of(X))

    def decode(self, cells: np.ndarray, index: pd.Index | None = None) -> pd.DataFrame | np.ndarray:
        """Rows of encoded ``cells`` (rows, cells): a frame with that index, or an array if the fit was to an array."""
        frame = self.schema.decode(cells)
        if not self.is_frame:
            return frame.to_numpy(dtype=np.float64)
        return frame if index is None else frame.set_axis(index)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Document and arrays, from which `from_parts` makes the same model again."""
        scorer = self.scorer
        weights = {f"vae.{name}": tensor.to(self.weight_type) for name, tensor in scorer.vae.state_dict().items()}
        tensors = {name: tensor.cpu().numpy() for name, tensor in {**weights, "noise": scorer.draws}.items()}
        tensors["latents"] = np.array(astuple(self.latents))
        tensors["extent"] = self.ranges
        tensors["reference.cells"], tensors["reference.scores"] = self.reference.cells, self.reference.scores
        if scorer.exemplars is not None:
            tensors["exemplars.keys"] = scorer.exemplars.keys
            tensors["exemplars.counts"] = scorer.exemplars.counts.cpu().numpy()
            tensors["exemplars.codes"] = scorer.exemplars.means.cpu().numpy()
        document = {
            "schema": self.schema.to_json(),
            "inputs": self.inputs,
            "frame": self.is_frame,
            "design": asdict(self.architecture),
            "numbers": self.number_likelihood,
            "indicators": list(self.missing_indicators),
            "weight_type": NAMES[self.weight_type],
            "score_type": NAMES[scorer.dtype],
            "leave_one_out": scorer.leave_one_out,
            "bound": scorer.objective.bound,
            "record": {KEYS.get(name, name): value for name, value in asdict(self.record).items()},
        }
        return document, tensors

    @classmethod
    def from_parts(
        cls, document: Mapping[str, Any], tensors: Mapping[str, np.ndarray], device: torch.device
    ) -> "FittedModel":
        """Rebuild the model on ``device``.

        Names, shapes, types and finiteness of the arrays are held against the document first.

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


def likelihood_of(
    schema: Schema | PixelSchema, architecture: Architecture, numbers: str, indicators: tuple[int, ...]
) -> Mixed:
    """Density of the encoded rows of a table."""
    return build_likelihood(
        schema.cells, n_rows=schema.n_rows, numbers=numbers, variational=architecture.variational, indicators=indicators
    )


def _rebuild(document: Mapping[str, Any], tensors: Mapping[str, np.ndarray], device: torch.device) -> FittedModel:
    architecture = _architecture(document["design"], len(tensors))
    schema = (Schema if architecture.image_shape is None else PixelSchema).from_json(document["schema"])
    inputs, indicators = _inputs(document, schema), _indicators(document, len(schema.cells))
    record = _record(document["record"], len(schema.names))
    numbers = documents.text(document, "numbers")
    if numbers not in NUMBER_LIKELIHOODS:
        raise documents.damaged("numbers", f"one of {', '.join(NUMBER_LIKELIHOODS)}")
    likelihood = likelihood_of(schema, architecture, numbers, indicators)
    with torch.device("meta"):  # shapes only: nothing is allocated before they are compared
        vae = architecture.build(likelihood)
    weight_type, score_type = TYPES[document["weight_type"]], TYPES[document["score_type"]]
    types = str(document["weight_type"]), str(document["score_type"])
    _check_arrays(tensors, vae.state_dict(), architecture, len(schema.cells), *types)
    if device.type == "mps":
        score_type = torch.float32
    weights = {name: torch.tensor(tensors[f"vae.{name}"], dtype=score_type, device=device) for name in vae.state_dict()}
    vae.load_state_dict(weights, assign=True)
    vae.freeze()
    bound = documents.text(document, "bound")
    if (architecture.variational, bound) not in OBJECTIVES:
        raise documents.damaged("bound", "a bound that the model has")
    draws = torch.tensor(tensors["noise"], dtype=score_type, device=device)
    scorer = Scorer(
        vae,
        OBJECTIVES[architecture.variational, bound],
        draws,
        _exemplars(tensors, score_type, device) if architecture.exemplars else None,
        leave_one_out=documents.truth(document, "leave_one_out"),
    )
    frame = documents.truth(document, "frame")
    latents = LatentSummary(*tensors["latents"].tolist())
    reference = ReferenceRows(np.array(tensors["reference.cells"]), np.array(tensors["reference.scores"]))
    ranges = tensors["extent"]
    return FittedModel(
        schema,
        inputs,
        frame,
        architecture,
        numbers,
        indicators,
        weight_type,
        scorer,
        latents,
        ranges,
        reference,
        record,
    )


def _inputs(document: Mapping[str, Any], schema: Schema | PixelSchema) -> list[str | int]:
    inputs = [documents.name({"inputs": name}, "inputs") for name in documents.items(document, "inputs")]
    used, left_out = [name for name in inputs if name not in schema.left_out], set(inputs) & schema.left_out.keys()
    if used != schema.names or len(inputs) != len(used) + len(schema.left_out) or left_out != schema.left_out.keys():
        raise documents.damaged("inputs", "the columns of the table, each once and in their order")
    return inputs


def _indicators(document: Mapping[str, Any], n_cells: int) -> tuple[int, ...]:
    cells = documents.items(document, "indicators")
    if not all(type(cell) is int and 0 <= cell < n_cells for cell in cells) or sorted(set(cells)) != cells:
        raise documents.damaged("indicators", "rising positions of cells")
    return tuple(cells)


def _record(document: Any, n_columns: int) -> FitRecord:
    names = [field.name for field in fields(FitRecord)]
    record = FitRecord(**{name: document[KEYS.get(name, name)] for name in names})
    rounds = list(record.history.values())
    figures = [record.offset, *record.baseline, *(figure for figures in rounds for figure in figures)]
    finite = all(type(figure) in (int, float) and math.isfinite(figure) for figure in figures)
    counted = all(type(count) is int and count > 0 for count in (record.n_iter, record.batch_size))
    named = all(isinstance(text, str) for text in record.versions.values())
    if not (finite and counted and named and len(record.baseline) == n_columns + 1 and len(set(map(len, rounds))) == 1):
        raise documents.damaged("record", "what a fit measured")
    return record


def _architecture(document: Mapping[str, Any], n_tensors: int) -> Architecture:
    sizes, shape = list(document["hidden_layer_sizes"]), document["image_shape"]
    shape = None if shape is None else tuple(shape)
    architecture = Architecture(**{**document, "hidden_layer_sizes": tuple(sizes), "image_shape": shape})
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
    weights: Mapping[str, torch.Tensor],
    architecture: Architecture,
    n_cells: int,
    weight_type: str,
    score_type: str,
) -> None:
    """Hold the arrays against what the model needs."""
    wanted = {f"vae.{name}": (tuple(tensor.shape), weight_type) for name, tensor in weights.items()}
    wanted["noise"] = ((len(tensors["noise"]), architecture.n_components), score_type)
    wanted["latents"] = ((len(fields(LatentSummary)), architecture.n_components), "float64")
    wanted["extent"] = ((2, n_cells), "float64")
    wanted["reference.cells"] = ((len(tensors["reference.scores"]), n_cells), "float64")
    wanted["reference.scores"] = ((len(tensors["reference.cells"]),), "float64")
    if architecture.exemplars:
        n = len(tensors["exemplars.keys"])
        wanted["exemplars.keys"] = ((n,), "uint64")
        wanted["exemplars.counts"] = ((n,), "int64")
        wanted["exemplars.codes"] = ((architecture.n_estimators, n, architecture.n_components), score_type)
    found = {name: (array.shape, array.dtype.name) for name, array in tensors.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise ModelFileError(
            f"The model file does not hold the model that it describes: {', '.join(wrong[:5])} differ."
        )
    finite = all(np.isfinite(array).all() for name, array in tensors.items() if name != "reference.cells")
    if not finite or np.isinf(tensors["reference.cells"]).any() or not len(tensors["noise"]):
        raise ModelFileError("The model file holds numbers that are not finite.")
    if architecture.exemplars and not (
        n and (tensors["exemplars.counts"] > 0).all() and (np.diff(tensors["exemplars.keys"].astype(object)) > 0).all()
    ):
        raise ModelFileError("The model file holds exemplars that cannot be.")


def _exemplars(tensors: Mapping[str, np.ndarray], dtype: torch.dtype, device: torch.device) -> Exemplars:
    return Exemplars(
        keys=np.array(tensors["exemplars.keys"]),
        counts=torch.tensor(tensors["exemplars.counts"]),
        means=torch.tensor(tensors["exemplars.codes"], dtype=dtype, device=device),
    )
