"""Numbers, names and values as text for people."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from vae_anomaly.formatting import cell_text, label, listed_names, number, percent, shorten


@pytest.mark.parametrize("name", ["$", "$x$", "a_b^2 $", r"\alpha $\beta$", "x_{1}"])
def test_names_are_drawn_as_they_are(name):
    text = Figure().text(0, 0, label(name))
    assert text._preprocess_math(text.get_text()) == (name, False)  # what matplotlib would draw, and as what


def test_long_names_keep_both_ends():
    assert shorten("measurement_of_pressure_standing", 14) == "measur…tanding"
    assert len(shorten("x" * 100, 14)) == 14
    assert shorten("x" * 14, 14) == "x" * 14


def test_what_cannot_be_printed_is_replaced():
    assert shorten("two\nlines\x1b[31m") == "two lines\N{REPLACEMENT CHARACTER}[31m"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (35_000.0, "35,000"),
        (12345.678, "12,346"),
        (9999.6, "10,000"),
        (999_999, "999,999"),
        (-5_100_000, "-5,100,000"),
        (np.int64(7), "7"),
        (np.True_, "True"),
        (np.float64("nan"), "missing"),
        (pd.NaT, "missing"),
        (pd.Timestamp("2026-01-02"), "2026-01-02"),
        (pd.Timestamp("2026-01-02 03:04"), "2026-01-02 03:04:00"),
        ("two\nlines " + "x" * 50, "two lines xxxxxxxxx…" + "x" * 20),
        ([1, None], "[1, None]"),
    ],
)
def test_cells_are_short(value, text):
    assert cell_text(value) == text


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_numbers_that_are_none_have_a_text(value):
    assert number(value) == str(value)


def test_percents_reach_0_and_100_only_there():
    for fraction in np.r_[np.logspace(-12, -1, 200), 1 - np.logspace(-12, -1, 200)]:
        assert percent(float(fraction)) not in {"0 %", "100 %"}


def test_many_names_are_counted():
    assert listed_names([*"abc"], 2) == "'a', 'b', and 1 more"
