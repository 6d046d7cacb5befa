"""Read images: an IDX file, a folder of image files, or one image file."""

import stat
from os import PathLike
from pathlib import Path

from vae_anomaly.errors import DataError
from vae_anomaly.images.folder import read_file, read_folder
from vae_anomaly.images.idx import is_idx, read_idx
from vae_anomaly.images.images import Images


def read_images(path: str | PathLike[str], *, skip_bad: bool = False) -> Images:
    """
    Read images of one size as rows of pixels.

    Parameters
    ----------
    path
        An IDX file of unsigned bytes (the format of MNIST), gray or with channels last, possibly compressed with gzip;
        or an image file; or a folder of image files: PNG, JPEG, BMP, GIF, TIFF or WebP, recognised by their suffixes.
        Subfolders are read too; other files, hidden ones, and links to folders are not. Names are sorted as text.
    skip_bad
        In a folder, leave out files that cannot be decoded or do not have the most common size, with a DataWarning
        that names them, instead of raising a DataError.

    Returns
    -------
    Images
        Pixels in [0, 1] with their shape and names. The images of a folder have one channel if all of them are gray;
        otherwise all have three: red, green and blue. Gray images keep 16 bits. Images are turned upright as their EXIF
        data say, transparent pixels are shown on white, and only the first frame of an animation is read.

    Raises
    ------
    DataError
        If there is no such file or folder, or no image in it, or an image is unusable. The message names the file, the
        fault and the remedy.
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
    source, name = Path(path), repr(str(path))
    try:
        mode = source.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"There is no file or folder {name}. Check the name.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise DataError(f"Cannot read {name}: {getattr(error, 'strerror', None) or error}.") from error
    if stat.S_ISDIR(mode):
        return read_folder(source, skip_bad=skip_bad)
    if not stat.S_ISREG(mode):
        raise DataError(f"{name} is neither a file nor a folder. Save the images to a file first.")
    try:
        with source.open("rb") as file:
            head = file.read(2)
    except PermissionError as error:
        raise DataError(f"No permission to read {name}. Change its permissions.") from error
    except OSError as error:
        raise DataError(f"Cannot read {name}: {error.strerror}.") from error
    return read_idx(source) if is_idx(head) else read_file(source)
