"""The compared methods: each learns from a table's training rows and scores its rows; high scores are anomalous.

Our detector sees the columns unchanged; the peers see `one_hot_with_flags`, or only how often each value occurs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from pandas.api import types
from scipy.stats import rankdata
from sklearn.ensemble import IsolationForest

from benchmarks.errors.tables import NOVELTY, Table
from benchmarks.shared.peers import BASELINE, OURS, Neighbours, Peer, SklearnPeer
from vae_anomaly import VAEDetector

OURS_NOVELTY, FREQUENCY = f"{OURS}, novelty=True", "value frequency"
MOST_LEVELS = 50


@dataclass(frozen=True)
class Findings:
    """What a method says of each row; only the first is required."""

    scores: np.ndarray  # (rows,)
    cells: pd.DataFrame | None = None  # (rows, columns), score of each cell
    flagged: np.ndarray | None = None  # (rows,), True for rows called anomalous
    reasons: Callable[[np.ndarray], pd.DataFrame] | None = None  # positions of rows: their `stated_cells`


Method = Callable[[Table, int], Findings]


def ours(table: Table, seed: int, *, novelty: bool) -> Findings:
    """Our detector; a cell's score is its surprise, 0 in columns that the detector leaves out."""
    detector = VAEDetector(novelty=novelty, random_state=seed).fit(table.train)
    return Findings(
        detector.anomaly_score(table.rows),
        detector.explain(table.rows)["surprise"].reindex(columns=table.rows.columns, fill_value=0.0),
        detector.predict(table.rows) == -1,
        partial(stated_cells, detector, table.rows),
    )


def stated_cells(detector: VAEDetector, rows: pd.DataFrame, positions: np.ndarray) -> pd.DataFrame:
    """Cells that the reasons of some rows name, those of a row in the order of surprise: row, column, value, low, high.

    ``row`` is the position among ``rows``.
    """
    if not len(positions):
        return pd.DataFrame(columns=["row", "column", "value", "low", "high"])
    asked = rows.iloc[positions].reset_index(drop=True)
    texts, cells = detector.reasons(asked), detector.explain(asked, long=True)
    is_stated = [
        column in rows and reason != "" and reason in texts[row]
        for row, column, reason in zip(cells["row"], cells["column"], cells["reason"], strict=True)
    ]
    stated = cells[is_stated]
    has_range = stated["reason"].str.contains(", expected | of these rows", regex=True)
    stated = stated.assign(low=stated["low"].where(has_range, None), high=stated["high"].where(has_range, None))
    return stated.assign(row=np.asarray(positions)[stated["row"].astype(int)])[
        ["row", "column", "value", "low", "high"]
    ]


def peer(table: Table, seed: int, *, make: Callable[[int], Peer]) -> Findings:
    """A peer on one-hot columns; if rows are scored that were learned from, each leaves itself out."""
    model, (train, rows) = make(seed), features(table)
    model.fit(train)
    index = np.arange(len(rows)) if table.train is table.rows else np.full(len(rows), -1)
    return Findings(model.score(rows, index))


def ecod(table: Table, seed: int) -> Findings:
    """Sum over one-hot columns of the larger of both tails' negative logarithm, ECOD as PyOD computes it."""
    train, rows = features(table)
    x = rows if table.train is table.rows else np.concatenate([rows, train])
    tail = np.minimum(rankdata(x, "max", axis=0), rankdata(-x, "max", axis=0)) / len(x)
    return Findings(-np.log(tail).sum(1)[: len(rows)])


def value_frequency(table: Table, seed: int) -> Findings:
    """Frequency of each value in its own column; a row's score is its most surprising cell.

    A cell's score is the negative logarithm of the frequency minus its mean over the column's training cells. Missing
    is a value.
    """
    n, cells = len(table.train), {}
    for name, values in table.rows.items():
        counts = table.train[name].astype(str).fillna("").value_counts()
        nats = -np.log((counts + 1) / (n + 1))
        seen = values.astype(str).fillna("").map(nats)
        cells[name] = seen.fillna(np.log(n + 1)) - (counts * nats).sum() / n
    surprise = pd.DataFrame(cells, index=table.rows.index)
    return Findings(surprise.max(axis=1).to_numpy(), surprise)


