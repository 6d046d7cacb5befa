"""Measurements, each a module to run: ``python -m benchmarks.speed --help``. They take the data's folder as an option."""
