"""What FILE holds, a table or images, behind the same verbs: rows for a detector, and what each of them is known by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vae_anomaly.errors import DataError
from vae_anomaly_cli.columns import leave_out, pick
from vae_anomaly_cli.contents import holds_images
from vae_anomaly_cli.errors import refuse_given
from vae_anomaly_cli.memory import refuse_too_large

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vae_anomaly import VAEDetector
    from vae_anomaly.images import Images

READ_RANGE = [0.0, 1.0]  # black and white, as images are read
SHORTEST_SIDE = 2
OF_TABLES = {"exclude": "--exclude", "keep": "--keep", "color": "--color", "encoding": "--encoding"}


@dataclass(frozen=True, eq=False)
class Table:
    """A table: ``rows`` for a detector, known by the columns that the user ``kept``."""

    rows: pd.DataFrame
    kept: pd.DataFrame

    noun = "rows"
    image_shape = None

    def rows_for(self, detector: VAEDetector) -> pd.DataFrame:
        """The rows, unless the detector was fitted to images."""
        if detector.image_shape is not None:
            raise DataError(
                f"This is a table, and the model was fitted to {trained_on(detector)}. "
                "Name a folder of images, an image or an IDX file."
            )
        return self.rows

    def named(self) -> pd.DataFrame:
        """What each row is known by, in the order of the table."""
        return self.kept.reset_index(drop=True)

    def written(self, ranking: pd.DataFrame) -> pd.DataFrame:
        """Ranked rows, the kept columns after them."""
        import pandas as pd

        return pd.concat([ranking, self.kept.iloc[ranking["row"] - 1].reset_index(drop=True)], axis=1)

    def explained(self, ranking: pd.DataFrame, detector: VAEDetector, places: list[int]) -> pd.DataFrame:
        """Ranked rows with the reasons of those in these places, in words."""
        explained = ranking.assign(reason="")
        if len(places):
            rows = self.rows.iloc[ranking["row"].iloc[places] - 1]
            explained.loc[places, "reason"] = detector.reasons(rows).to_numpy()
        return explained

    def shown(self, ranking: pd.DataFrame) -> tuple[pd.DataFrame, str]:
        """What a person sees of ranked rows, and the column of which nothing is to be cut."""
        return self.written(ranking), "reason"


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images: rows of pixels, known by the names of their files, or by their numbers in an IDX file."""

    images: Images

    noun = "images"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.images.shape

    @property
    def rows(self) -> np.ndarray:
        """Pixels, (images, channels * height * width)."""
        return self.images.pixels

    def rows_for(self, detector: VAEDetector) -> np.ndarray:
        """Pixels in the detector's shape: gray images turn into colour, for other files decide what a folder is."""
        import numpy as np

        if detector.image_shape is None:
            trained = f"a table of {trained_on(detector)}"
            raise DataError(f"These are images, and the model was fitted to {trained}. Name a table.")
        _refuse_other_range(detector)
        (channels, *sides), (own, *own_sides) = detector.image_shape, self.image_shape
        if own_sides != sides or (own, channels) not in {(channels, channels), (1, 3)}:
            raise DataError(
                f"These images have {size_of(self.image_shape)}, and the model was fitted to {trained_on(detector)}. "
                "Bring them into that shape, or fit a model to them."
            )
        return self.rows if own == channels else np.tile(self.rows, channels)

    def named(self) -> pd.DataFrame:
        """What each image is known by, in the order in which they were read; bytes that are no text stand as codes."""
        import pandas as pd

        return pd.DataFrame({"image": [name.encode(errors="backslashreplace").decode() for name in self.images.names]})

    def written(self, ranking: pd.DataFrame) -> pd.DataFrame:
        """Ranked images, their names after their numbers."""
        written = ranking.copy()
        written.insert(1, "image", self.named()["image"].to_numpy()[ranking["row"] - 1])
        return written

    def explained(self, ranking: pd.DataFrame, detector: VAEDetector, places: list[int]) -> pd.DataFrame:
        """Ranked images as they are: single pixels tell a person nothing."""
        return ranking

    def shown(self, ranking: pd.DataFrame) -> tuple[pd.DataFrame, str]:
        """What a person sees of ranked images, and the column of their names."""
        return self.written(ranking), "image"


def read_source(
    context: typer.Context, file: str, exclude: list[str], keep: list[str], encoding: str, *, skip_bad: bool
) -> Table | Pictures:
    """Read FILE; options that have no meaning for what it holds are wrong usage, found out before it is read."""
    if skip_bad and (file == "-" or not Path(file).is_dir()):
        reason = f"it leaves bad images of a folder out, and {file} is no folder; leave it out."
        raise typer.BadParameter(reason, param_hint="--skip-bad")
    if holds_images(file):
        refuse_given(context, OF_TABLES, f"it concerns tables, and {file} holds images; leave it out.")

        from vae_anomaly import read_images

        return Pictures(_large_enough(read_images(file, skip_bad=skip_bad)))

    from vae_anomaly import read_table

    _refuse_many(file)
    refuse_too_large(file)
    frame = read_table(file, encoding=encoding)
    return Table(leave_out(frame, exclude, "--exclude"), pick(frame, keep, "--keep"))


def _refuse_many(file: str) -> None:
    """Refuse a folder of tables, and a pattern."""
    from vae_anomaly.io.read import is_pattern

    if file != "-" and (Path(file).is_dir() or is_pattern(file)):
        raise DataError(f"{file} stands for several tables. With --stream, `score` and `fit` read them as one.")


def trained_on(detector: VAEDetector) -> str:
    """What a detector was fitted to: how many rows or images, and of which size."""
    if detector.image_shape is None:
        return f"{detector.n_samples_fit_} rows, {len(detector.schema_.names)} columns"
    return f"{detector.n_samples_fit_} images of {size_of(detector.image_shape)}"


def size_of(shape: Sequence[int]) -> str:
    """A shape (channels, height, width) in words."""
    channels, height, width = shape
    colours = {1: "in gray", 3: "in colour"}.get(channels, f"with {channels} channels")
    return f"{width} x {height} pixels (width x height) {colours}"


def _refuse_other_range(detector: VAEDetector) -> None:
    darkest, brightest = detector.schema_.to_json()["range"]
    if [darkest, brightest] != READ_RANGE:
        raise DataError(
            f"The model was fitted to pixels from {darkest:g} to {brightest:g}, and images are read as pixels from 0 "
            "to 1. Fit it to such pixels."
        )


def _large_enough(images: Images) -> Images:
    """The images, unless a convolution could not halve their sides."""
    if min(images.shape[1:]) < SHORTEST_SIDE:
        raise DataError(f"These images have {size_of(images.shape)}; a side has {SHORTEST_SIDE} pixels at least.")
    return images
