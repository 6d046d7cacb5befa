"""P-values of rows, from the scores of reference rows, and the score from which on rows are flagged.

Scores are in nats; a low score is anomalous. The p-value of a row is the probability that a normal row has a score as
low as its own: at most a fraction t of normal rows has a p-value up to t. A row is flagged if its p-value is at most
the false-alarm rate.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from scipy.optimize import brentq
from scipy.special import boxcox, inv_boxcox
from scipy.stats import genpareto

FALSE_ALARM_RATE = 0.01  # fraction of normal rows that are flagged, at most, unless the user sets another rule
CORE_SHAPE = 0.4  # of the tail beyond a core, which cannot show it; from 0.5 on a tail has no variance
EXTRAPOLATION = 100  # a tail is trusted down to this fraction of the p-value that the rows themselves support
RAISED = 1e-3  # of a reference row, by which order costs p-values: a whole one would cost most detections
ROUNDING = 1e-9  # of a score, in which equal rows may differ


class Calibration(Protocol):
    """The verbs of every calibration."""

    @property
    def contamination(self) -> float:
        """Estimated fraction of anomalies among the reference rows."""

    @property
    def least(self) -> float:
        """P-value from which on down p-values only keep the order of the scores."""

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,), rising with the score. Scores that differ by rounding are equal."""


def calibrate(
    reference: np.ndarray, *, contamination: float | str, extrapolate: bool, most_anomalies: float = 1.0
) -> Calibration:
    """Choose the calibration.

    Parameters
    ----------
    reference : ndarray
        (rows,) leave-one-out or out-of-sample scores.
    contamination : float or "auto"
        Fraction of anomalies among these rows: 0 for none; "auto" estimates it.
    extrapolate : bool
        Whether p-values from rows without anomalies go below 1 / (rows + 1).
    most_anomalies : float
        Largest fraction that "auto" may estimate.
    """
    if contamination != 0:
        most = round(most_anomalies * len(reference)) if contamination == "auto" else len(reference)
        below = reference.min() - 3 * ROUNDING * np.maximum(1.0, abs(reference.min()))
        limit = float(np.append(below, np.sort(reference))[most])
        return Contaminated(Conformal(reference), Tail.of_core(reference, contamination), limit)
    return Tail.of_clean(reference) if extrapolate else Conformal(reference)


