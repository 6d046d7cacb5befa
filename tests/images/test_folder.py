import os
import re
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from vae_anomaly import read_images
from vae_anomaly.errors import DataError, DataWarning

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
NOISE = np.random.default_rng(0).integers(256, size=(40, 50, 3), dtype=np.uint8)
FORMATS = ["png", "jpg", "bmp", "gif", "tiff", "webp"]


@pytest.fixture
def folder(tmp_path, saved):
    """Three good images, a.png, b.png and c.png, black, dark and light."""
    for name, level in [("c", 204), ("a", 0), ("b", 51)]:
        saved(f"{name}.png", np.full((3, 4), level, dtype=np.uint8))
    return tmp_path / "images"


def read_with_warning(folder):
    with pytest.warns(DataWarning) as caught:
        images = read_images(folder, skip_bad=True)
    [warned] = [warning for warning in caught if issubclass(warning.category, DataWarning)]  # Pillow may have its own
    assert warned.filename == __file__
    return images, str(warned.message)


def test_rows_follow_the_names(folder):
    images = read_images(folder)
    assert images.names == ["a.png", "b.png", "c.png"]
    assert images.pixels.shape == (3, 12)
    assert images.pixels[:, 0].tolist() == [0.0, 0.2, 0.8]


def test_names_are_paths_within_the_folder_sorted_as_text(saved):
    names = ["z.png", "a10.png", "a2.png", "B.PNG", "sub/y.png", "sub/deeper/x.png", "sub.png", "é.png"]
    for name in names:
        path = saved(name, GRAY)
    folder = next(parent for parent in path.parents if parent.name == "images")
    assert read_images(folder).names == sorted(names)
    assert read_images(os.path.relpath(folder)).names == sorted(names)


def test_the_order_does_not_depend_on_the_disk(saved, monkeypatch):
    folder = [saved(f"{name}.png", GRAY) for name in "cab"][0].parent
    walk = os.walk
    monkeypatch.setattr("os.walk", lambda *args, **more: ((a, b, sorted(c)[::-1]) for a, b, c in walk(*args, **more)))
    assert read_images(folder).names == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("suffix", ["png", "PNG", "jpg", "Jpeg", "bmp", "gif", "tif", "TIFF", "webp"])
def test_images_are_recognised_by_suffix(saved, suffix):
    assert read_images(saved(f"a.{suffix}", GRAY).parent).names == [f"a.{suffix}"]


def test_other_files_and_hidden_ones_are_ignored(folder):
    for name in ["notes.txt", "labels.csv", ".d.png", "._a.png", "png", "x.png.tmp"]:
        (folder / name).write_text("no image")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "a.png").write_text("no image")
    (folder / "empty.png").mkdir()
    assert read_images(folder).names == ["a.png", "b.png", "c.png"]


def test_links_to_files_are_read_and_links_to_folders_are_not(folder):
    (folder / "d.png").symlink_to(folder / "a.png")
    (folder / "circle").symlink_to(folder)
    assert read_images(folder).names == ["a.png", "b.png", "c.png", "d.png"]


def test_a_folder_of_gray_and_colour_is_in_colour(saved, rng):
    colour = rng.integers(256, size=(3, 4, 3), dtype=np.uint8)
    saved("a.png", GRAY)
    saved("b.png", Image.fromarray(np.dstack([GRAY, 255 - GRAY])))
    saved("c.png", GRAY.astype(np.uint16) * 257)
    images = read_images(saved("d.png", colour).parent)
    assert images.shape == (3, 3, 4)
    pixels = images.pixels.reshape(4, 3, 3, 4)
    for gray in (0, 2):
        np.testing.assert_array_equal(pixels[gray], np.stack([GRAY / 255] * 3))
    assert (pixels[1] == pixels[1, 0]).all()
    np.testing.assert_array_equal(pixels[3], np.moveaxis(colour, -1, 0) / 255)


