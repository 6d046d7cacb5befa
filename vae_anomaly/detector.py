"""The detector: a scikit-learn estimator around a variational autoencoder."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin, _fit_context
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from vae_anomaly.config import Settings, as_json, check_parameters, resolve_device
from vae_anomaly.data.parse import as_frame, fill, index_of, is_frame, unmasked
from vae_anomaly.diagnose.diagnosis import diagnose_model
from vae_anomaly.errors import DataError, ModelFileError, NoDensityError
from vae_anomaly.explain.explanation import explain
from vae_anomaly.explain.repair import suggest_changes
from vae_anomaly.fit import fit_calibrated, learn_table
from vae_anomaly.fitted import FittedModel
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.io.model_file import read_model, write_model
from vae_anomaly.model.likelihoods import NUMBER_LIKELIHOODS
from vae_anomaly.monitor.drift import Drift, comparable_scores, find_drift
from vae_anomaly.scoring.calibration import Calibration, calibrate
from vae_anomaly.scoring.decide import detection_rule
from vae_anomaly.scoring.impute import fill_missing
from vae_anomaly.training.callbacks import CallbackRunner, ProgressBar
from vae_anomaly.training.checkpoints import checkpoint_folder
from vae_anomaly.update import update_model

OF_ONE_FIT = ("verbose", "callbacks", "checkpoint")  # parameters that no model depends on


class VAEDetector(OutlierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
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
        A row for each latent, over the training rows: ``mean`` and ``std`` of the posterior means, the posterior's own
        standard deviation ``posterior_std``, the mean ``kl`` in nats, and ``active``: the latent distinguishes rows.
    baseline_contributions_ : list of float
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
        settings = Settings.of(self.get_params(deep=False))
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        frame, table = learn_table(X, settings, seed, verbose=bool(self.verbose))
        bars = [ProgressBar()] if self.verbose else []
        callbacks = CallbackRunner(self, [*(self.callbacks or []), *bars])
        fitting = self._copy()  # learns in place of this one, so that an error leaves this one as it was
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
        settings = Settings.of(self.get_params(deep=False))
        x, seed = self.model_.encode(X), check_random_state(self.random_state).randint(2**31 - 1)
        callbacks = CallbackRunner(self, [*(self.callbacks or []), *([ProgressBar()] if self.verbose else [])])
        fitting = self._copy()
        with callbacks.whole_fit(fitting, X):
            fitting._expose(update_model(self.model_, x, settings=settings, seed=seed, callbacks=callbacks))
        self.__dict__ = fitting.__dict__
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """ELBO of each row, (rows,), in nats: the lower, the odder."""
        fitted = self.model_
        return fitted.scorer.score(fitted.encode(X))

    def anomaly_score(self, X: Any) -> np.ndarray:
        """Negative ELBO of each row, (rows,), in nats: the higher, the odder."""
        return -self.score_samples(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """``score_samples(X) - offset_``, (rows,): negative for odd rows."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 for odd rows, +1 for others, (rows,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def score(self, X: Any, y: object = None) -> float:
        """Mean ELBO of the rows, in nats: what model selection makes large."""
        return float(self.score_samples(X).mean())

    def explain(self, X: Any, *, long: bool = False) -> pd.DataFrame:
        """Why each row has its score: the nats of each column, what was seen and what was expected.

        The columns and the latent term add up to the anomaly score. What a column adds is the negative log-likelihood
        of its cell and what the cell carries of the KL, to first order (see `vae_anomaly.model.objectives`); its
        surprise is what that is beyond the mean over training rows that are not odd. What is expected, and its usual
        range, is that of the 16 training rows of the model that are most alike in the other columns; columns that are
        themselves odd in the row have no say in that.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).
        long : bool
            A row for each cell, those of one row together, the most surprising first, and the reason in words.

        Returns
        -------
        DataFrame
            Its columns have two levels: ``nats``, ``surprise``, ``value``, ``expected``, ``low`` and ``high``, and
            below each the columns in use, in nats and surprise also "(latent)". Columns of values, not numbers, have no
            range. The index is that of ``X``, where it has one. If ``long``, the columns are row, column, those six,
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
        return found.long() if long else found.wide()

    def reasons(self, X: Any, *, max_cells: int = 3) -> pd.Series:
        """The most surprising cells of each row in words, at most ``max_cells``, most surprising first, (rows,)."""
        found = explain(self.model_, X)
        return pd.Series(found.reasons(max_cells), index=found.nats.index, name="reason", dtype=object)

    def suggest(self, X: Any, *, max_changes: int = 5) -> pd.DataFrame:
        """Few cells to change for each odd row to count as normal, and what to change them to.

        A greedy search: the most surprising columns are set to what is expected beside the others (see `explain`), the
        change that helps most is kept, and what turns out not to be needed is given back. The changed row is scored.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns). Rows that are not odd need no change.
        max_changes : int
            Largest number of cells to change in a row.

        Returns
        -------
        DataFrame
            A row for each cell to change: ``row`` (from the index of ``X``, or its number from 0), ``column``,
            ``value``, ``suggestion``, and of the whole row ``anomaly_score``, ``new_score`` after all its changes, and
            whether it is then normal. A row that cannot be mended so has the changes that help, and ``is_normal``
            False.

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
        return suggest_changes(self.model_, X, int(max_changes))

    def p_values(self, X: Any, *, contamination: float | str | None = None, extrapolate: bool = False) -> np.ndarray:
        """How probable a score as odd as each row's is for a normal row.

        They come from the scores of the model's reference rows, which it did not see (see `calibration`); those rows
        and the normal ones among ``X`` must come from the same source.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).
        contamination : float in [0, 0.5] or "auto", optional
            Share of the reference rows that are anomalies themselves; they are left out, by their scores, and what is
            missing of the normal rows is made up for: an estimate, which fails where normal rows themselves score far
            apart. "auto" estimates the share, and 0 takes all for normal, which errs on the safe side: anomalies among
            them make others look usual. Default: 0 in novelty detection, else the detector's own contamination.
        extrapolate : bool
            Whether, where all reference rows are taken for normal, p-values go on below 1 / (reference rows + 1), in a
            Pareto tail that was fitted to the oddest tenth. Where some are anomalies they always do.

        Returns
        -------
        ndarray
            (rows,), in (0, 1]. Without extrapolation they are conformal p-values, raised a little where that keeps the
            order of the scores.

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
        """Flag odd rows: by the error that may be made, or by how many can be looked at. Nothing is fitted again.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).
        fdr : float in (0, 1), optional
            Flag as many rows as keep the expected share of normal ones among the flagged below this.
        alerts : int, optional
            Flag so many rows, the oddest.
        false_alarm_rate : float in (0, 1), optional
            Flag this share of normal rows, at most.
        method : {"bh", "by", "storey"}
            How ``fdr`` is kept: Benjamini and Hochberg, Benjamini and Yekutieli (under any dependence, fewer flagged),
            or Storey (the share of normal rows is estimated, more flagged).
        contamination, extrapolate
            As in `p_values`.

        Returns
        -------
        DataFrame
            (rows, 3): ``anomaly_score``, ``p_value``, ``is_anomaly``. With none of the three, rows are flagged by the
            threshold, as `predict` has it.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.9], [0, 0.1]]
        >>> detector = VAEDetector(random_state=0).fit(X)
        >>> int(detector.detect(X, alerts=5)["is_anomaly"].sum())
        5
        """
        rule = detection_rule(fdr=fdr, alerts=alerts, false_alarm_rate=false_alarm_rate, method=method)
        scores = self.score_samples(X)
        p_values = self._calibration(contamination, extrapolate).p_values(scores)
        flagged = scores < self.offset_ if rule is None else rule(scores, p_values)
        table = {"anomaly_score": -scores, "p_value": p_values, "is_anomaly": flagged}
        return pd.DataFrame(table, index=index_of(X))

    def drift(
        self,
        X: Any,
        *,
        level: float = 0.05,
        ordered: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> Drift:
        """Whether rows still come from where the training rows came from.

        Every column, and the score, is tested against training rows that the model keeps (at most 4,096, so that a
        change in some 3 % of the rows is the least that can be found). The tests take rows as independent.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).
        level : float in (0, 1)
            Probability, at most, that anything is found where nothing has changed.
        ordered : bool
            Whether the rows are a stream: then a martingale over the scores also sees a change that begins somewhere
            among them, and takes half of the level. False for a table whose order means nothing, or that is sorted.
        random_state : int, RandomState or None
            Breaks ties, and fits a second model: a model scores its own rows too well to compare others with, so one
            of half of the kept rows scores the other half and ``X``. None is needed with ``calibration="split"``, nor
            for numbers alone in more than 4,096 rows.

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
        return find_drift(fitted.schema, cells, x, old, new, level=level, ordered=ordered, rng=rng)

    def diagnose(self) -> pd.DataFrame:
        """Whether the model is any good: what it learned, how it learned it, and what it makes of its training rows.

        Computed from the up to 4,096 training rows that the model keeps, each judged as if it had not been in
        training. A check that has no meaning for the model, such as one of dependent columns where there is one
        column, is left out.

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
        return pd.DataFrame(diagnose_model(self.model_, settings))

    def transform(self, X: Any) -> np.ndarray:
        """Codes of the rows: posterior means of the first member, (rows, n_components_)."""
        fitted = self.model_
        return fitted.scorer.encode(fitted.encode(X))

    def inverse_transform(self, Z: Any) -> pd.DataFrame | np.ndarray:
        """Expected rows for codes (rows, n_components_), in the table's own columns and types."""
        fitted = self.model_
        codes = check_array(Z, dtype=np.float64)
        if codes.shape[1] != fitted.architecture.n_components:
            raise DataError(
                f"Codes have {codes.shape[1]} columns; this model has {fitted.architecture.n_components} latents."
            )
        return fitted.decode(fitted.scorer.decode(codes))

    def reconstruct(self, X: Any) -> pd.DataFrame | np.ndarray:
        """What the model makes of each row: ``inverse_transform(transform(X))``, missing cells filled in."""
        fitted = self.model_
        return fitted.decode(fitted.scorer.decode(fitted.scorer.encode(fitted.encode(X))), index_of(X))

    def impute(self, X: Any) -> pd.DataFrame | np.ndarray:
        """The rows with every missing cell filled by what the model expects beside the observed ones.

        Fit with ``purpose="representation"`` for this: the other models know less of how columns depend on one another.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).

        Returns
        -------
        DataFrame or ndarray
            A copy in which observed cells, and columns that the model does not use, are as they were. Filled numbers
            stay within the range of the training rows.

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
            table = np.array(unmasked(X), dtype=np.float64)
            used = [fitted.inputs.index(name) for name in fitted.schema.names]
            table[:, used] = np.where(missing, filled.to_numpy(dtype=np.float64), table[:, used])
            return table
        frame = as_frame(X).copy()
        for place, name in enumerate(fitted.schema.names):
            frame[name] = fill(frame[name], filled[name], missing[:, place])
        return frame

    def traverse(
        self, dimension: int, *, span: float = 3.0, n_samples: int = 11, X: Any = None
    ) -> pd.DataFrame | np.ndarray:
        """What the model expects along one latent, the others held still.

        Parameters
        ----------
        dimension : int
            The latent, from 0; `latents_` tells which are in use.
        span : float
            How far the walk goes to either side of the latent's mean, in standard deviations of its codes.
        n_samples : int
            Rows of the walk.
        X : DataFrame or array-like, optional
            (1, columns): a row whose code holds the other latents. Without it they are at their means.

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
            raise ValueError(f"A walk takes a span from 0 and n_samples from 1. Got {span!r} and {n_samples!r}.")
        still = np.array([fitted.latents.mean]) if X is None else self.transform(X)
        if len(still) != 1:
            raise DataError(f"A walk starts at one row; X has {len(still)}.")
        walk = np.repeat(still, n_samples, axis=0)
        steps = np.linspace(-span, span, n_samples)
        walk[:, dimension] = fitted.latents.mean[dimension] + steps * fitted.latents.reach[dimension]
        index = pd.Index(walk[:, dimension], name=self.get_feature_names_out()[dimension])
        return fitted.decode(fitted.scorer.decode(walk), index)

    def sample(self, n_samples: int = 1, *, random_state: int | np.random.RandomState | None = None) -> Any:
        """Draw new rows from the model: a code from the prior, cells from the decoder.

        Parameters
        ----------
        n_samples : int
            Rows to draw.
        random_state : int, RandomState or None
            Same number, same rows.

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
        return fitted.decode(fitted.scorer.sample(n_samples, seed))

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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted detector to one safetensors file; `vae_anomaly.load` reads it.

        Not kept is what a fit tells and where it keeps its state: ``verbose``, ``callbacks`` and ``checkpoint``.
        """
        document, tensors = self.model_.to_parts()
        asked = self.get_params(deep=False).items()
        parameters = {name: as_json(value) for name, value in asked if name not in OF_ONE_FIT}
        write_model(path, {**document, "parameters": parameters}, tensors)

    def _calibration(self, contamination: float | str | None, extrapolate: bool) -> Calibration:
        """From scores to p-values."""
        if contamination is None:
            contamination = 0 if self.novelty else self.contamination
        if contamination != "auto" and not (isinstance(contamination, Real) and 0 <= contamination <= 0.5):
            raise ValueError(f"contamination must be 'auto' or a number from 0 to 0.5. Got {contamination!r}.")
        return calibrate(self.model_.reference.scores, contamination=contamination, extrapolate=extrapolate)

    def _copy(self) -> Self:
        """A shallow copy."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        return copy

    def _expose(self, fitted: FittedModel) -> None:
        """Set the public attributes."""
        record, architecture = fitted.record, fitted.architecture
        self._model = fitted
        self.__dict__.pop("feature_names_in_", None)
        self.n_features_in_ = len(fitted.inputs)
        if fitted.is_frame and all(isinstance(name, str) for name in fitted.inputs):
            self.feature_names_in_ = np.array(fitted.inputs, dtype=object)
        self.offset_ = record.offset
        self.history_ = record.history
        self.n_iter_ = record.n_iter
        self.batch_size_ = record.batch_size
        self.baseline_contributions_ = record.baseline
        self.versions_ = record.versions
        self.schema_ = fitted.schema
        self.n_components_ = architecture.n_components
        self.n_estimators_ = architecture.n_estimators
        self.likelihood_ = architecture.number_likelihood
        self.hidden_layer_sizes_ = architecture.hidden_layer_sizes
        self.prior_ = architecture.prior if architecture.variational else None
        self._n_features_out = architecture.n_components
        self.latents_ = pd.DataFrame(asdict(fitted.latents), index=self.get_feature_names_out()).assign(
            active=fitted.latents.active
        )
        self.device_ = fitted.scorer.device
        self.n_samples_fit_ = fitted.schema.n_rows

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Pickled as document and arrays, so that a model fitted on a GPU opens anywhere."""
        state = dict(super().__getstate__())
        if "_model" in state:
            state["_model"] = self.model_.to_parts()
            state.pop("device_")
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
    fitted = FittedModel.from_parts(document, tensors, resolve_device(device))
    try:
        detector = VAEDetector(**document["parameters"])
        detector._validate_params()
        check_parameters(detector.get_params(deep=False))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} does not hold the parameters of a detector: {error}") from error
    detector._expose(fitted)
    return detector
