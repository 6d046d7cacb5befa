"""Inputs of a command: FILE, a table or images behind the same verbs; columns named by options; the fitted model."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import listed_names
from vae_anomaly_cli.errors import naming, refuse_given
from vae_anomaly_cli.groups import Reading, option_names
from vae_anomaly_cli.memory import shortage

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vae_anomaly import VAEDetector
    from vae_anomaly.images import Images
    from vae_anomaly.io.read import WholeTable

ALL = "*"  # in place of a column's name
LONG_BYTES = 2**28  # `fit` reads a larger file piece by piece
SHORTEST_SIDE = 2  # pixels; a convolution halves the sides
TABLE_OPTIONS = {  # parameter to option
    "exclude": "--exclude",
    "keep": "--keep",
    "append": "--append",
    "duplicates": "--duplicates",
    "kind": "--kind",
    "color": "--color",
    **option_names(Reading),
}
MLFLOW_ADDRESSES = ("models:/", "runs:/", "mlflow-artifacts:/")
IMAGE_BEGINNINGS = (  # of IDX files and of PNG, JPEG, GIF and TIFF; no text begins like these
    *(bytes([0, 0, kind]) for kind in range(0x08, 0x0F)),
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"),
)


@dataclass(frozen=True, eq=False)
class TableInput:
    """A table as it was read, the columns to hide from a detector, and those to keep in the output."""

    table: WholeTable
    exclude: list[str]
    keep: list[str]

    noun = "rows"
    uncut = "reason"  # the column that a terminal shows in full
    image_shape = None

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Rows to fit a detector to."""
        return drop_columns(self.table.frame, self.exclude, "--exclude")

    @cached_property
    def kept(self) -> pd.DataFrame:
        """Columns of the output, as they stand in the file."""
        return self.table.texts([*select_columns(header(self.table.names), self.keep, "--keep").columns])

    def rows_for(self, detector: VAEDetector) -> pd.DataFrame:
        """Rows as the detector knows their columns; an error if it was fitted to images."""
        if detector.image_shape is not None:
            raise DataError(
                f"This is a table, and the model was fitted to {trained_on(detector)}. "
                "Name a folder of images, an image or an IDX file."
            )
        if not hasattr(detector, "feature_names_in_"):  # it was fitted to an array
            return self.rows
        schema: Any = detector.schema_  # of a table, not of images
        return drop_columns(self.table.as_fitted(schema), self.exclude, "--exclude")

    def identifiers(self) -> pd.DataFrame:
        """Kept columns, in the order of the table."""
        return self.kept.reset_index(drop=True)

    def with_identifiers(self, scored: pd.DataFrame, *, first: bool = False) -> pd.DataFrame:
        """Scored rows, followed by the kept columns, or after them."""
        import pandas as pd

        parts = [scored, self.kept.iloc[scored["row"] - 1].reset_index(drop=True)]
        return pd.concat(parts[::-1] if first else parts, axis=1)

    def name_of(self, row: int) -> str:
        """A row in words, by its number."""
        return f"row {row}"

    def with_reasons(self, scored: pd.DataFrame, detector: VAEDetector, chosen: np.ndarray) -> pd.DataFrame:
        """Scored rows, with the reasons in words of the chosen ones, a mask."""
        explained = scored.assign(reason="")
        if chosen.any():
            rows = self.rows_for(detector).iloc[scored["row"].to_numpy()[chosen] - 1]
            explained.loc[chosen, "reason"] = reasons_of(detector, rows)
        return explained

    def find_duplicates(self, detector: VAEDetector) -> tuple[pd.Series, str]:
        """For each row the number of the row that it repeats but for columns hidden or left out, and the sentence."""
        from vae_anomaly import find_duplicates
        from vae_anomaly.data.duplicates import describe_duplicates

        whole = self.table.frame
        left_out = [name for name in whole.columns if name in detector.schema_.left_out]
        duplicate_of = find_duplicates(whole, ignore=[*self.exclude, *left_out])
        return duplicate_of + 1, describe_duplicates(whole, duplicate_of)


