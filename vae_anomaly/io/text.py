"""The cells of a text file as values: what its columns hold, found over all pieces of the file, and the values."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.formatting import listed
from vae_anomaly.io.notation import FEW, MISSING, TRIED, DayOrder, Name, Notation, Numbers, find_notation, refuse_order
from vae_anomaly.io.source import FileOptions

SNIFFED = 1_000  # cells that show how text is written
MOST_TOGETHER = 2**17  # cells
FLOAT = r"^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$"
EXACT = 2**53  # beyond it, not every whole number is a float64
INTEGERS = {"whole": pa.int64(), "unsigned": pa.uint64()}


class TextColumn:
    """
    What a column of a text file holds, from all its pieces.

    Whole numbers are whole only if all are; those of which a float64 would lose digits stay exact. Truth values and
    text, or truth values and numbers, make a column of text; so do whole numbers beyond 64 bits, which are codes.
    """

    def __init__(self) -> None:
        self.kinds: set[str] = set()  # of number, whole, unsigned (from 2**63), long (beyond 64 bits), truth, text
        self.has_missing = self.has_negative = self.is_inexact = False
        self.n_present = self.n_numbers = self.n_dates = 0
        self.order = DayOrder()

    def see(self, cells: Any, notation: Notation) -> None:
        """Take a piece into account."""
        numbers = notation.numbers(cells)
        n_present = len(cells) - numbers.cells.null_count
        self.n_present += n_present
        self.has_missing |= n_present < len(cells)
        if not n_present:
            return
        self.n_numbers += n_present if numbers.values is not None else numbers.count
        if numbers.values is not None:
            self._see_numbers(numbers)
            return
        texts = pc.unique(numbers.cells).drop_null()
        self.kinds.add("truth" if {*pc.unique(pc.utf8_lower(texts)).to_pylist()} <= {"true", "false"} else "text")
        self.n_dates += replace(notation, day_first=None).dates(cells)[1]
        if not notation.year_first:
            self.order.see(numbers.cells)

    def see_plain(self, n_rows: int, *, is_whole: bool, is_negative: bool) -> None:
        """Take a piece into account that holds numbers alone, if they are whole of fewer than 54 bits."""
        self.n_present += n_rows
        self.n_numbers += n_rows
        self.kinds.add("whole" if is_whole else "number")
        self.has_negative |= is_whole and is_negative

    def join(self, later: "TextColumn") -> None:
        """Take the pieces into account that another has seen, which follow those seen here."""
        self.kinds |= later.kinds
        self.has_missing |= later.has_missing
        self.has_negative |= later.has_negative
        self.is_inexact |= later.is_inexact
        self.n_present += later.n_present
        self.n_numbers += later.n_numbers
        self.n_dates += later.n_dates
        self.order.join(later.order)

    def settle(self, day_first: bool | None) -> None:
        """Decide on the order of day and month after the last piece."""
        counts = self.order.counts
        self.n_dates += 0 if day_first is None else counts[day_first] + counts[None]

    def _see_numbers(self, numbers: Numbers) -> None:
        values = _numpy(numbers.values)
        if numbers.values.null_count == len(values):
            return
        is_whole = np.isnan(values) | (np.rint(values) == values)
        if not is_whole.all() or not pc.all(pc.match_substring_regex(numbers.cells, r"^-?\d+$")).as_py():
            self.kinds.add("number")
            return
        largest, self.has_negative = np.nanmax(np.abs(values)), self.has_negative or bool(np.nanmin(values) < 0)
        self.is_inexact |= bool(largest >= EXACT)
        for kind, dtype in INTEGERS.items():
            try:
                pc.cast(numbers.cells, dtype)
            except pa.ArrowInvalid:
                continue
            self.kinds.add(kind)
            return
        self.kinds.add("long")

    @property
    def holds(self) -> str:
        """What it is: "empty", "number", "whole", "unsigned", "numbers and text", "truth", "dates" or "text"."""
        most = max(1.0, self.n_present * (1 - FEW))
        if "text" in self.kinds:
            return "numbers and text" if self.n_numbers >= most else "dates" if self.n_dates >= most else "text"
        match sorted(self.kinds):
            case []:
                return "empty"
            case ["truth"]:
                return "truth"
            case kinds if "truth" in kinds:
                return "text"
            case kinds if "number" in kinds:
                return "number"
            case kinds if "long" in kinds or ("unsigned" in kinds and self.has_negative):
                return "text"
            case kinds:
                return "unsigned" if "unsigned" in kinds else "whole"

    @property
    def are_floats(self) -> bool | None:
        """Whether the values are float64, or else int64; None if they may be neither."""
        holds = self.holds
        if holds not in ("number", "whole") or (holds == "whole" and self.is_inexact):
            return None
        return holds == "number" or self.has_missing

    def values(self, cells: Any, notation: Notation) -> pd.Series | np.ndarray:
        """The values of a piece."""
        match self.holds:
            case "empty" | "number":
                return _numpy(notation.numbers(cells).values)
            case "whole" | "unsigned" as holds:
                return self._whole(notation.numbers(cells).cells, INTEGERS[holds])
            case "truth":
                truths = pc.equal(pc.utf8_lower(notation.present(cells)), "true").to_pandas()
                return truths.astype(object).where(truths.notna(), np.nan) if self.has_missing else truths.astype(bool)
            case "numbers and text":
                return _texts(notation.numbers(cells).cells)
            case "dates":
                return _texts(notation.dates(cells)[0])
            case _:
                return _texts(notation.present(cells))

    def _whole(self, cells: Any, dtype: Any) -> pd.Series | np.ndarray:
        numbers = pc.cast(cells, dtype)
        if not self.has_missing:
            return _numpy(numbers)
        if not self.is_inexact:
            return _numpy(pc.cast(numbers, pa.float64()))
        missing = _numpy(pc.is_null(numbers))
        return pd.Series(pd.arrays.IntegerArray(_numpy(pc.fill_null(numbers, 0)), missing))


def read_as(name: Name, reading: str, cells: Any, notation: Notation) -> pd.Series | np.ndarray:
    """The values of a column of which it is known that it holds "numbers", "dates" or "text"; other cells are text."""
    match reading:
        case "numbers":
            numbers = notation.known_numbers(cells)
            return _texts(numbers.cells) if numbers.values is None else _numpy(numbers.values)
        case "dates":
            return _texts(_plain(name, reading, cells, notation))
        case _:
            return _texts(notation.present(cells))


def _numpy(cells: Any) -> np.ndarray:
    array: np.ndarray = cells.to_numpy(zero_copy_only=False)
    return array


def _texts(cells: Any) -> pd.Series:
    series: pd.Series = cells.to_pandas()
    return series


def settle_dates(
    columns: Mapping[Name, TextColumn], notation: Notation, options: FileOptions, source: str
) -> dict[Name, bool | None]:
    """The order of day and month of columns with dates such as 31/12/2024, as all rows show it, or as it is asked for.

    A column that does not show it is read like the others, or else as the first lines suggest, and is named in a
    warning. A column that contradicts what is asked for is a DataError.
    """
    orders: dict[Name, bool | None] = {}
    mixed, assumed = [], {}
    for name, column in columns.items():
        order = column.order
        if not order.examples:
            continue
        refuse_order(f"Column {name!r} of {source}", order, options.day_first)
        asked = options.day_first
        orders[name] = first = order.chosen(notation.day_first) if asked is None else asked
        column.settle(first)
        if order.is_mixed and asked is None:
            mixed.append(f"{name!r} ({order.examples[True]} and {order.examples[False]})")
        elif order.shown is None and notation.is_assumed and column.holds == "dates":
            assumed[name] = order.examples[None]
    if mixed:
        message = f"Dates of {listed(mixed)} have both the day and the month first, so these are text"
        warnings.warn(f"{message}. Write 2024-12-31, or say --dayfirst or --monthfirst.", DataWarning, stacklevel=4)
    warn_of_assumed_order(assumed, first=bool(notation.day_first))
    return orders


def warn_of_assumed_order(examples: Mapping[Name, str], *, first: bool) -> None:
    """Say which order of day and month was taken."""
    if examples:
        taken, other, option = ("day", "month", "--monthfirst") if first else ("month", "day", "--dayfirst")
        found = listed(f"{name!r} ({example})" for name, example in examples.items())
        message = f"Dates of {found} are read with the {taken} first; no cell shows the order. If the {other} comes"
        says = f"day_first={not first}"
        warnings.warn(f"{message} first, say {option} ({says} in Python).", DataWarning, stacklevel=5)


def warn_of_assumed_sign(examples: Mapping[Name, str], decimal: str) -> None:
    """Say how numbers such as 1,234 were read."""
    if examples:
        found = listed(f"{name!r} ({example.strip()})" for name, example in examples.items())
        taken, other = ("a decimal comma", ".") if decimal == "," else ("a comma between thousands", ",")
        message = f"Numbers of {found} are read with {taken}; no cell shows another sign. If that is wrong, say"
        warnings.warn(f"{message} --decimal {other!r} (decimal={other!r} in Python).", DataWarning, stacklevel=5)


@dataclass(frozen=True, eq=False)
class WrittenText:
    """
    The columns of text of a file whose columns have types, in which people may have written numbers and dates.

    Parameters
    ----------
    first
        The first cells of these columns that are not missing, arrow arrays.
    notation
        How the cells are written.
    """

    first: Mapping[Name, Any]
    notation: Notation

    @classmethod
    def of(cls, source: str, first: Mapping[Name, Any], options: FileOptions) -> "WrittenText":
        """What the first cells show; an error if they contradict the options, or these are about no column."""
        if not first and options.of_text:
            raise DataError(f"The columns of {source} have types, so {listed(options.of_text)} do not apply.")
        return cls(first, find_notation(source, {name: cells.to_pylist() for name, cells in first.items()}, options))

    @cached_property
    def reading(self) -> dict[Name, str]:
        """Which columns hold "numbers", and which "dates", that are written in another way than Python writes them."""
        reading: dict[Name, str] = {}
        for name, cells in self.first.items():
            if (pc.mean(pc.match_substring_regex(cells, r"\d")).as_py() or 0) < 1 - FEW:
                continue
            column, notation = TextColumn(), self.notation.of(name)
            column.see(cells, notation)
            column.settle(notation.day_first)
            kinds = {**read_kinds({name: column}), **({name: "numbers"} if column.holds == "numbers and text" else {})}
            if name in kinds and not _plain(name, kinds[name], cells, notation).equals(cells):
                reading |= kinds
        return reading

    def plain(self, frame: pd.DataFrame, reading: Mapping[Name, str]) -> pd.DataFrame:
        """Rows of the file, with the text of columns that hold numbers or dates as Python writes them."""
        names = [name for name in frame.columns if name in self.first and reading.get(name) in ("numbers", "dates")]
        plain = frame.copy(deep=False) if names else frame
        for name in names:
            cells = _plain(name, reading[name], _arrow(frame[name]), self.notation.of(name))
            plain[name] = _texts(cells).astype(frame[name].dtype).set_axis(frame.index)
        return plain


def present_texts(frame: pd.DataFrame, options: FileOptions) -> dict[Name, Any]:
    """The first cells of columns of text that are not missing, arrow arrays."""
    found: dict[Name, Any] = {}
    for name in frame.columns:
        cells = frame[name]
        if cells.dtype == "category" or pd.api.types.is_numeric_dtype(cells.dtype):
            continue
        present = cells[cells.notna() & ~cells.isin([*MISSING, *options.missing])][:SNIFFED]
        if pd.api.types.infer_dtype(present) == "string":
            found[name] = _arrow(present)
    return found


def _arrow(cells: pd.Series) -> Any:
    return pa.array(cells, pa.string(), from_pandas=True)


def _plain(name: Name, reading: str, cells: Any, notation: Notation) -> Any:
    """Text in which numbers or dates are written as Python writes them."""
    if reading == "numbers":
        return notation.known_numbers(cells).cells
    if notation.is_assumed and not notation.year_first:
        notation.refuse_other_order(name, cells)
    return notation.dates(cells)[0]


def warn_of_assumptions(reading: Mapping[Name, str], notations: Iterable[Notation]) -> None:
    """Say how dates and numbers that may be read in two ways are read.

    ``reading`` has what the columns hold, "numbers" or "dates", and ``notations`` are those of the files.
    """
    unsaid = {**reading}
    for notation in notations:
        known = {name: notation.of(name) for name in unsaid}
        dates = {name: one.open_dates for name, one in known.items() if one.open_dates and reading[name] == "dates"}
        numbers = {
            name: one.open_numbers for name, one in known.items() if one.open_numbers and reading[name] == "numbers"
        }
        short = {name: one.short_date for name, one in known.items() if one.short_date and reading[name] == "dates"}
        warn_of_assumed_order(dates, first=bool(notation.day_first))
        warn_of_assumed_sign(numbers, notation.decimal)
        if short:
            isos = {name: known[name].dates(pa.array([cell]))[0][0].as_py() for name, cell in short.items()}
            shown = listed(f"{name!r} ({cell}: {isos[name]})" for name, cell in short.items())
            message = f"Dates of {shown} are read with years from 1930 to 2029. If they are others, write 4 digits."
            warnings.warn(message, DataWarning, stacklevel=4)
        for name in {**dates, **numbers, **short}:
            del unsaid[name]


def read_kinds(columns: Mapping[Name, TextColumn]) -> dict[Name, str]:
    """Which columns hold "numbers", and which "dates"."""
    kinds = {"dates": "dates", "number": "numbers", **dict.fromkeys(INTEGERS, "numbers")}
    return {name: kinds[column.holds] for name, column in columns.items() if column.holds in kinds}


def texts_of(table: Any, names: Iterable[Name]) -> pd.DataFrame:
    """Columns as they stand in the file, no cell of them missing."""
    return pd.DataFrame({name: _texts(table.column(str(name))) for name in names}, index=pd.RangeIndex(len(table)))


def see_all(columns: Mapping[Name, TextColumn], table: Any, notation: Notation) -> None:
    """Take a piece of all columns into account."""
    rest = {name: table.column(str(name)) for name in columns}
    for names, values, cells in _plain_numbers(rest, notation):
        is_whole = (np.rint(values) == values).all(axis=1)
        if is_whole.any():
            is_whole &= _numpy(pc.match_substring_regex(cells, r"^-?\d+$")).reshape(values.shape).all(axis=1)
        largest, smallest = np.abs(values).max(axis=1), values.min(axis=1)
        for k, name in enumerate(names):
            if not (is_whole[k] and largest[k] >= EXACT):
                columns[name].see_plain(len(table), is_whole=bool(is_whole[k]), is_negative=bool(smallest[k] < 0))
                del rest[name]
    for name, some in rest.items():
        columns[name].see(some, notation.of(name))


def _plain_numbers(columns: Mapping[Name, Any], notation: Notation) -> Iterator[tuple[list[Name], np.ndarray, Any]]:
    """
    Columns of cells that are all numbers as Python writes them, some of these columns at a time.

    Gives names, values, an array (columns, rows), and cells, one column after the other. Arrow takes as long for a call
    as for thousands of cells: what is done to columns together costs 100,000 columns no more than a long one.
    """
    n_rows = len(next(iter(columns.values()), ()))
    names = [name for name in columns if notation.of(name).may_be_plain and not notation.missing]
    if not n_rows or not names:
        return
    first = _numpy(pc.match_substring_regex(_joined([columns[name][:TRIED] for name in names]), FLOAT))
    names = [names[k] for k in np.flatnonzero(first.reshape(len(names), -1).all(axis=1)).tolist()]
    step = max(1, MOST_TOGETHER // n_rows)
    for some in (names[start : start + step] for start in range(0, len(names), step)):
        cells = _joined([columns[name] for name in some])
        try:
            values = _numpy(pc.cast(cells, pa.float64())).reshape(len(some), n_rows)
        except pa.ArrowInvalid:  # a later cell is none
            continue
        if not np.isnan(values).any():  # nan is a missing cell
            yield some, values, cells


def _joined(columns: Sequence[Any]) -> Any:
    """Columns one after the other."""
    joined = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
    return joined.combine_chunks() if len(columns) > 1 else joined


def _frame(columns: Mapping[Name, Any], names: Iterable[Name], n_rows: int) -> pd.DataFrame:
    """Columns as a frame, made of few arrays: pandas takes long for each."""
    alike: dict[Any, list[Name]] = {}
    for name in names:
        values = columns[name]
        alike.setdefault(values.dtype if isinstance(values, np.ndarray) else None, []).append(name)
    index, parts = pd.RangeIndex(n_rows), []
    for dtype, some in alike.items():
        if dtype is None:
            parts.append(pd.DataFrame({name: columns[name] for name in some}, index=index))
        else:
            together = np.array([columns[name] for name in some]).T
            parts.append(pd.DataFrame(together, columns=some, index=index, copy=False))
    if len(parts) == 1:
        return parts[0]
    return pd.concat(parts, axis=1)[[*names]] if parts else pd.DataFrame(index=index)


def known_frame(table: Any, names: Iterable[Name], reading: Mapping[Name, str], notation: Notation) -> pd.DataFrame:
    """Columns of a piece of text as a model knows them: by default as text."""
    names = [*names]
    cells = {name: table.column(str(name)) for name in names}
    numbers = {name: cells[name] for name in names if reading.get(name) == "numbers"}
    found: dict[Name, Any] = {}
    for some, values, _ in _plain_numbers(numbers, notation):
        found |= zip(some, values, strict=True)
    for name in names:
        if name not in found:
            found[name] = read_as(name, reading.get(name, "text"), cells[name], notation.of(name))
    return _frame(found, names, len(table))


def typed_frame(
    table: Any, names: Iterable[Name], columns: Mapping[Name, TextColumn], notation: Notation
) -> pd.DataFrame:
    """Columns of a piece of text with the types of the whole file."""
    names = [*names]
    cells = {name: table.column(str(name)) for name in names}
    are_floats = {name: columns[name].are_floats for name in names}
    numbers = {name: cells[name] for name in names if are_floats[name] is not None}
    found: dict[Name, Any] = {}
    for some, values, _ in _plain_numbers(numbers, notation):
        for name, of_name in zip(some, values, strict=True):
            found[name] = of_name if are_floats[name] else of_name.astype(np.int64)
    for name in names:
        if name not in found:
            found[name] = columns[name].values(cells[name], notation.of(name))
    return _frame(found, names, len(table))
