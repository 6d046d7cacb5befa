"""Training history: the ELBO over the steps, and its two terms."""

from typing import TYPE_CHECKING

import numpy as np

from vae_anomaly.plots.figures import ACCENT, MEDIUM, MODEL, QUIET, SMALL, new_figure, require_fitted, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector


def plot_history(detector: "VAEDetector") -> "Figure":
    """
    Draw the training objective over the steps of the fit.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.

    Returns
    -------
    Figure
        The mean ELBO of the training rows, and of held-out rows, if there are any, with the step at which theirs was
        best; below, the log-likelihood and the KL. For a plain autoencoder, minus the squared error alone.

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
    ['ELBO, nats per row', 'log-likelihood, nats per row', 'KL, nats per row']
    """
    require_fitted(detector)
    history = detector.history_
    title = f"Training: {detector.n_iter_:,} steps on {detector.n_samples_fit_:,} rows"
    if not detector.variational:
        figure = new_figure(title, 3.2)
        _draw_objective(figure.subplots(), history, "minus the squared error per row")
        return figure
    figure = new_figure(title, 5.0)
    grid = figure.subplot_mosaic([["elbo", "elbo"], ["log_likelihood", "kl"]], height_ratios=[1.3, 1])
    _draw_objective(grid["elbo"], history, "ELBO, nats per row")
    for term, name in {"log_likelihood": "log-likelihood", "kl": "KL"}.items():
        _draw_line(grid[term], history, term, MODEL, "")
        _label_axes(grid[term], f"{name}, nats per row")
    return figure


def _draw_objective(axes: "Axes", history: dict[str, list[float]], name: str) -> None:
    """The objective of the training rows and of the held-out rows."""
    _draw_line(axes, history, "elbo", MODEL, "training rows")
    if "held_out_elbo" in history:
        _draw_line(axes, history, "held_out_elbo", ACCENT, "held-out rows")
        step = history["step"][int(np.argmax(history["held_out_elbo"]))]
        axes.axvline(step, color=QUIET, linewidth=1, linestyle=":", label=f"best on held-out rows: step {step:,}")
        axes.legend(loc="lower right", fontsize=SMALL, frameon=False)
    _label_axes(axes, name)


def _draw_line(axes: "Axes", history: dict[str, list[float]], key: str, colour: str, name: str) -> None:
    marker = "o" if len(history["step"]) <= 25 else ""  # more dots would touch
    axes.plot(history["step"], history[key], color=colour, marker=marker, markersize=3, linewidth=1.5, label=name)


def _label_axes(axes: "Axes", name: str) -> None:
    style_axes(axes, ticks=6)
    axes.set_xlim(left=0)
    axes.set_xlabel("step", fontsize=MEDIUM)
    axes.set_ylabel(name, fontsize=MEDIUM)
    axes.grid(axis="y", alpha=0.3)
