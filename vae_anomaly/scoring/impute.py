"""Missing cells filled with their expected values given the observed cells."""

import numpy as np
import torch

from vae_anomaly.scoring.scorer import Scorer

ROUNDS = 10


def fill_missing(scorer: Scorer, x: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Encode and decode ``ROUNDS`` times, each time with the missing cells of the previous reconstruction.

    The latents move to values that agree with the observed cells, as in Rezende et al. 2014 (arXiv 1401.4082), section
    F, without random draws. The decoders of all members are averaged.

    Parameters
    ----------
    scorer : Scorer
        The trained model.
    x : ndarray
        (rows, cells), NaN where a cell is missing.
    lowest, highest : ndarray
        (cells,) range of the training rows; filled cells stay within it, because beyond it the rounds may diverge.

    Returns
    -------
    ndarray
        (rows, cells): observed cells unchanged, no NaN.
    """
    vae, low, high = scorer.vae, scorer.tensor(lowest), scorer.tensor(highest)

    def fill(rows: np.ndarray) -> np.ndarray:
        cells = filled = scorer.tensor(rows)
        missing = cells.isnan()
        for _ in range(ROUNDS):
            mean, _ = vae.encode(filled)
            expected = vae.likelihood.expected(vae.decode(mean[None]).mean(1))[0]
            filled = torch.where(missing, torch.minimum(torch.maximum(expected, low), high), cells)
        return np.where(np.isnan(rows), filled.cpu().double().numpy(), rows)

    return np.concatenate(scorer.by_chunk(fill, x))
