"""From trained weights to a scorer: which rows the prior rests on, and the draws that all rows share."""

import copy
import math
from dataclasses import replace

import numpy as np
import torch

from vae_anomaly.inference.exemplars import FEW, Exemplars, choose_exemplars
from vae_anomaly.inference.scoring import Scorer, fixed_noise
from vae_anomaly.inference.thresholds import offset
from vae_anomaly.model.bandwidth import NEAREST, leave_one_out_bandwidth
from vae_anomaly.model.objectives import Objective
from vae_anomaly.model.vae import VAE
from vae_anomaly.tables import Cells

MOST = 20_000  # exemplars; more would add little and take a file of megabytes
CORE_POOL = 8192  # rows among which a dirty table's core is looked for
CORE_DRAWS = 2


def make_scorer(
    vae: VAE,
    objective: Objective,
    x: Cells,
    *,
    exemplars: bool,
    anchored: bool,
    leave_one_out: bool,
    contamination: str | float,
    bound: str,
    n_draws: int,
    dtype: torch.dtype,
    rng: np.random.Generator,
    noise: torch.Tensor | None = None,
) -> Scorer:
    """Fix everything that scores depend on; the ``noise`` that rows share is drawn, unless it is given.

    Clean rows are exemplars as far as they go, and the bandwidth of an ``anchored`` model, whose posteriors are
    narrower than the kernels, is fitted to them anew: in training it belonged to the few of a step. Where the
    training rows may hold anomalies (``leave_one_out``), the exemplars are as few as in training and come from the
    table's core: the rows are scored against exemplars of all kinds, and those that would be called odd are left
    out. The bandwidth stays as trained: the likeliest would follow the dirt.
    """
    frozen = copy.deepcopy(vae).to(dtype).freeze()
    if noise is None:
        noise = torch.as_tensor(fixed_noise(n_draws, vae.n_components, rng), dtype=dtype, device=vae.shared.device)
    scorer = Scorer(frozen, objective, noise, None, leave_one_out, bound)
    if not exemplars:
        return scorer
    if not leave_one_out:
        clean = _exemplars(scorer, x, MOST, rng)
        if anchored:
            for bandwidth, codes in zip(frozen.log_bandwidth, clean.codes, strict=True):
                fitted = math.log(leave_one_out_bandwidth(codes, NEAREST))
                bandwidth.fill_(vae.shared.new_tensor(fitted).item())  # rounded as it is in a file
        return replace(scorer, exemplars=clean)
    pool = x[rng.permutation(len(x))[:CORE_POOL]]
    scores = replace(scorer, noise=noise[:CORE_DRAWS], exemplars=_exemplars(scorer, pool, FEW, rng)).elbo(pool)
    return replace(scorer, exemplars=_exemplars(scorer, pool[scores >= offset(scores, contamination)], FEW, rng))


@torch.no_grad()
def _exemplars(scorer: Scorer, x: Cells, most: int, rng: np.random.Generator) -> Exemplars:
    chosen, keys, counts = choose_exemplars(x, most, rng)
    codes, _ = scorer.vae.encode(torch.as_tensor(x[chosen], dtype=scorer.dtype, device=scorer.device))
    return Exemplars(keys, torch.as_tensor(counts), codes.contiguous())  # as they come back from a file: same rounding
