"""From trained weights to a scorer: which rows the prior rests on, and the draws that all rows share."""

import copy
from dataclasses import replace

import numpy as np
import torch

from vae_anomaly.inference.exemplars import MAX_EXEMPLARS, Exemplars, choose_exemplars
from vae_anomaly.inference.scoring import Scorer, fixed_noise
from vae_anomaly.inference.thresholds import offset
from vae_anomaly.model.objectives import Objective
from vae_anomaly.model.vae import VAE

CORE_POOL = 4 * MAX_EXEMPLARS  # rows among which a dirty table's core is looked for
CORE_DRAWS = 2


def make_scorer(
    vae: VAE,
    objective: Objective,
    x: np.ndarray,
    *,
    exemplars: bool,
    leave_one_out: bool,
    contamination: str | float,
    bound: str,
    n_draws: int,
    dtype: torch.dtype,
    rng: np.random.Generator,
) -> Scorer:
    """Fix everything that scores depend on.

    Where the training rows may hold anomalies (``leave_one_out``), the exemplars come from the table's core: the rows
    are scored against exemplars of all kinds, and those that would be called odd are left out.
    """
    frozen = copy.deepcopy(vae).to(dtype).eval().requires_grad_(False)
    noise = torch.as_tensor(fixed_noise(n_draws, vae.n_components, rng), dtype=dtype, device=vae.shared.device)
    scorer = Scorer(frozen, objective, noise, None, leave_one_out, bound)
    if not exemplars:
        return scorer
    if leave_one_out:
        pool = x[rng.permutation(len(x))[:CORE_POOL]]
        scores = replace(scorer, noise=noise[:CORE_DRAWS], exemplars=_exemplars(scorer, pool, rng)).elbo(pool)
        x = pool[scores >= offset(scores, contamination)]
    return replace(scorer, exemplars=_exemplars(scorer, x, rng))


@torch.no_grad()
def _exemplars(scorer: Scorer, x: np.ndarray, rng: np.random.Generator) -> Exemplars:
    chosen, keys, counts = choose_exemplars(x, rng)
    codes, _ = scorer.vae.encode(torch.as_tensor(x[chosen], dtype=scorer.dtype, device=scorer.device))
    return Exemplars(keys, torch.as_tensor(counts), codes.contiguous())  # as they come back from a file: same rounding
