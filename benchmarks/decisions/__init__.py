"""Error rates of p-values, ``detect`` and ``drift``: ``python -m benchmarks.decisions`` and ``.drift``."""
