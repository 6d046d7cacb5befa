"""The whole fit, from an encoded table to a fitted model, in its order."""

import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.config import (
    Architecture,
    Settings,
    choose_architecture,
    make_plan,
    number_likelihood,
    resolve_device,
    resolve_precision,
)
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.sampling import HELD_OUT, RemainingShards
from vae_anomaly.data.schema import EncodedMatrix, Schema, encoded, parts, selected
from vae_anomaly.errors import DataError
from vae_anomaly.fitted import FitRecord, FittedModel, LatentSummary, ReferenceRows, likelihood_of
from vae_anomaly.model.objectives import OBJECTIVES
from vae_anomaly.model.pca_init import fit_exemplar_init, fit_gaussian_init, pca_rows
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.decide import threshold
from vae_anomaly.scoring.scorer import Scorer, baseline_contributions, column_contributions, make_scorer
from vae_anomaly.training.callbacks import CallbackRunner
from vae_anomaly.training.checkpoints import Checkpoint, checkpoint_file
from vae_anomaly.training.trainer import Trainer


@dataclass(frozen=True)
class Loaded:
    """Encoded rows on their device, (rows, cells), and what is to be known of all of them.

    ``extent`` (2, cells) is the least and the largest of each cell, ``missing`` are the cells that some rows lack.
    """

    rows: Tensor
    extent: np.ndarray
    missing: tuple[int, ...]

    @classmethod
    def of(cls, x: EncodedMatrix, dtype: torch.dtype, device: torch.device) -> "Loaded":
        """From encoded rows; long tables are encoded a few rows at a time, and never held in float64."""
        rows, first = _room(x, dtype, device), 0
        extent = np.full((2, x.shape[1]), np.nan)
        missing = np.zeros(x.shape[1], dtype=bool)
        for part in parts(x):
            rows[first : first + len(part)] = torch.as_tensor(part, dtype=dtype)
            extent = widened(extent, part)
            missing |= np.isnan(part).any(0)
            first += len(part)
        return cls(rows, extent, tuple(np.flatnonzero(missing).tolist()))


def widened(extent: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The least and the largest of each cell, (2, cells), with those of more rows ``x`` (rows, cells)."""
    lows, highs = extent
    return np.stack([np.fmin(lows, np.fmin.reduce(x)), np.fmax(highs, np.fmax.reduce(x))])


def _room(x: EncodedMatrix, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Room for these rows: pixels lie column by column, as their schema gives them."""
    n_rows, n_cells = x.shape
    if x[:2].flags.c_contiguous:
        return torch.empty(n_rows, n_cells, dtype=dtype, device=device)
    return torch.empty(n_cells, n_rows, dtype=dtype, device=device).T


def start(vae: VAE, x: Tensor, design: Architecture, generator: torch.Generator, *, common_noise: bool = False) -> None:
    """Start the linear paths at a PCA of the rows ``x``, if the design says so, and draw the rest."""
    inits = []
    if design.anchored:
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator, device=generator.device))
        features = vae.likelihood.features(x[pca_rows(len(x), seed)].cpu().double())
        if design.prior == "gaussian":
            inits = [fit_gaussian_init(features, design.n_components, seed=seed)] * design.n_estimators
        else:
            fit = partial(
                fit_exemplar_init,
                features,
                design.n_components,
                seed=seed,
                one_scale=design.image_shape is not None,
                common_noise=common_noise,
            )
            inits = [fit(member) for member in range(design.n_estimators)]
    vae.start([init.to(x.device) for init in inits], x, generator)


THRESHOLD_ROWS = 4096  # training rows, at most, whose scores set the threshold
USUAL_ROWS = 1024  # of these, whose reasons say what is usual for a column
LIBRARIES = ("vae-anomaly", "torch", "scikit-learn", "numpy", "pandas")


def fit_model(
    schema: Schema | PixelSchema,
    x: EncodedMatrix,
    inputs: list[str | int],
    frame: bool,
    *,
    settings: Settings,
    seed: int,
    monitor: CallbackRunner,
    others: RemainingShards | None = None,
    kept_in: Path | None = None,
) -> FittedModel:
    """Train on the encoded rows ``x`` (rows, cells) and fix all that scores depend on; ``seed`` decides all chance.

    A training that is long enough goes on with the ``others`` of a table of which ``x`` are the rows drawn first. The
    state of the training is kept in the file ``kept_in``, and training goes on from there.
    """
    rng = np.random.default_rng(seed)
    device = resolve_device(settings.device)
    train_type, score_type = resolve_precision(settings.precision, device)
    generator = torch.Generator(device).manual_seed(seed)
    loaded = Loaded.of(x, train_type, device)
    indicators = () if settings.convolutional else loaded.missing  # convolutions see pixels alone
    sees = len(indicators) + sum(cell.n_features for cell in schema.cells)
    one_measure = schema.has_one_measure(loaded.extent) and (settings.image_shape is not None or not indicators)
    design = choose_architecture(settings, len(x), sees, one_measure=one_measure)
    numbers = number_likelihood(settings, x)
    plan = make_plan(settings, len(x), exemplars=design.exemplars, one_measure=one_measure)
    objective = OBJECTIVES[design.variational, settings.bound]

    vae = design.build(likelihood_of(schema, design, numbers, indicators)).to(device, train_type)
    start(vae, loaded.rows, design, generator, common_noise=plan.common_noise)
    shares = None if others is None else TableShards(schema, x, others, train_type, device)
    trainer = Trainer(vae, loaded.rows, plan, objective, exemplars=design.exemplars, generator=generator, shares=shares)
    extent = loaded.extent
    del loaded  # the trainer alone holds the rows, and turns from one share to the next
    checkpoint = None
    if kept_in is not None:
        checkpoint = Checkpoint(kept_in, _identity(schema, x, inputs, settings, seed, device))
    history, batch_size = trainer.run(monitor, checkpoint).rounds, trainer.plan.batch_size
    del trainer

    scorer = make_scorer(
        vae,
        objective,
        x,
        exemplars=design.exemplars,
        starts_at_pca=design.anchored,
        leave_one_out=not settings.novelty,
        contamination=settings.contamination,
        n_draws=settings.n_draws,
        dtype=score_type,
        rng=rng,
    )
    measured = measure(scorer, x, schema, design, settings, rng)
    return FittedModel(
        schema,
        inputs,
        frame,
        design,
        numbers,
        indicators,
        train_type,
        scorer,
        measured.latents,
        extent,
        measured.reference,
        FitRecord(measured.offset, history, int(history["step"][-1]), batch_size, measured.usual, library_versions()),
    )


