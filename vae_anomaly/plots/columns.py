"""The columns that a detector uses, as they stand on an axis: numbers, dates, or names of levels."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import CategoryColumn, DateColumn, FlagColumn
from vae_anomaly.data.parse import as_frame, is_frame
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import label
from vae_anomaly.plots.figures import date_ticks, few_ticks

if TYPE_CHECKING:
    from matplotlib.axis import Axis

    from vae_anomaly.detector import VAEDetector

OTHERS = "others"


@dataclass(frozen=True)
class Shown:
    """One column in use, its kind in the schema's words: its values are names (``is_level``), dates or numbers."""

    name: str | int
    kind: str
    is_level: bool
    is_date: bool

    def numbers(self, table: pd.DataFrame) -> np.ndarray:
        """Places on a line, (rows,), NaN where missing: numbers, seconds of durations, days since 1970 of dates."""
        return places(table[self.name], self.is_date)

    def levels(self, table: pd.DataFrame) -> np.ndarray:
        """Texts of the values, (rows,), None where missing."""
        return texts(table[self.name])

    def ticks(self, axis: "Axis") -> None:
        """Give the axis ticks that suit the numbers."""
        (date_ticks if self.is_date else few_ticks)(axis)

    def title(self, most: int) -> str:
        """Name that fits above a panel."""
        return label(self.name, most)


def columns_in_use(detector: "VAEDetector") -> list[Shown]:
    """In the table's order."""
    columns = detector.schema_.columns
    with_levels, dates = FlagColumn | CategoryColumn, DateColumn
    return [Shown(c.name, c.kind, isinstance(c, with_levels), isinstance(c, dates)) for c in columns]


def observed(detector: "VAEDetector", X: Any) -> pd.DataFrame:
    """The columns in use of a table that the detector takes, in the types of the fit.

    A category that was not there in fit is missing here, as the model has no name for it.
    """
    schema = detector.schema_
    if is_frame(X) and _has_names(detector):
        return schema.decode(schema.encode(as_frame(X)))
    values = np.asarray(as_frame(X) if is_frame(X) else np.ma.filled(X, np.nan), dtype=np.float64)
    inputs = [*getattr(detector, "feature_names_in_", [f"x{place}" for place in range(detector.n_features_in_)])]
    if values.ndim != 2 or values.shape[1] != len(inputs):
        raise DataError(f"The model was fitted to {len(inputs)} columns; the table has the shape {values.shape}.")
    return schema.decode(schema.encode(pd.DataFrame(values, columns=inputs)))


def decoded(detector: "VAEDetector", rows: pd.DataFrame | np.ndarray) -> pd.DataFrame:
    """Rows that the detector gave, under the names of its columns."""
    return rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=detector.schema_.names)


def places(values: pd.Series, dates: bool) -> np.ndarray:
    """Numbers, seconds of durations or days since 1970 of dates, (rows,), NaN where missing."""
    if dates:
        from matplotlib.dates import date2num

        stamps = values.dt.to_timestamp() if isinstance(values.dtype, pd.PeriodDtype) else values
        instants = pd.to_datetime(stamps, utc=True, format="ISO8601").dt.tz_localize(None)
        return np.where(instants.isna(), np.nan, date2num(instants.to_numpy()))
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        return values.dt.total_seconds().to_numpy(dtype=np.float64)
    return pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)


def texts(values: pd.Series) -> np.ndarray:
    """Values as text, (rows,), None where missing."""
    found = [None if gap else str(value) for value, gap in zip(values, values.isna(), strict=True)]
    return np.array([*found, None], dtype=object)[:-1]


def most_frequent(levels: np.ndarray, most: int) -> list[str]:
    """The names of at most ``most`` levels, the most frequent first."""
    counts = Counter(name for name in levels if name is not None)
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]]


def grouped(levels: np.ndarray, names: list[str]) -> np.ndarray:
    """The levels with those that are not among ``names`` together as "others"; missing ones stay so."""
    known = {None, *names}
    return np.array([*(level if level in known else OTHERS for level in levels), None], dtype=object)[:-1]


def _has_names(detector: "VAEDetector") -> bool:
    """Whether the detector was fitted to a table with names: then it gives such tables."""
    return isinstance(detector.inverse_transform([detector.latents_["mean"].tolist()]), pd.DataFrame)