@dataclass(frozen=True, eq=False)
class ImageInput:
    """Images as rows of pixels, identified by file names, or by their numbers in an IDX file."""

    images: Images

    noun = "images"
    uncut = "image"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.images.shape

    @property
    def rows(self) -> np.ndarray:
        """Pixels, (images, channels * height * width)."""
        return self.images.pixels

    def rows_for(self, detector: VAEDetector) -> np.ndarray:
        """Pixels in the detector's shape; gray images become coloured ones if the model was fitted to those."""
        import numpy as np

        if detector.image_shape is None:
            trained = f"a table of {trained_on(detector)}"
            raise DataError(f"These are images, and the model was fitted to {trained}. Name a table.")
        darkest, brightest = detector.schema_.to_json()["range"]
        if (darkest, brightest) != (0, 1):
            raise DataError(
                f"The model was fitted to pixels from {darkest:g} to {brightest:g}, and images are read as pixels "
                "from 0 to 1. Fit a model to pixels of that range."
            )
        (channels, *sides), (own, *own_sides) = detector.image_shape, self.image_shape
        if own_sides != sides or (own, channels) not in {(channels, channels), (1, 3)}:
            raise DataError(
                f"These images have {size_of(self.image_shape)}, and the model was fitted to {trained_on(detector)}. "
                "Convert them to that shape, or fit a model to them."
            )
        return self.rows if own == channels else np.tile(self.rows, channels)

    def identifiers(self) -> pd.DataFrame:
        """Names of the images, in the order in which they were read; bytes that are no text are written as escapes."""
        import pandas as pd

        return pd.DataFrame({"image": [name.encode(errors="backslashreplace").decode() for name in self.images.names]})

    def with_identifiers(self, scored: pd.DataFrame, *, first: bool = False) -> pd.DataFrame:
        """Scored images, with the names after the row numbers."""
        named = scored.copy()
        named.insert(1, "image", self.identifiers()["image"].to_numpy()[scored["row"] - 1])
        return named

    def name_of(self, row: int) -> str:
        """An image in words, by its number."""
        return str(self.identifiers()["image"][row - 1])

    def with_reasons(self, scored: pd.DataFrame, detector: VAEDetector, chosen: np.ndarray) -> pd.DataFrame:
        """Scored images unchanged: single pixels mean nothing to a person."""
        return scored

    def find_duplicates(self, detector: VAEDetector) -> tuple[None, str]:
        """Nothing: equal images are not looked for."""
        return None, ""


def read_input(
    context: typer.Context,
    file: str,
    exclude: list[str],
    keep: list[str],
    reading: Reading,
    *,
    skip_bad: bool,
) -> TableInput | ImageInput:
    """Read FILE; options that do not apply to its content are wrong usage, reported before it is read."""
    if skip_bad and (file == "-" or not Path(file).is_dir()):
        reason = f"it skips unreadable images of a folder, and {file} is not a folder; leave it out."
        raise typer.BadParameter(reason, param_hint="--skip-bad")
    if holds_images(file):
        refuse_given(context, TABLE_OPTIONS, f"it applies to tables, and {file} holds images; leave it out.")

        from vae_anomaly import read_images

        images = read_images(file, skip_bad=skip_bad)
        if min(images.shape[1:]) < SHORTEST_SIDE:
            raise DataError(f"These images have {size_of(images.shape)}; a side needs at least {SHORTEST_SIDE} pixels.")
        return ImageInput(images)

    from vae_anomaly.io.read import is_pattern, read_whole
    from vae_anomaly.io.source import FileOptions

    if file != "-" and (Path(file).is_dir() or is_pattern(file)):
        raise DataError(f"{file} stands for several tables. Only `score` and `fit` read these, with --stream.")
    if lacking := shortage(file, n_kept=inf if ALL in keep else len(keep)):
        raise DataError(f"{lacking}. With --stream, `score` and `fit` read it piece by piece.")
    table = read_whole(file, FileOptions.of(**reading.options))
    source = TableInput(table, exclude, keep)
    if exclude:
        drop_columns(header(table.names), exclude, "--exclude")
    if keep:
        _ = source.kept
    return source


def reasons_of(detector: VAEDetector, rows: pd.DataFrame) -> list[str]:
    """Reasons of the rows in words; a few thousand rows at a time, because explaining takes much memory."""
    at_once = 2**12
    parts = (rows.iloc[first : first + at_once] for first in range(0, len(rows), at_once))
    return [reason for part in parts for reason in detector.reasons(part)]


