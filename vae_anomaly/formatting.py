"""Names and values as text that fits into a picture: short, printable, and never taken for mathematics."""

import re


def label(value: object, most: int = 24) -> str:
    """A name or value of a table in at most ``most`` characters, its middle left out where it is longer.

    matplotlib takes what stands between two dollars for mathematics, so each is escaped.

    Examples
    --------
    >>> label("systolic_blood_pressure_standing", 16)
    'systoli…standing'
    """
    return short_text(value, most).replace("$", r"\$")


def short_text(value: object, most: int) -> str:
    """A name or value in at most ``most`` printable characters, its middle left out where it is longer."""
    text = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))
    return text if len(text) <= most else f"{text[: (most - 1) // 2]}…{text[-(most // 2) :]}"


def number(value: float, _place: object = None) -> str:
    """A number at a tick: thousands and more get a letter only where they are long (200k, 3M; but 4500).

    Examples
    --------
    >>> [number(value) for value in (0.1 + 0.2, 2007.0, -250_000.0, 1.5e9, -2e-7)]
    ['0.3', '2007', '−250k', '1.5G', '−2e−7']
    """
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if max(size, 1e5) <= abs(value) < 1e15:
            return f"{value / size:.6g}{letter}".replace("-", "−")
    return re.sub(r"e([+-])0", r"e\1", f"{value:.6g}").replace("-", "−")


def share(part: float) -> str:
    """A share in percent, and no 0 % or 100 % that is not quite so.

    Examples
    --------
    >>> [share(part) for part in (0.0, 0.001, 0.5, 0.999, 1.0)]
    ['0 %', '<1 %', '50 %', '>99 %', '100 %']
    """
    if 0 < part < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < part < 1 else f"{part:.0%}".replace("%", " %")


def of_all(drawn: int, total: int, what: str) -> str:
    """What a title says of how much it shows: all, or so many of so many.

    Examples
    --------
    >>> of_all(8, 8, "columns"), of_all(16, 40, "columns")
    ('8 columns', '16 of 40 columns')
    """
    return counted(total, what) if drawn == total else f"{drawn:,} of {counted(total, what)}"


def counted(number: int, what: str) -> str:
    """So many things, or one.

    Examples
    --------
    >>> counted(1200, "rows"), counted(1, "rows")
    ('1,200 rows', '1 row')
    """
    return f"{number:,} {what.removesuffix('s') if number == 1 else what}"
