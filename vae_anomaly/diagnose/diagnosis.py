"""The whole diagnosis of a fitted model, from the training rows that it keeps to a list of findings."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from vae_anomaly.config import Architecture, Settings, make_plan
from vae_anomaly.data.columns import CodeCell
from vae_anomaly.diagnose import checks as diagnosis
from vae_anomaly.diagnose.checks import Finding
from vae_anomaly.diagnose.dependence import dependence, shuffled
from vae_anomaly.fitted import FittedModel, LatentSummary
from vae_anomaly.scoring.scorer import column_contributions

SURPRISED_ROWS = (
    1024  # of the training rows kept, at most, whose reasons are looked at: a reason costs as much as scores
)


def diagnose_model(fitted: FittedModel, settings: Settings) -> list[Finding]:
    """Every check that has a meaning for the model; it costs a few scorings of the rows that the model keeps."""
    return [*_of_table(fitted), *_of_training(fitted, settings), *_of_knowledge(fitted), *_of_ranking(fitted, settings)]


def _of_table(fitted: FittedModel) -> Iterator[Finding]:
    """Checks of what the model was given."""
    schema, (lowest, highest), images = fitted.schema, fitted.ranges, fitted.architecture.image_shape is not None
    names, columns = schema.names, np.array([cell.column for cell in schema.cells])
    yield diagnosis.rows_per_column(schema.n_rows, len(names), images=images)
    if images:  # pixels that never change are usual, and none is a category
        return
    moving = np.bincount(columns, lowest < highest, minlength=len(names))
    yield diagnosis.constant_columns(names, moving == 0)
    levels = np.zeros(len(names))
    for cell in schema.cells:
        if isinstance(cell, CodeCell) and cell.part is None:
            levels[cell.column] = np.exp(cell.spread).sum()
    yield diagnosis.identifiers(names, levels, schema.n_rows)


def _of_training(fitted: FittedModel, settings: Settings) -> Iterator[Finding]:
    """Checks of how the model came about."""
    history, architecture = fitted.record.history, fitted.architecture
    objective = np.array(history["log_likelihood"]) - settings.beta * np.array(history["kl"])
    unit = "nats" if architecture.variational else "squared deviations"
    kept, n_columns = float(fitted.reference.scores[_usual(fitted)].mean()), len(fitted.schema.names)
    yield diagnosis.training(objective, history["elbo"][-1], kept, n_columns, unit)
    if "held_out_elbo" in history:
        plan = make_plan(settings, fitted.schema.n_rows, exemplars=architecture.exemplars)
        yield diagnosis.held_out_elbo(
            np.array(history["held_out_elbo"]),
            ended=fitted.record.n_iter >= plan.max_iter,
            meant=settings.max_iter == "auto" and architecture.exemplars and not settings.represents,
            unit=unit,
        )


def _of_knowledge(fitted: FittedModel) -> Iterator[Finding]:
    """Checks of what the model has learned of how columns depend on one another."""
    x, scores, architecture = fitted.reference.cells, fitted.reference.scores, fitted.architecture
    columns, rng = [cell.column for cell in fitted.schema.cells], np.random.default_rng(0)
    _, first = np.unique(columns, return_index=True)
    known = dependence(x[:, first], rng)
    yield diagnosis.active_latents(_latents(fitted, x), known)
    if architecture.variational:
        yield diagnosis.latent_nats(fitted.latents)
    if len(first) == 1:
        return
    if architecture.variational:
        usual = _usual(fitted)
        margins, remedy = _margins(fitted, x[usual]), _remedy(architecture, "a larger max_iter")
        yield diagnosis.independent_columns(scores[usual], margins, known, len(first), remedy=remedy)
    others = replace(fitted.scorer, leave_one_out=True).score(shuffled(x, columns, rng))
    yield diagnosis.shuffled_columns(scores, others, known, remedy=_remedy(architecture, "a smaller beta, such as 0.3"))


def _remedy(architecture: Architecture, usual: str) -> str:
    """What helps a model that knows too little: kernels at the codes of clean rows are crude in many dimensions."""
    if not architecture.variational:
        return "a larger max_iter"
    return "prior='gaussian'" if architecture.anchored and architecture.exemplars else usual


def _of_ranking(fitted: FittedModel, settings: Settings) -> Iterator[Finding]:
    """Checks of which rows come out as odd."""
    x, scores, names = fitted.reference.cells, fitted.reference.scores, fitted.schema.names
    honest = replace(fitted.scorer, leave_one_out=True)
    if fitted.architecture.n_estimators > 1 or not settings.represents:
        yield diagnosis.seed_stability(honest.by_member(x) if fitted.architecture.n_estimators > 1 else scores[None])
    if len(names) > 1:
        oddest, some = diagnosis.oddest(scores), np.linspace(0, len(x) - 1, min(len(x), SURPRISED_ROWS)).astype(int)
        surprise = [
            (column_contributions(honest, x[rows], fitted.schema.cells) - fitted.record.baseline)[:, :-1]
            for rows in (oddest, some)
        ]
        yield diagnosis.leading_column(names, surprise[0])
        yield diagnosis.silent_columns(names, surprise[1])
    yield diagnosis.flagged_rows(scores, fitted.record.offset, settings.contamination)
    odd = 0.0 if settings.novelty else settings.contamination
    seen = settings.calibration == "leave_one_out" and not fitted.architecture.exemplars
    if not (seen and settings.represents):  # a code is not asked for p-values
        yield diagnosis.p_values(scores, odd, np.random.default_rng(0), seen=seen)


def _usual(fitted: FittedModel) -> np.ndarray:
    """Which of the rows kept are not odd: the others can outweigh all in a mean, and training left many of them out."""
    scores = fitted.reference.scores
    return scores >= min(fitted.record.offset, float(np.median(scores)))


def _latents(fitted: FittedModel, x: np.ndarray) -> list[LatentSummary]:
    """The latents of every member, over the rows ``x``."""
    means, variances = fitted.scorer.posteriors(x)
    if not fitted.architecture.variational:
        variances = np.zeros_like(variances)
    standard = not fitted.architecture.exemplars
    return [LatentSummary.of(*member, standard=standard) for member in zip(means, variances, strict=True)]


@torch.no_grad()
def _margins(fitted: FittedModel, x: np.ndarray) -> np.ndarray:
    """Log density of the rows under independent columns, (rows,), in nats."""
    likelihood, rows = fitted.scorer.vae.likelihood, torch.as_tensor(x)
    outputs, shared = likelihood.margins(rows)
    return likelihood.log_prob(rows, outputs.expand(len(rows), -1), shared).sum(1).numpy()
