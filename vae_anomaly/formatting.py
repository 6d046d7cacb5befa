"""Numbers, names and values as text for people: in messages, reasons, pages and figures.

Data that is written to files does not pass through here: it keeps all its digits.
"""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from numbers import Integral, Real

LEAST_GROUPED = 10_000  # thousands are set apart from here on, so not in years
LEAST_P_VALUE = 1e-6  # smaller ones read "<0.000001"


def printable(text: str) -> str:
    r"""Text whose control characters, which a terminal would obey, are replaced.

    Examples
    --------
    >>> printable("Oslo\x1b[31m")
    'Oslo�[31m'
    """
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def shorten(value: object, most: int = 40) -> str:
    """A name or value on one printable line of at most ``most`` characters; a longer one loses its middle.

    Examples
    --------
    >>> shorten("systolic_blood_pressure_standing", 16)
    'systoli…standing'
    """
    text = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
    return _cut(printable(" ".join(text.split())), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: (most - 1) // 2]}…{text[-(most // 2) :]}"


def label(value: object, most: int = 24) -> str:
    """A name or value, shortened, for matplotlib, which takes text between two dollar signs for mathematics."""
    return shorten(value, most).replace("$", r"\$")


def wrapped(value: object, width: int, lines: int = 3) -> str:
    r"""A name or value, as `label`, on up to ``lines`` lines; they break after blanks, underscores and punctuation.

    Only a name too long for all lines loses its middle; a part longer than ``width`` characters is broken anywhere.

    Examples
    --------
    >>> wrapped("flipper_length_mm", 9), wrapped("systolic_blood_pressure", 40)
    ('flipper_\nlength_mm', 'systolic_blood_pressure')
    """
    for most in range(width * lines, 0, -1):
        text, broken = shorten(value, most), [""]
        for part in re.findall(rf"[^\s_./:,-]{{0,{width - 1}}}(?:[\s_./:,-]|[^\s_./:,-]|$)", text):
            if broken[-1] and len(broken[-1] + part.rstrip()) > width:
                broken.append("")
            broken[-1] += part
        if len(broken) <= lines:
            break
    return "\n".join(line.rstrip() for line in broken).replace("$", r"\$")


def listed(texts: Iterable[str], most: int = 20, separator: str = ", ") -> str:
    """Texts in a row; of more than ``most``, the others are counted.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    'a, b, and 1 more'
    """
    texts = list(texts)
    rest = [f"and {len(texts) - most:,} more"] if len(texts) > most else []
    return separator.join([*texts[:most], *rest])


def listed_names(names: Iterable[object], most: int = 20) -> str:
    """Names in quotation marks in a row, each cut to 80 characters; of more than ``most``, the others are counted.

    Examples
    --------
    >>> listed_names(["age", "sex"]), listed_names(range(100), 2)
    ("'age', 'sex'", '0, 1, and 98 more')
    """
    return listed((_cut(repr(name), 80) for name in names), most)


def counted(number: int, nouns: str) -> str:
    """A number of things, or one thing.

    Examples
    --------
    >>> counted(1200, "rows"), counted(1, "rows")
    ('1,200 rows', '1 row')
    """
    return f"{number:,} {nouns.removesuffix('s') if number == 1 else nouns}"


def counted_of(number: int, total: int, nouns: str) -> str:
    """All things of a kind, or a number of them.

    Examples
    --------
    >>> counted_of(8, 8, "columns"), counted_of(16, 40, "columns")
    ('8 columns', '16 of 40 columns')
    """
    return counted(total, nouns) if number == total else f"{number:,} of {counted(total, nouns)}"


def number(value: float, digits: int = 4) -> str:
    """A number with ``digits`` significant digits, its whole part in full; powers of ten only for very large and small.

    Examples
    --------
    >>> [number(value) for value in (0.1 + 0.2, 2007.0, 35_000.0, -1_234_567.8, 0.000012345, 1.5e13, 0.0)]
    ['0.3', '2007', '35,000', '-1,234,568', '1.234e-5', '1.5e13', '0']
    """
    if not math.isfinite(value) or value == 0:
        return f"{abs(value) if value == 0 else value:g}"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 9:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        return f"{_without_zeros(mantissa)}e{int(power)}"
    decimals = max(0, digits - 1 - size)
    grouped = "," if round(abs(value), decimals) >= LEAST_GROUPED else ""
    return _without_zeros(f"{value:{grouped}.{decimals}f}")


def nats(value: float, decimals: int = 2) -> str:
    """A score or a part of one; without decimals from 1,000 on.

    Examples
    --------
    >>> [nats(value) for value in (3.14159, -0.001, 6737.49)]
    ['3.14', '0.00', '6,737']
    """
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def percent(fraction: float, decimals: int = 0) -> str:
    """A fraction in percent, with more ``decimals`` near 0 and 1; only 0 is "0 %" and only 1 is "100 %".

    Examples
    --------
    >>> [percent(fraction) for fraction in (0.0, 0.0012, 0.034, 0.5, 0.995, 1.0, 1e-9)]
    ['0 %', '0.12 %', '3.4 %', '50 %', '99.5 %', '100 %', '<0.0001 %']
    """
    from_end = 100 * min(fraction, 1 - fraction)
    if from_end > 0:
        digits = 2 if fraction < 0.5 else 1
        decimals = max(decimals, min(4, digits - 1 - math.floor(math.log10(from_end))))
    text = _without_zeros(f"{100 * fraction:.{decimals}f}")
    if from_end > 0 and text in ("0", "100"):
        step = 10.0**-decimals
        text = f"<{step:.{decimals}f}" if text == "0" else f">{100 - step:.{decimals}f}"
    return f"{text} %"


def p_value(p: float) -> str:
    """A p-value with two significant digits.

    Examples
    --------
    >>> [p_value(p) for p in (0.5, 0.0312, 0.00004, 1e-200)]
    ['0.5', '0.031', '0.00004', '<0.000001']
    """
    if p < LEAST_P_VALUE:
        return f"<{LEAST_P_VALUE:f}"
    return _without_zeros(f"{p:.{max(0, 1 - math.floor(math.log10(p)))}f}")


def is_missing(value: object) -> bool:
    """True if a cell of a table is empty."""
    import pandas as pd  # here, so that the command line starts without it

    missing = pd.isna(value)  # type: ignore[call-overload]
    return isinstance(missing, bool) and missing  # of an array it is an array


def cell_text(value: object, digits: int = 4, most: int = 40) -> str:
    """A cell of a table: a number with ``digits`` digits, a moment without a midnight, text in ``most`` characters.

    Examples
    --------
    >>> [cell_text(value) for value in (52.0, 12345, None, True, "some  text", datetime(2020, 1, 2))]
    ['52', '12,345', 'missing', 'True', 'some text', '2020-01-02']
    """
    import numpy as np

    if is_missing(value):
        return "missing"
    match value:
        case bool() | np.bool_():
            return str(bool(value))
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds").removesuffix(" 00:00:00")
        case date():
            return str(value)
        case Integral():
            return f"{int(value):,}" if abs(int(value)) >= LEAST_GROUPED else str(int(value))
        case Real():
            return number(float(value), digits)
    return shorten(value, most)


def quoted(value: object, most: int = 40) -> str:
    """A cell of a table, text in quotation marks with its blanks.

    Examples
    --------
    >>> quoted("Oslo "), quoted(12345), quoted(None)
    ("'Oslo '", '12,345', 'missing')
    """
    return f"'{_cut(printable(value), most)}'" if isinstance(value, str) else cell_text(value)


def column_texts(values: Sequence[object], decimals: int | None) -> list[str]:
    """Values of one column as text: numbers with the column's ``decimals``, and all digits that set them apart.

    Examples
    --------
    >>> column_texts([1252.5, 35000.0], 2), column_texts([0.123456, 0.123471, 2.0], None)
    (['1,252.50', '35,000.00'], ['0.12346', '0.12347', '2'])
    """
    texts: list[str] = []
    grouped = any(isinstance(value, Real) and abs(float(value)) >= LEAST_GROUPED for value in values)
    for digits in range(4, 18):
        texts = [_column_text(value, decimals, digits, grouped) for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def _column_text(value: object, decimals: int | None, digits: int, grouped: bool) -> str:
    if isinstance(value, Integral) and not isinstance(value, bool):
        return f"{int(value):{',' if grouped else ''}d}"
    if decimals is None or not isinstance(value, Real) or is_missing(value):
        return cell_text(value, digits)
    size = abs(float(value))
    if size >= 1e12 or not math.isclose(size, round(size, decimals), rel_tol=1e-12):
        return number(float(value), max(digits, 6))
    return f"{float(value):{',' if grouped else ''}.{decimals}f}"


def with_minus(text: str) -> str:
    """The text of a number with a minus sign in place of the hyphen, for pages and figures.

    Examples
    --------
    >>> with_minus(number(-0.5))
    '−0.5'
    """
    return text.replace("-", "−")


def tick_label(value: float, _position: object = None) -> str:
    """A number at a tick of a figure; long ones with a letter for their thousands.

    Examples
    --------
    >>> [tick_label(value) for value in (0.1 + 0.2, 2007.0, -250_000.0, 1.5e9, -2e-7)]
    ['0.3', '2007', '−250k', '1.5G', '−2e−7']
    """
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if max(size, 1e5) <= abs(value) < 1e15:
            return with_minus(f"{value / size:.6g}{letter}")
    return with_minus(re.sub(r"e([+-])0", r"e\1", f"{value:.6g}"))


def _without_zeros(digits: str) -> str:
    """Digits without zeros at the end of the decimals."""
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def without_password(source: str) -> str:
    """The name of a file, or the URL of a database without its password."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", source)
