"""Online learning: a fitted model learns from new rows without the rows that it was fitted to.

All that a model keeps of earlier rows are its reference rows, a uniform sample of the rows that it has seen. New rows
join them with the probability with which earlier rows are among them, so the sample stays uniform. The model trains on
this sample, and exemplars, threshold and p-values come from it.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.stats import ks_2samp

from vae_anomaly.config import REFERENCE_ROWS, Architecture, Settings, make_plan
from vae_anomaly.data.columns import Cell, CodeCell
from vae_anomaly.data.parse import as_missing
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema, encode_batch
from vae_anomaly.fit import library_versions, measure
from vae_anomaly.fitted import FittedModel
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.scorer import make_scorer
from vae_anomaly.training.callbacks import CallbackRunner
from vae_anomaly.training.trainer import Plan, Trainer

NOVEL_WORTH = 10.0  # rows unlike all earlier ones are worth 10 times the steps: a tenth of new ones, a whole fit
LEAST_PART = 0.25  # of a fit: updates of an eighth left a stream that had moved 32 nats behind, after 40 of them


def update_model(
    fitted: FittedModel, frame: pd.DataFrame, *, settings: Settings, seed: int, callbacks: CallbackRunner
) -> FittedModel:
    """Continue training with new rows.

    The weights move on from their present values, in as many steps as the new rows are worth. Kinds and scales of the
    columns stay; levels that are new get codes. ``seed`` and the number of rows seen decide all randomness.
    """
    n_old, architecture, scorer, record = fitted.schema.n_rows, fitted.architecture, fitted.scorer, fitted.record
    schema = fitted.schema.grown(frame)
    x, before, after = encode_batch(schema, frame), fitted.schema.cells, schema.cells
    rng = np.random.default_rng([seed, n_old])
    generator = torch.Generator(scorer.device).manual_seed(int(rng.integers(2**31 - 1)))
    rows = uniform_rows(recoded(fitted.reference.cells, before, after), n_old, x, rng)
    some = x[rng.permutation(len(x))[:REFERENCE_ROWS]]
    difference = score_difference(fitted.reference.scores, scorer.score(recoded(some, after, before)))
    plan = plan_update(fitted, n_old + len(x), len(rows), difference, settings)

    vae = grown_model(architecture, scorer.vae, fitted, schema, x)
    if plan.max_iter:
        tensor = torch.as_tensor(rows, dtype=fitted.weight_type, device=scorer.device)
        trainer = Trainer(vae, tensor, plan, scorer.objective, exemplars=architecture.exemplars, generator=generator)
        rounds = trainer.run(callbacks)
        rounds["step"] = [record.n_iter + step for step in rounds["step"]]
        history = {name: record.history[name] + rounds[name] for name in rounds if name in record.history}
        n_iter, batch_size = int(history["step"][-1]), trainer.plan.batch_size
        record = replace(record, history=history, n_iter=n_iter, batch_size=batch_size)

    scorer = make_scorer(
        vae,
        scorer.objective,
        rows,
        exemplars=architecture.exemplars,
        starts_at_pca=architecture.pca_init,
        leave_one_out=scorer.leave_one_out,
        contamination=settings.contamination,
        n_draws=len(scorer.draws),
        dtype=scorer.dtype,
        rng=rng,
        draws=scorer.draws,
    )
    outstanding = fitted.scorer.outstanding
    if outstanding is not None:
        assert fitted.thorough is not None
        grown = grown_model(fitted.thorough, outstanding.vae, fitted, schema, x)
        outstanding = replace(outstanding, vae=grown.to(scorer.dtype).freeze())
    scorer = replace(scorer, outstanding=outstanding)
    (low, high), values = recoded(fitted.ranges, before, after), as_missing(x)
    measured = measure(scorer, rows, schema, architecture, settings, rng)
    return replace(
        fitted,
        schema=schema,
        scorer=measured.scorer,
        latents=measured.latents,
        ranges=np.stack([np.fmin(low, np.fmin.reduce(values)), np.fmax(high, np.fmax.reduce(values))]),
        reference=measured.reference,
        record=replace(
            record,
            offset=measured.offset,
            most_anomalies=measured.most_anomalies,
            versions=library_versions(),
        ),
    )


def recoded(x: np.ndarray, before: Sequence[Cell], after: Sequence[Cell]) -> np.ndarray:
    """Encoded rows (rows, cells) with the codes of the cells ``after`` instead of those ``before``.

    The cells differ in their number of category codes: codes that they do not share become unseen values.
    """
    x = x.copy()
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if isinstance(old, CodeCell) and isinstance(new, CodeCell) and old != new:
            codes = x[:, index]
            codes[np.isfinite(codes) & (codes >= min(old.unseen, new.unseen))] = new.unseen
    return x


def grown_model(
    architecture: Architecture, vae: VAE, fitted: FittedModel, schema: Schema | PixelSchema, x: np.ndarray
) -> VAE:
    """The model ``vae`` of a fit for a ``schema`` that may have more category codes, in the type of training.

    The new codes are those among the new rows ``x`` (rows, cells); their shares are counted there.
    """
    most_rows = 1024  # to set the outputs of the new codes by
    scorer, known, before, after = fitted.scorer, fitted.reference.cells, fitted.schema.cells, schema.cells
    grown = architecture.build(after, schema.n_rows, scorer.device).to(fitted.weight_type)
    if after == before:
        grown.load_state_dict(vae.state_dict())
        return grown
    n_seen = fitted.schema.n_rows * (~np.isnan(known)).mean(0) + (~np.isnan(x)).sum(0)
    shares = {}
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if isinstance(old, CodeCell) and isinstance(new, CodeCell) and new.n_codes > old.n_codes:
            counts = [(x[:, index] == code).sum() for code in range(old.n_codes, new.n_codes)]
            shares[index] = scorer.tensor(np.array(counts) / (n_seen[index] + 1))
    grown.grow_from(vae, scorer.tensor(known[:most_rows]), shares)
    return grown


def uniform_rows(kept: np.ndarray, n_rows: int, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A uniform sample of all rows seen, earlier and new.

    Parameters
    ----------
    kept : ndarray
        (kept rows, cells), a uniform sample of the ``n_rows`` earlier rows. All of it is in the result.
    n_rows : int
        Number of rows seen before.
    x : ndarray
        (rows, cells), the new rows. Each is taken with the probability with which the earlier ones were kept.
    rng : numpy.random.Generator
        Source of randomness.
    """
    return np.concatenate([kept, x[rng.random(len(x)) < len(kept) / n_rows]])


