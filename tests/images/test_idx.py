import gzip
import tracemalloc

import numpy as np
import pytest

from vae_anomaly import read_images
from vae_anomaly.errors import DataError
from vae_anomaly.images import idx as idx_module

GRAY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 10


def written(folder, content, name="images.idx"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda b: gzip.compress(b[:9]) + gzip.compress(b[9:])])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "images.gz", "images.png"])
def test_gray_images_are_recognised_by_their_content(tmp_path, idx, pack, name):
    images = read_images(written(tmp_path, pack(idx(GRAY)), name))
    assert images.pixels.dtype == np.float64
    np.testing.assert_array_equal(images.pixels, GRAY.reshape(2, 12) / 255.0)
    assert images.shape == (1, 3, 4)
    assert images.names == ["1", "2"]


def test_channels_come_first(tmp_path, idx, rng):
    stored = rng.integers(256, size=(5, 2, 4, 3), dtype=np.uint8)
    images = read_images(written(tmp_path, idx(stored)))
    assert images.shape == (3, 2, 4)
    for channel in range(3):
        np.testing.assert_array_equal(images.pixels.reshape(5, 3, 2, 4)[:, channel], stored[..., channel] / 255)


def test_black_is_0_and_white_is_1(tmp_path, idx):
    images = read_images(written(tmp_path, idx(np.array([[[0, 255, 51]]], dtype=np.uint8))))
    assert images.pixels.tolist() == [[0.0, 1.0, 0.2]]


@pytest.mark.parametrize("block", [1, 24, 25, 10**6])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_size_of_the_blocks_changes_nothing(tmp_path, idx, rng, monkeypatch, block, pack):
    monkeypatch.setattr(idx_module, "_BLOCK", block)
    stored = rng.integers(256, size=(7, 3, 4), dtype=np.uint8)
    images = read_images(written(tmp_path, pack(idx(stored))))
    np.testing.assert_array_equal(images.pixels, stored.reshape(7, 12) / 255)


REFUSED = {
    "cut short": (
        lambda idx: idx(GRAY)[:-1],
        "is cut short: its header declares 2 x 3 x 4 pixels, 40 bytes in all, and it has 39",
    ),
    "too long": (
        lambda idx: idx(GRAY) + b"x",
        "is too long: its header declares 2 x 3 x 4 pixels, 40 bytes.* it has 41",
    ),
    "more declared than memory holds": (
        lambda idx: idx(GRAY, sizes=(2**32 - 1,) * 3),
        "declares 4,294,967,295 x 4,294,967,295 x 4,294,967,295 pixels",
    ),
    "half a header": (lambda idx: idx(GRAY)[:10], "has 10 bytes, and its header alone 16"),
    "half a magic number": (lambda idx: idx(GRAY)[:3], "has 3 bytes, and its header alone 16"),
    "labels": (lambda idx: idx(GRAY.ravel()), "of labels .one dimension.. Name the file of images"),
    "two dimensions": (lambda idx: idx(GRAY[0]), "of 2 dimensions .0x00000802.; expected 0x00000803 .* or 0x00000804"),
    "five dimensions": (lambda idx: idx(GRAY[None, None]), "of 5 dimensions"),
    "floats": (lambda idx: idx(GRAY.astype(">f4"), kind=0x0D), "of 32-bit floats .0x00000d03.; expected 0x00000803"),
    "labels of another type": (lambda idx: idx(GRAY.ravel(), kind=0x0C), "of 32-bit whole numbers"),
    "another format": (
        lambda idx: b"\0\0\1\0" + bytes(40),
        "is not an IDX file: it begins with 0x00000100; expected 0x00000803",
    ),
    "no images": (lambda idx: idx(GRAY[:0]), "holds no pixels: its header declares 0 x 3 x 4"),
    "no rows": (lambda idx: idx(GRAY[:, :0]), "holds no pixels: its header declares 2 x 0 x 4"),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("make, message", REFUSED.values(), ids=REFUSED)
def test_a_file_without_images_is_an_error_in_one_sentence_with_the_files_name(tmp_path, idx, make, message, pack):
    path = written(tmp_path, pack(make(idx)))
    with pytest.raises(DataError, match=message) as error:
        read_images(path)
    assert str(error.value).startswith(repr(str(path)))
    assert "\n" not in str(error.value)


def test_damaged_compression_is_an_error(tmp_path, idx, rng):
    packed = gzip.compress(idx(rng.integers(256, size=(9, 20, 20), dtype=np.uint8)))
    flipped = packed[:2000] + bytes([packed[2000] ^ 1]) + packed[2001:]
    wrong_checksum = packed[:-8] + bytes(4) + packed[-4:]
    for content in (packed[:-5], packed[:500], packed[:11], flipped, wrong_checksum, packed + b"rubbish"):
        with pytest.raises(DataError, match="damaged or cut short: it cannot be decompressed .gzip."):
            read_images(written(tmp_path, content))


def test_other_compressed_content_is_an_error(tmp_path):
    with pytest.raises(DataError, match="is not an IDX file: it begins with 0x612c620a"):
        read_images(written(tmp_path, gzip.compress(b"a,b\n1,2\n"), "table.csv.gz"))


def test_a_false_size_takes_no_memory(tmp_path, idx):
    content = gzip.compress(idx(np.zeros((1, 5000, 5000), dtype=np.uint8), sizes=(2, 5000, 5000)))
    tracemalloc.start()
    with pytest.raises(DataError, match="is cut short"):
        read_images(written(tmp_path, content))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2_000_000  # as floats, 400 MB would have been taken


def test_no_second_copy_is_held(tmp_path, idx):
    path = written(tmp_path, idx(np.zeros((100, 250, 400), dtype=np.uint8)))
    tracemalloc.start()
    pixels = read_images(path).pixels
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1.2 * pixels.nbytes


def test_too_many_images_for_memory_are_an_error(tmp_path, idx, monkeypatch):
    def refuse(_):
        raise MemoryError

    monkeypatch.setattr("vae_anomaly.images.images.np.empty", refuse)
    with pytest.raises(
        DataError, match=r"2 images of 4 x 3 pixels \(width x height\), 0 GB.*more memory than there is"
    ):
        read_images(written(tmp_path, idx(GRAY)))
