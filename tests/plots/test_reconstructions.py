import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from vae_anomaly import VAEDetector
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import percent
from vae_anomaly.plots import plot_reconstructions


def panel(figure, start):
    (axes,) = (axes for axes in figure.axes if axes.get_title(loc="left").startswith(start))
    return axes


def test_points_are_observed_and_reconstructed_where_a_value_was_observed(model, table):
    axes = panel(plot_reconstructions(model, table), "height")
    seen = table["height"].notna()
    expected = np.column_stack([table["height"], model.reconstruct(table)["height"]])[seen]
    assert_allclose(axes.collections[0].get_offsets(), expected)
    unexplained = np.square(expected[:, 0] - expected[:, 1]).mean() / expected[:, 0].var()
    assert axes.get_title(loc="left") == f"height\nR² {1 - unexplained:.2f}"
    assert axes.get_xlim() == axes.get_ylim()


def test_dates_are_days_since_1970(model, table):
    axes = panel(plot_reconstructions(model, table), "born")
    days = (table["born"] - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    assert_allclose(axes.collections[0].get_offsets()[:, 0], days)


def test_levels_are_fractions_of_the_rows_observed(model, table):
    axes = panel(plot_reconstructions(model, table), "build")
    names = [text.get_text() for text in axes.get_xticklabels()]
    seen, back = table["build"], model.reconstruct(table)["build"]
    expected = pd.crosstab(back, seen, normalize="columns").reindex(index=names, columns=names).fillna(0)
    assert_allclose(axes.get_images()[0].get_array(), expected)
    assert names == [text.get_text() for text in axes.get_yticklabels()]
    correct = (seen == back)[seen.notna()].mean()
    assert axes.get_title(loc="left") == f"build\n{percent(correct)} correct"
    assert {text.get_text() for text in axes.texts} == {
        f"{100 * fraction:.0f}" for fraction in expected.to_numpy().flat
    }


def test_rare_levels_are_drawn_together(rng):
    table = pd.DataFrame({"letter": rng.choice(list("abcdefghij"), 300), "x": rng.normal(size=300)})
    axes = panel(plot_reconstructions(VAEDetector(max_iter=20, random_state=0).fit(table), table), "letter")
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert (len(names), names[-1]) == (5, "others")
    fractions = axes.get_images()[0].get_array()
    assert_allclose(fractions.sum(axis=0), 1)


def test_arrays_are_accepted_and_the_title_has_the_number_of_columns(rng):
    X = rng.normal(size=(50, 20))
    figure = plot_reconstructions(VAEDetector(max_iter=5, random_state=0).fit(X), X[:30])
    assert len(figure.axes) == 16
    assert figure.get_suptitle() == "Observed and reconstructed: 30 rows, 16 of 20 columns"
    assert figure.get_supxlabel() == "observed"
    assert_allclose(panel(figure, "x3\n").collections[0].get_offsets()[:, 0], X[:30, 3])


def test_an_array_of_another_width_is_an_error(of_numbers, numbers):
    with pytest.raises(ValueError, match="X has 3 features, but VAEDetector is expecting 5 features"):
        plot_reconstructions(of_numbers, numbers[:, :3])


def test_a_table_without_the_columns_is_an_error(model, table):
    with pytest.raises(DataError, match="lacks: 'height'"):
        plot_reconstructions(model, table.drop(columns="height"))


def test_images_are_above_their_reconstructions(of_images, numbers, bright):
    figure = plot_reconstructions(of_images, numbers[:12])
    axes = figure.axes[0]
    pixels = np.concatenate([image.get_array() for image in axes.get_images()])
    made = bright(of_images.reconstruct(numbers[:12]))
    assert_allclose(pixels[:10], bright(numbers[:10]))
    assert_allclose(pixels[10:20], made[:10])
    assert_allclose(pixels[20:22], bright(numbers[10:12]))
    assert_allclose(pixels[30:32], made[10:])
    assert [text.get_text() for text in axes.get_yticklabels()] == 2 * ["observed", "model"]
    assert plot_reconstructions(of_images, numbers).get_suptitle().endswith("30 of 200 images")
