"""The table of a report with the score and the flag of each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from vae_anomaly.data.parse import as_frame
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted
from vae_anomaly.scoring.decide import FlaggingRule

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Rows with their anomaly scores, p-values, severities from 0 to 100, and flags.

    ``rows`` are what the detector takes, ``frame`` is the table under the column names of the model, ``kept`` has the
    columns that identify a row.
    """

    rows: Any
    frame: pd.DataFrame
    kept: pd.DataFrame
    scores: np.ndarray
    p_values: np.ndarray
    severities: np.ndarray
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
        scored = detector.detect(
            rows, fdr=rule.fdr, alerts=rule.alerts, false_alarm_rate=rule.false_alarm_rate, method=rule.method
        )
        detected = as_frame(scored)
        return cls(
            rows=rows,
            frame=frame,
            kept=kept,
            scores=detected["anomaly_score"].to_numpy(np.float64),
            p_values=detected["p_value"].to_numpy(np.float64),
            severities=detected["severity"].to_numpy(np.float64),
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
