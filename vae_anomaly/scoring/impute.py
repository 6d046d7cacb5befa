"""Missing cells filled with what the model expects beside those that were observed."""

from functools import partial

import numpy as np
import torch

from vae_anomaly.scoring.scorer import Scorer

ROUNDS = 10


def complete(scorer: Scorer, x: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Encode and decode ``ROUNDS`` times, each time with the missing cells as they came out of the round before.

    So the code moves to one that agrees with the observed cells, as in Rezende et al. 2014 (arXiv 1401.4082), section
    F, without the noise. The decoders of all members are averaged.

    Parameters
    ----------
    x : ndarray
        (rows, cells), NaN where a cell is missing.
    lowest, highest : ndarray
        (cells,) range of the training rows, which no filled cell leaves: beyond it the rounds may diverge.

    Returns
    -------
    ndarray
        (rows, cells): observed cells as they were, no NaN.
    """
    return np.concatenate(scorer.by_chunk(partial(_complete, scorer, lowest, highest), x))


def _complete(scorer: Scorer, lowest: np.ndarray, highest: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    vae, x = scorer.vae, scorer.tensor(chunk)
    low, high, missing, filled = scorer.tensor(lowest), scorer.tensor(highest), x.isnan(), x
    for _ in range(ROUNDS):
        mean, _ = vae.encode(filled)
        outputs = vae.decode(mean[None]).mean(1)
        expected = vae.likelihood.expected(outputs)[0]
        filled = torch.where(missing, torch.minimum(torch.maximum(expected, low), high), x)
    return np.where(np.isnan(chunk), filled.cpu().double().numpy(), chunk)