def bad_image(path, kind):
    """Put a file there that is not a usable image of 4 x 3 pixels; returns the reason that the error gives."""
    match kind:
        case "empty":
            path.write_bytes(b"")
            return "it is empty"
        case "text":
            path.write_text("no image")
            return "it is none of PNG, JPEG, BMP, GIF, TIFF and WebP, or its beginning is damaged"
        case "another format":
            Image.fromarray(GRAY).save(path, format="PPM")
            return "it is none of PNG"
        case "cut short":
            Image.fromarray(GRAY).save(path)
            path.write_bytes(path.read_bytes()[:50])
            return "it is damaged or cut short"
        case "another size":
            Image.fromarray(GRAY.T).save(path)
            return r"it has 3 x 4 pixels \(width x height\), where 4 x 3 is the most common size"
        case "no pixels":
            Image.fromarray(GRAY).save(path)
            header = b"IHDR" + struct.pack(">2I5B", 0, 3, 8, 0, 0, 0, 0)
            path.write_bytes(
                path.read_bytes()[:12] + header + struct.pack(">I", zlib.crc32(header)) + path.read_bytes()[33:]
            )
            return "it is none of PNG"
        case "floats":
            Image.fromarray(GRAY.astype(np.float32)).save(path, format="TIFF")
            return "its pixels are 32-bit or signed numbers"
        case "whole numbers of 32 bits":
            Image.fromarray(GRAY.astype(np.int32)).save(path, format="TIFF")
            return "its pixels are 32-bit or signed numbers"
        case "a dangling link":
            path.symlink_to("absent.png")
            return "it cannot be read: No such file or directory"
        case "a pipe":
            os.mkfifo(path)
            return "it is not a regular file"


