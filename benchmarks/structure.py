"""How much code a reader meets: files and functions that a fit and a scoring enter, and how deep the calls go.

``python -m benchmarks.structure [--verbose]`` fits and scores a table of 400 rows and 7 columns: numbers with gaps,
whole numbers and text. It counts named functions (``def``) of vae_anomaly alone. Lambdas, comprehensions and generator
expressions do not count, nor do functions of other packages and of module bodies. ``tests/test_structure.py`` keeps the
counts below limits.
"""

import argparse
import inspect
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
import pandas as pd

import vae_anomaly
from vae_anomaly import VAEDetector

PACKAGE = Path(vae_anomaly.__file__).parent


@dataclass
class Trace:
    """Functions entered, by file relative to the package, and the largest number of them on the stack at once."""

    functions: dict[str, set[str]] = field(default_factory=dict)
    depth: int = 0

    @property
    def n_functions(self) -> int:
        """Number of functions entered."""
        return sum(map(len, self.functions.values()))


def trace(work: Callable[[], object]) -> Trace:
    """Record which functions of the package ``work`` enters, in all threads that it starts."""
    found, root = Trace(), f"{PACKAGE}{os.sep}"

    def is_ours(frame: FrameType) -> bool:
        return frame.f_code.co_filename.startswith(root) and not frame.f_code.co_name.startswith("<")

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event != "call" or not is_ours(frame):
            return
        code = frame.f_code
        found.functions.setdefault(code.co_filename.removeprefix(root), set()).add(code.co_qualname)
        depth, caller = 0, inspect.currentframe()
        while caller is not None:
            depth += is_ours(caller)
            caller = caller.f_back
        found.depth = max(found.depth, depth)

    before = sys.getprofile()
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    return found


def mixed_table() -> pd.DataFrame:
    """A table like the penguins: 400 rows, 4 numbers with gaps, a year and two text columns."""
    rng, n_rows = np.random.default_rng(0), 400
    species = rng.choice(["Adelie", "Chinstrap", "Gentoo"], n_rows)
    size = rng.normal(size=n_rows) + (species == "Gentoo")
    numbers = {
        "bill length": 44 + 5 * size,
        "bill depth": 17 - 2 * size,
        "flipper length": (200 + 12 * size).round(),
        "body mass": 4200 + 800 * size,
    }
    table = pd.DataFrame({name: (values + rng.normal(size=n_rows)).round(1) for name, values in numbers.items()})
    table[rng.random(table.shape) < 0.02] = np.nan
    return table.assign(year=rng.integers(2007, 2010, n_rows), species=species, sex=rng.choice(["f", "m"], n_rows))


def traces() -> dict[str, Trace]:
    """Traces of a fit and of ``score_samples`` on the table, after an earlier fit has filled all caches."""
    table, detector = mixed_table(), VAEDetector(random_state=0)
    VAEDetector(random_state=0, max_iter=1).fit(table)
    return {"fit": trace(lambda: detector.fit(table)), "score_samples": trace(lambda: detector.score_samples(table))}


def main() -> None:
    """Print the counts, with ``--verbose`` also the names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verbose", action="store_true", help="list the functions of each file")
    verbose = parser.parse_args().verbose
    for name, found in traces().items():
        print(f"{name}: {len(found.functions)} files, {found.n_functions} functions, {found.depth} deep")
        for file, functions in sorted(found.functions.items()) if verbose else ():
            print(f"  {file} ({len(functions)}): {' '.join(sorted(functions))}")


if __name__ == "__main__":
    main()
