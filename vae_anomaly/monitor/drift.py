"""Whether new rows come from where the training rows came from: every column, the score, and the order of the rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from vae_anomaly.config import Settings
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema
from vae_anomaly.fit import fit_model
from vae_anomaly.fitted import FittedModel
from vae_anomaly.formatting import number, percent
from vae_anomaly.monitor import drift as wording
from vae_anomaly.monitor.martingale import Stream, follow
from vae_anomaly.monitor.two_sample import Difference, compare_codes, compare_missing, compare_numbers, holm
from vae_anomaly.training.callbacks import CallbackRunner

FEW_ROWS = 4096  # up to which a model tells its training rows from others like them


def comparable_scores(
    fitted: FittedModel, x: np.ndarray, settings: Settings, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of reference rows and of the encoded rows ``x`` (rows, cells) that differ only where the rows do.

    A model scores the rows that it was trained on better than others like them, even if none is its own exemplar: a
    net that was trained on few rows knows them, and no value of theirs is unseen. One row does not show it, but a
    thousand rows do (benchmarks/results/drift.md). So a second model, of half of the reference, scores the other half,
    which it never saw. Rows held out by "split" need none; convolutions would take minutes.
    """
    schema, reference = fitted.schema, fitted.reference
    many = schema.n_rows > FEW_ROWS and not schema.code_cells
    learned, others = np.array_split(np.random.default_rng(seed).permutation(reference.cells), 2)
    possible = len(others) and not np.isnan(learned).all(0).any()  # a column without a value cannot be learned
    if settings.calibration == "split" or settings.convolutional or many or not possible:
        return reference.scores, fitted.scorer.score(x)
    on_its_device, silent = replace(settings, device=str(fitted.scorer.device)), CallbackRunner(None, [])
    second = fit_model(
        schema, learned, fitted.inputs, fitted.is_frame, settings=on_its_device, seed=seed, monitor=silent
    )
    old, new = (second.scorer.score(_as_unseen(schema, rows, learned)) for rows in (others, x))
    return old, new


def _as_unseen(schema: Schema | PixelSchema, x: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """The rows ``x`` as they would be encoded, had the schema been learned from the rows ``learned`` alone."""
    x = x.copy()
    for place, cell in enumerate(schema.cells):
        if not cell.is_number:
            strange = ~np.isin(x[:, place], learned[:, place]) & ~np.isnan(x[:, place])
            x[strange, place] = cell.unseen
    return x


TELLING = 0.5  # of an effect that a shift or a spread must account for, to be what is said of it
ATOM = 0.1  # of the rows in one value, whose share is then more telling than a spread


def of_missing(difference: Difference) -> str:
    """How much is missing."""
    return f"missing in {_shares(difference)} of the rows"


def of_numbers(schema: Schema | PixelSchema, cell: int, old: np.ndarray, new: np.ndarray, found: Difference) -> str:
    """How far numbers moved, in training deviations; else how they spread; else where their shares differ most.

    A shift by d deviations of a normal density moves 0.40 d of it, a spread r times as wide 0.24 log r.
    """
    kind = schema.kinds[schema.cells[cell].column]
    shift, deviation = np.median(new) - np.median(old), old.std()
    quartiles = [np.subtract(*np.quantile(sample, [0.75, 0.25])) for sample in (old, new)]
    ratio = quartiles[1] / quartiles[0] if min(quartiles) > 0 else 1.0
    by_shift = 0.4 * abs(shift) / deviation if deviation else 0.0
    by_spread = 0.24 * abs(np.log(ratio))
    if by_shift >= max(TELLING * found.effect, by_spread):
        return f"{_towards(kind, shift)} by {_deviations(abs(shift) / deviation)}"
    if by_spread >= TELLING * found.effect and _atom(old) < ATOM:
        return f"spread {number(ratio, 2)} times as wide"
    return f"up to {_spell(schema, cell, found.place)}: {_shares(found)} of the rows"


def of_codes(schema: Schema | PixelSchema, cell: int, found: Difference) -> str:
    """Whose share changed most."""
    return f"{_spell(schema, cell, found.place)}: {_shares(found)} of the rows"


def of_scores(old: np.ndarray, new: np.ndarray, found: Difference) -> str:
    """How the anomaly scores moved, in nats; else where their shares differ most. Low scores are odd."""
    before, after = -np.median(old), -np.median(new)
    if 0.4 * abs(after - before) >= TELLING * found.effect * old.std():
        moved = "odder" if after > before else "less odd"
        return f"rows are {moved}: median from {number(before, 3)} to {number(after, 3)} nats"
    return f"anomaly score over {number(-found.place, 3)} nats: {_shares(found)} of the rows"


def _atom(sample: np.ndarray) -> float:
    """Share of the most common value."""
    return float(np.unique(sample, return_counts=True)[1].max() / len(sample))


def _towards(kind: str, shift: float) -> str:
    rising, falling = {"date": ("later", "earlier"), "pixel": ("brighter", "darker")}.get(kind, ("up", "down"))
    return f"shifted {rising if shift > 0 else falling}"


def _deviations(count: float) -> str:
    amount = number(count, 2)
    return f"{amount} deviation{'' if amount == '1' else 's'}"


def _shares(found: Difference) -> str:
    """Shares before and after, with as many digits as tell them apart."""
    for decimals in range(4):
        before, after = percent(found.before, decimals), percent(found.after, decimals)
        if before != after:
            break
    return f"{before}, now {after}"


def _spell(schema: Schema | PixelSchema, cell: int, value: float) -> str:
    """What a cell's value stands for in the table."""
    row = np.full((1, len(schema.cells)), np.nan)
    row[0, cell] = value
    about = schema.cells[cell]
    return about.describe(value, schema.decode(row)[schema.names[about.column]].iloc[0])


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
        share of rows, from 0 to 1) and ``message``, what the difference is.
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
            "message": [found.say() if moved else SAME for found, moved in zip(findings, drifted, strict=True)],
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
        if about.is_number:
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
