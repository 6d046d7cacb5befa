"""How a fit went: the ELBO over the steps, and the two terms that it is made of."""

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from vae_anomaly.plots.figures import ACCENT, MODEL, QUIET, SMALL, USUAL, dress, new_figure, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

_MARKED = 25  # rounds up to which each is marked with a dot


def plot_history(detector: "VAEDetector") -> "Figure":
    """
    Draw what was optimised, over the steps of the fit.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.

    Returns
    -------
    Figure
        The mean ELBO of the rows trained on, and of held-out rows where there were some, with the step at which these
        were best; below, the log-likelihood and the KL. For a plain autoencoder, minus the squared error alone.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.plots import plot_history
    >>> detector = VAEDetector(max_iter=40, random_state=0).fit(np.random.default_rng(0).normal(size=(200, 3)))
    >>> [axes.get_ylabel() for axes in plot_history(detector).axes]
    ['ELBO, nats a row', 'log-likelihood, nats a row', 'KL, nats a row']
    """
    require_matplotlib()
    check_is_fitted(detector)
    title = f"Training: {detector.n_iter_:,} steps on {detector.n_samples_fit_:,} rows"
    if not detector.variational:
        figure = new_figure(title, 3.2)
        _draw_bound(figure.subplots(), detector.history_, "minus the squared error a row")
        return figure
    figure = new_figure(title, 5.0)
    grid = figure.subplot_mosaic([["elbo", "elbo"], ["log_likelihood", "kl"]], height_ratios=[1.3, 1])
    _draw_bound(grid["elbo"], detector.history_, "ELBO, nats a row")
    for term, name in {"log_likelihood": "log-likelihood", "kl": "KL"}.items():
        _draw(grid[term], detector.history_, term, MODEL, "")
        _finish(grid[term], f"{name}, nats a row")
    return figure


def _draw_bound(axes: "Axes", history: dict[str, list[float]], name: str) -> None:
    """What was made large, of the rows trained on and of those held out."""
    _draw(axes, history, "elbo", MODEL, "rows trained on")
    if "held_out_elbo" in history:
        _draw(axes, history, "held_out_elbo", ACCENT, "rows held out")
        best = int(np.argmax(history["held_out_elbo"]))
        step = history["step"][best]
        axes.axvline(step, color=QUIET, linewidth=1, linestyle=":", label=f"best held out: step {step:,}")
        axes.legend(loc="lower right", fontsize=SMALL, frameon=False)
    _finish(axes, name)


def _draw(axes: "Axes", history: dict[str, list[float]], figure: str, colour: str, name: str) -> None:
    marker = "o" if len(history["step"]) <= _MARKED else ""
    axes.plot(history["step"], history[figure], color=colour, marker=marker, markersize=3, linewidth=1.5, label=name)


def _finish(axes: "Axes", name: str) -> None:
    dress(axes, ticks=6)
    axes.set_xlim(left=0)
    axes.set_xlabel("step", fontsize=USUAL)
    axes.set_ylabel(name, fontsize=USUAL)
    axes.grid(axis="y", alpha=0.3)
