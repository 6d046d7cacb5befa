"""Repair of anomalous rows: few cells to change for a row to count as normal, by a greedy search under the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vae_anomaly.data.columns import NumberCell
from vae_anomaly.explain.explanation import cells_of, rounded
from vae_anomaly.explain.neighbours import SimilarRows, informative_columns
from vae_anomaly.fitted import FittedModel
from vae_anomaly.scoring.scorer import column_contributions


@dataclass(frozen=True)
class Repair:
    """Encoded rows after the change (rows, cells), columns changed (rows, columns) bool, and scores (rows,) of both."""

    cells: np.ndarray
    changed: np.ndarray
    before: np.ndarray
    after: np.ndarray


def suggest_changes(fitted: FittedModel, X: Any, max_changes: int) -> pd.DataFrame:
    """A row for each cell to change in the anomalous rows of ``X``; see `VAEDetector.suggest`."""
    scorer, schema, offset = fitted.scorer, fitted.schema, fitted.record.offset
    table = fitted.frame_of(X)
    baseline = fitted.missing.means[:-1]
    of_cells = np.array([cell.column for cell in schema.cells])
    spans = [(index, cell.since) for index, cell in enumerate(schema.cells) if isinstance(cell, NumberCell)]

    def settled(cells: np.ndarray, changed: np.ndarray) -> np.ndarray:
        """Rows as they are encoded once the changed columns (rows, columns) are written into the table."""
        follows = changed[:, of_cells]
        for index, since in spans:
            if since is not None:  # a time between two dates
                follows[:, index] |= changed[:, since]
        return np.where(follows, schema.encode(rounded(schema.decode(cells))), cells)

    found = repair(
        schema.encode(table),
        score=scorer.score,
        surprise=lambda cells: column_contributions(scorer, cells, schema.cells)[:, :-1] - baseline,
        threshold=offset,
        similar=SimilarRows(fitted.reference, schema.cells),
        settled=settled,
        max_changes=max_changes,
    )
    rows, columns = np.nonzero(found.changed)
    return pd.DataFrame(
        {
            "row": table.index[rows],
            "column": pd.Series([schema.names[column] for column in columns], dtype=object),
            "value": cells_of(table[schema.names], rows, columns),
            "suggestion": cells_of(rounded(schema.decode(found.cells)), rows, columns),
            "anomaly_score": -found.before[rows],
            "new_score": -found.after[rows],
            "is_normal": found.after[rows] >= offset,
        }
    )


def repair(
    x: np.ndarray,
    *,
    score: Callable[[np.ndarray], np.ndarray],
    surprise: Callable[[np.ndarray], np.ndarray],
    threshold: float,
    similar: SimilarRows,
    settled: Callable[[np.ndarray, np.ndarray], np.ndarray],
    max_changes: int,
) -> Repair:
    """Change at most ``max_changes`` columns of each anomalous row.

    At each step the most surprising columns are tried, each set to its expected value given the other columns, and the
    change that helps most is kept. In the end the changes that a row does not need to be normal are undone. A row that
    stays anomalous keeps the changes that helped.

    Parameters
    ----------
    x : ndarray
        (rows, cells) encoded rows.
    score : callable
        Scores (rows,) of encoded rows.
    surprise : callable
        Nats above the baseline of their columns, (rows, columns).
    threshold : float
        Rows that score below it are anomalous.
    similar : SimilarRows
        Reference rows, from which new values come.
    settled : callable
        Encoded rows as they are once the changed columns, (rows, columns) bool, are decoded and encoded again: the
        weekday of a changed date follows it, and so does the time since another date.
    max_changes : int
        Largest number of columns to change in a row.
    """
    columns_of_cells = similar.columns
    cells, changed = x.copy(), np.zeros((len(x), columns_of_cells.max() + 1), bool)
    before = score(x)
    scores = before.copy()
    anomalous = np.flatnonzero(scores < threshold)
    for _ in range(min(max_changes, changed.shape[1])):
        if not len(anomalous):
            break
        columns, candidates = _candidates(cells[anomalous], changed[anomalous], surprise, similar)
        with_candidate = changed[anomalous][:, None] | (np.arange(changed.shape[1]) == columns[..., None])
        flat = candidates.reshape(-1, x.shape[1]), with_candidate.reshape(-1, changed.shape[1])
        candidates = settled(*flat).reshape(candidates.shape)
        found = score(candidates.reshape(-1, x.shape[1])).reshape(columns.shape)
        best = found.argmax(1)
        better = np.flatnonzero(found.max(1) > scores[anomalous])
        rows, best = anomalous[better], best[better]
        cells[rows], scores[rows] = candidates[better, best], found[better, best]
        changed[rows, columns[better, best]] = True
        anomalous = rows[scores[rows] < threshold]
    for column in range(changed.shape[1]):
        rows = np.flatnonzero(changed[:, column] & (changed.sum(1) > 1) & (scores >= threshold))
        if len(rows):
            others = changed[rows] & (np.arange(changed.shape[1]) != column)
            undone = settled(np.where(others[:, columns_of_cells], cells[rows], x[rows]), others)
            found = score(undone)
            normal = found >= threshold
            cells[rows[normal]], scores[rows[normal]] = undone[normal], found[normal]
            changed[rows[normal], column] = False
    return Repair(cells, changed, before, scores)


def _candidates(
    cells: np.ndarray, changed: np.ndarray, surprise: Callable[[np.ndarray], np.ndarray], similar: SimilarRows
) -> tuple[np.ndarray, np.ndarray]:
    """The most surprising columns (rows, candidates), and rows with one of them changed (rows, candidates, cells)."""
    most = 8  # columns of a row that are tried at each step
    nats = surprise(cells)
    columns = np.argsort(np.where(changed, np.inf, -nats), 1, kind="stable")[:, :most]
    informative = informative_columns(nats) & ~changed
    candidates = np.repeat(cells[:, None], columns.shape[1], 1)
    for candidate, column in enumerate(columns.T):
        others = informative.copy()
        others[np.arange(len(cells)), column] = False
        expected = similar.expected(cells, others).cells
        candidates[:, candidate] = np.where(similar.columns == column[:, None], expected, cells)
    return columns, candidates
