"""Decoded pixels are those that Pillow has written, in every format and mode."""

import numpy as np
import pytest
from PIL import Image

from vae_anomaly import read_images

LOSSLESS = ["png", "bmp", "gif", "tiff", "webp"]
GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.random.default_rng(0).integers(256, size=(3, 4, 3), dtype=np.uint8)
ALPHA = np.array([[0, 255, 128, 1], [254, 51, 0, 255], [255, 255, 0, 17]], dtype=np.uint8)


def read(path):
    """The one image, (channels, height, width)."""
    images = read_images(path)
    return images.pixels[0].reshape(images.shape)


def on_white(levels, alpha):
    return levels / 255 * (alpha / 255) + (255 - alpha) / 255


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_colour_has_channels_first(saved, suffix):
    picture = Image.fromarray(COLOUR)
    picture = picture.quantize(12) if suffix == "gif" else picture  # a palette with each of the colours
    values = read(saved(f"a.{suffix}", picture, lossless=True))
    assert values.shape == (3, 3, 4)
    np.testing.assert_array_equal(values, np.array([COLOUR[..., channel] / 255 for channel in range(3)]))


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff"])
def test_gray_is_one_channel(saved, suffix):
    np.testing.assert_array_equal(read(saved(f"a.{suffix}", GRAY)), GRAY[np.newaxis] / 255)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg"])
def test_jpeg_is_read(saved, suffix):
    gray, colour = np.full((8, 8), 102, np.uint8), np.full((8, 8, 3), (250, 20, 60), np.uint8)
    np.testing.assert_allclose(read(saved(f"a.{suffix}", gray, quality=95)), np.full((1, 8, 8), 0.4), atol=0.01)
    values = read(saved(f"b.{suffix}", colour, quality=95))
    np.testing.assert_allclose(values[:, 4, 4], np.array([250, 20, 60]) / 255, atol=0.02)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff"])
