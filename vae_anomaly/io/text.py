"""The cells of a text file as values: what its columns hold, found over all pieces of the file, and the values.

Cells are arrow arrays of text. What a cell says does not depend on the other cells, so that a file read whole and in
pieces gives the same values: the decimal sign and the order of day and month are those of the file (`Notation`).
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from vae_anomaly.errors import DataWarning
from vae_anomaly.formatting import listed

Name = str | int

MISSING = (  # those of pandas.read_csv
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA")
    + ("NULL", "NaN", "None", "n/a", "nan", "null")
)
EXACT = 2**53  # beyond it, not every whole number is a float64
FEW = 0.1  # of the cells of a column of numbers or dates may be others
TRIED = 100  # cells
INTEGERS = {"whole": pa.int64(), "unsigned": pa.uint64()}
PLAIN = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity))$"
SEPARATORS = r"[.,'’\x{a0}\x{202f}]"

CURRENCY = r"[$€£¥₹]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD)\s|\s(?:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD)"
TIME = r"(?:[ T](\d{1,2}:\d{2}(?::\d{2})?))?"
DAY, MONTH, YEAR = r"(0?[1-9]|[12]\d|3[01])", r"(0?[1-9]|1[0-2])", r"(\d{4})"
YEAR_FIRST = rf"^{YEAR}/{MONTH}/{DAY}{TIME}$", r"\1-\2-\3T\4"
DAY_FIRST = rf"^{DAY}[/-]{MONTH}[/-]{YEAR}{TIME}$", r"\3-\2-\1T\4"
MONTH_FIRST = rf"^{MONTH}[/-]{DAY}[/-]{YEAR}{TIME}$", r"\3-\1-\2T\4"
UNCLEAR = rf"^\d{{1,2}}[/-]\d{{1,2}}[/-]\d{{4}}{TIME}$"  # without a day above 12, either may be the month
WITH_POINTS = rf"^{DAY}\.{MONTH}\.{YEAR}{TIME}$", r"\3-\2-\1T\4"  # points are never after a month


@dataclass(frozen=True)
class Notation:
    """
    How a file writes values.

    Parameters
    ----------
    decimal
        The decimal sign of its numbers; the other of point and comma sets thousands apart.
    missing
        Texts that mark a missing cell, besides ``MISSING``.
    day_first
        Whether 03/04/2024 is in April; None if the file does not show it: such texts are no dates.
    affixes
        The currency, or %, of the numbers of columns that have one.
    affix
        That of the column in question. Numbers with another are none; those without it are unless it is %.
    """

    decimal: str = "."
    missing: tuple[str, ...] = ()
    day_first: bool | None = None
    affixes: Mapping[Name, str] = field(default_factory=dict)
    affix: str = ""

    def of(self, name: Name) -> "Notation":
        """The notation of a column."""
        affix = self.affixes.get(name, "")
        return self if affix == self.affix else replace(self, affix=affix)

    @cached_property
    def _markers(self) -> Any:
        return pa.array([*MISSING, *self.missing], pa.string())

    @cached_property
    def _number(self) -> str:
        thousands = "," if self.decimal == "." else r"\."
        whole = rf"\d{{1,3}}(?:[{thousands}'’\x{{a0}}\x{{202f}}]\d{{3}})+|\d*"
        fraction = rf"{'[.]' if self.decimal == '.' else ','}\d*"
        return rf"^([+-]?)({CURRENCY})?\s?([+-]?)({whole})({fraction})?([eE][+-]?\d+)?\s?(%|{CURRENCY})?$"

    @cached_property
    def _dates(self) -> list[tuple[str, str]]:
        by_order = {None: [], True: [DAY_FIRST], False: [MONTH_FIRST]}
        return [YEAR_FIRST, WITH_POINTS, *by_order[self.day_first]]

    def present(self, cells: Any) -> Any:
        """The cells, null where one is missing."""
        missing = pc.is_in(cells, value_set=self._markers)
        if self.missing:  # " ?" is one as well
            missing = pc.or_(missing, pc.is_in(pc.utf8_trim_whitespace(cells), value_set=pa.array(self.missing)))
        return pc.if_else(missing, pa.scalar(None, pa.string()), cells) if pc.any(missing).as_py() else cells

    def numbers(self, cells: Any) -> "Numbers":
        """The numbers of a column, and its cells with these as Python writes them, null where missing."""
        if not self.missing:
            found = self._all_numbers(cells)
            if found is not None and not pc.any(pc.is_nan(found)).as_py():
                return Numbers(found, cells)
        present = self.present(cells)
        if (found := self._all_numbers(present)) is not None:
            return Numbers(found, present)
        encoded = _encoded(present)
        plain, is_number = (part.take(encoded.indices) for part in self._plain_numbers(encoded.dictionary))
        values = None if pc.any(pc.invert(is_number)).as_py() else pc.cast(plain, pa.float64())
        return Numbers(values, plain, pc.sum(is_number).as_py() or 0)

    def _all_numbers(self, cells: Any) -> Any:
        """Numbers in Python's own form; None if a cell is none."""
        if self.decimal != "." or self.affix == "%":
            return None
        try:
            pc.cast(cells.slice(0, TRIED), pa.float64())  # arrow composes an error for every cell that is no number
            return pc.cast(cells, pa.float64())
        except pa.ArrowInvalid:
            return None

    def dates(self, cells: Any) -> tuple[Any, int]:
        """The cells of a column with its dates in ISO 8601, and the number of these."""
        encoded = _encoded(self.present(cells))
        plain, is_date = self._plain_dates(encoded.dictionary)
        return plain.take(encoded.indices), pc.sum(is_date.take(encoded.indices)).as_py() or 0

    def _plain_numbers(self, texts: Any) -> tuple[Any, Any]:
        """Numbers as Python writes them, other texts as they are, null for blanks; and which are numbers or blank."""
        trimmed = pc.utf8_trim_whitespace(texts)
        is_python = pc.match_substring_regex(trimmed, PLAIN)
        is_number = pc.and_(pc.match_substring_regex(trimmed, self._number), pc.match_substring_regex(trimmed, r"\d"))
        if self.decimal == ",":  # 1.234 are thousands, 1.5 is one and a half
            is_python = pc.and_not(is_python, is_number)
        affixes = pc.utf8_trim_whitespace(pc.replace_substring_regex(trimmed, self._number, r"\2\7"))
        is_number = pc.or_(is_python, pc.and_(is_number, pc.is_in(affixes, pa.array([self.affix, ""]))))
        if self.affix == "%":
            is_number = pc.and_(is_number, pc.equal(affixes, self.affix))
        sign = pc.replace_substring_regex(trimmed, self._number, r"\1\3")
        whole = pc.replace_substring_regex(pc.replace_substring_regex(trimmed, self._number, r"\4"), SEPARATORS, "")
        fraction = pc.replace_substring(pc.replace_substring_regex(trimmed, self._number, r"\5\6"), ",", ".")
        joined = pc.binary_join_element_wise(sign, whole, fraction, "")
        plain = pc.if_else(is_number, pc.if_else(is_python, trimmed, joined), texts)
        plain = pc.if_else(is_number, pc.replace_substring_regex(plain, r"^\+", ""), plain)
        is_blank = pc.equal(trimmed, "")
        return pc.if_else(is_blank, pa.scalar(None, pa.string()), plain), pc.or_(is_number, is_blank)

    def _plain_dates(self, texts: Any) -> tuple[Any, Any]:
        """Dates in ISO 8601, the others as they are; and which are dates."""
        trimmed, plain = pc.utf8_trim_whitespace(texts), texts
        is_date = pc.match_substring_regex(trimmed, r"^\d{4}-\d{2}-\d{2}")
        for pattern, parts in self._dates:
            matches = pc.match_substring_regex(trimmed, pattern)
            if pc.any(matches).as_py():
                iso = pc.replace_substring_regex(trimmed, pattern, parts)
                for _ in range(2):  # neighbours share a sign
                    iso = pc.replace_substring_regex(iso, r"(^|[-T:])(\d)([-T:]|$)", r"\10\2\3")
                plain = pc.if_else(matches, pc.replace_substring_regex(iso, "T$", ""), plain)
                is_date = pc.or_(is_date, matches)
        return plain, is_date


