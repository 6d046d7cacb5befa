"""A comparison on one labelled table: the labels, the rows of each fit, and the measurements."""

import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_anomaly.comparison.methods import methods
from vae_anomaly.data.parse import as_frame
from vae_anomaly.errors import DataError, DataWarning, FitWarning
from vae_anomaly.formatting import listed_names


class Measured(NamedTuple):
    """One method with one seed. The best metrics are 1; by chance they are 0.5 and the fraction of anomalous rows."""

    method: str
    seed: int
    auroc: float
    average_precision: float
    fit_seconds: float
    score_seconds: float


class Comparison:
    """
    Our detector and three of scikit-learn on one table, each with its defaults and without the labels.

    Parameters
    ----------
    X : DataFrame or array-like
        (rows, columns), without the labels.
    is_anomaly : ndarray
        (rows,) bool, as `anomaly_labels` gives it.
    novelty : bool
        If False, all rows are in training and are scored. If True, a random half of the normal rows is in training, and
        the other half is scored with all anomalous rows.
    device : str
        Device of our detector.
    kinds : dict of column name to kind, optional
        Kinds of columns, as in `VAEDetector`, for all methods.

    Attributes
    ----------
    anomaly_fraction : float
        Fraction of anomalous rows among those that are scored: the average precision of random scores.

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

    def __init__(
        self,
        X: Any,
        is_anomaly: np.ndarray,
        *,
        novelty: bool = False,
        device: str = "auto",
        kinds: Mapping[Any, str] | None = None,
    ) -> None:
        self._rows, self._is_anomaly, self._novelty = as_frame(X), is_anomaly, novelty
        self._methods = methods(novelty=novelty, device=device, kinds=kinds)
        train, test = self._split(seed=0)
        if len(train) < 2:
            n_normal = np.sum(~is_anomaly)
            raise DataError(f"{n_normal} normal rows are too few to learn from one half and test on the other.")
        self.anomaly_fraction = float(is_anomaly[test].mean())

    def plan(self, seeds: Iterable[int]) -> list[tuple[str, int]]:
        """Every method with every seed; with the first one only, if another would change nothing."""
        steps = [(name, seed) for name in self._methods for seed in seeds]
        first = dict(reversed(steps))
        random = {name: self._novelty or method.draws for name, method in self._methods.items()}
        return [(name, seed) for name, seed in steps if random[name] or seed == first[name]]

    def measure(self, method: str, seed: int) -> Measured:
        """Fit a method to its training rows, and compare its scores of the test rows with the labels."""
        train, test = self._split(seed)
        chosen, began = self._methods[method], time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, on parameters that nobody has set
            for category in (DataWarning, FitWarning):
                warnings.simplefilter("always", category)
            chosen.fit(self._rows.iloc[train], seed)
            fitted = time.perf_counter()
            scores = chosen.score(self._rows.iloc[test])
        scored, labels = time.perf_counter(), self._is_anomaly[test]
        return Measured(
            method,
            seed,
            float(roc_auc_score(labels, scores)),
            float(average_precision_score(labels, scores)),
            fitted - began,
            scored - fitted,
        )

    def _split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the training rows and of the test rows."""
        if not self._novelty:
            rows = np.arange(len(self._rows))
            return rows, rows
        normal = np.random.default_rng(seed).permutation(np.flatnonzero(~self._is_anomaly))
        half = len(normal) // 2
        return normal[:half], np.concatenate([normal[half:], np.flatnonzero(self._is_anomaly)])


def anomaly_labels(labels: pd.Series, anomaly_values: Iterable[object] = ()) -> np.ndarray:
    """
    Labels of a column as truth values: True for anomalous rows.

    Parameters
    ----------
    labels : Series
        (rows,), none of them missing.
    anomaly_values : iterable
        Labels of anomalous rows; as text, "1" is 1. By default true values and all numbers but 0.

    Returns
    -------
    ndarray
        (rows,) bool, with both values.

    Raises
    ------
    DataError
        A label is missing, ``anomaly_values`` is needed or has a value that is no label, or all rows are alike.

    Examples
    --------
    >>> anomaly_labels(pd.Series([0, 2, 0])).tolist()
    [False, True, False]
    >>> anomaly_labels(pd.Series(["well", "ill", "well"], name="state"), ["ill"]).tolist()
    [False, True, False]
    """
    column = f"Column {labels.name!r}"
    missing = np.flatnonzero(labels.isna())
    if len(missing):
        raise DataError(
            f"{column} has no label in {len(missing)} of {len(labels)} rows, the first of them row {missing[0] + 1}. "
            "Fill them in, or leave the rows out."
        )
    # As objects, because a column of categories would keep categories that no row has. Whole numbers may be floats.
    texts = labels.astype(object).map(_label_text)
    known = listed_names(texts.value_counts().index, 8)
    named = [_label_text(value) for value in anomaly_values]
    if named:
        unknown = [value for value in named if value not in set(texts)]
        if unknown:
            raise DataError(f"{column} has no value {unknown[0]!r}; its values are {known}.")
        is_anomaly = texts.isin(named).to_numpy()
    else:
        plain = labels.infer_objects()
        if not pd.api.types.is_numeric_dtype(plain):  # so are truth values
            raise DataError(
                f"{column} holds {known}. Name those of anomalous rows, on the command line with --anomaly-values."
            )
        is_anomaly = plain.to_numpy(dtype=np.float64) != 0
    if is_anomaly.all() or not is_anomaly.any():
        rows = "every row" if is_anomaly.all() else "no row"
        raise DataError(
            f"{column} calls {rows} anomalous; its values are {known}. A comparison needs rows of both kinds: name the "
            "values of anomalous rows, on the command line with --anomaly-values, or another column."
        )
    return is_anomaly


def _label_text(value: object) -> str:
    return str(value).removesuffix(".0")
