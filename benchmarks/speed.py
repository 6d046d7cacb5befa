"""Fit and score a table of numbers with the defaults, beside PyOD's VAE with its own: seconds, and their ratio.

``python -m benchmarks.speed --rows 100000 --columns 30`` needs ``pip install "vae-anomaly[benchmark]"`` unless
``--alone`` is given.
Both run in one process, one after the other, on the same table; report the ratio: machines differ and are shared.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from vae_anomaly import VAEDetector


def make_table(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Numbers with five directions in common, and noise."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 5)) @ rng.normal(size=(5, columns)) + 0.3 * rng.normal(size=(rows, columns))


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def ours(x: np.ndarray, novelty: bool) -> tuple[float, float]:
    """Seconds of fit and of score."""
    detector = VAEDetector(novelty=novelty, random_state=0)
    return timed(lambda: detector.fit(x)), timed(lambda: detector.anomaly_score(x))


def pyod(x: np.ndarray) -> tuple[float, float]:
    """Seconds of fit and of score."""
    from pyod.models.vae import VAE

    detector = VAE(verbose=0)
    return timed(lambda: detector.fit(x)), timed(lambda: detector.decision_function(x))


def main() -> None:
    """Print a line a detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--alone", action="store_true", help="leave PyOD out")
    arguments = parser.parse_args()
    x = make_table(arguments.rows, arguments.columns)
    figures = {
        "outlier detection": ours(x, novelty=False),
        "novelty detection": ours(x, novelty=True),
    }
    if not arguments.alone:
        figures["PyOD VAE"] = pyod(x)
    slowest = sum(figures["PyOD VAE"]) if "PyOD VAE" in figures else float("nan")
    for name, (fit, score) in figures.items():
        print(f"{name:20} fit {fit:7.1f} s  score {score:6.1f} s  PyOD takes {slowest / (fit + score):5.1f} x as long")


if __name__ == "__main__":
    main()
