"""A table beside what the detector says of each of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted
from vae_anomaly.report.rule import Rule

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows with their anomaly scores (high is odd), p-values, and whether each is flagged.

    ``rows`` are what the detector takes, ``frame`` is the table under the names of the model, ``kept`` are columns to
    know a row by.
    """

    rows: Any
    frame: pd.DataFrame
    kept: pd.DataFrame
    scores: np.ndarray
    p_values: np.ndarray
    odd: np.ndarray

    @classmethod
    def of(
        cls,
        detector: "VAEDetector",
        X: pd.DataFrame | np.ndarray,
        keep: Sequence[str] | pd.DataFrame | None,
        rule: Rule,
    ) -> Self:
        """Judge a table by a rule; the columns to keep are named ones of it, or a frame with as many rows."""
        kept, rows = _kept(X, keep), _without_strangers(detector, X)
        detected = rule.apply(detector, rows)
        return cls(
            rows=rows,
            frame=_under_names_of_the_fit(X),
            kept=kept,
            scores=detected["anomaly_score"].to_numpy(np.float64),
            p_values=detected["p_value"].to_numpy(np.float64),
            odd=detected["is_anomaly"].to_numpy(bool),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def oddest(self, most: int) -> np.ndarray:
        """Places of the rows of highest score, the oddest first; equally odd ones in the order of the table."""
        return np.argsort(-self.scores, kind="stable")[:most]

    def taken(self, places: np.ndarray) -> Any:
        """Some of the rows, for the detector."""
        return self.rows.iloc[places] if isinstance(self.rows, pd.DataFrame) else self.rows[places]


def _kept(X: pd.DataFrame | np.ndarray, keep: Sequence[str] | pd.DataFrame | None) -> pd.DataFrame:
    if isinstance(keep, pd.DataFrame):
        if len(keep) != len(X):
            raise DataError(f"keep has {counted(len(keep), 'rows')}, and the table {len(X):,}. Give one for each row.")
        return keep
    names = list(keep or [])
    if names and not isinstance(X, pd.DataFrame):
        raise DataError("keep names columns, but X is an array without names. Give a DataFrame of the columns instead.")
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(index=range(len(X)))
    if lacking := [name for name in names if name not in frame.columns]:
        raise DataError(f"There is no column {lacking[0]!r} for keep. Name columns of X, or give a DataFrame of them.")
    return frame[names]


def _under_names_of_the_fit(X: pd.DataFrame | np.ndarray) -> pd.DataFrame:
    """Columns of an array get the names that the model gave them."""
    if isinstance(X, pd.DataFrame):
        return X
    return pd.DataFrame(X, columns=[f"x{place}" for place in range(X.shape[1])], copy=False)


def _without_strangers(detector: "VAEDetector", X: pd.DataFrame | np.ndarray) -> pd.DataFrame | np.ndarray:
    """The table without columns that the model never saw: the page names them, so that nobody need be warned."""
    if not isinstance(X, pd.DataFrame):
        return X
    known = {*detector.schema_.names, *detector.schema_.left_out}
    return X[[name for name in X.columns if name in known]]
