"""Rows that repeat an earlier row of a table, exactly or but for identifiers.

A row's hash is the sum, modulo 2**64, of the hashes of its cells, so that a column is left out by a subtraction. Time
and memory are linear in the number of rows: two rows of a million have the same hash by chance with probability 3e-8.
"""

import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import pdtrc

from vae_anomaly.data.infer import nearly_all_distinct
from vae_anomaly.data.parse import Values, as_frame, column_names
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted, listed_names

CAUTION = 3  # times as many repeats as estimated may be due to chance
LEVEL = 0.05  # of the test whether there are more
FEW = 0.05  # of the rows; if more repeat an earlier one, chance must explain less than this fraction of them
MOST_ROWS, MOST_CELLS = 300, 2**22  # of the sample whose pairs of rows are compared; cells of all pairs
FEWEST_PAIRS, MANY_PAIRS = 20, 100  # that agree in a column, to see what follows from it, and probabilities given it
MOST_COLUMNS = 1_000  # wider tables have each column compared by itself

Name = str | int


def find_duplicates(X: Any, *, ignore: Collection[Name] = ()) -> pd.Series:
    """
    Find the rows that repeat an earlier row, exactly or in every column but the identifiers.

    Missing cells are equal to each other, and 1 is equal to 1.0. Text and whole numbers of which more than 90 % are
    distinct count as identifiers.

    Rows of a table of few categories repeat naturally, and are not reported. The number of repeats by chance is
    estimated as the sum over columns of the number of rows that differ from an earlier one in this column alone (or
    in what follows from it, as a country from a city), times the odds that they agreed in it as well: p / (1 - p), at
    most 1, with the probability p that two rows agree in it, given the other column for which p is largest. Repeats are
    reported if they are significantly more than three times that number. If more than 5 % of the rows are repeats, for
    instance in a table appended to itself, they must be twenty times that number, and at most half of the rows. If
    rows that agree but for identifiers fail this test, those that agree in all columns may still pass it.

    Parameters
    ----------
    X : DataFrame or array-like
        (rows, columns).
    ignore : collection of str or int
        Columns in which duplicates may differ, besides identifiers; for instance ``detector.schema_.left_out``.

    Returns
    -------
    pandas.Series of Int64
        ``duplicate_of``: for each row the position, from 0, of the first row that it repeats; missing for all others.

    Raises
    ------
    DataError
        ``X`` is no table, or has no column that is named in ``ignore``.

    Examples
    --------
    >>> import pandas as pd
    >>> from vae_anomaly import find_duplicates
    >>> bills = pd.DataFrame({"number": [1, 2, 3, 4], "to": list("ABCA"), "sum": [9.5, 20.0, 7.25, 9.5]})
    >>> find_duplicates(bills, ignore=["number"]).dropna()
    3    0
    Name: duplicate_of, dtype: Int64
    """
    frame = as_frame(X)
    names = column_names(frame)
    if unknown := [name for name in ignore if name not in names]:
        raise DataError(f"The table has no column {listed_names(unknown)} to ignore. It has: {listed_names(names)}.")
    if len(frame) < 2:
        return pd.Series(pd.NA, frame.index, dtype="Int64", name="duplicate_of")
    ignored = {*ignore, *_identifiers(frame)}
    compared = [index for index, name in enumerate(names) if name not in ignored]
    firsts = _first_rows(frame, compared)
    if firsts is None and len(compared) < len(names):
        firsts = _first_rows(frame, list(range(len(names))))
    rows = np.arange(len(frame))
    duplicate_of = pd.Series(rows if firsts is None else firsts, frame.index, dtype="Int64", name="duplicate_of")
    return duplicate_of.mask(duplicate_of.to_numpy() == rows)


def describe_duplicates(X: Any, duplicate_of: pd.Series) -> str:
    """
    What `find_duplicates` found, in one sentence with rows counted from 1; empty if it found nothing.

    Examples
    --------
    >>> import pandas as pd
    >>> bills = pd.DataFrame({"number": [1, 2, 3, 4], "to": list("ABCA"), "sum": [9.5, 20.0, 7.25, 9.5]})
    >>> describe_duplicates(bills, find_duplicates(bills, ignore=["number"]))
    "1 row repeats an earlier row in every column but 'number'; the first: row 4 repeats row 1"
    """
    frame = as_frame(X)
    later = np.flatnonzero(duplicate_of.notna())
    if not len(later):
        return ""
    earlier = duplicate_of.iloc[later].to_numpy(np.int64)
    pairs = frame.iloc[np.concatenate([earlier, later])]
    cells = [_cell_hashes(pairs, index).reshape(2, -1) for index in range(frame.shape[1])]
    differ = [name for name, (one, other) in zip(column_names(frame), cells, strict=True) if (one != other).any()]
    where = f" in every column but {listed_names(differ)}" if differ else ""
    what = f"{counted(len(later), 'rows')} {'repeats' if len(later) == 1 else 'repeat'} an earlier row{where}"
    return f"{what}; the first: row {later[0] + 1} repeats row {earlier[0] + 1}"


