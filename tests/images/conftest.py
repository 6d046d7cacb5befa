"""Small images with a different value in each pixel."""

import struct

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def rng():
    return np.random.default_rng(20260117)


@pytest.fixture
def saved(tmp_path):
    """Save an array of levels, or a picture, under a name in ``tmp_path / "images"``; subfolders are made."""

    def save(name, picture, **options):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
        return path

    return save


@pytest.fixture
def idx():
    """Bytes of an IDX file: sizes are those of the array unless others are declared."""

    def make(levels, sizes=None, kind=0x08):
        sizes = levels.shape if sizes is None else sizes
        return struct.pack(f">BBBB{len(sizes)}I", 0, 0, kind, len(sizes), *sizes) + levels.tobytes()

    return make