def severities(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Percentage of the reference scores that are less anomalous than each score, (rows,), 0 to 100."""
    as_low = np.searchsorted(np.sort(reference), scores, side="right")
    return 100.0 * (len(reference) - as_low) / len(reference)


def flagging_offset(
    reference: np.ndarray, *, novelty: bool, contamination: str | float, most_anomalies: float = 1.0
) -> float:
    """Score below which rows are flagged: p-values below it are at most a false-alarm rate, the others are above it.

    Parameters
    ----------
    reference : ndarray
        (rows,) leave-one-out or out-of-sample scores.
    novelty : bool
        The reference rows are taken for normal.
    contamination : "auto" or float
        "auto": the rate is `FALSE_ALARM_RATE`, or the smallest that a few reference rows support. A fraction: the rate
        is the p-value of the score below which this fraction of the reference rows lies.
    most_anomalies : float
        Largest fraction of anomalies that "auto" may estimate.
    """
    contaminated = 0 if novelty else contamination
    calibration = calibrate(reference, contamination=contaminated, extrapolate=False, most_anomalies=most_anomalies)
    if contamination == "auto":
        rate = max(FALSE_ALARM_RATE, calibration.least)
    else:
        limit = np.quantile(reference, [float(contamination)])
        rate = float(calibration.p_values(limit - 2 * ROUNDING * np.maximum(1.0, abs(limit)))[0])
    lowest, above = float(reference.min()), float(reference.max())
    step = ROUNDING * max(1.0, abs(lowest))
    while calibration.p_values(np.array([lowest]))[0] > rate:
        lowest, step = lowest - step, 2 * step
    while lowest < (middle := (lowest + above) / 2) < above:
        is_flagged = calibration.p_values(np.array([middle]))[0] <= rate
        lowest, above = (middle, above) if is_flagged else (lowest, middle)
    return above


def flagged_by_tail(scores: np.ndarray) -> np.ndarray:
    """Mask of the scores (rows,) that lie beyond the tail of their own core."""
    mask: np.ndarray = Tail.of_core(scores, "auto").p_values(scores) <= FALSE_ALARM_RATE
    return mask


def core_limit(scores: np.ndarray, contamination: str | float) -> float:
    """Score below which a row does not belong to the core of a table that may hold anomalies.

    Parameters
    ----------
    scores : ndarray
        (rows,) leave-one-out or out-of-sample scores of training rows.
    contamination : "auto" or float
        Fraction of anomalies among them; "auto" takes Tukey's lower fence, 1.5 interquartile ranges below the first
        quartile.

    Examples
    --------
    >>> import numpy as np
    >>> round(core_limit(np.arange(100.0), 0.1), 6)
    9.9
    >>> round(core_limit(np.arange(101.0), "auto"), 6)
    -50.0
    """
    if contamination != "auto":
        found = float(np.quantile(scores, float(contamination)))
    else:
        low, high = np.quantile(scores, [0.25, 0.75])
        found = float(low - 1.5 * (high - low))
    return found - ROUNDING * max(1.0, abs(found))  # rows that tie with the limit belong to the core


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

    @property
    def least(self) -> float:
        """P-value that no row beyond all reference rows exceeds."""
        return (1 + RAISED) / (len(self.reference) + 1)

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,)."""
        scores, ordered = _rounded_up(scores), self._ordered
        as_low = np.searchsorted(ordered, scores, side="right")
        below = ordered[(as_low - 1).clip(0)]
        above = ordered[as_low.clip(max=len(ordered) - 1)]
        # distances beyond the lowest score are measured by half the spread of the lower half of the reference
        unit = float(max(ordered[len(ordered) // 2] - ordered[0], np.finfo(float).tiny)) / 2
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            between = np.where(above > below, (scores - below) / (above - below), 0.0)
            beyond = 1 / (1 + (ordered[0] - scores) / unit)
        fraction = np.where(as_low == 0, beyond, np.where(as_low == len(ordered), 0.0, between))
        return np.minimum((1 + as_low + RAISED * fraction) / (len(ordered) + 1), 1.0)

    @cached_property
    def _ordered(self) -> np.ndarray:
        return np.sort(self.reference)


@dataclass(frozen=True, eq=False)
class Tail:
    """Empirical distribution of the reference scores down to ``start``, and below it a tail that was fitted to them.

    Below the lowest reference scores this is an extrapolation: p-values there are valid as far as the tail is. It is
    trusted down to a hundredth of the p-value that so many rows support, ``1 / (100 * (rows + 1))``. No p-value is
    below that, and those of rows farther out only keep the order of the scores, raised by up to a thousandth.

    Normal rows are the reference rows of the ``core`` and an estimated number ``beyond`` it. The distance of lower
    scores from ``start`` has a generalised Pareto distribution (Pickands 1975) of this ``scale`` and ``shape``,
    exponential where the shape is 0.
    """

    core: np.ndarray
    beyond: float
    start: float
    scale: float
    shape: float
    n_rows: int  # of the reference, the anomalies included

    @classmethod
    def of_clean(cls, reference: np.ndarray) -> Self:
        """Fit the tail to the lowest tenth of reference scores without anomalies."""
        least_rows = 10  # from which the shape can be estimated; with fewer the tail is exponential
        start = float(np.quantile(reference, 0.1))
        excess = start - reference[reference < start]
        scale, shape = float(excess.sum() / max(len(excess), 1)), 0.0
        if len(excess) >= least_rows:
            fitted_shape, _, fitted_scale = genpareto.fit(excess, floc=0.0)
            if fitted_shape > 0:  # a tail that ends would make p-values of 0
                scale, shape = float(fitted_scale), float(fitted_shape)
        return cls(np.sort(reference), 0.0, start, max(scale, ROUNDING * max(1.0, abs(start))), shape, len(reference))

    @classmethod
    def of_core(cls, reference: np.ndarray, contamination: float | str) -> Self:
        """Fit the tail to the lower scores of the core of a reference with anomalies, as far as the core goes.

        The core is cut off there, so the tail is a truncated Pareto distribution, of which the mean gives the scale. A
        truncated core does not show how heavy its tail is; an exponential one would take the lower normal rows of many
        tables for anomalies, so a heavier shape is assumed. The tail gives the number of normal rows beyond the core;
        the other rows there are anomalies.
        """
        limit = core_limit(reference, contamination)
        core = np.sort(reference[reference >= limit])
        start = float(np.quantile(core, 0.3))  # more than of clean rows, because the core is cut off
        if core[0] == start:  # most rows are equal: nothing shows how far normal ones go
            core = np.sort(reference)
            limit = core[0] - ROUNDING * max(1.0, abs(core[0]))
        excess, reach = start - core[core < start], start - limit
        scale = _truncated_scale(float(excess.sum() / max(len(excess), 1)), reach)
        scale = max(scale, ROUNDING * max(1.0, abs(start)))  # not 0 where all scores are equal
        tail = genpareto(CORE_SHAPE, scale=scale)
        beyond = min(len(excess) * tail.sf(reach) / tail.cdf(reach), float(len(reference) - len(core)))
        return cls(core, beyond, start, scale, CORE_SHAPE, len(reference))

    @property
    def contamination(self) -> float:
        """Estimated fraction of anomalies among the reference rows."""
        return 1 - (len(self.core) + self.beyond) / self.n_rows

    @property
    def least(self) -> float:
        """P-value down to which the tail is trusted."""
        return (1 + RAISED) / (EXTRAPOLATION * (self.n_rows + 1))

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,)."""
        scores, n_normal = _rounded_up(scores), 1 + self.beyond + len(self.core)
        as_low = 1 + self.beyond + np.searchsorted(self.core, [self.start, *np.maximum(scores, self.start)], "right")
        fraction = as_low / n_normal
        excess, floor = np.maximum(self.start - scores, 0.0), self.least / (1 + RAISED)
        trusted = self.scale * boxcox(fraction[0] / floor, self.shape)  # distance at which the floor is reached
        raised = RAISED * floor / (1 + np.maximum(excess - trusted, 0.0) / self.scale)
        p_values = np.maximum(fraction[1:] / inv_boxcox(excess / self.scale, self.shape), floor) + raised
        return np.minimum(p_values, 1.0)


@dataclass(frozen=True, eq=False)
class Contaminated:
    """P-values from reference rows of which some may be anomalies: the smaller ones of two that are both cautious.

    Anomalies among the reference rows only raise conformal p-values, so that these keep the false-alarm rate, but find
    few anomalies where there are many. Those of the ``tail`` of the core assume that it is heavy, so that they are
    smaller only where rows lie far beyond the core. They count only for scores up to the ``limit``: what lies beyond
    the core may also be a small group of normal rows.
    """

    conformal: Conformal
    tail: Tail
    limit: float = np.inf

    @property
    def contamination(self) -> float:
        """Estimated fraction of anomalies among the reference rows."""
        return min(self.tail.contamination, float((self.conformal.reference <= self.limit).mean()))

    @property
    def least(self) -> float:
        """P-value down to which the tail is trusted."""
        return self.tail.least

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,)."""
        conformal = self.conformal.p_values(scores)
        of_tail = np.where(_rounded_down(scores) <= self.limit, self.tail.p_values(scores), 1.0)
        return np.minimum(conformal, of_tail)


def _rounded_up(scores: np.ndarray) -> np.ndarray:
    """Scores (rows,) as high as rounding can make them."""
    return scores + ROUNDING * np.maximum(1.0, np.abs(scores))


def _rounded_down(scores: np.ndarray) -> np.ndarray:
    """Scores (rows,) as low as rounding can make them."""
    return scores - ROUNDING * np.maximum(1.0, np.abs(scores))


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
