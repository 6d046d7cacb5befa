"""Patterns: which rows have one cause, and what is said about them."""

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.explain.explanation import LATENT
from vae_anomaly.explain.shown import ShownRows
from vae_anomaly.report.patterns import find_patterns, group_rows


class Found:
    """Figures of an explanation of rows in which column a is surprising."""

    def __init__(self, value, low=1.0, high=2.0):
        n = len(value)
        self.value = pd.DataFrame({"a": value, "b": np.zeros(n)})
        self.low, self.high = (pd.DataFrame({"a": [end] * n, "b": [end] * n}) for end in (low, high))
        self.surprise = pd.DataFrame({"a": [9.0] * n, "b": [0.5] * n, LATENT: [0.2] * n})


def said(found):
    (pattern,) = find_patterns(ShownRows(found, {}))
    assert pattern.title == "a"
    return pattern.remarks


@pytest.mark.parametrize(
    "value, remark",
    [
        ([5.0, 6.0, 7.0, 1.5], "a is higher than expected in 3 of 4"),
        ([0.0, 0.5, 0.1], "a is lower than expected in all"),
        ([9.0, 8.0, 0.0, 0.1, 0.2, 1.5, 9.5, 1.2], "a is higher or lower than expected in 6 of 8"),
        ([np.nan, np.nan, 5.0], "a is missing in 2 of 3"),
    ],
)
def test_what_numbers_of_a_pattern_have_in_common(value, remark):
    assert said(Found(value)) == [remark]


def test_a_value_that_rows_share_is_named():
    assert said(Found(["usd", "usd", "eur"], low=None, high=None)) == ["a is 'usd' in 2 of 3"]
    assert said(Found(["usd", "chf", "eur", "gbp", "nok"], low=None, high=None)) == []


def test_rows_are_grouped_by_their_columns_whatever_the_size_and_the_order(rng):
    kinds = rng.integers(0, 3, 60)
    shares = rng.uniform(0, 0.1, (60, 5))
    shares[np.arange(60), kinds] += rng.uniform(1, 3, 60)
    shares /= shares.sum(axis=1, keepdims=True)
    groups = {frozenset(group.tolist()) for group in group_rows(shares)}
    assert groups == {frozenset(np.flatnonzero(kinds == kind).tolist()) for kind in range(3)}
    order = rng.permutation(60)
    assert {frozenset(order[group].tolist()) for group in group_rows(shares[order])} == groups


def test_rows_without_a_surprise_and_single_rows_are_groups():
    assert [group.tolist() for group in group_rows(np.zeros((3, 2)))] == [[0, 1, 2]]
    assert [group.tolist() for group in group_rows(np.array([[0.0, 0.0], [1.0, 0.0]]))] == [[0], [1]]
    assert [group.tolist() for group in group_rows(np.array([[0.4, 0.6]]))] == [[0]]
    assert group_rows(np.empty((0, 2))) == []
