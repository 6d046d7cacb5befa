"""How a schema, and a fitted detector, show themselves in a terminal and in a notebook."""

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector

EVIL = "<script>window.pwned = 1</script>"


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            EVIL: rng.normal(size=80),
            "amount": rng.lognormal(0, 2, 80).round(2),
            "size": rng.choice(["small", "large"], 80),
            "line": range(80),
        }
    )
    with pytest.warns(UserWarning, match="left out"):
        return VAEDetector(max_iter=2, random_state=0).fit(frame)


def test_a_schema_prints_kind_and_scale_of_each_column_and_why_one_is_left_out(fitted):
    heading, names, *lines = str(fitted.schema_).splitlines()
    assert heading == "Fitted to 80 rows, 3 columns in use, 1 left out."
    assert names.split() == ["column", "kind", "scale", "note"]
    found = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[1:]}
    assert found["amount"] == f"number {fitted.schema_.scales['amount']}"
    assert found["amount"] != "number linear"
    assert found["size"] == "category 2 levels"
    assert found["line"] == f"left out: {fitted.schema_.left_out['line']}"


def test_in_a_notebook_names_are_text(fitted):
    html = fitted.schema_._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_estimator_says_what_it_was_fitted_to(fitted):
    for html in (fitted._repr_html_(), fitted._repr_mimebundle_()["text/html"]):
        assert "Fitted to 80 rows, 3 columns in use, 1 left out." in html
        assert EVIL not in html
    assert "Fitted to" not in VAEDetector()._repr_html_()


def test_very_many_columns_are_counted(rng):
    fitted = VAEDetector(max_iter=1, random_state=0).fit(rng.normal(size=(20, 230)))
    assert str(fitted.schema_).endswith("... and 30 more")


def test_a_schema_of_images_says_how_many_pixels(of_images):
    assert str(of_images.schema_).startswith("Fitted to 200 images of 5 pixels from ")
    assert "5 pixels" in of_images._repr_html_()
