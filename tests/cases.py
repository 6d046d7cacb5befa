"""Cases of parametrised tests: a representative few in the default run, all of them with ``-m slow``."""

import itertools
from collections.abc import Collection, Iterable

import pytest
from _pytest.mark import ParameterSet


def product(*axes: Iterable[object], quick: Collection[tuple[object, ...]]) -> list[ParameterSet]:
    """Every combination; those that are not in ``quick`` are marked ``slow``."""
    cases = [*itertools.product(*axes)]
    assert set(quick) <= set(cases)
    return [pytest.param(*case, marks=() if case in quick else pytest.mark.slow) for case in cases]
