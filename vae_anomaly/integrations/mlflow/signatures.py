"""The MLflow signature of a detector, and the conversion of tables into its form and back.

JSON and CSV have numbers and text. Numbers are therefore declared double, whole numbers and flags of 0 and 1 included,
since a column of whole numbers with a missing cell has floats. All else is declared string: categories, dates,
durations, and truth values, which a CSV has in words. A missing cell is NaN, null, or empty.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

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
_TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


@dataclass(frozen=True)
class Form:
    """Type of a column in the signature, and its conversion into a request and back."""

    kind: DataType
    write: Callable[[Values], pd.Series]
    read: Callable[[pd.Series], pd.Series] = lambda series: series


def signature_of(detector: VAEDetector) -> ModelSignature:
    """Signature of ``pyfunc.predict``; for a model of arrays, the columns have no names."""
    inputs: list[Any] = [ColSpec(DataType.double)] * detector.n_features_in_
    if detector.model_.is_frame:
        inputs = [ColSpec(form.kind, str(name)) for name, form in _forms(detector).items()]
    answer = [ColSpec(kind, name) for name, kind in _ANSWER.items()]
    outputs: list[Any] = [*answer, ColSpec(DataType.string, "reason", required=False)]
    params = [ParamSpec(name, kind, default) for name, (kind, default) in PARAMETERS.items()]
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema(params))


def as_request(detector: VAEDetector, X: Any) -> pd.DataFrame:
    """
    Convert a table into the form of the signature, for ``pyfunc.predict``, JSON and CSV.

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
    """A row of ``X``, or of the training rows that the model keeps, in the form of the signature.

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


def as_trained(detector: VAEDetector, request: Any) -> Any:
    """Convert rows in the form of the signature into a table with the types of the training table.

    Raises
    ------
    DataError
        A column is missing, or has text where the signature has numbers.
    """
    if not detector.model_.is_frame:
        columns = (_numbers(series) for _, series in pd.DataFrame(request).items())
        return np.column_stack([*columns]).astype(np.float64)
    read = {}
    for name, form in _forms(detector).items():
        if str(name) not in request:
            raise DataError(f"The column {str(name)!r} is missing.")
        read[name] = form.read(request[str(name)])
    return pd.DataFrame(read)


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
            return _TRUTH
        case NumberColumn() | FlagColumn() | PixelColumn():
            return _NUMBER
        case CategoryColumn(are_numbers=True):
            return _NUMBER
        case CategoryColumn(storage="category"):
            others = {str(level): level for level in column.levels if not isinstance(level, str)}
            return Form(DataType.string, _text, partial(_levels, known=others)) if others else _TEXT
    return _TEXT


def _floats(values: Values) -> pd.Series:
    numbers, misfits = values.truths
    if len(misfits):
        row = int(misfits[0])
        fault = f"Column {values.name!r} has {values.found(row)}"
        raise RowError.at(fault, values.position(row), "; a request has numbers there. Score the row in Python.")
    return pd.Series(numbers, dtype=np.float64)


def _numbers(series: pd.Series) -> pd.Series:
    """The numbers of a request, where a text is an error: the signature promises numbers."""
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series
    numbers = pd.to_numeric(series, errors="coerce")
    misfits = np.flatnonzero(numbers.isna() & series.notna())
    if len(misfits):
        name: Any = series.name
        fault = f"Column {name!r} held numbers in fit; found {Values(name, series).found(misfits[0])}"
        raise RowError.at(fault, int(misfits[0]), ". Send a number, or leave the cell empty.")
    return numbers


def _text(values: Values) -> pd.Series:
    series = values.series
    texts = [None if missing else str(value) for value, missing in zip(series, series.isna(), strict=True)]
    return pd.Series(texts, dtype=object)


def _truths(series: pd.Series) -> pd.Series:
    """Truth values of themselves or of their names; other values stay, as unreadable cells."""
    return series.map(lambda value: _TRUTHS.get(str(value).strip().lower(), value), na_action="ignore")


def _durations(series: pd.Series) -> pd.Series:
    durations = pd.to_timedelta(series, errors="coerce")
    unreadable = durations.isna() & series.notna()
    return durations.astype(object).where(~unreadable, series) if unreadable.any() else durations


def _levels(series: pd.Series, known: Mapping[str, Level]) -> pd.Series:
    return series.map(lambda value: known.get(str(value), value), na_action="ignore")


_NUMBER = Form(DataType.double, _floats, _numbers)
_TEXT = Form(DataType.string, _text)
_TRUTH = Form(DataType.string, _text, _truths)
_DURATION = Form(DataType.string, _text, _durations)
