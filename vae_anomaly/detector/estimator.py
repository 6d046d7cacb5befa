"""The estimator: its parameters, its fit and its file. What it answers stands beside, in judgement and codes."""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
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
from vae_anomaly.errors import DataError, ModelFileError, RowError
from vae_anomaly.fitted import Fitted
from vae_anomaly.parameters import check_parameters, plain
from vae_anomaly.persistence import read_model, write_model
from vae_anomaly.tables import Dataset, Drawn, PixelSchema, Schema, as_frame, draw, encoded, is_frame, reading_bar
from vae_anomaly.training.assembly import NUMBER_LIKELIHOODS
from vae_anomaly.training.callbacks import Monitor, ProgressBar
from vae_anomaly.training.checkpoints import checkpoint_folder
from vae_anomaly.training.devices import resolve_device
from vae_anomaly.training.settings import Settings
from vae_anomaly.updating import update_model

OF_ONE_FIT = ("verbose", "callbacks", "checkpoint")  # parameters that no model depends on


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
    checkpoint : path-like or None, default=None
        A folder in which ``fit`` keeps its state, written every few seconds. If it is killed, the same fit (same rows,
        parameters, device and versions; ``random_state`` must be given) goes on from there and ends in the same model,
        bit for bit; any other fit is an error that says how it differs. After a completed fit the state is removed.
        Calibration fits have files of their own.

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
        "checkpoint": [str, os.PathLike, None],
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
        checkpoint: str | os.PathLike[str] | None = None,
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
        self.checkpoint = checkpoint

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: object = None) -> Self:
        """Learn what rows of this table look like.

        Parameters
        ----------
        X : DataFrame, array-like or Dataset
            (rows, columns): pandas, polars, pyarrow or anything narwhals reads; or numbers as scikit-learn takes them.
            Or a `vae_anomaly.Dataset`, whose rows need not fit in memory: the model is that of the same rows in memory.
        y : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        VAEDetector
            The estimator itself. After an error or Ctrl-C it is what it was before.

        Notes
        -----
        Of a table of more than 262,144 rows, or of 33.5 million cells, so many rows are drawn, uniformly, and all are
        looked at once: for what each column is, its levels, and how many rows there are. Training draws its batches
        from them, which are then uniform rows of the table, as exemplars and threshold are of all rows in any case.
        A training that asks for more rows goes on with others, until all have had their turn.
        """
        check_parameters(self.get_params(deep=False))
        fitting = self._double()
        drawn, schema, seed = fitting._read_dataset(X) if isinstance(X, Dataset) else fitting._read(X)
        frame, held_out = drawn.frame, drawn.held_out
        bars = self._bars()
        monitor = Monitor(self, [*(self.callbacks or []), *bars])
        told = frame if isinstance(X, Dataset) else X
        with checkpoint_folder(self.checkpoint) as folder, monitor.whole_fit(fitting, told):
            fitted = fit_calibrated(
                schema,
                encoded(schema, frame, drawn.places),
                encoded(schema, frame, held_out) if held_out is not None and len(held_out) else None,
                list(frame.columns),
                isinstance(X, Dataset) or is_frame(X),
                settings=Settings.of(self.get_params(deep=False)),
                seed=seed,
                monitor=monitor,
                fold_monitor=Monitor(self, bars),
                others=drawn.others,
                folder=folder,
            )
            fitting._expose(fitted)
        self.__dict__ = fitting.__dict__
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: object = None) -> Self:
        """Learn from more rows, in memory that does not grow with those seen before; the first call is ``fit``.

        Training goes on from the weights as they are, with the rows that the model keeps (at most 4,096, a uniform
        sample of all that it has seen) and so many of the new ones that each row seen counts alike. Steps are done as
        the new rows are worth: their share of a fit, and up to ten times that where they score unlike the old ones;
        small calls often need none. So a model follows a stream as its past is outweighed, and many small calls come
        near to one large one. Exemplars, threshold, p-values, latents and ranges are then those of all rows seen; in
        novelty detection of a long table, exemplars are fewer than after ``fit``.

        Columns stay as they were in the first call: their kinds, scales, levels and which cells can be missing. Values
        of a category that were not seen then stay unseen ones, and numbers far beyond the range of then stay crowded
        together. Let the first call have rows enough, and fit again where they have changed.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns), as in ``fit``.
        y : ignored
            Present for scikit-learn's sake.

        Returns
        -------
        VAEDetector
            The estimator itself. After an error or Ctrl-C it is what it was before. Same calls with the same number as
            ``random_state``, same model, whether or not it was saved and loaded in between.

        Raises
        ------
        DataError
            The columns are not those of the first call; or the calibration is not "leave_one_out", for the others rest
            on rows that their model was not trained on.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> x = np.random.default_rng(0).normal(size=(600, 1))
        >>> X = np.hstack([x, 3 * x])
        >>> detector = VAEDetector(random_state=0).partial_fit(X[:300]).partial_fit(X[300:])
        >>> detector.n_samples_fit_
        600
        """
        if self.calibration != "leave_one_out":
            raise DataError(
                f"partial_fit trains on the rows that a model keeps; calibration={self.calibration!r} rests on rows "
                "that it was not trained on. Use calibration='leave_one_out'."
            )
        if not self.__sklearn_is_fitted__():
            return self.fit(X)
        check_parameters(self.get_params(deep=False))
        fitting = self._double()
        x, seed = self._encoded(X), check_random_state(self.random_state).randint(2**31 - 1)
        monitor = Monitor(self, [*(self.callbacks or []), *self._bars()])
        with monitor.whole_fit(fitting, X):
            settings = Settings.of(self.get_params(deep=False))
            fitting._expose(update_model(self._checked(), x, settings=settings, seed=seed, monitor=monitor))
        self.__dict__ = fitting.__dict__
        return self

    def _double(self) -> Self:
        """One that is as this is: what is learned goes there, and to this one at the end: all of it or nothing."""
        double = object.__new__(type(self))
        double.__dict__.update(self.__dict__)
        return double

    def _bars(self) -> list[object]:
        """Callbacks for people who watch."""
        return [ProgressBar()] if self.verbose else []

    def _read(self, X: Any) -> tuple[Drawn, Schema | PixelSchema, int]:
        """The rows to learn from, what the whole table is made of, and the seed that decides all chance of the fit."""
        table = X if isinstance(X, Dataset) else self._new_table(X)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        drawn = draw(table, seed, split=self.calibration == "split")
        if isinstance(X, Dataset):
            self._remember(list(drawn.frame.columns), True)
        if self.calibration != "leave_one_out" and drawn.survey is None:
            train, held_out = held_out_rows(len(drawn.frame), seed)
            drawn = replace(drawn, places=train, held_out=held_out) if self.calibration == "split" else drawn
        if self.image_shape is not None:
            return drawn, _learn_pixels(drawn, self.image_shape), seed
        return drawn, Schema.learn(drawn.frame, drawn.places, drawn.survey), seed

    def _read_dataset(self, X: Dataset) -> tuple[Drawn, Schema | PixelSchema, int]:
        """The same of a data set; errors say in which of its files a row is."""
        try:
            with reading_bar(X, shown=bool(self.verbose)):
                return self._read(X)
        except RowError as error:
            raise X.located(error) from error

    def _new_table(self, X: Any) -> pd.DataFrame:
        """A training table as a frame; its columns are remembered as scikit-learn remembers them."""
        if is_frame(X):
            frame = as_frame(X)
            self._remember(list(frame.columns), True)
            return frame
        array = validate_data(self, unmasked(X), dtype=np.float64, ensure_all_finite=False)
        return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])], copy=False)

    def _remember(self, inputs: list[str | int], frame: bool) -> None:
        """Set ``n_features_in_`` and, where the columns have names, ``feature_names_in_``."""
        self.__dict__.pop("feature_names_in_", None)
        self.n_features_in_ = len(inputs)
        if frame and all(isinstance(name, str) for name in inputs):
            self.feature_names_in_ = np.array(inputs, dtype=object)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted detector to one safetensors file; `vae_anomaly.load` reads it.

        Not kept is what a fit tells and where it keeps its state: ``verbose``, ``callbacks`` and ``checkpoint``.
        """
        document, tensors = self._checked().to_parts()
        asked = self.get_params(deep=False).items()
        parameters = {name: plain(value) for name, value in asked if name not in OF_ONE_FIT}
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


def _learn_pixels(drawn: Drawn, shape: Sequence[int]) -> PixelSchema:
    """The schema of images; there must be a column for each pixel."""
    pixels, columns = math.prod(shape), drawn.frame.shape[1]
    if columns != pixels:
        raise DataError(f"The rows have {columns} columns; images of image_shape={tuple(shape)} have {pixels} pixels.")
    return PixelSchema.learn(drawn.frame, drawn.places, drawn.survey)
