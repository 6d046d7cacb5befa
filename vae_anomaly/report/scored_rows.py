"""The table of a report with the score of each row, and the rule that flags rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted, nats, percent, with_minus

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector


@dataclass(frozen=True)
class FlaggingRule:
    """At most one of the three criteria of `VAEDetector.detect`; without any, the model's threshold."""

    fdr: float | None = None
    alerts: int | None = None
    false_alarm_rate: float | None = None

    def detect(self, detector: "VAEDetector", rows: Any) -> pd.DataFrame:
        """Score, p-value and flag of each row."""
        return detector.detect(rows, fdr=self.fdr, alerts=self.alerts, false_alarm_rate=self.false_alarm_rate)

    def threshold(self, detector: "VAEDetector", flagged_scores: np.ndarray) -> float | None:
        """Anomaly score from which rows are flagged; None if a criterion flags no row."""
        if self == FlaggingRule():
            return -float(detector.offset_)
        return float(flagged_scores.min()) if len(flagged_scores) else None

    def sentence(self, detector: "VAEDetector", noun: str, unit: str) -> str:
        """The rule in words, with the singular noun for a row and the unit of scores."""
        flagged = f"{noun.capitalize()}s are flagged"
        if self.fdr is not None:
            return f"{flagged} so that, on average, at most {percent(self.fdr)} of them are false alarms."
        if self.alerts == 1:
            return f"The {noun} with the highest score is flagged."
        if self.alerts is not None:
            return f"The {self.alerts:,} {noun}s with the highest scores are flagged."
        if self.false_alarm_rate is not None:
            return f"{flagged} if at most {percent(self.false_alarm_rate)} of normal {noun}s score as high."
        return (
            f"{flagged} if they score above {with_minus(nats(-float(detector.offset_)))} {unit}, the model's threshold."
        )


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Rows with their anomaly scores, p-values and flags.

    ``rows`` are what the detector takes, ``frame`` is the table under the column names of the model, ``kept`` has the
    columns that identify a row.
    """

    rows: Any
    frame: pd.DataFrame
    kept: pd.DataFrame
    scores: np.ndarray
    p_values: np.ndarray
    flagged: np.ndarray

    @classmethod
    def of(
        cls,
        detector: "VAEDetector",
        X: pd.DataFrame | np.ndarray,
        keep: Sequence[str] | pd.DataFrame | None,
        rule: FlaggingRule,
    ) -> Self:
        """Score a table; ``keep`` has names of columns that identify a row, or is a frame with as many rows."""
        kept = _kept_columns(X, keep)
        rows: pd.DataFrame | np.ndarray = X
        if isinstance(X, pd.DataFrame):
            known = {*detector.schema_.names, *detector.schema_.left_out}  # the page lists the others: no warning
            frame, rows = X, X[[name for name in X.columns if name in known]]
        else:
            frame = pd.DataFrame(X, columns=[f"x{column}" for column in range(X.shape[1])], copy=False)
        detected = rule.detect(detector, rows)
        return cls(
            rows=rows,
            frame=frame,
            kept=kept,
            scores=detected["anomaly_score"].to_numpy(np.float64),
            p_values=detected["p_value"].to_numpy(np.float64),
            flagged=detected["is_anomaly"].to_numpy(bool),
        )

    def most_anomalous(self, n: int) -> np.ndarray:
        """Indices of the ``n`` rows with the highest scores, highest first; equal scores in the order of the table."""
        return np.argsort(-self.scores, kind="stable")[:n]

    def select(self, indices: np.ndarray) -> Any:
        """Rows for the detector."""
        return self.rows.iloc[indices] if isinstance(self.rows, pd.DataFrame) else self.rows[indices]


def _kept_columns(X: pd.DataFrame | np.ndarray, keep: Sequence[str] | pd.DataFrame | None) -> pd.DataFrame:
    if isinstance(keep, pd.DataFrame):
        if len(keep) != len(X):
            raise DataError(f"keep has {counted(len(keep), 'rows')}, and the table {len(X):,}. Give one for each row.")
        return keep
    names = list(keep or [])
    if names and not isinstance(X, pd.DataFrame):
        raise DataError("keep names columns, but X is an array without names. Give a DataFrame of the columns instead.")
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(index=range(len(X)))
    if missing := [name for name in names if name not in frame.columns]:
        raise DataError(f"There is no column {missing[0]!r} for keep. Name columns of X, or give a DataFrame of them.")
    return frame[names]
