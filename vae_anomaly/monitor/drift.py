"""Drift: tests of whether new rows come from the distribution of the training rows.

Every column and the anomaly score are compared between the two samples, and the scores are followed along the rows.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from vae_anomaly.config import Settings
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError
from vae_anomaly.fit import TrainingTable, fit_model
from vae_anomaly.fitted import FittedModel, n_asked
from vae_anomaly.formatting import number, percent
from vae_anomaly.monitor.martingale import Stream, follow
from vae_anomaly.monitor.two_sample import Difference, compare_codes, compare_missing, compare_numbers, holm
from vae_anomaly.training.callbacks import CallbackRunner

SCORE = "(score)"  # the row of the result that belongs to no column of the table
NO_DRIFT = "no drift found"
STEP_WORK, MOST_WORK = 10**7, 3 * 10**12  # multiplications: what a step takes besides them, and some ten minutes


@dataclass(frozen=True, eq=False)
class Drift:
    """Differences between new rows and those of training.

    Attributes
    ----------
    columns : DataFrame
        A row for each column in use, by its name, and one, "(score)", for the anomaly score: ``kind``, ``p_value``,
        ``adjusted_p_value`` for all tests together, ``drifted``, ``effect`` (the largest difference in the fraction of
        rows, from 0 to 1) and ``message``, what the difference is.
    stream : Stream or None
        Evidence from the order of the rows, None if the order means nothing. Its ``largest`` martingale value is the
        strongest evidence against one distribution; ``alarm`` is the position of the first row at which it reached
        its ``threshold``, or None.
    """

    columns: pd.DataFrame
    stream: Stream | None

    @property
    def drifted(self) -> bool:
        """True if a column, the score or the stream shows drift."""
        return bool(self.columns["drifted"].any()) or (self.stream is not None and self.stream.alarm is not None)


def comparable_scores(
    fitted: FittedModel, x: np.ndarray, settings: Settings, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of reference rows and of new rows that differ only if the rows do.

    A model scores the rows that it was trained on better than others like them, even if none is its own exemplar: a
    network that was trained on few rows has memorised them, and none of their values is unseen. One row does not show
    it, but a thousand rows do (benchmarks/results/drift.md). So a second model, of half of the reference rows, scores
    the other half, which it has not seen. Rows held out by "split" need none; convolutions would take minutes.

    Parameters
    ----------
    fitted : FittedModel
        The model.
    x : ndarray
        (rows, cells) encoded new rows.
    settings : Settings
        Parameters of the model.
    seed : int
        Halves the reference rows and fits the second model.

    Raises
    ------
    DataError
        The parameters ask for a training that takes much longer than ten minutes: a model file may ask for any.
    """
    schema, reference = fitted.schema, fitted.reference
    many = schema.n_rows > 4096 and not schema.code_cells  # from here on training rows score like others
    learned, others = np.array_split(np.random.default_rng(seed).permutation(reference.cells), 2)
    possible = len(others) and not (~np.isfinite(learned)).all(0).any()  # a column without a value cannot be learned
    if settings.calibration == "split" or settings.recipe.convolutional or many or not possible:
        return reference.scores, fitted.scorer.score(x)
    steps, batch = (1 if isinstance(asked, str) else int(asked) for asked in (settings.max_iter, settings.batch_size))
    if steps * (STEP_WORK + min(batch, len(learned)) * n_asked(asdict(settings), fitted)) > MOST_WORK:
        raise DataError(
            "The test for drift fits a second model with the parameters of this one, which takes too long with "
            f"max_iter={steps:,}. Set a smaller max_iter, or fit with calibration='split', which needs no second model."
        )
    second = fit_model(
        TrainingTable(schema, fitted.inputs, fitted.is_frame, x=learned),
        settings=replace(settings, device=str(fitted.scorer.device)),
        seed=seed,
        callbacks=CallbackRunner(None, []),
    )
    old, new = (second.scorer.score(_with_unseen_values(schema, rows, learned)) for rows in (others, x))
    return old, new


