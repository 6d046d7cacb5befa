"""Between a user's rows and the fitted model: what every answer of a detector begins and ends with."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted, validate_data

from vae_anomaly.errors import DataError
from vae_anomaly.fitted import Fitted
from vae_anomaly.tables import Dataset, as_frame, is_frame


class Rows:
    """A fitted model, and the way from rows to its cells and back."""

    _fitted: Fitted
    _inputs: pd.Index  # of its columns, as they came
    offset_: float

    def _checked(self) -> Fitted:
        """The fitted model, with the threshold as it stands now."""
        check_is_fitted(self)
        return replace(self._fitted, record=replace(self._fitted.record, offset=float(self.offset_)))

    def _encoded(self, X: Any) -> np.ndarray:
        """Rows to score as the model takes them, their columns held against those of the fit."""
        return self._checked().schema.encode(self._table(X, copy=False))

    def _table(self, X: Any, *, copy: bool = True) -> pd.DataFrame:
        """Rows to score as a frame; an array's columns are those of the fit. Without a copy it is only to be read."""
        fitted = self._checked()
        if isinstance(X, Dataset):
            way = "[detector.anomaly_score(piece) for piece in dataset.as_fitted(detector.schema_)]"
            raise DataError(f"A data set may be longer than its scores can be held. Score it piece by piece: {way}.")
        if is_frame(X) and fitted.frame:
            frame = as_frame(X)
            if not len(frame):
                raise DataError("The table to score has no rows; at least one is needed.")
            return frame
        array = validate_data(self, unmasked(X), reset=False, dtype=np.float64, ensure_all_finite=False)
        return pd.DataFrame(array, columns=self._inputs, index=index_of(X), copy=copy)

    def _decoded(self, cells: np.ndarray, index: pd.Index | None = None) -> Any:
        """Cells as rows of a table like the one in fit."""
        fitted = self._checked()
        frame = fitted.schema.decode(cells)
        if not fitted.frame:
            return frame.to_numpy(dtype=np.float64)
        return frame if index is None else frame.set_axis(index)


def index_of(X: Any) -> pd.Index | None:
    """The row names of a pandas table; other tables have none."""
    return X.index if isinstance(X, pd.DataFrame) else None


def unmasked(X: Any) -> Any:
    """Values hidden under a numpy mask are missing."""
    return np.ma.filled(X.astype(np.float64), np.nan) if isinstance(X, np.ma.MaskedArray) else X
