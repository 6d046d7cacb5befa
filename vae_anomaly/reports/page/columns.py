"""The columns of the table: what each holds, how much of it is missing, and whether it has moved since training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from vae_anomaly.reports.columns import columns_in_use
from vae_anomaly.reports.labels import short_text
from vae_anomaly.reports.page.words import LONGEST, MOST, chance

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

SCORE = "(score)"  # the row of a drift that is of no column
KINDS = {"flag": "yes or no"}


@dataclass(frozen=True)
class Moved:
    """What became of a column since training; ``p_value`` is adjusted for how many columns were looked at."""

    drifted: bool
    p_value: float
    sentence: str

    @property
    def p_text(self) -> str:
        """The p-value as it is shown."""
        return chance(self.p_value)


@dataclass(frozen=True)
class UsedColumn:
    """A column that the model uses."""

    name: str
    kind: str
    n_missing: int
    moved: Moved | None


def used_columns(detector: "VAEDetector", frame: pd.DataFrame, drift: pd.DataFrame | None) -> list[UsedColumn]:
    """In the table's order; those that moved come first.

    Parameters
    ----------
    frame : DataFrame
        The rows, under the names of the model.
    drift : DataFrame, optional
        The columns of a drift.
    """
    found = [
        UsedColumn(
            name=short_text(column.name, MOST),
            kind=KINDS.get(column.kind, column.kind),
            n_missing=int(frame[column.name].isna().sum()),
            moved=moved(drift, column.name),
        )
        for column in columns_in_use(detector)
    ]
    return sorted(found, key=lambda column: column.moved is None or not column.moved.drifted)


def moved(drift: pd.DataFrame | None, name: str | int) -> Moved | None:
    """What a drift says of a column, or of the score; None where it says nothing."""
    if drift is None or name not in drift.index:
        return None
    said = drift.loc[[name]].iloc[0]
    return Moved(bool(said["drifted"]), float(said["adjusted_p_value"]), short_text(said["sentence"], LONGEST))
