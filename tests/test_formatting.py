import pytest
from matplotlib.figure import Figure

from vae_anomaly.formatting import label


@pytest.mark.parametrize("name", ["$", "$x$", "a_b^2 $", r"\alpha $\beta$", "x_{1}"])
def test_names_are_drawn_as_they_are(name):
    text = Figure().text(0, 0, label(name))
    assert text._preprocess_math(text.get_text()) == (name, False)  # what matplotlib would draw, and as what


def test_long_names_keep_both_ends():
    assert label("measurement_of_pressure_standing", 14) == "measur…tanding"
    assert len(label("x" * 100, 14)) == 14
    assert label("x" * 14, 14) == "x" * 14


def test_what_cannot_be_printed_is_replaced():
    assert label("two\nlines\x1b[31m") == "two lines\N{REPLACEMENT CHARACTER}[31m"
