"""Novelty detection on NSL-KDD, a mixed table: train on the normal rows of one half, score the other half.

``python -m benchmarks.accuracy.nsl_kdd --data nsl_kdd/train.csv`` reports AUROC, average precision and wall times over
seeds. Our detector sees the columns unchanged, the peers see standardised numbers and one-hot text.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from benchmarks.shared.nsl_kdd import LABEL, one_hot
from benchmarks.shared.peers import OURS, YARDSTICK, Neighbours, Ours, Peer, SklearnPeer
from vae_anomaly import read_table


def as_it_is(rows: pd.DataFrame) -> Pipeline:
    """The table itself."""
    return make_pipeline(FunctionTransformer())


METHODS: dict[str, tuple[Callable[[pd.DataFrame], Pipeline], Callable[[int], Peer]]] = {
    OURS: (as_it_is, lambda seed: Ours(novelty=True, seed=seed)),
    YARDSTICK: (one_hot, lambda seed: SklearnPeer(IsolationForest(random_state=seed))),
    "5 neighbours": (one_hot, lambda seed: Neighbours()),
}


def measure(table: pd.DataFrame, seed: int, method: str) -> dict[str, object]:
    """Fit on the normal rows of a random half and score the other half."""
    attack = (table[LABEL] != "normal").to_numpy()
    rows = table.drop(columns=LABEL)
    first = np.random.default_rng(seed).permutation(len(table)) < len(table) // 2
    train, test = rows[first & ~attack], rows[~first]
    prepare, make = METHODS[method]
    begin = time.perf_counter()
    columns, peer = prepare(train).fit(train), make(seed)
    peer.fit(columns.transform(train))
    fitted = time.perf_counter()
    scores = peer.score(columns.transform(test), np.full(len(test), -1))
    return {
        "method": method,
        "seed": seed,
        "auroc": roc_auc_score(attack[~first], scores),
        "average_precision": average_precision_score(attack[~first], scores),
        "fit_seconds": fitted - begin,
        "score_seconds": time.perf_counter() - fitted,
    }


def main() -> None:
    """Print a row a method and seed, then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the file train.csv of NSL-KDD with a header")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    table = read_table(arguments.data)
    figures = pd.DataFrame([measure(table, seed, method) for method in METHODS for seed in range(arguments.seeds)])
    print(figures.round(4).to_string(index=False))
    print(figures.drop(columns="seed").groupby("method", sort=False).mean().round(4).to_string())


if __name__ == "__main__":
    main()
