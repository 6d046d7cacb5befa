"""Reasons in words: only surprising cells, the most surprising first."""

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.explain.explanation import LATENT, TOGETHER, Explanation, rounded


@pytest.fixture
def explanation():
    """Two rows of a number, a category and a flag; in the second only the latent term is surprising."""
    index = pd.Index(["a", "b"])
    surprise = pd.DataFrame([[5.0, 7.0, 0.5, -1.0], [-1.0, -1.0, -1.0, 2.0]], index, ["size", "kind", "big", LATENT])
    return Explanation(
        nats=surprise + 1.0,
        surprise=surprise,
        value=pd.DataFrame({"size": [5.1e6, np.nan], "kind": ["auth", "http"], "big": [True, None]}, index),
        expected=pd.DataFrame({"size": [2000.0, 1.0], "kind": ["http", "http"], "big": [True, False]}, index),
        low=pd.DataFrame({"size": [100.0, 1.0], "kind": [None, None], "big": [None, None]}, index),
        high=pd.DataFrame({"size": [4000.0, 1.0], "kind": [None, None], "big": [None, None]}, index),
        frequency=np.array([[np.nan, 0.001, 0.4], [np.nan, 0.0, np.nan]]),
        nouns=np.full((2, 3), "", dtype=object),
    )


def test_the_most_surprising_cells_come_first_with_what_was_expected(explanation):
    first, second = explanation.reasons(3)
    assert first == (
        "kind 'auth', seen in 0.1 %, expected 'http'; size 5,100,000, expected 100 to 4000; big True, seen in 40 %"
    )
    assert second == TOGETHER
    assert explanation.reasons(1)[0] == "kind 'auth', seen in 0.1 %, expected 'http'"


def test_a_value_never_seen_in_training_is_named_so_and_a_missing_one_has_no_reason(explanation):
    long = explanation.long().set_index(["row", "column"])["reason"]
    assert long["b", "kind"] == "kind 'http', not seen in training"
    assert long["b", "size"] == ""
    assert long["b", LATENT] == TOGETHER


def test_the_wide_form_has_every_figure_of_every_column(explanation):
    wide = explanation.wide()
    assert list(dict.fromkeys(wide.columns.get_level_values(0))) == [
        "nats", "surprise", "value", "expected", "low", "high"
    ]  # fmt: skip
    assert wide.loc["a", ("high", "size")] == 4000.0
    assert list(wide["nats"].columns) == ["size", "kind", "big", LATENT]


def test_decoded_numbers_are_rounded_to_what_they_were():
    numbers = np.array([3300.0, 0.1, -1e-200, 0.0, 1.7e9 + 0.25, np.nan, 1e200])
    found = rounded(pd.DataFrame({"x": numbers * (1 + 1e-15), "n": 1}))["x"]
    np.testing.assert_array_equal(found, numbers)
