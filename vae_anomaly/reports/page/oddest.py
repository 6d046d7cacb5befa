"""The oddest rows, each with its score and the reasons for it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.reports.labels import short_text
from vae_anomaly.reports.page.pictures import Pictures
from vae_anomaly.reports.page.reasons import Explained, Reasons
from vae_anomaly.reports.page.words import MOST, chance, is_missing, nats

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector


@dataclass(frozen=True)
class OddRow:
    """A row of the page's table, with ``reasons`` where it has columns, with ``pictures`` where it is an image.

    ``row`` counts from 1, ``names`` are the values that it is known by, ``usual`` is the score that it would have.
    """

    row: int
    names: list[str]
    score: float
    p_value: float
    odd: bool
    usual: float
    reasons: Reasons | None
    pictures: Pictures | None

    @property
    def score_text(self) -> str:
        """The score as it is shown."""
        return nats(self.score)

    @property
    def p_text(self) -> str:
        """The p-value as it is shown."""
        return chance(self.p_value)

    @property
    def surprise(self) -> float:
        """Nats beyond what is usual."""
        return self.score - self.usual


def oddest_rows(
    detector: "VAEDetector", rows: Any, frame: pd.DataFrame, detected: pd.DataFrame, kept: pd.DataFrame, most: int
) -> list[OddRow]:
    """The oddest rows of a table, at most so many; only they are explained.

    Parameters
    ----------
    rows : DataFrame or ndarray
        The table as the detector takes it.
    frame : DataFrame
        The same under the names of the model.
    detected : DataFrame
        What ``detect`` says of it.
    kept : DataFrame
        Columns to know a row by.
    """
    places = oddest_places(detected, most)
    explained, shape = Explained.of(detector, taken(rows, places), frame), detector.image_shape
    flagged, known = taken(detected, places), taken(kept, places)
    return [
        OddRow(
            row=place + 1,
            names=["" if is_missing(value) else short_text(value, MOST) for value in known.iloc[line]],
            score=float(flagged["anomaly_score"].iloc[line]),
            p_value=float(flagged["p_value"].iloc[line]),
            odd=bool(flagged["is_anomaly"].iloc[line]),
            usual=explained.usual(line),
            reasons=explained.reasons(line) if shape is None else None,
            pictures=None if shape is None else explained.pictures(line, shape, detector.schema_.to_json()["range"]),
        )
        for line, place in enumerate(places.tolist())
    ]


def oddest_places(detected: pd.DataFrame, most: int) -> np.ndarray:
    """Places of the rows of highest score, the oddest first; equally odd ones in the order of the table."""
    return np.argsort(-detected["anomaly_score"].to_numpy(dtype=np.float64), kind="stable")[:most]


def taken(rows: Any, places: np.ndarray) -> Any:
    """Some rows of a frame or an array."""
    return rows.iloc[places] if isinstance(rows, pd.DataFrame) else rows[places]
