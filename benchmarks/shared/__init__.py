"""Data, methods, results files and pages that the benchmarks share."""
