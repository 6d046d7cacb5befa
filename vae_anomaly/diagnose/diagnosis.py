"""The diagnosis of a fitted model: every check that applies, run on the training rows that the model keeps."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from vae_anomaly.config import Settings, make_plan
from vae_anomaly.data.columns import CodeCell, FlagCell, NumberCell, ShapeColumn
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema
from vae_anomaly.diagnose import checks
from vae_anomaly.diagnose.checks import Finding
from vae_anomaly.diagnose.dependence import dependence, shuffled
from vae_anomaly.fit import summarise_latents
from vae_anomaly.fitted import FittedModel
from vae_anomaly.formatting import cell_text, printable, quoted
from vae_anomaly.scoring.calibration import core_limit
from vae_anomaly.scoring.scorer import column_contributions


def diagnose_model(fitted: FittedModel, settings: Settings, *, quick: bool = False) -> list[Finding]:
    """Findings of every check that applies to the model; they cost a few scorings of the rows that the model keeps.

    With ``quick`` only of those that cost a few hundredths of a fit.
    """
    # Anomalous rows can outweigh all others in a mean, and training left many of them out.
    scores = fitted.reference.scores
    typical = scores >= min(core_limit(scores, settings.contamination), float(np.median(scores)))
    found = [
        *_check_table(fitted),
        *_check_training(fitted, settings, typical),
        *_check_groups(fitted, clusters=not quick),
    ]
    if quick:
        return found
    return [
        *found,
        *_check_latents_and_dependence(fitted, typical),
        *_check_ranking(fitted, settings),
    ]


def _check_table(fitted: FittedModel) -> Iterator[Finding]:
    schema, (lowest, highest), images = fitted.schema, fitted.ranges, fitted.architecture.image_shape is not None
    names, columns = schema.names, np.array([cell.column for cell in schema.cells])
    yield checks.rows_per_column(schema.n_rows, len(names), images=images)
    if images:  # constant pixels are common, and none is a category
        return
    varying = np.bincount(columns, lowest < highest, minlength=len(names))
    has_values = np.array([not isinstance(column, ShapeColumn) for column in schema.columns])  # others have shapes
    yield checks.constant_columns(names, has_values & (varying == 0))
    n_levels = np.zeros(len(names))
    for cell in schema.cells:
        if isinstance(cell, CodeCell) and cell.part is None:
            n_levels[cell.column] = np.exp(cell.spread).sum()
    yield checks.identifiers(names, n_levels, schema.n_rows)


def _check_groups(fitted: FittedModel, *, clusters: bool) -> Iterator[Finding]:
    """Compare the rows of each frequent level of a category or flag with the others, or else ``clusters``."""
    x, scores, schema = fitted.reference.cells, fitted.reference.scores, fitted.schema
    if fitted.architecture.image_shape is not None:
        return
    if fitted.scorer.outstanding is not None:
        scores = scores + fitted.scorer.excess(x).sum(1)  # a group that is spared is not learned for all that
    made, groups = fitted.scorer.decode(fitted.scorer.encode(x)), []
    for index, cell in enumerate(schema.cells):
        if isinstance(cell, FlagCell) or (isinstance(cell, CodeCell) and cell.part is None):
            for code, group in checks.unlearned_levels(x[:, index], made[:, index].round(), scores):
                value = schema.decode(x[x[:, index] == code][:1]).iloc[0, cell.column]
                name = printable(str(schema.names[cell.column]))
                groups.append(replace(group, common=f"with {name} {quoted(cell.describe(code, value))}"))
    numbers = [index for index, cell in enumerate(schema.cells) if isinstance(cell, NumberCell) and cell.since is None]
    if clusters and numbers and not groups:
        z = np.where(np.isfinite(x), x, made)[:, numbers]
        for group in checks.unlearned_clusters(z, made[:, numbers], scores):
            groups.append(replace(group, common=_where(schema, x[group.rows], z, group.rows, numbers)))
    yield checks.unlearned_group(groups, len(x))


def _where(schema: Schema | PixelSchema, x: np.ndarray, z: np.ndarray, rows: np.ndarray, numbers: Sequence[int]) -> str:
    """Where a cluster lies: its median in the two columns in which it is farthest from the other rows, in words.

    ``x`` are its rows (rows of the cluster, cells), ``z`` the numbers of all rows (rows, numbers), ``rows`` its mask.
    """
    spread = np.maximum(z[~rows].std(0), np.finfo(float).tiny)
    farthest = np.argsort(-np.abs(np.median(z[rows], 0) - np.median(z[~rows], 0)) / spread, kind="stable")[:2]
    middle = x[:1].copy()
    middle[0, numbers] = np.median(z[rows], 0)
    decoded = schema.decode(middle)
    columns = [schema.cells[numbers[index]].column for index in farthest]
    texts = [f"{printable(str(schema.names[column]))} {cell_text(decoded.iloc[0, column])}" for column in columns]
    return f"around {' and '.join(texts)}"


def _check_training(fitted: FittedModel, settings: Settings, typical: np.ndarray) -> Iterator[Finding]:
    history, architecture = fitted.record.history, fitted.architecture
    objective = np.array(history["log_likelihood"]) - settings.beta * np.array(history["kl"])
    unit = "nats" if architecture.variational else "squared deviations"
    kept = float(fitted.reference.scores[typical].mean())
    yield checks.training(objective, history["elbo"][-1], kept, len(fitted.schema.names), unit)
    if "held_out_elbo" in history:
        plan = make_plan(settings, fitted.schema.n_rows, exemplars=architecture.exemplars)
        yield checks.held_out_elbo(
            np.array(history["held_out_elbo"]),
            completed=fitted.record.n_iter >= plan.max_iter,
            intended=settings.max_iter == "auto" and architecture.exemplars and not settings.recipe.represents,
            unit=unit,
        )


def _check_latents_and_dependence(fitted: FittedModel, typical: np.ndarray) -> Iterator[Finding]:
    scorer, architecture = fitted.scorer, fitted.architecture
    x, scores, rng = fitted.reference.cells, fitted.reference.scores, np.random.default_rng(0)
    columns = [cell.column for cell in fitted.schema.cells]
    _, first_cells = np.unique(columns, return_index=True)
    shared = dependence(x[:, first_cells], rng)

    means, variances = scorer.posteriors(x)  # of each member
    if not architecture.variational:
        variances = np.zeros_like(variances)
    members = [
        summarise_latents(*member, standard=not architecture.exemplars) for member in zip(means, variances, strict=True)
    ]
    yield checks.active_latents(members, shared)
    if architecture.variational:
        yield checks.latent_nats(fitted.latents)
    if len(first_cells) == 1:
        return

    remedies = "a larger max_iter", "a smaller beta, such as 0.3"
    if not architecture.variational:
        remedies = ("a larger max_iter",) * 2
    elif architecture.pca_init and architecture.exemplars:
        # Kernels at the latent means of clean rows are crude in many dimensions.
        remedies = ("prior='gaussian'",) * 2
    if architecture.variational:
        rows = torch.as_tensor(x[typical])
        with torch.no_grad():
            outputs, extra = scorer.vae.likelihood.marginals(rows)
            margins = scorer.vae.likelihood.log_prob(rows, outputs.expand(len(rows), -1), extra).sum(1).numpy()
        yield checks.independent_columns(scores[typical], margins, shared, len(first_cells), remedy=remedies[0])
    of_shuffled = replace(scorer, leave_one_out=True).score(shuffled(x, columns, rng))
    yield checks.shuffled_columns(scores, of_shuffled, shared, remedy=remedies[1])


def _check_ranking(fitted: FittedModel, settings: Settings) -> Iterator[Finding]:
    architecture, names = fitted.architecture, fitted.schema.names
    x, scores = fitted.reference.cells, fitted.reference.scores
    leave_one_out = replace(fitted.scorer, leave_one_out=True)
    if architecture.n_estimators > 1 or not settings.recipe.represents:
        yield checks.seed_stability(leave_one_out.by_member(x) if architecture.n_estimators > 1 else scores[None])
    if len(names) > 1:
        most_rows = 1024  # contributions cost as much as scores
        sample = np.linspace(0, len(x) - 1, min(len(x), most_rows)).astype(int)
        of_anomalous, of_sample = (
            (column_contributions(leave_one_out, x[rows], fitted.schema.cells) - fitted.missing.means)[:, :-1]
            for rows in (checks.most_anomalous(scores), sample)
        )
        yield checks.leading_column(names, of_anomalous)
        yield checks.silent_columns(names, of_sample)
    yield checks.flagged_rows(scores, fitted.record.offset, settings.contamination)
    in_sample = settings.calibration == "leave_one_out" and not architecture.exemplars
    if not (in_sample and settings.recipe.represents):  # representations are not used for p-values
        contamination = 0.0 if settings.novelty else settings.contamination
        yield checks.p_values(
            scores,
            contamination,
            np.random.default_rng(0),
            in_sample=in_sample,
            most_anomalies=fitted.record.most_anomalies,
        )
