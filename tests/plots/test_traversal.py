import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly import VAEDetector
from vae_anomaly.errors import DataError
from vae_anomaly.plots import plot_traversal
from vae_anomaly.plots.traversal import traverse_latents


def lines_of(figure):
    """Panels of each line, with the name of the line."""
    lines = []
    for axes in figure.axes:
        if axes.get_ylabel():
            lines.append((axes.get_ylabel(), []))
        lines[-1][1].append(axes)
    return lines


def title(axes):
    return axes.get_title(loc="left")


def test_lines_are_the_active_latents_largest_kl_first(model):
    figures = model.latents_.reset_index(drop=True).sort_values("kl", ascending=False)
    active = figures[figures["active"]]
    lines = lines_of(plot_traversal(model))
    assert [name for name, _ in lines] == [
        f"latent {latent}\n({kl:.{1 if kl >= 0.1 else 2}f} nats)" for latent, kl in active["kl"].items()
    ]


def test_dimensions_are_drawn_in_their_order(model):
    names = [name for name, _ in lines_of(plot_traversal(model, dimensions=[3, 0]))]
    assert [name.partition("\n")[0] for name in names] == ["latent 3", "latent 0"]


def test_a_panel_is_the_traversal_of_its_column(model):
    ((_, panels),) = lines_of(plot_traversal(model, dimensions=[1], span=2, n_samples=7))
    walk = model.traverse(1, span=2, n_samples=7)
    (height,) = (axes for axes in panels if title(axes) == "height")
    assert_allclose(height.get_lines()[0].get_data(), [walk.index, walk["height"]])
    (build,) = (axes for axes in panels if title(axes) == "build")
    names = np.array([text.get_text() for text in build.get_yticklabels()])
    assert_array_equal(names[build.get_lines()[0].get_ydata()], walk["build"])
    assert build.get_lines()[0].get_drawstyle() == "steps-mid"


def test_the_columns_that_change_most_are_first(of_numbers, numbers):
    ((_, panels),) = lines_of(plot_traversal(of_numbers, dimensions=[0]))
    changes = np.ptp(of_numbers.traverse(0), axis=0) / numbers.std(axis=0)
    drawn = [changes[int(title(axes).removeprefix("x"))] for axes in panels]
    assert sorted(drawn, reverse=True) == pytest.approx(drawn, rel=0.1)  # the scale of the model is a robust one
    assert len(panels) == 5


def test_a_column_has_the_same_scale_in_every_line(model):
    limits = {}
    for _, panels in lines_of(plot_traversal(model, dimensions=range(5))):
        for axes in panels:
            limits.setdefault(title(axes), set()).add(axes.get_ylim())
    assert [len(limits[name]) for name in ("height", "born")] == [1, 1]


def test_a_constant_column_does_not_seem_to_change(model, table):
    inactive = int(np.argmin(model.latents_["kl"]))
    ((_, panels),) = lines_of(plot_traversal(model, dimensions=[inactive], span=0.01))
    (height,) = (axes for axes in panels if title(axes) == "height")
    assert np.ptp(height.get_ylim()) > 0.5 * table["height"].std()


def test_the_index_of_a_traversal_is_the_value_of_the_latent(model, of_numbers):
    tables = traverse_latents(model, [2, 1], span=1.5, n_samples=4)
    assert list(tables) == [2, 1]
    for latent, table in tables.items():
        walk = model.traverse(latent, span=1.5, n_samples=4)
        assert_allclose(table.index, walk.index)
        assert_array_equal(table, walk)
    array = traverse_latents(of_numbers, [1], n_samples=3)[1]
    assert list(array.columns) == ["x0", "x1", "x2", "x3", "x4"]
    means = np.tile(of_numbers.latents_["mean"], (3, 1))
    means[:, 1] = array.index
    assert_allclose(of_numbers.inverse_transform(means), array)


def test_a_latent_that_does_not_exist_is_an_error(model):
    with pytest.raises(DataError, match="There is no latent 5; this model has 0 to 4"):
        plot_traversal(model, dimensions=[5])
    with pytest.raises(DataError, match="Name one, or leave dimensions out"):
        plot_traversal(model, dimensions=[])


def test_without_an_active_latent_the_first_is_traversed(model, monkeypatch):
    monkeypatch.setattr(model, "latents_", model.latents_.assign(active=False))
    assert list(traverse_latents(model)) == [int(np.argmax(model.latents_["kl"]))]


def test_at_most_six_latents_are_traversed(numbers, monkeypatch):
    many = VAEDetector(n_components=9, max_iter=1, random_state=0).fit(numbers)
    monkeypatch.setattr(many, "latents_", many.latents_.assign(active=True, kl=range(9)))
    assert list(traverse_latents(many)) == [8, 7, 6, 5, 4, 3]
    assert len(traverse_latents(many, range(9))) == 9


def test_images_have_a_line_for_each_latent(of_images, bright):
    figure = plot_traversal(of_images, dimensions=[1, 0], n_samples=3)
    axes = figure.axes[0]
    pixels = np.concatenate([image.get_array() for image in axes.get_images()])
    expected = np.concatenate([of_images.traverse(latent, n_samples=3) for latent in (1, 0)])
    assert_allclose(pixels, bright(expected))
    assert [text.get_text().partition(" (")[0] for text in axes.get_yticklabels()] == ["latent 1", "latent 0"]
