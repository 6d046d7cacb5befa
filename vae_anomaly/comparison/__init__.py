"""How the detector fares beside scikit-learn's on a table whose odd rows are known."""

from vae_anomaly.comparison.labels import anomaly_labels
from vae_anomaly.comparison.measuring import Comparison, Measured

__all__ = ["Comparison", "Measured", "anomaly_labels"]
