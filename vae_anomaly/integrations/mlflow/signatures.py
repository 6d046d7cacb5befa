"""The MLflow signature of a detector, and the conversion of tables into requests and back.

The signature names the columns, and leaves their types to the detector: MLflow would refuse whole numbers where it has
a column of floats, floats where one of whole numbers has a missing cell, and a column of text without any text. JSON
and CSV have numbers and text only, so that dates, durations and truth values may be text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from vae_anomaly.data.columns import CategoryColumn, Column, DurationColumn, FlagColumn, NumberColumn
from vae_anomaly.data.parse import Level, Values
from vae_anomaly.data.pixels import PixelColumn
from vae_anomaly.detector import VAEDetector
from vae_anomaly.errors import DataError, RowError
from vae_anomaly.explain.explanation import rounded

PARAMETERS = {  # of predict: type and default
    "explain": (DataType.boolean, False),
    "fdr": (DataType.double, None),
    "alerts": (DataType.long, None),
    "false_alarm_rate": (DataType.double, None),
}
_ANSWER = {
    "anomaly_score": DataType.double,
    "p_value": DataType.double,
    "severity": DataType.double,
    "is_anomaly": DataType.boolean,
}


@dataclass(frozen=True)
class Form:
    """Conversion of a column into a request, and back."""

    write: Callable[[Values], pd.Series]
    read: Callable[[pd.Series], pd.Series] = lambda series: series


def signature_of(detector: VAEDetector) -> ModelSignature:
    """Signature of ``pyfunc.predict``; for a model of arrays, the columns have no names."""
    names = [str(name) for name in _forms(detector)] if detector.model_.is_frame else [None] * detector.n_features_in_
    inputs: list[Any] = [ColSpec(AnyType(), name) for name in names]
    answer = [ColSpec(kind, name) for name, kind in _ANSWER.items()]
    outputs: list[Any] = [*answer, ColSpec(DataType.string, "reason", required=False)]
    params = [ParamSpec(name, kind, default) for name, (kind, default) in PARAMETERS.items()]
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema(params))


def as_request(detector: VAEDetector, X: Any) -> pd.DataFrame:
    """
    Convert a table into numbers and text, which a request in JSON or CSV and a frame of Spark have.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    X : DataFrame or array-like
        (rows, columns), as the detector takes them.

    Returns
    -------
    DataFrame
        Columns of float64, and of text with None for missing cells.

    Examples
    --------
    >>> import pandas as pd
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.integrations.mlflow import as_request
    >>> table = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=40), "count": [3, 5, 4, 6] * 10})
    >>> detector = VAEDetector(max_iter=20, random_state=0).fit(table)
    >>> as_request(detector, table)[:1].to_dict("records")
    [{'day': '2026-01-01 00:00:00', 'count': 3.0}]
    """
    table = detector.model_.frame_of(X)
    detector.model_.encode(X)  # raises what the detector would raise
    if not detector.model_.is_frame:
        return table.copy()
    forms = _forms(detector).items()
    written = {str(name): form.write(Values(name, table[name].reset_index(drop=True))) for name, form in forms}
    return pd.DataFrame(written).set_axis(table.index)


def example_of(detector: VAEDetector, X: Any = None) -> pd.DataFrame:
    """A row of ``X``, or of the training rows that the model keeps, as a request.

    It is the first row without a missing or unreadable cell, if there is one.
    """
    if X is None:
        kept = detector.model_.reference.cells
        X = rounded(detector.schema_.decode(kept[_first(np.isfinite(kept).all(axis=1))]))
        if not detector.model_.is_frame:  # columns that the model does not use are ignored
            X = X.reindex(columns=detector.model_.inputs, fill_value=0.0).to_numpy(dtype=np.float64)
    table = detector.model_.frame_of(X)
    chosen = table.iloc[_first(table[detector.schema_.names].notna().all(axis=1).to_numpy())].reset_index(drop=True)
    return as_request(detector, chosen if detector.model_.is_frame else chosen.to_numpy())


def as_trained(detector: VAEDetector, rows: Any) -> Any:
    """Convert rows of a request, or of any frame, into a table that the detector takes.

    Raises
    ------
    DataError
        A column is missing, or a model of arrays is given text.
    """
    if not detector.model_.is_frame:
        columns = (numbers_of(series) for _, series in pd.DataFrame(rows).items())
        return np.column_stack([*columns]).astype(np.float64)
    read = {}
    for name, form in _forms(detector).items():
        if str(name) not in rows:
            raise DataError(f"The column {str(name)!r} is missing.")
        read[name] = form.read(rows[str(name)])
    return pd.DataFrame(read)


def number_columns(detector: VAEDetector) -> list[str]:
    """Names of the columns that have numbers in a request."""
    return [str(name) for name, form in _forms(detector).items() if form is _NUMBER]


def numbers_of(series: pd.Series) -> pd.Series:
    """The numbers of a column of a request; a RowError if a text is none."""
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series
    numbers = pd.to_numeric(series, errors="coerce")
    misfits = np.flatnonzero(numbers.isna() & series.notna())
    if len(misfits):
        name: Any = series.name
        fault = f"Column {name!r} held numbers in fit; found {Values(name, series).found(misfits[0])}"
        raise RowError.at(fault, int(misfits[0]), ". Send a number, or leave the cell empty.")
    return numbers


def _first(complete: np.ndarray) -> np.ndarray:
    """Index of the first complete row, or else of the first row, (1,)."""
    return np.array([complete.argmax()])


def _forms(detector: VAEDetector) -> dict[str | int, Form]:
    """Form of each column in use, in the order of the table."""
    return {column.name: _form_of(column) for column in detector.schema_.columns}


def _form_of(column: Column | PixelColumn) -> Form:
    match column:
        case DurationColumn():
            return _DURATION
        case FlagColumn(storage="bool" | "boolean" | "object" | "bool[pyarrow]"):
            return _TEXT
        case NumberColumn() | FlagColumn() | PixelColumn() | CategoryColumn(are_numbers=True):
            return _NUMBER
        case CategoryColumn(storage="category"):
            others = {str(level): level for level in column.levels if not isinstance(level, str)}
            return Form(_text, partial(_levels, known=others)) if others else _TEXT
    return _TEXT


def _floats(values: Values) -> pd.Series:
    numbers, misfits = values.truths
    if len(misfits):
        row = int(misfits[0])
        fault = f"Column {values.name!r} has {values.found(row)}"
        raise RowError.at(fault, values.position(row), "; a request has numbers there. Score the row in Python.")
    return pd.Series(numbers, dtype=np.float64)


def _text(values: Values) -> pd.Series:
    series = values.series
    texts = [None if missing else str(value) for value, missing in zip(series, series.isna(), strict=True)]
    return pd.Series(texts, dtype=object)


def _durations(series: pd.Series) -> pd.Series:
    durations = pd.to_timedelta(series, errors="coerce")
    unreadable = durations.isna() & series.notna()
    return durations.astype(object).where(~unreadable, series) if unreadable.any() else durations


def _levels(series: pd.Series, known: Mapping[str, Level]) -> pd.Series:
    return series.map(lambda value: known.get(str(value), value), na_action="ignore")


_NUMBER = Form(_floats)
_TEXT = Form(_text)
_DURATION = Form(_text, _durations)
