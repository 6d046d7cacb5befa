import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly.errors import DataError
from vae_anomaly.plots import image_grid


def test_images_are_drawn_line_by_line_from_the_top_left_without_touching(rng):
    pixels = rng.random((5, 6))
    axes = image_grid(pixels, (1, 2, 3), 2, title="five", rows=["a", "b", "c"]).axes[0]
    images = axes.get_images()
    assert_allclose([image.get_array() for image in images], pixels.reshape(5, 2, 3))
    boxes = np.array([image.get_extent() for image in images])  # left, right, bottom, top; down is positive
    assert_array_equal(boxes[:, 1] - boxes[:, 0], 3)
    assert_array_equal(boxes[:, 2] - boxes[:, 3], 2)
    assert boxes[1, 0] > boxes[0, 1]
    assert boxes[2, 3] > boxes[0, 2]
    assert_array_equal(boxes[::2, 0], 0)
    assert_allclose(axes.get_yticks(), (boxes[::2, 2] + boxes[::2, 3]) / 2)
    assert axes.yaxis_inverted()
    assert axes.get_aspect() == 1


def test_colours_are_read_channel_by_channel(rng):
    pixels = rng.random((1, 12))
    (image,) = image_grid(pixels, (3, 2, 2), 1).axes[0].get_images()
    for channel in range(3):
        assert_allclose(image.get_array()[..., channel], pixels[0, 4 * channel : 4 * channel + 4].reshape(2, 2))


def test_values_are_clipped_and_unknown_pixels_grey():
    (image,) = image_grid(np.array([[-1.0, 2.0, np.nan, 0.25]]), (1, 2, 2), 1).axes[0].get_images()
    assert_array_equal(image.get_array(), [[0, 1], [0.5, 0.25]])
    assert image.get_clim() == (0, 1)


@pytest.mark.parametrize("count", [1, 7, 64, 200])
def test_the_figure_is_at_most_a_page_wide(count):
    assert image_grid(np.zeros((count, 16)), (1, 4, 4), 10).get_figwidth() <= 9


@pytest.mark.parametrize(
    "pixels, shape, columns, message",
    [
        (np.zeros((2, 5)), (1, 2, 2), 1, r"Pixels of shape \(2, 5\) are no images of shape \(1, 2, 2\)"),
        (np.zeros((2, 8)), (2, 2, 2), 1, "with 1 or 3 channels"),
        (np.zeros((0, 4)), (1, 2, 2), 1, r"Pixels of shape \(0, 4\)"),
        (np.zeros(4), (1, 2, 2), 1, "a row of channels"),
        (np.zeros((1, 4)), (1, 2, 2), 0, "columns=0 was asked for"),
    ],
)
def test_what_is_no_grid_is_an_error(pixels, shape, columns, message):
    with pytest.raises(DataError, match=message):
        image_grid(pixels, shape, columns)
