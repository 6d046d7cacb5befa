"""Rules that flag rows of a table: by the expected fraction of false alarms, by p-values, or by a number of alerts."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values (Benjamini and Hochberg 1995); conformal ones allow it (Bates et al., arXiv 2104.08279)."""
    adjusted: np.ndarray = false_discovery_control(p_values, method="bh")
    return adjusted


def benjamini_yekutieli(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values under any dependence (Benjamini and Yekutieli 2001): fewer rows are flagged."""
    adjusted: np.ndarray = false_discovery_control(p_values, method="by")
    return adjusted


def storey(p_values: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's times the estimated fraction of normal rows (Storey 2002): more rows are flagged."""
    normal_from = 0.5  # larger p-values are taken for those of normal rows
    normal = (1 + (p_values > normal_from).sum()) / (len(p_values) * (1 - normal_from))
    return benjamini_hochberg(p_values) * min(normal, 1.0)


FDR_METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bh": benjamini_hochberg,
    "by": benjamini_yekutieli,
    "storey": storey,
}


def most_anomalous(scores: np.ndarray, count: int) -> np.ndarray:
    """Mask of the ``count`` rows of lowest score, (rows,): of equal ones the first."""
    marked = np.zeros(len(scores), bool)
    marked[np.argsort(scores, kind="stable")[:count]] = True
    return marked


def detection_rule(
    *,
    fdr: float | None = None,
    alerts: int | None = None,
    false_alarm_rate: float | None = None,
    method: str = "bh",
) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """Function of scores and p-values, each (rows,), to a mask of the flagged rows; None if no rule is given.

    Parameters
    ----------
    fdr : float in (0, 1), optional
        Expected fraction of normal rows among the flagged ones.
    alerts : int, optional
        Number of rows to flag, the most anomalous.
    false_alarm_rate : float in (0, 1), optional
        Fraction of normal rows to flag, at most.
    method : {"bh", "by", "storey"}
        Procedure that controls ``fdr``: see `FDR_METHODS`.

    Raises
    ------
    ValueError
        More than one rule is given, or a number is out of its range.
    """
    rules: dict[str, Any] = {"fdr": fdr, "alerts": alerts, "false_alarm_rate": false_alarm_rate}
    given = {name: value for name, value in rules.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"Rows are flagged by one rule at a time. Got {' and '.join(given)}; leave out all but one.")
    for name in ("fdr", "false_alarm_rate"):
        if name in given and not 0 < given[name] < 1:
            raise ValueError(f"{name} must be a number between 0 and 1. Got {given[name]!r}.")
    if "alerts" in given and not (isinstance(given["alerts"], Integral) and int(given["alerts"]) >= 0):
        raise ValueError(f"alerts must be a whole number from 0 up. Got {alerts!r}.")
    if method not in FDR_METHODS:
        raise ValueError(f"method must be one of {', '.join(FDR_METHODS)}. Got {method!r}.")
    if fdr is not None:
        return lambda _, p_values: FDR_METHODS[method](p_values) <= fdr
    if false_alarm_rate is not None:
        return lambda _, p_values: p_values <= false_alarm_rate
    return None if alerts is None else lambda scores, _: most_anomalous(scores, int(alerts))