@dataclass(frozen=True)
class Numbers:
    """Numbers of a column: ``values`` if every cell is one, the ``cells`` in plain form, and the number of numbers."""

    values: Any
    cells: Any
    count: int = 0


def _encoded(cells: Any) -> Any:
    """The distinct texts, each of which is looked at once."""
    chunked = cells if isinstance(cells, pa.ChunkedArray) else pa.chunked_array([cells])
    return chunked.dictionary_encode().combine_chunks()


class TextColumn:
    """
    What a column of a text file holds, from all its pieces.

    Whole numbers are whole only if all are; those of which a float64 would lose digits stay exact. Truth values and
    text, or truth values and numbers, make a column of text; so do whole numbers beyond 64 bits, which are codes.
    """

    def __init__(self) -> None:
        self.kinds: set[str] = set()  # of number, whole, unsigned (from 2**63), long (beyond 64 bits), truth, text
        self.has_missing = self.has_negative = self.is_inexact = False
        self.n_present = self.n_numbers = self.n_dates = self.n_unclear = 0
        self.unclear = ""  # a date of which the file does not show the order

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
        self.n_dates += notation.dates(cells)[1]
        if notation.day_first is None and (unclear := texts.filter(pc.match_substring_regex(texts, UNCLEAR))):
            self.unclear = self.unclear or unclear[0].as_py()
            self.n_unclear += pc.sum(pc.is_in(numbers.cells, value_set=unclear)).as_py()

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
    def has_unclear_dates(self) -> bool:
        """Whether the column would be one of dates if the file showed the order of day and month."""
        return self.holds == "text" and self.n_unclear + self.n_dates >= self.n_present * (1 - FEW)

    def values(self, cells: Any, notation: Notation) -> pd.Series:
        """The values of a piece."""
        match self.holds:
            case "empty" | "number":
                return _floats(notation.numbers(cells).values)
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

    def _whole(self, cells: Any, dtype: Any) -> pd.Series:
        numbers = pc.cast(cells, dtype)
        if not self.has_missing:
            return pd.Series(_numpy(numbers))
        if not self.is_inexact:
            return _floats(pc.cast(numbers, pa.float64()))
        missing = _numpy(pc.is_null(numbers))
        return pd.Series(pd.arrays.IntegerArray(_numpy(pc.fill_null(numbers, 0)), missing))


