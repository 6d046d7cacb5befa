"""Measurements, each a module to run: ``python -m benchmarks.speed --help``; real data is named by an option.

Threads that wait shall sleep. By default those of torch and scikit-learn spin, and where another process wants the
cores they burn the time of the thread that they wait for: a small net of PyOD's took thirty times its seconds.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded, so before anything here imports it
