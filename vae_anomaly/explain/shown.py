"""Reasons of a row as figures and pages show them: a bar for each column, with the value seen and those expected."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import CategoryColumn, FlagColumn
from vae_anomaly.explain.explanation import LATENT, TOGETHER, Explanation, explain
from vae_anomaly.fitted import FittedModel
from vae_anomaly.formatting import cell_text, is_missing, percent, with_minus


@dataclass(frozen=True)
class ShownReason:
    """One column of one row: its surprise in nats, and its values as text.

    ``share`` is its part of all surprise of the row; ``range`` is the usual range of a number; ``frequency`` is how
    many rows of the table have the value, if it is no number.
    """

    column: str | int
    seen: str
    frequency: str
    expected: str
    range: str
    nats: float
    share: float

    @property
    def remark(self) -> str:
        """Difference between the value seen and those expected, in a few words."""
        expected = self.range or (self.expected if self.expected != self.seen else "")
        return "; ".join(part for part in (self.frequency, expected and f"expected {expected}") if part)


@dataclass(frozen=True)
class ShownReasons:
    """The columns with the highest surprise, and the number and sum of the others: all add up to the row's surprise.

    ``main`` has up to three of them, for one line of text; ``in_words`` are the sentences of `VAEDetector.reasons`.
    """

    shown: list[ShownReason]
    main: list[ShownReason]
    n_others: int
    others: float
    in_words: str


@dataclass(frozen=True, eq=False)
class ShownRows:
    """Explained rows, and how frequent the values of their table are that are no numbers."""

    found: Explanation
    frequencies: dict[str | int, pd.Series]

    @classmethod
    def of(cls, model: FittedModel, rows: Any, frame: pd.DataFrame | None = None) -> Self:
        """Explain rows; ``frame`` is the whole table under the column names of the model, if there is one."""
        columns = model.schema.columns if frame is not None else []
        names = [column.name for column in columns if isinstance(column, FlagColumn | CategoryColumn)]
        counts = {name: frame[name].value_counts(normalize=True) for name in names} if frame is not None else {}
        return cls(explain(model, rows), counts)

    def first(self, n: int) -> Self:
        """The first ``n`` of the rows, for `shares` and figures; their reasons in words are those of all."""
        found = self.found
        figures = {
            name: getattr(found, name).iloc[:n] for name in ("nats", "surprise", "value", "expected", "low", "high")
        }
        return type(self)(replace(found, **figures), self.frequencies)

    @cached_property
    def shares(self) -> np.ndarray:
        """Part of each column in the surprise of each row, (rows, columns + 1): at least 0, and 1 in sum."""
        surprise = self.found.surprise.to_numpy(np.float64).clip(min=0.0)
        return surprise / np.maximum(surprise.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)

    def baseline(self, row: int) -> float:
        """Score of a row if each column contributed what is typical of it."""
        return float((self.found.nats.iloc[row] - self.found.surprise.iloc[row]).sum())

    def reasons(self, row: int, most: int = 12) -> ShownReasons:
        """Reasons for the score of a row, highest surprise first."""
        surprises = self.found.surprise.iloc[row].astype(float)
        order = surprises.sort_values(ascending=False, kind="stable").index[:most]
        shown = [self._reason(name, row) for name in order]
        least = 0.1 * max(float(surprises.sum()), 0.0)  # a smaller part of the surprise is no main reason
        highest = zip(order[:3], shown, strict=False)
        main = [reason for name, reason in highest if reason.nats > least and name != LATENT]
        others = surprises.drop(order)
        (in_words,) = self.found.reasons(3, [row])
        return ShownReasons(shown, main or shown[:1], len(others), float(others.sum()), in_words)

    def _reason(self, name: Any, row: int) -> ShownReason:
        nats = float(self.found.surprise[name].iloc[row])
        share = float(self.shares[row, self.found.surprise.columns.get_loc(name)])
        if name == LATENT:
            return ShownReason(TOGETHER, "", "", "", "", nats, share)
        figures = self.found.value, self.found.expected, self.found.low, self.found.high
        value, *others = (figure[name].iloc[row] for figure in figures)
        expected, first, last = map(_expected_text, without_rounding_errors(others))
        frequency = ""
        if name in self.frequencies and not is_missing(value):
            frequency = f"in {percent(float(self.frequencies[name].get(value, 0.0)))} of rows"
        return ShownReason(
            column=name,
            seen=_signed_cell(value, digits=6),
            frequency=frequency,
            expected=expected,
            range=f"{first} to {last}" if first != last else "",
            nats=nats,
            share=share,
        )


def _signed_cell(value: Any, digits: int) -> str:
    """A cell, with a minus sign if it holds a number."""
    text = cell_text(value, digits, 60)
    return with_minus(text) if isinstance(value, Real) else text


def _expected_text(value: Any) -> str:
    """A value that the model expects; empty if there is none."""
    return "" if is_missing(value) else _signed_cell(value, digits=4)


def without_rounding_errors(values: list[Any]) -> list[Any]:
    """The values, with 0 for numbers below a millionth of the largest, which are rounding errors.

    Examples
    --------
    >>> without_rounding_errors([1e-17, 0.0, 0.08]), without_rounding_errors([None, "a", 1e-17])
    ([0.0, 0.0, 0.08], [None, 'a', 1e-17])
    """
    sizes = [abs(float(value)) if isinstance(value, float | np.floating) else math.inf for value in values]
    least = 1e-6 * max((size for size in sizes if math.isfinite(size)), default=0.0)
    return [0.0 if size < least else value for value, size in zip(values, sizes, strict=True)]
