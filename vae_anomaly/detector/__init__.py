"""The detector: a scikit-learn estimator around a variational autoencoder."""

from vae_anomaly.detector.estimator import VAEDetector, load

__all__ = ["VAEDetector", "load"]
