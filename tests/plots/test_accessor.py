"""``detector.plot``: what the figures of scores, reasons, anomalies and drift draw, and that a notebook shows them."""

import struct

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose

from vae_anomaly import VAEDetector
from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.plots.figures import ACCENT


@pytest.fixture(scope="module")
def people(table):
    """The mixed table with one anomalous row, the tenth, and a model of it."""
    frame = table.assign(**{"cost in $ of a_b and $": table["cost in $ of a_b and $"].where(table.index != 9, 400.0)})
    return VAEDetector(max_iter=60, random_state=0).fit(frame), frame


def accented(axes):
    return [bar for bar in axes.patches if to_hex(bar.get_facecolor()) == ACCENT.lower()]


def test_every_row_is_in_a_bar_and_the_flagged_ones_are_beyond_the_line(people):
    model, frame = people
    (axes,) = model.plot.scores(frame).axes
    n_flagged = int((model.predict(frame) == -1).sum())
    assert sum(bar.get_height() for bar in axes.patches) == len(frame)
    assert sum(bar.get_height() for bar in accented(axes)) == n_flagged > 0
    assert_allclose(axes.get_lines()[0].get_xdata(), -model.offset_)
    assert all(bar.get_x() >= -model.offset_ - 1e-9 for bar in accented(axes))


@pytest.mark.parametrize("how", [lambda frame: frame.iloc[[9]], lambda frame: frame.iloc[9]], ids=["frame", "series"])
def test_bars_of_a_row_are_the_surprises_of_its_columns(people, how):
    model, frame = people
    axes, values = model.plot.reasons(how(frame)).axes
    surprise = model.explain(frame.iloc[[9]])["surprise"].iloc[0].sort_values(ascending=False)
    assert_allclose([bar.get_width() for bar in axes.patches], surprise, rtol=1e-6)
    assert axes.get_yticklabels()[0].get_text() == surprise.index[0].replace("$", r"\$")
    low, high = (model.explain(frame.iloc[[9]])[end][surprise.index[0]].iloc[0] for end in ("low", "high"))
    seen, *expected = values.get_yticklabels()[0].get_text().removeprefix("seen ").replace(",", " to").split(" to ")
    assert float(seen) == 400
    assert_allclose([float(text.removeprefix("expected ")) for text in expected], [low, high], rtol=1e-3)


def test_reasons_are_of_one_row(people):
    model, frame = people
    with pytest.raises(DataError, match=r"draws one row; there are 2\. Choose one"):
        model.plot.reasons(frame[:2])


def test_the_columns_that_lead_the_reasons_are_drawn_with_the_anomalous_rows_marked(people):
    model, frame = people
    (axes,) = model.plot.anomalies(frame).axes
    name = "cost in $ of a_b and $"
    assert name in {text.replace("\\", "").replace("\n", " ") for text in (axes.get_xlabel(), axes.get_ylabel())}
    usual, marked = (np.asarray(dots.get_offsets()) for dots in axes.collections)
    flagged = model.predict(frame) == -1
    assert (len(usual), len(marked)) == ((~flagged).sum(), flagged.sum())


def test_the_columns_can_be_chosen_and_missing_values_are_counted(people):
    model, frame = people
    (axes,) = model.plot.anomalies(frame.assign(height=np.nan), x="height", y="born").axes
    n_flagged = int((model.predict(frame.assign(height=np.nan)) == -1).sum())
    assert f"{n_flagged} anomalous row" in axes.get_title(loc="left")
    with pytest.raises(DataError, match="The model uses no column 'hieght'"):
        model.plot.anomalies(frame, x="hieght")


def test_one_far_value_does_not_squeeze_the_others(rng):
    X = rng.normal(size=(200, 2))
    X[7, 0] = 1e9
    (axes,) = VAEDetector(max_iter=20, random_state=0).fit(X).plot.anomalies(X, x="x0", y="x1").axes
    assert np.ptp(axes.get_xlim()) < 20
    marked = np.asarray(axes.collections[1].get_offsets())
    assert marked[:, 0].max() == axes.get_xlim()[1]  # drawn on the edge


def test_drifted_columns_are_in_the_accent_colour_with_the_change_in_words(people, monkeypatch):
    model, frame = people
    moved = frame.assign(height=frame["height"] + 20)
    drift = model.drift(moved, random_state=0)
    monkeypatch.setattr(VAEDetector, "drift", lambda *_, **__: drift)  # its second model is fitted once
    found = drift.columns.sort_values(["drifted", "effect"], ascending=False)
    figure = model.plot.drift(moved, random_state=0)
    (axes,) = figure.axes
    assert len(accented(axes)) == found["drifted"].sum() > 0
    assert_allclose([bar.get_width() for bar in axes.patches], found["effect"])
    assert found.loc["height", "message"] in "".join(text.get_text() for text in axes.texts)
    assert figure.get_suptitle().startswith(f"{found['drifted'].drop('(score)').sum()} of 5 columns")


def test_a_notebook_shows_a_figure_at_twice_the_pixels(people):
    model, frame = people
    for figure in (model.plot.scores(frame), model.plot.history(), model.plot.latents(frame)):
        picture, size = figure._repr_png_()
        assert struct.unpack(">2I", picture[16:24]) == (2 * size["width"], 2 * size["height"])
        title = figure._suptitle
        assert (title.get_horizontalalignment(), title.get_position()[0] < 0.05) == ("left", True)


def test_letters_that_the_font_lacks_give_one_warning_in_a_notebook(people):
    model, _ = people
    figure = model.plot.history()
    figure.suptitle("価格と重量")
    with pytest.warns(DataWarning, match="boxes in their place") as caught:
        figure._repr_png_()
    assert len(caught) == 1


def test_the_accessor_draws_what_the_functions_draw(people):
    model, frame = people
    assert model.plot.samples(frame, n_samples=10, random_state=0).get_suptitle().startswith("10 rows sampled")
    assert len(model.plot.traversal(dimensions=[0], n_samples=3).axes[0].get_lines()[0].get_xdata()) == 3
    assert model.plot.reconstructions(frame[:20]).get_suptitle() == "Observed and reconstructed: 20 rows"


def test_names_are_whole_on_several_lines(rng):
    names = ["flipper_length_of_the_left_side_in_mm", "flipper_length_of_the_right_side_in_mm"]
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=names)
    figure = VAEDetector(max_iter=5, random_state=0).fit(X).plot.reconstructions(X)
    titles = [axes.get_title(loc="left").partition("R²")[0].replace("\n", "") for axes in figure.axes]
    assert titles == names
