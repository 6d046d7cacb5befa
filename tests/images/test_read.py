import os
import subprocess
import sys

import numpy as np
import pytest

from vae_anomaly import read_images
from vae_anomaly.errors import DataError, MissingExtraError

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


@pytest.mark.parametrize("kind", [str, os.fspath, lambda path: path])
def test_a_path_can_be_text_or_an_object(saved, kind):
    path = saved("a.png", GRAY)
    assert read_images(kind(path)).names == ["a.png"]
    assert read_images(kind(path.parent)).names == ["a.png"]


def test_a_single_image_is_a_folder_of_one(saved):
    single, folder = read_images(saved("a.png", GRAY)), read_images(saved("a.png", GRAY).parent)
    np.testing.assert_array_equal(single.pixels, folder.pixels)
    assert (single.names, single.shape) == (folder.names, folder.shape) == (["a.png"], (1, 3, 4))


def test_a_single_image_is_recognised_by_its_content(saved, tmp_path):
    path = saved("a.png", GRAY).rename(tmp_path / "image")
    np.testing.assert_array_equal(read_images(path).pixels, GRAY.reshape(1, 12) / 255)


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize(
    "content, message", [(b"", "it is empty"), (b"text", "it is none of PNG, JPEG, BMP, GIF, TIFF")]
)
def test_a_file_that_is_not_an_image_is_an_error(tmp_path, content, message, skip_bad):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=f"^'.*a.png' is not a usable image: {message}.* or name another: .* or an IDX file"
    ):
        read_images(path, skip_bad=skip_bad)


@pytest.mark.parametrize("name", ["absent", "absent/images.idx", "file/images.idx"])
def test_a_missing_path_is_an_error(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"There is no file or folder '.*{name}'. Check the name"):
        read_images(tmp_path / name)


@pytest.mark.parametrize("name", ["x" * 5000, "a/b\0c"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(DataError, match="Cannot read"):
        read_images(name)


def test_no_permission(saved, monkeypatch):
    path = saved("a.png", GRAY)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # the tests may run as root, who has every permission
    with pytest.raises(DataError, match="No permission to read '.*a.png'"):
        read_images(path)


def test_a_disk_error_is_reported(saved, monkeypatch):
    path = saved("a.png", GRAY)

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.open", fail)
    with pytest.raises(DataError, match="Cannot read '.*a.png': Input/output error"):
        read_images(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is neither a file nor a folder"):
        read_images(tmp_path / "pipe")


def test_without_pillow_the_command_that_installs_it_is_named(saved, tmp_path, idx, monkeypatch):
    path = saved("a.png", GRAY)
    (tmp_path / "images.idx").write_bytes(idx(GRAY[np.newaxis]))
    monkeypatch.setitem(sys.modules, "PIL", None)
    for place in (path, path.parent):
        with pytest.raises(
            MissingExtraError, match=r'^Image files need Pillow.*: pip install "vae-anomaly\[images\]"$'
        ):
            read_images(place)
    assert read_images(tmp_path / "images.idx").shape == (1, 3, 4)  # needs none


def test_unneeded_packages_are_not_imported():
    script = "import sys; from vae_anomaly import read_images; print({'PIL', 'pandas', 'torch'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_reading_does_not_change_the_files(saved):
    path = saved("a.png", GRAY)
    before, content = path.stat(), path.read_bytes()
    read_images(path.parent)
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(path.parent) == ["a.png"]
