"""Columns of a table as values on an axis: numbers, dates, or names of levels."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import CategoryColumn, DateColumn, FlagColumn
from vae_anomaly.data.parse import as_frame
from vae_anomaly.formatting import wrapped
from vae_anomaly.plots.figures import date_ticks, number_ticks

if TYPE_CHECKING:
    from matplotlib.axis import Axis

    from vae_anomaly.detector import VAEDetector

OTHERS = "others"


@dataclass(frozen=True)
class PlottedColumn:
    """A column in use; its values are names (``is_level``), dates (``is_date``) or else numbers."""

    name: str | int
    is_level: bool
    is_date: bool

    def numbers(self, table: pd.DataFrame) -> np.ndarray:
        """Positions on an axis, as `axis_numbers`."""
        return axis_numbers(table[self.name], dates=self.is_date)

    def levels(self, table: pd.DataFrame) -> np.ndarray:
        """Values as text, as `level_names`."""
        return level_names(table[self.name])

    def places(self, table: pd.DataFrame, most: int) -> tuple[np.ndarray, list[str]]:
        """Positions of the rows on an axis, (rows,), NaN where missing, and the names of the levels at 0, 1, 2 and on.

        Levels beyond the ``most`` frequent ones share a place. Rows of one level lie next to one another.
        """
        if not self.is_level:
            return self.numbers(table), []
        levels = self.levels(table)
        names = most_frequent(levels, most)
        grouped = group_levels(levels, names)
        shown = [*names, OTHERS] if (grouped == OTHERS).any() else names
        spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(grouped))
        numbers = {name: float(place) for place, name in enumerate(shown)}
        return np.array([numbers.get(level, np.nan) for level in grouped]) + spread, shown

    def set_ticks(self, axis: "Axis") -> None:
        """Give the axis ticks for numbers or for dates."""
        (date_ticks if self.is_date else number_ticks)(axis)

    def title(self, width: int) -> str:
        """Name on up to three lines of at most ``width`` characters."""
        return wrapped(self.name, width)


def columns_in_use(detector: "VAEDetector") -> list[PlottedColumn]:
    """Columns that the model uses, in the table's order."""
    return [
        PlottedColumn(column.name, isinstance(column, FlagColumn | CategoryColumn), isinstance(column, DateColumn))
        for column in detector.schema_.columns
    ]


def observed_rows(detector: "VAEDetector", X: Any) -> pd.DataFrame:
    """The columns in use of a table, in the types of the training table; unseen categories are missing."""
    model = detector.model_
    return model.schema.decode(model.encode(X))


def named_rows(detector: "VAEDetector", rows: Any) -> pd.DataFrame:
    """Rows that the detector returned, as a frame with the names of its columns."""
    return pd.DataFrame(rows, columns=detector.schema_.names) if isinstance(rows, np.ndarray) else as_frame(rows)


def axis_numbers(values: pd.Series, *, dates: bool) -> np.ndarray:
    """Numbers, seconds of durations or days since 1970 of dates, (rows,), NaN where missing or unreadable."""
    if dates:
        stamps = values.dt.to_timestamp() if isinstance(values.dtype, pd.PeriodDtype) else values
        if pd.api.types.infer_dtype(stamps, skipna=True) in ("string", "time"):  # a time of day is one of a first day
            stamps = stamps.map(lambda value: f"1970-01-01T{value}" if str(value)[2:3] == ":" else value)
        instants = pd.to_datetime(stamps, utc=True, format="ISO8601", errors="coerce").dt.tz_localize(None)
        days = instants.to_numpy().astype("datetime64[us]").astype(np.float64) / (24 * 60 * 60 * 1e6)
        return np.where(instants.isna(), np.nan, days)
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        return values.dt.total_seconds().to_numpy(dtype=np.float64)
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def level_names(values: pd.Series) -> np.ndarray:
    """Values as text, (rows,), None where missing."""
    texts = [None if missing else str(value) for value, missing in zip(values, values.isna(), strict=True)]
    return np.array([*texts, None], dtype=object)[:-1]


def most_frequent(levels: np.ndarray, most: int) -> list[str]:
    """Names of at most ``most`` levels, the most frequent first."""
    counts = Counter(name for name in levels if name is not None)
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]]


def group_levels(levels: np.ndarray, names: list[str]) -> np.ndarray:
    """Levels, with "others" in place of those that are not in ``names``; missing ones stay missing."""
    known = {None, *names}
    return np.array([*(level if level in known else OTHERS for level in levels), None], dtype=object)[:-1]
