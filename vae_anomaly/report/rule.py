"""The rule by which rows are flagged: the model's threshold, or one of the three that say how many to bear."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.formatting import counted, percent
from vae_anomaly.report.words import nats

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector


@dataclass(frozen=True)
class Rule:
    """At most one of the three; with none it is the threshold of the model."""

    fdr: float | None = None
    alerts: int | None = None
    false_alarm_rate: float | None = None

    def apply(self, detector: "VAEDetector", rows: Any) -> pd.DataFrame:
        """What ``detect`` says of the rows."""
        return detector.detect(rows, fdr=self.fdr, alerts=self.alerts, false_alarm_rate=self.false_alarm_rate)

    def line(self, detector: "VAEDetector", flagged: np.ndarray) -> float | None:
        """Score from which on rows are flagged, by the scores of those that are; None where none is."""
        if self == Rule():
            return -float(detector.offset_)
        return float(flagged.min()) if len(flagged) else None

    def in_words(self, detector: "VAEDetector", noun: str, unit: str) -> str:
        """One sentence on nouns, and scores in that unit."""
        nouns, one = f"{noun}s", f"{'An' if noun == 'image' else 'A'} {noun}"
        if self.fdr is not None:
            return f"{nouns.capitalize()} are flagged so that on average at most {percent(self.fdr)} are false alarms."
        if self.alerts is not None:
            return f"Flagged are the {counted(self.alerts, nouns)} with the highest scores."
        if self.false_alarm_rate is not None:
            return f"{one} is flagged where at most {percent(self.false_alarm_rate)} of normal {nouns} are as odd."
        return f"{one} is flagged where it scores above {nats(-float(detector.offset_))} {unit}, the model's threshold."
