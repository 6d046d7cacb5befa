"""Means, ranks and differences of the figures of one setting, as tables.

Figures are first averaged over seeds, so that each set counts once. Only complete methods, which have every set and
seed, are averaged, ranked and compared. A grid (sets, methods) holds one measure.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import product

import numpy as np
import pandas as pd

MEASURES = {"auroc": "AUROC", "average_precision": "AP"}
RESAMPLES = 10_000
DIGITS = 12  # means of equal figures may differ in the last bit; rounding keeps them tied


def complete_methods(figures: pd.DataFrame, sets: Collection[str], seeds: Callable[[str], Iterable[int]]) -> list[str]:
    """Methods that have a figure for every set and seed, in the order of the file."""
    return [
        str(method)
        for method, rows in figures.groupby("method", sort=False)
        if set(product(sets, seeds(str(method)))) <= set(zip(rows["set"], rows["seed"], strict=True))
    ]


def grid(figures: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Mean of a measure over seeds, for each set (row) and method (column)."""
    means = figures.groupby(["set", "method"], sort=False)[measure].mean().unstack("method").round(DIGITS)
    return means.reindex(columns=figures["method"].drop_duplicates())


def ranks(measured: pd.DataFrame) -> pd.DataFrame:
    """Rank of each method on each set of a grid: 1 is the best, ties get their mean rank."""
    return measured.rank(axis=1, ascending=False)


def wins(measured: pd.DataFrame) -> pd.Series:
    """Number of sets on which no method is better; all tied methods win."""
    return measured.eq(measured.max(axis=1), axis=0).sum()


def seconds(figures: pd.DataFrame) -> pd.Series:
    """Seconds of fit and score of each method: the mean over seeds, summed over sets."""
    total = figures.assign(seconds=figures["fit_seconds"] + figures["score_seconds"])
    return grid(total, "seconds").sum()


def ranking(figures: pd.DataFrame, *, baseline: str) -> pd.DataFrame:
    """A row for each method, sorted by mean AUROC.

    Parameters
    ----------
    figures : DataFrame
        Figures of one setting, complete methods only.
    baseline : str
        The column ``relative seconds`` is a multiple of this method's seconds; NaN if the method is not in the table.
    """
    columns: dict[str, pd.Series] = {}
    for measure, name in MEASURES.items():
        measured = grid(figures, measure)
        columns |= {
            f"mean {name}": measured.mean(),
            f"median {name}": measured.median(),
            f"rank {name}": ranks(measured).mean(),
            f"wins {name}": wins(measured),
        }
    columns["failures"] = figures["error"].ne("").groupby(figures["method"]).sum()
    columns["seconds"] = seconds(figures)
    columns["relative seconds"] = columns["seconds"] / columns["seconds"].get(baseline, np.nan)
    return pd.DataFrame(columns).sort_values("mean AUROC", ascending=False, kind="stable")


def bootstrap_means(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentile 95 % bootstrap interval of each column's mean over rows; the resamples are always the same."""
    rng = np.random.default_rng(0)
    resamples = rng.integers(len(rows), size=(RESAMPLES, len(rows)))
    counts = np.stack([np.bincount(sample, minlength=len(rows)) for sample in resamples])  # (resamples, rows)
    low, high = np.percentile(counts @ rows / len(rows), [2.5, 97.5], axis=0)
    return low, high


def differences(figures: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Mean difference, ours minus each peer, for both measures, with its interval over sets."""
    tables = []
    for measure, name in MEASURES.items():
        measured = grid(figures, measure)
        gaps = measured.drop(columns=ours).rsub(measured[ours], axis=0)
        low, high = bootstrap_means(gaps.to_numpy())
        table = pd.DataFrame({"difference": gaps.mean(), "low": low, "high": high})
        tables.append(table.assign(excludes_zero=(table["low"] > 0) | (table["high"] < 0), measure=name))
    return pd.concat(tables).rename_axis("method").reset_index()


def rank_intervals(figures: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Mean rank of each method with its interval over sets, the best first."""
    ranked = ranks(grid(figures, measure))
    low, high = bootstrap_means(ranked.to_numpy())
    return pd.DataFrame({"rank": ranked.mean(), "low": low, "high": high}).sort_values("rank")
