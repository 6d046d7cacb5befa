"""A fit from beginning to end: `learn_table` reads and encodes the table, `fit_calibrated` trains and calibrates."""

import hashlib
import json
import math
import platform
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae_anomaly.config import (
    BASELINE_ROWS,
    FOLDS,
    REFERENCE_ROWS,
    Architecture,
    Settings,
    choose_architecture,
    choose_thorough,
    finds_outstanding_cells,
    make_plan,
    resolve_device,
    resolve_precision,
)
from vae_anomaly.data.columns import CategoryColumn, CodeCell
from vae_anomaly.data.infer import NO_KINDS, kinds_of
from vae_anomaly.data.parse import as_array, as_frame, as_missing, column_names, is_frame
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.sampling import HELD_OUT, RemainingShards, draw
from vae_anomaly.data.schema import EncodedMatrix, Schema, TableForm, encoded, parts, selected
from vae_anomaly.errors import DataError, RowError
from vae_anomaly.fitted import FitRecord, FittedModel, LatentSummary, ReferenceRows
from vae_anomaly.io.dataset import Dataset, reading_bar
from vae_anomaly.model.objectives import ELBO, OBJECTIVES
from vae_anomaly.model.pca_init import PCAInit, fit_exemplar_init, fit_gaussian_init, pca_rows
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.calibration import core_limit, flagging_offset
from vae_anomaly.scoring.cells import OutstandingCells, most_anomalies
from vae_anomaly.scoring.missing import MissingCells
from vae_anomaly.scoring.scorer import Scorer, column_contributions, make_scorer
from vae_anomaly.training.callbacks import CallbackRunner
from vae_anomaly.training.checkpoints import SUFFIX, Checkpoint
from vae_anomaly.training.trainer import Plan, Trainer


@dataclass(frozen=True)
class TrainingTable(TableForm):
    """An encoded training table.

    ``x`` (rows, cells) are the rows to train on, or the first shard of them, and ``others`` the remaining shards;
    ``held_out`` are rows for calibration alone.
    """

    x: EncodedMatrix
    held_out: EncodedMatrix | None = None
    others: RemainingShards | None = None


def learn_table(X: Any, settings: Settings, seed: int, *, verbose: bool) -> tuple[pd.DataFrame, TrainingTable]:
    """Read a table, learn its schema and encode it.

    Parameters
    ----------
    X : DataFrame, array-like or Dataset
        (rows, columns), as in `VAEDetector.fit`. A table longer than a shard is read once, and rows are drawn from it.
    settings : Settings
        Whether rows are images, and the calibration.
    seed : int
        Decides which rows are drawn and held out.
    verbose : bool
        Show a progress bar while a data set is read.

    Returns
    -------
    tuple of DataFrame and TrainingTable
        The rows in memory, and the same encoded.

    Raises
    ------
    DataError
        The table cannot be learned from; the message names column and row, in a data set also the file.
    """
    table, has_names = X, True
    if not isinstance(X, Dataset):
        has_names = is_frame(X)
        if has_names:
            table = as_frame(X)
        else:
            array = as_array(X)
            table = pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])], copy=False)
    try:
        with reading_bar(X, shown=verbose) if isinstance(X, Dataset) else nullcontext():
            kinds = NO_KINDS
            if settings.kinds:
                kinds = kinds_of(settings.kinds, X.columns if isinstance(X, Dataset) else column_names(table))
            sample = draw(table, seed, split=settings.calibration == "split", kinds=kinds)
            frame, rows, held_out = sample.frame, sample.rows, sample.held_out
            if settings.calibration != "leave_one_out" and sample.survey is None:
                n_rows, fewest = len(frame), 10
                if n_rows < fewest:
                    raise DataError(
                        f"The table has {n_rows} rows; calibration='split' and 'cross' need at least {fewest}. "
                        "Use calibration='leave_one_out'."
                    )
                if settings.calibration == "split":
                    drawn, n_held_out = np.random.default_rng(seed).permutation(n_rows), round(HELD_OUT * n_rows)
                    rows, held_out = np.sort(drawn[n_held_out:]), np.sort(drawn[:n_held_out])
            schema: Schema | PixelSchema
            if settings.image_shape is None:
                schema = Schema.learn(frame, rows, sample.survey, kinds)
            else:
                shape, n_pixels = tuple(settings.image_shape), math.prod(settings.image_shape)
                if frame.shape[1] != n_pixels:
                    raise DataError(
                        f"The rows have {frame.shape[1]} columns; images of image_shape={shape} have {n_pixels} pixels."
                    )
                schema = PixelSchema.learn(frame, rows, sample.survey)
    except RowError as error:
        if isinstance(X, Dataset):
            raise X.located(error) from error
        raise
    return frame, TrainingTable(
        schema=schema,
        x=encoded(schema, frame, rows),
        inputs=list(frame.columns),
        is_frame=has_names,
        held_out=None if held_out is None or not len(held_out) else encoded(schema, frame, held_out),
        others=sample.others,
    )


