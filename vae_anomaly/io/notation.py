"""How a text file writes numbers, dates and times: found out from its first lines, or said by the user.

Cells are arrow arrays of text. What a cell says does not depend on the other cells of its piece, so that a file read
whole and in pieces gives the same values.
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vae_anomaly.data.infer import MARKERS
from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.formatting import listed, shorten
from vae_anomaly.io.source import FileOptions

Name = str | int

MISSING = (  # those of pandas.read_csv
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA")
    + ("NULL", "NaN", "None", "n/a", "nan", "null")
)
FEW = 0.1  # of the cells of a column of numbers or dates may be others
TRIED = 100  # cells
MOST_SNIFFED = 2**17  # cells
PLAIN = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity))$"
SPACES = " \u00a0\u202f"
MINUS = "-\u2212"  # the second one is the sign of print
MAY_BE_NEGATIVE = rf"{MINUS[1]}|[()]|\d\s?-"
NEGATIVES = (  # in parentheses, as accountants write them, and with the sign at the end, as SAP does
    (r"^([^()\d]*)\(\s*([^()]*\d[^()]*?)\s*\)([^()\d]*)$", r"-\1\2\3"),
    (rf"^([^{MINUS}()]*\d)\s?[{MINUS}]([^{MINUS}()\d]*)$", r"-\1\2"),
)

CURRENCY = r"[$€£¥₹]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD)\s|\s(?:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD)"
CURRENCY_OR_PERCENT = re.compile(rf"(?:%|{CURRENCY})")

INDIAN = r"\d{1,2}(?:,\d{2})+,\d{3}|"  # 12,34,567

TIME = r"(?:,?[ T](\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)(?: Uhr)?)?"
DAY, MONTH, YEAR = r"(0?[1-9]|[12]\d|3[01])", r"(0?[1-9]|1[0-2])", r"(\d{4}|\d{2})"
CENTURY = r"((?:1[5-9]|2[0-2])\d{2})"  # of dates without a day: 4711-03 is a part number
MONTHS = (  # in English, German, French and Spanish
    "jan(?:uary|uar|v|vier)?|jänner|ene(?:ro)?",
    "feb(?:ruary|ruar|rero)?|f[ée]v(?:r|rier)?",
    "mar(?:ch|s|zo)?|m(?:ä|ae)r(?:z)?|mrz",
    "apr(?:il)?|avr(?:il)?|abr(?:il)?",
    "may(?:o)?|mai",
    "jun(?:e|i|io)?|juin",
    "jul(?:y|i|io)?|juil(?:let)?",
    "aug(?:ust)?|ao[ûu]t|ago(?:sto)?",
    "sep(?:t|tember|tembre|tiembre)?|setiembre",
    "o[ck]t(?:ober|obre|ubre)?",
    "nov(?:ember|embre|iembre)?",
    "de[cz](?:ember)?|d[ée]c(?:embre)?|dic(?:iembre)?",
)
NAMED = rf"((?i:{'|'.join(MONTHS)}))\.?"
DATES = [  # of clear order, each with its parts in ISO 8601
    (rf"^(\d{{4}})[/.-]{MONTH}[/.-]{DAY}{TIME}$", r"\1-\2-\3T\4"),
    (rf"^{DAY}\.\s?{MONTH}\.\s?{YEAR}{TIME}$", r"\3-\2-\1T\4"),  # points are never after a month
    (rf"^{DAY}(?:\.|st|nd|rd|th|er)?(?: de)?[ -]{NAMED}(?: de)?[ -]{YEAR}{TIME}$", r"\3-\2-\1T\4"),
    (rf"^{NAMED} {DAY}(?:st|nd|rd|th)?,? (\d{{4}}){TIME}$", r"\3-\1-\2T\4"),
    (rf"^{NAMED}(?: de)?[ -]{CENTURY}$", r"\2-\1-01"),
    (rf"^{NAMED}-(\d{{2}})$", r"\2-\1-01"),
    (rf"^{CENTURY}[/-]{MONTH}$", r"\1-\2-01"),
    (rf"^{MONTH}/{CENTURY}$", r"\2-\1-01"),
    (r"^([01]?\d|2[0-3])(:[0-5]\d)((?::[0-5]\d(?:\.\d{1,6})?)?)$", r"\1\2\3"),  # a time of day
]
MAY_BE_WRITTEN = rf"^(?:\d{{1,2}}(?:st|nd|rd|th|er)?\.?[-/.: ]|\d{{4}}[/.-]\d|(?i:{'|'.join(MONTHS)}))"
YEARS = r"(?:[/-](\d{4})|/(\d{2}))"  # 10-11-12 is a code
DAY_FIRST = rf"^{DAY}[/-]{MONTH}{YEARS}{TIME}$", r"\3\4-\2-\1T\5"
MONTH_FIRST = rf"^{MONTH}[/-]{DAY}{YEARS}{TIME}$", r"\3\4-\1-\2T\5"
CENTURIES = ((r"^([0-2]\d-)", r"20\1"), (r"^([3-9]\d-)", r"19\1"))  # as spreadsheets read years of two digits
YEAR_FIRST = rf"^(\d\d)[./](0[1-9]|1[0-2])[./](0[1-9]|[12]\d|3[01]){TIME}$", r"\1-\2-\3T\4"
SHORT_DATE = re.compile(
    rf"\s*(?:\d\d?(?:\.\s?\d\d?\.\s?|/\d\d?/|(?: de)?[. -]{{1,2}}{NAMED}(?: de)?[ -])|{NAMED}-)\d\d(?!\d)"
)
UNIT = re.compile(r"\s*[\[(]?[^\d\s,;][^,;]{0,11}[\])]?\s*")
FEWEST_RECORDS = 4  # that show units
AFTERNOON = re.compile(r"(\d{1,2})(:\d{2}(?::\d{2})?)\s?([aApP])\.?[mM]\.?$")
MAY_BE_DATE = rf"^\s*\d{{1,2}}[/-]\d{{1,2}}{YEARS}"


@dataclass(frozen=True)
class Notation:
    """
    How a file writes values, or one of its columns.

    Parameters
    ----------
    decimal
        The decimal sign of its numbers.
    thousands
        The sign between thousands; None for the other of point and comma, apostrophes and spaces that do not break.
    missing
        Texts that mark a missing cell, besides ``MISSING``.
    day_first
        Whether 03/04/2024 is in April; None if such texts are no dates, as the file has both orders.
    affix
        The currency, or %, of most numbers of a column. Numbers with another are none; those without it are unless it
        is %.
    is_assumed
        True if nothing shows ``day_first``.
    open_dates, open_numbers
        A date, or a number, of the column that may be read in two ways, if nothing rules out the other one.
    short_date
        A date of the column with a year of two digits, if nothing is asked for.
    year_first
        Whether 23.01.05 is in 2023.
    has_negatives
        Whether (5) and 5- are negative numbers: None if the first cells have none, False if they may be something else.
    shows_decimal
        True if a cell, or what is asked for, shows the decimal sign.
    by_column
        The notation of columns that differ from the others.
    """

    decimal: str = "."
    thousands: str | None = None
    missing: tuple[str, ...] = ()
    day_first: bool | None = None
    is_assumed: bool = False
    affix: str = ""
    open_dates: str = ""
    open_numbers: str = ""
    short_date: str = ""
    year_first: bool = False
    has_negatives: bool | None = None
    shows_decimal: bool = False
    by_column: Mapping[Name, "Notation"] = field(default_factory=dict, repr=False)

    def of(self, name: Name) -> "Notation":
        """The notation of a column."""
        return self.by_column.get(name, self)

    def settled(self, orders: Mapping[Name, bool | None]) -> "Notation":
        """The notation with the order of day and month of some columns, known from all rows."""
        changed = {
            name: replace(self.of(name), day_first=first, open_dates="", is_assumed=False)
            for name, first in orders.items()
        }
        return replace(self, by_column={**self.by_column, **changed}) if changed else self

    def refuse_other_order(self, name: Name, cells: Any) -> None:
        """Raise an error if a date shows that the order of day and month was not rightly assumed."""
        order = DayOrder()
        order.see(self.present(cells))
        other = not self.day_first
        if other in order.examples:
            first, option = ("day", "--dayfirst") if other else ("month", "--monthfirst")
            found = f"Column {name!r} has {order.examples[other]}, in which the {first} comes first"
            raise DataError(f"{found}, unlike the first lines were read. Say {option} (day_first={other} in Python).")

    @cached_property
    def _markers(self) -> Any:
        return pa.array([*MISSING, *self.missing], pa.string())

    @cached_property
    def _separators(self) -> str:
        """Signs between thousands, a set of a regular expression."""
        signs = f"{'.' if self.decimal == ',' else ','}'’{SPACES[1:]}" if self.thousands is None else self.thousands
        return f"[{re.escape(SPACES if signs == ' ' else signs)}]"

    def _separates_by(self, sign: str) -> bool:
        return re.fullmatch(self._separators, sign) is not None

    @cached_property
    def _number(self) -> str:
        whole = rf"\d{{1,3}}(?:{self._separators}\d{{3}})+|{INDIAN if self._separates_by(',') else ''}\d*"
        fraction = rf"{re.escape(self.decimal)}\d*"
        before, after = rf"(?P<before>[+-]?)(?P<affix>{CURRENCY})?\s?(?P<sign>[+-]?)", rf"(?P<end>%|{CURRENCY})?"
        return rf"^{before}(?P<whole>{whole})(?P<fraction>{fraction})?(?P<power>[eE][+-]?\d+)?\s?{after}$"

    @cached_property
    def _dates(self) -> list[tuple[str, str]]:
        if self.year_first:
            return [YEAR_FIRST, *(date for date in DATES if YEAR not in date[0] or NAMED in date[0])]
        by_order: dict[bool | None, list[tuple[str, str]]] = {None: [], True: [DAY_FIRST], False: [MONTH_FIRST]}
        return [*DATES, *by_order[self.day_first]]

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
        distinct = encoded(present)
        plain, is_number = (part.take(distinct.indices) for part in self._plain_numbers(distinct.dictionary))
        values = None if pc.any(pc.invert(is_number)).as_py() else pc.cast(plain, pa.float64())
        return Numbers(values, plain, pc.sum(is_number).as_py() or 0)

    @property
    def may_be_plain(self) -> bool:
        """Whether numbers in Python's own form are numbers."""
        return self.decimal == "." and self.affix != "%"

    def known_numbers(self, cells: Any) -> "Numbers":
        """The numbers of a column that is known to hold numbers: no negative one is anything else."""
        return (self if self.has_negatives is not False else replace(self, has_negatives=None)).numbers(cells)

    def _all_numbers(self, cells: Any) -> Any:
        """Numbers in Python's own form; None if a cell is none."""
        if not self.may_be_plain:
            return None
        try:
            tried = pc.cast(cells.slice(0, TRIED), pa.float64())  # arrow composes an error for every cell that is none
            return tried if len(cells) <= TRIED else pc.cast(cells, pa.float64())
        except pa.ArrowInvalid:
            return None

    def dates(self, cells: Any) -> tuple[Any, int]:
        """The cells of a column with its dates and times in ISO 8601, and the number of these."""
        distinct = encoded(self.present(cells))
        plain, is_date = self._plain_dates(distinct.dictionary)
        return plain.take(distinct.indices), pc.sum(is_date.take(distinct.indices)).as_py() or 0

    def _plain_numbers(self, texts: Any) -> tuple[Any, Any]:
        """Numbers as Python writes them, other texts as they are, null for blanks; and which are numbers or blank."""
        trimmed = pc.utf8_trim_whitespace(texts)
        if not pc.any(pc.match_substring_regex(trimmed, r"\d|^[+-]?(?i:inf)")).as_py():
            is_blank = pc.equal(trimmed, "")
            return pc.if_else(is_blank, pa.scalar(None, pa.string()), texts), is_blank
        trimmed = self._signed(trimmed)
        is_python = pc.match_substring_regex(trimmed, PLAIN)
        found = pc.extract_regex(trimmed, self._number)
        before, affix, sign, whole, fraction, power, end = found.flatten()
        whole = pc.replace_substring_regex(whole, self._separators, "")
        fraction = pc.replace_substring(fraction, self.decimal, ".")
        joined = pc.binary_join_element_wise(before, sign, whole, fraction, power, "")
        is_number = pc.fill_null(pc.match_substring_regex(joined, PLAIN), False)  # not "e5" or "--1"
        if self.decimal != ".":  # 1.234 are thousands, 1.5 is one and a half
            is_python = pc.and_not(is_python, is_number)
        affixes = pc.utf8_trim_whitespace(pc.binary_join_element_wise(affix, end, ""))
        is_number = pc.or_(is_python, pc.and_(is_number, pc.is_in(affixes, pa.array([self.affix, ""]))))
        if self.affix == "%":
            is_number = pc.and_(is_number, pc.is_in(affixes, pa.array([self.affix])))  # no null where the text is none
        plain = pc.if_else(is_number, pc.if_else(is_python, trimmed, joined), texts)
        plain = pc.if_else(is_number, pc.replace_substring_regex(plain, r"^\+", ""), plain)
        is_blank = pc.equal(trimmed, "")
        return pc.if_else(is_blank, pa.scalar(None, pa.string()), plain), pc.or_(is_number, is_blank)

    def _signed(self, texts: Any) -> Any:
        """Texts in which a negative number begins with a hyphen."""
        if not pc.any(pc.match_substring_regex(texts, MAY_BE_NEGATIVE)).as_py():
            return texts
        for pattern, parts in NEGATIVES if self.has_negatives is not False else ():
            texts = pc.replace_substring_regex(texts, pattern, parts)
        return pc.replace_substring(texts, MINUS[1], MINUS[0])

    def _plain_dates(self, texts: Any) -> tuple[Any, Any]:
        """Dates and times in ISO 8601, the others as they are; and which are dates or times."""
        trimmed, plain = pc.utf8_trim_whitespace(texts), texts
        is_date = pc.match_substring_regex(trimmed, r"^\d{4}-\d{2}-\d{2}")
        if not pc.any(pc.and_not(pc.match_substring_regex(trimmed, MAY_BE_WRITTEN), is_date)).as_py():
            return texts, is_date
        trimmed = _without_afternoon(trimmed)
        for pattern, parts in self._dates:
            matches = pc.match_substring_regex(trimmed, pattern)
            if pc.any(matches).as_py():
                iso = pc.replace_substring_regex(trimmed, pattern, parts)
                if NAMED in pattern:
                    for number, name in enumerate(MONTHS, 1):
                        iso = pc.replace_substring_regex(iso, rf"-(?i:{name})-", f"-{number}-")
                for years, whole in CENTURIES:
                    iso = pc.replace_substring_regex(iso, years, whole)
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