def test_one_bit_is_black_and_white(saved, suffix):
    values = read(saved(f"a.{suffix}", GRAY > 100))
    np.testing.assert_array_equal(values, (GRAY > 100)[np.newaxis].astype(float))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_all_kept(saved, suffix):
    levels = np.array([[0, 1, 256], [257, 65534, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(read(saved(f"a.{suffix}", levels)), levels[np.newaxis] / 65535)


def test_big_endian_sixteen_bits(saved):
    levels = np.array([[0, 1, 256], [257, 65534, 65535]], dtype=">u2")
    picture = Image.frombytes("I;16B", (3, 2), levels.tobytes())
    np.testing.assert_array_equal(read(saved("a.tiff", picture)), levels[np.newaxis] / 65535)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_gray_with_alpha_is_shown_on_white(saved, suffix):
    picture = Image.fromarray(np.dstack([GRAY, ALPHA]))
    assert picture.mode == "LA"
    values = read(saved(f"a.{suffix}", picture))
    np.testing.assert_allclose(values, on_white(GRAY, ALPHA)[np.newaxis], rtol=0, atol=1e-15)


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_colour_with_alpha_is_shown_on_white(saved, suffix):
    picture = Image.fromarray(np.dstack([COLOUR, ALPHA]))
    values = read(saved(f"a.{suffix}", picture, lossless=True, exact=True))
    np.testing.assert_allclose(values, on_white(np.moveaxis(COLOUR, -1, 0), ALPHA), rtol=0, atol=1e-15)


def test_colours_beneath_full_transparency_are_ignored(saved):
    hidden = [np.dstack([levels, np.zeros_like(GRAY)]) for levels in (GRAY, 255 - GRAY)]
    assert [read(saved("a.png", Image.fromarray(levels))).min() for levels in hidden] == [1.0, 1.0]


def test_blending_stays_within_0_and_1(saved):
    levels, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    values = read(saved("a.png", Image.fromarray(np.dstack([levels, alpha]))))
    assert (values.min(), values.max()) == (0.0, 1.0)


TRANSPARENT_LEVEL = {
    "one bit": (GRAY > 100, 0, (GRAY > 100) * 1.0),
    "eight bits": (GRAY, 40, GRAY / 255),
    "sixteen bits": (GRAY * np.uint16(257), 40 * 257, GRAY / 255),
}


@pytest.mark.parametrize("levels, clear, expected", TRANSPARENT_LEVEL.values(), ids=TRANSPARENT_LEVEL)
def test_a_level_declared_transparent_is_white(saved, levels, clear, expected):
    values = read(saved("a.png", levels, transparency=clear))
    np.testing.assert_array_equal(values[0], np.where(levels == clear, 1.0, expected))


def test_a_colour_declared_transparent_is_white(saved):
    values = read(saved("a.png", COLOUR, transparency=tuple(COLOUR[1, 2].tolist())))
    expected = np.moveaxis(COLOUR, -1, 0) / 255
    expected[:, 1, 2] = 1.0
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("suffix, clear", [("png", 1), ("gif", 1), ("png", b"\xff\x00\x33")])
def test_a_palette_with_transparent_entries_is_shown_on_white(saved, suffix, clear):
    picture = Image.new("P", (3, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.putdata([0, 1, 2])
    values = read(saved(f"a.{suffix}", picture, transparency=clear))
    alpha = np.array([255, 0, 51 if isinstance(clear, bytes) else 255])
    expected = on_white(np.array([[10, 40, 70], [20, 50, 80], [30, 60, 90]]), alpha)
    np.testing.assert_allclose(values[:, 0], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff"])
def test_a_palette_of_grays_is_gray(saved, suffix):
    picture = Image.new("P", (3, 1))
    picture.putpalette([200, 200, 200, 0, 0, 0, 51, 51, 51])
    picture.putdata([0, 1, 2])
    np.testing.assert_array_equal(read(saved(f"a.{suffix}", picture)), np.array([[[200, 0, 51]]]) / 255)


@pytest.mark.parametrize("suffix", ["tiff", "jpg"])
def test_cmyk_becomes_red_green_and_blue(saved, suffix):
    picture = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    values = read(saved(f"a.{suffix}", picture))
    np.testing.assert_allclose(values[:, 4, 4], [1, 0, 0], atol=0.02)


UPRIGHT = {  # how each EXIF orientation is undone
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("levels", [GRAY, GRAY.astype(np.uint16) * 257], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_are_turned_upright(saved, suffix, levels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = read(saved(f"a.{suffix}", levels, exif=exif))
    np.testing.assert_array_equal(values, UPRIGHT[orientation](GRAY)[np.newaxis] / 255)


def test_a_turned_photo_has_the_size_of_upright_ones(saved):
    exif = Image.Exif()
    exif[0x0112] = 6
    saved("turned.jpg", np.repeat(GRAY, 8, axis=0), exif=exif)  # 24 rows of 4
    folder = saved("upright.jpg", np.repeat(GRAY.T, 8, axis=1)).parent  # 4 rows of 24
    images = read_images(folder)
    assert (images.names, images.shape) == (["turned.jpg", "upright.jpg"], (1, 4, 24))


@pytest.mark.parametrize("suffix", ["gif", "png", "tiff", "webp"])
def test_the_first_frame_of_an_animation_is_read(saved, suffix):
    frames = [Image.fromarray(np.full((3, 4, 3), level, dtype=np.uint8)) for level in (51, 102, 153)]
    values = read(saved(f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], lossless=True))
    assert np.unique(values).tolist() == [0.2]


def test_the_first_picture_of_a_jpeg_is_read(saved):
    pictures = [Image.fromarray(np.full((8, 8), level, dtype=np.uint8)) for level in (51, 204)]
    path = saved("a.jpg", pictures[0], format="MPO", save_all=True, append_images=pictures[1:])
    np.testing.assert_allclose(read(path), np.full((1, 8, 8), 0.2), atol=0.01)
