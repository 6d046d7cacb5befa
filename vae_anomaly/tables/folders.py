"""Which files a folder, a pattern or a name stands for."""

import glob
import os
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from vae_anomaly.errors import DataError
from vae_anomaly.tables.frames import listed

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
_PACKED = (".gz", ".zst")
_SIGNS = re.compile(r"[*?\[]")
_NOT_DATA = (".", "_")  # how names begin of what is hidden, and of _SUCCESS and the like


def is_pattern(source: str | PathLike[str]) -> bool:
    """Whether a name is a pattern such as ``logs/*.csv``, and not that of a file."""
    return _SIGNS.search(str(source)) is not None and not os.path.lexists(source)


def holds_tables(folder: Path) -> bool:
    """Whether a folder has a file that is called a table."""
    return any(_is_table(path.name) for path in folder.iterdir() if path.is_file())


def table_files(source: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[Path]:
    """
    List the files of a table, in their order.

    Those of a folder, and those that fit a pattern, come in the order that people expect of their names: ``part-2``
    before ``part-10``. Of a folder they are those with the suffix of a table; what begins with a dot or an underscore
    is no data.

    Raises
    ------
    DataError
        If there are none, or a folder has subfolders.
    """
    if not isinstance(source, str | PathLike):
        return [Path(name) for name in source]
    if is_pattern(source):
        return _matching(str(source))
    path = Path(source)
    return _in_folder(path) if path.is_dir() else [path]


def _matching(pattern: str) -> list[Path]:
    found = [Path(name) for name in glob.glob(pattern, recursive=True)]
    files = sorted((path for path in found if path.is_file() and not path.name.startswith(_NOT_DATA)), key=_naturally)
    if not files:
        raise DataError(f"No file fits {pattern!r}. Check the pattern and the folder.")
    return files


def _in_folder(folder: Path) -> list[Path]:
    entries = [path for path in folder.iterdir() if not path.name.startswith(_NOT_DATA)]
    if folders := sorted((path.name for path in entries if path.is_dir()), key=_by_number):
        raise DataError(
            f"{str(folder)!r} has folders in it, which are not looked into: {listed([*folders], 3)}. "
            f"Name the files by a pattern, such as {str(folder / '**' / '*.parquet')!r}."
        )
    files = sorted((path for path in entries if _is_table(path.name)), key=_naturally)
    if not files:
        suffixes = ", ".join(SUFFIXES)
        raise DataError(f"There is no table in {str(folder)!r}. Files named {suffixes} are looked for, also packed.")
    return files


def _is_table(name: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())
    return (stem if suffix in _PACKED else name.lower()).endswith(SUFFIXES) and not name.startswith(_NOT_DATA)


def _naturally(path: Path) -> list[list[tuple[int, int, str]]]:
    return [_by_number(part) for part in path.parts]


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """A key by which numbers in names count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]
