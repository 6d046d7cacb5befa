"""Reading tables of any library as pandas frames, and the values of a column as numbers, durations, dates or levels.

Reading a value never fails: rows whose value is of another kind are reported as misfits. Text is parsed once for each
distinct value, so a million rows of text cost little more than counting them. The given table is never modified.

The second half of the module stores arrays in the types of a table again: ``storage_of`` names how a column is stored,
and ``store_numbers``, ``store_durations``, ``store_instants`` and ``store_text`` convert to it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from numbers import Complex, Real
from os import PathLike
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import pandas as pd
from sklearn.utils.validation import check_array

from vae_anomaly.data.documents import damaged
from vae_anomaly.errors import DataError, RowError
from vae_anomaly.formatting import listed_names, shorten

PIECE_CELLS = 2**18  # processed together, 2 MiB: temporary arrays stay small compared with a long table
PIECE_ROWS = 2**8  # minimum, however wide the table


def is_frame(X: Any) -> bool:
    """True for a table with column names: pandas, polars, pyarrow, another that narwhals reads, records, columns."""
    if isinstance(X, pd.DataFrame | np.ndarray | list | dict):  # the common cases: narwhals takes long to rule them out
        is_dict = type(X) is dict  # scipy has a sparse matrix that is one as well
        return is_dict or isinstance(X, pd.DataFrame) or (isinstance(X, list) and type(next(iter(X), None)) is dict)
    return isinstance(nw.from_native(X, pass_through=True), nw.DataFrame | nw.LazyFrame)


def as_frame(X: Any) -> pd.DataFrame:
    """
    Convert a table to a pandas frame.

    Parameters
    ----------
    X
        A pandas or polars frame (lazy ones are collected), a pyarrow table, whatever else narwhals reads, a list of
        records or a dict of columns, or a two-dimensional array, whose columns are then called 0, 1, ...; values under
        a numpy mask are missing.

    Returns
    -------
    pandas.DataFrame
        A pandas frame is returned as it is. Other frames may share memory with the input, so do not write to them.

    Raises
    ------
    DataError
        If ``X`` is no table, or a column name is repeated or neither text nor a whole number.
    """
    frame = X
    if isinstance(X, np.ndarray):
        if X.ndim != 2:
            raise DataError(f"A table has two dimensions, rows and columns; this array has {X.ndim}. Reshape it.")
        if isinstance(X, np.ma.MaskedArray):
            values = np.array(X.data, dtype=np.float64 if X.dtype.kind in "biuf" else object)
            values[np.ma.getmaskarray(X)] = np.nan
            X = values
        frame = pd.DataFrame(X, copy=False)
    elif isinstance(X, dict | list) and is_frame(X):
        try:
            frame = pd.DataFrame(X)
        except ValueError as error:
            raise DataError(
                f"These columns are no table: {str(error).rstrip('.')}. Give lists of equal length."
            ) from error
    elif not isinstance(X, pd.DataFrame):
        table = nw.from_native(X, pass_through=True)
        if isinstance(table, nw.LazyFrame):
            table = table.collect()
        if not isinstance(table, nw.DataFrame):
            expected = "pandas, polars, pyarrow, or a 2-D array"
            raise DataError(f"A table was expected ({expected}), not {type(X).__name__!r}.")
        frame = table.to_pandas()
    column_names(frame)
    return frame


def column_names(frame: pd.DataFrame) -> list[str | int]:
    """Names of the columns as plain text and whole numbers; any other name, or a repeated one, is a DataError."""
    names: list[str | int] = []
    for name in frame.columns.tolist():
        if isinstance(name, str):
            names.append(str(name))
        elif isinstance(name, int | np.integer) and not isinstance(name, bool):
            names.append(int(name))
        else:
            fault = f"Column names must be text or whole numbers; the table has {name!r}"
            raise DataError(f"{fault}. Rename that column.")
    if len(set(names)) < len(names):
        repeated = [name for name, times in Counter(names).items() if times > 1]
        found = f"the table has {listed_names(repeated)} more than once"
        raise DataError(f"Column names must differ; {found}. Rename them.")
    return names


def index_of(X: Any) -> pd.Index | None:
    """Index of a pandas table; None for other tables, which have no row names."""
    return X.index if isinstance(X, pd.DataFrame) else None


def as_array(X: Any) -> np.ndarray:
    """Rows without column names as a float64 array, NaN where a numpy mask hides a value; else one sentence."""
    if isinstance(X, str | PathLike):
        file = f"read_table({str(X)!r})"
        raise DataError(f"{str(X)!r} is text, not a table. If it names a file, read it first: {file}, or Dataset(...).")
    if isinstance(X, pd.Series) or getattr(X, "ndim", 2) == 1:
        how = "X.to_frame() makes a column, X.to_frame().T a row"
        how = how if isinstance(X, pd.Series) else "X.reshape(-1, 1) makes a column, X.reshape(1, -1) a row"
        found = f"Expected 2D array, got 1D array instead, of {len(X):,} values"
        raise DataError(f"{found}. Reshape your data: {how}.")
    values = np.ma.filled(X.astype(np.float64), np.nan) if isinstance(X, np.ma.MaskedArray) else X
    try:
        array: np.ndarray = check_array(values, dtype=np.float64, ensure_all_finite=False, estimator="VAEDetector")
    except (ValueError, TypeError) as error:
        fault = str(error).splitlines()[0].rstrip(":")
        if fault.startswith("Expected 2D array"):
            raise DataError(
                f"{fault}. Reshape your data: a table has rows and columns, as [[1.5, 2.0]] has."
            ) from error
        if is_frame(X):
            raise DataError("The model was fitted to rows without column names. Give rows of numbers.") from error
        if "could not convert string" not in fault:
            raise
        remedy = "Give a frame or a list of records, so that its columns have names."
        found = re.sub(r"np\.str_\((.*)\)", r"\1", fault.partition(": ")[2])
        raise DataError(f"Rows without column names hold numbers only; found {found}. {remedy}") from error
    return array


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with their positions as the index; no cell is copied."""
    frame = frame.copy(deep=False)
    frame.index = pd.RangeIndex(len(frame))
    return frame


