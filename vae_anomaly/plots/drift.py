"""Drift of each column since training: how much its distribution changed, and what the change is in words."""

from typing import TYPE_CHECKING, Any

import numpy as np

from vae_anomaly.formatting import counted, shorten, wrapped
from vae_anomaly.plots.figures import ACCENT, MEDIUM, SMALL, TABLE, new_figure, require_fitted, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

MOST_COLUMNS = 24


def plot_drift(
    detector: "VAEDetector",
    X: Any,
    *,
    level: float = 0.05,
    ordered: bool = True,
    random_state: int | np.random.RandomState | None = None,
) -> "Figure":
    """
    Draw how far each column, and the score, has moved from the training rows, by `VAEDetector.drift`.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    X : DataFrame or array-like
        (rows, columns) new rows.
    level, ordered, random_state
        As in `VAEDetector.drift`.

    Returns
    -------
    Figure
        The largest changes, at most 24. Those that are more than chance are in the accent colour, with the change in
        words.

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
    >>> from vae_anomaly.plots import plot_drift
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> detector = VAEDetector(calibration="split", random_state=0).fit(X[:200])
    >>> plot_drift(detector, X[200:] + [0, 1], ordered=False, random_state=0).get_suptitle()
    '1 of 2 columns has drifted, and so has the score'
    """
    require_fitted(detector)
    found = detector.drift(X, level=level, ordered=ordered, random_state=random_state)
    moved = found.columns["drifted"].to_numpy(bool)
    n_drifted, n_columns = int(moved[:-1].sum()), len(moved) - 1
    noun = "columns" if detector.image_shape is None else "pixels"
    have = "has" if n_drifted == 1 else "have"
    title = f"{n_drifted or 'None'} of {counted(n_columns, noun)} {have} drifted"
    title += ", and so has the score" if moved[-1] else ""
    title += f", from row {found.stream.alarm + 1:,} on" if found.stream and found.stream.alarm is not None else ""
    shown = found.columns.sort_values(["drifted", "effect"], ascending=False, kind="stable")[:MOST_COLUMNS]
    figure = new_figure(title, 1.0 + 0.32 * len(shown))
    axes = figure.subplots()
    positions, drifted = range(len(shown)), shown["drifted"].to_numpy(bool)
    axes.barh(positions, shown["effect"], 0.62, color=np.where(drifted, ACCENT, TABLE))
    style_axes(axes, ticks=6)
    axes.set(ylim=(len(shown) - 0.5, -0.5), xlim=(0, None))
    axes.set_yticks(positions, [wrapped(name, 32, 2) for name in shown.index], fontsize=MEDIUM)
    axes.tick_params(axis="y", length=0)
    for position, message, effect in zip(positions, shown["message"], shown["effect"], strict=True):
        if drifted[position]:
            text = "  " + shorten(message, 90).replace("$", r"\$")
            axes.annotate(text, (effect, position), va="center", fontsize=SMALL)
    axes.set_xlabel("largest change in the fraction of rows, 0 to 1", fontsize=MEDIUM)
    return figure