def fit_calibrated(
    table: TrainingTable,
    *,
    settings: Settings,
    seed: int,
    callbacks: CallbackRunner,
    fold_callbacks: CallbackRunner,
    folder: Path | None = None,
) -> FittedModel:
    """Train, and replace the reference scores by those of held-out rows or of folds if the calibration asks for it.

    ``folder`` holds checkpoints.
    """
    fitted = fit_model(table, settings=settings, seed=seed, callbacks=callbacks, folder=folder)
    if table.held_out is not None:
        x, scores = table.held_out, np.concatenate([fitted.scorer.score(part) for part in parts(table.held_out)])
    elif settings.calibration == "cross":
        x, scores = table.x, out_of_fold_scores(table, settings, seed, fold_callbacks, folder)
    else:
        return fitted
    reference = choose_reference(x, scores, np.random.default_rng(seed))
    offset = flagging_offset(
        reference.scores,
        novelty=settings.novelty,
        contamination=settings.contamination,
        most_anomalies=fitted.record.most_anomalies,
    )
    return replace(fitted, reference=reference, record=replace(fitted.record, offset=offset))


def out_of_fold_scores(
    table: TrainingTable, settings: Settings, seed: int, callbacks: CallbackRunner, folder: Path | None
) -> np.ndarray:
    """Score of each training row under a model fitted without its fold, (rows,).

    This is cross-conformal prediction (Vovk, arXiv 1208.0806), except that new rows are scored by the model of the
    whole table instead of the folds' models. It has seen a fifth more rows, so reference rows look, if anything, more
    anomalous. All folds use the schema of the whole table: otherwise scores would differ by each fold's scaling.
    """
    n_rows, scores = len(table.x), np.empty(len(table.x))
    folds = np.array_split(np.random.default_rng(seed).permutation(n_rows), FOLDS)
    for number, fold in enumerate(folds, 1):
        rest = selected(table.x, np.delete(np.arange(n_rows), fold))
        if np.all([~np.isfinite(part).any(0) for part in parts(rest)], axis=0).any():
            raise DataError(
                "A column has so few values that calibration='cross' leaves it without any in a fifth of its fits. "
                "Use calibration='leave_one_out', or leave the column out."
            )
        fitted = fit_model(
            replace(table, x=rest, others=None),
            settings=settings,
            seed=seed + number,
            callbacks=callbacks,
            folder=folder,
            name=f"fold-{number}",
        )
        scores[fold] = fitted.scorer.score(table.x[fold])
    return scores


def fit_model(
    table: TrainingTable,
    *,
    settings: Settings,
    seed: int,
    callbacks: CallbackRunner,
    folder: Path | None = None,
    name: str = "fit",
) -> FittedModel:
    """Train one model and measure what scores, thresholds and explanations need; ``seed`` decides all randomness.

    With a ``folder``, training continues from the checkpoint of that ``name`` in it and keeps its state there.
    """
    schema, x, rng = table.schema, table.x, np.random.default_rng(seed)
    device = resolve_device(settings.device)
    train_type, score_type = resolve_precision(settings.precision, device)
    generator = torch.Generator(device).manual_seed(seed)

    rows, ranges, missing = load_rows(x, train_type, device)
    one_measure = schema.has_one_measure(ranges) and (settings.image_shape is not None or not missing)
    architecture = choose_architecture(settings, x, schema.cells, missing=missing, one_measure=one_measure)
    plan = make_plan(settings, len(x), exemplars=architecture.exemplars, one_measure=one_measure)
    objective = OBJECTIVES[settings.variational, settings.bound]
    thorough, outstanding = None, None
    if finds_outstanding_cells(settings, len(x), schema.cells):
        thorough, cell_plan = choose_thorough(settings, x, schema.cells, missing=missing)
        outstanding = learn_cells(rows, schema, thorough, cell_plan, seed, score_type)

    vae = architecture.build(schema.cells, schema.n_rows, device).to(train_type)
    start_weights(vae, rows, architecture, generator, common_noise=plan.common_noise)
    shards = None if table.others is None else TableShards(table, table.others, train_type, device)
    trainer = Trainer(vae, rows, plan, objective, exemplars=architecture.exemplars, generator=generator, shards=shards)
    del rows  # only the trainer holds them, and it releases one shard before it reads the next
    checkpoint = None
    if folder is not None:
        checkpoint = Checkpoint(folder / f"{name}{SUFFIX}", training_identity(table, settings, seed, device))
    history, batch_size = trainer.run(callbacks, checkpoint), trainer.plan.batch_size
    del trainer

    scorer = make_scorer(
        vae,
        objective,
        x,
        exemplars=architecture.exemplars,
        starts_at_pca=architecture.pca_init,
        leave_one_out=not settings.novelty,
        contamination=settings.contamination,
        n_draws=settings.n_draws,
        dtype=score_type,
        rng=rng,
    )
    measured = measure(replace(scorer, outstanding=outstanding), x, schema, architecture, settings, rng)
    return FittedModel(
        schema=schema,
        inputs=table.inputs,
        is_frame=table.is_frame,
        architecture=architecture,
        thorough=thorough,
        weight_type=train_type,
        scorer=measured.scorer,
        latents=measured.latents,
        ranges=ranges,
        reference=measured.reference,
        record=FitRecord(
            offset=measured.offset,
            most_anomalies=measured.most_anomalies,
            history=history,
            n_iter=int(history["step"][-1]),
            batch_size=batch_size,
            versions=library_versions(),
        ),
    )


