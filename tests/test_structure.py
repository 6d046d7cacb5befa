"""A newcomer understands a fit from few files and functions: the call graph stays small."""

import pytest

from benchmarks.structure import PACKAGE, trace, traces
from vae_anomaly.training.trainer import rate_factor

LIMITS = {  # files, functions
    "fit": (24, 241),  # two models are trained
    "score_samples": (14, 79),
}


@pytest.fixture(scope="module")
def found():
    return traces()


@pytest.mark.parametrize("name", LIMITS)
def test_the_call_graph_is_small(found, name):
    files, functions = LIMITS[name]
    entered = found[name].functions
    listed = "\n".join(f"{file} ({len(names)}): {' '.join(sorted(names))}" for file, names in sorted(entered.items()))
    assert len(entered) <= files, listed
    assert found[name].n_functions <= functions, listed


def test_named_functions_of_the_package_are_counted_and_nothing_else():
    def work():
        [rate_factor(step, 3) for step in range(3)]
        sorted(range(3), key=lambda value: -value)
        rate_factor(0, 1)

    found = trace(work)
    assert found.functions == {"training/trainer.py": {"rate_factor"}}
    assert (found.n_functions, found.depth) == (1, 1)
    assert (PACKAGE / "training/trainer.py").exists()
