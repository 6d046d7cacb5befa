"""The bandwidth against all pairs on a grid: leave-one-out maximum likelihood (Duin 1976)."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import logsumexp

from vae_anomaly.model import nearest as bandwidth
from vae_anomaly.model.nearest import MAX_ROWS, SMALLEST, leave_one_out_bandwidth

GRID = np.geomspace(0.02, 3, 300)


def likeliest_on_a_grid(points):
    """The bandwidth of the greatest mean log density of each point under kernels at all the others."""
    latents = points.shape[1]
    squared = ((points[:, None] - points) ** 2).sum(-1)
    np.fill_diagonal(squared, np.inf)
    likelihoods = [(logsumexp(-0.5 * squared / h**2, axis=1) - latents * np.log(h)).mean() for h in GRID]
    return GRID[np.argmax(likelihoods)]


@pytest.mark.parametrize("rows, latents", [(40, 1), (200, 2), (150, 4), (150, 8), (150, 16)])
def test_with_all_neighbours_it_is_the_likeliest_on_a_grid(rng, rows, latents):
    points = rng.standard_normal((rows, latents)) * np.linspace(0.5, 2.0, latents)
    assert_allclose(leave_one_out_bandwidth(torch.tensor(points), rows - 1), likeliest_on_a_grid(points), rtol=0.02)


@pytest.mark.parametrize("latents", [8, 16])
def test_few_neighbours_are_enough_where_there_are_many_latents(rng, latents):
    points = rng.standard_normal((300, latents))
    assert_allclose(leave_one_out_bandwidth(torch.tensor(points), 16), likeliest_on_a_grid(points), rtol=0.1)


def test_it_is_that_of_scipys_kernel_density_of_the_others(rng):
    """Leaving each point out of a fit by hand: no other bandwidth is likelier."""
    points = rng.standard_normal((30, 2))
    found = leave_one_out_bandwidth(torch.tensor(points), 29)

    def likelihood(h):
        kernel = stats.multivariate_normal(cov=h**2 * np.eye(2))
        others = [np.delete(points, i, 0) for i in range(30)]
        return np.mean([np.log(kernel.pdf(point - rest).mean()) for point, rest in zip(points, others, strict=True)])

    assert likelihood(found) > max(likelihood(0.9 * found), likelihood(1.1 * found))


def test_duplicates_do_not_shrink_it_to_nothing(rng):
    points = torch.tensor(rng.standard_normal((100, 3)))
    once = leave_one_out_bandwidth(points, 99)
    doubled = torch.cat([points, points, points])[torch.tensor(rng.permutation(300))]
    assert_allclose(leave_one_out_bandwidth(doubled, 299), once, rtol=0.01)
    mostly_one = torch.cat([points, points[:1].expand(400, -1)])[torch.tensor(rng.permutation(500))]
    assert_allclose(leave_one_out_bandwidth(mostly_one, 16), leave_one_out_bandwidth(points, 16), rtol=0.5)


def test_duplicates_that_differ_by_rounding_are_duplicates(rng):
    """A matrix product need not give two equal rows the same last bit."""
    points = torch.tensor(rng.standard_normal((40, 3)))
    doubled = torch.cat([points, points * (1 + 2**-52), points * (1 - 2**-52)])
    assert_allclose(leave_one_out_bandwidth(doubled, 119), leave_one_out_bandwidth(points, 39), rtol=0.01)


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_equal_points_give_the_smallest(rows):
    assert leave_one_out_bandwidth(torch.full((rows, 3), 7.0).double(), 16) == SMALLEST


@pytest.mark.parametrize("factor", [1e-3, 2.0, 1e4])
def test_it_is_in_the_unit_of_the_points(rng, factor):
    points = torch.tensor(rng.standard_normal((120, 3)))
    expected = factor * leave_one_out_bandwidth(points, 16)
    assert_allclose(leave_one_out_bandwidth(factor * points, 16), expected, rtol=1e-5)


def test_it_does_not_depend_on_where_the_points_lie(rng):
    points = torch.tensor(rng.standard_normal((120, 3)))
    expected = leave_one_out_bandwidth(points, 16)
    for shift in (-5.0, 1e6):
        assert_allclose(leave_one_out_bandwidth(points + shift, 16), expected, rtol=1e-6)


def test_of_many_points_some_are_left_out_in_turn_but_all_are_neighbours(rng, monkeypatch):
    points = torch.tensor(rng.standard_normal((2000, 2)))
    some = leave_one_out_bandwidth(points, 1999)
    monkeypatch.setattr(bandwidth, "MAX_ROWS", 2000)
    assert_allclose(some, leave_one_out_bandwidth(points, 1999), rtol=0.1)
    assert some < 0.9 * leave_one_out_bandwidth(points[: MAX_ROWS // 4], MAX_ROWS // 4 - 1)
