"""
Standardised numbers: a robust centre and scale for each column, and log-compressed tails so that float32 holds them.

Matrices are (rows, columns) of float64, NaN where a value is missing. A column is first scaled by the power of two that
brings its middle values near 1 (exact, so 1e300 and 1e-300 work as well as 1). A skewed column then becomes
``arcsinh(x / width)``, linear within a width of 0 and logarithmic beyond, on both sides.
The result is standardised to ``z``. A ``z`` beyond 10 deviations becomes ``10 + log1p(z - 10)``, likewise below -10.
All of this is elementwise: the cells of a row do not depend on other rows.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
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
SKEWED, OCTILES_SKEWED = 1.0, 0.45  # both skewnesses of the middle values from which a column is bent
LEAST_GAIN = 0.7  # of its skewness that bending must leave at most
FEWEST_VALUES = 40  # for a skewness
OUTER = 0.025  # fraction of the values on each side, and at least two, without which a column must be skewed
QUANTILES = 256  # of a column, from which its skewness is computed
WIDTHS = 0.9, 0.75, 0.5, 0.25, 0.1, 0.02  # quantiles of the sizes that are tried as the width,
NARROW, FEW_ZEROS = 0.1, 0.05  # and this part of the last, unless that fraction of the values is 0
LEAST_WIDTH = 1e-12  # of a column's size
FEW_VALUES = 10  # distinct ones; a column of fewer holds grades rather than amounts
SYMMETRIC = 0.2  # skewness up to which one width is as good as another


@dataclass(frozen=True, eq=False)
class Scaling:
    """Scale of each column: width in units of ``2**exponent``, and centre and scale of what results.

    A width of 0 leaves a column as it is; the centre and the scale are then in units of ``2**exponent`` as well.
    ``floors`` are the smallest noise scales of the cells.
    """

    exponents: np.ndarray
    widths: np.ndarray
    centres: np.ndarray
    scales: np.ndarray
    floors: np.ndarray

    @classmethod
    def learn(cls, parts: Iterable[np.ndarray], names: Sequence[str | int] = (), straight: Sequence[bool] = ()) -> Self:
        """
        Learn from a table, given a few columns at a time, so that little memory is needed.

        Parameters
        ----------
        parts
            Matrices (rows, columns) without infinite values, in which every column has at least one value.
        names
            Names of the columns, for the warning.
        straight
            True for each column that keeps its scale even if it is skewed; none by default.

        Warns
        -----
        DataWarning
            If columns vary so little for their size that they are taken for constant.
        """
        learned, first = [], 0
        for part in parts:
            kept = np.array(straight[first : first + part.shape[1]] or [False] * part.shape[1], dtype=bool)
            learned.append(_learn_columns(np.ascontiguousarray(part.T), kept))
            first += part.shape[1]
        if not learned:
            return cls(*np.empty((5, 0)))
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
            bent = np.flatnonzero(self.widths)
            if len(bent):
                cells[:, bent] = np.arcsinh(cells[:, bent] / self.widths[bent])
                rows, columns = np.nonzero(np.isinf(cells[:, bent]))  # they overflow, but not their logarithm
                far, columns = numbers[rows, bent[columns]], bent[columns]
                cells[rows, columns] = np.copysign(np.log(np.abs(far)) - self._log_units[columns] + np.log(2.0), far)
            cells -= self.centres
            cells /= self.scales
        tail = np.abs(cells) > LINEAR
        if tail.any():
            beyond = cells[tail]
            cells[tail] = np.copysign(LINEAR + np.log1p(np.abs(beyond) - LINEAR), beyond)
            rows, columns = np.nonzero(np.isinf(cells))  # the deviations overflow, but not their logarithm
            far = numbers[rows, columns]
            cells[rows, columns] = np.copysign(LINEAR + np.log(np.abs(far)) - self._log_units[columns], far)
        return cells

    def undo(self, cells: np.ndarray) -> np.ndarray:
        """The numbers that ``apply`` turns into these cells, clipped to the range of a float; infinite ones are NaN."""
        cells = as_missing(cells)
        reach = np.abs(cells) - LINEAR
        with np.errstate(over="ignore", under="ignore"):
            z = np.where(reach > 0, np.copysign(LINEAR + np.expm1(np.maximum(reach, 0.0)), cells), cells)
            value = z * self.scales + self.centres
            far = np.copysign(np.exp(reach + self._log_units), cells)
            is_far = reach > 700.0
            if (bent := self.widths > 0).any():
                logs = np.abs(value[:, bent])
                far[:, bent] = np.copysign(np.exp(logs - np.log(2.0) + self._log_units[bent]), value[:, bent])
                is_far[:, bent] = logs > 700.0
                value[:, bent] = np.sinh(value[:, bent]) * self.widths[bent]
            near = _times_power(value, self.exponents)
        return np.clip(np.where(is_far, far, near), -LARGEST, LARGEST)

    def formulas(self) -> list[str]:
        """The scale of each column: "linear", or how a number ``x`` is bent."""
        widths = _times_power(self.widths, self.exponents)
        return [f"arcsinh(x / {width:.4g})" if width else "linear" for width in widths.tolist()]

    def of(self, columns: np.ndarray) -> "Scaling":
        """The scaling of some columns alone."""
        return Scaling(*(getattr(self, part.name)[columns] for part in fields(self)))

    @property
    def _log_units(self) -> np.ndarray:
        """Logarithm of each column's unit: its width, or its scale where it is not bent."""
        log_units: np.ndarray = np.log(np.where(self.widths > 0, self.widths, self.scales))
        return log_units + self.exponents * np.log(2.0)