METHODS: dict[str, Method] = {
    OURS: partial(ours, novelty=False),
    OURS_NOVELTY: partial(ours, novelty=True),
    "5 neighbours": partial(peer, make=lambda seed: Neighbours()),
    BASELINE: partial(peer, make=lambda seed: SklearnPeer(IsolationForest(random_state=seed))),
    "ECOD": ecod,
    FREQUENCY: value_frequency,
}


def methods_of(setting: str, chosen: list[str]) -> list[str]:
    """The chosen methods that a setting has."""
    return [name for name in chosen if (setting, name) != (NOVELTY, OURS)]


def findings_of(method: str, table: Table, seed: int) -> tuple[Findings, str]:
    """What a method says; if it fails, a constant score and its error in one line."""
    try:
        return METHODS[method](table, seed), ""
    except Exception as error:  # noqa: BLE001 - libraries raise anything; the method failed on this table
        same = pd.DataFrame(0.0, index=table.rows.index, columns=table.rows.columns)
        cells = same if method in (OURS, OURS_NOVELTY, FREQUENCY) else None
        return Findings(np.zeros(len(table.rows)), cells), " ".join(f"{type(error).__name__}: {error}".split())[:200]


def features(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Training rows and rows as `one_hot_with_flags`, with the same features."""
    if table.train is table.rows:
        return (both := one_hot_with_flags(table.rows)), both
    both = one_hot_with_flags(pd.concat([table.train, table.rows]), table.train)
    return both[: len(table.train)], both[len(table.train) :]


def one_hot_with_flags(frame: pd.DataFrame, train: pd.DataFrame | None = None) -> np.ndarray:
    """Matrix (rows, features) for detectors that need numbers without gaps, by the training rows (default: ``frame``).

    Numbers and dates are standardised, with the median for missing cells. Text and flags are 0 or 1 for each of the 50
    most frequent levels and for all others together; text of which most cells differ is left out. A column with missing
    cells, here or among the training rows, adds a flag for them.
    """
    train = frame if train is None else train
    blocks = [block for name in frame for block in _features(frame[name], train[name])]
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((len(frame), 1))


def _features(values: pd.Series, train: pd.Series) -> list[np.ndarray]:
    """Features of one column, each (rows, features)."""
    is_missing = values.isna().to_numpy(bool)[:, None]
    flags = [is_missing.astype(float)] if values.isna().any() or train.isna().any() else []
    if (types.is_numeric_dtype(train) and not types.is_bool_dtype(train)) or types.is_datetime64_any_dtype(train):
        known, new = _numbers(train), _numbers(values)
        median = np.median(known[~np.isnan(known)]) if not np.isnan(known).all() else 0.0
        known, new = (np.where(np.isnan(cells), median, cells) for cells in (known, new))
        return [((new - known.mean()) / (known.std() or 1.0))[:, None], *flags]
    counts = train.dropna().astype(str).value_counts()
    if len(counts) > max(MOST_LEVELS, counts.sum() / 2):
        return flags
    is_level = values.astype(str).to_numpy()[:, None] == counts.index[:MOST_LEVELS].to_numpy()[None]
    is_level &= ~is_missing
    is_other = ~is_level.any(1, keepdims=True) & ~is_missing
    return [is_level.astype(float), is_other.astype(float), *flags]


def _numbers(values: pd.Series) -> np.ndarray:
    """Numbers as they are, dates in days; NaN where missing."""
    if types.is_datetime64_any_dtype(values):
        values = (values - pd.Timestamp(0, tz=values.dt.tz)) / pd.Timedelta(days=1)
    return values.astype("Float64").to_numpy(np.float64, na_value=np.nan)
