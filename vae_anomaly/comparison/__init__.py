"""Comparison of the detector with scikit-learn's on a table with known anomalies."""

from vae_anomaly.comparison.comparison import Comparison, Measured, anomaly_labels

__all__ = ["Comparison", "Measured", "anomaly_labels"]
