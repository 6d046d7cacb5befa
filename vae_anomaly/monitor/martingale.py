"""Whether the scores of a stream stay exchangeable with those before: evidence that may be looked at after every row.

A conformal test martingale (Vovk, Gammerman and Shafer 2005; Vovk et al. 2021, arXiv 2102.10439): each new score is
ranked among all before it, and a gambler who starts with 1 bets against the uniformity of the ranks.
While rows are exchangeable, he ever reaches ``1 / level`` with a probability of at most ``level`` (Ville's inequality).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RATES = (1e-4, 1e-3, 1e-2, 1e-1)  # share of the capital that is dealt anew before each bet: how soon a change is met
BETS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (  # densities on (0, 1)
    np.ones_like,  # nothing has changed
    lambda p: 1.5 - p,  # odder rows
    lambda p: 0.5 + p,  # less odd rows
    lambda p: 0.5 / np.sqrt(p),  # more of the oddest rows
    lambda p: 0.5 + np.abs(2 * p - 1),  # scores spread wider
    lambda p: 1.5 - np.abs(2 * p - 1),  # scores spread less
)
LARGEST = math.log(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Stream:
    """How the evidence against exchangeable rows went.

    ``largest`` is the most that the martingale reached, ``alarm`` the position of the first row at which it reached
    ``threshold``, None where it never did.
    """

    largest: float
    threshold: float
    alarm: int | None


def follow(reference: np.ndarray, new: np.ndarray, level: float, rng: np.random.Generator) -> Stream:
    """Follow the scores ``new`` (rows,) in their order, after those of ``reference``; low is odd."""
    growth = log_martingale(online_p_values(reference, new, rng))
    alarms = np.flatnonzero(growth >= -math.log(level))
    largest = math.exp(min(max(0.0, growth.max()), LARGEST))
    return Stream(largest, 1 / level, int(alarms[0]) if len(alarms) else None)


def online_p_values(reference: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of scores that are lower, of ``reference`` and all new ones before, (rows,); ties are broken by chance.

    Independent and uniform on (0, 1) if reference and new rows are exchangeable. Ranked among the reference alone they
    would not be independent, and a long stream would find the reference's own sampling error.
    """
    scores = np.concatenate([reference, new])
    ranks = np.empty(len(scores), np.int64)
    ranks[np.lexsort((rng.random(len(scores)), scores))] = np.arange(len(scores))
    lower = smaller_before(ranks)[len(reference) :]
    return (lower + 1 - rng.random(len(new))) / np.arange(len(reference) + 1, len(scores) + 1)


def smaller_before(ranks: np.ndarray) -> np.ndarray:
    """How many of the entries before each of distinct ``ranks`` (rows,) are smaller than it.

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

    The Simple Jumper of Vovk et al., with bets that also see a few odd rows more and another spread, averaged over its
    jumping rates, so that nothing is to be tuned: a mixture of martingales is one.
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