def learn_cells(
    rows: Tensor, schema: Schema | PixelSchema, architecture: Architecture, plan: Plan, seed: int, dtype: torch.dtype
) -> OutstandingCells:
    """Train the second model, in which outstanding cells are found, on encoded rows (rows, cells)."""
    generator = torch.Generator(rows.device).manual_seed(seed)
    vae = architecture.build(schema.cells, schema.n_rows, rows.device).to(rows.dtype)
    start_weights(vae, rows, architecture, generator)
    trainer = Trainer(vae, rows, plan, ELBO(), exemplars=architecture.exemplars, generator=generator)
    trainer.run(CallbackRunner(None, []))
    return OutstandingCells.of(vae.to(dtype).freeze(), np.array([cell.column for cell in schema.cells]))


def load_rows(x: EncodedMatrix, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, np.ndarray, tuple[int, ...]]:
    """Encoded rows (rows, cells) on the device, the range of each cell (2, cells), and the cells that some rows lack.

    Long tables are encoded a few rows at a time and never held in float64.
    """
    n_rows, n_cells = x.shape
    if x[:2].flags.c_contiguous:
        rows = torch.empty(n_rows, n_cells, dtype=dtype, device=device)
    else:  # pixels are stored column by column
        rows = torch.empty(n_cells, n_rows, dtype=dtype, device=device).T
    low, high = np.full((2, n_cells), np.nan)
    missing, first = np.zeros(n_cells, dtype=bool), 0
    for part in parts(x):
        rows[first : first + len(part)] = torch.as_tensor(part, dtype=dtype)
        values = as_missing(part)
        low, high = np.fmin(low, np.fmin.reduce(values)), np.fmax(high, np.fmax.reduce(values))
        missing |= np.isnan(part).any(0)
        first += len(part)
    return rows, np.stack([low, high]), tuple(np.flatnonzero(missing).tolist())


def start_weights(
    vae: VAE, x: Tensor, architecture: Architecture, generator: torch.Generator, *, common_noise: bool = False
) -> None:
    """Draw the starting weights; if the architecture starts at PCA, fit the linear paths to the rows ``x`` instead."""
    inits: list[PCAInit] = []
    n_components, n_estimators = architecture.n_components, architecture.n_estimators
    if architecture.pca_init:
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator, device=generator.device))
        features = vae.likelihood.features(x[pca_rows(len(x), seed)].cpu().double())
        if architecture.prior == "gaussian":
            inits = [fit_gaussian_init(features, n_components, seed=seed)] * n_estimators
        else:
            is_image = architecture.image_shape is not None
            inits = [
                fit_exemplar_init(
                    features, n_components, member, seed=seed, one_scale=is_image, common_noise=common_noise
                )
                for member in range(n_estimators)
            ]
    vae.start(inits, x, generator)


@dataclass(frozen=True)
class TableShards:
    """All shards of a long table, encoded when they are read."""

    table: TrainingTable
    others: RemainingShards
    dtype: torch.dtype
    device: torch.device

    def number(self, used: int) -> int:
        """Shard that is due after ``used`` rows; 0 is the first, and follows the last."""
        return self.others.number(used)

    def read(self, number: int) -> Tensor:
        """Encoded rows of a shard, (rows, cells)."""
        x = encoded(self.table.schema, self.others.read(number)) if number else self.table.x
        return load_rows(x, self.dtype, self.device)[0]


@dataclass(frozen=True)
class Measured:
    """Figures of a trained model over training rows, each scored as if it were not its own exemplar.

    The scorer is the one measured, with the scale of incomplete rows.
    """

    scorer: Scorer
    latents: LatentSummary
    reference: ReferenceRows
    most_anomalies: float
    offset: float


