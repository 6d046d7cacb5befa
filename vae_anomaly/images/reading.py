"""Read images: an IDX file, a folder of image files, or one image file."""

import stat
from os import PathLike
from pathlib import Path

from vae_anomaly.errors import DataError
from vae_anomaly.images.collection import Images
from vae_anomaly.images.folder import read_file, read_folder
from vae_anomaly.images.idx import is_idx, read_idx


def read_images(path: str | PathLike[str], *, skip_bad: bool = False) -> Images:
    """
    Read images of one size as rows of pixels.

    Parameters
    ----------
    path
        An IDX file of unsigned bytes, as MNIST is published, plain or compressed with gzip, gray or with channels last;
        or an image file; or a folder of image files: PNG, JPEG, BMP, GIF, TIFF or WebP, told by their suffixes.
        Subfolders are read too; other files, hidden ones, and links to folders are not. Names are sorted as text.
    skip_bad
        Of a folder, leave out the files that cannot be decoded or are not of the most common size, with a DataWarning
        that names them, instead of refusing the folder.

    Returns
    -------
    Images
        Pixels in [0, 1] with their shape and names. A folder is gray, one channel, where all its images are; if one is
        in colour, all are red, green and blue. Of 16 bits all are kept in gray images. Images are turned upright as
        their EXIF data say, transparent pixels are seen on white, and of an animation the first frame is taken.

    Raises
    ------
    DataError
        If there is no such file or folder, or no image in it, or one of them cannot be used: says which, why, and what
        to do.
    MissingExtraError
        If image files are to be read and Pillow is not installed.

    Examples
    --------
    Two images of one row and three columns, in an IDX file:

    >>> import struct, tempfile
    >>> from pathlib import Path
    >>> from vae_anomaly import read_images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "two.idx")
    ...     _ = path.write_bytes(struct.pack(">4I", 0x803, 2, 1, 3) + bytes([0, 51, 255, 255, 102, 0]))
    ...     images = read_images(path)
    >>> images.shape, images.names
    ((1, 1, 3), ['1', '2'])
    >>> images.pixels
    array([[0. , 0.2, 1. ],
           [1. , 0.4, 0. ]])
    """
    place, name = Path(path), repr(str(path))
    mode = _mode(place, name)
    if stat.S_ISDIR(mode):
        return read_folder(place, skip_bad=skip_bad)
    if not stat.S_ISREG(mode):
        raise DataError(f"{name} is neither a file nor a folder. Save the images to a file first.")
    return read_idx(place) if is_idx(_head(place, name)) else read_file(place)


def _mode(path: Path, name: str) -> int:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"There is no file or folder {name}. Check the name.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise DataError(f"Cannot read {name}: {getattr(error, 'strerror', None) or error}.") from error


def _head(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2)
    except PermissionError as error:
        raise DataError(f"No permission to read {name}. Change its permissions.") from error
    except OSError as error:
        raise DataError(f"Cannot read {name}: {error.strerror}.") from error
