"""Errors in tables of mixed columns, planted and real: ``python -m benchmarks.errors``."""
