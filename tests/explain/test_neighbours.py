"""Expected values are those of the rows that are most similar in the informative columns."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly.data.columns import CodeCell, FlagCell, NumberCell
from vae_anomaly.explain.neighbours import FEWEST, SimilarRows, _tail, informative_columns
from vae_anomaly.fitted import ReferenceRows

CELLS = [NumberCell(0), NumberCell(1), FlagCell(2), CodeCell(3, 3, (0.0,) * 3)]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=(300, 2)), rng.integers(2, size=300), rng.integers(3, size=300)])
    rows[rng.random(rows.shape) < 0.03] = np.nan
    return rows


@pytest.fixture
def similar(rows):
    return SimilarRows(ReferenceRows(rows, np.zeros(len(rows))), CELLS)


def distance(row, other, informative):
    """Squared distance, cell by cell, as the module's documentation has it."""
    total = 0.0
    for place, cell in enumerate(CELLS):
        if not informative[cell.column] or np.isnan(row[place]):
            continue
        if np.isnan(other[place]):
            total += row[place] ** 2 + 1.0 if cell.is_number else 1.0 + cell.unseen * 1.0
        elif cell.is_number:
            total += (row[place] - other[place]) ** 2
        else:
            total += 2.0 * (row[place] != other[place])
    return total


def test_what_is_expected_is_the_middle_of_the_nearest_rows_by_the_informative_columns(rows, similar):
    x = np.array([[0.3, -0.2, 1.0, 2.0], [1.0, np.nan, 0.0, 0.0], [-0.5, 0.5, 1.0, 1.0]])
    informative = np.array([[False, True, True, True], [True, True, False, True], [True, False, False, True]])
    found = similar.expected(x, informative)
    for row, (own, by) in enumerate(zip(x, informative, strict=True)):
        order = np.argsort([distance(own, other, by) for other in rows], kind="stable")[:FEWEST]
        near = rows[order]
        for place, cell in enumerate(CELLS):
            seen = np.sort(near[:, place][~np.isnan(near[:, place])])
            if cell.is_number:
                assert found.cells[row, place] == seen[int(np.rint(0.5 * (len(seen) - 1)))]
            else:
                values, counts = np.unique(seen, return_counts=True)
                assert found.cells[row, place] == values[counts.argmax()]
            ends = np.rint(np.array([0.05, 0.95]) * (len(seen) - 1)).astype(int)
            assert (found.low[row, place], found.high[row, place]) == tuple(seen[ends])
            assert found.same[row, place] == np.mean(
                np.isnan(near[:, place]) if np.isnan(own[place]) else near[:, place] == own[place]
            )
            assert found.agreement[row, place] == np.mean(near[:, place] == found.cells[row, place])


def test_a_row_is_not_expected_to_be_itself(rows, similar):
    whole = rows[~np.isnan(rows).any(1)][:20].copy()
    whole[:, 0] = np.arange(20) + 5.0  # far from all others
    alone = SimilarRows(ReferenceRows(np.concatenate([rows, whole]), np.zeros(len(rows) + 20)), CELLS)
    found = alone.expected(whole, np.ones((20, 4), bool))
    assert (found.cells[:, 0] != whole[:, 0]).all()


def test_where_no_column_is_informative_the_whole_table_is_expected(rows, similar):
    found = similar.expected(rows[:3], np.zeros((3, 4), bool))
    middle, low, high = np.nanquantile(rows[:, 0], [0.5, 0.05, 0.95], method="nearest")
    assert_array_equal(found.cells[:, 0], middle)
    assert_array_equal(found.low[:, 0], low)
    assert_array_equal(found.high[:, 0], high)


def test_a_value_far_beyond_all_others_counts_as_merely_far(similar):
    near, far = np.array([[0.0, 0.1, 1.0, 1.0]]), np.array([[500.0, 0.1, 1.0, 1.0]])
    informative = np.array([[False, True, True, True]])
    assert_array_equal(similar.expected(far, informative).cells, similar.expected(near, informative).cells)


def test_the_most_surprising_column_and_others_that_are_very_surprising_are_not_informative():
    surprise = np.array([[0.1, -1.0, 0.2], [3.0, 2.5, -1.0], [-1.0, -2.0, -0.5]])
    assert_array_equal(informative_columns(surprise), [[True, True, False], [False, False, True], [True, True, True]])
    assert_array_equal(informative_columns(np.array([[9.0, 4.0, 5.0]])), [[False, True, False]])
    many = np.full((1, 9), 7.0)
    assert (~informative_columns(many)).sum() == 5


def test_the_tail_is_the_fraction_of_values_at_most_as_frequent():
    others = np.array([[0.0] * 8 + [1, 1], [0.0] * 10, np.arange(10.0), [np.nan] + [0.0] * 9])
    tails = _tail(others, np.array([1.0, 3, 30, np.nan]), np.zeros(4, bool))
    assert_allclose(tails, [(2 + 2) / 12, 1 / 11, 10 / 20, (1 + 2) / 12])
    assert_allclose(_tail(others[3:] + 0.5, np.array([np.nan]), np.ones(1, bool)), (1 + 2) / 12)  # missing or not
