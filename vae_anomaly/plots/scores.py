"""Histogram of anomaly scores with the line from which rows are flagged; its bins are also those of the report."""

from typing import TYPE_CHECKING, Any

import numpy as np

from vae_anomaly.formatting import counted, nats, with_minus
from vae_anomaly.plots.figures import ACCENT, MEDIUM, SMALL, TABLE, new_figure, require_fitted, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

BINS = 48


def plot_scores(detector: "VAEDetector", X: Any) -> "Figure":
    """
    Draw the distribution of the anomaly scores of rows, and the line from which they are flagged.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    X : DataFrame or array-like
        (rows, columns).

    Returns
    -------
    Figure
        Heights are on a square-root scale, so that bars of a few rows can be seen. Scores farther above the line than
        the lowest are below it have one bar at the end.

    Raises
    ------
    DataError
        ``X`` does not fit the model.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.plots import plot_scores
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = VAEDetector(max_iter=40, random_state=0).fit(X)
    >>> plot_scores(detector, X).axes[0].get_xlabel()
    'anomaly score, nats: the higher, the more anomalous'
    """
    require_fitted(detector)
    scores, threshold = detector.anomaly_score(X), -float(detector.offset_)
    noun = "rows" if detector.image_shape is None else "images"
    n_flagged = int((scores > threshold).sum())
    are = "is" if n_flagged == 1 else "are"
    figure = new_figure(f"{n_flagged:,} of {counted(len(scores), noun)} {are} beyond the line", 3.6)
    axes = figure.subplots()
    edges = score_edges(scores, threshold)
    counts = np.rint(bin_fractions(scores, edges) * len(scores))
    beyond = edges[:-1] >= threshold - (edges[1] - edges[0]) / 2
    axes.bar(
        edges[:-1], counts[:-1], np.diff(edges), align="edge", color=np.where(beyond, ACCENT, TABLE), edgecolor="white"
    )
    style_axes(axes, ticks=8)
    if counts[-1]:
        _draw_overflow(axes, edges, int(counts[-1]))
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.clip(y, 0, None)), np.square))
    axes.set_ylim(0, 1.08 * counts.max())
    axes.set_yticks(root_ticks(float(counts.max())))
    axes.axvline(threshold, color=ACCENT, linewidth=1.5, linestyle="--")
    note = f" line: {with_minus(nats(threshold))}"
    axes.annotate(note, (threshold, 1), xycoords=("data", "axes fraction"), va="top", fontsize=MEDIUM, color=ACCENT)
    unit = "nats" if detector.variational else "squared errors"
    axes.set_xlabel(f"anomaly score, {unit}: the higher, the more anomalous", fontsize=MEDIUM)
    axes.set_ylabel(f"{noun} (square-root scale)", fontsize=MEDIUM)
    return figure


def _draw_overflow(axes: Any, edges: np.ndarray, count: int) -> None:
    """A bar for the scores beyond the bins, with its number."""
    width = edges[1] - edges[0]
    axes.bar(edges[-1] + width, count, 2 * width, align="edge", color=ACCENT, edgecolor="white")
    axes.annotate(
        f"{count:,} beyond",
        (edges[-1] + 3 * width, count),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        fontsize=SMALL,
        color=ACCENT,
    )


def root_ticks(largest: float) -> list[float]:
    """Whole numbers of rows, not too close to one another on a square-root scale."""
    ticks: list[float] = [0]
    for power in range(10):
        for step in (1, 2, 5):
            if (tick := step * 10**power) <= largest and np.sqrt(tick / largest) > np.sqrt(ticks[-1] / largest) + 0.12:
                ticks.append(tick)
    return ticks


def score_edges(scores: np.ndarray, threshold: float | None) -> np.ndarray:
    """Edges of the bins, (bins + 1,), one of which is the threshold.

    They go from the lowest scores to as far above the threshold as those are below it.
    """
    low, typical = np.quantile(scores, [0.001, 0.98])
    far = typical if threshold is None else max(threshold + (threshold - low), threshold)
    high = min(float(scores.max()), float(far))
    width = (high - low) / BINS if high > low else 1 / BINS
    if threshold is not None:
        low = threshold - np.ceil(max(threshold - low, 0.0) / width) * width
    return np.linspace(float(low), float(low + BINS * width), BINS + 1)


def bin_fractions(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Fraction of the rows in each bin, (bins + 1,): the first includes lower scores, the last is for higher ones."""
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 1)
    return np.bincount(bins, minlength=len(edges)) / len(scores)
