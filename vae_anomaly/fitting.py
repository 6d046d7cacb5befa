"""The whole fit, from an encoded table to a fitted model, in its order."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vae_anomaly.fitted import Fitted, Record, likelihood_of, objective_of
from vae_anomaly.inference.assembly import make_scorer
from vae_anomaly.inference.latents import Latents
from vae_anomaly.inference.reasons import column_nats, usual_nats
from vae_anomaly.inference.reference import Reference
from vae_anomaly.inference.scoring import Scorer
from vae_anomaly.inference.thresholds import offset
from vae_anomaly.tables import PixelSchema, Schema
from vae_anomaly.training.assembly import Design, make_design, missing_cells, number_likelihood, start
from vae_anomaly.training.callbacks import Monitor
from vae_anomaly.training.checkpoints import Checkpoint
from vae_anomaly.training.devices import resolve_device, resolve_precision
from vae_anomaly.training.loop import Trainer
from vae_anomaly.training.plan import make_plan
from vae_anomaly.training.settings import Settings

THRESHOLD_ROWS = 4096  # training rows, at most, whose scores set the threshold
USUAL_ROWS = 1024  # of these, whose reasons say what is usual for a column
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
    kept_in: Path | None = None,
) -> Fitted:
    """Train on the encoded rows ``x`` (rows, cells) and fix all that scores depend on; ``seed`` decides all chance.

    The state of the training is kept in the file ``kept_in``, and training goes on from there.
    """
    rng = np.random.default_rng(seed)
    device = resolve_device(settings.device)
    train_type, score_type = resolve_precision(settings.precision, device)
    generator = torch.Generator(device).manual_seed(seed)
    indicators = () if settings.convolutional else missing_cells(x)  # convolutions see pixels alone
    sees = len(indicators) + sum(max(1, cell.n_codes) for cell in schema.cells)
    one_measure = schema.has_one_measure(x) and (settings.image_shape is not None or not indicators)
    design = make_design(settings, len(x), sees, one_measure=one_measure)
    numbers = number_likelihood(settings, x)
    plan = make_plan(settings, len(x), exemplars=design.exemplars, one_measure=one_measure)
    objective = objective_of(design)

    vae = design.build(likelihood_of(schema, design, numbers, indicators)).to(device, train_type)
    rows = torch.as_tensor(x, dtype=train_type, device=device)
    start(vae, rows, design, generator, common_noise=plan.common_noise)
    trainer = Trainer(vae, rows, plan, objective, exemplars=design.exemplars, generator=generator)
    checkpoint = None
    if kept_in is not None:
        checkpoint = Checkpoint(kept_in, _identity(schema, x, inputs, settings, seed, device))
    history = trainer.run(monitor, checkpoint).rounds

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
    measured = measure(scorer, x, schema, design, settings, rng)
    return Fitted(
        schema,
        inputs,
        frame,
        design,
        numbers,
        indicators,
        train_type,
        scorer,
        measured.latents,
        np.stack([np.nanmin(x, 0), np.nanmax(x, 0)]),
        measured.reference,
        Record(
            measured.offset,
            history,
            int(history["step"][-1]),
            trainer.plan.batch_size,
            measured.usual,
            library_versions(),
        ),
    )


@dataclass(frozen=True)
class Measured:
    """What a model makes of rows of its training, none of which explains itself."""

    latents: Latents
    reference: Reference
    offset: float
    usual: list[float]


def measure(
    scorer: Scorer,
    x: np.ndarray,
    schema: Schema | PixelSchema,
    design: Design,
    settings: Settings,
    rng: np.random.Generator,
) -> Measured:
    """Measure on some of the encoded rows ``x`` (rows, cells)."""
    some = x if len(x) <= THRESHOLD_ROWS else x[rng.permutation(len(x))[:THRESHOLD_ROWS]]
    scores, threshold, usual = _training_figures(replace(scorer, leave_one_out=True), some, schema, settings)
    means, variances = scorer.posterior(some)
    latents = Latents.of(means, variances * design.variational, standard=not design.exemplars)
    return Measured(latents, Reference.of(some, scores, rng), threshold, usual)


def _training_figures(
    honest: Scorer, x: np.ndarray, schema: Schema | PixelSchema, settings: Settings
) -> tuple[np.ndarray, float, list[float]]:
    """Scores (rows,) of training rows of which none explains itself, the threshold, and what columns usually add."""
    scores = honest.score(x)
    threshold = offset(scores, settings.contamination)
    nats = column_nats(honest, x[:USUAL_ROWS], schema.cells)
    return scores, threshold, usual_nats(nats, scores[:USUAL_ROWS] < threshold).tolist()


def _identity(
    schema: Schema | PixelSchema,
    x: np.ndarray,
    inputs: list[str | int],
    settings: Settings,
    seed: int,
    device: torch.device,
) -> dict[str, Any]:
    """All that decides a training, by name: those of equal identity end in the same weights."""
    columns = json.dumps([inputs, schema.to_json()]).encode()
    digests = {"columns": hashlib.sha256(columns), "rows": hashlib.sha256(np.ascontiguousarray(x).data)}
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
