"""P-values of rows, from the scores of reference rows.

Scores are in nats; a low score is anomalous. The p-value of a row is the probability that a normal row has a score as
low as its own: at most a fraction t of normal rows has a p-value up to t.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from scipy.optimize import brentq
from scipy.stats import genpareto

from vae_anomaly.scoring.decide import threshold

CORE_SHAPE = 0.2  # of the tail beyond a core, which cannot show it; tables without anomalies have 0 to 1


class Calibration(Protocol):
    """The verbs of every calibration."""

    @property
    def contamination(self) -> float:
        """Estimated fraction of anomalies among the reference rows."""

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,)."""


def calibrate(reference: np.ndarray, *, contamination: float | str, extrapolate: bool) -> Calibration:
    """Choose the calibration.

    Parameters
    ----------
    reference : ndarray
        (rows,) leave-one-out or out-of-sample scores.
    contamination : float or "auto"
        Fraction of anomalies among these rows: 0 for none; "auto" estimates it.
    extrapolate : bool
        Whether p-values from rows without anomalies go below 1 / (rows + 1).
    """
    if contamination != 0:
        return Tail.of_contaminated(reference, contamination)
    return Tail.of_clean(reference) if extrapolate else Conformal(reference)


def severities(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Percentage of the reference scores that are less anomalous than each score, (rows,), 0 to 100."""
    as_low = np.searchsorted(np.sort(reference), scores, side="right")
    return 100.0 * (len(reference) - as_low) / len(reference)


@dataclass(frozen=True, eq=False)
class Conformal:
    """Conformal p-values: super-uniform for scores of any kind, if the rows are exchangeable with the reference.

    The fraction of reference rows at least as anomalous, the row itself included (Vovk, Gammerman and Shafer 2005;
    Bates et al., arXiv 2104.08279), never below 1 / (reference rows + 1). It is raised by up to a thousandth of that,
    by the position of the row between two reference scores or beyond the lowest one. So p-values keep the order of the
    scores, and are never smaller than the conformal ones.
    """

    reference: np.ndarray
    contamination: float = 0.0

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,)."""
        raised = 1e-3  # of a reference row, by which order costs p-values: a whole one would cost most detections
        ordered = self._ordered
        as_low = np.searchsorted(ordered, scores, side="right")
        below = ordered[(as_low - 1).clip(0)]
        above = ordered[as_low.clip(max=len(ordered) - 1)]
        # distances beyond the lowest score are measured by half the spread of the lower half of the reference
        unit = float(max(ordered[len(ordered) // 2] - ordered[0], np.finfo(float).tiny)) / 2
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            between = np.where(above > below, (scores - below) / (above - below), 0.0)
            beyond = 1 / (1 + (ordered[0] - scores) / unit)
        fraction = np.where(as_low == 0, beyond, np.where(as_low == len(ordered), 0.0, between))
        return np.minimum((1 + as_low + raised * fraction) / (len(ordered) + 1), 1.0)

    @cached_property
    def _ordered(self) -> np.ndarray:
        return np.sort(self.reference)


@dataclass(frozen=True, eq=False)
class Tail:
    """Empirical distribution of the reference scores down to ``start``, and below it a tail that was fitted to them.

    Below the lowest reference scores this is an extrapolation: p-values there are valid as far as the tail is.

    Normal rows are the reference rows of the ``core`` and an estimated number ``beyond`` it. The distance of lower
    scores from ``start`` has a generalised Pareto distribution (Pickands 1975) of this ``scale`` and ``shape``,
    exponential where the shape is 0.
    """

    core: np.ndarray
    beyond: float
    start: float
    scale: float
    shape: float
    contamination: float

    @classmethod
    def of_clean(cls, reference: np.ndarray) -> Self:
        """Fit the tail to the lowest tenth of reference scores without anomalies."""
        least_rows = 10  # from which the shape can be estimated; with fewer the tail is exponential
        start = float(np.quantile(reference, 0.1))
        excess = start - reference[reference < start]
        scale, shape = _mean(excess), 0.0
        if len(excess) >= least_rows:
            fitted_shape, _, fitted_scale = genpareto.fit(excess, floc=0.0)
            if fitted_shape > 0:  # a tail that ends would make p-values of 0
                scale, shape = float(fitted_scale), float(fitted_shape)
        return cls(np.sort(reference), 0.0, start, _positive(scale, start), shape, 0.0)

    @classmethod
    def of_contaminated(cls, reference: np.ndarray, contamination: float | str) -> Self:
        """Fit the tail to the lower scores of the core, as far as the core goes.

        The core are the rows that are not anomalous at this ``contamination``. It is cut off there, so the tail is a
        truncated Pareto distribution, of which the mean gives the scale. A truncated core does not show how heavy its
        tail is; an exponential one would take the lower normal rows of many tables for anomalies, so a heavier shape is
        assumed. The tail gives the number of normal rows beyond the core; the other rows there are anomalies.
        """
        fence = threshold(reference, contamination)
        core = np.sort(reference[reference >= fence])
        start = float(np.quantile(core, 0.3))  # more than of clean rows, because the core is cut off
        excess, reach = start - core[core < start], start - fence
        scale = _positive(_truncated_scale(_mean(excess), reach), start)
        tail = genpareto(CORE_SHAPE, scale=scale)
        beyond = min(len(excess) * tail.sf(reach) / tail.cdf(reach), float(len(reference) - len(core)))
        return cls(core, beyond, start, scale, CORE_SHAPE, 1 - (len(core) + beyond) / len(reference))

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,)."""
        at_most_start = np.maximum(scores, self.start)
        as_low = 1 + self.beyond + np.searchsorted(self.core, at_most_start, side="right")
        fraction = as_low / (1 + self.beyond + len(self.core))
        excess = np.maximum(self.start - scores, 0.0)
        p_values: np.ndarray = fraction * genpareto.sf(excess, self.shape, scale=self.scale)
        return np.maximum(p_values, np.finfo(float).tiny)


def _mean(excess: np.ndarray) -> float:
    return float(excess.mean()) if len(excess) else 0.0


def _truncated_scale(mean: float, reach: float) -> float:
    """Scale of a Pareto tail of ``CORE_SHAPE`` that is truncated at ``reach`` and has this ``mean`` up to there."""
    if not 0 < mean < reach:
        return mean
    largest = 20.0 * reach  # a wider tail is flat up to there, and the rows give no estimate

    def mean_error(scale: float) -> float:
        beyond = genpareto.sf(reach, CORE_SHAPE, scale=scale)
        survival = scale / (1 - CORE_SHAPE) * (1 - beyond * (1 + CORE_SHAPE * reach / scale))  # its integral
        return float((survival - reach * beyond) / (1 - beyond)) - mean

    return float(brentq(mean_error, mean * (1 - CORE_SHAPE) / 2, largest)) if mean_error(largest) > 0 else largest


def _positive(scale: float, start: float) -> float:
    """The scale, but not 0 where all scores are equal."""
    return max(scale, np.finfo(float).eps * max(1.0, abs(start)))
