"""Where a score begins to count as odd."""

import numpy as np

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
