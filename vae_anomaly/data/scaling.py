"""
Standardised numbers: a robust centre and scale for each column, and log-compressed tails so that float32 holds them.

Matrices are (rows, columns) of float64, NaN where a value is missing. A column is first scaled by the power of two that
brings its middle values near 1 (exact, so 1e300 and 1e-300 work as well as 1), then standardised to ``z``. A ``z``
beyond 10 deviations becomes ``10 + log1p(z - 10)``, likewise below -10. All of this is elementwise: the cells of a row
do not depend on other rows.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

import numpy as np

from vae_anomaly.data.parse import as_missing
from vae_anomaly.errors import DataWarning
from vae_anomaly.formatting import listed_names

LINEAR = 10.0  # deviations within which a cell is proportional to its value
LEAST_FLOOR, MOST_FLOOR = 0.05, 1.0  # deviations; range of the smallest noise scale
LARGEST = np.finfo(np.float64).max
ROUNDING = 1e-13  # of a column's size: a standard deviation up to it is taken for rounding
UNITS_IN_LAST_PLACE = 8  # of rounding without a warning


@dataclass(frozen=True, eq=False)
class Scaling:
    """Centre and scale of each column in units of ``2**exponent``, and the smallest noise scale of its cells."""

    exponents: np.ndarray
    centres: np.ndarray
    scales: np.ndarray
    floors: np.ndarray

    @classmethod
    def learn(cls, parts: Iterable[np.ndarray], names: Sequence[str | int] = ()) -> Self:
        """
        Learn from a table, given a few columns at a time, so that little memory is needed.

        Parameters
        ----------
        parts
            Matrices (rows, columns) without infinite values, in which every column has at least one value.
        names
            Names of the columns, for the warning.

        Warns
        -----
        DataWarning
            If columns vary so little for their size that they are taken for constant.
        """
        learned = [_learn_columns(np.ascontiguousarray(part.T)) for part in parts]
        if not learned:
            return cls(*np.empty((4, 0)))
        *scaling, rounded = map(np.concatenate, zip(*learned, strict=True))
        if rounded.any():
            columns = listed_names([names[index] if names else index for index in np.flatnonzero(rounded).tolist()])
            warnings.warn(
                "These columns count as constant, because they vary by less than 1e-13 of their size, which is little "
                f"more than the rounding of floats: {columns}. If the differences have a meaning, subtract a constant "
                "from the column before the table is written.",
                DataWarning,
                stacklevel=2,
            )
        return cls(*scaling)

    def apply(self, numbers: np.ndarray) -> np.ndarray:
        """Standardise and compress the tails: strictly increasing in each column, finite for every finite number.

        Plus infinity, an unreadable cell, stays what it is.
        """
        with np.errstate(over="ignore", under="ignore"):
            cells = _times_power(numbers, -self.exponents)
            cells -= self.centres
            cells /= self.scales
        tail = np.abs(cells) > LINEAR
        if tail.any():
            beyond = cells[tail]
            cells[tail] = np.copysign(LINEAR + np.log1p(np.abs(beyond) - LINEAR), beyond)
            rows, columns = np.nonzero(np.isinf(cells))  # the deviations overflow, but not their logarithm
            far, log_units = numbers[rows, columns], np.log(self.scales) + self.exponents * np.log(2.0)
            cells[rows, columns] = np.copysign(LINEAR + np.log(np.abs(far)) - log_units[columns], far)
        return cells

    def undo(self, cells: np.ndarray) -> np.ndarray:
        """The numbers that ``apply`` turns into these cells, clipped to the range of a float; infinite ones are NaN."""
        cells = as_missing(cells)
        reach = np.abs(cells) - LINEAR
        with np.errstate(over="ignore", under="ignore"):
            z = np.where(reach > 0, np.copysign(LINEAR + np.expm1(np.maximum(reach, 0.0)), cells), cells)
            near = _times_power(z * self.scales + self.centres, self.exponents)
            far = np.copysign(np.exp(reach + (np.log(self.scales) + self.exponents * np.log(2.0))), cells)
        return np.clip(np.where(reach > 700.0, far, near), -LARGEST, LARGEST)


def _learn_columns(columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """
    Exponents, centres, scales and noise floors of (columns, rows), and which columns vary by little more than rounding.

    From five values on, the outer 1 % on each side, and at least one value, are trimmed. If the rest is constant up to
    rounding, it is the centre. The scale is then the spread with two values trimmed on each side, so that the few other
    values are as far as they are rare. If that is constant as well, the scale is the ``_unit``, or the spread with none
    trimmed if that is smaller: one or two values say nothing about a spread.
    """
    ordered = np.sort(columns, axis=1)  # missing values last
    counts = ordered.shape[1] - np.isnan(ordered).sum(axis=1)
    one = np.where(counts >= 5, 1, 0)
    two = np.where(counts >= 20, 2, one)
    exponents, centres, scales = _middle(ordered, counts, one * np.ceil(0.01 * (counts - 1)).astype(np.int64))
    negligible = ROUNDING * np.abs(centres)
    rounded = (scales > UNITS_IN_LAST_PLACE * np.finfo(np.float64).eps * np.abs(centres)) & (scales <= negligible)
    constant = np.flatnonzero(scales <= negligible)
    whole = ((ordered[constant] == np.rint(ordered[constant])) | np.isnan(ordered[constant])).all(axis=1)
    facts = centres[constant].tolist(), exponents[constant].tolist(), whole.tolist()
    scales[constant] = [_unit(*each) for each in zip(*facts, strict=True)]
    for trimmed, largest in ((two, np.full_like(scales, np.inf)), (np.zeros_like(one), scales.copy())):
        powers, _, spreads = _middle(ordered[constant], counts[constant], trimmed[constant])
        with np.errstate(over="ignore", under="ignore"):
            spreads = np.ldexp(spreads, powers - exponents[constant])
        varies = spreads > negligible[constant]
        scales[constant[varies]] = np.minimum(largest[constant[varies]], spreads[varies])
        constant = constant[~varies]
    return exponents, centres, scales, _noise_floors(ordered, exponents, centres, scales), rounded


def _unit(centre: float, exponent: int, whole: bool) -> float:
    """
    Difference that is large in a column that is always ``centre``; both in units of ``2**exponent``.

    In a column of ``whole`` numbers it is 1, as far as floats count them one by one. For other numbers of up to nine
    digits it is one of the last digit, but at most 1 % of the number: 0.003 for 0.3, 0.001 for 123.456. Longer numbers
    are computed, and their last digits are rounding, in single precision from the eighth on: the unit is a millionth of
    the number.
    """
    if centre == 0 or (whole and exponent <= 53):
        return math.ldexp(1.0, -max(exponent, 0))
    longest, size = 9, abs(centre)
    _, digits, last = Decimal(f"{math.ldexp(size, exponent):.12g}").normalize().as_tuple()
    if len(digits) > longest:
        return 1e-6 * size
    last_digit = math.ldexp(10.0 ** min(int(last), 0), -exponent)
    return min(max(last_digit, 10.0**-longest * size), 0.01 * size)


def _noise_floors(ordered: np.ndarray, exponents: np.ndarray, centres: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """
    Smallest noise scale of sorted columns (columns, rows), in deviations.

    In a column with few distinct values, a quarter of the median gap between them; otherwise ``LEAST_FLOOR``.
    """
    few_values = 20
    floors = np.full(len(ordered), LEAST_FLOOR)
    new = ordered[:, 1:] > ordered[:, :-1]
    few = (new.sum(axis=1) > 0) & (new.sum(axis=1) < few_values)
    if few.any():
        first = np.pad(new[few], ((0, 0), (1, 0)), constant_values=True)
        distinct = np.full((len(first), few_values), np.nan)
        distinct[np.nonzero(first)[0], (first.cumsum(axis=1) - 1)[first]] = ordered[few][first]
        cells = Scaling(exponents[few], centres[few], scales[few], floors[few]).apply(distinct.T)
        gaps = np.nanmedian(np.diff(cells, axis=0), axis=0)
        floors[few] = np.clip(0.25 * gaps, LEAST_FLOOR, MOST_FLOOR)
    return floors


def _middle(ordered: np.ndarray, counts: np.ndarray, trimmed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exponent, mean and standard deviation of sorted columns (columns, rows), ``trimmed`` values left out per side."""
    first, last, columns = trimmed, counts - 1 - trimmed, np.arange(len(ordered))
    reach = np.maximum(np.abs(ordered[columns, first]), np.abs(ordered[columns, last]))
    exponents = np.frexp(reach)[1].astype(np.int64)
    median = ordered[columns, (first + last) // 2]
    position = np.arange(ordered.shape[1])
    inside = (position >= first[:, None]) & (position <= last[:, None])
    with np.errstate(under="ignore"):
        scaled = _times_power(np.where(inside, ordered, median[:, None]), -exponents[:, None])
        middle = _times_power(median, -exponents)
        deviations = scaled - middle[:, None]  # from a value of the column: 0 where it is constant, exact at 1e9 ± 1
        shift = deviations.sum(axis=1) / (last - first + 1)
        squares = np.where(inside, deviations - shift[:, None], 0.0) ** 2
        return exponents, middle + shift, np.sqrt(squares.sum(axis=1) / (last - first + 1))


def _times_power(numbers: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Multiply by ``2**exponents`` in two halves, each of which a float holds; four times as fast as ``ldexp``."""
    half = exponents // 2
    product = numbers * np.exp2(half.astype(np.float64))
    product *= np.exp2((exponents - half).astype(np.float64))
    return product
