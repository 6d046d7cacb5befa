"""The oddest rows, each with its score and the reasons for it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vae_anomaly.formatting import is_missing, p_value, shorten
from vae_anomaly.report.judged import Judged
from vae_anomaly.report.pictures import Pictures
from vae_anomaly.report.reasons import Explained, Reasons
from vae_anomaly.report.words import MOST, nats

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
        return p_value(self.p_value)

    @property
    def surprise(self) -> float:
        """Nats beyond what is usual."""
        return self.score - self.usual


def oddest_rows(detector: "VAEDetector", judged: Judged, most: int) -> list[OddRow]:
    """The oddest rows, at most so many; only they are explained."""
    places, shape = judged.oddest(most), detector.image_shape
    explained = Explained.of(detector, judged.taken(places), judged.frame)
    extremes = (0.0, 1.0) if shape is None else detector.schema_.to_json()["range"]
    return [
        OddRow(
            row=place + 1,
            names=["" if is_missing(value) else shorten(value, MOST) for value in judged.kept.iloc[place]],
            score=float(judged.scores[place]),
            p_value=float(judged.p_values[place]),
            odd=bool(judged.odd[place]),
            usual=explained.usual(line),
            reasons=explained.reasons(line) if shape is None else None,
            pictures=None if shape is None else explained.pictures(line, shape, extremes),
        )
        for line, place in enumerate(places.tolist())
    ]
