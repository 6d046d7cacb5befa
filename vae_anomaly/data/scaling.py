"""
Standardised numbers: a robust centre and scale for each column, and tails drawn in so that float32 survives them.

Matrices are (rows, columns) of float64, NaN where a value is missing. A column is first scaled by the power of two that
brings its middle values near 1 (exact, so 1e300 and 1e-300 are as good as 1), then standardised, ``z``, then drawn in:
``z`` within 10 deviations, ``10 + log1p(z - 10)`` beyond, alike below. All is elementwise: a row stands for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

LINEAR = 10.0  # deviations within which a cell is proportional to its value
LEAST_FLOOR, MOST_FLOOR = 0.05, 1.0
FEW = 20  # distinct values up to which the gaps between them say how fine a column is
TRIMMED = 0.01  # share of the values on each side that centre and scale do not see
LARGEST = np.finfo(np.float64).max
_CHUNK = 2**20  # cells learned at a time


@dataclass(frozen=True, eq=False)
class Scaling:
    """Centre and scale of each column in units of ``2**exponent``, and the least noise scale that it can bear."""

    exponents: np.ndarray
    centres: np.ndarray
    scales: np.ndarray
    floors: np.ndarray

    @classmethod
    def learn(cls, numbers: np.ndarray) -> Self:
        """Learn from a matrix without infinite values in which every column has at least one value."""
        width = max(1, _CHUNK // len(numbers))
        starts = range(0, numbers.shape[1], width)
        return cls.joined([cls._learn(np.ascontiguousarray(numbers[:, start : start + width].T)) for start in starts])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The scaling of all columns, from those of a few each."""
        names = ("exponents", "centres", "scales", "floors")
        return cls(*(np.concatenate([getattr(part, name) for part in parts] or [np.empty(0)]) for name in names))

    @classmethod
    def _learn(cls, columns: np.ndarray) -> Self:
        ordered = np.sort(columns, axis=1)  # (columns, rows), missing values last
        counts = ordered.shape[1] - np.isnan(ordered).sum(axis=1)
        exponents, centres, scales = _robust(ordered, counts)
        stuck = _is_constant(centres, scales)
        scales[stuck] = _constant_scale(ordered[stuck], exponents[stuck], centres[stuck])
        floors = np.full(len(ordered), LEAST_FLOOR)
        new = ordered[:, 1:] > ordered[:, :-1]
        few = (new.sum(axis=1) > 0) & (new.sum(axis=1) < FEW)
        if few.any():
            unfloored = cls(exponents[few], centres[few], scales[few], floors[few])
            floors[few] = np.clip(0.25 * unfloored._gaps(ordered[few], new[few]), LEAST_FLOOR, MOST_FLOOR)
        return cls(exponents, centres, scales, floors)

    def _gaps(self, ordered: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Median gap between neighbouring distinct values of each column, standardised."""
        first = np.pad(new, ((0, 0), (1, 0)), constant_values=True)
        distinct = np.full((len(ordered), FEW), np.nan)
        distinct[np.nonzero(first)[0], (first.cumsum(axis=1) - 1)[first]] = ordered[first]
        return np.nanmedian(np.diff(self.apply(distinct.T), axis=0), axis=0)

    def apply(self, numbers: np.ndarray) -> np.ndarray:
        """Standardise and draw in the tails: strictly growing in each column, finite for every finite number."""
        with np.errstate(over="ignore", under="ignore"):
            cells = _times_power(numbers, -self.exponents)
            cells -= self.centres
            cells /= self.scales
        tail = np.abs(cells) > LINEAR
        if tail.any():
            beyond = cells[tail]
            cells[tail] = np.copysign(LINEAR + np.log1p(np.abs(beyond) - LINEAR), beyond)
            self._apply_far(numbers, cells)
        return cells

    def _apply_far(self, numbers: np.ndarray, cells: np.ndarray) -> None:
        """Where the deviations themselves overflow, their logarithm does not."""
        rows, columns = np.nonzero(np.isinf(cells))
        far = numbers[rows, columns]
        cells[rows, columns] = np.copysign(LINEAR + np.log(np.abs(far)) - self._log_units()[columns], far)

    def undo(self, cells: np.ndarray) -> np.ndarray:
        """Numbers whose cells these are, clipped to what a float holds."""
        reach = np.abs(cells) - LINEAR
        with np.errstate(over="ignore", under="ignore"):
            drawn_out = np.copysign(LINEAR + np.expm1(np.maximum(reach, 0.0)), cells)
            near = _times_power(np.where(reach > 0, drawn_out, cells) * self.scales + self.centres, self.exponents)
            far = np.copysign(np.exp(reach + self._log_units()), cells)
        return np.clip(np.where(reach > 700.0, far, near), -LARGEST, LARGEST)

    def _log_units(self) -> np.ndarray:
        """Logarithm of one deviation, in the column's own units."""
        return np.log(self.scales) + self.exponents * np.log(2.0)


def _times_power(numbers: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Multiply by ``2**exponents`` in two halves, each of which a float holds; four times as fast as ``ldexp``."""
    half = exponents // 2
    product = numbers * np.exp2(half.astype(np.float64))
    product *= np.exp2((exponents - half).astype(np.float64))
    return product


def _robust(ordered: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Exponent, centre and scale of the middle values of each column.

    From five values on, the outer 1 % on each side, and at least one value, are left out; columns whose middle is
    constant are seen with one value less on each side, and if need be whole.
    """
    enough = counts >= 5
    share = np.where(enough, np.ceil(TRIMMED * (counts - 1)), 0).astype(np.int64)
    found = _middle(ordered, counts, share)
    for dropped in (enough.astype(np.int64), np.zeros_like(counts)):
        stuck = _is_constant(found[1], found[2])
        if not stuck.any():
            break
        for values, again in zip(found, _middle(ordered[stuck], counts[stuck], dropped[stuck]), strict=True):
            values[stuck] = again
    return found


def _middle(ordered: np.ndarray, counts: np.ndarray, dropped: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exponent, mean and standard deviation of the sorted values without ``dropped`` on each side."""
    first, last, columns = dropped, counts - 1 - dropped, np.arange(len(ordered))
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


def _is_constant(centres: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return scales <= 8 * np.finfo(np.float64).eps * np.abs(centres)


def _constant_scale(ordered: np.ndarray, exponents: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """One for whole numbers (as far as floats count them one by one), otherwise the constant's own size."""
    whole = ((ordered == np.rint(ordered)) | np.isnan(ordered)).all(axis=1) & (exponents <= 53)
    size = np.where(centres == 0, 1.0, np.abs(centres))
    return np.where(whole, np.exp2(-np.clip(exponents, 0, 53).astype(np.float64)), size)
