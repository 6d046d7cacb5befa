"""Measurements, each a module to run: ``python -m benchmarks.speed --help``; real data is named by an option."""
