"""What a cell should be given the rest of its row: what it is in the training rows that are most alike in the rest.

The rows are those of the model's reference. Columns that are odd in a row have no say in which rows are like it, so a
wrong cell is not excused by rows that are wrong alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.data.columns import Cell
from vae_anomaly.fitted import ReferenceRows
from vae_anomaly.parallel import in_pieces
from vae_anomaly.scoring.scorer import row_keys

NEAREST = 16
MOST_ROWS = 1024  # of the reference that are searched
ODD_NATS = 2.3  # of surprise, a factor of ten, beyond which a column has no say
ODD_SHARE = 0.5  # of the largest surprise, likewise: a wrong cell draws some of its surprise over the others
ODD_COLUMNS = 5  # at most; beyond them little would be left to judge by
CHUNK_ROWS, CHUNK_VALUES = 2048, 2**21  # at a time, of rows and of their neighbours' cells
LARGEST = 12.0  # deviations by which cells are told apart
FINENESS = 2.0**10  # of squared distances: what is less differs with the batch, by rounding
OUTSIDE = 0.05  # share of all rows on either side that a range does not span
MISSING = 1.0  # squared distance from the middle at which a missing cell of the reference lies


@dataclass(frozen=True)
class Expected:
    """Encoded rows (rows, cells): what each cell should be, and the least and the largest that is usual beside it."""

    cells: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class SimilarRows:
    """The reference rows of a model, to be searched for those that are like a row in some of its columns."""

    reference: ReferenceRows
    cells: Sequence[Cell]

    def expected(self, x: np.ndarray, heard: np.ndarray) -> Expected:
        """What each cell of ``x`` (rows, cells) should be, by the columns that are ``heard`` (rows, columns)."""
        size = max(1, min(CHUNK_ROWS, CHUNK_VALUES // (NEAREST * x.shape[1])))
        chunks = [(x[a : a + size], heard[a : a + size]) for a in range(0, len(x), size)]
        found = in_pieces(lambda chunk: self._of_nearest(*chunk), chunks, torch.get_num_threads())
        return Expected(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def _of_nearest(self, chunk: np.ndarray, heard: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Median, least and largest of the nearest rows; of all rows where no column is heard."""
        near = self._rows[self._nearest(chunk, heard)]  # (rows, nearest, cells)
        middle, low, high = self._summary(near, 0.0)
        alone = ~heard.any(axis=1)
        if alone.any():
            middle[alone], low[alone], high[alone] = self._summary(self._rows[None], OUTSIDE)
        return middle, low, high

    @cached_property
    def _rows(self) -> np.ndarray:
        """The cells of the rows that are searched."""
        return self.reference.cells[:: -(-len(self.reference.cells) // MOST_ROWS)]

    @cached_property
    def _keys(self) -> np.ndarray:
        return row_keys(self._rows)

    @cached_property
    def _coded(self) -> np.ndarray:
        """Which cells hold one value of several, not a number, (cells,)."""
        return np.array([not cell.is_number for cell in self.cells])

    @cached_property
    def _features(self) -> tuple[Tensor, Tensor]:
        """Features of the reference rows, and their squares, each (features, rows); a missing cell lies apart."""
        features = self._as_features(self._rows)
        missing = features.isnan()
        squares = torch.where(missing, MISSING, features.square())
        return features.masked_fill(missing, 0.0).T.contiguous(), squares.T.contiguous()

    @cached_property
    def _columns(self) -> np.ndarray:
        """The column that each feature belongs to, (features,)."""
        return np.repeat([cell.column for cell in self.cells], [_width(cell) for cell in self.cells])

    def _as_features(self, x: np.ndarray) -> Tensor:
        """Numbers as they are, values as marks as far apart as two numbers of one column are on average."""
        parts = []
        for place, cell in enumerate(self.cells):
            column = torch.as_tensor(x[:, place].astype(np.float32))[:, None]
            if cell.is_number:
                parts.append(column.clamp(-LARGEST, LARGEST))
            else:
                marks = (column == torch.arange(cell.unseen)).float()
                parts.append(marks.masked_fill(column.isnan(), torch.nan))
        return torch.cat(parts, 1)

    def _nearest(self, chunk: np.ndarray, heard: np.ndarray) -> np.ndarray:
        """Places of the reference rows nearest to each row, by the columns that are heard; never the row itself."""
        features = self._as_features(chunk)
        weights = torch.as_tensor(heard[:, self._columns]).float() * ~features.isnan()
        rows, squares = self._features
        distances = weights @ squares - 2 * (weights * features.nan_to_num()) @ rows
        keys = row_keys(chunk)
        for row in np.flatnonzero(np.isin(keys, self._keys)):
            distances[row, torch.as_tensor(self._keys == keys[row])] = torch.inf
        count = min(NEAREST, max(1, len(self._keys) - 1))
        return distances.mul_(FINENESS).round_().topk(count, largest=False, sorted=False).indices.numpy()

    def _summary(self, near: np.ndarray, outside: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Median, least and largest of ``near`` (rows, nearest, cells), but for a share ``outside`` on either side.

        Of values, the most frequent one stands in place of the median.
        """
        ordered = np.sort(near, 1)  # missing cells last
        last = np.isfinite(ordered).sum(1, keepdims=True) - 1
        low, middle, high = (
            np.take_along_axis(ordered, np.rint(share * last).astype(int).clip(0), 1)[:, 0]
            for share in (outside, 0.5, 1 - outside)
        )
        middle[:, self._coded] = _most_frequent(near[..., self._coded])
        return middle, low, high


def heard_columns(surprise: np.ndarray) -> np.ndarray:
    """Which columns have a say in what a row is like, (rows, columns): all but the oddest, if it is, and a few more.

    Parameters
    ----------
    surprise : ndarray
        (rows, columns), nats beyond what is usual.
    """
    order = np.argsort(-surprise, 1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(surprise.shape[1])[None], 1)
    beyond = np.maximum(ODD_NATS, ODD_SHARE * surprise.max(1, keepdims=True))
    odd = (surprise > 0) & (ranks == 0) | (surprise > beyond) & (ranks < ODD_COLUMNS)
    return ~odd


def _width(cell: Cell) -> int:
    """Features of a cell: a mark for each value, and none for values never seen."""
    return 1 if cell.is_number else cell.unseen


def _most_frequent(values: np.ndarray) -> np.ndarray:
    """The value that occurs most along the second axis, the smallest of several; NaN where most are missing."""
    found, most = np.full((len(values), values.shape[2]), np.nan), np.isnan(values).sum(1)
    for value in np.unique(values[~np.isnan(values)]):
        times = (values == value).sum(1)
        found, most = np.where(times > most, value, found), np.maximum(times, most)
    return found
