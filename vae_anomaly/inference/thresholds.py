"""Where a score begins to count as odd."""

import numpy as np

FENCE = 1.5  # interquartile ranges


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
    >>> offset(np.arange(100.0), 0.1)
    9.9
    >>> offset(np.arange(101.0), "auto")
    -50.0
    """
    if contamination != "auto":
        return float(np.quantile(scores, float(contamination)))
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(low - FENCE * (high - low))
