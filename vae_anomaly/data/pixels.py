"""The schema of images: every column is a pixel, all on one scale, and none is left out."""

from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from vae_anomaly.data import documents
from vae_anomaly.data.columns import Cell, NumberCell
from vae_anomaly.data.infer import NumberSummary, Survey
from vae_anomaly.data.parse import column_names, in_pieces_of_rows, numbered
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted, listed_names, number

Name = str | int
LARGEST = 1e300  # largest pixel, so that the range is finite


@dataclass(frozen=True)
class PixelColumn:
    """One pixel of every image."""

    name: Name

    kind: ClassVar[str] = "pixel"
    noun: ClassVar[str] = "number"
    reading: ClassVar[str] = "numbers"


class PixelSchema:
    """
    The pixels of images and their encoding, with the verbs of `Schema`.

    Cells are pixels, black 0 and white 1. Images of values from 0 to 1 are not changed; others are scaled by the
    darkest and the brightest value of training, to which new pixels are clipped.

    Attributes
    ----------
    names
        Names of the columns, in the table's order.
    left_out, reasons
        Empty: a pixel that never changes is still part of the image.
    columns
        The same columns, with their kind.
    cells
        The cells of an encoded image, all numbers.
    code_cells
        Empty: no pixel holds category codes.
    kinds
        "pixel", for each column.
    n_rows
        Number of images that the schema was learned from.
    """

    def __init__(self, names: list[Name], darkest: float, brightest: float, n_rows: int) -> None:
        self.names = names
        self.columns = [PixelColumn(name) for name in names]
        self.kinds = [column.kind for column in self.columns]
        self.n_rows = n_rows
        self.left_out: dict[Name, str] = {}
        self.reasons: dict[Name, str] = {}
        self.cells: list[Cell] = [NumberCell(column) for column in range(len(names))]
        self.code_cells: list[int] = []
        self._darkest, self._brightest = darkest, brightest

    @classmethod
    def learn(cls, frame: pd.DataFrame, rows: np.ndarray | None = None, survey: Survey | None = None) -> Self:
        """Learn the range of the pixels; a column that is not of numbers, or no pixel at all, is a DataError.

        Parameters are those of `Schema.learn`.
        """
        names = column_names(frame)
        _check_numbers(frame)
        pixels = survey.numbers if survey else NumberSummary(names, in_pieces_of_rows(numbered(frame), rows))
        if np.isnan(pixels.lows).all():
            raise DataError(f"None of the pixels of {pixels.n_rows} images has a value; at least one is needed.")
        darkest, brightest = np.nanmin(pixels.lows), np.nanmax(pixels.highs)
        if max(-darkest, brightest) > LARGEST:
            raise DataError(f"A pixel is {darkest if -darkest > LARGEST else brightest}; at most {LARGEST} is allowed.")
        if darkest >= 0 and brightest <= 1:
            darkest, brightest = 0.0, 1.0
        return cls(names, float(darkest), float(max(brightest, np.nextafter(darkest, np.inf))), pixels.n_rows)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode images as a matrix (rows, pixels) of values from 0 to 1, NaN where a pixel is missing."""
        pixels = self.as_numbers(frame)
        cells = ((pixels - self._darkest) / (self._brightest - self._darkest)).clip(0.0, 1.0)
        return np.asfortranarray(cells)  # for every layout of the frame: sums over rows round alike

    def as_numbers(self, frame: pd.DataFrame) -> np.ndarray:
        """Convert images to plain numbers (rows, pixels), not scaled; errors are those of ``encode``."""
        given = column_names(frame)
        present = set(given)
        if missing := [name for name in self.names if name not in present]:
            found = f"It has: {listed_names(given)}"
            raise DataError(f"Pixels of the fit that the table lacks: {listed_names(missing)}. {found}.")
        frame = frame if given == self.names else frame[self.names]
        _check_numbers(frame)
        pixels = frame.to_numpy(np.float64)
        infinite = np.abs(pixels) > LARGEST
        if infinite.any():
            row, column = np.argwhere(infinite)[0]
            raise DataError(f"Column {self.names[column]!r} is infinite in row {row + 1} (the first row is 1).")
        return pixels

    def decode(self, cells: np.ndarray) -> pd.DataFrame:
        """Decode a matrix (rows, pixels) as images within training's range."""
        return pd.DataFrame(
            self._darkest + cells.clip(0.0, 1.0) * (self._brightest - self._darkest), columns=self.names
        )

    def missing(self, cells: np.ndarray) -> np.ndarray:
        """Mask (rows, columns) of the missing pixels."""
        return np.isnan(cells)

    def has_one_measure(self, cells: np.ndarray) -> bool:
        """True: pixels have the same range."""
        return True

    def grown(self, frame: pd.DataFrame) -> Self:
        """The same schema after the images of another table, which are counted."""
        grown = copy(self)
        grown.n_rows += len(frame)
        return grown

    def __repr__(self) -> str:
        pixels = f"{counted(len(self.names), 'pixels')} from {number(self._darkest)} to {number(self._brightest)}"
        return f"Fitted to {counted(self.n_rows, 'images')} of {pixels}."

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>"

    def to_json(self) -> dict[str, Any]:
        """Describe the schema in JSON's own types."""
        return {
            "names": self.names,
            "range": [self._darkest, self._brightest],
            "n_rows": self.n_rows,
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote; anything else is a ModelFileError."""
        names = [documents.name({"names": name}, "names") for name in documents.items(document, "names")]
        extremes: list[float] = documents.numbers(document, "range", -LARGEST, LARGEST).tolist()
        if not names or len(set(names)) < len(names):
            raise documents.damaged("names", "pixels, and no name twice")
        if len(extremes) != 2 or not extremes[0] < extremes[1]:
            raise documents.damaged("range", "a smaller and a larger number")
        return cls(names, extremes[0], extremes[1], documents.whole(document, "n_rows", 1, 2**63))


def _check_numbers(frame: pd.DataFrame) -> None:
    for name, dtype in zip(frame.columns, frame.dtypes.tolist(), strict=True):
        if not (isinstance(dtype, np.dtype) and dtype.kind in "biuf"):
            raise DataError(f"Column {name!r} does not hold numbers, as pixels do.")
