"""Tables of any library as pandas frames, and the values of a column as numbers, durations, instants or levels.

Reading a value never fails: rows whose value is of another kind are its misfits. Work is done once for each distinct
value, so that a million rows of text cost little more than counting them. The table given is never modified.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from numbers import Complex, Real
from typing import Any, NamedTuple, Self

import narwhals as nw
import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError, RowError
from vae_anomaly.formatting import listed_names, shorten

PIECE_CELLS = 2**18  # looked at together: 2 MiB, so that what is computed on the way stays small beside a long table
PIECE_ROWS = 2**8  # however wide the table


def is_frame(X: Any) -> bool:
    """Whether ``X`` is a table with column names: pandas, polars, pyarrow, or another that narwhals reads."""
    if isinstance(X, pd.DataFrame | np.ndarray | list):  # the usual ones: narwhals takes its time to rule them out
        return isinstance(X, pd.DataFrame)
    return isinstance(nw.from_native(X, pass_through=True), nw.DataFrame | nw.LazyFrame)


def as_frame(X: Any) -> pd.DataFrame:
    """
    See a table as a pandas frame.

    Parameters
    ----------
    X
        A pandas or polars frame (lazy ones are collected), a pyarrow table, whatever else narwhals reads, or a
        two-dimensional array, whose columns are then called 0, 1, ...; values under a numpy mask are missing.

    Returns
    -------
    pandas.DataFrame
        The very frame that was given where it was one; it shares memory with the input and must not be written to.

    Raises
    ------
    DataError
        If ``X`` is no table, or a column name is repeated or neither text nor a whole number.
    """
    frame = X if isinstance(X, pd.DataFrame) else _from_array(X) if isinstance(X, np.ndarray) else _from_native(X)
    column_names(frame)
    return frame


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with their positions as the index; nothing is copied."""
    frame = frame.copy(deep=False)
    frame.index = pd.RangeIndex(len(frame))
    return frame


def in_pieces_of_rows(frame: pd.DataFrame, places: np.ndarray | None = None) -> Iterator[pd.DataFrame]:
    """Rows of a frame, or those at ``places``, a few at a time."""
    for rows in slices_of_rows(len(frame) if places is None else len(places), frame.shape[1]):
        yield frame.iloc[rows if places is None else places[rows]]