def in_pieces_of_rows(frame: pd.DataFrame, rows: np.ndarray | None = None) -> Iterator[pd.DataFrame]:
    """Rows of a frame, or those at the positions ``rows``, in small pieces."""
    for piece in slices_of_rows(len(frame) if rows is None else len(rows), frame.shape[1]):
        yield frame.iloc[piece if rows is None else rows[piece]]


def slices_of_rows(n_rows: int, n_cells: int) -> Iterator[slice]:
    """Slices that cover ``n_rows`` rows of ``n_cells`` cells each, a small piece of the table per slice."""
    step = max(PIECE_ROWS, PIECE_CELLS // max(1, n_cells))
    return (slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step))


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the rows of frames with the same columns; category types are merged where they differ."""
    if len(frames) == 1:
        return frames[0]
    merged = {}
    for name, dtypes in zip(frames[0].columns, zip(*(frame.dtypes for frame in frames), strict=True), strict=True):
        if all(isinstance(dtype, pd.CategoricalDtype) for dtype in dtypes) and len(set(dtypes)) > 1:
            categories = dict.fromkeys(value for dtype in dtypes for value in dtype.categories)
            merged[name] = pd.CategoricalDtype(list(categories))
    return pd.concat([frame.astype(merged) for frame in frames] if merged else frames)


def fill(column: pd.Series, values: pd.Series, missing: np.ndarray) -> pd.Series:
    """The column, in its own type, with ``values`` where the mask ``missing`` (rows,) is true."""
    values = values.set_axis(column.index)
    if missing.all():
        return values
    if isinstance(column.dtype, pd.CategoricalDtype):
        new = values[missing].drop_duplicates()
        column = column.cat.add_categories(new[~new.isin(column.cat.categories)])
    return column.where(~missing, values.astype(column.dtype))


def holds_numbers(dtype: Any) -> bool:
    """True for a column type that holds real numbers or truth values, and nothing else."""
    if isinstance(dtype, np.dtype):
        return dtype.kind in "biuf"
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_complex_dtype(dtype):
        return False
    return bool(pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype))


def number_columns(frame: pd.DataFrame) -> np.ndarray:
    """Mask (columns,) of the columns whose type holds real numbers or truth values."""
    return np.array([holds_numbers(dtype) for dtype in frame.dtypes.tolist()], dtype=bool)


def number_matrix(frame: pd.DataFrame, chosen: np.ndarray) -> np.ndarray:
    """The columns of numbers in the mask ``chosen`` (columns,) as a float64 matrix, NaN where a value is missing."""
    numbers = frame if chosen.all() else frame.iloc[:, chosen]
    plain = np.array([isinstance(dtype, np.dtype) for dtype in numbers.dtypes.tolist()], dtype=bool)
    if plain.all():
        return numbers.to_numpy(np.float64)
    matrix = np.empty(numbers.shape)
    matrix[:, plain] = numbers.iloc[:, plain].to_numpy(np.float64)
    for index in np.flatnonzero(~plain).tolist():
        column: Any = numbers.iloc[:, index]
        matrix[:, index] = column.to_numpy(np.float64, na_value=np.nan)
    return matrix


def infinite(name: str | int, row: int) -> RowError:
    """Error for an infinite value; ``row`` is its position, from 0."""
    remedy = ". Replace the value by a number, or by NaN to have it count as missing."
    return RowError.at(f"Column {name!r} is infinite", row, remedy)


Level = str | int | float | bool
NO_INSTANT = int(np.iinfo(np.int64).min)  # NaT, as numpy stores it
MIDNIGHT = -(2**60 // 86_400_000_000) * 86_400_000_000  # of a time of day: in a year that no date has
LAST_INSTANT = 2**61  # µs; sums and differences of two instants still are int64
NO_MISFITS = np.empty(0, dtype=np.int64)
UNREADABLE = np.inf  # cell of a text that is no number, no duration, no truth value or no date
TRUTH_WORDS = {"true": 1.0, "false": 0.0}


def as_missing(cells: np.ndarray) -> np.ndarray:
    """Encoded cells with NaN where one is unreadable; the array itself if none is."""
    return np.where(unreadable, np.nan, cells) if np.any(unreadable := cells == UNREADABLE) else cells


class _Letters(dict[int, str]):
    """The sign that stands for a character: 9 for a digit, A and a for a letter, otherwise itself."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        kinds = ("9", letter.isdigit()), ("A", letter.isupper()), ("a", letter.isalpha()), (letter, True)
        self[code] = next(sign for sign, holds in kinds if holds)
        return self[code]