def _learn_columns(columns: np.ndarray, straight: np.ndarray) -> tuple[np.ndarray, ...]:
    """
    The arrays of a `Scaling` of (columns, rows), and which columns vary by little more than rounding.

    From five values on, the outer 1 % on each side, and at least one value, are trimmed. If the rest is constant up to
    rounding, it is the centre. The scale is then the spread with two values trimmed on each side, so that the few other
    values are as far as they are rare. If that is constant as well, the scale is the ``_unit``, or the spread with none
    trimmed if that is smaller: one or two values say nothing about a spread.
    """
    ordered = np.sort(columns, axis=1)  # missing values last
    counts = ordered.shape[1] - np.isnan(ordered).sum(axis=1)
    one = np.where(counts >= 5, 1, 0)
    two = np.where(counts >= 20, 2, one)
    trimmed = one * np.ceil(0.01 * (counts - 1)).astype(np.int64)
    exponents, centres, scales = _middle(ordered, counts, trimmed)
    negligible = ROUNDING * np.abs(centres)
    rounded = (scales > UNITS_IN_LAST_PLACE * np.finfo(np.float64).eps * np.abs(centres)) & (scales <= negligible)
    is_constant = scales <= negligible
    constant = np.flatnonzero(is_constant)
    whole = ((ordered[constant] == np.rint(ordered[constant])) | np.isnan(ordered[constant])).all(axis=1)
    facts = centres[constant].tolist(), exponents[constant].tolist(), whole.tolist()
    scales[constant] = [_unit(*each) for each in zip(*facts, strict=True)]
    for left_out, largest in ((two, np.full_like(scales, np.inf)), (np.zeros_like(one), scales.copy())):
        powers, _, spreads = _middle(ordered[constant], counts[constant], left_out[constant])
        with np.errstate(over="ignore", under="ignore"):
            spreads = np.ldexp(spreads, powers - exponents[constant])
        varies = spreads > negligible[constant]
        scales[constant[varies]] = np.minimum(largest[constant[varies]], spreads[varies])
        constant = constant[~varies]
    widths = np.zeros(len(ordered))
    tried = np.flatnonzero(~straight & ~is_constant & (counts >= FEWEST_VALUES))
    widths[tried] = _bends(_quantiles_within(ordered[tried], counts[tried], exponents[tried]))
    bent = np.flatnonzero(widths)
    if len(bent):
        numbers = np.arcsinh(_times_power(ordered[bent], -exponents[bent, None]) / widths[bent, None])
        powers, centres[bent], scales[bent] = _middle(numbers, counts[bent], trimmed[bent])
        centres[bent], scales[bent] = np.ldexp(centres[bent], powers), np.ldexp(scales[bent], powers)
    learned = Scaling(exponents, widths, centres, scales, np.full(len(ordered), LEAST_FLOOR))
    return exponents, widths, centres, scales, _noise_floors(ordered, learned), rounded


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


