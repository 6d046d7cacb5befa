"""How fast a machine multiplies the matrices of a model, and nothing else: the limit that scoring is held against.

`benchmarks.speed.timing` times the products in the process, and beside the score, that they are held against.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from vae_anomaly.model.networks import MemberLinear, SkipNet
from vae_anomaly.parallel import in_pieces
from vae_anomaly.scoring.scorer import Scorer

ROWS_AT_ONCE = 512  # as many as are scored at once; what a core multiplies stays in its cache
ROUNDS = 5  # of which the quickest counts

Product = tuple[Tensor, Tensor]


def products_of(scorer: Scorer, rows: int) -> list[Product]:
    """Factors of every product that the nets need to score so many rows, each (members, ., .); the rows are random.

    Those of the encoder for each row, those of the decoder for each draw; the rows lie side by side in memory, as in
    scoring. The sum over an exemplar prior's kernels is not among them.
    """
    generator = torch.Generator().manual_seed(0)
    nets = ((scorer.vae.encoder, rows), (scorer.vae.decoder, rows * len(scorer.draws)))
    return [
        (layer.weight.mT, torch.randn(*layer.weight.shape[:2], n, generator=generator, dtype=scorer.dtype))
        for net, n in nets
        for layer in _layers(net)
    ]


def products_seconds(scorer: Scorer, rows: int, *, workers: int | None = None) -> float:
    """Seconds that the bare products of scoring so many rows take, on as many threads as scoring has.

    The same factors are multiplied again and again, ``ROWS_AT_ONCE`` rows at a time, and results are thrown away.
    """
    products = products_of(scorer, ROWS_AT_ONCE)
    pieces = range(-(-rows // ROWS_AT_ONCE))
    work = partial(_multiply, products)
    run = partial(in_pieces, work, pieces, workers or torch.get_num_threads())
    return min(seconds(run) for _ in range(ROUNDS)) * rows / (len(pieces) * ROWS_AT_ONCE)


def seconds(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@torch.no_grad()
def _multiply(products: list[Product], piece: int) -> None:
    for a, b in products:
        torch.bmm(a, b)


def _layers(net: torch.nn.Module) -> list[MemberLinear]:
    if not isinstance(net, SkipNet):
        raise TypeError("Only nets of plain layers have products to count.")
    return [layer for layer in net.modules() if isinstance(layer, MemberLinear)]
