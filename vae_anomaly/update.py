"""A fitted model that learns from new rows, without the rows that it was fitted to.

What a model keeps of the past is its reference, a uniform sample of all rows that it has seen. New rows join it with
the probability with which the old ones are in it, so that it stays one; it is what is trained on, and what exemplars,
threshold and p-values come from.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import ks_2samp

from vae_anomaly.config import Settings, make_plan
from vae_anomaly.fit import library_versions, measure, widened
from vae_anomaly.fitted import MOST_ROWS, FitRecord, FittedModel, likelihood_of
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.scorer import make_scorer
from vae_anomaly.training.callbacks import CallbackRunner
from vae_anomaly.training.trainer import Plan, Trainer

STILL = 20  # steps in which the optimiser learns how large gradients are
STRANGE_WORTH = 10.0  # times as much is to be learned from rows unlike all others: a tenth of them is worth a whole fit
CHANCE = 1e-3  # of taking rows for unlike that are not
LEAST_PART = 0.25  # of a fit: a stream that had moved, in 40 updates, stayed 32 nats down after as many steps in eights


def update_model(
    fitted: FittedModel, x: np.ndarray, *, settings: Settings, seed: int, monitor: CallbackRunner
) -> FittedModel:
    """Train on, with the encoded rows ``x`` (rows, cells) that are new; ``seed`` and what was seen decide all chance.

    The weights move on from where they are, in as many steps as the new rows are worth. What the schema says of
    columns stays, the number of rows apart.
    """
    n_old = fitted.schema.n_rows
    grown = replace(fitted, schema=fitted.schema.with_rows(n_old + len(x)), ranges=widened(fitted.ranges, x))
    rng = np.random.default_rng([seed, n_old])
    generator = torch.Generator(fitted.scorer.device).manual_seed(int(rng.integers(2**31 - 1)))
    rows = uniform_rows(fitted.reference.cells, n_old, x, rng)
    some = x[rng.permutation(len(x))[:MOST_ROWS]]
    strange = strangeness(fitted.reference.scores, fitted.scorer.score(some))
    plan = _plan(fitted, grown, len(rows), strange, settings)
    vae, record = _trained(grown, rows, plan, generator, monitor) if plan.max_iter else (_warm(grown), grown.record)
    scorer = make_scorer(
        vae,
        grown.scorer.objective,
        rows,
        exemplars=grown.architecture.exemplars,
        starts_at_pca=grown.architecture.anchored,
        leave_one_out=grown.scorer.leave_one_out,
        contamination=settings.contamination,
        n_draws=len(grown.scorer.draws),
        dtype=grown.scorer.dtype,
        rng=rng,
        draws=grown.scorer.draws,
    )
    measured = measure(scorer, rows, grown.schema, grown.architecture, settings, rng)
    return replace(
        grown,
        scorer=scorer,
        latents=measured.latents,
        reference=measured.reference,
        record=replace(record, offset=measured.offset, baseline=measured.usual, versions=library_versions()),
    )


def uniform_rows(kept: np.ndarray, n_rows: int, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A uniform sample of all rows seen, given one of those seen before.

    Parameters
    ----------
    kept : ndarray
        (kept rows, cells), a uniform sample of ``n_rows`` rows. All of it is in the result.
    n_rows : int
        Rows that were seen before.
    x : ndarray
        (rows, cells), those that are new. Each is taken with the probability with which the others were kept.
    """
    return np.concatenate([kept, x[rng.random(len(x)) < len(kept) / n_rows]])


def strangeness(old: np.ndarray, new: np.ndarray) -> float:
    """How unlike the scores of old and new rows are, from 0 to 1: Kolmogorov's distance, 0 where it may be chance."""
    found = ks_2samp(old, new, method="asymp")
    return float(found.statistic) if found.pvalue < CHANCE else 0.0


def steps_between(n_old: int, n_new: int, whole: int, worth: float = 1.0) -> int:
    """Steps of an update from ``n_old`` to ``n_new`` rows, where a fit takes ``whole``, which are the most.

    The nth row is worth its share of all rows, ``whole / n`` steps, and so many times that; their sum grows with the
    logarithm. So many small updates take as many steps as a large one; they come in parts of a fit, for a few steps are
    more noise than learning, and most small updates take none.
    """
    part = math.ceil(whole * LEAST_PART)
    begun = [math.floor(worth * whole * math.log(n_rows) / part) for n_rows in (n_old, n_new)]
    return min(whole, part * (begun[1] - begun[0]))


def _plan(fitted: FittedModel, grown: FittedModel, n_rows: int, strange: float, settings: Settings) -> Plan:
    """That of a fit to so many rows, but shorter, gentler if the new ones are not strange, and with a whole KL."""
    architecture, schema = fitted.architecture, fitted.schema
    whole = make_plan(settings, grown.schema.n_rows, exemplars=architecture.exemplars)
    complete = architecture.image_shape is not None or not fitted.missing_indicators
    one_measure = complete and schema.has_one_measure(fitted.ranges)
    plan = make_plan(settings, n_rows, exemplars=architecture.exemplars, one_measure=one_measure)
    worth = 1 + (STRANGE_WORTH - 1) * strange
    steps = steps_between(schema.n_rows, grown.schema.n_rows, whole.max_iter, worth)
    evaluations = max(1, steps // whole.interval)
    rate = max(strange, steps / whole.max_iter) * plan.learning_rate
    return replace(plan, max_iter=steps, evaluations=evaluations, learning_rate=rate, warm_up=0.0, still=STILL)


def _warm(grown: FittedModel) -> VAE:
    """The model, to be trained on."""
    likelihood = likelihood_of(grown.schema, grown.architecture, grown.number_likelihood, grown.missing_indicators)
    vae = grown.architecture.build(likelihood).to(grown.scorer.device, grown.weight_type)
    vae.load_state_dict(grown.scorer.vae.state_dict())
    return vae


def _trained(
    grown: FittedModel, rows: np.ndarray, plan: Plan, generator: torch.Generator, monitor: CallbackRunner
) -> tuple[VAE, FitRecord]:
    vae, old = _warm(grown), grown.record
    x = torch.as_tensor(rows, dtype=grown.weight_type, device=grown.scorer.device)
    exemplars = grown.architecture.exemplars
    trainer = Trainer(vae, x, plan, grown.scorer.objective, exemplars=exemplars, generator=generator)
    rounds = trainer.run(monitor).rounds
    rounds["step"] = [old.n_iter + step for step in rounds["step"]]
    history = {name: old.history[name] + figures for name, figures in rounds.items() if name in old.history}
    return vae, replace(old, history=history, n_iter=int(history["step"][-1]), batch_size=trainer.plan.batch_size)
