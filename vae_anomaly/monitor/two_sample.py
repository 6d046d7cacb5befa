"""Tests of the hypothesis that two samples of numbers, of codes or of missing cells have one distribution.

A p-value is uniform, or larger, if both samples have one distribution and their rows are independent. An effect is the
largest difference between the samples in the fraction of rows, 0 to 1, for any kind of values and any number of rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Difference:
    """Result of a test.

    The samples differ most at ``location``: the first has a fraction ``before`` of its rows, the second ``after``, up
    to that number or with that code.
    """

    p_value: float
    effect: float
    location: float
    before: float
    after: float


def compare_numbers(reference: np.ndarray, new: np.ndarray) -> Difference | None:
    """Kolmogorov-Smirnov test of two samples without missing values; None if one is empty."""
    if not (len(reference) and len(new)):
        return None
    small = len(reference) * len(new) <= 10_000  # pairs; beyond, the exact distribution is ten times as slow
    test = stats.ks_2samp(reference, new, method="exact" if small else "asymp")
    location = float(test.statistic_location)
    before, after = np.mean(reference <= location), np.mean(new <= location)
    return Difference(float(test.pvalue), float(test.statistic), location, float(before), float(after))


def compare_codes(reference: np.ndarray, new: np.ndarray, unseen: int) -> Difference | None:
    """Test of the counts of codes from 0 to ``unseen``, the code of all values never seen in training.

    A chi-squared test among the common codes, and Fisher's exact test of all others together against these; twice the
    smaller p-value if both apply. Both samples as one decide which codes are rare. Unseen values always count as rare,
    even if there are many: the reference comes from training, so it has none, however long the tail of its values.
    """
    if not (len(reference) and len(new)):
        return None
    counts = np.stack([np.bincount(codes.astype(np.int64), minlength=unseen + 1) for codes in (reference, new)])
    expected = counts.sum(0) * counts.sum(1).min() / counts.sum()  # rows of the smaller sample
    common = expected >= 5.0  # fewer make chi-squared unreliable (Cochran's rule)
    common[unseen] = False
    p_values = []
    if counts[:, ~common].any() and counts[:, common].any():
        tails = np.stack([counts[:, ~common].sum(1), counts[:, common].sum(1)])
        p_values.append(stats.fisher_exact(tails).pvalue)
    if common.sum() > 1 and counts[:, common].any(1).all():
        p_values.append(stats.chi2_contingency(counts[:, common], correction=False).pvalue)
    p_value = min(1.0, len(p_values) * min(p_values)) if p_values else 1.0  # one value, or none that is common
    before, after = counts / counts.sum(1, keepdims=True)
    change = np.abs(after - before)
    largest = int(change.argmax())
    return Difference(float(p_value), float(change.sum() / 2), largest, float(before[largest]), float(after[largest]))


def compare_missing(reference: np.ndarray, new: np.ndarray) -> Difference | None:
    """Fisher's exact test of the fraction of True; None if nothing is."""
    missing, rows = np.array([reference.sum(), new.sum()]), np.array([len(reference), len(new)])
    if not missing.any():
        return None
    before, after = (missing / rows).tolist()
    p_value = float(stats.fisher_exact([missing, rows - missing]).pvalue)
    return Difference(p_value, abs(after - before), np.nan, before, after)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values (tests,) by Holm's method (1979), whatever the dependence between the tests.

    If all tests with an adjusted p-value of at most ``level`` are rejected, the probability of any false rejection is
    at most ``level``.

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