def score_difference(old: np.ndarray, new: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance between the scores of old and new rows, 0 to 1; 0 where it may be chance."""
    found = ks_2samp(old, new, method="asymp")
    level = 1e-3  # probability of finding a difference where there is none
    return float(found.statistic) if found.pvalue < level else 0.0


def steps_between(n_old: int, n_new: int, whole: int, worth: float = 1.0) -> int:
    """Gradient steps of an update from ``n_old`` to ``n_new`` rows, where a whole fit takes ``whole``, the maximum.

    The nth row is worth ``worth * whole / n`` steps, a row's part of a fit, and their sum grows with the logarithm of
    n. So many small updates take as many steps as a large one. Steps are taken in blocks of a quarter of a fit, because
    a few steps are more noise than learning; most small updates take none.
    """
    block = math.ceil(whole * LEAST_PART)
    before, after = (math.floor(worth * whole * math.log(n_rows) / block) for n_rows in (n_old, n_new))
    return min(whole, block * (after - before))


def plan_update(fitted: FittedModel, n_seen: int, n_rows: int, difference: float, settings: Settings) -> Plan:
    """The plan of a fit, but shorter, gentler where new rows are like the old ones, and with the full weight of the KL.

    Parameters
    ----------
    fitted : FittedModel
        The model before the update.
    n_seen : int
        Rows seen, the new ones included.
    n_rows : int
        Rows to train on.
    difference : float
        Between the scores of old and new rows, 0 to 1.
    settings : Settings
        Parameters of the detector.
    """
    architecture, schema = fitted.architecture, fitted.schema
    whole = make_plan(settings, n_seen, exemplars=architecture.exemplars)
    complete = architecture.image_shape is not None or not architecture.missing_indicators
    one_measure = complete and schema.has_one_measure(fitted.ranges)
    plan = make_plan(settings, n_rows, exemplars=architecture.exemplars, one_measure=one_measure)
    worth = 1 + (NOVEL_WORTH - 1) * difference
    steps = steps_between(schema.n_rows, n_seen, whole.max_iter, worth)
    return replace(
        plan,
        max_iter=steps,
        interval=max(1, steps // max(1, steps // whole.interval)),
        learning_rate=max(difference, steps / whole.max_iter) * plan.learning_rate,
        warm_up=0.0,
        still=20,
    )
