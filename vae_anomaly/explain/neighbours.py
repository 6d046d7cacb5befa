"""Expected values of cells: those of the reference rows that are most similar in the other columns.

Columns that are anomalous in a row do not count in the search, so that rows with the same error do not excuse it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.data.columns import Cell
from vae_anomaly.data.parse import as_missing
from vae_anomaly.fitted import ReferenceRows
from vae_anomaly.parallel import InHalves, in_pieces
from vae_anomaly.scoring.scorer import row_keys

NEAREST = 16  # similar rows that set what is expected
MOST_ROWS = 1024  # of the reference that are searched


@dataclass(frozen=True)
class Expected:
    """Encoded rows (rows, cells): the value expected in each cell, and the ends of the range of similar rows."""

    cells: np.ndarray
    low: np.ndarray
    high: np.ndarray


class SimilarRows:
    """Reference rows of a model, searched for those that are similar to a row in some of its columns.

    An unreadable cell counts as missing.

    Parameters
    ----------
    reference : ReferenceRows
        Encoded training rows.
    cells : sequence of Cell
        Description of each cell.

    Attributes
    ----------
    columns : ndarray
        (cells,) index of the column that each cell belongs to.
    """

    def __init__(self, reference: ReferenceRows, cells: Sequence[Cell]) -> None:
        self.columns = np.array([cell.column for cell in cells])
        self._cells = cells
        self._is_number = np.array([cell.is_number for cell in cells])
        self._feature_columns = np.repeat(self.columns, [1 if cell.is_number else cell.unseen for cell in cells])
        self._rows = as_missing(reference.cells[:: -(-len(reference.cells) // MOST_ROWS)])
        self._keys = row_keys(self._rows)
        features = self._features_of(self._rows)
        missing = features.isnan()
        missing_square = 1.0  # a missing cell of the reference lies one deviation from the middle, in either direction
        self._squares = torch.where(missing, missing_square, features.square()).T.contiguous()  # (features, rows)
        self._features = features.masked_fill(missing, 0.0).T.contiguous()

    def expected(self, x: np.ndarray, informative: np.ndarray) -> Expected:
        """Expected value and range of each cell.

        Parameters
        ----------
        x : ndarray
            (rows, cells) encoded rows.
        informative : ndarray
            (rows, columns) bool, the columns in which similar rows are to be similar.
        """
        x = as_missing(x)
        most_rows, most_values = 2048, 2**21  # at a time, of rows and of cells of similar rows
        size = max(1, min(most_rows, most_values // (NEAREST * x.shape[1])))
        chunks = [(x[a : a + size], informative[a : a + size]) for a in range(0, len(x), size)]
        work = InHalves(self._expected_of_chunk, self._features.device)
        found = [result for results in in_pieces(work, chunks, torch.get_num_threads()) for result in results]
        return Expected(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def _expected_of_chunk(self, x: np.ndarray, informative: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        middle, low, high = self._summary(self._rows[self._nearest(x, informative)], 0.0)
        without = ~informative.any(axis=1)
        if without.any():  # nothing to search by: the middle 90 % of all rows
            middle[without], low[without], high[without] = self._summary(self._rows[None], 0.05)
        return middle, low, high

    def _nearest(self, x: np.ndarray, informative: np.ndarray) -> np.ndarray:
        """Indices of the reference rows nearest to each row, (rows, nearest); equal rows are left out."""
        features = self._features_of(x)
        weights = torch.as_tensor(informative[:, self._feature_columns]).float() * ~features.isnan()
        distances = weights @ self._squares - 2 * (weights * features.nan_to_num()) @ self._features
        keys = row_keys(x)
        for row in np.flatnonzero(np.isin(keys, self._keys)):
            distances[row, torch.as_tensor(self._keys == keys[row])] = torch.inf
        count = min(NEAREST, max(1, len(self._keys) - 1))
        resolution = 2.0**10  # smaller differences of squared distances are rounding and vary with the batch
        return distances.mul_(resolution).round_().topk(count, largest=False, sorted=False).indices.numpy()

    def _features_of(self, x: np.ndarray) -> Tensor:
        """Numbers as they are, other values one-hot: as far apart as two numbers of a column on average."""
        furthest = 12.0  # deviations; numbers further out count as equally far
        parts = []
        for index, cell in enumerate(self._cells):
            values = torch.as_tensor(x[:, index].astype(np.float32))[:, None]
            if cell.is_number:
                parts.append(values.clamp(-furthest, furthest))
            else:
                one_hot = (values == torch.arange(cell.unseen)).float()  # all zeros for a value never seen in training
                parts.append(one_hot.masked_fill(values.isnan(), torch.nan))
        return torch.cat(parts, 1)

    def _summary(self, rows: np.ndarray, outside: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Median, or most frequent value, and range of ``rows`` (rows, similar rows, cells), each (rows, cells).

        The range leaves out a fraction ``outside`` at either end.
        """
        ordered = np.sort(rows, 1)  # missing cells last
        last = np.isfinite(ordered).sum(1, keepdims=True) - 1
        low, middle, high = (
            np.take_along_axis(ordered, np.rint(quantile * last).astype(int).clip(0), 1)[:, 0]
            for quantile in (outside, 0.5, 1 - outside)
        )
        middle[:, ~self._is_number] = _most_frequent(rows[..., ~self._is_number])
        return middle, low, high


def informative_columns(surprise: np.ndarray) -> np.ndarray:
    """Columns that similar rows are searched by, (rows, columns) bool: all but those that are anomalous in the row.

    The most surprising column is left out if it is above the baseline, and up to four more if they are well above it.

    Parameters
    ----------
    surprise : ndarray
        (rows, columns), nats above the baseline.
    """
    least, most = 2.3, 5  # nats, a factor of ten; columns left out, since few others would remain to search by
    order = np.argsort(-surprise, 1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(surprise.shape[1])[None], 1)
    # Half of the largest surprise: a wrong cell also makes the other columns surprising.
    limit = np.maximum(least, 0.5 * surprise.max(1, keepdims=True))
    anomalous = (surprise > 0) & (ranks == 0) | (surprise > limit) & (ranks < most)
    return ~anomalous


def _most_frequent(values: np.ndarray) -> np.ndarray:
    """Most frequent value along the second axis, the smallest of several; NaN where most are missing."""
    found, most = np.full((len(values), values.shape[2]), np.nan), np.isnan(values).sum(1)
    for value in np.unique(values[~np.isnan(values)]):
        times = (values == value).sum(1)
        found, most = np.where(times > most, value, found), np.maximum(times, most)
    return found