BAD = ["empty", "text", "another format", "cut short", "another size", "no pixels", "floats"]
BAD += ["whole numbers of 32 bits", "a dangling link", "a pipe"]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_an_error_with_name_reason_and_remedy(folder, kind):
    reason = bad_image(folder / "bad.png", kind)
    remedy = r"\. Repair or remove it, or leave bad files out with skip_bad=True \(--skip-bad\)\.$"
    with pytest.raises(DataError, match=f"^'bad.png' in '.*images' is not a usable image: {reason}.*{remedy}") as error:
        read_images(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_can_be_left_out(folder, kind):
    expected = read_images(folder)
    reason = bad_image(folder / "bad.png", kind)
    images, message = read_with_warning(folder)
    np.testing.assert_array_equal(images.pixels, expected.pixels)
    assert (images.names, images.shape) == (expected.names, expected.shape)
    assert re.match(rf"Images left out: 'bad.png' \({reason}", message)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_image_of_every_format_is_an_error(saved, suffix):
    saved("a.bmp", NOISE)
    saved("b.bmp", NOISE)
    path = saved(f"c.{suffix}", NOISE)
    whole = path.read_bytes()
    for length in (len(whole) // 10, len(whole) // 2, len(whole) * 9 // 10):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"^'c.{suffix}' in .* is not a usable image: it is"):
            read_images(path.parent)


def test_all_bad_images_are_counted_and_the_first_is_named(folder):
    bad_image(folder / "b2.png", "another size")  # found after the other two
    with pytest.raises(DataError, match="^'b2.png' in [^;]*common size. Repair or remove it"):
        read_images(folder)
    bad_image(folder / "d.png", "empty")
    with pytest.raises(
        DataError, match="^'b2.png' in .* common size. 1 other file is not usable either. Repair or remove them"
    ):
        read_images(folder)
    bad_image(folder / "e.png", "cut short")
    with pytest.raises(
        DataError, match="^'b2.png' in .* common size. 2 other files are not usable either. Repair or remove them"
    ):
        read_images(folder)


def test_images_left_out_are_named_with_their_reasons(folder):
    bad_image(folder / "b2.png", "another size")
    bad_image(folder / "0.png", "empty")
    images, message = read_with_warning(folder)
    usual = "where 4 x 3 is the most common size"
    assert (
        message == f"Images left out: '0.png' (it is empty), 'b2.png' (it has 3 x 4 pixels (width x height), {usual})."
    )
    assert images.names == ["a.png", "b.png", "c.png"]
    assert images.pixels[:, 0].tolist() == [0.0, 0.2, 0.8]


def test_a_truncated_image_leaves_no_gap_between_rows(folder, saved):
    path = saved("b.bmp", GRAY)  # between a.png and b.png; its header tells nothing of it
    path.write_bytes(path.read_bytes()[:-1])
    images, _ = read_with_warning(folder)
    assert images.names == ["a.png", "b.png", "c.png"]
    assert images.pixels.shape == (3, 12)
    assert images.pixels[:, 0].tolist() == [0.0, 0.2, 0.8]


def test_a_long_list_of_images_left_out_is_cut(folder):
    for number in range(25):
        bad_image(folder / f"bad{number:02}.png", "empty")
    _, message = read_with_warning(folder)
    assert message.count("it is empty") == 20
    assert message.endswith("'bad19.png' (it is empty), and 5 more.")


def test_of_equally_common_sizes_the_first_by_name_counts(saved):
    saved("b.png", GRAY)
    folder = saved("a.png", GRAY.T).parent
    with pytest.raises(DataError, match="^'b.png' in .*: it has 4 x 3 pixels"):
        read_images(folder)


@pytest.mark.parametrize("skip_bad", [False, True])
def test_without_good_images_skipping_is_not_a_remedy(saved, skip_bad):
    path = saved("a.png", GRAY)
    bad_image(path, "empty")
    bad_image(path.with_name("b.png"), "text")
    with pytest.raises(
        DataError, match="^'a.png' in .*: it is empty. 1 other file is not usable either. Repair or remove them.$"
    ):
        read_images(path.parent, skip_bad=skip_bad)


def test_good_images_raise_no_warning(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_images(folder, skip_bad=True).names) == 3


@pytest.mark.parametrize("limit", [1200, 900], ids=["Pillow warns", "Pillow refuses"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused(folder, saved, monkeypatch, limit):
    saved("bomb.png", NOISE)  # 2,000 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match="^'bomb.png' in .*: it has more pixels than Pillow considers safe"):
        read_images(folder)
    assert read_with_warning(folder)[0].names == ["a.png", "b.png", "c.png"]


def test_with_warnings_as_errors_a_bomb_is_refused(folder, saved, monkeypatch):
    saved("bomb.png", NOISE)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200)
    with pytest.raises(DataError, match="^'bomb.png' in .*: it has more pixels than Pillow considers safe"):
        read_images(folder)


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="There is no image in '.*'. Files named .png, .jpg, .*.webp are looked for"):
        read_images(tmp_path)


def test_a_folder_without_permission_is_an_error(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)  # the tests may run as root, whom nothing is refused
    with pytest.raises(DataError, match="Cannot read the folder '.*images': Permission denied"):
        read_images(folder)


def test_a_file_without_permission_is_an_error(folder, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match="^'a.png' in .*: it cannot be read: Permission denied. 2 other files are not"):
        read_images(folder)


def test_no_second_copy_is_held(saved):
    for number in range(30):
        folder = saved(f"{number}.bmp", np.zeros((200, 300, 3), dtype=np.uint8)).parent
    read_images(folder)  # loads Pillow
    tracemalloc.start()
    pixels = read_images(folder).pixels
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1.2 * pixels.nbytes


def test_too_many_images_for_memory_are_an_error(folder, monkeypatch):
    def refuse(_):
        raise MemoryError

    monkeypatch.setattr("vae_anomaly.images.images.np.empty", refuse)
    with pytest.raises(DataError, match="^'.*images' has 3 images of 4 x 3 pixels .*more memory than there is"):
        read_images(folder)
