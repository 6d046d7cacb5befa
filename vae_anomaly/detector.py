"""VAEDetector: a scikit-learn estimator for anomaly detection with a variational autoencoder."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin, _fit_context
from sklearn.utils import Tags, check_random_state, estimator_html_repr
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from vae_anomaly.config import Settings, as_json, check_parameters, resolve_device
from vae_anomaly.data.columns import ShapeColumn
from vae_anomaly.data.containers import in_container
from vae_anomaly.data.parse import as_array, as_frame, fill, index_of, is_frame
from vae_anomaly.diagnose.diagnosis import diagnose_model
from vae_anomaly.errors import DataError, ModelFileError, NoDensityError
from vae_anomaly.explain.explanation import explain
from vae_anomaly.explain.repair import suggest_changes
from vae_anomaly.fit import fit_calibrated, learn_table
from vae_anomaly.fitted import FittedModel, check_asked
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.io.model_file import read_model, write_model
from vae_anomaly.model.likelihoods import NUMBER_LIKELIHOODS
from vae_anomaly.monitor.drift import Drift, comparable_scores, find_drift
from vae_anomaly.scoring.calibration import FALSE_ALARM_RATE, Calibration, calibrate, severities
from vae_anomaly.scoring.decide import FlaggingRule
from vae_anomaly.scoring.impute import fill_missing
from vae_anomaly.training.callbacks import CallbackRunner, ProgressBar
from vae_anomaly.training.checkpoints import checkpoint_folder
from vae_anomaly.update import update_model

if TYPE_CHECKING:
    from vae_anomaly.plots import DetectorPlots

NOT_SAVED = ("verbose", "callbacks", "checkpoint")  # parameters that the model does not depend on


class VAEDetector(OutlierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Outlier and novelty detection with a variational autoencoder (VAE).

    The score of a row is its ELBO, an estimate of its log density in nats: the lower, the more anomalous. In tables,
    cells that a second model finds far from what it expects lower it further; in novelty detection this takes a column
    of categories. Columns may hold numbers, booleans, categories, text, dates and missing cells. A missing cell adds
    the average of its column.

    Text in a column of numbers, durations or truth values, and text that is no date in a column of dates, is an
    unreadable cell: it has the probability of one row among the training rows, spread over all numbers that a cell can
    hold. In ``fit``, and in each batch to score, at most a tenth of a column may be unreadable; a single row may have
    any such cell.

    Answers that are frames are in the container (pandas, polars, pyarrow) that ``set_output`` asks for, else in that of
    the rows that are given, or of the training table.

    Parameters
    ----------
    purpose : {"detection", "representation"}, default="detection"
        What "auto" optimises for. "detection": scores that distinguish anomalous rows. "representation": latents for
        something else, such as features for another model, new rows, or filling missing cells. A representation has one
        member, trains on all rows for up to 1,000 steps from principal components with a warmed-up KL, and uses
        convolutions for images of at least 16 pixels a side.
    n_components : int or "auto", default="auto"
        Number of latents. "auto": 16, but not more than the encoder has inputs. In novelty detection under an exemplar
        prior, 32 or as many principal components as carry 99 % of the variance of the standardised columns, up to 256,
        but no component without variance.
    hidden_layer_sizes : sequence of int or "auto", default="auto"
        Widths of the encoder's hidden layers; the decoder has them in reverse. "auto": (64, 64). With convolutions they
        are channels, and each layer halves the sides of the image; "auto" is then (16, 32).
    likelihood : {"auto", "gaussian", "student_t", "bernoulli"}, default="auto"
        Density of numbers. "auto": Student-t in outlier detection, otherwise Gaussian; Bernoulli for a convolutional
        representation of images that are nearly black and white. "bernoulli" is only for pixels, whose value is the
        probability of white. Each column has a noise scale, which is learned; a representation of images, or of a table
        under an exemplar prior, has one scale for all columns. Two-valued columns are always Bernoulli, and categories
        categorical.
    prior : {"auto", "gaussian", "exemplar"}, default="auto"
        Density of the latents: a standard normal, or a mixture around the latent means of training rows (Exemplar VAE,
        arXiv 2004.04795). "auto": exemplar; gaussian below 10 rows, and for a representation of a table, unless no cell
        is missing and most columns share their smallest and largest value, as pixels do or answers on one scale.
    beta : float, default=1.0
        Weight of the KL in training. Scores always have weight 1.
    bound : {"elbo", "iwae"}, default="elbo"
        Bound of the log density of which the score is an estimate: the ELBO, or the tighter importance-weighted bound
        (arXiv 1509.00519). It is fixed by ``fit``.
    variational : bool, default=True
        False fits a plain autoencoder: no prior, no KL, and the score is minus the squared error.
    image_shape : (channels, height, width), optional
        Rows are images of this shape, flattened with the channels first. All pixels have one scale, and none is left
        out.
    kinds : dict of column name to kind, optional
        Kinds of columns that are to differ from what the rows suggest: "number", "category" (also of numbers, such as
        accounts), "flag" (two values, 0 and 1), "date" (ISO 8601), "text" (of which only the shape counts, as of
        identifiers) or "ignore".
    n_estimators : int or "auto", default="auto"
        Members of the ensemble, trained side by side. Scores are means over the members; latents are those of the
        first. "auto": 3 in outlier detection; 2 in novelty detection, of which one measures columns by their standard
        deviation and one by their range; 1 in novelty detection of images and for a representation.
    novelty : bool, default=False
        False (outlier detection): the training rows may contain anomalies. Training is short and leaves the most
        anomalous rows of each batch out, and training rows get leave-one-out scores. True (novelty detection): the
        training rows are normal. Training starts at principal components, up to 20,000 rows become exemplars, and
        training ends when held-out rows stop improving.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Fraction of anomalies among the training rows. With "auto", rows are flagged if their p-value is at most 1 %: a
        normal row is as anomalous at most once in 100 times. A number sets the threshold so that this fraction of the
        training rows is flagged. In outlier detection it is also the fraction of each batch that training leaves out;
        "auto" leaves out what lies beyond Tukey's fence in each batch.
    calibration : {"leave_one_out", "split", "cross"}, default="leave_one_out"
        Which reference scores set the threshold and the p-values. "leave_one_out": those of training rows, none of
        which is its own exemplar. It costs nothing, and is accurate for tables of a few hundred rows or more under an
        exemplar prior. "split": those of a fifth of the rows, which are kept from training: p-values are exact, but
        training has fewer rows. "cross": those of all rows, each under a model fitted without its fifth of the rows:
        for small tables and for models without exemplars; five more models are fitted.
    max_iter : int or "auto", default="auto"
        Largest number of gradient steps. "auto": 200 in outlier detection; 60 in novelty detection, 300 with a Gaussian
        prior; 1,000 for a representation, with convolutions 30 epochs, but from 1,000 to 5,000 steps.
    batch_size : int or "auto", default="auto"
        Rows of a gradient step, for each member. "auto": 256, with convolutions 128.
    learning_rate : float, default=0.002
        Peak learning rate of Adam.
    validation_fraction : float in [0, 1), default=0.1
        Fraction of the rows held out for early stopping, in novelty detection and for a representation. If it is fewer
        than 10 rows, none are held out.
    n_draws : int, default=2
        Draws from the posterior that are decoded to score a row, the same for all rows, in pairs of opposite sign where
        the number is even. They are signs (-1 or 1), the set of several that gives the training rows their mean level;
        for ``bound="iwae"`` normal draws. The KL needs no draws.
    device : str, default="auto"
        "auto" takes CUDA if available, otherwise the CPU; or a torch device such as "cpu" or "cuda:1".
    precision : {"auto", "float32", "float64"}, default="auto"
        "auto" trains in float32 and scores in float64.
    random_state : int, RandomState or None, default=None
        Fits with the same data and the same number give the same model.
    verbose : int, default=0
        1 shows a progress bar on standard error.
    callbacks : list or None, default=None
        Objects with methods of `vae_anomaly.training.callbacks`.
    checkpoint : path-like or None, default=None
        Folder in which ``fit`` saves its state every few seconds. A fit that was killed continues from there when it is
        run again with the same rows, parameters, device and versions, and ends with the same model, bit for bit; any
        other fit raises an error that reports the difference. It needs a ``random_state``. A completed fit removes its
        state. Calibration fits have files of their own.

    Attributes
    ----------
    offset_ : float
        Score below which a row is anomalous: the score at which the p-value passes ``false_alarm_rate_``.
    false_alarm_rate_ : float
        Largest p-value of flagged rows, the fraction of normal rows that are flagged at most: 0.01 unless
        ``contamination`` is a number or ``offset_`` was changed. In novelty detection fewer than 100 reference rows do
        not support it: rows are then flagged that are more anomalous than all of them.
    schema_ : Schema
        Columns in use, their kinds with the reason where the type of the column does not say it, and the columns left
        out with the reason.
    history_ : dict of lists
        The objective during training, one number for each round of steps.
    n_iter_, batch_size_, n_components_, n_estimators_, hidden_layer_sizes_ : int, int, int, int, tuple
        Values used in place of "auto"; ``n_iter_`` is the number of steps taken.
    likelihood_, prior_ : str
        The same for density and prior; ``prior_`` is None for a plain autoencoder.
    device_ : torch.device
        Device that computes scores.
    n_samples_fit_, n_features_in_ : int
        Rows and columns of the training table.
    latents_ : DataFrame
        A row for each latent, over the training rows: ``mean`` and ``std`` of the posterior means, the posterior's own
        standard deviation ``posterior_std``, the mean ``kl`` in nats, and ``active``: the latent distinguishes rows.
    baseline_contributions_ : list of float
        Mean contribution of each column where it is observed, and of the latent term, in nats, over training rows that
        are not anomalous.
    versions_ : dict
        Versions of Python and of the libraries that fitted the model.
    model_ : FittedModel
        The fitted model for other packages: schema, scorer, reference rows, and the verbs to encode and decode tables.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.9], [0, 0.1]]
    >>> detector = VAEDetector(random_state=0).fit(X)
    >>> detector.predict([[1.0, 0.9], [1.0, -0.9]])  # each value is common, the second pair is not
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
        "kinds": [dict, None],
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

    _calibrated: tuple[Any, Calibration | None] = None, None  # what was asked for last, and its calibration
    _container = "pandas"  # module of the training table's type, for frames without one to be like

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
        kinds: Mapping[Any, str] | None = None,
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
        self.kinds = kinds
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
        """Fit the model to a table.

        Parameters
        ----------
        X : DataFrame, array-like or Dataset
            (rows, columns): a pandas, polars or pyarrow table, or any other that narwhals reads; an array of numbers;
            or a `vae_anomaly.Dataset`, which may be larger than memory and gives the same model as its rows in memory.
        y : ignored
            For compatibility with scikit-learn.

        Returns
        -------
        VAEDetector
            The estimator itself. After an error or Ctrl-C it is unchanged.

        Notes
        -----
        Tables of more than 262,144 rows, or 33.5 million cells, are subsampled uniformly for training; column types,
        levels and the row count still come from every row. If training needs more rows than the sample has, it
        continues with other rows until all have been used.
        """
        check_parameters(self.get_params(deep=False))
        settings = Settings.of(self.get_params(deep=False))
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        frame, table = learn_table(X, settings, seed, verbose=bool(self.verbose))
        bars = [ProgressBar()] if self.verbose else []
        callbacks = CallbackRunner(self, [*(self.callbacks or []), *bars])
        fitting = object.__new__(type(self))  # learns in place of this one, so that an error leaves this one unchanged
        fitting.__dict__.update(self.__dict__)
        checkpoints = nullcontext() if self.checkpoint is None else checkpoint_folder(self.checkpoint)
        with checkpoints as folder, callbacks.whole_fit(fitting, frame if isinstance(X, Dataset) else X):
            fitted = fit_calibrated(
                table,
                settings=settings,
                seed=seed,
                callbacks=callbacks,
                fold_callbacks=CallbackRunner(self, bars),
                folder=folder,
            )
            fitting._expose(fitted)
        fitting._container = type(X).__module__
        self.__dict__ = fitting.__dict__
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: object = None) -> Self:
        """Continue training with more rows; the first call is ``fit``. Memory does not grow with the rows seen before.

        Training continues from the current weights, on a uniform sample of all rows seen: the rows that the model keeps
        (at most 4,096) and a fraction of the new ones. The number of steps depends on what the new rows are worth:
        their fraction of a fit, and up to ten times as much where their scores differ from earlier ones. Small calls
        often take no steps. A model thus follows a stream gradually, and many small calls amount to one large one.
        Exemplars, threshold, p-values, latents and ranges are updated to all rows seen. In novelty detection of a long
        table there are fewer exemplars than after ``fit``.

        Kinds and scales of the columns, and which cells can be missing, stay as in the first call; numbers far outside
        its range are log-compressed. Levels of categories that are new are learned. Start with enough rows, and call
        ``fit`` again if the columns have changed.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns), as in ``fit``.
        y : ignored
            For compatibility with scikit-learn.

        Returns
        -------
        VAEDetector
            The estimator itself. After an error or Ctrl-C it is unchanged. The same calls with the same number as
            ``random_state`` give the same model, also if it was saved and loaded in between.

        Raises
        ------
        DataError
            The columns are not those of the first call, or the calibration is not "leave_one_out": the others use rows
            that the model was not trained on.

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
                f"partial_fit trains on the rows that a model keeps; calibration={self.calibration!r} uses rows that "
                "it was not trained on. Use calibration='leave_one_out'."
            )
        if not self.__sklearn_is_fitted__():
            return self.fit(X)
        check_parameters(self.get_params(deep=False))
        settings = Settings.of(self.get_params(deep=False))
        frame, seed = self.model_.frame_of(X), check_random_state(self.random_state).randint(2**31 - 1)
        callbacks = CallbackRunner(self, [*(self.callbacks or []), *([ProgressBar()] if self.verbose else [])])
        fitting = object.__new__(type(self))
        fitting.__dict__.update(self.__dict__)
        with callbacks.whole_fit(fitting, X):
            fitting._expose(update_model(self.model_, frame, settings=settings, seed=seed, callbacks=callbacks))
        self.__dict__ = fitting.__dict__
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """ELBO of each row, (rows,), in nats: the lower, the more anomalous.

        In outlier detection a training row does not count as its own exemplar: a row whose latent means nearly equal
        those of an exemplar is taken for it, and the closer they are the less that exemplar counts, so that the score
        changes little when the row does. A row with missing cells is scored on the scale of complete rows: a missing
        cell adds the mean of its column, and what the observed cells add beyond their means is stretched, so that
        normal rows are flagged equally often whatever they lack (see `vae_anomaly.scoring.missing`).

        The nats of single cells that stand out are taken off the ELBO: cells that a second model, trained on all rows,
        reconstructs far worse than nearly all others of their column (see `vae_anomaly.scoring.cells`). There is one in
        outlier detection in tables, and in novelty detection in tables with categories.
        """
        fitted = self.model_
        return fitted.scorer.score(fitted.encode(X))

    def anomaly_score(self, X: Any) -> np.ndarray:
        """Negative `score_samples` of each row, (rows,), in nats: the higher, the more anomalous."""
        return -self.score_samples(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """``score_samples(X) - offset_``, (rows,): negative for anomalous rows."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 for anomalous rows, +1 for others, (rows,).

        A row is anomalous if its p-value is at most ``false_alarm_rate_``, which is the case if its score is below
        ``offset_``.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def score(self, X: Any, y: object = None) -> float:
        """Mean ELBO of the rows, in nats, for model selection: the higher, the better."""
        return float(self.score_samples(X).mean())

    def explain(self, X: Any, *, long: bool = False) -> pd.DataFrame:
        """Contribution of each column to each row's score, with the observed and the expected value.

        The contributions of the columns and the latent term add up to the anomaly score. A column contributes the
        negative log-likelihood of its cell and the part of the KL that the cell carries, to first order (see
        `vae_anomaly.model.objectives`). Its surprise is the contribution minus its mean over training rows that are not
        anomalous. The expected value and its range, the central 90 %, are those of the 16 to 40 reference rows that are
        most similar in the other columns; columns that are themselves anomalous in the row are left out of this
        comparison. A cell has a reason only if it is anomalous given the others: its number lies outside the range, or
        its value is rare among the similar rows or in the whole table.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).
        long : bool
            Return one row for each cell, grouped by row, the most surprising first, with the reason in words.

        Returns
        -------
        DataFrame
            With two levels of columns: ``nats``, ``surprise``, ``value``, ``expected``, ``low`` and ``high``, and below
            each the columns in use, under ``nats`` and ``surprise`` also "(latent)". Columns that are not numbers have
            no range. The index is that of ``X``, if it has one. If ``long``, the columns are row, column, those six,
            and reason.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.9], [0, 0.1]]
        >>> detector = VAEDetector(random_state=0).fit(X)
        >>> explained = detector.explain([[1.0, -0.9]])
        >>> bool(np.isclose(explained["nats"].sum(axis=1), detector.anomaly_score([[1.0, -0.9]])).all())
        True
        """
        found = explain(self.model_, X)
        return self._answer(found.long() if long else found.wide(), X)

    def reasons(self, X: Any, *, max_cells: int = 3) -> pd.Series:
        """The most surprising cells of each row in words, at most ``max_cells``, most surprising first, (rows,).

        Only cells that are anomalous given the others are named (see `explain`), and after the first only those of at
        least half its surprise. If there is none, the columns do not go together.
        """
        found = explain(self.model_, X)
        reasons = pd.Series(found.reasons(max_cells), index=found.nats.index, name="reason", dtype=object)
        return self._answer(reasons, X)

    def suggest(self, X: Any, *, max_changes: int = 5) -> pd.DataFrame:
        """The few cells to change in each anomalous row so that it counts as normal, with suggested values.

        A greedy search: the most surprising columns are set to the value expected given the other columns (see
        `explain`), the change that helps most is kept, and changes that turn out unnecessary are undone. Every changed
        row is scored by the model.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns). Rows that are not anomalous need no change.
        max_changes : int
            Largest number of cells to change in a row.

        Returns
        -------
        DataFrame
            A row for each cell to change: ``row`` (from the index of ``X``, or its number from 0), ``column``,
            ``value`` and ``suggestion``; for the whole row ``anomaly_score``, the ``new_score`` after all its changes,
            and ``is_normal``. A row that cannot be made normal has the changes that help, and ``is_normal`` False.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> x = np.random.default_rng(0).normal(size=(500, 1))
        >>> detector = VAEDetector(novelty=True, random_state=0).fit(np.hstack([x, 3 * x, -x]))
        >>> change = detector.suggest([[1.0, 3.0, 8.0]])
        >>> change["column"].tolist(), bool(change["is_normal"].all())
        (['x2'], True)
        """
        if not isinstance(max_changes, Integral) or max_changes < 1:
            raise ValueError(f"max_changes must be a whole number from 1 up. Got {max_changes!r}.")
        return self._answer(suggest_changes(self.model_, X, int(max_changes)), X)

    def p_values(self, X: Any, *, contamination: float | str | None = None, extrapolate: bool = False) -> np.ndarray:
        """p-value of each row: the probability that a normal row has a score at least as anomalous.

        The scores are compared with out-of-sample or leave-one-out scores of the model's reference rows (see
        ``calibration``). These rows and the normal rows of ``X`` must come from the same distribution.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).
        contamination : float in [0, 0.5] or "auto", optional
            Fraction of anomalies among the reference rows. 0 treats all as normal, which is conservative: anomalies
            among them make other rows look normal. Otherwise rows far beyond the others have smaller p-values than
            that, from a heavy Pareto tail fitted to the reference rows without the most anomalous ones; these are too
            small where a dense group of normal rows lies far beyond the others. "auto" estimates the fraction: in
            tables at most that of rows in which a cell stands out or that are far from all others, and a few more.
            Default: 0 in novelty detection, otherwise the detector's own contamination.
        extrapolate : bool
            If all reference rows are treated as normal, extend p-values below 1 / (reference rows + 1) by a Pareto tail
            fitted to the most anomalous tenth. With contamination this is always done.

        Returns
        -------
        ndarray
            (rows,). Without extrapolation they are conformal p-values, at least 1 / (reference rows + 1); with it they
            are at least a hundredth of that. They are raised slightly to keep the order of the scores.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.9], [0, 0.1]]
        >>> detector = VAEDetector(novelty=True, calibration="split", random_state=0).fit(X)
        >>> bool(detector.p_values([[1.0, -0.9]])[0] < 0.05)
        True
        """
        scores = self.score_samples(X)
        return self._calibration(contamination, extrapolate).p_values(scores)

    def detect(
        self,
        X: Any,
        *,
        fdr: float | None = None,
        alerts: int | None = None,
        false_alarm_rate: float | None = None,
        method: str = "bh",
        contamination: float | str | None = None,
        extrapolate: bool = False,
    ) -> pd.DataFrame:
        """Flag anomalous rows, by an acceptable error rate or by the number of alerts; nothing is fitted again.

        ``false_alarm_rate`` limits how many of the *normal* rows are flagged: of 10,000 normal rows 0.01 flags about
        100, whether or not there are anomalies. ``fdr`` limits how many of the *flagged* rows are normal, and flags
        none if no row is anomalous enough: 10 rows of 10,000 need p-values of about 0.0001 for an ``fdr`` of 0.1.
        ``alerts`` flags that many rows, however anomalous. Without a rule, rows are flagged as in `predict`.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).
        fdr : float in (0, 1), optional
            False discovery rate: the expected fraction of normal rows among the flagged ones, at most.
        alerts : int, optional
            Number of rows to flag, the most anomalous.
        false_alarm_rate : float in (0, 1), optional
            Fraction of normal rows that are flagged, at most.
        method : {"bh", "by", "storey"}
            Procedure that controls ``fdr``: Benjamini-Hochberg, Benjamini-Yekutieli (valid under any dependence, flags
            fewer) or Storey (estimates the fraction of normal rows, flags more).
        contamination, extrapolate
            As in `p_values`.

        Returns
        -------
        DataFrame
            (rows, 4): ``anomaly_score``; ``p_value``; ``severity``, the percentage of the reference scores below that
            of the row, 0 to 100; and ``is_anomaly``. Without ``fdr``, ``alerts`` or ``false_alarm_rate``, rows are
            flagged as in `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.9], [0, 0.1]]
        >>> detector = VAEDetector(random_state=0).fit(X)
        >>> int(detector.detect(X, alerts=5)["is_anomaly"].sum())
        5
        """
        rule = FlaggingRule(fdr=fdr, alerts=alerts, false_alarm_rate=false_alarm_rate, method=method)
        scores = self.score_samples(X)
        p_values = self._calibration(contamination, extrapolate).p_values(scores)
        flagged = rule.flag(scores, p_values, self.offset_)
        severity = severities(scores, self.model_.reference.scores)
        table = {"anomaly_score": -scores, "p_value": p_values, "severity": severity, "is_anomaly": flagged}
        return self._answer(pd.DataFrame(table, index=index_of(X)), X)

    def drift(
        self,
        X: Any,
        *,
        level: float = 0.05,
        ordered: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> Drift:
        """Test whether rows still come from the distribution of the training rows.

        Every column and the score are compared with the training rows that the model keeps: at most 4,096, so the
        smallest change that can be found is in about 3 % of the rows. The tests assume that rows are independent.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).
        level : float in (0, 1)
            Probability, at most, of reporting drift if nothing has changed.
        ordered : bool
            The rows are a stream: a martingale over the scores also detects a change that starts at some row, and uses
            half of the level. False for a table whose order has no meaning, or that is sorted.
        random_state : int, RandomState or None
            Breaks ties and fits a second model. A model scores its own training rows too well for a fair comparison, so
            a model of half of the kept rows scores the other half and ``X``. With ``calibration="split"``, or a table
            of numbers alone with more than 4,096 rows, there is no second model.

        Returns
        -------
        Drift
            ``columns``, a frame, with a message for whatever has drifted; ``stream``; ``drifted``.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.default_rng(0).normal(size=(400, 2))
        >>> detector = VAEDetector(calibration="split", random_state=0).fit(X[:200])
        >>> detector.drift(X[200:], random_state=0).drifted
        False
        >>> detector.drift(X[200:] + [0, 1], random_state=0).columns["message"]["x1"]
        'shifted up by 1.1 deviations'
        """
        if not (isinstance(level, Real) and 0 < level < 1):
            raise ValueError(f"level must be a number between 0 and 1. Got {level!r}.")
        fitted = self.model_
        x = fitted.encode(X)
        seed = check_random_state(random_state).randint(2**31 - 1)
        old, new = comparable_scores(fitted, x, Settings.of(self.get_params(deep=False)), seed)
        cells, rng = fitted.reference.cells, np.random.default_rng(seed)
        x = fitted.encode(X, holds=False)  # a change of the dates is a drift
        return find_drift(fitted.schema, cells, x, old, new, level=level, ordered=ordered, rng=rng)

    def diagnose(self, *, quick: bool = False) -> pd.DataFrame:
        """Check the fitted model without labels: what it learned, how training went, and how it scores training rows.

        The checks use the training rows that the model keeps, at most 4,096, with leave-one-out or out-of-sample
        scores. Checks that have no meaning for the model, such as dependence between columns where there is one column,
        are left out.

        Parameters
        ----------
        quick : bool
            Only check the table, the course of training, and for levels of categories with rows that the model has not
            learned, which takes a few hundredths of the time of a fit.

        Returns
        -------
        DataFrame
            A row for each ``check``: the ``value`` that was measured, the ``verdict`` ("good"; "look" where a person
            should judge; "bad" where the model does not do what it is for), and a ``message`` that says what was
            found and what to do.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.9], [0, 0.1]]
        >>> found = VAEDetector(beta=1000, random_state=0).fit(X).diagnose().set_index("check")
        >>> found.loc["active_latents", "verdict"]
        'bad'
        """
        settings = Settings.of(self.get_params(deep=False))
        return pd.DataFrame(diagnose_model(self.model_, settings, quick=quick))

    @property
    def plot(self) -> "DetectorPlots":
        """Figures as methods, for a notebook to show as the last expression of a cell (the extra ``plots``).

        ``plot.scores(X)``, ``.anomalies(X)``, ``.reasons(row)``, ``.latents(X)``, ``.history()``,
        ``.reconstructions(X)``, ``.samples(X)``, ``.traversal()`` and ``.drift(X)``; each returns a matplotlib
        ``Figure``.
        """
        from vae_anomaly.plots import DetectorPlots

        return DetectorPlots(self)

    def transform(self, X: Any) -> np.ndarray:
        """Latents of the rows: posterior means of the first member, (rows, ``n_components_``)."""
        fitted = self.model_
        return fitted.scorer.encode(fitted.encode(X))

    def inverse_transform(self, Z: Any) -> pd.DataFrame | np.ndarray:
        """Expected rows for latents ``Z`` (rows, ``n_components_``), in the table's own columns and types."""
        fitted = self.model_
        latents = check_array(Z, dtype=np.float64)
        if latents.shape[1] != fitted.architecture.n_components:
            raise DataError(
                f"Z has {latents.shape[1]} columns; this model has {fitted.architecture.n_components} latents."
            )
        return self._answer(fitted.decode(fitted.scorer.decode(latents)))

    def reconstruct(self, X: Any) -> pd.DataFrame | np.ndarray:
        """Reconstruction of each row: ``inverse_transform(transform(X))``, missing cells filled in."""
        fitted = self.model_
        return self._answer(fitted.decode(fitted.scorer.decode(fitted.scorer.encode(fitted.encode(X))), index_of(X)), X)

    def impute(self, X: Any) -> pd.DataFrame | np.ndarray:
        """The rows with every missing cell filled by its expected value given the observed cells.

        Fit with ``purpose="representation"`` for this: other models learn less about how columns depend on each other.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).

        Returns
        -------
        DataFrame or ndarray
            A copy in which observed cells, unreadable ones, and columns that the model does not use, are unchanged.
            Filled numbers stay within the range of the training rows.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> x = np.random.default_rng(0).normal(size=(500, 1))
        >>> detector = VAEDetector(purpose="representation", random_state=0).fit(np.hstack([x, 3 * x]))
        >>> detector.impute([[1.0, np.nan]]).round()
        array([[1., 3.]])
        """
        fitted = self.model_
        x = fitted.encode(X)
        filled = fitted.schema.decode(fill_missing(fitted.scorer, x, *fitted.ranges))
        missing = fitted.schema.missing(x)
        if not fitted.is_frame or not is_frame(X):
            table = as_array(X).copy()
            used = [fitted.inputs.index(name) for name in fitted.schema.names]
            table[:, used] = np.where(missing, filled.to_numpy(dtype=np.float64), table[:, used])
            return table
        frame = as_frame(X).copy()
        for place, name in enumerate(fitted.schema.names):
            if isinstance(fitted.schema.columns[place], ShapeColumn):
                continue  # a text cannot be known from its shape
            frame[name] = fill(frame[name], filled[name], missing[:, place])
        return self._answer(frame, X, like=X)

    def traverse(
        self, dimension: int, *, span: float = 3.0, n_samples: int = 11, X: Any = None
    ) -> pd.DataFrame | np.ndarray:
        """Expected rows along one latent, with the other latents fixed.

        Parameters
        ----------
        dimension : int
            Index of the latent, from 0; ``latents_`` reports which are active.
        span : float
            Distance to either side of the latent's mean, in standard deviations of its values over the training rows.
        n_samples : int
            Number of rows, evenly spaced.
        X : DataFrame or array-like, optional
            (1, columns): a row that sets the other latents. By default they are at their means.

        Returns
        -------
        DataFrame or ndarray
            (n_samples, columns), in the table's own columns and types; a frame's index is the latent's value.
        """
        fitted = self.model_
        n_components = fitted.architecture.n_components
        if not isinstance(dimension, Integral) or not 0 <= dimension < n_components:
            raise DataError(f"There is no latent {dimension!r}; this model has 0 to {n_components - 1}.")
        if not isinstance(n_samples, Integral) or n_samples < 1 or not (np.isfinite(span) and span >= 0):
            raise ValueError(f"traverse needs span >= 0 and n_samples >= 1. Got {span!r} and {n_samples!r}.")
        fixed = np.array([fitted.latents.mean]) if X is None else self.transform(X)
        if len(fixed) != 1:
            raise DataError(f"X sets the other latents with one row; it has {len(fixed)} rows.")
        latents = np.repeat(fixed, n_samples, axis=0)
        steps = np.linspace(-span, span, n_samples)
        latents[:, dimension] = fitted.latents.mean[dimension] + steps * fitted.latents.reach[dimension]
        index = pd.Index(latents[:, dimension], name=self.get_feature_names_out()[dimension])
        return self._answer(fitted.decode(fitted.scorer.decode(latents), index))

    def sample(self, n_samples: int = 1, *, random_state: int | np.random.RandomState | None = None) -> Any:
        """Draw new rows from the model: latents from the prior, cells from the decoder.

        Parameters
        ----------
        n_samples : int
            Number of rows to draw.
        random_state : int, RandomState or None
            The same number gives the same rows.

        Returns
        -------
        DataFrame or ndarray
            (n_samples, columns), like the training table.

        Raises
        ------
        NoDensityError
            The model is a plain autoencoder.
        """
        fitted = self.model_
        if not fitted.architecture.variational:
            raise NoDensityError(
                "A plain autoencoder (variational=False) has no density to draw from. Fit with variational=True."
            )
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be a whole number from 1 up. Got {n_samples!r}.")
        seed = check_random_state(random_state).randint(2**31 - 1)
        return self._answer(fitted.decode(fitted.scorer.sample(n_samples, seed)))

    @property
    def model_(self) -> FittedModel:
        """The fitted model, with the threshold as ``offset_`` has it now: what other packages use of a detector.

        Raises
        ------
        NotFittedError
            The detector is not fitted.
        """
        check_is_fitted(self)
        return replace(self._model, record=replace(self._model.record, offset=float(self.offset_)))

    @property
    def false_alarm_rate_(self) -> float:
        """Largest p-value of rows that score below ``offset_``.

        Raises
        ------
        NotFittedError
            The detector is not fitted.
        """
        around = np.array([np.nextafter(self.model_.record.offset, -np.inf), self.offset_])
        below, at = self._calibration(None, extrapolate=False).p_values(around)
        return FALSE_ALARM_RATE if below <= FALSE_ALARM_RATE < at else float(below)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted detector to one safetensors file; `vae_anomaly.load` reads it.

        The file holds all parameters except ``verbose``, ``callbacks`` and ``checkpoint``.
        """
        document, tensors = self.model_.to_parts()
        asked = self.get_params(deep=False).items()
        parameters = {name: as_json(value) for name, value in asked if name not in NOT_SAVED}
        write_model(path, {**document, "parameters": parameters}, tensors)

    def _answer(self, answer: Any, X: Any = None, *, like: Any = None) -> Any:
        """A frame in the container that ``set_output`` asks for, else in that of ``X``, or of the training table."""
        asked = getattr(self, "_sklearn_output_config", {}).get("transform") or get_config()["transform_output"]
        own = self._container if X is None else type(X).__module__
        is_alike = asked == "default"
        return in_container(answer, own if is_alike else asked, like if is_alike else None)

    def _calibration(self, contamination: float | str | None, extrapolate: bool) -> Calibration:
        """Converter of scores to p-values."""
        if contamination is None:
            contamination = 0 if self.novelty else self.contamination
        if contamination != "auto" and not (isinstance(contamination, Real) and 0 <= contamination <= 0.5):
            raise ValueError(f"contamination must be 'auto' or a number from 0 to 0.5. Got {contamination!r}.")
        asked, (known, calibration) = (contamination, bool(extrapolate)), self._calibrated
        if calibration is None or asked != known:  # it takes milliseconds, more than the scores of a few rows
            model = self.model_
            calibration = calibrate(
                model.reference.scores,
                contamination=contamination,
                extrapolate=extrapolate,
                most_anomalies=model.record.most_anomalies,
            )
            self._calibrated = asked, calibration
        return calibration

    def _expose(self, fitted: FittedModel) -> None:
        """Set the public attributes."""
        record, architecture = fitted.record, fitted.architecture
        self._model = fitted
        self._calibrated = None, None
        self.__dict__.pop("feature_names_in_", None)
        self.n_features_in_ = len(fitted.inputs)
        if fitted.is_frame and all(isinstance(name, str) for name in fitted.inputs):
            self.feature_names_in_ = np.array(fitted.inputs, dtype=object)
        self.offset_ = record.offset
        self.history_ = record.history
        self.n_iter_ = record.n_iter
        self.batch_size_ = record.batch_size
        self.baseline_contributions_ = fitted.missing.means.tolist()
        self.versions_ = record.versions
        self.schema_ = fitted.schema
        self.n_components_ = architecture.n_components
        self.n_estimators_ = architecture.n_estimators
        self.likelihood_ = architecture.number_likelihood
        self.hidden_layer_sizes_ = architecture.hidden_layer_sizes
        self.prior_ = architecture.prior if architecture.variational else None
        self._n_features_out = architecture.n_components
        prefix = type(self).__name__.lower()
        names = [f"{prefix}{i}" for i in range(architecture.n_components)]  # as in get_feature_names_out
        self.latents_ = pd.DataFrame(asdict(fitted.latents), index=names).assign(active=fitted.latents.active)
        self.device_ = fitted.scorer.draws.device
        self.n_samples_fit_ = fitted.schema.n_rows

    def _html_repr(self) -> str:
        """scikit-learn's picture of the estimator, and below it the table that it was fitted to."""
        html = estimator_html_repr(self)
        return f"{html}{self.schema_._repr_html_()}" if self.__sklearn_is_fitted__() else html

    def _repr_html_inner(self) -> str:
        return self._html_repr()  # where scikit-learn 1.6 and 1.7 look for it

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = super()._repr_mimebundle_(**kwargs)
        return {kind: self._html_repr() if kind == "text/html" else text for kind, text in bundle.items()}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Pickled as a JSON document and arrays, so that a model fitted on a GPU can be unpickled anywhere."""
        state = dict(super().__getstate__())
        if "_model" in state:
            state["_model"] = self.model_.to_parts()
            state.pop("device_")
            state.pop("_calibrated", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        parts = state.pop("_model", None)
        super().__setstate__(state)
        if parts is not None:
            document, tensors = parts
            self._expose(FittedModel.from_parts(document, tensors, torch.device("cpu")))


def load(path: str | os.PathLike[str], *, device: str = "auto") -> VAEDetector:
    """Read a detector that `VAEDetector.save` wrote; nothing in the file is executed.

    Parameters
    ----------
    path : path-like
        Model file.
    device : str
        Device that computes scores; "auto" takes CUDA if available.

    Returns
    -------
    VAEDetector
        Fitted, with the same scores as the detector that was saved.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, not a model file, or in an unknown format.
    """
    document, tensors = read_model(path)
    fitted = FittedModel.from_parts(document, tensors, resolve_device(device))
    try:
        detector = VAEDetector(**document["parameters"])
        detector._validate_params()
        check_parameters(detector.get_params(deep=False))
        check_asked(detector.get_params(deep=False), fitted)
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"{path} does not hold the parameters of a detector: {error}") from error
    detector._expose(fitted)
    return detector
