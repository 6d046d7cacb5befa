"""Novelty detection on NSL-KDD, a mixed table: train on the normal rows of one half, score the other half.

``python -m benchmarks.nsl_kdd --data nsl_kdd/train.csv`` reports AUROC, average precision and wall times over seeds.
"""

import argparse
import time

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_anomaly import VAEDetector, read_table

LABEL = "attack"


def measure(table: pd.DataFrame, seed: int) -> dict[str, float]:
    """Fit on the normal rows of a random half and score the other half."""
    attack = (table[LABEL] != "normal").to_numpy()
    rows = table.drop(columns=LABEL)
    first = np.random.default_rng(seed).permutation(len(table)) < len(table) // 2
    begin = time.perf_counter()
    detector = VAEDetector(novelty=True, random_state=seed).fit(rows[first & ~attack])
    fitted = time.perf_counter()
    scores = detector.anomaly_score(rows[~first])
    return {
        "seed": seed,
        "auroc": roc_auc_score(attack[~first], scores),
        "average_precision": average_precision_score(attack[~first], scores),
        "fit_seconds": fitted - begin,
        "score_seconds": time.perf_counter() - fitted,
        "steps": detector.n_iter_,
    }


def main() -> None:
    """Print a row a seed, then the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the file train.csv of NSL-KDD with a header")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    table = read_table(arguments.data)
    figures = pd.DataFrame([measure(table, seed) for seed in range(arguments.seeds)])
    print(figures.round(4).to_string(index=False))
    print(figures.mean().drop("seed").round(4).to_string())


if __name__ == "__main__":
    main()
