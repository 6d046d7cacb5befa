"""Reference scores of rows that a model had not seen: whose they are, and how they are come by."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vae_anomaly.errors import DataError
from vae_anomaly.fitted import Fitted
from vae_anomaly.fitting import fit_model
from vae_anomaly.inference.reference import Reference
from vae_anomaly.inference.thresholds import offset
from vae_anomaly.tables import HELD_OUT, Cells, OtherShares, PixelSchema, Schema, parts, selected
from vae_anomaly.training.callbacks import Monitor
from vae_anomaly.training.checkpoints import checkpoint_file
from vae_anomaly.training.settings import Settings

FEWEST_ROWS = 10  # that can be divided
FOLDS = 5
FEW_ROWS = 4096  # up to which a model tells its training rows from others like them


def held_out_rows(n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the rows to train on and of those to hold out, both rising.

    Raises
    ------
    DataError
        There are too few rows.
    """
    if n_rows < FEWEST_ROWS:
        raise DataError(
            f"The table has {n_rows} rows; calibration='split' and 'cross' divide {FEWEST_ROWS} at least. "
            "Use calibration='leave_one_out'."
        )
    drawn = np.random.default_rng(seed).permutation(n_rows)
    held_out = round(HELD_OUT * n_rows)
    return np.sort(drawn[held_out:]), np.sort(drawn[:held_out])


def fit_calibrated(
    schema: Schema | PixelSchema,
    x: Cells,
    held_out: Cells | None,
    inputs: list[str | int],
    frame: bool,
    *,
    settings: Settings,
    seed: int,
    monitor: Monitor,
    fold_monitor: Monitor,
    others: OtherShares | None = None,
    folder: Path | None = None,
) -> Fitted:
    """Train on the rows ``x`` (rows, cells) and ``others``, and calibrate on what the settings say.

    Checkpoints are kept in the ``folder``.
    """
    kept_in = checkpoint_file(folder, "fit")
    fitted = fit_model(
        schema, x, inputs, frame, settings=settings, seed=seed, monitor=monitor, others=others, kept_in=kept_in
    )
    if held_out is not None:
        return _judged_by_held_out(fitted, held_out, settings, seed)
    if settings.calibration == "cross":
        return _judged_by_folds(fitted, x, settings, seed, fold_monitor, folder)
    return fitted


def comparable_scores(fitted: Fitted, x: np.ndarray, settings: Settings, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of reference rows and of the encoded rows ``x`` (rows, cells) that differ only where the rows do.

    A model scores the rows that it was trained on better than others like them, even if none is its own exemplar: a
    net that was trained on few rows knows them, and no value of theirs is unseen. One row does not show it, but a
    thousand rows do (benchmarks/results/drift.md). So a second model, of half of the reference, scores the other half,
    which it never saw. Rows held out by "split" need none; convolutions would take minutes.
    """
    schema, reference = fitted.schema, fitted.reference
    many = schema.n_rows > FEW_ROWS and all(cell.kind != "code" for cell in schema.cells)
    learned, others = np.array_split(np.random.default_rng(seed).permutation(reference.cells), 2)
    possible = len(others) and not np.isnan(learned).all(0).any()  # a column without a value cannot be learned
    if settings.calibration == "split" or settings.convolutional or many or not possible:
        return reference.scores, fitted.scorer.score(x)
    on_its_device, silent = replace(settings, device=str(fitted.scorer.device)), Monitor(None, [])
    second = fit_model(schema, learned, fitted.inputs, fitted.frame, settings=on_its_device, seed=seed, monitor=silent)
    old, new = (second.scorer.score(_as_unseen(schema, rows, learned)) for rows in (others, x))
    return old, new


def _as_unseen(schema: Schema | PixelSchema, x: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """The rows ``x`` as they would be encoded, had the schema been learned from the rows ``learned`` alone."""
    x = x.copy()
    for place, cell in enumerate(schema.cells):
        if cell.kind != "number":
            strange = ~np.isin(x[:, place], learned[:, place]) & ~np.isnan(x[:, place])
            x[strange, place] = cell.unseen
    return x


def _judged_by_held_out(fitted: Fitted, x: Cells, settings: Settings, seed: int) -> Fitted:
    """The model with the scores of rows ``x`` (rows, cells) that it was not fitted to as its reference."""
    return _judged_by(fitted, x, np.concatenate([fitted.scorer.score(part) for part in parts(x)]), settings, seed)


def _judged_by_folds(
    fitted: Fitted, x: Cells, settings: Settings, seed: int, monitor: Monitor, folder: Path | None
) -> Fitted:
    """The model with scores of its training rows ``x`` as its reference, each under a model fitted without its fold.

    That is cross-conformal prediction (Vovk, arXiv 1208.0806) with the whole table's model in place of the folds' where
    new rows are scored: it has seen a fifth more, so the reference is, if anything, the odder. The schema is the whole
    table's: else scores would differ by how each fold is standardised.
    """
    scores = np.empty(len(x))
    for number, fold in enumerate(_folds(len(x), seed), 1):
        rest = selected(x, np.delete(np.arange(len(x)), fold))
        if np.all([np.isnan(part).all(0) for part in parts(rest)], axis=0).any():
            raise DataError(
                "A column has so few values that calibration='cross' leaves it without any in a fifth of its fits. "
                "Use calibration='leave_one_out', or leave the column out."
            )
        model = fit_model(
            fitted.schema,
            rest,
            fitted.inputs,
            fitted.frame,
            settings=settings,
            seed=seed + number,
            monitor=monitor,
            kept_in=checkpoint_file(folder, f"fold-{number}"),
        )
        scores[fold] = model.scorer.score(x[fold])
    return _judged_by(fitted, x, scores, settings, seed)


def _folds(n_rows: int, seed: int) -> Iterator[np.ndarray]:
    drawn = np.random.default_rng(seed).permutation(n_rows)
    yield from np.array_split(drawn, FOLDS)


def _judged_by(fitted: Fitted, x: Cells, scores: np.ndarray, settings: Settings, seed: int) -> Fitted:
    reference = Reference.of(x, scores, np.random.default_rng(seed))
    record = replace(fitted.record, offset=offset(scores, settings.contamination))
    return replace(fitted, reference=reference, record=record)
