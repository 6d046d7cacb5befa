"""The whole fit, from an encoded table to a fitted model, in its order."""

import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from vae_anomaly.fitted import Fitted, Record, likelihood_of, objective_of
from vae_anomaly.inference.assembly import make_scorer
from vae_anomaly.inference.latents import Latents
from vae_anomaly.inference.reasons import column_contributions
from vae_anomaly.inference.reference import Reference
from vae_anomaly.inference.scoring import Scorer
from vae_anomaly.inference.thresholds import offset
from vae_anomaly.tables import PixelSchema, Schema
from vae_anomaly.training.assembly import make_design, missing_cells, number_likelihood, start
from vae_anomaly.training.callbacks import Monitor
from vae_anomaly.training.devices import resolve_device, resolve_precision
from vae_anomaly.training.loop import Trainer
from vae_anomaly.training.plan import make_plan
from vae_anomaly.training.settings import Settings

THRESHOLD_ROWS = 4096  # training rows, at most, whose scores set the threshold
FEW_ROWS = 4096  # of outlier detection, up to which training rows score noticeably better than others like them
LIBRARIES = ("vae-anomaly", "torch", "scikit-learn", "numpy", "pandas")


def fit_model(
    schema: Schema | PixelSchema,
    x: np.ndarray,
    inputs: list[str | int],
    frame: bool,
    *,
    settings: Settings,
    seed: int,
    monitor: Monitor,
) -> Fitted:
    """Train on the encoded rows ``x`` (rows, cells) and fix all that scores depend on; ``seed`` decides all chance."""
    rng = np.random.default_rng(seed)
    device = resolve_device(settings.device)
    train_type, score_type = resolve_precision(settings.precision, device)
    generator = torch.Generator(device).manual_seed(seed)
    indicators = () if settings.convolutional else missing_cells(x)  # convolutions see pixels alone
    sees = len(indicators) + sum(max(1, cell.n_codes) for cell in schema.cells)
    design = make_design(settings, len(x), sees)
    numbers = number_likelihood(settings, x)
    plan = make_plan(settings, len(x), exemplars=design.exemplars)
    objective = objective_of(design)

    vae = design.build(likelihood_of(schema, design, numbers, indicators)).to(device, train_type)
    rows = torch.as_tensor(x, dtype=train_type, device=device)
    start(vae, rows, design, generator)
    trainer = Trainer(vae, rows, plan, objective, exemplars=design.exemplars, generator=generator)
    history = trainer.run(monitor).rounds

    scorer = make_scorer(
        vae,
        objective,
        x,
        exemplars=design.exemplars,
        anchored=design.anchored,
        leave_one_out=not settings.novelty,
        contamination=settings.contamination,
        bound=settings.bound,
        n_draws=settings.n_draws,
        dtype=score_type,
        rng=rng,
    )
    some = x if len(x) <= THRESHOLD_ROWS else x[rng.permutation(len(x))[:THRESHOLD_ROWS]]
    scores, usual = _training_figures(replace(scorer, leave_one_out=True), some, schema)
    means, variances = scorer.posterior(some)
    latents = Latents.of(means, variances * design.variational, standard=not design.exemplars)
    extent = np.stack([np.nanmin(x, 0), np.nanmax(x, 0)])
    threshold = offset(scores, settings.contamination)
    record = Record(threshold, history, int(history["step"][-1]), trainer.plan.batch_size, usual, _versions())
    return Fitted(
        schema,
        inputs,
        frame,
        design,
        numbers,
        indicators,
        train_type,
        scorer,
        latents,
        extent,
        Reference.of(some, scores, rng),
        record,
    )


def comparable_scores(fitted: Fitted, x: np.ndarray, settings: Settings, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of training rows, and of the encoded rows ``x``, that differ by chance alone where the rows do.

    In outlier detection a net that is trained on few rows scores these better than others like them, even when none
    explains itself: with 300 rows of 20 columns by 0.13 deviations (benchmarks/results/drift.md). There a second
    model learns half of the reference, and the other half, which it never saw, stands for training.
    """
    reference = fitted.reference
    learned, others = np.array_split(np.random.default_rng(seed).permutation(reference.cells.astype(np.float64)), 2)
    honest = settings.anchored or fitted.schema.n_rows > FEW_ROWS
    if honest or not len(others) or np.isnan(learned).all(0).any():  # a column without a value cannot be learned
        return reference.scores, fitted.scorer.score(x)
    on_its_device, silent = replace(settings, device=str(fitted.scorer.device)), Monitor(None, [])
    second = fit_model(
        fitted.schema, learned, fitted.inputs, fitted.frame, settings=on_its_device, seed=seed, monitor=silent
    )
    return second.scorer.score(others), second.scorer.score(x.astype(np.float32).astype(np.float64))


def _training_figures(honest: Scorer, x: np.ndarray, schema: Schema | PixelSchema) -> tuple[np.ndarray, list[float]]:
    """Scores, and the median contribution of each column, of training rows of which none explains itself."""
    cells, kl = honest.terms(x)
    contributions = column_contributions(cells, kl, [cell.column for cell in schema.cells], len(schema.names))
    scores = cells.sum(1) - kl if honest.bound == "elbo" else honest.score(x)
    return scores, np.median(contributions, 0).tolist()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:  # run from a folder without being installed
            found[library] = "not installed"
    return found