class DayOrder:
    """Dates such as 31/12/2024 of a column, by what they show: the day first (True), the month first, or neither."""

    patterns: Mapping[bool | None, str] = {
        True: rf"^\s*(?:1[3-9]|2\d|3[01])[/-]{MONTH}{YEARS}(?:\D|$)",
        False: rf"^\s*{MONTH}[/-](?:1[3-9]|2\d|3[01]){YEARS}(?:\D|$)",
        None: rf"^\s*{MONTH}[/-]{MONTH}{YEARS}(?:\D|$)",
    }

    def __init__(self) -> None:
        self.counts: dict[bool | None, int] = dict.fromkeys(self.patterns, 0)
        self.examples: dict[bool | None, str] = {}

    def see(self, cells: Any) -> None:
        """Take cells into account."""
        if not pc.any(pc.match_substring_regex(cells, MAY_BE_DATE)).as_py():
            return
        distinct = encoded(cells)
        for order, pattern in self.patterns.items():
            matches = pc.match_substring_regex(distinct.dictionary, pattern)
            if pc.any(matches).as_py():
                self.counts[order] += pc.sum(matches.take(distinct.indices)).as_py()
                self.examples.setdefault(order, distinct.dictionary.filter(matches)[0].as_py().strip())

    def join(self, later: "DayOrder") -> None:
        """Take the cells into account that another has seen, which follow those seen here."""
        for order, count in later.counts.items():
            self.counts[order] += count
        self.examples = {**later.examples, **self.examples}

    @property
    def shown(self) -> bool | None:
        """The order that all dates show but for a few; None if none or both are shown."""
        n_day, n_month = self.counts[True], self.counts[False]
        few = FEW * (n_day + n_month)
        return True if n_day and n_month <= few else False if n_month and n_day <= few else None

    @property
    def is_mixed(self) -> bool:
        """Whether both orders are shown."""
        return self.shown is None and self.counts[True] > 0

    def chosen(self, default: bool | None) -> bool | None:
        """The order that is shown, or else the default; None if both are shown."""
        return None if self.is_mixed else default if self.shown is None else self.shown


