"""What missing cells do to a score: rows that lack some are brought to the scale of complete rows; rare gaps count."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

MASKED_ROWS = 1536  # rows with cells removed, from which the scale is learned
MASKED_CELLS = 2**19  # of these rows at most
LEAST_SCALE = 0.15  # of the scale of complete rows, where almost nothing is observed
FRACTIONS = np.append(np.linspace(0, 0.9, 16), np.linspace(0.92, 1, 5))  # of the weight, at which curves are known
COMMON = 0.05  # fraction of missing cells from which on a missing cell is nothing unusual
UPPER, MOST_DECAY = (0.75, 0.95), 10.0  # quantiles between which a tail's decay is measured; in nats, at most
TAIL = 0.9, 0.925, 0.95, 0.975  # quantiles of anomaly scores of which the mean is the end of a scale


@dataclass(frozen=True, eq=False)
class MissingCells:
    """Anomaly scores of rows with missing cells, on the scale of complete rows.

    An unobserved cell adds nothing to a likelihood, so a row with missing cells has less to be anomalous with. Here a
    missing cell adds what its column adds on average, and the deviation from the average is stretched by as much as the
    spread of scores has shrunk. So normal rows are flagged equally often whatever they lack, and a wrong cell counts
    the more, the less is known in addition to it. Complete rows keep their scores.

    On top of that, a cell that is missing where next to none was, or observed where next to all were missing, adds its
    own surprise: see `charges_of`.

    How the spread shrinks is measured on training rows from which random columns were removed, as a function of the
    weight of these columns.

    Parameters
    ----------
    first_cells : ndarray
        (columns,) index of the first cell of each column.
    means : ndarray
        (columns + 1,) mean nats of each column where it is observed, and of the latent term, over rows that are not
        anomalous.
    weights : ndarray
        (columns,) adding up to 1: mean of equal weights and of the fraction of the variance of anomaly scores that each
        column contributes.
    curves : ndarray
        (2, fractions): at each of the `FRACTIONS` of the weight that are missing, the median of anomaly scores above
        the mean of what is observed, and the distance from that median to the mean of the quantiles `TAIL`.
    charges : ndarray
        (2, columns): nats that an observed cell and a missing one add for being that.
    """

    first_cells: np.ndarray
    means: np.ndarray
    weights: np.ndarray
    curves: np.ndarray
    charges: np.ndarray

    @classmethod
    def learn(
        cls,
        x: np.ndarray,
        nats: np.ndarray,
        typical: np.ndarray,
        columns: np.ndarray,
        score: Callable[[np.ndarray, np.ndarray], np.ndarray],
        rng: np.random.Generator,
    ) -> Self:
        """Learn from training rows.

        Parameters
        ----------
        x : ndarray
            (rows, cells) encoded training rows.
        nats : ndarray
            (rows, columns + 1) contributions to their anomaly scores, on no common scale yet.
        typical : ndarray
            (rows,) mask of the rows that are not anomalous.
        columns : ndarray
            (cells,) index of the column of each cell.
        score : callable
            Scores (rows,), on no common scale yet, of encoded rows as if other rows had not been in training.
        rng : numpy.random.Generator
            Source of randomness.
        """
        first_cells, n_columns = np.unique(columns, return_index=True)[1], nats.shape[1] - 1
        counted = np.column_stack([~np.isnan(x[:, first_cells]), np.ones(len(x), bool)]) & typical[:, None]
        means = (nats * counted).sum(0) / np.maximum(counted.sum(0), 1)
        deviations = np.where(counted, nats - means, 0.0)
        shared = (deviations[:, :-1] * deviations.sum(1, keepdims=True)).mean(0).clip(0)  # covariance with the score
        weights = shared / max(shared.sum(), np.finfo(float).tiny)
        weights = 0.5 * weights + 0.5 / n_columns  # the variance of the tail, which flags rows, is less unequal

        n_masked = max(1, min(MASKED_ROWS, MASKED_CELLS // x.shape[1]))
        rows, uniform = x[np.arange(n_masked) % len(x)], rng.random((2, n_masked))
        n_kept = n_columns * uniform[0]  # half of the rows lack any number of columns, half of them all but a few
        n_kept[1::2] = n_columns ** uniform[1, 1::2]
        removed = np.argsort(rng.random((n_masked, n_columns)), 1).argsort(1) >= n_kept[:, None]
        masked = np.where(removed[:, columns], np.nan, rows)
        scores = np.concatenate([score(x, x), score(masked, rows)])
        lacking = np.isnan(np.concatenate([x, masked])[:, first_cells])
        above = -scores - (means.sum() - lacking @ means[:-1])
        return cls(first_cells, means, weights, fit_curves(lacking @ weights, above), np.zeros((2, n_columns)))

    def charged(self, x: np.ndarray, scores: np.ndarray) -> tuple[Self, np.ndarray]:
        """The same with charges, and scores (rows,) less them, given those of training rows ``x`` without charges."""
        lacking = np.isnan(x[:, self.first_cells])
        charging = replace(self, charges=charges_of(lacking.sum(0), scores))
        return charging, scores - charging.charged_nats(x).sum(1)

    def adjusted(self, scores: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Scores (rows,) of the encoded rows ``x`` (rows, cells), on the scale of complete rows."""
        lacking = np.isnan(x[:, self.first_cells])
        rows = lacking.any(1)
        factor, shift = self._line(lacking[rows])
        observed = self.means.sum() - np.where(lacking[rows], self.means[:-1], 0.0).sum(1)
        scores = scores.copy()
        scores[rows] = -(self.means.sum() + shift + factor * (-scores[rows] - observed))
        charged: np.ndarray = scores - self.charged_nats(x).sum(1)
        return charged

    def contributions(self, nats: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Contributions (rows, columns + 1), on the scale of complete rows: they add up to the adjusted scores."""
        lacking = np.isnan(x[:, self.first_cells])
        rows = lacking.any(1)
        factor, shift = self._line(lacking[rows])
        nats = nats.copy()
        nats[rows] = self.means + factor[:, None] * (nats[rows] - self.means)
        nats[:, :-1] = np.where(lacking, self.means[:-1], nats[:, :-1])
        nats[rows, -1] += shift
        nats[:, :-1] += self.charged_nats(x)
        return nats

    def charged_nats(self, x: np.ndarray) -> np.ndarray:
        """Nats (rows, columns) that cells of the encoded rows ``x`` (rows, cells) add for being observed or missing."""
        return np.where(np.isnan(x[:, self.first_cells]), self.charges[1], self.charges[0])

    def _line(self, lacking: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Factor and shift (rows,) of anomaly scores above the mean, given which columns rows lack (rows, columns)."""
        # a product rounds differently by row
        (locations, scales), fractions = self.curves, np.where(lacking, self.weights, 0.0).sum(1)
        factor = scales[0] / np.interp(fractions, FRACTIONS, scales)
        return factor, locations[0] - factor * np.interp(fractions, FRACTIONS, locations)


def charges_of(n_missing: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Nats (2, columns) that an observed cell and a missing one add.

    They are the negative logarithm of how often cells are so (with one more of each, so that nothing is impossible),
    fading out to nothing where that is 5 % of the rows: columns that are often missing are so together. The unit is
    the decay of the upper tail of anomaly scores, so that such a row stands about where equally rare rows do.

    Parameters
    ----------
    n_missing : ndarray
        (columns,) number of missing cells among training rows.
    scores : ndarray
        (rows,) their scores.
    """
    middle, high = np.quantile(-scores, UPPER)
    decay = np.clip((high - middle) / np.log((1 - UPPER[0]) / (1 - UPPER[1])), 1.0, MOST_DECAY)
    frequency = (np.stack([len(scores) - n_missing, n_missing]) + 1) / (len(scores) + 2)
    charges: np.ndarray = -np.log(frequency) * decay * (1 - frequency / COMMON).clip(0)
    return charges


def fit_curves(fractions: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Medians of ``above`` (rows,) and distances to its upper quantiles, as smooth functions of ``fractions`` (rows,).

    They are polynomials of a logarithm, in which spreads of sums are nearly straight, fitted to groups of rows of
    similar fractions.
    """
    few, n_groups = 20, 8  # fewer rows have no such quantiles
    order = np.argsort(fractions, kind="stable")
    n_complete = int((fractions <= 0).sum())
    groups = [
        order[:n_complete],
        *np.array_split(order[n_complete:], min(n_groups, (len(order) - n_complete) // few + 1)),
    ]
    groups = [group for group in groups if len(group) >= few] or [order]
    found = np.log(1.02 - np.array([fractions[group].mean() for group in groups]))
    locations = np.array([np.median(above[group]) for group in groups])
    scales = np.array([np.quantile(above[group], TAIL).mean() for group in groups]) - locations
    weights = np.sqrt([len(group) for group in groups])
    degree = min(2, (len(np.unique(found.round(6))) - 1) // 2)

    points = np.log(1.02 - FRACTIONS).clip(found.min())
    positive = np.maximum(scales, max(1e-3 * scales.max(), 1e-9))
    scales = np.exp(np.polyval(np.polyfit(found, np.log(positive), degree, w=weights), points))
    locations = np.polyval(np.polyfit(found, locations, degree, w=weights), points)
    return np.stack([locations, np.maximum(scales, LEAST_SCALE * scales[0])])
