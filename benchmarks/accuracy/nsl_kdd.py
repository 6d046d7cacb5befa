"""Novelty detection on NSL-KDD, a table of numbers and text, over several seeds.

``python -m benchmarks.accuracy.nsl_kdd --data nsl_kdd/train.csv`` trains on the normal rows of a random half and scores
the other half. It prints AUROC, average precision and seconds. Our detector sees the columns unchanged, the peers see
standardised numbers and one-hot text.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from benchmarks.shared.command import make_parser
from benchmarks.shared.nsl_kdd import Connections, one_hot, read_connections
from benchmarks.shared.peers import BASELINE, OURS, Neighbours, Ours, Peer, SklearnPeer
from benchmarks.shared.timing import timed

METHODS: dict[str, tuple[Callable[[pd.DataFrame], Pipeline], Callable[[int], Peer]]] = {
    OURS: (lambda rows: make_pipeline(FunctionTransformer()), lambda seed: Ours(novelty=True, seed=seed)),
    BASELINE: (one_hot, lambda seed: SklearnPeer(IsolationForest(random_state=seed))),
    "5 neighbours": (one_hot, lambda seed: Neighbours()),
}


def measure(connections: Connections, seed: int, method: str) -> dict[str, object]:
    """Accuracy and seconds of a method trained on the normal rows of a random half."""
    rows, is_attack = connections.rows, (connections.attacks != "normal").to_numpy()
    in_first = np.random.default_rng(seed).permutation(len(rows)) < len(rows) // 2
    train, test, labels = rows[in_first & ~is_attack], rows[~in_first], is_attack[~in_first]
    prepare, make = METHODS[method]
    columns, peer = prepare(train), make(seed)
    fit = timed(lambda: peer.fit(columns.fit_transform(train)))
    score = timed(lambda: peer.score(columns.transform(test), np.full(len(test), -1)))
    return {
        "method": method,
        "seed": seed,
        "auroc": roc_auc_score(labels, score.result),
        "average_precision": average_precision_score(labels, score.result),
        "fit_seconds": fit.seconds,
        "score_seconds": score.seconds,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each method and seed, then the means."""
    parser = make_parser("benchmarks.accuracy.nsl_kdd", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="the file train.csv of NSL-KDD, with a header")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    table = read_connections(options.data)
    figures = pd.DataFrame([measure(table, seed, method) for method in METHODS for seed in range(options.seeds)])
    print(figures.round(4).to_string(index=False))
    print(figures.drop(columns="seed").groupby("method", sort=False).mean().round(4).to_string())


if __name__ == "__main__":
    main()