def encoded(cells: Any) -> Any:
    """The distinct texts, each of which is looked at once."""
    chunked = cells if isinstance(cells, pa.ChunkedArray) else pa.chunked_array([cells])
    return chunked.dictionary_encode().combine_chunks()


def _without_afternoon(texts: Any) -> Any:
    """Texts with times such as 7:10 p.m. as 19:10."""

    def in_24_hours(found: re.Match[str]) -> str:
        hour, rest, half = found.groups()
        late = 12 if half in "pP" else 0
        return f"{int(hour) % 12 + late}{rest}" if 1 <= int(hour) <= 12 else found[0]

    matches = pc.match_substring_regex(texts, r"\d\s?[aApP]\.?[mM]\.?$")
    if not pc.any(matches).as_py():
        return texts
    found = [AFTERNOON.sub(in_24_hours, text) if text else text for text in texts.to_pylist()]
    return pa.array(found, pa.string())


def first_cells(names: Sequence[Name], records: Sequence[Sequence[str]]) -> dict[Name, list[str]]:
    """The cells of columns in the first records, of which some may be short; fewer of very many columns."""
    some = records[: max(20, MOST_SNIFFED // max(1, len(names)))]
    return {name: [cells[k] for cells in some if k < len(cells)] for k, name in enumerate(names)}


def find_notation(
    source: str, columns: Mapping[Name, Sequence[str]], options: FileOptions, delimiter: str = ","
) -> Notation:
    """
    The notation that the first cells of columns show, or that is asked for.

    Raises
    ------
    DataError
        If a column contradicts what is asked for; the message names the column, a cell and the option.
    """
    shown = {name: found for name, cells in columns.items() if (found := _Shown.by(cells)) is not None}
    decimal, is_shown = _decimal_of([*shown.values()], options, delimiter)
    default = options.day_first
    if default is None:
        orders = {found.order.shown for found in shown.values() if found.order is not None} - {None}
        default = orders.pop() if len(orders) == 1 else None
    is_assumed = default is None
    default = (decimal == "," or delimiter == ";") if default is None else default
    whole = Notation(
        decimal, options.thousands, options.missing, default, is_assumed=is_assumed, shows_decimal=is_shown
    )
    by_column: dict[Name, Notation] = {}
    asked = options.of_text
    for name, found in shown.items():
        if found.is_plain and decimal == "." and not asked:
            continue
        column = found.notation(whole, options)
        if column != whole:
            by_column[name] = column
        _refuse_contradiction(f"Column {name!r} of {source}", options, found, columns[name], column)
    return replace(whole, by_column=by_column)


def agreed(notations: Sequence[Notation], names: Sequence[Name]) -> list[Notation]:
    """
    The notations of files of one table, made one where a file shows none: as the other files show it.

    Of several files none of which shows the decimal sign of a column, or its order of day and month, it is that of the
    first. A file that shows another sign than the others keeps it. What one file shows of negative numbers and of years
    that come first holds for all.
    """
    by_column: list[dict[Name, Notation]] = [{**notation.by_column} for notation in notations]
    for name in names:
        columns = [notation.of(name) for notation in notations]
        decimals = {one.decimal for one in columns if one.shows_decimal} or {columns[0].decimal}
        orders = {one.day_first for one in columns if not one.is_assumed} - {None}
        negatives = {one.has_negatives for one in columns} - {None}
        year_first = any(one.year_first for one in columns)
        for own, column in zip(by_column, columns, strict=True):
            if not column.shows_decimal and len(decimals) == 1:
                number = "" if any(one.shows_decimal for one in columns) else column.open_numbers
                own[name] = column = replace(column, decimal=min(decimals), open_numbers=number)
            if column.open_dates and len(orders) <= 1:
                order, date = (orders.copy().pop(), "") if orders else (columns[0].day_first, column.open_dates)
                own[name] = column = replace(column, day_first=order, is_assumed=not orders, open_dates=date)
            if negatives and column.has_negatives is not (is_known := True in negatives):
                own[name] = column = replace(column, has_negatives=is_known)
            if column.year_first is not year_first:
                own[name] = replace(column, year_first=True, open_dates="")
    return [replace(one, by_column=own) for one, own in zip(notations, by_column, strict=True)]


def is_row_of_units(source: str, names: Sequence[Name], records: Sequence[Sequence[str]], notation: Notation) -> bool:
    """
    Whether the first record plainly holds the units of columns of numbers, and is no row; says so in a warning.

    It does if it has no number where all others have one, but text such as ``mm`` in at least two columns, or ``[kg]``
    in one. If it has both, the warning says what to do.
    """
    if len(records) < FEWEST_RECORDS or not any(map(_is_unit, records[0])):
        return False
    columns = dict(zip(names, zip(*records, strict=False), strict=False))

    def are_numbers(name: Name, cells: Sequence[str]) -> bool:
        own = notation.of(name)
        present = own.present(pa.array(cells, pa.string())).drop_null()
        return len(present) > 0 and own.numbers(present).values is not None

    units = [cells[0] for name, cells in columns.items() if _is_unit(cells[0]) and are_numbers(name, cells[1:])]
    if not units:
        return False
    n_numbers = sum(are_numbers(name, cells[:1]) and are_numbers(name, cells[1:]) for name, cells in columns.items())
    shown = f"({listed(map(repr, units[:3]))})"
    if units and not n_numbers and (len(units) > 1 or units[0].strip()[0] in "[("):
        warnings.warn(f"The first row of {source} has units {shown} and is skipped.", DataWarning, stacklevel=5)
        return True
    if len(units) > 1 or (units and not n_numbers):
        message = f"The first row of {source} has text {shown} in columns of numbers"
        warnings.warn(f"{message}. If these are units, remove the row.", DataWarning, stacklevel=5)
    return False


def _is_unit(text: str) -> bool:
    """Whether a cell may be a unit such as ``mm``, ``[kg/m2]`` or ``%``, and no marker of a missing cell."""
    known = text in MISSING or text.strip().lower() in MARKERS
    return not known and UNIT.fullmatch(text) is not None and re.search(r"[^\W\d_]|[%°]", text) is not None


@dataclass(frozen=True)
class _Shown:
    """
    What the first cells of a column show.

    Parameters
    ----------
    points, commas
        How many cells show that this is the decimal sign, as 1,5 and 1.234,5 do, with an example.
    unclear
        A cell with three digits after its only comma.
    affix
        The currency, or %, of most cells.
    has_negatives, short_date, year_first
        As in `Notation`.
    order
        The order of day and month; None without such dates.
    is_plain
        Whether the cells show that the decimal sign is a point, and nothing else.
    """

    points: tuple[int, str]
    commas: tuple[int, str] = (0, "")
    unclear: str = ""
    affix: str = ""
    has_negatives: bool | None = None
    short_date: str = ""
    year_first: bool = False
    order: DayOrder | None = None
    is_plain: bool = False

    @classmethod
    def by(cls, cells: Sequence[str]) -> "_Shown | None":
        """What these cells show; None if they are whole numbers of digits alone, or missing."""
        marked = [cell for cell in cells if cell and not cell.isdecimal()]
        if not marked:
            return None
        if all(map(_POINT, marked)):
            return cls((len(marked), marked[0]), is_plain=True)
        affix = _affix(cells)
        has_negatives = _has_negatives(cells, affix)
        bare = (_bare(cell) for cell in marked if has_negatives or not _NEGATIVE(cell))
        texts = [text for text in bare if text[-1:].isdigit() and ("," in text or "." in text)]
        points, commas = ([text for text in texts if sign(text)] for sign in (_POINT, _COMMA))
        year_first = _year_first(cells)
        return cls(
            (len(points), points[0] if points else ""),
            (len(commas), commas[0] if commas else ""),
            next(filter(_UNCLEAR, texts), ""),
            affix,
            has_negatives,
            next((cell.strip() for cell in cells if SHORT_DATE.match(cell)), ""),
            year_first,
            None if year_first else _order_of(cells),
        )

    @property
    def own(self) -> str:
        """The decimal sign that the column shows; "" if it shows none, or both in more than a few cells."""
        points, commas = self.points[0], self.commas[0]
        few = FEW * (points + commas)
        return "." if points and commas <= few else "," if commas and points <= few else ""

    def notation(self, whole: Notation, options: FileOptions) -> Notation:
        """The notation of the column in a file with another one, or that is asked for."""
        order, asked, first = self.order, options.day_first is not None, whole.day_first
        date = order.examples.get(None, "") if order and whole.is_assumed and order.shown is None else ""
        own = self.own if options.decimal is None and options.thousands is None else ""
        return replace(
            whole,
            decimal=own or whole.decimal,
            day_first=first if order is None or asked else order.chosen(first),
            affix=self.affix,
            open_dates=date,
            open_numbers="" if whole.shows_decimal or self.own else self.unclear,
            short_date="" if asked else self.short_date,
            year_first=self.year_first and not asked,
            has_negatives=self.has_negatives,
            shows_decimal=whole.shows_decimal or bool(self.own),
        )


def _bare(cell: str) -> str:
    """A number without its sign and currency."""
    return CURRENCY_OR_PERCENT.sub("", cell).strip(SPACES + MINUS + "()")


def _has_negatives(cells: Sequence[str], affix: str) -> bool | None:
    """
    Whether (5) and 5- are negative numbers; None without such cells.

    Parentheses show it beside numbers without, or if one of these cells has a currency, or signs both of decimals and
    of thousands: (3) may be a note, (1,5) a pair. A sign at the end shows it if a number of the column has a sign of
    decimals or of thousands, or a currency: 18- may be an age.
    """
    negative = [cell for cell in cells if _NEGATIVE(cell)]
    if not negative:
        return None
    numbers = [_bare(cell) for cell in cells if not _NEGATIVE(cell) and _NUMBER(_bare(cell))]
    bare = [_bare(cell) for cell in negative]
    if "(" in "".join(negative):
        return bool(affix or numbers) or any("." in text and "," in text for text in bare)
    return bool(affix) or any(_NUMBER(text) and not text.isdecimal() for text in numbers + bare)


def _year_first(cells: Sequence[str]) -> bool:
    """
    Whether dates such as 23.01.05 begin with the year, as one beyond 31 shows, or parts that run as years and days do.

    These are at most three first parts, and 20 last parts or more, 30 or 31 among them: as years, they would be from
    1930 and 1931 and from 2000 to 2029, with none between.
    """
    dates = [found.groups() for cell in cells if (found := _TWO_DIGITS(cell))]
    if not dates:
        return False
    firsts, _, lasts = map(set, zip(*dates, strict=True))
    valid = [date for date in dates if "00" < date[1] < "13" and "00" < date[2] < "32"]
    if len(valid) < (1 - FEW) * len(dates):
        return False
    runs = len(firsts) <= 3 and len(lasts) >= 20 and max(lasts) in ("30", "31")
    return runs or any(not "00" < first < "32" for first in firsts)


def _evidence(sign: str, other: str, more: str = "") -> Callable[[str], re.Match[str] | None]:
    one = r"\d+S(?:\d{1,2}|\d{4,})(?:[eE][+-]?\d+)?|\d{1,3}(?:[T'\u00a0\u202f]\d{3})+S\d+|\d{4,}S\d+|0S\d+"
    groups = r"\d{1,3}(?:T\d{3}){2,}"  # the other sign is between thousands
    return re.compile(rf"[+-]?\s*(?:{one}|{groups}{more})".replace("S", sign).replace("T", other)).fullmatch


_POINT, _COMMA = _evidence(r"\.", ",", rf"|{INDIAN[:-1]}(?:\.\d+)?"), _evidence(",", r"\.")
_NUMBER = re.compile(rf"[+-]?\d[\d.,'’{SPACES}]*").fullmatch
_NEGATIVE = re.compile(rf"[^()\d]*\([^()]*\d[^()]*\)[^()\d]*|[^{MINUS}()]*\d\s?[{MINUS}][^{MINUS}()\d]*").fullmatch
_TWO_DIGITS = re.compile(r"\s*(\d\d)[./](\d\d)[./](\d\d)(?![\d./])").match
_UNCLEAR = re.compile(r"[+-]?\s*\d{1,3},\d{3}").fullmatch


def _decimal_of(signs: Sequence[_Shown], options: FileOptions, delimiter: str) -> tuple[str, bool]:
    """The decimal sign of a file, and whether it is shown or asked for."""
    if options.decimal is not None:
        return options.decimal, True
    if options.thousands in (".", ","):
        return "," if options.thousands == "." else ".", True
    points, commas = sum(one.points[0] for one in signs), sum(one.commas[0] for one in signs)
    if points or commas:
        return "," if commas > points else ".", True
    return "," if delimiter == ";" and any(one.unclear for one in signs) else ".", False


def _order_of(cells: Sequence[str]) -> DayOrder | None:
    """What the dates of a column show; None without such dates."""
    may_be_dates = [cell for cell in cells if re.match(MAY_BE_DATE, cell)]
    if not may_be_dates:
        return None
    order = DayOrder()
    order.see(pa.array(may_be_dates, pa.string()))
    return order


def _affix(cells: Sequence[str]) -> str:
    """The currency, or %, of most cells of a column."""
    found = Counter(CURRENCY_OR_PERCENT.findall(cell)[0] for cell in cells if CURRENCY_OR_PERCENT.search(cell))
    affix, count = next(iter(found.most_common(1)), ("", 0))
    return affix.strip() if count > len([cell for cell in cells if cell]) / 2 else ""


def refuse_order(column: str, order: DayOrder, asked: bool | None) -> None:
    """Raise an error if the dates of a column show another order than the one asked for."""
    if asked is not None and order.shown not in (None, asked):
        first = "day" if order.shown else "month"
        option = f"--{'dayfirst' if asked else 'monthfirst'} (day_first={asked})"
        found = f"{column} has {order.examples[order.shown]}, in which the {first} comes first"
        raise DataError(f"{found}, so {option} does not apply. Leave it out.")


def _refuse_contradiction(
    column: str, options: FileOptions, signs: _Shown, cells: Sequence[str], notation: Notation
) -> None:
    """Raise an error if a column shows another notation than the one asked for."""
    if signs.order is not None:
        refuse_order(column, signs.order, options.day_first)
    asked = options.decimal or ({".": ",", ",": "."}.get(options.thousands or "") or "")
    if asked and signs.own and signs.own != asked:
        found = signs.points if signs.own == "." else signs.commas
        option = f"--decimal {options.decimal!r}" if options.decimal else f"--thousands {options.thousands!r}"
        shown = shorten(found[1])
        raise DataError(
            f"{column} has {shown}, whose decimal sign is {signs.own!r}, so {option} does not apply. Leave it out: the "
            "sign of each column is found out."
        )
    if options.thousands is None:
        return
    filled = pa.array([cell for cell in cells if cell.strip()], pa.string())
    is_number = replace(notation, thousands=None).numbers(filled).values is not None
    if is_number and notation.numbers(filled).values is None:
        shown = next(cell for cell in filled.to_pylist() if notation.numbers(pa.array([cell])).values is None)
        raise DataError(
            f"{column} has {shorten(shown)}, which is no number with --thousands {options.thousands!r} (thousands=). "
            "Leave it out, or name the sign that the column has."
        )