def _with_unseen_values(schema: Schema | PixelSchema, x: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """The rows ``x`` as a schema that was learned from the encoded rows ``learned`` alone would encode them."""
    x = x.copy()
    for index, cell in enumerate(schema.cells):
        if not cell.is_number:
            unseen = ~np.isin(x[:, index], learned[:, index]) & ~np.isnan(x[:, index])
            x[unseen, index] = cell.unseen
    return x


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
    """Test all columns, the scores and the stream: without drift the probability of any finding is at most ``level``.

    Parameters
    ----------
    schema : Schema or PixelSchema
        Description of the cells.
    old, new : ndarray
        (rows, cells) encoded training rows and new rows, NaN where a cell is missing, inf where it is unreadable.
    old_scores, new_scores : ndarray
        (rows,) comparable scores of such rows: low is anomalous.
    level : float
        Probability of a false alarm. If the rows are ``ordered``, the stream takes half of it.
    ordered : bool
        The rows are a stream, in which a change may begin anywhere.
    rng : numpy.random.Generator
        Breaks ties of the stream.
    """
    old, new = old.astype(np.float32), new.astype(np.float32)  # values that differ in the last bits stay ties
    cells_of_columns: list[list[int]] = [[] for _ in schema.names]
    for index, cell in enumerate(schema.cells):
        cells_of_columns[cell.column].append(index)
    of_columns = [_test_column(schema, cells, old, new) for cells in cells_of_columns]
    of_scores = compare_numbers(old_scores, new_scores)
    assert of_scores is not None  # neither sample is empty

    part = 0.5 if ordered else 1.0  # of the level
    p_values = np.array([*(p_value for p_value, _, _ in of_columns), of_scores.p_value])
    adjusted = np.minimum(1.0, holm(p_values) / part)
    drifted = adjusted <= level
    messages = [
        _describe_column(schema, cells, cell, old, new, difference) if moved else NO_DRIFT
        for cells, (_, difference, cell), moved in zip(cells_of_columns, of_columns, drifted[:-1], strict=True)
    ]
    messages.append(_describe_scores(old_scores, new_scores, of_scores) if drifted[-1] else NO_DRIFT)
    columns = pd.DataFrame(
        {
            "kind": [*schema.kinds, "score"],
            "p_value": p_values,
            "adjusted_p_value": adjusted,
            "drifted": drifted,
            "effect": [*(difference.effect for _, difference, _ in of_columns), of_scores.effect],
            "message": messages,
        },
        index=pd.Index([*schema.names, SCORE], name="column"),
    )
    return Drift(columns, follow(old_scores, new_scores, part * level, rng) if ordered else None)


def _test_column(
    schema: Schema | PixelSchema, cells: list[int], old: np.ndarray, new: np.ndarray
) -> tuple[float, Difference, int | None]:
    """The p-value of a column for all tests of its ``cells``, the strongest difference, and in which cell it is.

    The cell is None if the missing or unreadable values differ most.
    """
    tests: list[tuple[Difference | None, int | None]] = [
        (compare_missing(~np.isfinite(old[:, cells[0]]), ~np.isfinite(new[:, cells[0]])), None)  # all cells together
    ]
    for index in cells:
        cell, (before, after) = schema.cells[index], _observed(index, old, new)
        compared = compare_numbers(before, after) if cell.is_number else compare_codes(before, after, cell.unseen)
        tests.append((compared, index))
    possible = [(difference, of_cell) for difference, of_cell in tests if difference is not None]
    strongest, of_cell = min(possible, key=lambda test: (test[0].p_value, -test[0].effect))
    return min(1.0, len(possible) * strongest.p_value), strongest, of_cell


def _observed(index: int, *samples: np.ndarray) -> list[np.ndarray]:
    """Values of one cell that are neither missing nor unreadable, of each of the samples (rows, cells)."""
    return [rows[np.isfinite(rows[:, index]), index] for rows in samples]


def _describe_column(
    schema: Schema | PixelSchema,
    cells: list[int],
    index: int | None,
    old: np.ndarray,
    new: np.ndarray,
    difference: Difference,
) -> str:
    """The difference in words: how numbers shifted or spread, else where the fractions of rows differ most."""
    if index is None:
        unreadable = np.isposinf(old[:, cells]).any() or np.isposinf(new[:, cells]).any()
        return f"missing{' or unreadable' if unreadable else ''} in {_fractions(difference)} of the rows"
    cell = schema.cells[index]
    if cell.is_number:
        before, after = _observed(index, old, new)
        moved = _shift_or_spread(before, after, difference.effect, schema.kinds[cell.column])
        if moved is not None:
            return moved
    row = np.full((1, len(schema.cells)), np.nan)
    row[0, index] = difference.location
    value = cell.describe(difference.location, schema.decode(row)[schema.names[cell.column]].iloc[0])
    return f"{'up to ' if cell.is_number else ''}{value}: {_fractions(difference)} of the rows"


def _shift_or_spread(old: np.ndarray, new: np.ndarray, effect: float, kind: str) -> str | None:
    """How far numbers shifted, in training deviations, or how they spread; None if neither explains the effect.

    In a normal density a shift by d deviations changes the fraction of rows by up to 0.40 d, a spread r times as wide
    by 0.24 log r.
    """
    shift, deviation = np.median(new) - np.median(old), old.std()
    quartiles = [np.subtract(*np.quantile(sample, [0.75, 0.25])) for sample in (old, new)]
    ratio = quartiles[1] / quartiles[0] if min(quartiles) > 0 else 1.0
    by_shift = 0.4 * abs(shift) / deviation if deviation else 0.0
    by_spread = 0.24 * abs(np.log(ratio))
    if by_shift >= max(0.5 * effect, by_spread):
        later = ("later", "earlier")
        ups, downs = {"date": later, "time": later, "pixel": ("brighter", "darker")}.get(kind, ("up", "down"))
        deviations = number(abs(shift) / deviation, 2)
        plural = "" if deviations == "1" else "s"
        return f"shifted {ups if shift > 0 else downs} by {deviations} deviation{plural}"
    most_common = np.unique(old, return_counts=True)[1].max() / len(old)
    if by_spread >= 0.5 * effect and most_common < 0.1:  # else the fraction of the common value is more informative
        return f"spread {number(ratio, 2)} times as wide"
    return None


def _describe_scores(old: np.ndarray, new: np.ndarray, difference: Difference) -> str:
    """How the anomaly scores moved, in nats, else where the fractions of rows differ most."""
    before, after = -np.median(old), -np.median(new)
    if 0.4 * abs(after - before) >= 0.5 * difference.effect * old.std():
        moved = "more" if after > before else "less"
        return f"rows are {moved} anomalous: median from {number(before, 3)} to {number(after, 3)} nats"
    return f"anomaly score over {number(-difference.location, 3)} nats: {_fractions(difference)} of the rows"


def _fractions(difference: Difference) -> str:
    """Fractions before and after, with as many decimals as distinguish them."""
    for decimals in range(4):
        before, after = percent(difference.before, decimals), percent(difference.after, decimals)
        if before != after:
            break
    return f"{before}, now {after}"