def read_model(model: str, device: str, *, excluded: Collection[str] = ()) -> VAEDetector:
    """Load MODEL, from its file or from MLflow's store; it must not use columns that are ``excluded``.

    Call it after reading the data: it imports torch, which takes seconds, and errors in the data should come sooner.
    """
    with naming(model):
        if model.startswith(MLFLOW_ADDRESSES):
            from vae_anomaly_cli.tracking import quiet_mlflow

            quiet_mlflow()

            from vae_anomaly.integrations.mlflow import open_model

            detector = open_model(model, device=device)
        else:
            from vae_anomaly import load

            detector = load(model, device=device)
        for name in set(excluded).intersection(map(str, detector.schema_.names)):
            raise DataError(
                f"The model was fitted to column {name!r}, so --exclude cannot hide it; fit a model without it."
            )
    return detector


def trained_on(detector: VAEDetector) -> str:
    """Number and size of the rows or images that a detector was fitted to, in words."""
    if detector.image_shape is None:
        return f"{detector.n_samples_fit_} rows, {len(detector.schema_.names)} columns"
    return f"{detector.n_samples_fit_} images of {size_of(detector.image_shape)}"


def size_of(shape: Sequence[int]) -> str:
    """A shape (channels, height, width) in words."""
    channels, height, width = shape
    colours = {1: "in gray", 3: "in colour"}.get(channels, f"with {channels} channels")
    return f"{width} x {height} pixels (width x height) {colours}"


def holds_images(file: str) -> bool:
    """True for a folder without tables, an IDX file (also in gzip) and an image, by content, then by suffix."""
    from vae_anomaly.images import SUFFIXES
    from vae_anomaly.io.read import holds_tables

    path = Path(file)
    if file == "-":
        return False
    if path.is_dir():
        return not holds_tables(path) or any(inner.suffix.lower() in SUFFIXES for inner in path.rglob("*"))
    return path.suffix.lower() in SUFFIXES or _first_bytes(path).startswith(IMAGE_BEGINNINGS)


def _first_bytes(path: Path) -> bytes:
    """First bytes of a file, decompressed; empty for a pipe, which cannot be read again, and for unreadable files."""
    if path.is_file():
        with suppress(OSError, EOFError, zlib.error), path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return gzip.GzipFile(fileobj=file).read(8) if is_gzip else file.read(8)
    return b""


def is_long(file: str) -> bool:
    """True for tables that `fit` reads piece by piece: several files, one large file, or one too large for memory."""
    from vae_anomaly.io.read import is_pattern

    if file == "-" or holds_images(file):
        return False
    path = Path(file)
    if path.is_dir() or is_pattern(file):
        return True
    return path.is_file() and (path.stat().st_size > LONG_BYTES or shortage(file) is not None)


def header(names: Sequence[str | int]) -> pd.DataFrame:
    """A table without rows."""
    import numpy as np
    import pandas as pd

    columns = pd.Index(list[Any](names), dtype=object)
    no_rows = np.empty((0, len(columns)), dtype=object)  # without it, pandas makes an array for each column
    return pd.DataFrame(no_rows, columns=columns)


def select_columns(frame: pd.DataFrame, names: Iterable[str], option: str) -> pd.DataFrame:
    """Named columns, each once, in the order of the names; ``*`` stands for all columns."""
    found: dict[str, None] = {}
    for name in names:
        is_all = name == ALL and ALL not in frame.columns
        found |= dict.fromkeys(frame.columns if is_all else [_find(frame, name, option)])
    return frame[[*found]]


def drop_columns(frame: pd.DataFrame, names: Iterable[str], option: str) -> pd.DataFrame:
    """All columns but the named ones."""
    return frame.drop(columns=[_find(frame, name, option) for name in names])


def _find(frame: pd.DataFrame, name: str, option: str) -> str:
    if name in frame.columns:
        return name
    columns = [str(column) for column in frame.columns]
    close = get_close_matches(name, columns, n=1) or [c for c in columns if c.casefold() == name.casefold()]
    if close:
        raise DataError(f"There is no column {name!r} for {option}. Did you mean {close[0]!r}?")
    raise DataError(f"There is no column {name!r} for {option}. The columns are: {listed_names(columns)}.")


def refuse_output_names(kept: Iterable[str], written: Collection[str], option: str = "--keep") -> None:
    """Raise an error for a kept column whose name the command uses for a column of its own."""
    for name in kept:
        if name in written:
            message = f"{name!r} is also the name of an output column; rename the column in the table."
            raise typer.BadParameter(message, param_hint=option)
