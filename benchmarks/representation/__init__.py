"""Latent means, samples and filled cells compared with plain peers: ``python -m benchmarks.representation``."""
