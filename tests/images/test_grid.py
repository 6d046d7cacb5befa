import os
import sys

import numpy as np
import pytest
from PIL import Image

from vae_anomaly import read_images, write_image_grid
from vae_anomaly.errors import DataError, MissingExtraError

FOUR = np.arange(24, dtype=float).reshape(4, 6) / 255  # 2 x 3 pixels each, all of them different


def picture(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_images_stand_side_by_side_on_white(tmp_path):
    write_image_grid(tmp_path / "grid.png", FOUR[:3], (1, 2, 3), columns=2)
    expected = np.full((10, 12), 255)
    for image, (top, left) in enumerate([(2, 2), (2, 7), (6, 2)]):
        expected[top : top + 2, left : left + 3] = np.arange(6).reshape(2, 3) + 6 * image
    np.testing.assert_array_equal(picture(tmp_path / "grid.png"), expected)


def test_colour_is_written_as_it_was_read(tmp_path, rng):
    colour = rng.integers(256, size=(4, 5, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "a.png")
    images = read_images(tmp_path)
    write_image_grid(tmp_path / "grid.png", images.pixels, images.shape)
    np.testing.assert_array_equal(picture(tmp_path / "grid.png")[2:6, 2:7], colour)


@pytest.mark.parametrize("count, size", [(1, (5, 4)), (4, (9, 8)), (5, (13, 8)), (7, (13, 12))])
def test_the_grid_is_square_or_nearly(tmp_path, count, size):
    write_image_grid(tmp_path / "grid.png", np.zeros((count, 2)), (1, 2, 1))
    height, width = picture(tmp_path / "grid.png").shape
    across, down = (width - 2) // 3, (height - 2) // 4
    assert across * down >= count
    assert 0 <= across - down <= 1


def test_values_are_clipped_and_rounded(tmp_path):
    values = np.array([[-0.5, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 3.0, np.inf, -np.inf]])
    write_image_grid(tmp_path / "grid.png", values, (1, 1, 8))
    assert picture(tmp_path / "grid.png")[2, 2:-2].tolist() == [0, 0, 0, 1, 255, 255, 255, 0]


def test_writing_does_not_change_the_pixels(tmp_path):
    values = np.array([[-0.5, 2.0]])
    write_image_grid(tmp_path / "grid.png", values, (1, 1, 2))
    assert values.tolist() == [[-0.5, 2.0]]


REFUSED = {
    "another number of pixels": (
        FOUR,
        (1, 2, 2),
        None,
        r"Pixels of shape \(4, 6\) are not images of shape \(1, 2, 2\)",
    ),
    "two channels": (FOUR[:, :4], (2, 2, 1), None, "with 1 or 3 channels"),
    "not flattened": (
        FOUR.reshape(4, 1, 2, 3),
        (1, 2, 3),
        None,
        "a row of channels . height . width pixels for each image",
    ),
    "no images": (FOUR[:0], (1, 2, 3), None, r"Pixels of shape \(0, 6\)"),
    "NaN": (
        np.where(FOUR[2, 1] == FOUR, np.nan, FOUR),
        (1, 2, 3),
        None,
        "Image 3 .the first is 1. has a pixel that is NaN",
    ),
    "no columns": (FOUR, (1, 2, 3), 0, "columns=0 was asked for; a grid has at least one"),
}


@pytest.mark.parametrize("pixels, shape, columns, message", REFUSED.values(), ids=REFUSED)
def test_pixels_that_are_no_images_are_an_error_and_the_old_file_stays(tmp_path, pixels, shape, columns, message):
    (tmp_path / "grid.png").write_text("old")
    with pytest.raises(DataError, match=message):
        write_image_grid(tmp_path / "grid.png", pixels, shape, columns)
    assert (tmp_path / "grid.png").read_text() == "old"
    assert os.listdir(tmp_path) == ["grid.png"]


def test_the_suffix_must_be_that_of_a_png(tmp_path):
    with pytest.raises(DataError, match="The grid is a PNG; '.*grid.jpg' has another suffix"):
        write_image_grid(tmp_path / "grid.jpg", FOUR, (1, 2, 3))
    write_image_grid(tmp_path / "grid.PNG", FOUR, (1, 2, 3))
    assert os.listdir(tmp_path) == ["grid.PNG"]


def test_a_run_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    def fail(_self, file, *_):
        file.write(b"half")
        raise OSError(5, "Input/output error")

    (tmp_path / "grid.png").write_text("old")
    monkeypatch.setattr("PIL.Image.Image.save", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_image_grid(tmp_path / "grid.png", FOUR, (1, 2, 3))
    assert (tmp_path / "grid.png").read_text() == "old"
    assert os.listdir(tmp_path) == ["grid.png"]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="Create it first"):
        write_image_grid(tmp_path / "absent" / "grid.png", FOUR, (1, 2, 3))


def test_without_pillow_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vae-anomaly\[images\]"'):
        write_image_grid(tmp_path / "grid.png", FOUR, (1, 2, 3))
    assert not list(tmp_path.iterdir())
