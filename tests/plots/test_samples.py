import numpy as np
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose

from vae_anomaly import VAEDetector
from vae_anomaly.errors import NoDensityError
from vae_anomaly.formatting import percent
from vae_anomaly.plots import plot_samples
from vae_anomaly.plots.figures import MODEL, TABLE


def panel(figure, title):
    (axes,) = (axes for axes in figure.axes if axes.get_title(loc="left") == title)
    return axes


def stairs_of(axes):
    return {
        "table" if steps.get_fill() else "model": (steps.get_data().values, steps.get_data().edges)
        for steps in axes.patches
    }


def test_histograms_are_the_fractions_of_table_and_samples_in_common_bins(model, table):
    figure = plot_samples(model, table, n_samples=500, random_state=3)
    steps = stairs_of(panel(figure, "height"))
    drawn, edges = model.sample(500, random_state=3), steps["table"][1]
    assert_allclose(steps["model"][1], edges)
    for name, values in (("table", table["height"].dropna()), ("model", drawn["height"])):
        assert_allclose(steps[name][0], np.histogram(values, edges)[0] / len(values))
    assert edges[0] < np.nanpercentile(table["height"], 1)
    assert edges[-1] > np.nanpercentile(table["height"], 99)


def test_bars_are_the_fractions_of_the_levels(model, table):
    figure = plot_samples(model, table, n_samples=500, random_state=3)
    axes, drawn = panel(figure, "build"), model.sample(500, random_state=3)
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert set(names) == {"usual", "small", "large"}
    for colour, values in ((TABLE, table["build"].dropna()), (MODEL, drawn["build"])):
        fractions = [bar.get_width() for bar in axes.patches if to_hex(bar.get_facecolor()) == colour.lower()]
        assert_allclose(fractions, [(values == name).mean() for name in names])


def test_without_a_table_only_samples_are_drawn(model, table):
    figure = plot_samples(model, n_samples=200, random_state=3)
    assert figure.get_suptitle() == "200 rows sampled from the model"
    assert figure.legends == []
    assert set(stairs_of(panel(figure, "height"))) == {"model"}
    assert plot_samples(model, table, n_samples=1).get_suptitle() == "1 row sampled from the model, 300 of the table"


def test_the_percentage_outside_the_histogram_is_below_it(model, table):
    narrow = table[(table["height"] > 169) & (table["height"] < 171)]
    axes = panel(plot_samples(model, narrow, random_state=0), "height")
    (_, edges), drawn = stairs_of(axes)["model"], model.sample(1000, random_state=0)["height"]
    outside = ((drawn < edges[0]) | (drawn > edges[-1])).mean()
    assert outside > 0.5
    assert axes.get_xlabel() == f"outside: {percent(outside)} of the model"


def test_whole_numbers_are_in_the_middle_of_their_bins(rng):
    X = rng.integers(2007, 2010, size=(60, 1)) + np.zeros((60, 2))
    X[:, 1] = rng.normal(size=60)
    model = VAEDetector(max_iter=10, random_state=0).fit(X)
    values, edges = stairs_of(panel(plot_samples(model, X, random_state=0), "x0"))["table"]
    assert_allclose(edges, [2006.5, 2007.5, 2008.5, 2009.5])
    assert_allclose(values, [(X[:, 0] == year).mean() for year in (2007, 2008, 2009)])


def test_the_same_seed_gives_the_same_figure(model):
    one, again, other = (
        stairs_of(panel(plot_samples(model, random_state=seed), "height"))["model"][0] for seed in (1, 1, 2)
    )
    assert_allclose(one, again)
    assert not np.array_equal(one, other)


def test_sixteen_of_many_columns_are_drawn_and_the_title_has_both_numbers(rng):
    X = rng.normal(size=(60, 20))
    figure = plot_samples(VAEDetector(max_iter=5, random_state=0).fit(X), X, n_samples=50)
    assert len(figure.axes) == 16
    assert figure.get_suptitle() == "50 rows sampled from the model, 60 of the table: 16 of 20 columns"


def test_a_plain_autoencoder_has_no_samples(plain):
    with pytest.raises(NoDensityError):
        plot_samples(plain)


def pixels_in(figure):
    return np.concatenate([image.get_array() for image in figure.axes[0].get_images()])


def test_a_model_of_images_gives_a_grid(of_images, bright):
    figure = plot_samples(of_images, n_samples=10, random_state=0)
    assert_allclose(pixels_in(figure), bright(of_images.sample(10, random_state=0)))
    assert figure.get_suptitle() == "10 images sampled from the model"
    assert len(plot_samples(of_images).axes[0].get_images()) == 64


def test_images_of_the_table_are_above_those_of_the_model(of_images, numbers, bright):
    figure = plot_samples(of_images, numbers, n_samples=10, random_state=0)
    pixels = pixels_in(figure)
    assert_allclose(pixels[:32], bright(numbers[:32]))
    assert_allclose(pixels[32:42], bright(of_images.sample(10, random_state=0)))
    assert_allclose(pixels[42:], 0.5)  # the rest of the last line
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == 4 * ["observed"] + 2 * ["model"]
    assert figure.get_suptitle() == "10 images sampled from the model below 32 of 200 observed"
    few = plot_samples(of_images, numbers[:3], n_samples=5, random_state=0)
    assert len(pixels_in(few)) == 2 * 5
    with pytest.raises(ValueError, match="X has 1 features, but VAEDetector is expecting 5"):
        plot_samples(of_images, np.zeros((1, 1)))
