"""Values expected in the cells of a row, given its other cells: those of the most similar reference rows.

Columns that are anomalous in a row do not count in the search, so that rows with the same error do not excuse it. For
such a column the similar rows show its distribution given the other columns.
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

FEWEST, NEAREST = 16, 40  # similar rows that set what is expected: a twentieth of the rows, but at least and at most
MOST_ROWS = 2048  # of the reference that are searched
CENTRAL = 0.9  # fraction of the similar rows that the expected range holds
RARE = 0.05  # fraction of the rows up to which a value is rare


@dataclass(frozen=True)
class Expected:
    """What is expected in each cell of some rows, arrays (rows, cells).

    ``cells`` is the median, or most frequent value, of the 16 most similar rows, encoded; ``low`` and ``high`` are the
    ends of the central 90 % of up to 40; ``same`` and ``agreement`` are the fractions of them that hold the value seen
    and the value expected. ``tail``, of cells that are no numbers or missing, is about the fraction that hold values at
    most as frequent as the one seen: 1 if it is frequent. A missing cell is a value, too.
    """

    cells: np.ndarray
    low: np.ndarray
    high: np.ndarray
    same: np.ndarray
    agreement: np.ndarray
    tail: np.ndarray


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

    def _expected_of_chunk(self, x: np.ndarray, informative: np.ndarray) -> tuple[np.ndarray, ...]:
        found = self._summary(self._rows[self._nearest(x, informative)], x, FEWEST)
        without = ~informative.any(axis=1)
        if without.any():  # nothing to search by: all rows are similar
            of_all = self._summary(self._rows[None], x[without], len(self._rows))
            for part, whole in zip(found, of_all, strict=True):
                part[without] = whole
        return found

    def _nearest(self, x: np.ndarray, informative: np.ndarray) -> np.ndarray:
        """Indices of the reference rows nearest to each row, (rows, nearest), in order; equal rows are left out."""
        features = self._features_of(x)
        weights = torch.as_tensor(informative[:, self._feature_columns]).float() * ~features.isnan()
        distances = weights @ self._squares - 2 * (weights * features.nan_to_num()) @ self._features
        keys = row_keys(x)
        for row in np.flatnonzero(np.isin(keys, self._keys)):
            distances[row, torch.as_tensor(self._keys == keys[row])] = torch.inf
        count = min(max(FEWEST, len(self._keys) // 20), NEAREST, max(1, len(self._keys) - 1))
        resolution = 2.0**10  # smaller differences of squared distances are rounding and vary with the batch
        return distances.mul_(resolution).round_().topk(count, largest=False).indices.numpy()

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

    def _summary(self, rows: np.ndarray, x: np.ndarray, n_middle: int) -> tuple[np.ndarray, ...]:
        """The arrays of `Expected`, given the similar ``rows`` (rows or 1, similar rows, cells) of the rows ``x``.

        The first ``n_middle`` of them, the most similar, set the value expected.
        """
        low, high = _quantiles(rows, (1 - CENTRAL) / 2, (1 + CENTRAL) / 2)
        (middle,) = _quantiles(rows[:, :n_middle], 0.5)
        middle[:, ~self._is_number] = _most_frequent(rows[:, :n_middle, ~self._is_number])
        same = _fraction(rows, x)
        row, cell = chosen = np.nonzero((same <= RARE) & ~(self._is_number & ~np.isnan(x)))
        tail = np.ones_like(same)
        tail[chosen] = _tail(rows[row if len(rows) > 1 else 0, :, cell], x[chosen], self._is_number[cell])
        return middle, low, high, same, _fraction(rows, middle), tail


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


def _quantiles(rows: np.ndarray, *quantiles: float) -> list[np.ndarray]:
    """Quantiles along the second axis, each one of the values; NaN where all are missing."""
    ordered = np.sort(rows, 1)  # missing cells last
    last = np.isfinite(ordered).sum(1, keepdims=True) - 1
    return [np.take_along_axis(ordered, np.rint(q * last).astype(int).clip(0), 1)[:, 0] for q in quantiles]


def _most_frequent(values: np.ndarray) -> np.ndarray:
    """Most frequent value along the second axis, the smallest of several; NaN where most are missing."""
    found, most = np.full((len(values), values.shape[2]), np.nan), np.isnan(values).sum(1)
    for value in np.unique(values[~np.isnan(values)]):
        times = (values == value).sum(1)
        found, most = np.where(times > most, value, found), np.maximum(times, most)
    return found


def _fraction(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Fraction of ``rows`` (rows or 1, similar rows, cells) that hold the ``values`` (rows, cells), (rows, cells)."""
    missing = np.isnan(values)
    same = (rows == values[:, None]).mean(1)
    return np.where(missing, np.isnan(rows).mean(1), same) if missing.any() else same


def _tail(others: np.ndarray, values: np.ndarray, is_number: np.ndarray) -> np.ndarray:
    """Fraction of ``others`` (cells, rows) that are at most as frequent as the ``values`` (cells,), (cells,).

    The probability of a value that none of them holds is that of Witten and Bell (1991), n / (n + rows) for n distinct
    values. A number counts only as missing or not.
    """
    others = np.where(np.isnan(others), -1.0, np.where(is_number[:, None], 0.0, others))
    values = np.where(np.isnan(values), -1.0, values)
    times = np.empty(others.shape, np.int16)
    for part in range(0, len(others), 1024):
        block = others[part : part + 1024]
        times[part : part + 1024] = (block[:, :, None] == block[:, None]).sum(2)
    seen = (others == values[:, None]).sum(1)
    distinct = (1 / times).sum(1)
    tails: np.ndarray = ((times <= seen[:, None]).sum(1) + distinct) / (others.shape[1] + distinct)
    return tails