_LETTERS = _Letters()
_RUNS = (re.compile(r"([aA])\1+"), r"\1"), (re.compile(r"9{5,}"), "9999"), (re.compile(r"(\S+ )\1{2,}"), r"\1")


def shape_of(text: str) -> str:
    """Shape of a text: digits as 9, letters as A or a, long runs shortened; that of "INV-2024" is "A-9999".

    A run of letters becomes one, one of digits at most four, and words of one shape in a row become one.
    """
    shape = text.translate(_LETTERS)
    for runs, short in _RUNS:
        shape = runs.sub(short, shape)
    return shape


class Reading(NamedTuple):
    """One value for each row, and the positions of the rows whose value is of another kind."""

    values: np.ndarray
    misfits: np.ndarray


class Values:
    """
    The values of one column.

    Parameters
    ----------
    name
        Name of the column, for messages.
    series
        The values.
    rows
        Position in the whole table of each row; None if ``series`` holds all rows.

    Attributes
    ----------
    is_number, is_date, is_duration, is_category
        True if the column's type holds real numbers or truth values, dates, durations, or categories.
    is_text, is_truth
        True if every value is text, or a truth value.
    """

    def __init__(self, name: str | int, series: pd.Series, rows: pd.Index | None = None) -> None:
        self.name = name
        self.series = series
        self._rows = rows
        dtype: Any = series.dtype
        kind = getattr(dtype, "kind", "")
        self.is_number, self.is_date, self.is_duration = holds_numbers(dtype), kind == "M", kind == "m"
        self.is_category = isinstance(dtype, pd.CategoricalDtype)
        self.is_text, self.is_truth = False, self.is_number and kind == "b"
        if not (self.is_number or self.is_date or self.is_duration):
            distinct = self.factors[1]
            inferred = pd.api.types.infer_dtype(distinct, skipna=True)
            self.is_text, self.is_truth = inferred == "string", inferred == "boolean"
            if not (self.is_text or self.is_category) and any(map(_is_compound, distinct)):
                raise self._nested()

    @cached_property
    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct values, and for each row the index of its value among them, -1 where missing."""
        if self.is_category:
            return self.series.cat.codes.to_numpy(), np.asarray(self.series.cat.categories, dtype=object)
        try:
            indices, found = pd.factorize(self.series)
        except (TypeError, NotImplementedError):  # unhashable: lists, dicts, sets, arrays; and lists of pyarrow's
            raise self._nested() from None
        return indices, np.asarray(found, dtype=object)

    @cached_property
    def numbers(self) -> Reading:
        """The values as float64; truth values are 0 and 1, text is parsed, and empty text or "nan" is missing."""
        if self.is_number:
            return Reading(self.series.to_numpy(np.float64, na_value=np.nan), NO_MISFITS)
        if self.is_date or self.is_duration:
            return Reading(np.full(len(self.series), np.nan), np.flatnonzero(self.series.notna()))
        indices, distinct = self.factors
        likely = np.ones(len(distinct), dtype=bool)
        if self.is_text:
            # pandas finds numbers quickly, but parses them to a precision that depends on the others: Python does not.
            likely = pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce").notna().to_numpy()
        numbers = np.full(len(distinct) + 1, np.nan)  # the last is for missing values, whose index is -1
        numbers[:-1][likely] = [_number(value) for value in distinct[likely]]
        misfits = np.isnan(numbers)
        misfits[-1] = False
        for index in np.flatnonzero(misfits):
            misfits[index] = str(distinct[index]).strip().lower() not in {"", "nan"}
        return Reading(numbers[indices], np.flatnonzero(misfits[indices]))

    @cached_property
    def truths(self) -> Reading:
        """The values as 1 and 0, also where a text file has them in words; other numbers are unchanged."""
        numbers, misfits = self.numbers
        if self.is_number or not len(misfits):
            return self.numbers
        indices, distinct = self.factors
        words = [TRUTH_WORDS.get(value.lower(), np.nan) if isinstance(value, str) else np.nan for value in distinct]
        found = np.array([*words, np.nan])[indices]
        return Reading(np.where(np.isnan(found), numbers, found), misfits[np.isnan(found[misfits])])

    @cached_property
    def durations(self) -> Reading:
        """The values as seconds in float64."""
        if not self.is_duration and (self.is_number or self.is_date):
            return Reading(np.full(len(self.series), np.nan), np.flatnonzero(self.series.notna()))
        if not self.is_duration:  # objects, not all of which are durations
            indices, distinct = self.factors
            known = [isinstance(value, timedelta | np.timedelta64) for value in distinct]
            seconds = [
                pd.Timedelta(value).total_seconds() if k else np.nan for value, k in zip(distinct, known, strict=True)
            ]
            misfits = np.flatnonzero(~np.array([*known, True])[indices])
            return Reading(np.array([*seconds, np.nan])[indices], misfits)
        return Reading(self.series.dt.total_seconds().to_numpy(np.float64, na_value=np.nan), NO_MISFITS)

    @cached_property
    def instants(self) -> Reading:
        """The values as int64 microseconds since 1970 in UTC, of times of day since `MIDNIGHT`; text is in ISO 8601."""
        dtype: Any = self.series.dtype
        if self.is_date and isinstance(dtype, np.dtype | pd.DatetimeTZDtype):
            return Reading(_microseconds(self.series), NO_MISFITS)
        if self.is_number or self.is_duration:
            return Reading(np.full(len(self.series), NO_INSTANT), np.flatnonzero(self.series.notna()))
        indices, distinct = self.factors
        instants = np.array([*map(_instant, distinct), NO_INSTANT], dtype=np.int64)
        misfits = instants == NO_INSTANT
        misfits[-1] = False  # missing values
        return Reading(instants[indices], np.flatnonzero(misfits[indices]))

    def as_text(self) -> "Values":
        """Every value as its own text, so that 1 and True, or 1 and 1.0, stay two values; `as_labels` of numbers."""
        if self.is_number and not self.is_truth:
            return self.as_labels()
        return Values(self.name, self.series.astype(object).map(str, na_action="ignore"), self._rows)

    def as_labels(self) -> "Values":
        """Every value as text, and every number, also one that is text, as its `label_of`."""
        indices, distinct = self.factors
        labels = np.array([*map(label_of, distinct), None], dtype=object)[indices]
        return Values(self.name, pd.Series(labels, index=self.series.index, dtype=object), self._rows)

    def without(self, rows: np.ndarray) -> "Values":
        """The values except those in some rows of the series."""
        kept = np.delete(np.arange(len(self.series)), rows)
        positions = pd.RangeIndex(len(self.series)) if self._rows is None else self._rows
        return Values(self.name, self.series.iloc[kept], positions[kept])

    def position(self, row: int) -> int:
        """Position in the whole table, from 0, of a row of the series."""
        return row if self._rows is None else int(self._rows[row])

    def found(self, row: int) -> str:
        """Text for the value in a row, with its type."""
        value = self.series.iloc[row]
        match value:
            case bool() | np.bool_():
                return f"truth value {bool(value)}"
            case datetime() | date() | np.datetime64() | pd.Period():
                return f"date {value}"
            case pd.Timedelta():
                return f"duration {value}"
            case Real() | Decimal():
                return f"number {value}"
        return f"{'text' if isinstance(value, str) else type(value).__name__} {shorten(repr(value))}"

    def _nested(self) -> RowError:
        row = next(row for row, value in enumerate(self.series) if _is_compound(value))
        allowed = "a cell holds one number, text, date or truth value"
        fault = f"Column {self.name!r} has {self.found(row)}"
        return RowError.at(fault, self.position(row), f"; {allowed}. Split it into columns, or leave the column out.")


def scalar(value: Any) -> Level:
    """The JSON scalar that stands for a value as a level: the value itself if it is one, otherwise its text."""
    if isinstance(value, str):
        return str(value)
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if isinstance(plain, bool | int) or (isinstance(plain, float) and np.isfinite(plain)) else str(value)


def label_of(value: Any) -> str:
    """The text of a value; a number, also one that is text, without zeros at its ends: 12 for 12.0 and "012"."""
    text = str(value)
    try:
        number = Decimal("nan" if "_" in text else text)
    except InvalidOperation:
        return text
    return f"{(number + 0).normalize():f}" if number.is_finite() else text


def _is_compound(value: Any) -> bool:
    compound = isinstance(value, list | dict | set | frozenset | np.ndarray | pd.Series)
    return compound or (isinstance(value, Complex) and not isinstance(value, Real))


def _number(value: Any) -> float:
    """The number that a value is or spells; NaN for anything else."""
    spells = "_" not in value if isinstance(value, str) else isinstance(value, Real | Decimal | np.bool_)
    if not spells:
        return np.nan
    try:
        return float(value)
    except ValueError:
        return np.nan
    except OverflowError:  # a whole number beyond 1.8e308
        return np.inf


def _microseconds(series: pd.Series) -> np.ndarray:
    """Microseconds since 1970 in UTC of a column of numpy dates."""
    naive = series.dt.tz_convert(None) if isinstance(series.dtype, pd.DatetimeTZDtype) else series
    stored = naive.to_numpy()
    counts, unit = stored.view(np.int64), np.datetime_data(stored.dtype)[0]
    if unit == "ns":
        return np.where(counts == NO_INSTANT, NO_INSTANT, counts // 1_000)
    factor = {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
    most = LAST_INSTANT // factor
    return np.where(counts == NO_INSTANT, NO_INSTANT, np.clip(counts, -most, most) * factor)


def _instant(value: Any) -> int:
    """Microseconds since 1970 in UTC of the date or time of day that a value is or spells; otherwise NO_INSTANT."""
    try:
        match value:
            case str() if value[4:5] == value[7:8] == "-":
                moment = datetime.fromisoformat(value)
            case str() if value[2:3] == ":":
                return _since_midnight(time.fromisoformat(value))
            case time():
                return _since_midnight(value)
            case pd.Timestamp() | np.datetime64():
                moment = pd.Timestamp(value).to_pydatetime(warn=False)
            case datetime():
                moment = value
            case date():
                moment = datetime(value.year, value.month, value.day)
            case pd.Period():
                moment = datetime(value.year, value.month, value.day, value.hour, value.minute, value.second)
            case _:
                return NO_INSTANT
        since = moment - datetime(1970, 1, 1, tzinfo=None if moment.tzinfo is None else UTC)
    except (ValueError, OverflowError):
        return NO_INSTANT
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _since_midnight(moment: time) -> int:
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return MIDNIGHT + seconds * 1_000_000 + moment.microsecond


TEXT, DECIMAL, TRUTH = "text", "decimal", "object"  # stored as Python objects; every other storage names a dtype
TEXT_DTYPES: dict[str, Any] = {"str": pd.Series([""]).dtype, "object": object, "string": "string"}


def storage_of(values: Values) -> str:
    """Name of the way in which numbers, truth values, durations or dates are stored."""
    dtype: Any = values.series.dtype
    if values.is_text:
        return TEXT
    if dtype.kind == "O" and isinstance(dtype, np.dtype):
        if values.is_truth:
            return TRUTH
        if len(values.instants.misfits) == 0:
            return "datetime64[us]"
        return DECIMAL if all(isinstance(value, Decimal) for value in values.factors[1]) else "float64"
    dtype = dtype.subtype if isinstance(dtype, pd.SparseDtype) else dtype
    try:
        if pd.api.types.pandas_dtype(str(dtype)) == dtype:
            return str(dtype)
    except (TypeError, ValueError, NotImplementedError):
        pass  # a type that its name does not lead back to
    return "datetime64[us, UTC]" if isinstance(dtype, pd.DatetimeTZDtype) else DECIMAL


def check_storage(storage: str, kinds: str) -> str:
    """The storage itself; a ModelFileError unless it is of one of these kinds (numpy's letters, O for objects)."""
    if _storage_kind(storage) not in kinds:
        raise damaged("storage", "the name of a column type")
    return storage


@lru_cache(256)
def _storage_kind(storage: str) -> str:
    if storage in {TEXT, DECIMAL, TRUTH}:
        return "O"
    try:
        dtype: Any = pd.Series([], dtype=storage).dtype
    except (TypeError, ValueError, NotImplementedError, AttributeError):
        return "unknown"
    if str(dtype) != storage or isinstance(dtype, pd.SparseDtype):
        return "unknown"
    is_date = isinstance(dtype, pd.PeriodDtype) or dtype.type is date
    return "M" if is_date else dtype.kind if dtype.kind in "biufmM" else "unknown"


def store_numbers(numbers: np.ndarray, storage: str) -> pd.Series:
    """Store floats, NaN where missing, clipped to the range of the type and rounded if it holds whole numbers."""
    missing = np.isnan(numbers)
    match storage:
        case "text":
            return store_text(_with_gaps([f"{number:.15g}" for number in numbers], missing), "str")
        case "decimal":
            return pd.Series(_with_gaps([Decimal(f"{number:.15g}") for number in numbers], missing), dtype=object)
        case "object":
            return pd.Series(_with_gaps((numbers == 1).tolist(), missing), dtype=object)
    dtype: Any = pd.api.types.pandas_dtype(storage)
    nearest = _nearest(np.where(missing, 0.0, numbers), np.dtype(getattr(dtype, "numpy_dtype", dtype)))
    series = pd.Series(nearest).astype(dtype)
    return series.mask(missing) if missing.any() else series


def _nearest(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The nearest values of a numpy type."""
    if dtype.kind == "b":
        return np.equal(numbers, 1)
    if dtype.kind == "f":
        return np.clip(numbers, float(np.finfo(dtype).min), float(np.finfo(dtype).max)).astype(dtype)
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    too_large = numbers >= float(most)  # float64 has no 2**63 - 1, only 2**63
    nearest = np.rint(np.clip(np.where(too_large, 0.0, numbers), float(least), None)).astype(dtype)
    nearest[too_large] = most
    return nearest


def _with_gaps(values: list[Any], missing: np.ndarray) -> list[Any]:
    return [None if gap else value for value, gap in zip(values, missing, strict=True)]


def store_durations(seconds: np.ndarray, storage: str) -> pd.Series:
    """Store seconds, NaN where missing, as durations, clipped to the range of the type."""
    dtype: Any = pd.api.types.pandas_dtype(storage)
    plain = np.dtype(getattr(dtype, "numpy_dtype", dtype))
    units_a_second = {"s": 1e0, "ms": 1e3, "us": 1e6, "ns": 1e9}[np.datetime_data(plain)[0]]
    counts = np.clip(seconds * units_a_second, -9.2e18, 9.2e18)  # int64
    missing = np.isnan(counts)
    whole = np.where(missing, np.iinfo(np.int64).min, np.rint(np.where(missing, 0.0, counts)).astype(np.int64))
    return pd.Series(whole.view(plain)).astype(dtype)


def store_instants(microseconds: np.ndarray, storage: str, *, has_time: bool) -> pd.Series:
    """Store int64 microseconds since 1970, NO_INSTANT where missing, as dates, clipped to the years of the type."""
    moments = np.clip(
        microseconds.view("datetime64[us]"), np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-30", "us")
    )
    if storage == TEXT:
        texts = np.datetime_as_string(moments, unit=None if has_time else "D").tolist()
        return store_text(_with_gaps([text.removesuffix(".000000") for text in texts], np.isnat(moments)), "str")
    dtype: Any = pd.api.types.pandas_dtype(storage)
    if "ns" in storage:
        moments = np.clip(moments, np.datetime64("1677-09-23", "us"), np.datetime64("2262-04-10", "us"))
    series = pd.Series(moments)
    match dtype:
        case pd.PeriodDtype():
            frequency: Any = dtype.freq
            return series.dt.to_period(frequency)
        case pd.DatetimeTZDtype():
            return series.dt.tz_localize("UTC").astype(dtype)
    return series.astype(dtype)


def store_labels(labels: Sequence[Level | None], storage: str) -> pd.Series:
    """Store labels of numbers as numbers; None and text that is no number are missing."""
    numbers = pd.to_numeric(pd.Series(list(labels), dtype=object), errors="coerce")
    return numbers if str(numbers.dtype) == storage else store_numbers(numbers.to_numpy(np.float64), storage)


def store_text(texts: Sequence[Any], storage: str) -> pd.Series:
    """Store text, None where missing."""
    return pd.Series(list(texts), dtype=TEXT_DTYPES[storage])
