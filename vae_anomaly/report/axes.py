"""Where things stand on an axis: places in percent of the drawing's width or height, and round numbers beside them.

The drawings of the page stretch with it, so that nothing in them is measured in pixels.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from vae_anomaly.formatting import number, with_minus

_ROUND = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Tick:
    """A number at an axis."""

    place: float  # percent
    text: str


@dataclass(frozen=True)
class Axis:
    """Numbers from ``low`` to ``high``, laid over ``extent`` percent of the drawing."""

    low: float
    high: float
    extent: float = 100.0

    @classmethod
    def over(cls, values: np.ndarray, margin: float) -> Self:
        """An axis for all values, or for all but a few that lie far off; ``margin`` is a share of it on each side."""
        first, last = np.quantile(values, [0.005, 0.995])
        reach = (last - first) / 2
        low, high = max(values.min(), first - reach), min(values.max(), last + reach)
        pad = margin * (high - low) or 1.0
        return cls(float(low - pad), float(high + pad))

    def places(self, values: np.ndarray) -> np.ndarray:
        """Percent; what lies beyond an end stands on it."""
        share = (values - self.low) / (self.high - self.low)
        placed: np.ndarray = self.extent * np.clip(share, 0.0, 1.0)
        return placed

    def beyond(self, values: np.ndarray) -> np.ndarray:
        """Whether each value lies beyond an end."""
        outside: np.ndarray = (values < self.low) | (values > self.high)
        return outside

    def ticks(self, most: int) -> list[Tick]:
        """At most ``most`` round numbers."""
        least_step = (self.high - self.low) / most
        size = 10.0 ** math.floor(math.log10(least_step))
        step = next(step * size for step in _ROUND if step * size >= least_step * (1 - 1e-9))
        numbers = step * np.arange(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        texts = [with_minus(number(value, 6)) for value in numbers]
        return [Tick(float(place), text) for place, text in zip(self.places(numbers), texts, strict=True)]