def slices_of_rows(n_rows: int, n_cells: int) -> Iterator[slice]:
    """All rows of a table of so many cells a row, a few at a time."""
    step = max(PIECE_ROWS, PIECE_CELLS // max(1, n_cells))
    return (slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step))


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames of the same columns below one another; categories that only some of them declare are declared in all."""
    if len(frames) == 1:
        return frames[0]
    dtypes = [frame.dtypes.tolist() for frame in frames]
    places = [place for place, types in enumerate(zip(*dtypes, strict=True)) if _differ_in_categories(types)]
    shared = {frames[0].columns[place]: _shared([types[place] for types in dtypes]) for place in places}
    return pd.concat([frame.astype(shared) for frame in frames] if shared else frames)


def _differ_in_categories(dtypes: Sequence[Any]) -> bool:
    return all(isinstance(dtype, pd.CategoricalDtype) for dtype in dtypes) and len(set(dtypes)) > 1


def _shared(dtypes: Sequence[pd.CategoricalDtype]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(list(dict.fromkeys(value for dtype in dtypes for value in dtype.categories)))


def fill(column: pd.Series, values: pd.Series, missing: np.ndarray) -> pd.Series:
    """The column with ``values`` where it is missing, in its own type; ``missing`` (rows,) says where."""
    values = values.set_axis(column.index)
    if missing.all():
        return values
    if isinstance(column.dtype, pd.CategoricalDtype):
        new = values[missing].drop_duplicates()
        column = column.cat.add_categories(new[~new.isin(column.cat.categories)])
    return column.where(~missing, values.astype(column.dtype))


def column_names(frame: pd.DataFrame) -> list[str | int]:
    """Names of the columns as plain text and whole numbers; anything else, or a name twice, is a DataError."""
    names = [_plain(name) for name in frame.columns.tolist()]
    if len(set(names)) < len(names):
        repeated = [name for name, times in Counter(names).items() if times > 1]
        raise DataError(
            f"Column names must differ; the table has {listed_names(repeated)} more than once. Rename them."
        )
    return names


def _plain(name: Any) -> str | int:
    match name:
        case str():
            return str(name)
        case int() | np.integer() if not isinstance(name, bool):
            return int(name)
    raise DataError(f"Column names must be text or whole numbers; the table has {name!r}. Rename that column.")


def _from_array(X: np.ndarray) -> pd.DataFrame:
    if X.ndim != 2:
        raise DataError(f"A table has two dimensions, rows and columns; this array has {X.ndim}. Reshape it.")
    if not isinstance(X, np.ma.MaskedArray):
        return pd.DataFrame(X, copy=False)
    values = np.array(X.data, dtype=np.float64 if X.dtype.kind in "biuf" else object)
    values[np.ma.getmaskarray(X)] = np.nan
    return pd.DataFrame(values)


def _from_native(X: Any) -> pd.DataFrame:
    table = nw.from_native(X, pass_through=True)
    if isinstance(table, nw.LazyFrame):
        table = table.collect()
    if not isinstance(table, nw.DataFrame):
        raise DataError(f"A table was expected (pandas, polars, pyarrow, or a 2-D array), not {type(X).__name__!r}.")
    return table.to_pandas()


Level = str | int | float | bool
NO_INSTANT = int(np.iinfo(np.int64).min)  # NaT, as numpy stores it
LAST_INSTANT = 2**61  # µs; sums and differences of two instants still are int64
_EPOCH, _EPOCH_UTC = datetime(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC)
_BLANK = {"", "nan"}  # text that says that there is no number
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}


class Reading(NamedTuple):
    """One value a row, and the positions of rows whose value is of another kind."""

    values: np.ndarray
    misfits: np.ndarray


class Values:
    """The values of one column under its name."""

    def __init__(self, name: str | int, series: pd.Series, rows: pd.Index | None = None) -> None:
        self.name = name
        self.series = series
        self._rows = rows  # positions in the whole table, where these are not all of its rows
        self.dtype: Any = series.dtype

    @classmethod
    def of(cls, frame: pd.DataFrame, place: int, name: str | int) -> Self:
        """Take one column of a frame."""
        series: Any = frame.iloc[:, place]
        return cls(name, series)

    @cached_property
    def missing(self) -> np.ndarray:
        """Whether each row has no value."""
        return self.series.isna().to_numpy(dtype=bool)

    @property
    def is_category(self) -> bool:
        """Whether the column is declared to hold categories."""
        return isinstance(self.dtype, pd.CategoricalDtype)

    @cached_property
    def is_truth(self) -> bool:
        """Whether the column holds truth values."""
        if pd.api.types.is_bool_dtype(self.dtype) and not self.is_category:
            return True
        return self._has_factors and _inferred(self.factors[1]) == "boolean"

    @cached_property
    def is_text(self) -> bool:
        """Whether every value is text."""
        return self._has_factors and _inferred(self.factors[1]) == "string"

    @property
    def is_duration(self) -> bool:
        """Whether the column holds durations."""
        return getattr(self.dtype, "kind", "") == "m"

    @property
    def _is_numeric(self) -> bool:
        return holds_numbers(self.dtype) or pd.api.types.is_complex_dtype(self.dtype)

    @property
    def _has_factors(self) -> bool:
        return not (self._is_numeric or self.is_duration or getattr(self.dtype, "kind", "") == "M")

    @cached_property
    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """For each row the position of its value among the distinct values, -1 where missing; and those values."""
        if self.is_category:
            return self.series.cat.codes.to_numpy(), np.asarray(self.series.cat.categories, dtype=object)
        try:
            codes, found = pd.factorize(self.series)
        except (TypeError, NotImplementedError):  # unhashable: lists, dicts, sets, arrays; and lists of pyarrow's
            raise self._nested() from None
        distinct = np.asarray(found, dtype=object)
        if _inferred(distinct) not in {"string", "empty"} and any(map(_is_compound, distinct)):
            raise self._nested()
        return codes, distinct

    def _nested(self) -> RowError:
        row = next(row for row, value in enumerate(self.series) if _is_compound(value))
        held = "a cell holds one number, text, date or truth value"
        fault = f"Column {self.name!r} has {self.found(row)}"
        return RowError.at(fault, self.position(row), f"; {held}. Split it into columns, or leave the column out.")

    @cached_property
    def numbers(self) -> Reading:
        """As float64; truth values are 0 and 1, text is parsed."""
        if pd.api.types.is_complex_dtype(self.dtype):
            raise self._nested()
        if self._is_numeric:
            return Reading(self.series.to_numpy(np.float64, na_value=np.nan), np.empty(0, dtype=np.int64))
        if not self._has_factors:
            return Reading(np.full(len(self.series), np.nan), self._all_present())
        return self._by_factor(_numbers, np.float64, np.nan)

    @cached_property
    def durations(self) -> Reading:
        """As seconds in float64."""
        if not self.is_duration:
            return Reading(np.full(len(self.series), np.nan), self._all_present())
        return Reading(self.series.dt.total_seconds().to_numpy(np.float64, na_value=np.nan), np.empty(0, np.int64))

    @cached_property
    def instants(self) -> Reading:
        """As int64 microseconds since 1970 in UTC; text is read as ISO 8601."""
        if isinstance(self.dtype, np.dtype | pd.DatetimeTZDtype) and self.dtype.kind == "M":
            return Reading(_microseconds(self.series), np.empty(0, dtype=np.int64))
        if self._is_numeric or self.is_duration:
            return Reading(np.full(len(self.series), NO_INSTANT), self._all_present())
        return self._by_factor(_instants, np.int64, NO_INSTANT)

    def levels(self) -> tuple[np.ndarray, list[Level]]:
        """For each row the position of its level, -1 where missing; and the levels."""
        codes, distinct = self.factors
        levels = [scalar(value) for value in distinct]
        places = {level: place for place, level in enumerate(dict.fromkeys(levels))}
        return _take(np.array([places[level] for level in levels], dtype=np.int64), codes, -1), list(places)

    def as_text(self) -> "Values":
        """Every value as its own text, so that 1 and True, or 1 and 1.0, stay two values."""
        return Values(self.name, self.series.astype(object).map(str, na_action="ignore"), self._rows)

    def position(self, place: int) -> int:
        """Position in the whole table of the row at a place, the first row being 0."""
        return place if self._rows is None else int(self._rows[place])

    def found(self, row: int) -> str:
        """Say in words what a row holds."""
        value = self.series.iloc[row]
        match value:
            case bool() | np.bool_():
                return f"truth value {bool(value)}"
            case str():
                return f"text {shorten(repr(value))}"
            case datetime() | date() | np.datetime64() | pd.Period():
                return f"date {value}"
            case pd.Timedelta():
                return f"duration {value}"
            case Real() | Decimal():
                return f"number {value}"
        return f"{type(value).__name__} {shorten(repr(value))}"

    def _all_present(self) -> np.ndarray:
        return np.flatnonzero(~self.missing)

    def _by_factor(self, read: Callable[[np.ndarray], Reading], dtype: type, missing: float) -> Reading:
        codes, distinct = self.factors
        values, misfits = read(distinct)
        bad = np.zeros(len(distinct), dtype=bool)
        bad[misfits] = True
        return Reading(_take(values.astype(dtype), codes, missing), np.flatnonzero(_take(bad, codes, False)))


def holds_numbers(dtype: Any) -> bool:
    """Whether a column of this type holds real numbers or truth values, and nothing else."""
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_complex_dtype(dtype):
        return False
    return bool(pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype))


def scalar(value: Any) -> Level:
    """Give the JSON scalar that stands for a value as a level: itself where it is one, otherwise its text."""
    if isinstance(value, str):
        return str(value)
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if isinstance(plain, bool | int) or (isinstance(plain, float) and np.isfinite(plain)) else str(value)


def _take(values: np.ndarray, codes: np.ndarray, missing: Any) -> np.ndarray:
    taken: np.ndarray = np.append(values, np.array([missing], dtype=values.dtype))[codes]  # -1 takes the last
    return taken


def _inferred(distinct: Any) -> str:
    return pd.api.types.infer_dtype(distinct, skipna=True)


def _is_compound(value: Any) -> bool:
    compound = isinstance(value, list | dict | set | frozenset | np.ndarray | pd.Series)
    return compound or (isinstance(value, Complex) and not isinstance(value, Real))


def _numbers(distinct: np.ndarray) -> Reading:
    if _inferred(distinct) == "string":
        # pandas tells numbers quickly, and reads them by the company they are in: Python reads each by itself.
        likely = pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce").notna().to_numpy()
    else:
        likely = np.ones(len(distinct), dtype=bool)
    numbers = np.full(len(distinct), np.nan)
    numbers[likely] = [_number(value) for value in distinct[likely]]
    none = np.flatnonzero(np.isnan(numbers))
    strays = [place for place in none if str(distinct[place]).strip().lower() not in _BLANK]
    return Reading(numbers, np.array(strays, dtype=np.int64))


def _number(value: Any) -> float:
    """Give the number that a value is or spells, NaN where it is none."""
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
    naive = series.dt.tz_convert(None) if isinstance(series.dtype, pd.DatetimeTZDtype) else series
    stored = naive.to_numpy()
    counts, unit = stored.view(np.int64), np.datetime_data(stored.dtype)[0]
    if unit == "ns":
        return np.where(counts == NO_INSTANT, NO_INSTANT, counts // 1_000)
    factor = _MICROSECONDS[unit]
    most = LAST_INSTANT // factor
    return np.where(counts == NO_INSTANT, NO_INSTANT, np.clip(counts, -most, most) * factor)


def _instants(distinct: np.ndarray) -> Reading:
    instants = [_instant(value) for value in distinct]
    strays = [place for place, instant in enumerate(instants) if instant == NO_INSTANT]
    return Reading(np.array(instants, dtype=np.int64), np.array(strays, dtype=np.int64))


def _instant(value: Any) -> int:
    """Microseconds since 1970 in UTC of the date that a value is or spells."""
    try:
        moment = _moment(value)
        if moment is None:
            return NO_INSTANT
        since = moment - (_EPOCH if moment.tzinfo is None else _EPOCH_UTC)
    except (ValueError, OverflowError):
        return NO_INSTANT
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        return datetime.fromisoformat(value) if value[4:5] == value[7:8] == "-" else None
    match value:
        case pd.Timestamp() | np.datetime64():
            return pd.Timestamp(value).to_pydatetime(warn=False)
        case datetime():
            return value
        case date():
            return datetime(value.year, value.month, value.day)
        case pd.Period():
            return datetime(value.year, value.month, value.day, value.hour, value.minute, value.second)
    return None


def index_of(X: Any) -> pd.Index | None:
    """The row names of a pandas table; other tables have none."""
    return X.index if isinstance(X, pd.DataFrame) else None


def unmasked(X: Any) -> Any:
    """Values hidden under a numpy mask are missing."""
    return np.ma.filled(X.astype(np.float64), np.nan) if isinstance(X, np.ma.MaskedArray) else X


def plain_numbers(frame: pd.DataFrame) -> np.ndarray:
    """Whether each column is stored as numbers or truth values of a numpy type."""
    dtypes = frame.dtypes.to_numpy()
    return np.array([isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes], dtype=bool)


def infinite(name: str | int, row: int) -> RowError:
    """The error that says where a value is infinite, the first row being 0."""
    remedy = ". Replace the value by a number, or by NaN to have it count as missing."
    return RowError.at(f"Column {name!r} is infinite", row, remedy)


def number_matrix(frame: pd.DataFrame, places: np.ndarray) -> np.ndarray:
    """Give columns of numbers of whatever type as one float64 matrix, NaN where a value is missing."""
    chosen = frame if len(places) == frame.shape[1] else frame.iloc[:, places]
    if plain_numbers(chosen).all():
        return chosen.to_numpy(np.float64)
    return np.column_stack([Values.of(chosen, place, "").numbers.values for place in range(len(places))])


def number_block(frame: pd.DataFrame, chosen: np.ndarray) -> np.ndarray:
    """Give the chosen columns of plain numbers as one float64 matrix."""
    return (frame if chosen.all() else frame.iloc[:, chosen]).to_numpy(np.float64)
