"""Explanations compared with planted errors: ``python -m benchmarks.reasons``."""
