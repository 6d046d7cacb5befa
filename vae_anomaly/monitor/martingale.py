"""Evidence that the scores of a stream are no longer exchangeable with those before; valid after every row.

A conformal test martingale (Vovk, Gammerman and Shafer 2005; Vovk et al. 2021, arXiv 2102.10439): each new score is
ranked among all before it, and a gambler who starts with a capital of 1 bets against the uniformity of the ranks.
If all rows are exchangeable, the probability of ever reaching ``1 / level`` is at most ``level`` (Ville's inequality).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RATES = (1e-4, 1e-3, 1e-2, 1e-1)  # fraction of the capital redistributed before each bet: a high one reacts soon
BETS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (  # densities on (0, 1)
    np.ones_like,  # nothing has changed
    lambda p: 1.5 - p,  # more anomalous rows
    lambda p: 0.5 + p,  # less anomalous rows
    lambda p: 0.5 / np.sqrt(p),  # more of the most anomalous rows
    lambda p: 0.5 + np.abs(2 * p - 1),  # scores spread wider
    lambda p: 1.5 - np.abs(2 * p - 1),  # scores spread less
)


@dataclass(frozen=True)
class Stream:
    """Evidence against exchangeable rows.

    ``largest`` is the largest value of the martingale, ``alarm`` the position of the first row at which it reached
    ``threshold``, or None.
    """

    largest: float
    threshold: float
    alarm: int | None


def follow(reference: np.ndarray, new: np.ndarray, level: float, rng: np.random.Generator) -> Stream:
    """Evidence along the scores ``new`` (rows,) in their order, after those of ``reference``; low is anomalous."""
    growth = log_martingale(online_p_values(reference, new, rng))
    alarms = np.flatnonzero(growth >= -math.log(level))
    most = math.log(np.finfo(np.float64).max)
    largest = math.exp(min(max(0.0, growth.max()), most))
    return Stream(largest, 1 / level, int(alarms[0]) if len(alarms) else None)


def online_p_values(reference: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fraction of lower scores among ``reference`` and all earlier new ones, (rows,); ties are broken at random.

    Independent and uniform on (0, 1) if reference and new rows are exchangeable. Ranked among the reference alone they
    would not be independent, and a long stream would find the reference's own sampling error.
    """
    scores = np.concatenate([reference, new])
    ranks = np.empty(len(scores), np.int64)
    ranks[np.lexsort((rng.random(len(scores)), scores))] = np.arange(len(scores))
    lower = smaller_before(ranks)[len(reference) :]
    return (lower + 1 - rng.random(len(new))) / np.arange(len(reference) + 1, len(scores) + 1)


def smaller_before(ranks: np.ndarray) -> np.ndarray:
    """Number of smaller entries before each of the distinct ``ranks``, (rows,).

    Counted while blocks of 1, 2, 4, ... entries are merged in the order of their ranks: a million take seconds.
    """
    count, order = np.zeros(len(ranks), np.int64), np.arange(len(ranks))
    width = 1
    while width < len(ranks):
        order = order[np.argsort(order // (2 * width) * len(ranks) + ranks[order], kind="stable")]
        right = order // width % 2 == 1
        left_so_far = np.cumsum(~right) - order // (2 * width) * width  # of its own pair: all pairs before are whole
        count[order[right]] += left_so_far[right]
        width *= 2
    return count


def log_martingale(p_values: np.ndarray) -> np.ndarray:
    """Logarithm of the gambler's capital after each p-value, (rows,).

    The Simple Jumper of Vovk et al., with further bets on a few more anomalous rows and on another spread. The average
    over several jumping rates leaves nothing to tune: a mixture of martingales is a martingale.
    """
    densities = np.stack([bet(p_values) for bet in BETS], axis=1)
    keep = 1 - np.array(RATES)[:, None]
    deal = (1 - keep) / len(BETS)
    capital = np.full((len(RATES), len(BETS)), 1 / (len(RATES) * len(BETS)))
    gains = np.empty(len(p_values))
    for row, density in enumerate(densities):
        capital = (keep * capital + deal * capital.sum(1, keepdims=True)) * density
        gains[row] = capital.sum()
        capital /= gains[row]
    return np.log(gains).cumsum()
