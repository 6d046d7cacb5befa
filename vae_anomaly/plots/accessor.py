"""The figures of a detector as its methods: ``detector.plot.scores(X)``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_anomaly import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector

Seed = int | np.random.RandomState | None


@dataclass(frozen=True, repr=False)
class DetectorPlots:
    """Figures of a fitted detector, for a notebook to show as the last expression of a cell.

    Each method returns a matplotlib ``Figure``; the function of its name in ``vae_anomaly.plots`` has its options.
    """

    detector: "VAEDetector"

    def scores(self, X: Any) -> "Figure":
        """Histogram of the scores of rows, with the line from which they are flagged."""
        return plots.plot_scores(self.detector, X)

    def anomalies(self, X: Any, *, x: str | int | None = None, y: str | int | None = None) -> "Figure":
        """Two columns against each other, with the anomalous rows marked; by default those that lead the reasons."""
        return plots.plot_anomalies(self.detector, X, x=x, y=y)

    def reasons(self, row: Any, *, max_columns: int = 10) -> "Figure":
        """What each column adds to the score of one row, with the values seen and expected."""
        return plots.plot_reasons(self.detector, row, max_columns=max_columns)

    def latents(self, X: Any, *, color: Any = None) -> "Figure":
        """Rows on the two most informative latents, in the colours of a column, and the KL of each latent."""
        return plots.plot_latents(self.detector, X, color=color)

    def history(self) -> "Figure":
        """The objective during training, and its terms."""
        return plots.plot_history(self.detector)

    def reconstructions(self, X: Any) -> "Figure":
        """Observed values of each column against the reconstructed ones."""
        return plots.plot_reconstructions(self.detector, X)

    def samples(self, X: Any = None, *, n_samples: int | None = None, random_state: Seed = None) -> "Figure":
        """Distribution of each column in rows sampled from the model, and in ``X`` if it is given."""
        return plots.plot_samples(self.detector, X, n_samples=n_samples, random_state=random_state)

    def traversal(self, *, dimensions: Sequence[int] | None = None, span: float = 3.0, n_samples: int = 11) -> "Figure":
        """Rows that the model expects along some latents."""
        return plots.plot_traversal(self.detector, dimensions=dimensions, span=span, n_samples=n_samples)

    def drift(self, X: Any, *, level: float = 0.05, ordered: bool = True, random_state: Seed = None) -> "Figure":
        """How far each column of new rows has moved from the training rows."""
        return plots.plot_drift(self.detector, X, level=level, ordered=ordered, random_state=random_state)
