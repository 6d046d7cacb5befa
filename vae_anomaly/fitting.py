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
from vae_anomaly.tables import Cells, OtherShares, PixelSchema, Schema, encoded, parts
from vae_anomaly.training.assembly import Design, Loaded, make_design, number_likelihood, start
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
    x: Cells,
    inputs: list[str | int],
    frame: bool,
    *,
    settings: Settings,
    seed: int,
    monitor: Monitor,
    others: OtherShares | None = None,
    kept_in: Path | None = None,
) -> Fitted:
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
    sees = len(indicators) + sum(max(1, cell.n_codes) for cell in schema.cells)
    one_measure = schema.has_one_measure(loaded.extent) and (settings.image_shape is not None or not indicators)
    design = make_design(settings, len(x), sees, one_measure=one_measure)
    numbers = number_likelihood(settings, x)
    plan = make_plan(settings, len(x), exemplars=design.exemplars, one_measure=one_measure)
    objective = objective_of(design)

    vae = design.build(likelihood_of(schema, design, numbers, indicators)).to(device, train_type)
    start(vae, loaded.rows, design, generator, common_noise=plan.common_noise)
    shares = None if others is None else TableShares(schema, x, others, train_type, device)
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
        extent,
        measured.reference,
        Record(measured.offset, history, int(history["step"][-1]), batch_size, measured.usual, library_versions()),
    )


@dataclass(frozen=True)
class TableShares:
    """All rows of a long table in shares, encoded: ``x`` are those of the first."""

    schema: Schema | PixelSchema
    x: Cells
    others: OtherShares
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

    latents: Latents
    reference: Reference
    offset: float
    usual: list[float]


def measure(
    scorer: Scorer,
    x: Cells,
    schema: Schema | PixelSchema,
    design: Design,
    settings: Settings,
    rng: np.random.Generator,
) -> Measured:
    """Measure on some of the encoded rows ``x`` (rows, cells)."""
    some = x[:] if len(x) <= THRESHOLD_ROWS else x[rng.permutation(len(x))[:THRESHOLD_ROWS]]
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
    x: Cells,
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
