"""Benchmarks, in a folder for each question; each command explains itself: ``python -m benchmarks.speed --help``.

Waiting threads sleep. By default the threads of torch and scikit-learn spin while they wait, which slows down the
thread that they wait for if other processes need the cores: a small network of PyOD took thirty times as long.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch reads this when it is imported, so it is set first
