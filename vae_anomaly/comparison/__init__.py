"""How the detector fares beside scikit-learn's on a table whose odd rows are known."""

from vae_anomaly.comparison.labels import odd_rows
from vae_anomaly.comparison.measuring import Comparison, Measured

__all__ = ["Comparison", "Measured", "odd_rows"]
