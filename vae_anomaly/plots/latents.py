"""The codes of rows on the two latents that say most, and how much each latent says."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from vae_anomaly.data.parse import as_frame, is_frame
from vae_anomaly.formatting import counted
from vae_anomaly.plots.figures import MODEL, QUIET, SMALL, TABLE, USUAL, dress, new_figure, require_matplotlib
from vae_anomaly.plots.paint import ByNumber, Paint, paint_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

_FEWEST_BARS, _MOST_BARS = 8, 24


def plot_latents(detector: "VAEDetector", X: Any, *, color: Any = None) -> "Figure":
    """
    Draw the codes of rows on the two latents of largest KL, and the KL of each latent beside them.

    Parameters
    ----------
    detector : VAEDetector
        Fitted. With one latent, its histogram is drawn; a plain autoencoder has no KL, and its latents are ordered by
        the deviation of their codes.
    X : DataFrame or array-like
        (rows, columns).
    color : str or array-like, optional
        A column of ``X``, which need not be one that the model uses, or a value for each row: numbers and dates give a
        colour bar, all else a legend. By default the anomaly score.

    Returns
    -------
    Figure
        Active latents have dark bars, idle ones pale bars.

    Raises
    ------
    DataError
        ``X`` does not fit the model, or ``color`` does not fit ``X``.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.plots import plot_latents
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = VAEDetector(n_components=2, max_iter=40, random_state=0).fit(X)
    >>> figure = plot_latents(detector, X, color=X[:, 0] > 0)
    >>> figure.get_suptitle()
    'Codes of 200 rows'
    """
    require_matplotlib()
    check_is_fitted(detector)
    rows = _without_strangers(detector, X, color)
    codes = detector.transform(rows)
    if color is None:
        paint: Paint = ByNumber(detector.anomaly_score(rows), _score_name(detector))
    else:
        paint = paint_of(color, X, len(codes))
    figure = new_figure(f"Codes of {counted(len(codes), 'rows')}", 4.5)
    plane, bars = figure.subplots(1, 2, width_ratios=[3, 1])
    largest = by_weight(detector)[:2]
    dress(plane, ticks=7)
    if len(largest) == 1:
        paint.histogram(figure, plane, codes[:, 0])
        plane.set_ylabel("rows", fontsize=USUAL)
    else:
        paint.scatter(figure, plane, codes[:, largest])
        plane.set_ylabel(latent_name(detector, largest[1]), fontsize=USUAL)
    plane.set_xlabel(latent_name(detector, largest[0]), fontsize=USUAL)
    _draw_weights(bars, detector)
    return figure


def by_weight(detector: "VAEDetector") -> list[int]:
    """Latents by their KL, the largest first; where there is none, by the deviation of their codes."""
    figures = detector.latents_
    return [int(place) for place in np.lexsort((-figures["std"], -figures["kl"]))]


def latent_name(detector: "VAEDetector", place: int) -> str:
    """Name of a latent at an axis, with its KL where it has one."""
    kl = detector.latents_["kl"].iloc[place]
    return f"latent {place} ({kl:.{1 if kl >= 0.1 else 2}f} nats)" if detector.variational else f"latent {place}"


def _without_strangers(detector: "VAEDetector", X: Any, color: Any) -> Any:
    """The table without a column that only colours it: one that the model was not fitted to."""
    if not (isinstance(color, str | int) and is_frame(X)):
        return X
    frame: pd.DataFrame = as_frame(X)
    known = color in detector.schema_.names or color in detector.schema_.left_out
    return frame if known else frame.drop(columns=color, errors="ignore")


def _score_name(detector: "VAEDetector") -> str:
    return "anomaly score, nats" if detector.variational else "anomaly score (squared error)"


def _draw_weights(axes: "Axes", detector: "VAEDetector") -> None:
    """A bar for each latent, the largest at the top."""
    from matplotlib.patches import Patch

    shown = by_weight(detector)[:_MOST_BARS]
    figures = detector.latents_.iloc[shown]
    values = figures["kl" if detector.variational else "std"]
    active, idle = figures["active"], ~figures["active"]
    axes.barh(range(len(shown)), values, color=np.where(active, MODEL, TABLE))
    dress(axes)
    axes.set_yticks(range(len(shown)), [str(place) for place in shown])
    for tick, used in zip(axes.get_yticklabels(), active, strict=True):
        tick.set_color("black" if used else QUIET)
    axes.set_ylim(max(len(shown), _FEWEST_BARS) - 0.5, -0.5)
    axes.set_xlabel("KL, nats" if detector.variational else "deviation of the code", fontsize=USUAL)
    total = detector.n_components_
    axes.set_ylabel("latent" if len(shown) == total else f"latent ({len(shown)} of {total})", fontsize=USUAL)
    if idle.any():
        parts = [Patch(color=MODEL, label="active"), Patch(color=TABLE, label="idle")]
        axes.legend(handles=parts, loc="lower right", fontsize=SMALL, frameon=False)
