"""How sure it is that a row is odd: p-values, from the scores of reference rows.

Scores are in nats, low is odd. A p-value is the probability that a normal row has a score so low: of normal rows,
no more than a share t have a p-value up to t.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from scipy.optimize import brentq
from scipy.stats import genpareto

from vae_anomaly.scoring.decide import offset

RAISED = 1e-3  # of a reference row, by which order costs p-values: a whole one would cost most of what can be flagged
TAIL_SHARE = 0.1  # of clean reference rows, the oddest, that tell how the tail goes on
CORE_SHARE = 0.3  # of a core, likewise: it is cut off, so more of it is needed
CORE_SHAPE = 0.2  # of the tail beyond a core, which itself hardly tells; clean rows of tables have 0 to 1
LEAST_TAIL = 10  # rows from which a tail's shape can be learned; below, it is exponential
WIDEST = 20.0  # of the part of a truncated tail that was seen, its scale: beyond, rows say nothing of it


class Calibration(Protocol):
    """What every way to p-values can do."""

    @property
    def contamination(self) -> float:
        """Share of the reference rows that are taken for anomalies."""

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,)."""


@dataclass(frozen=True, eq=False)
class Conformal:
    """Conformal p-values: super-uniform whatever the scores are like, if the rows are exchangeable with the reference.

    The share of reference rows at least as odd, the row itself included (Vovk, Gammerman and Shafer 2005; Bates et al.,
    arXiv 2104.08279), never below 1 / (reference rows + 1). It is raised by up to a thousandth of that, the more the
    less odd the row is between two reference scores or beyond the oddest one: so p-values keep the order of the scores,
    and are never smaller than the conformal ones.
    """

    reference: np.ndarray
    contamination: float = 0.0

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,)."""
        ordered = self._ordered
        as_odd = np.searchsorted(ordered, scores, side="right")
        below = ordered[(as_odd - 1).clip(0)]
        above = ordered[as_odd.clip(max=len(ordered) - 1)]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            between = np.where(above > below, (scores - below) / (above - below), 0.0)
            beyond = 1 / (1 + (ordered[0] - scores) / self._unit)
        fraction = np.where(as_odd == 0, beyond, np.where(as_odd == len(ordered), 0.0, between))
        return np.minimum((1 + as_odd + RAISED * fraction) / (len(ordered) + 1), 1.0)

    @cached_property
    def _ordered(self) -> np.ndarray:
        return np.sort(self.reference)

    @cached_property
    def _unit(self) -> float:
        """Half the spread of the odder half of the reference: by which distances beyond the oddest are measured."""
        ordered = self._ordered
        return float(max(ordered[len(ordered) // 2] - ordered[0], np.finfo(float).tiny)) / 2


@dataclass(frozen=True, eq=False)
class Tail:
    """Shares of reference rows down to a score, and below it a tail of a known shape that was fitted to them.

    Beyond the last reference rows this is an extrapolation: there the p-values hold as far as the tail does.

    Normal rows are the reference rows of the ``core`` and so many ``beyond`` it. How much odder than ``start`` they are
    has a generalised Pareto distribution (Pickands 1975) of this ``scale`` and ``shape``, exponential where that is 0.
    """

    core: np.ndarray
    beyond: float
    start: float
    scale: float
    shape: float
    contamination: float

    @classmethod
    def of_clean(cls, reference: np.ndarray) -> Self:
        """Fit the tail to the oddest tenth of reference rows that are all normal."""
        start = float(np.quantile(reference, TAIL_SHARE))
        excess = start - reference[reference < start]
        scale, shape = _mean(excess), 0.0
        if len(excess) >= LEAST_TAIL:
            fitted_shape, _, fitted_scale = genpareto.fit(excess, floc=0.0)
            if fitted_shape > 0:  # a tail that ends would make p-values of 0
                scale, shape = float(fitted_scale), float(fitted_shape)
        return cls(np.sort(reference), 0.0, start, _positive(scale, start), shape, 0.0)

    @classmethod
    def of_dirty(cls, reference: np.ndarray, contamination: float | str) -> Self:
        """Fit the tail to the odder rows of the core, as far as the core goes.

        The core are the rows that would not be called odd at this ``contamination``. That it ends there is allowed for:
        a Pareto tail, cut off, of which the mean tells the scale. A core that is cut off does not tell how heavy its
        tail is; an exponential one would take the odder normal rows of many tables for anomalies, so a heavier shape
        is assumed. Normal rows that lie beyond are estimated by the tail and counted as such; the rest are anomalies.
        """
        fence = offset(reference, contamination)
        core = np.sort(reference[reference >= fence])
        start = float(np.quantile(core, CORE_SHARE))
        excess, reach = start - core[core < start], start - fence
        scale = _positive(_truncated_scale(_mean(excess), reach), start)
        tail = genpareto(CORE_SHAPE, scale=scale)
        beyond = min(len(excess) * tail.sf(reach) / tail.cdf(reach), float(len(reference) - len(core)))
        return cls(core, beyond, start, scale, CORE_SHAPE, 1 - (len(core) + beyond) / len(reference))

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-value of each score, (rows,)."""
        at_most_start = np.maximum(scores, self.start)
        as_odd = 1 + self.beyond + np.searchsorted(self.core, at_most_start, side="right")
        share = as_odd / (1 + self.beyond + len(self.core))
        excess = np.maximum(self.start - scores, 0.0)
        p_values: np.ndarray = share * genpareto.sf(excess, self.shape, scale=self.scale)
        return np.maximum(p_values, np.finfo(float).tiny)


def calibrate(reference: np.ndarray, *, contamination: float | str, extrapolate: bool) -> Calibration:
    """Choose the way to p-values.

    Parameters
    ----------
    reference : ndarray
        (rows,) scores, each of a row that its model had not seen.
    contamination : float or "auto"
        Share of anomalies among these rows: 0 for none; "auto" estimates it.
    extrapolate : bool
        Whether p-values of clean reference rows go on below 1 / (rows + 1).
    """
    if contamination != 0:
        return Tail.of_dirty(reference, contamination)
    return Tail.of_clean(reference) if extrapolate else Conformal(reference)


def _mean(excess: np.ndarray) -> float:
    return float(excess.mean()) if len(excess) else 0.0


def _truncated_scale(mean: float, reach: float) -> float:
    """Scale of a Pareto tail of ``CORE_SHAPE`` that is cut off at ``reach`` and has this ``mean`` below."""
    if not 0 < mean < reach:
        return mean
    most = WIDEST * reach

    def excess_mean(scale: float) -> float:
        beyond = genpareto.sf(reach, CORE_SHAPE, scale=scale)
        survival = scale / (1 - CORE_SHAPE) * (1 - beyond * (1 + CORE_SHAPE * reach / scale))  # its integral
        return float((survival - reach * beyond) / (1 - beyond)) - mean

    return float(brentq(excess_mean, mean * (1 - CORE_SHAPE) / 2, most)) if excess_mean(most) > 0 else most


def _positive(scale: float, start: float) -> float:
    """A scale that is no zero, where all scores are alike."""
    return max(scale, np.finfo(float).eps * max(1.0, abs(start)))