def read_as(reading: str, cells: Any, notation: Notation) -> pd.Series:
    """The values of a column of which it is known that it holds "numbers", "dates" or "text"; other cells are text."""
    match reading:
        case "numbers":
            numbers = notation.numbers(cells)
            return _texts(numbers.cells) if numbers.values is None else _floats(numbers.values)
        case "dates":
            return _texts(notation.dates(cells)[0])
        case _:
            return _texts(notation.present(cells))


def _numpy(cells: Any) -> np.ndarray:
    array: np.ndarray = cells.to_numpy(zero_copy_only=False)
    return array


def _floats(numbers: Any) -> pd.Series:
    return pd.Series(_numpy(numbers))


def _texts(cells: Any) -> pd.Series:
    series: pd.Series = cells.to_pandas()
    return series


def warn_of_unclear_dates(columns: Mapping[Name, TextColumn]) -> None:
    """Warn of columns of dates whose order of day and month is not shown."""
    found = [f"{name!r} ({column.unclear})" for name, column in columns.items() if column.has_unclear_dates]
    if found:
        message = "it is not shown whether the day or the month comes first, so these are text. Write 2024-12-31"
        warnings.warn(f"Dates of {listed(found)}: {message}.", DataWarning, stacklevel=4)


def texts_of(table: Any, names: Iterable[Name]) -> pd.DataFrame:
    """Columns as they stand in the file, no cell of them missing."""
    return pd.DataFrame({name: _texts(table.column(str(name))) for name in names}, index=pd.RangeIndex(len(table)))


def known_frame(table: Any, names: Iterable[Name], reading: Mapping[Name, str], notation: Notation) -> pd.DataFrame:
    """Columns of a piece of text as a model knows them: by default as text."""
    found = {name: read_as(reading.get(name, "text"), table.column(str(name)), notation.of(name)) for name in names}
    return pd.DataFrame(found, index=pd.RangeIndex(len(table)))


def typed_frame(
    table: Any, names: Iterable[Name], columns: Mapping[Name, TextColumn], notation: Notation
) -> pd.DataFrame:
    """Columns of a piece of text with the types of the whole file."""
    found = {name: columns[name].values(table.column(str(name)), notation.of(name)) for name in names}
    return pd.DataFrame(found, index=pd.RangeIndex(len(table)))
