"""Repairs change the wrong cells and no others, by as many as are allowed."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly import VAEDetector
from vae_anomaly.data.columns import NumberCell
from vae_anomaly.explain.neighbours import SimilarRows
from vae_anomaly.explain.repair import repair
from vae_anomaly.fitted import ReferenceRows

THRESHOLD = -5.0


@pytest.fixture
def similar():
    """Reference rows that hold one number in all four columns."""
    reference = np.repeat(np.linspace(-3, 3, 301)[:, None], 4, 1)
    return SimilarRows(ReferenceRows(reference, np.zeros(301)), [NumberCell(column) for column in range(4)])


def surprise(x):
    """Distance of each column from the row's median."""
    return 10 * np.abs(x - np.median(x, 1, keepdims=True))


def score(x):
    return -surprise(x).sum(1)


def as_they_are(cells, changed):
    return cells


def repaired(x, similar, max_changes):
    return repair(
        np.array(x),
        score=score,
        surprise=surprise,
        threshold=THRESHOLD,
        similar=similar,
        settled=as_they_are,
        max_changes=max_changes,
    )


def test_only_the_wrong_cell_is_changed_to_what_the_others_suggest(similar):
    x = [[1.0, 1.0, -2.0, 1.0], [0.5, 0.5, 0.5, 0.5], [2.0, -1.0, -1.0, -1.0]]
    found = repaired(x, similar, 3)
    assert_array_equal(found.changed, [[False, False, True, False], [False] * 4, [True, False, False, False]])
    assert_array_equal(found.cells[1], x[1])
    assert np.abs(found.cells[0] - 1.0).max() < 0.2
    assert np.abs(found.cells[2] + 1.0).max() < 0.2
    assert (found.after >= THRESHOLD).all()
    assert_array_equal(found.after, score(found.cells))


def test_a_change_that_was_not_needed_is_undone(similar):
    """Only the last column decides; the first is the most surprising and is changed before it."""
    found = repair(
        np.array([[2.0, 1.0, 1.0, -2.0]]),
        score=lambda x: np.where(np.abs(x[:, 3] - x[:, 1]) < 0.2, 0.0, -10.0) + 0.1 * (np.abs(x[:, 0] - x[:, 1]) < 0.2),
        surprise=lambda x: np.abs(x - x[:, [1]]) * [9.0, 1.0, 1.0, 1.0],
        threshold=THRESHOLD,
        similar=similar,
        settled=as_they_are,
        max_changes=4,
    )
    assert_array_equal(found.changed, [[False, False, False, True]])
    assert found.cells[0, 0] == 2.0


def test_no_more_cells_are_changed_than_allowed_and_what_helped_stays(similar):
    x = [[3.0, -3.0, 0.0, 0.0]]
    found = repaired(x, similar, 1)
    assert found.changed.sum() == 1
    assert found.before < found.after < THRESHOLD
    assert repaired(x, similar, 2).after >= THRESHOLD


def test_a_row_with_its_suggestions_scores_what_they_say():
    """Dates move their weekdays and the times between them; unreadable cells and new categories stay what they are."""
    rng = np.random.default_rng(0)
    arrival = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, 400), unit="D")
    nights = rng.integers(1, 8, 400)
    table = pd.DataFrame(
        {
            "arrival": arrival,
            "departure": arrival + pd.to_timedelta(nights, unit="D"),
            "nights": nights,
            "room": np.where(nights > 4, "large", "small"),
            "rate": (100 + 20 * rng.normal(size=400)).round(2),
        }
    )
    detector = VAEDetector(random_state=0).fit(table)
    wrong = table[:60].astype({"rate": object, "room": object})
    wrong.loc[:29, "departure"] -= pd.Timedelta(days=40)
    wrong.loc[30:39, "arrival"] -= pd.Timedelta(days=500)
    wrong.loc[35:44, "rate"] = "unknown"
    wrong.loc[40:49, "room"] = "tent"
    wrong.loc[50:, "nights"] = 30
    changes = detector.suggest(wrong, max_changes=3)
    assert {"departure", "arrival"} & set(changes["column"])
    assert changes["row"].nunique() > 30
    mended = wrong.copy()
    for change in changes.itertuples():
        mended.loc[change.row, change.column] = change.suggestion
    scores = pd.Series(detector.anomaly_score(mended), mended.index)
    assert_allclose(scores[changes["row"]], changes["new_score"], rtol=1e-6)
    assert_array_equal(scores[changes["row"]] <= -detector.offset_, changes["is_normal"])
