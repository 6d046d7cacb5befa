"""What each column adds to the anomaly score, in nats, and what is usual for it."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from vae_anomaly.inference.scoring import Scorer
from vae_anomaly.model.attribution import attributed_terms
from vae_anomaly.tables import Cell


def column_nats(scorer: Scorer, x: np.ndarray, cells: Sequence[Cell]) -> np.ndarray:
    """Nats of each column, then of the latent term, (rows, columns + 1): they add up to the anomaly score.

    Those of a column are the negative log-likelihood of its cells and what these carry of the KL (see
    `vae_anomaly.model.attribution`); the latent term is the rest. A missing cell adds nothing.

    Parameters
    ----------
    scorer : Scorer
        The trained model.
    x : ndarray
        (rows, cells).
    cells : sequence of Cell
        What each cell is.
    """
    widths = [max(1, cell.n_codes) for cell in cells]
    parts = scorer.by_chunk(partial(_nats, scorer, widths), x)
    nats, totals = (np.concatenate(part) for part in zip(*parts, strict=True))
    if scorer.bound == "iwae":
        totals = -scorer.score(x)
    columns = sum_by_column(nats, [cell.column for cell in cells])
    return np.column_stack([columns, totals - columns.sum(1)])


def sum_by_column(nats: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Sums of the cells (rows, cells) that belong to each column, (rows, columns)."""
    summed = np.zeros((max(columns) + 1, len(nats)))
    np.add.at(summed, np.asarray(columns), nats.T)
    return summed.T


def usual_nats(nats: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Mean nats of each column over the training rows that are not ``odd``, (columns + 1,)."""
    return nats[~odd].mean(0) if not odd.all() else nats.mean(0)


@torch.no_grad()
def _nats(scorer: Scorer, widths: list[int], chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nats of each cell (rows, cells) and the negative ELBO (rows,), means over the members."""
    vae, x, prior, noise = scorer.inputs(chunk)
    terms, carried = attributed_terms(scorer.objective, vae, x, prior, noise)
    nats = -terms.cells
    if carried is not None:
        parts = carried[..., : sum(widths)].split(widths, -1)  # the rest marks missing cells, which add nothing
        of_cells = torch.stack([part.sum(-1) for part in parts], -1)
        nats = nats + of_cells.masked_fill(x.isnan(), 0.0)
    return nats.mean(0).cpu().double().numpy(), -terms.elbo().mean(0).cpu().double().numpy()