@dataclass(frozen=True)
class TableShards:
    """All rows of a long table in shares, encoded: ``x`` are those of the first."""

    schema: Schema | PixelSchema
    x: EncodedMatrix
    others: RemainingShards
    dtype: torch.dtype
    device: torch.device

    def number(self, used: int) -> int:
        """Share that is due when so many rows have been used."""
        return self.others.number(used)

    def read(self, number: int) -> torch.Tensor:
        """Encoded rows of a share."""
        x = encoded(self.schema, self.others.read(number)) if number else self.x
        return Loaded.of(x, self.dtype, self.device).rows


@dataclass(frozen=True)
class Measured:
    """What a model makes of rows of its training, none of which explains itself."""

    latents: LatentSummary
    reference: ReferenceRows
    offset: float
    usual: list[float]


def measure(
    scorer: Scorer,
    x: EncodedMatrix,
    schema: Schema | PixelSchema,
    design: Architecture,
    settings: Settings,
    rng: np.random.Generator,
) -> Measured:
    """Measure on some of the encoded rows ``x`` (rows, cells)."""
    some = x[:] if len(x) <= THRESHOLD_ROWS else x[rng.permutation(len(x))[:THRESHOLD_ROWS]]
    scores, limit, usual = _training_figures(replace(scorer, leave_one_out=True), some, schema, settings)
    means, variances = (of_members[0] for of_members in scorer.posteriors(some, 1))
    latents = LatentSummary.of(means, variances * design.variational, standard=not design.exemplars)
    return Measured(latents, ReferenceRows.of(some, scores, rng), limit, usual)


def _training_figures(
    honest: Scorer, x: np.ndarray, schema: Schema | PixelSchema, settings: Settings
) -> tuple[np.ndarray, float, list[float]]:
    """Scores (rows,) of training rows of which none explains itself, the threshold, and what columns usually add."""
    scores = honest.score(x)
    limit = threshold(scores, settings.contamination)
    nats = column_contributions(honest, x[:USUAL_ROWS], schema.cells)
    return scores, limit, baseline_contributions(nats, scores[:USUAL_ROWS] < limit).tolist()


def _identity(
    schema: Schema | PixelSchema,
    x: EncodedMatrix,
    inputs: list[str | int],
    settings: Settings,
    seed: int,
    device: torch.device,
) -> dict[str, Any]:
    """All that decides a training, by name: those of equal identity end in the same weights."""
    digests = {"columns": hashlib.sha256(json.dumps([inputs, schema.to_json()]).encode()), "rows": hashlib.sha256()}
    for part in parts(x):
        digests["rows"].update(np.ascontiguousarray(part).data)
    told = {name: digest.hexdigest() for name, digest in digests.items()}
    return {**asdict(settings), "random_state": seed, **told, "device": str(device), **library_versions()}


def library_versions() -> dict[str, str]:
    """Of Python, of this package and of what computes."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:  # run from a folder without being installed
            found[library] = "not installed"
    return found


FEWEST_ROWS = 10  # that can be divided
FOLDS = 5


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
    x: EncodedMatrix,
    held_out: EncodedMatrix | None,
    inputs: list[str | int],
    frame: bool,
    *,
    settings: Settings,
    seed: int,
    monitor: CallbackRunner,
    fold_monitor: CallbackRunner,
    others: RemainingShards | None = None,
    folder: Path | None = None,
) -> FittedModel:
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


def _judged_by_held_out(fitted: FittedModel, x: EncodedMatrix, settings: Settings, seed: int) -> FittedModel:
    """The model with the scores of rows ``x`` (rows, cells) that it was not fitted to as its reference."""
    return _judged_by(fitted, x, np.concatenate([fitted.scorer.score(part) for part in parts(x)]), settings, seed)


def _judged_by_folds(
    fitted: FittedModel, x: EncodedMatrix, settings: Settings, seed: int, monitor: CallbackRunner, folder: Path | None
) -> FittedModel:
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
            fitted.is_frame,
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


def _judged_by(fitted: FittedModel, x: EncodedMatrix, scores: np.ndarray, settings: Settings, seed: int) -> FittedModel:
    reference = ReferenceRows.of(x, scores, np.random.default_rng(seed))
    record = replace(fitted.record, offset=threshold(scores, settings.contamination))
    return replace(fitted, reference=reference, record=record)