def _identifiers(frame: pd.DataFrame) -> list[Name]:
    """Names of the columns of text and whole numbers in which nearly every value is distinct."""
    found: list[Name] = []
    for index, name in enumerate(column_names(frame)):
        series: Any = frame.iloc[:, index]
        values = Values(name, series)
        if pd.api.types.is_integer_dtype(series.dtype) or (values.is_text and not values.is_category):
            indices, distinct = values.factors
            if nearly_all_distinct(len(distinct), int(np.sum(indices >= 0))):
                found.append(name)
    return found


def _first_rows(frame: pd.DataFrame, columns: list[int]) -> np.ndarray | None:
    """For each row the position of the first one that is equal in these columns; None if chance explains them."""
    if not columns:
        return None
    hashes = np.zeros(len(frame), dtype=np.uint64)
    for column in columns:
        hashes += _cell_hashes(frame, column)
    groups, _ = pd.factorize(hashes)
    distinct = np.flatnonzero(~pd.Series(groups).duplicated().to_numpy())
    return None if _chance_explains(frame, columns, distinct, hashes[distinct]) else distinct[groups]


def _chance_explains(frame: pd.DataFrame, columns: list[int], rows: np.ndarray, hashes: np.ndarray) -> bool:
    """Whether so many repeats are no more than expected, of a table with these distinct ``rows`` and their hashes."""
    n_repeats = len(frame) - len(rows)
    if n_repeats == 0 or n_repeats > len(rows):
        return n_repeats > 0
    expected = 0.0
    most = FEW * n_repeats if n_repeats > FEW * len(frame) else math.inf
    agreement = _Agreement(frame.iloc[:, columns], rows)
    for leader, group in agreement.groups():
        rest = hashes.copy()
        for index in np.flatnonzero(group):
            rest -= _cell_hashes(frame, columns[index])[rows]
        n_near = int(pd.Series(rest).duplicated().sum())
        agrees = agreement.probability(leader, ~group)
        expected += n_near * min(1.0, agrees / (1 - agrees))
        if expected > most or pdtrc(n_repeats - 1, CAUTION * expected) > LEVEL:
            return True
    return False


class _Agreement:
    """How often pairs of rows agree in each column, and in two columns at once, from a sample of ``rows``."""

    def __init__(self, frame: pd.DataFrame, rows: np.ndarray) -> None:
        n_columns = frame.shape[1]
        n_rows = min(len(rows), MOST_ROWS, 1 + int((2 * MOST_CELLS / n_columns) ** 0.5))
        sample = frame.iloc[rows[np.linspace(0, len(rows) - 1, n_rows).astype(np.int64)]]
        hashes = np.stack([_cell_hashes(sample, index) for index in range(n_columns)])
        one, other = np.triu_indices(n_rows, 1)
        agree = (hashes[:, one] == hashes[:, other]).astype(np.float32)
        self._n_pairs, self._n_agree = agree.shape[1], agree.sum(axis=1)
        self._both = agree @ agree.T if n_columns <= MOST_COLUMNS else None

    def groups(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each column and the mask of those that follow from it, itself included, unless it follows from another.

        A column follows from another if pairs that agree in the other differ in it a tenth as often as all pairs.
        """
        if self._both is None:
            yield from ((column, np.arange(len(self._n_agree)) == column) for column in range(len(self._n_agree)))
            return
        differ = 1 - self._both / np.maximum(self._n_agree, 1)[:, None]
        follows = differ <= 0.1 * (1 - self._n_agree / max(1, self._n_pairs))
        follows = (follows & (self._n_agree >= FEWEST_PAIRS)[:, None]) | np.eye(len(follows), dtype=bool)
        covered = np.zeros(len(follows), dtype=bool)
        for column in np.argsort(-follows.sum(axis=1), kind="stable").tolist():
            if not covered[column]:
                covered |= follows[column]
                yield column, follows[column]

    def probability(self, column: int, others: np.ndarray) -> float:
        """Largest probability, below 1, that two rows agree in a column, given that they agree in one of the others."""
        overall = (self._n_agree[column] + 1) / (self._n_pairs + 2)
        if self._both is None:
            return float(overall)
        given = others & (self._n_agree >= MANY_PAIRS)
        conditional = (self._both[given, column] + 1) / (self._n_agree[given] + 2)
        return float(np.max(conditional, initial=overall))


def _cell_hashes(frame: pd.DataFrame, index: int) -> np.ndarray:
    """Hashes of the cells of a column, (rows,) uint64: equal values have equal hashes, and so have missing ones."""
    series: Any = frame.iloc[:, index]
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biu":
        bits = series.to_numpy().astype(np.int64)
    elif isinstance(dtype, np.dtype) and dtype.kind == "f":
        numbers = series.to_numpy(np.float64) + 0.0  # -0.0 becomes 0.0
        bits = np.where(np.isnan(numbers), np.nan, numbers).view(np.int64)
    elif isinstance(dtype, np.dtype) and dtype.kind in "mM":
        bits = series.to_numpy().view(np.int64)
    else:
        bits = pd.factorize(series)[0].astype(np.int64)
    return _mixed(bits.view(np.uint64) + _mixed(np.array([index + 1], dtype=np.uint64)))


def _mixed(bits: np.ndarray) -> np.ndarray:
    """Bits spread evenly, by the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
