"""How fast a machine multiplies the matrices of a model, and nothing else: the limit that scoring is held against.

``python -m benchmarks.products --rows 200000 --columns 30`` fits a detector with the defaults, scores, and makes the
products of its nets alone, in one process: report the share, not the seconds.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.speed import make_table
from vae_anomaly import VAEDetector
from vae_anomaly.inference.scoring import Scorer
from vae_anomaly.model.networks import AnchoredNet, MemberLinear
from vae_anomaly.threads import in_pieces

ROWS_AT_ONCE = 512  # as many as are scored at once; what a core multiplies stays in its cache
ROUNDS = 5  # of which the quickest counts

Product = tuple[Tensor, Tensor]


def products_of(scorer: Scorer, rows: int) -> list[Product]:
    """Factors of every product that the nets need to score so many rows, each (members, ., .); the rows are random.

    Those of the encoder for each row, those of the decoder for each draw; the rows lie side by side in memory, as in
    scoring. The sum over an exemplar prior's kernels is not among them.
    """
    generator = torch.Generator().manual_seed(0)
    nets = ((scorer.vae.encoder, rows), (scorer.vae.decoder, rows * len(scorer.noise)))
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


def operations(scorer: Scorer) -> int:
    """Multiplications and additions of the nets' products for one row."""
    return sum(2 * a.shape[0] * a.shape[1] * a.shape[2] * b.shape[2] for a, b in products_of(scorer, 1))


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
    if not isinstance(net, AnchoredNet):
        raise TypeError("Only nets of plain layers have products to count.")
    return [layer for layer in net.modules() if isinstance(layer, MemberLinear)]


def main() -> None:
    """Print what scoring reaches of the products' rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=30)
    arguments = parser.parse_args()
    x = make_table(arguments.rows, arguments.columns)
    for name, novelty in (("outlier detection", False), ("novelty detection", True)):
        detector = VAEDetector(novelty=novelty, random_state=0).fit(x)
        score = seconds(partial(detector.score_samples, x))
        scorer = detector._fitted.scorer
        bare = products_seconds(scorer, len(x))
        rate = operations(scorer) * len(x) / bare / 1e9
        print(f"{name:18} score {score:6.2f} s  products {bare:6.2f} s ({rate:.0f} GFLOP/s)  share {bare / score:.0%}")


if __name__ == "__main__":
    main()
