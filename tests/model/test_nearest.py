"""Both searches against all distances, where single precision distinguishes points and where it does not."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from vae_anomaly.model import nearest
from vae_anomaly.model.nearest import ExactSearch, FilteredSearch, search

SEARCHES = pytest.mark.parametrize("kind", [ExactSearch, FilteredSearch])


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Blocks of a few columns, so that small tables have several."""
    monkeypatch.setattr(nearest, "BLOCK_COLUMNS", 60)


def check(kind, points, z, count, rtol=1e-9):
    found = kind(torch.tensor(points)).nearest(torch.tensor(z), count).numpy()
    distances = np.linalg.norm(z[:, None] - points, axis=-1)
    assert found.shape == (len(z), count)
    assert (np.diff(np.sort(found, 1), axis=1) > 0).all(), "each once"
    near = np.sort(np.take_along_axis(distances, found, 1), 1)
    assert_allclose(near, np.sort(distances, 1)[:, :count], rtol=rtol, atol=1e-12)


@SEARCHES
@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("rows", [50, 401])
@pytest.mark.parametrize("count", [1, 4, 40])
def test_the_nearest_points_are_those_of_all_distances(rng, kind, shift, rows, count):
    points, z = rng.standard_normal((rows, 3)), 2 * rng.standard_normal((20, 3))
    check(kind, points + shift, z + shift, count)


@SEARCHES
def test_rows_that_single_precision_cannot_distinguish_are_distinguished(rng, kind):
    """A cluster that is far from the centre, and no wider than the rounding there."""
    points = np.concatenate([1000 + 0.01 * rng.standard_normal((300, 5)), rng.standard_normal((100, 5))])
    check(kind, points, 1000 + 0.01 * rng.standard_normal((30, 5)), 6, rtol=1e-6)


@SEARCHES
def test_one_far_point_and_far_rows_hide_no_near_point(rng, kind):
    points, z = rng.standard_normal((400, 4)), rng.standard_normal((30, 4))
    points[17] = 1e5
    z[::3] *= 1e4
    check(kind, points, z, 5, rtol=1e-6)


@pytest.mark.parametrize("size", [1e25, 1e39, 1e100])
def test_rows_too_far_for_single_precision_are_searched_in_double(rng, size):
    points = torch.tensor(rng.standard_normal((401, 4)))
    z = size * torch.tensor(rng.standard_normal((20, 4)))
    found, wanted = (kind(points).nearest(z, 5).sort().values for kind in (FilteredSearch, ExactSearch))
    assert torch.equal(found, wanted)


def test_the_filter_alone_decides_where_points_are_apart(rng, monkeypatch):
    """Otherwise it would save nothing: here every row's nearest are certain."""
    points, z = torch.tensor(rng.standard_normal((5000, 20))), torch.tensor(rng.standard_normal((100, 20)))
    search = FilteredSearch(points)
    monkeypatch.setattr(search, "_exact", None)
    assert torch.equal(search.nearest(z, 16).sort().values, ExactSearch(points).nearest(z, 16).sort().values)


def test_bounds_of_the_filter_are_below_the_truth(rng):
    """Also for points of very different lengths, which round differently."""
    points = torch.tensor(rng.standard_normal((300, 30)) * 10 ** rng.uniform(-3, 3, (300, 1)))
    z = torch.tensor(rng.standard_normal((50, 30)) * 10 ** rng.uniform(-3, 3, (50, 1)))
    points = points - points.mean(0)
    truth = 0.5 * points.square().sum(1) - z @ points.T
    for kept in (1, 10, 40):
        indices, least = FilteredSearch(points)._candidates(z, kept)
        others = truth.scatter(1, indices, torch.inf)
        assert (least <= others.amin(1)).all()


def test_a_filter_is_for_many_points_in_double_precision(rng, monkeypatch):
    monkeypatch.setattr(nearest, "FEW_ROWS", 100)
    points = torch.tensor(rng.standard_normal((101, 3)))
    assert [type(search(c)) for c in (points, points[:100], points.float())] == [
        FilteredSearch,
        ExactSearch,
        ExactSearch,
    ]