def _quantiles_within(ordered: np.ndarray, counts: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Quantiles of sorted columns (columns, rows) without their outer values, in units of ``2**exponent``."""
    outer = np.maximum(2, np.ceil(OUTER * counts).astype(np.int64))
    ranks = outer[:, None] + np.linspace(0, 1, QUANTILES) * (counts - 1 - 2 * outer)[:, None]
    quantiles = ordered[np.arange(len(ordered))[:, None], np.rint(ranks).astype(np.int64)]
    return _times_power(quantiles, -exponents[:, None])


def _bends(middle: np.ndarray) -> np.ndarray:
    """
    Widths of columns, given quantiles of their middle values (columns, quantiles); 0 for a column that is not bent.

    A column of one sign and of many values is bent if it is skewed, with the width that leaves the least skewness, if
    that is clearly less. Where several do about as well it is a narrow one: amounts become logarithms.
    """
    widths, skewness = np.zeros(len(middle)), _skewness(middle)
    are_amounts = ((middle[:, 0] >= 0) | (middle[:, -1] <= 0)) & ((np.diff(middle) > 0).sum(axis=1) >= FEW_VALUES)
    is_skewed = (np.abs(skewness) > SKEWED) & (np.abs(_octile_skewness(middle)) > OCTILES_SKEWED)
    skewed = np.flatnonzero(are_amounts & is_skewed)
    if not len(skewed):
        return widths
    middle, least = middle[skewed], LEAST_GAIN * np.abs(skewness[skewed])
    sizes = np.abs(middle)
    tried = _quantiles(np.where(sizes > 0, sizes, np.nan), WIDTHS).clip(LEAST_WIDTH)
    few_zeros = (sizes == 0).mean(axis=1) < FEW_ZEROS
    for width in [*tried, np.where(few_zeros, NARROW * tried[-1], tried[-1])]:
        left = np.maximum(np.abs(_skewness(np.arcsinh(middle / width[:, None]))), SYMMETRIC)
        better = left <= least
        least[better], widths[skewed[better]] = left[better], width[better]
    return widths


def _octile_skewness(quantiles: np.ndarray) -> np.ndarray:
    """How much farther the upper octile is from the median than the lower one, from -1 to 1.

    Up to an eighth of the values, outliers for instance, do not count (Hinkley 1975).
    """
    low, median, high = quantiles[:, [QUANTILES // 8, QUANTILES // 2, QUANTILES * 7 // 8]].T
    skewness: np.ndarray = (high + low - 2 * median) / np.maximum(high - low, np.finfo(float).tiny)
    return skewness


def _quantiles(numbers: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Quantiles (fractions, columns) of (columns, rows), each one of the numbers; missing ones do not count."""
    ordered = np.sort(numbers, axis=1)
    last = numbers.shape[1] - np.isnan(numbers).sum(axis=1) - 1
    ranks = np.rint(np.multiply.outer(np.array(fractions), last)).astype(np.int64)
    return ordered[np.arange(len(ordered)), ranks]


def _skewness(numbers: np.ndarray) -> np.ndarray:
    """Third standardised moment of each row."""
    deviations = numbers - numbers.mean(axis=1, keepdims=True)
    variances = (deviations**2).mean(axis=1)
    skewness: np.ndarray = (deviations**3).mean(axis=1) / np.maximum(variances, np.finfo(float).tiny ** 0.5) ** 1.5
    return skewness


def _noise_floors(ordered: np.ndarray, scaling: Scaling) -> np.ndarray:
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
        cells = scaling.of(few).apply(distinct.T)
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
