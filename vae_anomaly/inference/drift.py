"""Whether new rows come from where the training rows came from: every column, the score, and the order of the rows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from vae_anomaly.inference import wording
from vae_anomaly.inference.martingale import Stream, follow
from vae_anomaly.inference.two_samples import Difference, compare_codes, compare_missing, compare_numbers, holm
from vae_anomaly.tables import PixelSchema, Schema

SCORE = "(score)"  # the row of the result that belongs to no column of the table
SAME = "no drift found"

_Test = tuple[Difference | None, Callable[[Difference], str]]


@dataclass(frozen=True, eq=False)
class Drift:
    """Whether new rows differ from those of training.

    Attributes
    ----------
    columns : DataFrame
        A row for each column in use, by its name, and one, "(score)", for the anomaly score: ``kind``, ``p_value``,
        ``adjusted_p_value`` for all that was tested at once, ``drifted``, ``effect`` (the largest difference in the
        share of rows, from 0 to 1) and ``sentence``, what the difference is.
    stream : Stream or None
        What the order of the rows shows; None where it means nothing. Its ``largest`` martingale value is how many
        times over the rows speak against one source; ``alarm`` is the position of the first row at which it reached
        its ``threshold``, or None.
    """

    columns: pd.DataFrame
    stream: Stream | None

    @property
    def drifted(self) -> bool:
        """Whether a column, the score or the stream shows drift."""
        return bool(self.columns["drifted"].any()) or (self.stream is not None and self.stream.alarm is not None)


def find_drift(
    schema: Schema | PixelSchema,
    old: np.ndarray,
    new: np.ndarray,
    old_scores: np.ndarray,
    new_scores: np.ndarray,
    *,
    level: float,
    ordered: bool,
    rng: np.random.Generator,
) -> Drift:
    """Test everything, so that without drift anything at all is found with a probability of at most ``level``.

    Parameters
    ----------
    schema : Schema or PixelSchema
        What the cells are.
    old, new : ndarray
        (rows, cells) encoded rows of training and those to judge, NaN where a cell is missing.
    old_scores, new_scores : ndarray
        (rows,) scores of such rows that may be compared: low is odd.
    level : float
        Of it the stream takes half, where the rows are ``ordered``, and the columns and the score all the rest.
    """
    old, new = old.astype(np.float32), new.astype(np.float32)  # ties stay ties, whatever the last bit
    places: list[list[int]] = [[] for _ in schema.names]
    for place, cell in enumerate(schema.cells):
        places[cell.column].append(place)
    findings = [_of_column(schema, cells, old, new) for cells in places]
    findings.append(_of_scores(old_scores, new_scores))
    share = 0.5 if ordered else 1.0
    p_values = np.array([finding.p_value for finding in findings])
    adjusted = np.minimum(1.0, holm(p_values) / share)
    drifted = adjusted <= level
    columns = pd.DataFrame(
        {
            "kind": [*schema.kinds, "score"],
            "p_value": p_values,
            "adjusted_p_value": adjusted,
            "drifted": drifted,
            "effect": [finding.effect for finding in findings],
            "sentence": [found.say() if moved else SAME for found, moved in zip(findings, drifted, strict=True)],
        },
        index=pd.Index([*schema.names, SCORE], name="column"),
    )
    return Drift(columns, follow(old_scores, new_scores, share * level, rng) if ordered else None)


@dataclass(frozen=True)
class _Finding:
    """What all tests of a column found, and how to say it."""

    p_value: float
    effect: float
    say: Callable[[], str]


def _of_column(schema: Schema | PixelSchema, cells: list[int], old: np.ndarray, new: np.ndarray) -> _Finding:
    missing = [np.isnan(rows[:, cells[0]]) for rows in (old, new)]  # a value's cells are missing together
    tests: list[_Test] = [(compare_missing(*missing), wording.of_missing)]
    for cell in cells:
        about, (before, after) = schema.cells[cell], (rows[~np.isnan(rows[:, cell]), cell] for rows in (old, new))
        if about.kind == "number":
            tests.append((compare_numbers(before, after), partial(wording.of_numbers, schema, cell, before, after)))
        else:
            tests.append((compare_codes(before, after, about.unseen), partial(wording.of_codes, schema, cell)))
    return _strongest(tests)


def _of_scores(old: np.ndarray, new: np.ndarray) -> _Finding:
    return _strongest([(compare_numbers(old, new), partial(wording.of_scores, old, new))])


def _strongest(tests: list[_Test]) -> _Finding:
    """The smallest p-value, times the number of tests that could be asked."""
    asked = [(found, say) for found, say in tests if found is not None]
    found, say = min(asked, key=lambda test: (test[0].p_value, -test[0].effect))
    return _Finding(min(1.0, len(asked) * found.p_value), found.effect, partial(say, found))
