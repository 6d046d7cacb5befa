"""Accuracy on ADBench's tables in both settings, by the protocol below, beside the two peers that lead them.

``python -m benchmarks.accuracy --data adbench [--setting novelty|outlier|both] [--seeds 1] [--output table.csv]``
reads ``.npz`` files with ``X`` and ``y`` (1 = anomaly). Novelty: train on a random half of the normal rows, test on the
rest. Outlier: train and test on all rows. The defaults everywhere; no label is read but by the metric and the split;
``--cap`` (rows a set, at most) is for development.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from vae_anomaly import VAEDetector

Method = Callable[[np.ndarray, np.ndarray, bool, int], np.ndarray]


def vae(train: np.ndarray, test: np.ndarray, novelty: bool, seed: int) -> np.ndarray:
    """Ours, with its defaults."""
    return VAEDetector(novelty=novelty, random_state=seed).fit(train).anomaly_score(test)


def neighbours(train: np.ndarray, test: np.ndarray, novelty: bool, seed: int) -> np.ndarray:
    """Mean distance to the 5 nearest training rows; in the outlier setting a row is not its own neighbour."""
    scaler = StandardScaler().fit(train)
    index = NearestNeighbors(n_neighbors=min(5, len(train) - 1)).fit(scaler.transform(train))
    distances, _ = index.kneighbors(scaler.transform(test) if novelty else None)
    return distances.mean(1)


def forest(train: np.ndarray, test: np.ndarray, novelty: bool, seed: int) -> np.ndarray:
    """scikit-learn's IsolationForest, with its defaults."""
    return -IsolationForest(random_state=seed).fit(train).score_samples(test)


METHODS: dict[str, Method] = {"vae-anomaly": vae, "5 neighbours": neighbours, "IsolationForest": forest}


def split(x: np.ndarray, y: np.ndarray, novelty: bool, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows, test rows and the test rows' labels."""
    if not novelty:
        return x, x, y
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
    half = len(normal) // 2
    test = np.concatenate([normal[half:], np.flatnonzero(y == 1)])
    return x[normal[:half]], x[test], y[test]


def measure(
    path: Path, settings: list[str], methods: list[str], seed: int, cap: int | None
) -> Iterator[dict[str, object]]:
    """One row a setting and method."""
    data = np.load(path)
    rows = np.random.default_rng(seed).permutation(len(data["X"]))[:cap]
    x, y = data["X"][rows].astype(np.float64), data["y"][rows]
    for setting in settings:
        train, test, labels = split(x, y, setting == "novelty", seed)
        for name in methods:
            begin = time.perf_counter()
            scores = METHODS[name](train, test, setting == "novelty", seed)
            yield {
                "setting": setting,
                "set": path.stem,
                "seed": seed,
                "method": name,
                "auroc": roc_auc_score(labels, scores),
                "average_precision": average_precision_score(labels, scores),
                "seconds": time.perf_counter() - begin,
                "finite": bool(np.isfinite(scores).all()),
            }


def main() -> None:
    """Measure, write every figure if asked to, print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files")
    parser.add_argument("--setting", choices=["novelty", "outlier", "both"], default="both")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cap", type=int, help="rows of each set, at most; not for reported figures")
    parser.add_argument("--output", type=Path, help="CSV of every figure")
    arguments = parser.parse_args()
    settings = ["novelty", "outlier"] if arguments.setting == "both" else [arguments.setting]
    figures = []
    for path in sorted(arguments.data.glob("*.npz")):
        for seed in range(arguments.seeds):
            for row in measure(path, settings, arguments.methods, seed, arguments.cap):
                figures.append(row)
                print(
                    " ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()),
                    file=sys.stderr,
                )
    table = pd.DataFrame(figures)
    if arguments.output:
        table.to_csv(arguments.output, index=False)
    means = table.groupby(["setting", "method"], sort=False)[["auroc", "average_precision", "seconds"]].mean()
    print(means.round(4).to_string())


if __name__ == "__main__":
    main()
