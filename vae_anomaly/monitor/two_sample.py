"""Whether two samples come from one distribution: numbers, codes and missing cells, each by a test of its own.

A p-value is uniform, or larger, where both samples have one distribution and their rows are independent. An effect is
the largest difference between the samples in the share of rows, 0 to 1: whatever the kind, and however many the rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

SMALL = 10_000  # pairs of rows, up to which the exact distribution is taken; beyond, it is ten times as slow
RARE = 5.0  # expected rows of the smaller sample, below which chi-squared is not to be trusted (Cochran's rule)


@dataclass(frozen=True)
class Difference:
    """What a test found.

    ``place`` is where the samples differ most: the number up to which, or the code of which, one has the share
    ``before`` of its rows and the other ``after``.
    """

    p_value: float
    effect: float
    place: float
    before: float
    after: float


def compare_numbers(reference: np.ndarray, new: np.ndarray) -> Difference | None:
    """Kolmogorov and Smirnov's test of two samples without missing values; None where one is empty."""
    if not (len(reference) and len(new)):
        return None
    small = len(reference) * len(new) <= SMALL
    test = stats.ks_2samp(reference, new, method="exact" if small else "asymp")
    place = float(test.statistic_location)
    before, after = np.mean(reference <= place), np.mean(new <= place)
    return Difference(float(test.pvalue), float(test.statistic), place, float(before), float(after))


def compare_codes(reference: np.ndarray, new: np.ndarray, unseen: int) -> Difference | None:
    """Compare counts of codes from 0 to ``unseen``, which stands for every value that training never saw.

    Chi-squared among the common codes; Fisher's exact test of all others together against these; the smaller p-value
    twice, where both can be asked. What is rare is decided by both samples as one. Unseen values always count as rare,
    even when there are many: the reference comes from training, so it has none, however long the tail of its values.
    """
    if not (len(reference) and len(new)):
        return None
    counts = np.stack([np.bincount(codes.astype(np.int64), minlength=unseen + 1) for codes in (reference, new)])
    least = counts.sum(0) * counts.sum(1).min() / counts.sum()
    common = least >= RARE
    common[unseen] = False
    p_values = []
    if counts[:, ~common].any() and counts[:, common].any():
        tails = np.stack([counts[:, ~common].sum(1), counts[:, common].sum(1)])
        p_values.append(stats.fisher_exact(tails).pvalue)
    if common.sum() > 1 and counts[:, common].any(1).all():
        p_values.append(stats.chi2_contingency(counts[:, common], correction=False).pvalue)
    shares = counts / counts.sum(1, keepdims=True)
    grown = shares[1] - shares[0]
    place = int(np.abs(grown).argmax())
    p_value = min(1.0, len(p_values) * min(p_values)) if p_values else 1.0  # one value, or none that is common
    return Difference(
        float(p_value), float(np.abs(grown).sum() / 2), place, float(shares[0, place]), float(shares[1, place])
    )


def compare_missing(reference: np.ndarray, new: np.ndarray) -> Difference | None:
    """Fisher's exact test of the share that is True; None where nothing is."""
    missing, rows = np.array([reference.sum(), new.sum()]), np.array([len(reference), len(new)])
    if not missing.any():
        return None
    before, after = (missing / rows).tolist()
    p_value = float(stats.fisher_exact([missing, rows - missing]).pvalue)
    return Difference(p_value, abs(after - before), np.nan, before, after)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values (tests,): those at most ``level`` hold a false one with a probability of at most ``level``.

    Holm's method (1979), which takes no heed of how the tests depend on one another.

    Examples
    --------
    >>> import numpy as np
    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    adjusted = np.empty_like(steps)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
