"""Accuracy with one part of the detector changed at a time, on the rows and splits of `benchmarks.accuracy`.

``python -m benchmarks.accuracy.ablations --data adbench [--setting novelty] [--variants WORD ...]`` prints the mean
AUROC and average precision of each variant, and the difference from the defaults with a paired bootstrap over the
tables.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.accuracy.measure import accuracy
from benchmarks.accuracy.summary import MEASURES, bootstrap_means
from benchmarks.shared.adbench import SPLITS, find_tables, read_table
from benchmarks.shared.command import make_parser
from benchmarks.shared.page import markdown
from benchmarks.shared.peers import Ours
from vae_anomaly.model.pca_init import UNITS


@dataclass(frozen=True)
class Variant:
    """A detector with other parameters than the defaults, or other constants in the code, by dotted name."""

    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)


DEFAULT = Variant("default")
IN_BOTH = [
    DEFAULT,
    Variant("standard normal prior", {"prior": "gaussian"}),
    Variant("plain autoencoder, squared error", {"variational": False}),
    Variant("importance-weighted bound, 64 draws", {"bound": "iwae", "n_draws": 64}),
    Variant("8 latents", {"n_components": 8}),
    Variant("6 members", {"n_estimators": 6}),
]
VARIANTS = {
    "novelty": [
        *IN_BOTH,
        Variant("Student-t likelihood", {"likelihood": "student_t"}),
        Variant("PCA initialisation alone: 1 step", {"max_iter": 1}),
        Variant("300 steps", {"max_iter": 300}),
        Variant("columns scaled by standard deviation only", constants={"model.pca_init.UNITS": UNITS[:1]}),
        Variant("columns scaled by range only", constants={"model.pca_init.UNITS": UNITS[1:]}),
        Variant("2,048 exemplars", constants={"scoring.scorer.MOST": 2048}),
    ],
    "outlier": [
        *IN_BOTH,
        Variant("Gaussian likelihood", {"likelihood": "gaussian"}),
        Variant("100 steps", {"max_iter": 100}),
        Variant("400 steps", {"max_iter": 400}),
        Variant("nothing trimmed", constants={"training.trainer.FENCE": 1e9}),
        Variant("trimmed beyond 1 interquartile range", constants={"training.trainer.FENCE": 1.0}),
        Variant("30 % trimmed", {"contamination": 0.3}),
        Variant("2,048 exemplars", constants={"scoring.scorer.FEW": 2048}),
    ],
}


def measure(variant: Variant, path: Path, setting: str, seed: int, cap: int) -> tuple[float, float]:
    """AUROC and average precision of a variant on a table."""
    split = SPLITS[setting](read_table(path, cap), seed)
    detector = Ours(split.novelty, seed, variant.parameters)
    with ExitStack() as changed:
        for name, value in variant.constants.items():
            changed.enter_context(patch(f"vae_anomaly.{name}", value))
        detector.fit(split.train)
        return accuracy(split.labels, detector.score(split.test, split.train_index))


def compare(
    variants: list[Variant], figure: partial[tuple[float, float]], paths: list[Path], seeds: int
) -> pd.DataFrame:
    """A row for each variant: means over tables of means over seeds, and the differences from the first variant."""
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the variants and print a Markdown table for each setting."""
    parser = make_parser("benchmarks.accuracy.ablations", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files with X and y")
    parser.add_argument("--setting", choices=list(SPLITS), action="append", help="default: both")
    parser.add_argument("--variants", nargs="+", help="variants whose names contain one of these words (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cap", type=int, default=3000, help="most rows of each set; 0: all rows (default: 3000)")
    options = parser.parse_args(arguments)
    paths = find_tables(options.data)
    for setting in options.setting or list(SPLITS):
        words = options.variants or [""]
        chosen = [v for v in VARIANTS[setting] if v is DEFAULT or any(word in v.name for word in words)]
        table = compare(chosen, partial(measure, setting=setting, cap=options.cap), paths, options.seeds)
        print(f"\n{setting}, {options.seeds} seeds, cap {options.cap}\n")
        print(markdown(table, [".4f", ".4f", "", ""], "variant"), "\n")


if __name__ == "__main__":
    main()
