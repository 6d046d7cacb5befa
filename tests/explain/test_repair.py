import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vae_anomaly.data.columns import NumberCell
from vae_anomaly.explain.neighbours import SimilarRows
from vae_anomaly.explain.repair import Search
from vae_anomaly.fitted import ReferenceRows

CELLS = [NumberCell(column) for column in range(4)]


@pytest.fixture
def search():
    """Rows are alike in all four columns; the surprise of a column is its distance from the row's median."""
    reference = np.repeat(np.linspace(-3, 3, 301)[:, None], 4, 1)
    surprise = lambda x: 10 * np.abs(x - np.median(x, 1, keepdims=True))  # noqa: E731
    return Search(
        score=lambda x: -surprise(x).sum(1),
        surprise=surprise,
        threshold=-5.0,
        neighbourhood=SimilarRows(ReferenceRows(reference, np.zeros(301)), CELLS),
        cells=CELLS,
    )


def test_the_wrong_cell_alone_is_changed_to_what_the_others_say(search):
    x = np.array([[1.0, 1.0, -2.0, 1.0], [0.5, 0.5, 0.5, 0.5], [2.0, -1.0, -1.0, -1.0]])
    found = search.repair(x, 3)
    assert_array_equal(found.changed, [[False, False, True, False], [False] * 4, [True, False, False, False]])
    assert_array_equal(found.cells[1], x[1])
    assert np.abs(found.cells[0] - 1.0).max() < 0.2
    assert np.abs(found.cells[2] + 1.0).max() < 0.2
    assert (search.score(found.cells) >= search.threshold).all()


def test_a_change_that_was_not_needed_is_given_back(search):
    """Only the last column decides; the first is the most surprising and is changed before it."""
    picky = Search(
        score=lambda x: np.where(np.abs(x[:, 3] - x[:, 1]) < 0.2, 0.0, -10.0) + 0.1 * (np.abs(x[:, 0] - x[:, 1]) < 0.2),
        surprise=lambda x: np.abs(x - x[:, [1]]) * [9.0, 1.0, 1.0, 1.0],
        threshold=-5.0,
        neighbourhood=search.neighbourhood,
        cells=CELLS,
    )
    only_first_is_tried = np.array([[2.0, 1.0, 1.0, -2.0]])
    found = picky.repair(only_first_is_tried, 4)
    assert_array_equal(found.changed, [[False, False, False, True]])
    assert found.cells[0, 0] == 2.0


def test_no_more_cells_are_changed_than_allowed_and_what_helped_stays(search):
    x = np.array(
        [
            [
                3.0,
                -3.0,
                0.0,
                0.0,
            ]
        ]
    )
    found = search.repair(x, 1)
    assert found.changed.sum() == 1
    assert search.score(found.cells)[0] > search.score(x)[0]
    assert search.score(found.cells)[0] < search.threshold
    assert search.score(search.repair(x, 2).cells)[0] >= search.threshold
