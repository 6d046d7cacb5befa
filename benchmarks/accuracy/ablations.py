"""Accuracy with one part of the detector changed at a time, on the rows and splits of `benchmarks.accuracy`.

``python -m benchmarks.accuracy.ablations --data adbench [--setting novelty] [--variants WORD ...]`` prints the mean
AUROC and average precision of each variant, and the difference from the defaults with a paired bootstrap over the
tables.
"""

import argparse
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.accuracy.measure import judge
from benchmarks.accuracy.summary import MEASURES, bootstrap_means
from benchmarks.shared.adbench import SPLITS, find_tables, read_table
from benchmarks.shared.page import markdown
from vae_anomaly import VAEDetector
from vae_anomaly.model.pca_init import UNITS


@dataclass(frozen=True)
class Variant:
    """A detector that differs from the default in its parameters, or in constants of the code, by dotted name."""

    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)

    def score(self, train: np.ndarray, test: np.ndarray, *, novelty: bool, seed: int) -> np.ndarray:
        """Fit on the training rows and score the others."""
        with ExitStack() as changed:
            for name, value in self.constants.items():
                changed.enter_context(patch(f"vae_anomaly.{name}", value))
            detector = VAEDetector(novelty=novelty, random_state=seed, **self.parameters)
            return detector.fit(train).anomaly_score(test)


DEFAULT = Variant("default")
ANY = [
    DEFAULT,
    Variant("standard normal prior", {"prior": "gaussian"}),
    Variant("plain autoencoder, squared error", {"variational": False}),
    Variant("importance-weighted bound, 64 draws", {"bound": "iwae", "n_draws": 64}),
    Variant("8 latents", {"n_components": 8}),
    Variant("6 members", {"n_estimators": 6}),
]
VARIANTS = {
    "novelty": [
        *ANY,
        Variant("Student-t noise", {"likelihood": "student_t"}),
        Variant("anchor alone: 1 step", {"max_iter": 1}),
        Variant("300 steps", {"max_iter": 300}),
        Variant("columns by their deviation only", constants={"model.pca_init.UNITS": UNITS[:1]}),
        Variant("columns by their range only", constants={"model.pca_init.UNITS": UNITS[1:]}),
        Variant("2,048 exemplars", constants={"scoring.scorer.MOST": 2048}),
    ],
    "outlier": [
        *ANY,
        Variant("Gaussian noise", {"likelihood": "gaussian"}),
        Variant("100 steps", {"max_iter": 100}),
        Variant("400 steps", {"max_iter": 400}),
        Variant("nothing trimmed", constants={"training.trainer.FENCE": 1e9}),
        Variant("trimmed beyond 1 interquartile range", constants={"training.trainer.FENCE": 1.0}),
        Variant("30 % trimmed", {"contamination": 0.3}),
        Variant("2,048 exemplars", constants={"scoring.scorer.FEW": 2048}),
    ],
}


def measure(variant: Variant, path: Path, setting: str, seed: int, cap: int) -> tuple[float, float]:
    """AUROC and average precision."""
    split = SPLITS[setting](read_table(path, cap), seed)
    scores = variant.score(split.train, split.test, novelty=split.novelty, seed=seed)
    return judge(split.labels, scores)


def compare(
    variants: list[Variant], figure: partial[tuple[float, float]], paths: list[Path], seeds: int
) -> pd.DataFrame:
    """A row a variant: means over tables of means over seeds, and what they differ by from the first one's."""
    rows, reference = {}, None
    for variant in variants:
        figures = np.array([[figure(variant, path, seed=seed) for seed in range(seeds)] for path in paths]).mean(1)
        reference = figures if reference is None else reference
        low, high = bootstrap_means(figures - reference)
        row = dict(zip(MEASURES.values(), figures.mean(0), strict=True))
        gaps = zip(MEASURES.values(), (figures - reference).mean(0), low, high, strict=True)
        rows[variant.name] = row | {f"{name} − default": f"{d:+.4f} [{a:+.4f}, {b:+.4f}]" for name, d, a, b in gaps}
        print(variant.name, figures.mean(0).round(4), flush=True)
    return pd.DataFrame(rows).T


def main() -> None:
    """Measure and print a Markdown table a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files with X and y")
    parser.add_argument("--setting", choices=list(SPLITS), action="append", help="default: both")
    parser.add_argument("--variants", nargs="+", help="those whose names hold one of these words; default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cap", type=int, default=3000, help="rows of each set at most; 0 takes all (default: 3000)")
    arguments = parser.parse_args()
    paths = find_tables(arguments.data)
    for setting in arguments.setting or list(SPLITS):
        words = arguments.variants or [""]
        chosen = [v for v in VARIANTS[setting] if v is DEFAULT or any(word in v.name for word in words)]
        table = compare(chosen, partial(measure, setting=setting, cap=arguments.cap), paths, arguments.seeds)
        print(f"\n{setting}, {arguments.seeds} seeds, cap {arguments.cap}\n")
        print(markdown(table, [".4f", ".4f", "", ""], "variant"), "\n")


if __name__ == "__main__":
    main()
