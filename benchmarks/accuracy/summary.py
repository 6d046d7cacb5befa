"""What the figures of one setting come to: tables of frames, nothing read or written.

A figure is first averaged over seeds, so that each set counts once. Only complete methods, which have every set and
seed, are averaged, ranked and compared. A grid is (sets, methods), one measure.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import product

import numpy as np
import pandas as pd

MEASURES = {"auroc": "AUROC", "average_precision": "AP"}
RESAMPLES = 10_000
DIGITS = 12  # the mean of five equal figures may differ in the last bit, and a tie must stay one


def complete_methods(figures: pd.DataFrame, sets: Collection[str], seeds: Callable[[str], Iterable[int]]) -> list[str]:
    """Methods that have a figure for every set and each of their seeds, in the order of their appearance."""
    return [
        str(method)
        for method, rows in figures.groupby("method", sort=False)
        if set(product(sets, seeds(str(method)))) <= set(zip(rows["set"], rows["seed"], strict=True))
    ]


def grid(figures: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One measure, the mean over seeds, for each set (row) and method (column)."""
    means = figures.groupby(["set", "method"], sort=False)[measure].mean().unstack("method").round(DIGITS)
    return means.reindex(columns=figures["method"].drop_duplicates())


def ranks(measured: pd.DataFrame) -> pd.DataFrame:
    """Rank of each method on each set of a grid: 1 is the best, ties share their mean."""
    return measured.rank(axis=1, ascending=False)


def wins(measured: pd.DataFrame) -> pd.Series:
    """Sets on which no method is better; a tie counts for all."""
    return measured.eq(measured.max(axis=1), axis=0).sum()


def seconds(figures: pd.DataFrame) -> pd.Series:
    """Seconds of fit and score by method: the mean over seeds, the sum over sets."""
    total = figures.assign(seconds=figures["fit_seconds"] + figures["score_seconds"])
    return grid(total, "seconds").sum()


def ranking(figures: pd.DataFrame, *, yardstick: str) -> pd.DataFrame:
    """A row a method, the best mean AUROC first.

    Parameters
    ----------
    figures : DataFrame
        Of one setting, complete methods only.
    yardstick : str
        The method whose seconds are the unit of the column ``relative seconds``; NaN where it is not among them.
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
    columns["relative seconds"] = columns["seconds"] / columns["seconds"].get(yardstick, np.nan)
    return pd.DataFrame(columns).sort_values("mean AUROC", ascending=False, kind="stable")


def bootstrap_means(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentile 95 % interval of each column's mean, over rows drawn with replacement; the same draws every time."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(rows), size=(RESAMPLES, len(rows)))
    counts = np.stack([np.bincount(sample, minlength=len(rows)) for sample in drawn])  # (resamples, rows)
    low, high = np.percentile(counts @ rows / len(rows), [2.5, 97.5], axis=0)
    return low, high


def differences(figures: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Mean difference, ours minus each peer, for both measures, with its interval over sets and what that says."""
    tables = []
    for measure, name in MEASURES.items():
        measured = grid(figures, measure)
        gaps = measured.drop(columns=ours).rsub(measured[ours], axis=0)
        low, high = bootstrap_means(gaps.to_numpy())
        table = pd.DataFrame({"difference": gaps.mean(), "low": low, "high": high})
        tables.append(table.assign(excludes_zero=(table["low"] > 0) | (table["high"] < 0), measure=name))
    return pd.concat(tables).rename_axis("method").reset_index()


def rank_intervals(figures: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Mean rank of each method, the best first, with its interval over sets."""
    ranked = ranks(grid(figures, measure))
    low, high = bootstrap_means(ranked.to_numpy())
    return pd.DataFrame({"rank": ranked.mean(), "low": low, "high": high}).sort_values("rank")
