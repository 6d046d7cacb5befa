"""Few cells to change for a row to count as normal, found under the model: a greedy search, then what was too much."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vae_anomaly.data.columns import Cell
from vae_anomaly.explain.neighbours import SimilarRows, heard_columns

CANDIDATES = 8  # most surprising columns of a row that are tried at each step


@dataclass(frozen=True)
class Repair:
    """Encoded rows after the change (rows, cells), the columns changed (rows, columns), and scores (rows,) of both."""

    cells: np.ndarray
    changed: np.ndarray
    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True)
class Search:
    """How rows are judged and where new values come from.

    ``score`` gives the score of encoded rows, ``surprise`` the surprise (rows, columns) of their columns; rows whose
    score is not below ``threshold`` are normal.
    """

    score: Callable[[np.ndarray], np.ndarray]
    surprise: Callable[[np.ndarray], np.ndarray]
    threshold: float
    neighbourhood: SimilarRows
    cells: Sequence[Cell]

    def repair(self, x: np.ndarray, most: int) -> Repair:
        """Change at most so many columns of each odd row of ``x`` (rows, cells).

        At each step the most surprising columns are tried, each set to what is expected beside the others, and the one
        that helps most is kept. A row that is normal then gets back what need not have changed. A row that stays odd
        keeps the changes that helped.
        """
        owner = np.array([cell.column for cell in self.cells])
        cells, changed = x.copy(), np.zeros((len(x), owner.max() + 1), bool)
        before = self.score(x)
        scores = before.copy()
        odd = np.flatnonzero(scores < self.threshold)
        for _ in range(min(most, changed.shape[1])):
            if not len(odd):
                break
            columns, new = self._candidates(cells[odd], changed[odd], owner)
            found = self.score(new.reshape(-1, x.shape[1])).reshape(columns.shape)
            best = found.argmax(1)
            better = found.max(1) > scores[odd]
            rows, best, places = odd[better], best[better], np.flatnonzero(better)
            cells[rows], scores[rows] = new[places, best], found[places, best]
            changed[rows, columns[places, best]] = True
            odd = rows[scores[rows] < self.threshold]
        self._give_back(x, cells, changed, scores, owner)
        return Repair(cells, changed, before, scores)

    def _candidates(self, cells: np.ndarray, changed: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns to try (rows, candidates), and the rows with each of them changed (rows, candidates, cells)."""
        surprise = self.surprise(cells)
        columns = np.argsort(np.where(changed, np.inf, -surprise), 1, kind="stable")[:, :CANDIDATES]
        heard = heard_columns(surprise) & ~changed
        new = np.repeat(cells[:, None], columns.shape[1], 1)
        for candidate, of_rows in enumerate(columns.T):
            without = heard.copy()
            without[np.arange(len(cells)), of_rows] = False
            expected = self.neighbourhood.expected(cells, without).cells
            new[:, candidate] = np.where(owner == of_rows[:, None], expected, cells)
        return columns, new

    def _give_back(
        self, x: np.ndarray, cells: np.ndarray, changed: np.ndarray, scores: np.ndarray, owner: np.ndarray
    ) -> None:
        """Undo, in place, each change without which the row is normal as well."""
        for column in range(changed.shape[1]):
            rows = np.flatnonzero(changed[:, column] & (changed.sum(1) > 1) & (scores >= self.threshold))
            if not len(rows):
                continue
            without = np.where(owner == column, x[rows], cells[rows])
            found = self.score(without)
            enough = found >= self.threshold
            cells[rows[enough]], scores[rows[enough]] = without[enough], found[enough]
            changed[rows[enough], column] = False
