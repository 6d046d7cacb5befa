"""Accuracy of anomaly scores on labelled tables: ``python -m benchmarks.accuracy``, ``.ablations``, ``.nsl_kdd``."""
