"""Figures of a fitted detector, with matplotlib (the extra ``plots``).

Each ``plot_`` function returns a matplotlib ``Figure``, for `write_figure` or for the figure's own ``savefig``. Neither
``pyplot`` nor matplotlib's settings are touched. The names are resolved when they are first used.
"""

from typing import TYPE_CHECKING

from vae_anomaly.lazy import lazy_names

if TYPE_CHECKING:
    from vae_anomaly.plots.accessor import DetectorPlots
    from vae_anomaly.plots.anomalies import plot_anomalies
    from vae_anomaly.plots.drift import plot_drift
    from vae_anomaly.plots.figures import picture_format, write_figure
    from vae_anomaly.plots.history import plot_history
    from vae_anomaly.plots.images import image_grid
    from vae_anomaly.plots.latents import plot_latents
    from vae_anomaly.plots.reasons import plot_reasons
    from vae_anomaly.plots.reconstructions import plot_reconstructions
    from vae_anomaly.plots.samples import plot_samples
    from vae_anomaly.plots.scores import plot_scores
    from vae_anomaly.plots.traversal import plot_traversal, traverse_latents

__all__ = [
    "DetectorPlots",
    "image_grid",
    "picture_format",
    "plot_anomalies",
    "plot_drift",
    "plot_history",
    "plot_latents",
    "plot_reasons",
    "plot_reconstructions",
    "plot_samples",
    "plot_scores",
    "plot_traversal",
    "traverse_latents",
    "write_figure",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DetectorPlots": "accessor",
        "image_grid": "images",
        "picture_format": "figures",
        "plot_anomalies": "anomalies",
        "plot_drift": "drift",
        "plot_history": "history",
        "plot_latents": "latents",
        "plot_reasons": "reasons",
        "plot_reconstructions": "reconstructions",
        "plot_samples": "samples",
        "plot_scores": "scores",
        "plot_traversal": "traversal",
        "traverse_latents": "traversal",
        "write_figure": "figures",
    },
)
