"""Rules that flag rows of a table: by the expected fraction of false alarms, by p-values, or by a number of alerts."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control

from vae_anomaly.formatting import percent


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


@dataclass(frozen=True)
class FlaggingRule:
    """Which rows of a table are flagged: by at most one criterion, otherwise by the threshold of the model.

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
        More than one criterion is given, or a number is out of its range.
    """

    fdr: float | None = None
    alerts: int | None = None
    false_alarm_rate: float | None = None
    method: str = "bh"

    def __post_init__(self) -> None:
        rules: dict[str, Any] = {name: getattr(self, name) for name in ("fdr", "alerts", "false_alarm_rate")}
        given = {name: value for name, value in rules.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                f"Rows are flagged by one rule at a time. Got {' and '.join(given)}; leave out all but one."
            )
        for name in ("fdr", "false_alarm_rate"):
            if name in given and not 0 < given[name] < 1:
                raise ValueError(f"{name} must be a number between 0 and 1. Got {given[name]!r}.")
        if "alerts" in given and not (isinstance(given["alerts"], Integral) and int(given["alerts"]) >= 0):
            raise ValueError(f"alerts must be a whole number from 0 up. Got {self.alerts!r}.")
        if self.method not in FDR_METHODS:
            raise ValueError(f"method must be one of {', '.join(FDR_METHODS)}. Got {self.method!r}.")

    @property
    def is_default(self) -> bool:
        """No criterion is given."""
        return self.fdr is None and self.alerts is None and self.false_alarm_rate is None

    def flag(self, scores: np.ndarray, p_values: np.ndarray, offset: float) -> np.ndarray:
        """Mask of the flagged rows, (rows,), given ``scores`` and ``p_values`` (rows,) and the threshold ``offset``."""
        if self.fdr is not None:
            return FDR_METHODS[self.method](p_values) <= self.fdr
        if self.alerts is not None:
            return most_anomalous(scores, int(self.alerts))
        return scores < offset if self.false_alarm_rate is None else p_values <= self.false_alarm_rate

    def sentence(self, default_rate: float, noun: str = "row") -> str:
        """The rule in words, given the false-alarm rate of the threshold and the singular noun for a row."""
        if self.fdr is not None:
            return (
                f"{noun.capitalize()}s are flagged so that, on average, at most {percent(self.fdr)} are false alarms."
            )
        if self.alerts == 1:
            return f"The most anomalous {noun} is flagged."
        if self.alerts is not None:
            return f"The {self.alerts:,} most anomalous {noun}s are flagged."
        rate = default_rate if self.false_alarm_rate is None else self.false_alarm_rate
        return f"{noun.capitalize()}s are flagged if at most {percent(rate)} of normal {noun}s are as anomalous."


MANY = 0.05  # fraction of flagged rows above which they are hardly outliers


def hardly_outliers(nouns: str, prefix: str = "") -> str:
    """What to do where more than 5 % of the rows are flagged; ``prefix`` stands before the names of options."""
    options = (f"{prefix}{name}" for name in ("alerts", "fdr"))
    return (
        f"More than {percent(MANY)} are flagged, so this is hardly an outlier problem: flag the most anomalous {nouns} "
        f"only ({' or '.join(options)}), or set {prefix}contamination; if {nouns} are labelled, train a classifier."
    )
