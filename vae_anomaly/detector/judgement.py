"""What a detector says of rows: how odd they are, why, how sure that is, and whether it can be trusted."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import OutlierMixin
from sklearn.utils import check_random_state

from vae_anomaly.calibrating import comparable_scores
from vae_anomaly.detector.rows import Rows, index_of
from vae_anomaly.diagnosing import diagnose_model
from vae_anomaly.inference.calibration import Calibration, calibrate
from vae_anomaly.inference.detection import detection_rule
from vae_anomaly.inference.drift import Drift, find_drift
from vae_anomaly.inference.expectation import Neighbourhood
from vae_anomaly.inference.explanation import Explanation, cells_of, explain, rounded
from vae_anomaly.inference.reasons import column_nats
from vae_anomaly.inference.repair import Search
from vae_anomaly.training.settings import Settings


class Judgement(Rows, OutlierMixin):
    """A detector as a judge of rows."""

    novelty: bool
    contamination: float | str

    def score_samples(self, X: Any) -> np.ndarray:
        """ELBO of each row, (rows,), in nats: the lower, the odder."""
        return self._checked().scorer.score(self._encoded(X))

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
        of its cell and what the cell carries of the KL, to first order (see `vae_anomaly.model.attribution`); its
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
        found = self._explanation(X)
        return found.long() if long else found.wide()

    def reasons(self, X: Any, *, most: int = 3) -> pd.Series:
        """The most surprising cells of each row in words, at most so many, worst first, (rows,)."""
        found = self._explanation(X)
        return pd.Series(found.reasons(most), index=found.nats.index, name="reason", dtype=object)

    def suggest(self, X: Any, *, most: int = 5) -> pd.DataFrame:
        """Few cells to change for each odd row to count as normal, and what to change them to.

        A greedy search: the most surprising columns are set to what is expected beside the others (see `explain`), the
        change that helps most is kept, and what turns out not to be needed is given back. The changed row is scored.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns). Rows that are not odd need no change.
        most : int
            Cells to change in a row, at most.

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
        if not isinstance(most, Integral) or most < 1:
            raise ValueError(f"most must be a whole number from 1 up. Got {most!r}.")
        fitted, table = self._checked(), self._table(X)
        x, value = fitted.schema.encode(table), table[fitted.schema.names]
        usual = np.array(fitted.record.usual[:-1])
        search = Search(
            score=fitted.scorer.score,
            surprise=lambda cells: column_nats(fitted.scorer, cells, fitted.schema.cells)[:, :-1] - usual,
            threshold=float(self.offset_),
            neighbourhood=Neighbourhood(fitted.reference, fitted.schema.cells),
            cells=fitted.schema.cells,
        )
        found = search.repair(x, int(most))
        suggestion = rounded(fitted.schema.decode(found.cells))
        rows, columns = np.nonzero(found.changed)
        return pd.DataFrame(
            {
                "row": value.index[rows],
                "column": pd.Series([fitted.schema.names[column] for column in columns], dtype=object),
                "value": cells_of(value, rows, columns),
                "suggestion": cells_of(suggestion, rows, columns),
                "anomaly_score": -found.before[rows],
                "new_score": -found.after[rows],
                "is_normal": found.after[rows] >= self.offset_,
            }
        )

    def _explanation(self, X: Any) -> Explanation:
        fitted = self._checked()
        table = self._table(X)
        x = fitted.schema.encode(table)
        value = table[fitted.schema.names]
        return explain(fitted.scorer, fitted.reference, fitted.schema, fitted.record.usual, x, value)

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
            ``columns``, a frame, with a sentence for whatever has drifted; ``stream``; ``drifted``.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.default_rng(0).normal(size=(400, 2))
        >>> detector = VAEDetector(calibration="split", random_state=0).fit(X[:200])
        >>> detector.drift(X[200:], random_state=0).drifted
        False
        >>> detector.drift(X[200:] + [0, 1], random_state=0).columns["sentence"]["x1"]
        'shifted up by 1.1 deviations'
        """
        if not (isinstance(level, Real) and 0 < level < 1):
            raise ValueError(f"level must be a number between 0 and 1. Got {level!r}.")
        fitted, x = self._checked(), self._encoded(X)
        seed = check_random_state(random_state).randint(2**31 - 1)
        old, new = comparable_scores(fitted, x, Settings.of(self.get_params(deep=False)), seed)
        cells, rng = fitted.reference.cells, np.random.default_rng(seed)
        return find_drift(fitted.schema, cells, x, old, new, level=level, ordered=ordered, rng=rng)

    def _calibration(self, contamination: float | str | None, extrapolate: bool) -> Calibration:
        """From scores to p-values."""
        if contamination is None:
            contamination = 0 if self.novelty else self.contamination
        if contamination != "auto" and not (isinstance(contamination, Real) and 0 <= contamination <= 0.5):
            raise ValueError(f"contamination must be 'auto' or a number from 0 to 0.5. Got {contamination!r}.")
        return calibrate(self._checked().reference.scores, contamination=contamination, extrapolate=extrapolate)

    def diagnose(self) -> pd.DataFrame:
        """Whether the model is any good: what it learned, how it learned it, and what it makes of its training rows.

        Computed from the up to 4,096 training rows that the model keeps, each judged as if it had not been in
        training. A check that has no meaning for the model, such as one of dependent columns where there is one
        column, is left out.

        Returns
        -------
        DataFrame
            A row for each ``check``: the ``figure`` that was measured, the ``verdict`` ("good"; "look" where a person
            should judge; "bad" where the model does not do what it is for), and a ``sentence`` that says what was
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
        return pd.DataFrame(diagnose_model(self._checked(), settings))
