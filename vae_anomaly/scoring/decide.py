"""Which rows to flag: by a threshold on the score, by p-values, or by a number of alerts."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control

FENCE = 1.5  # interquartile ranges
ROUNDING = 1e-9  # of a score, within which two scores are one: rows that tie with the threshold are not odd


def offset(scores: np.ndarray, contamination: str | float) -> float:
    """Score below which a row is odd, in the unit of the scores (low = odd).

    Parameters
    ----------
    scores : ndarray
        (rows,) of training rows, each scored as if it had not been in training.
    contamination : "auto" or float
        Share of odd rows to find among them; "auto" puts Tukey's lower fence, 1.5 interquartile ranges below the first
        quartile.

    Examples
    --------
    >>> import numpy as np
    >>> round(offset(np.arange(100.0), 0.1), 6)
    9.9
    >>> round(offset(np.arange(101.0), "auto"), 6)
    -50.0
    """
    if contamination != "auto":
        threshold = float(np.quantile(scores, float(contamination)))
    else:
        low, high = np.quantile(scores, [0.25, 0.75])
        threshold = float(low - FENCE * (high - low))
    return threshold - ROUNDING * max(1.0, abs(threshold))


STOREY_FROM = 0.5  # p-values beyond it are taken for those of normal rows


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values (Benjamini and Hochberg 1995); conformal ones allow it (Bates et al., arXiv 2104.08279)."""
    adjusted: np.ndarray = false_discovery_control(p_values, method="bh")
    return adjusted


def benjamini_yekutieli(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values under any dependence (Benjamini and Yekutieli 2001): fewer rows are flagged."""
    adjusted: np.ndarray = false_discovery_control(p_values, method="by")
    return adjusted


def storey(p_values: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's, times the share of normal rows as estimated (Storey 2002): more rows are flagged."""
    normal = (1 + (p_values > STOREY_FROM).sum()) / (len(p_values) * (1 - STOREY_FROM))
    return benjamini_hochberg(p_values) * min(normal, 1.0)


FDR_METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bh": benjamini_hochberg,
    "by": benjamini_yekutieli,
    "storey": storey,
}


def oddest(scores: np.ndarray, count: int) -> np.ndarray:
    """Mark the ``count`` rows of lowest score, (rows,): of equal ones the first."""
    marked = np.zeros(len(scores), bool)
    marked[np.argsort(scores, kind="stable")[:count]] = True
    return marked


def detection_rule(
    *, fdr: float | None, alerts: int | None, false_alarm_rate: float | None, method: str
) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """How to flag rows by their scores and p-values, each (rows,); None where nothing was asked.

    Raises
    ------
    ValueError
        More than one was asked, or a figure is out of its range.
    """
    asked: dict[str, Any] = {"fdr": fdr, "alerts": alerts, "false_alarm_rate": false_alarm_rate}
    given = {name: value for name, value in asked.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"Rows are flagged in one way at a time. Got {' and '.join(given)}; leave out all but one.")
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
    return None if alerts is None else lambda scores, _: oddest(scores, int(alerts))