def measure(
    scorer: Scorer,
    x: EncodedMatrix,
    schema: Schema | PixelSchema,
    architecture: Architecture,
    settings: Settings,
    rng: np.random.Generator,
) -> Measured:
    """Scale of incomplete rows, threshold, reference rows and latents, from up to 4,096 rows of ``x`` (rows, cells)."""
    some = x[:] if len(x) <= REFERENCE_ROWS else x[rng.permutation(len(x))[:REFERENCE_ROWS]]
    leave_one_out = replace(scorer, leave_one_out=True, outstanding=None)
    columns = np.array([cell.column for cell in schema.cells])
    few = some[:BASELINE_ROWS]
    nats = column_contributions(leave_one_out, few, schema.cells)
    typical = -nats.sum(1) >= core_limit(-nats.sum(1), settings.contamination)
    missing = MissingCells.learn(few, nats, typical | ~typical.any(), columns, scorer.masked_scores, rng)
    outstanding = scorer.outstanding
    scorer = replace(scorer, missing=missing, outstanding=None)
    scores = replace(scorer, leave_one_out=True).score(some)
    if not isinstance(schema, PixelSchema):  # masked pixels are no gaps
        missing, scores = missing.charged(some, scores)
        scorer = replace(scorer, missing=missing)
    most = 1.0
    if outstanding is not None:
        assert isinstance(schema, Schema)
        scorer = replace(scorer, outstanding=outstanding)
        cell_nats, charges = scorer.cell_nats(some), missing.charged_nats(some)
        is_category = np.array([isinstance(column, CategoryColumn) for column in schema.columns])
        codes = np.array([cell.unseen if isinstance(cell, CodeCell) else np.nan for cell in schema.cells])
        unseen = np.where(is_category, scorer.cell_nats(np.where(np.isnan(codes), some[:1], codes))[0], np.nan)
        outstanding = outstanding.learned(
            some, cell_nats, charges, scores, schema.zeros, unseen, clean=settings.novelty
        )
        excess = outstanding.excess(some, cell_nats, charges)
        scorer, scores = replace(scorer, outstanding=outstanding), scores - excess.sum(1)
        if not settings.novelty:
            most = most_anomalies(excess, torch.as_tensor(replace(scorer, vae=outstanding.vae).encode(some)))
    means, variances = (of_members[0] for of_members in scorer.posteriors(some, 1))
    latents = summarise_latents(means, variances * architecture.variational, standard=not architecture.exemplars)
    reference = choose_reference(some, scores, rng)
    offset = flagging_offset(
        reference.scores, novelty=settings.novelty, contamination=settings.contamination, most_anomalies=most
    )
    return Measured(scorer, latents, reference, most, offset)


def summarise_latents(means: np.ndarray, variances: np.ndarray, *, standard: bool) -> LatentSummary:
    """Figures of each latent, from posterior means and variances (rows, latents); a plain autoencoder has variance 0.

    The KL is from the prior where this is the ``standard`` normal. A prior of exemplars does not factor into latents;
    the KL is then from the normal density with the latent's own mean and variance.
    """
    centre, spread, posterior = means.mean(0), means.var(0), variances.mean(0)
    prior_mean = np.zeros_like(centre) if standard else centre
    prior_variance = np.ones_like(centre) if standard else spread + posterior
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = variances / prior_variance
        kl = 0.5 * (ratio + (means - prior_mean) ** 2 / prior_variance - 1 - np.log(ratio))
    kl = np.where(posterior > 0, kl.mean(0), 0.0)
    return LatentSummary(centre.tolist(), np.sqrt(spread).tolist(), np.sqrt(posterior).tolist(), kl.tolist())


def choose_reference(x: EncodedMatrix, scores: np.ndarray, rng: np.random.Generator) -> ReferenceRows:
    """All rows ``x`` (rows, cells) with their scores, or as many drawn from them as a model file should hold."""
    fewest, most_cells = 256, 2**19  # 4 MiB in a model file, unless the table is very wide
    most = min(REFERENCE_ROWS, max(fewest, most_cells // x.shape[1]))
    drawn = np.arange(len(x)) if len(x) <= most else np.sort(rng.permutation(len(x))[:most])
    return ReferenceRows(x[drawn], scores[drawn])


def training_identity(table: TrainingTable, settings: Settings, seed: int, device: torch.device) -> dict[str, Any]:
    """Everything that decides a training, by name: trainings with equal identities end with the same weights."""
    columns = hashlib.sha256(json.dumps([table.inputs, table.schema.to_json()]).encode())
    rows = hashlib.sha256()
    for part in parts(table.x):
        rows.update(np.ascontiguousarray(part).data)
    digests = {"columns": columns.hexdigest(), "rows": rows.hexdigest()}
    return {**asdict(settings), "random_state": seed, **digests, "device": str(device), **library_versions()}


LIBRARIES = ("vae-anomaly", "torch", "scikit-learn", "numpy", "pandas")


def library_versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that compute."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:  # run from a folder without being installed
            found[library] = "not installed"
    return found
