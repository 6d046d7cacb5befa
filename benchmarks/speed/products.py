"""Seconds of the bare matrix products of a model: a lower bound for the seconds of scoring.

`benchmarks.speed.timing` times the products in the same process as the score.
"""

from functools import partial

import torch
from torch import Tensor

from benchmarks.shared.timing import Timed, timed
from vae_anomaly.model.networks import MemberLinear, SkipNet
from vae_anomaly.parallel import in_pieces
from vae_anomaly.scoring.scorer import Scorer

ROWS_AT_ONCE = 512  # as in scoring; the operands of a core stay in its cache
ROUNDS = 5  # the fastest counts

Product = tuple[Tensor, Tensor]


def products_of(scorer: Scorer, rows: int) -> list[Product]:
    """Operands of the products that the networks need to score ``rows`` random rows, each (members, ., .).

    The encoder needs a product for each row, the decoder for each draw; the second model, where there is one,
    reconstructs each row once. Rows are contiguous in memory, as in scoring. Not included are the sum over the kernels
    of an exemplar prior, and the encoder's second run in outlier detection, which recognises training rows.
    """
    generator = torch.Generator().manual_seed(0)
    nets = [(scorer.vae.encoder, rows), (scorer.vae.decoder, rows * len(scorer.draws))]
    if scorer.outstanding is not None:
        nets += [(scorer.outstanding.vae.encoder, rows), (scorer.outstanding.vae.decoder, rows)]
    return [
        (layer.weight.mT, torch.randn(*layer.weight.shape[:2], n, generator=generator, dtype=scorer.dtype))
        for net, n in nets
        for layer in _layers(net)
    ]


def products_seconds(scorer: Scorer, rows: int, *, workers: int | None = None) -> float:
    """Seconds of the bare products for scoring ``rows`` rows, with the threads of scoring.

    The same operands are multiplied repeatedly, ``ROWS_AT_ONCE`` rows at a time, and the results are discarded.
    """
    return min(timing.seconds for timing in _timings(scorer, rows, workers or torch.get_num_threads()))


def products_work(scorer: Scorer, rows: int) -> float:
    """Processor seconds of the same on one thread."""
    return min(timing.cpu_seconds for timing in _timings(scorer, rows, 1))


def _timings(scorer: Scorer, rows: int, workers: int) -> list[Timed]:
    work, pieces = partial(_multiply, products_of(scorer, ROWS_AT_ONCE)), range(-(-rows // ROWS_AT_ONCE))
    share = rows / (len(pieces) * ROWS_AT_ONCE)
    timings = [timed(in_pieces, work, pieces, workers) for _ in range(ROUNDS)]
    return [Timed(None, timing.seconds * share, timing.cpu_seconds * share) for timing in timings]


@torch.no_grad()
def _multiply(products: list[Product], piece: int) -> None:
    for a, b in products:
        torch.bmm(a, b)


def _layers(net: torch.nn.Module) -> list[MemberLinear]:
    if not isinstance(net, SkipNet):
        raise TypeError("Only networks of plain layers are supported.")
    return [layer for layer in net.modules() if isinstance(layer, MemberLinear)]
