"""A comparison on one labelled table: who is measured with which seed, and what comes out."""

import time
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_anomaly.comparison.methods import methods
from vae_anomaly.data.parse import as_frame
from vae_anomaly.errors import DataError, DataWarning, FitWarning


class Measured(NamedTuple):
    """What one method was worth with one seed; the metrics are 1 at best, by chance 0.5 and the share of odd rows."""

    method: str
    seed: int
    auroc: float
    average_precision: float
    fit_seconds: float
    score_seconds: float


class Comparison:
    """
    Our detector beside scikit-learn's on one table, each with its defaults; nobody is shown the labels.

    Parameters
    ----------
    X : DataFrame or array-like
        (rows, columns), without the labels.
    odd : ndarray
        Which rows are odd, (rows,), as `anomaly_labels` tells it.
    novelty : bool
        If False, every row is learned from and scored. If True, a random half of the normal rows is learned from, and
        the other half is scored with all odd rows.
    device : str
        Where our detector computes.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> X[:10] += 8
    >>> comparison = Comparison(X, np.arange(300) < 10)
    >>> for method, seed in comparison.plan(seeds=[0]):
    ...     print(f"{method}: {comparison.measure(method, seed).auroc:.2f}")
    vae-anomaly: 1.00
    IsolationForest: 1.00
    LocalOutlierFactor: 1.00
    5 nearest neighbours: 0.98
    """

    def __init__(self, X: Any, odd: np.ndarray, *, novelty: bool = False, device: str = "auto") -> None:
        self._rows, self._odd, self._novelty = as_frame(X), odd, novelty
        self._methods = methods(novelty=novelty, device=device)
        if len(self._train(seed=0)) < 2:
            raise DataError(f"{np.sum(~odd)} normal rows are too few to learn from one half and test on the other.")

    @property
    def odd_share(self) -> float:
        """The share of odd rows among those that are scored."""
        return float(self._odd[self._test(seed=0)].mean())

    def plan(self, seeds: Iterable[int]) -> list[tuple[str, int]]:
        """Name every method with every seed; where nothing is drawn, one seed tells it all."""
        asked = [(name, seed) for name in self._methods for seed in seeds]
        first = dict(reversed(asked))
        return [(name, seed) for name, seed in asked if self._draws(name) or seed == first[name]]

    def measure(self, method: str, seed: int) -> Measured:
        """Fit a method to the rows that it may learn from, and hold its scores of the others against the labels."""
        train, test = self._train(seed), self._test(seed)
        chosen, began = self._methods[method], time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scikit-learn's: on parameters that nobody has chosen
            for category in (DataWarning, FitWarning):
                warnings.simplefilter("always", category)
            chosen.fit(self._rows.iloc[train], seed)
            fitted = time.perf_counter()
            scores = chosen.score(self._rows.iloc[test])
        scored, odd = time.perf_counter(), self._odd[test]
        return Measured(
            method,
            seed,
            float(roc_auc_score(odd, scores)),
            float(average_precision_score(odd, scores)),
            fitted - began,
            scored - fitted,
        )

    def _draws(self, method: str) -> bool:
        return self._novelty or self._methods[method].draws

    def _train(self, seed: int) -> np.ndarray:
        """Numbers of the rows to learn from."""
        normal = self._normal(seed)
        return normal[: len(normal) // 2] if self._novelty else np.arange(len(self._rows))

    def _test(self, seed: int) -> np.ndarray:
        """Numbers of the rows to score."""
        normal = self._normal(seed)
        held_out = np.concatenate([normal[len(normal) // 2 :], np.flatnonzero(self._odd)])
        return held_out if self._novelty else np.arange(len(self._rows))

    def _normal(self, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).permutation(np.flatnonzero(~self._odd))
