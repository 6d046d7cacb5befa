"""The estimator: its parameters, its fit and its file. What it answers stands beside, in judgement and codes."""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

from vae_anomaly.calibrating import fit_calibrated, held_out_rows
from vae_anomaly.detector.codes import Codes
from vae_anomaly.detector.judgement import Judgement
from vae_anomaly.detector.rows import unmasked
from vae_anomaly.errors import DataError, ModelFileError
from vae_anomaly.fitted import Fitted
from vae_anomaly.parameters import check_parameters, plain
from vae_anomaly.persistence import read_model, write_model
from vae_anomaly.tables import PixelSchema, Schema, as_frame, is_frame
from vae_anomaly.training.assembly import NUMBER_LIKELIHOODS
from vae_anomaly.training.callbacks import Monitor, ProgressBar
from vae_anomaly.training.devices import resolve_device
from vae_anomaly.training.settings import Settings


class VAEDetector(Judgement, Codes, BaseEstimator):
    """Outlier and novelty detection with a variational autoencoder.

    Rows are scored by the ELBO, a lower bound of their log density in nats: the lower, the odder. The columns may hold
    numbers, booleans, categories, text, dates and missing cells; a missing cell was not observed and adds nothing to
    the score.

    Parameters
    ----------
    purpose : {"detection", "representation"}, default="detection"
        What "auto" serves: scores that find odd rows, or a code that is good for something else: features for another
        model, new rows, missing cells, latents with a meaning. "representation" takes one member, all rows, a warmed-up
        KL, and up to 1,000 steps that begin at principal components; convolutions for images of 16 pixels a side or
        more.
    n_components : int or "auto", default="auto"
        Latents. "auto": 16, in novelty detection 32, never more than the encoder sees columns.
    hidden_layer_sizes : sequence of int or "auto", default="auto"
        Widths of the encoder's hidden layers; the decoder has them in reverse. "auto": (64, 64). Of convolutions,
        channels, each of which halves the sides; "auto": (16, 32).
    likelihood : {"auto", "gaussian", "student_t", "bernoulli"}, default="auto"
        Density of numbers, with learned scales; to represent images, and tables whose prior is then exemplar, one scale
        for all. Two-valued columns are Bernoulli, categories categorical. "auto":
        Student-t in outlier detection, Gaussian in novelty detection and for a representation. "bernoulli" is for
        pixels, whose gray is the probability of white: "auto" to represent images that are nearly black and white.
    prior : {"auto", "gaussian", "exemplar"}, default="auto"
        What codes of normal rows look like: a standard normal, or a mixture whose components sit at the codes of
        training rows (arXiv 2004.04795). "auto": exemplar; gaussian below 10 rows, and to represent a table unless no
        cell is missing and most columns share their least and their largest value, as pixels and answers on one scale
        do.
    beta : float, default=1.0
        Weight of the KL in training; scores always have weight 1.
    bound : {"elbo", "iwae"}, default="elbo"
        Which bound of the log density is the score, from ``fit`` on: the ELBO, or the tighter importance-weighted bound
        (arXiv 1509.00519).
    variational : bool, default=True
        False gives the plain autoencoder: no prior, no KL, the score is minus the squared error.
    image_shape : (channels, height, width), optional
        Rows are images of this shape, flattened channel first. All pixels have one scale, and none is left out. The
        nets of a representation are convolutional from 16 pixels a side on; all others are as for tables.
    n_estimators : int or "auto", default="auto"
        Members of the ensemble, trained side by side; scores are means over them, codes those of the first. "auto": 3
        in outlier detection; in novelty detection 2, that measure the columns by their deviation and by their range; 1
        for a representation, and in novelty detection of images.
    novelty : bool, default=False
        False (outlier detection): the training rows may hold anomalies; training is short and leaves the oddest rows
        out, and a scored row that is itself in training does not explain itself. True (novelty detection): the
        training rows are normal; the model starts at their principal directions, keeps up to 20,000 of them as
        exemplars, and training ends when held-out rows stop gaining.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of training rows to call odd, each judged as if it had not been in training; in outlier detection also the
        share of each batch that training leaves out. "auto" puts the threshold at Tukey's fence of the scores, and
        leaves out what each batch itself shows to be far off.
    calibration : {"leave_one_out", "split", "cross"}, default="leave_one_out"
        Whose scores new rows are held against, for the threshold and p-values. "leave_one_out": training rows, none of
        which explains itself; costs nothing, and is close in tables of some hundred rows under a prior of exemplars.
        "split": a fifth of the rows, which training never sees: p-values hold exactly, training has fewer rows.
        "cross": all rows, each under a model fitted without its fifth: for small tables and models without exemplars;
        fit takes five times as long again.
    max_iter : int or "auto", default="auto"
        Steps of the optimiser, at most. "auto": 200 in outlier detection; in novelty detection 60, and 300 where
        the prior does not rest on exemplars; 1,000 for a representation; 30 epochs to represent images, but from 1,000
        to 5,000 steps.
    batch_size : int or "auto", default="auto"
        Rows of a step, for each member. "auto": 256, to represent images 128.
    learning_rate : float, default=0.002
        Peak rate of Adam.
    validation_fraction : float in [0, 1), default=0.1
        Share of the rows held out to stop in time, in novelty detection and for a representation; fewer than 10 rows
        are not held out.
    n_draws : int, default=2
        Draws from the posterior that are decoded to score a row: made once in ``fit``, the same for all rows; an even
        number is in pairs of opposite sign. The KL needs none.
    device : str, default="auto"
        "auto" takes CUDA where there is one, else the processor; or a torch device such as "cpu" or "cuda:1".
    precision : {"auto", "float32", "float64"}, default="auto"
        "auto" trains in float32 and scores in float64.
    random_state : int, RandomState or None, default=None
        Same data and same number, same model.
    verbose : int, default=0
        1 shows a progress bar on standard error.
    callbacks : list or None, default=None
        Objects with methods of `vae_anomaly.training.callbacks`.

    Attributes
    ----------
    offset_ : float
        Score below which a row is odd.
    schema_ : Schema
        Columns in use, their kinds, and the columns left out with the reason.
    history_ : dict of lists
        What was optimised, a number a round.
    n_iter_, batch_size_, n_components_, n_estimators_, hidden_layer_sizes_ : int, int, int, int, tuple
        What "auto" chose; ``n_iter_`` steps were done.
    likelihood_, prior_ : str
        Likewise.
    device_ : torch.device
        Where scores are computed.
    n_samples_fit_, n_features_in_ : int
        Rows and columns of the training table.
    latents_ : DataFrame
        A row for each latent, over the training rows: ``mean`` and ``deviation`` of its code, ``noise`` of the
        posterior, mean ``kl`` in nats, and whether it is ``active``, that is, tells rows apart.
    usual_ : list of float
        Median contribution of each column, and of the latent term, over the training rows.
    versions_ : dict
        Of the libraries that fitted the model.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.9], [0, 0.1]]
    >>> detector = VAEDetector(random_state=0).fit(X)
    >>> detector.predict([[1.0, 0.9], [1.0, -0.9]])  # each value usual, the second pair not
    array([ 1, -1])
    """

    _parameter_constraints = {
        "purpose": [StrOptions({"detection", "representation"})],
        "n_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "likelihood": [StrOptions({"auto", *NUMBER_LIKELIHOODS})],
        "prior": [StrOptions({"auto", "gaussian", "exemplar"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "bound": [StrOptions({"elbo", "iwae"})],
        "variational": ["boolean"],
        "image_shape": ["array-like", None],
        "n_estimators": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "novelty": ["boolean"],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "calibration": [StrOptions({"leave_one_out", "split", "cross"})],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "float64"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
    }

    def __init__(
        self,
        *,
        purpose: str = "detection",
        n_components: int | str = "auto",
        hidden_layer_sizes: Sequence[int] | str = "auto",
        likelihood: str = "auto",
        prior: str = "auto",
        beta: float = 1.0,
        bound: str = "elbo",
        variational: bool = True,
        image_shape: Sequence[int] | None = None,
        n_estimators: int | str = "auto",
        novelty: bool = False,
        contamination: float | str = "auto",
        calibration: str = "leave_one_out",
        max_iter: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float = 2e-3,
        validation_fraction: float = 0.1,
        n_draws: int = 2,
        device: str = "auto",
        precision: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        callbacks: Sequence[object] | None = None,
    ):
        self.purpose = purpose
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.likelihood = likelihood
        self.prior = prior
        self.beta = beta
        self.bound = bound
        self.variational = variational
        self.image_shape = image_shape
        self.n_estimators = n_estimators
        self.novelty = novelty
        self.contamination = contamination
        self.calibration = calibration
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.n_draws = n_draws
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: object = None) -> Self:
        """Learn what rows of this table look like.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns): pandas, polars, pyarrow or anything narwhals reads; or numbers as scikit-learn takes them.
        y : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        VAEDetector
            The estimator itself. After an error or Ctrl-C it is what it was before.
        """
        check_parameters(self.get_params(deep=False))
        fitting = object.__new__(type(self))  # what is learned goes there, and to self at the end: all of it or nothing
        fitting.__dict__.update(self.__dict__)
        frame = fitting._new_table(X)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        rest = frame[:0]
        if self.calibration != "leave_one_out":
            train, held_out = held_out_rows(len(frame), seed)
            if self.calibration == "split":
                frame, rest = frame.iloc[train], frame.iloc[held_out]
        schema = Schema.learn(frame) if self.image_shape is None else _learn_pixels(frame, self.image_shape)
        bars = [ProgressBar()] if self.verbose else []
        monitor = Monitor(self, [*(self.callbacks or []), *bars])
        with monitor.whole_fit(fitting, X):
            fitted = fit_calibrated(
                schema,
                schema.encode(frame),
                schema.encode(rest) if len(rest) else None,
                list(frame.columns),
                is_frame(X),
                settings=Settings.of(self.get_params(deep=False)),
                seed=seed,
                monitor=monitor,
                fold_monitor=Monitor(self, bars),
            )
            fitting._expose(fitted)
        self.__dict__ = fitting.__dict__
        return self

    def _new_table(self, X: Any) -> pd.DataFrame:
        """A training table as a frame; its columns are remembered as scikit-learn remembers them."""
        if is_frame(X):
            frame = as_frame(X)
            self._remember(list(frame.columns), True)
            return frame
        array = validate_data(self, unmasked(X), dtype=np.float64, ensure_all_finite=False)
        return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])])

    def _remember(self, inputs: list[str | int], frame: bool) -> None:
        """Set ``n_features_in_`` and, where the columns have names, ``feature_names_in_``."""
        self.__dict__.pop("feature_names_in_", None)
        self.n_features_in_ = len(inputs)
        if frame and all(isinstance(name, str) for name in inputs):
            self.feature_names_in_ = np.array(inputs, dtype=object)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted detector to one safetensors file; `vae_anomaly.load` reads it. Callbacks are not kept."""
        document, tensors = self._checked().to_parts()
        parameters = {name: plain(value) for name, value in self.get_params(deep=False).items()}
        write_model(path, {**document, "parameters": parameters}, tensors)

    def _expose(self, fitted: Fitted) -> None:
        """Set the public attributes."""
        record, design = fitted.record, fitted.design
        self._fitted = fitted
        self._inputs = pd.Index(fitted.inputs)
        self.offset_ = record.offset
        self.history_ = record.history
        self.n_iter_ = record.n_iter
        self.batch_size_ = record.batch_size
        self.usual_ = record.usual
        self.versions_ = record.versions
        self.schema_ = fitted.schema
        self.n_components_ = design.n_components
        self.n_estimators_ = design.n_estimators
        self.likelihood_ = fitted.numbers
        self.hidden_layer_sizes_ = design.hidden_layer_sizes
        self.prior_ = design.prior if design.variational else None
        self._n_features_out = design.n_components
        self.latents_ = pd.DataFrame(asdict(fitted.latents), index=self.get_feature_names_out()).assign(
            active=fitted.latents.active
        )
        self.device_ = fitted.scorer.device
        self.n_samples_fit_ = fitted.schema.n_rows

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Pickled as document and arrays, so that a model fitted on a GPU opens anywhere."""
        state = dict(super().__getstate__())
        if "_fitted" in state:
            state["_fitted"] = self._checked().to_parts()
            state.pop("device_")
            state.pop("_inputs")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        parts = state.pop("_fitted", None)
        super().__setstate__(state)
        if parts is not None:
            document, tensors = parts
            self._expose(Fitted.from_parts(document, tensors, torch.device("cpu")))


def load(path: str | os.PathLike[str], *, device: str = "auto") -> VAEDetector:
    """Read a detector that `VAEDetector.save` wrote; nothing in the file is executed.

    Parameters
    ----------
    path : path-like
        Model file.
    device : str
        Where to score; "auto" takes CUDA where there is one.

    Returns
    -------
    VAEDetector
        Fitted; its scores are those of the detector that was saved.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, foreign, or of an unknown format.
    """
    document, tensors = read_model(path)
    fitted = Fitted.from_parts(document, tensors, resolve_device(device))
    try:
        detector = VAEDetector(**document["parameters"])
        detector._validate_params()
        check_parameters(detector.get_params(deep=False))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} does not hold the parameters of a detector: {error}") from error
    detector._remember(fitted.inputs, fitted.frame)
    detector._expose(fitted)
    return detector


def _learn_pixels(frame: pd.DataFrame, shape: Sequence[int]) -> PixelSchema:
    """The schema of images; there must be a column for each pixel."""
    pixels = math.prod(shape)
    if frame.shape[1] != pixels:
        raise DataError(
            f"The rows have {frame.shape[1]} columns; images of image_shape={tuple(shape)} have {pixels} pixels."
        )
    return PixelSchema.learn(frame)
