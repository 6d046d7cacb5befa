import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly import VAEDetector
from vae_anomaly.errors import DataError
from vae_anomaly.plots import plot_latents
from vae_anomaly.plots.figures import LEVELS, MODEL, TABLE


def points_of(figure):
    (dots,) = figure.axes[0].collections
    return np.asarray(dots.get_offsets()), [to_hex(colour) for colour in dots.get_facecolors()]


def largest_of(model):
    return np.argsort(-model.latents_["kl"].to_numpy())[:2]


def legend_of(figure):
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    return dict(zip(names, [to_hex(mark.get_color()) for mark in legend.legend_handles], strict=True))


def test_points_are_the_means_of_the_two_latents_of_largest_kl(model, table):
    points, _ = points_of(plot_latents(model, table, color=table["retired"]))
    assert_allclose(points, model.transform(table)[:, largest_of(model)], rtol=1e-12)


def test_latents_are_chosen_by_their_kl_and_not_by_their_order(model, table, monkeypatch):
    monkeypatch.setattr(model, "latents_", model.latents_.assign(kl=[0.1, 0.2, 0.3, 0.5, 0.4]))
    points, _ = points_of(plot_latents(model, table, color="retired"))
    assert_allclose(points, model.transform(table)[:, [3, 4]], rtol=1e-12)


def test_axes_name_the_latents_with_their_kl(model, table):
    plane, _, _ = plot_latents(model, table).axes
    first, second = largest_of(model)
    kl = model.latents_["kl"].to_numpy()
    assert plane.get_xlabel() == f"latent {first} ({kl[first]:.1f} nats)"
    assert plane.get_ylabel() == f"latent {second} ({kl[second]:.1f} nats)"


def test_the_most_anomalous_row_is_drawn_last_and_darkest(model, table):
    figure = plot_latents(model, table)
    points, colours = points_of(figure)
    scores = model.anomaly_score(table)
    assert_allclose(points, model.transform(table)[np.argsort(scores, kind="stable")][:, largest_of(model)])
    light = [sum(int(colour[start : start + 2], 16) for start in (1, 3, 5)) for colour in colours]
    assert light[-1] < light[0]
    assert figure.axes[2].get_ylabel() == "anomaly score, nats"


def test_categories_have_a_colour_each_and_a_legend(model, table):
    figure = plot_latents(model, table, color="build")
    _, colours = points_of(figure)
    legend = legend_of(figure)
    assert list(legend) == ["usual", "small", "large", "missing"]
    assert len(set(legend.values())) == 4
    assert colours == [legend[level] for level in table["build"].fillna("missing")]
    assert len(figure.axes) == 2  # no colour bar


def test_the_rarest_of_many_levels_have_one_colour(model, table, rng):
    levels = rng.choice([f"level {level}" for level in range(12)], len(table), p=np.arange(1, 13) / 78)
    figure = plot_latents(model, table, color=levels)
    legend, (_, colours) = legend_of(figure), points_of(figure)
    assert len(legend) == len(LEVELS)
    assert list(legend)[-1] == "others"
    assert colours == [legend.get(level, legend["others"]) for level in levels]


@pytest.mark.parametrize("color", ["cost in $ of a_b and $", "born"])
def test_numbers_and_dates_have_a_colour_bar(model, table, color):
    figure = plot_latents(model, table, color=color)
    assert figure.legends == []
    assert figure.axes[2].get_ylabel() == color.replace("$", r"\$")
    points, _ = points_of(figure)
    order = np.argsort(table[color].to_numpy(), kind="stable")
    assert_allclose(points, model.transform(table)[order][:, largest_of(model)])


def test_missing_numbers_are_grey_and_below_the_others(model, table):
    figure = plot_latents(model, table, color="height")
    _, colours = points_of(figure)
    missing = table["height"].isna().sum()
    assert set(colours[:missing]) == {TABLE.lower()}
    assert TABLE.lower() not in colours[missing:]
    assert figure.axes[2].get_ylabel() == "height (missing: grey)"


@pytest.mark.parametrize("values", [[True, False], [0, 1], [0.0, 1.0]], ids=str)
def test_zeros_and_ones_are_levels(model, table, values):
    figure = plot_latents(model, table, color=np.resize(values, len(table)))
    assert len(legend_of(figure)) == 2


def test_bars_are_the_kl_active_ones_dark(model, table):
    bars = plot_latents(model, table).axes[1]
    ordered = model.latents_.sort_values("kl", ascending=False)
    assert_allclose([bar.get_width() for bar in bars.patches], ordered["kl"])
    dark = [to_hex(bar.get_facecolor()) == MODEL.lower() for bar in bars.patches]
    assert_array_equal(dark, ordered["active"])
    names = [text.get_text() for text in bars.get_yticklabels()]
    assert names == [name.removeprefix("vaedetector") for name in ordered.index]
    assert bars.get_xlabel() == "KL, nats"


def test_a_plain_autoencoder_is_ordered_by_standard_deviation(plain, table):
    figure = plot_latents(plain, table)
    ordered = plain.latents_["std"].sort_values(ascending=False)
    assert_allclose([bar.get_width() for bar in figure.axes[1].patches], ordered)
    first, second = np.argsort(-plain.latents_["std"].to_numpy())[:2]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (f"latent {first}", f"latent {second}")
    assert figure.axes[2].get_ylabel() == "anomaly score (squared error)"


def test_one_latent_is_a_histogram(numbers):
    model = VAEDetector(n_components=1, max_iter=20, random_state=0).fit(numbers)
    counts, edges = np.histogram(model.transform(numbers)[:, 0], 30)
    bars = plot_latents(model, numbers).axes[0].patches
    assert_array_equal([bar.get_height() for bar in bars], counts)
    assert_allclose([bar.get_x() for bar in bars], edges[:-1])
    stacked = plot_latents(model, numbers, color=numbers[:, 0] > 0)
    total = sum(bar.get_height() for bar in stacked.axes[0].patches)
    assert total == len(numbers)
    assert set(legend_of(stacked)) == {"True", "False"}


def test_a_column_that_the_model_does_not_use_can_colour_the_rows(model, table):
    figure = plot_latents(model, table.assign(group="a"), color="group")  # and no warning that it is ignored
    assert list(legend_of(figure)) == ["a"]


def test_polars_and_arrays_are_accepted(of_numbers, model, table, numbers):
    points, _ = points_of(plot_latents(model, pl.from_pandas(table), color="retired"))
    assert_allclose(points, model.transform(table)[:, largest_of(model)])
    assert plot_latents(of_numbers, numbers).get_suptitle() == "Latent means of 200 rows"


@pytest.mark.parametrize(
    "color, message",
    [
        ("bild", "There is no column 'bild' for color"),
        ([1, 2, 3], "color has 3 values for 300 rows"),
    ],
)
def test_a_colour_that_does_not_fit_is_an_error(model, table, color, message):
    with pytest.raises(DataError, match=message):
        plot_latents(model, table, color=color)


def test_an_array_has_no_column_to_colour_by(of_numbers, numbers):
    with pytest.raises(DataError, match="X is an array without names"):
        plot_latents(of_numbers, numbers, color="x0")


def test_the_table_is_not_changed(model, table):
    coloured = table.assign(group=1.5)
    before = coloured.copy()
    plot_latents(model, coloured, color="group")
    pd.testing.assert_frame_equal(coloured, before)
