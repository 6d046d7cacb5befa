"""The bandwidth against all pairs on a grid: leave-one-out maximum likelihood (Duin 1976)."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import logsumexp

from vae_anomaly.model import nearest as bandwidth
from vae_anomaly.model.nearest import MAX_ROWS, SMALLEST, fit_kernels
from vae_anomaly.model.nearest import leave_one_out_bandwidth as likeliest_bandwidth

GRID = np.geomspace(0.02, 3, 300)


def bandwidth_of(points, nearest):
    return likeliest_bandwidth(points, nearest)[0]


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
    assert_allclose(bandwidth_of(torch.tensor(points), rows - 1), likeliest_on_a_grid(points), rtol=0.02)


@pytest.mark.parametrize("latents", [8, 16])
def test_few_neighbours_are_enough_where_there_are_many_latents(rng, latents):
    points = rng.standard_normal((300, latents))
    assert_allclose(bandwidth_of(torch.tensor(points), 16), likeliest_on_a_grid(points), rtol=0.1)


def test_it_is_that_of_scipys_kernel_density_of_the_others(rng):
    """Leaving each point out of a fit by hand: no other bandwidth is likelier."""
    points = rng.standard_normal((30, 2))
    found = bandwidth_of(torch.tensor(points), 29)

    def likelihood(h):
        kernel = stats.multivariate_normal(cov=h**2 * np.eye(2))
        others = [np.delete(points, i, 0) for i in range(30)]
        return np.mean([np.log(kernel.pdf(point - rest).mean()) for point, rest in zip(points, others, strict=True)])

    assert likelihood(found) > max(likelihood(0.9 * found), likelihood(1.1 * found))


def test_duplicates_do_not_shrink_it_to_nothing(rng):
    points = torch.tensor(rng.standard_normal((100, 3)))
    once = bandwidth_of(points, 99)
    doubled = torch.cat([points, points, points])[torch.tensor(rng.permutation(300))]
    assert_allclose(bandwidth_of(doubled, 299), once, rtol=0.01)
    mostly_one = torch.cat([points, points[:1].expand(400, -1)])[torch.tensor(rng.permutation(500))]
    assert_allclose(bandwidth_of(mostly_one, 16), bandwidth_of(points, 16), rtol=0.5)


def test_duplicates_that_differ_by_rounding_are_duplicates(rng):
    """A matrix product need not give two equal rows the same last bit."""
    points = torch.tensor(rng.standard_normal((40, 3)))
    doubled = torch.cat([points, points * (1 + 2**-52), points * (1 - 2**-52)])
    assert_allclose(bandwidth_of(doubled, 119), bandwidth_of(points, 39), rtol=0.01)


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_equal_points_give_the_smallest(rows):
    assert bandwidth_of(torch.full((rows, 3), 7.0).double(), 16) == SMALLEST


@pytest.mark.parametrize("factor", [1e-3, 2.0, 1e4])
def test_it_is_in_the_unit_of_the_points(rng, factor):
    points = torch.tensor(rng.standard_normal((120, 3)))
    expected = factor * bandwidth_of(points, 16)
    assert_allclose(bandwidth_of(factor * points, 16), expected, rtol=1e-5)


def test_it_does_not_depend_on_where_the_points_lie(rng):
    points = torch.tensor(rng.standard_normal((120, 3)))
    expected = bandwidth_of(points, 16)
    for shift in (-5.0, 1e6):
        assert_allclose(bandwidth_of(points + shift, 16), expected, rtol=1e-6)


def test_of_many_points_some_are_left_out_in_turn_but_all_are_neighbours(rng, monkeypatch):
    points = torch.tensor(rng.standard_normal((2000, 2)))
    some = bandwidth_of(points, 1999)
    monkeypatch.setattr(bandwidth, "MAX_ROWS", 2000)
    assert_allclose(some, bandwidth_of(points, 1999), rtol=0.1)
    assert some < 0.9 * bandwidth_of(points[: MAX_ROWS // 4], MAX_ROWS // 4 - 1)


def clusters(rng, narrow, rows=200, latents=2):
    """A narrow cluster and a wide one, far from each other."""
    points = rng.standard_normal((2 * rows, latents)) * np.repeat([narrow, 1.0], rows)[:, None]
    return torch.tensor(points + np.repeat([0.0, 50.0], rows)[:, None])


def test_kernels_are_wider_where_points_lie_far_apart(rng):
    points = clusters(rng, 0.05)
    bandwidth, log_widths = fit_kernels(points, 16)
    near, far = log_widths[:200].exp().median(), log_widths[200:].exp().median()
    assert far > 1.5 * near
    assert bandwidth * near < 0.5 * bandwidth_of(points, 16)


def test_a_width_follows_the_distance_to_the_fifth_neighbour(rng):
    points = clusters(rng, 0.05)
    _, log_widths = fit_kernels(points, 16)
    fifth = torch.cdist(points, points).sort(1).values[:, 5]
    relative = (fifth / fifth.median()).clamp_min(0.05)
    assert_allclose(log_widths, 0.5 * ((relative + 0.5) / 1.5).log(), rtol=1e-9, atol=1e-12)


def test_with_widths_points_that_are_left_out_are_likelier(rng):
    """By the definition, on all pairs."""
    points = clusters(rng, 0.05)
    bandwidth, log_widths = fit_kernels(points, len(points) - 1)
    squared = torch.cdist(points, points).square().fill_diagonal_(torch.inf)

    def likelihood(scales):
        return (-0.5 * squared / scales**2 - 2 * scales.log()).logsumexp(1).mean()

    common = torch.full((len(points),), bandwidth_of(points, len(points) - 1)).double()
    local = bandwidth * log_widths.exp()
    assert likelihood(local) > likelihood(common) + 0.1
    assert likelihood(local) > max(likelihood(0.9 * local), likelihood(1.1 * local))


@pytest.mark.parametrize("rows", [3, 30])
def test_few_or_equal_points_have_kernels_of_one_width(rows):
    bandwidth, log_widths = fit_kernels(torch.full((rows, 3), 7.0).double(), 16)
    assert bandwidth == SMALLEST
    assert not log_widths.any()


def test_latents_without_use_leave_the_widths_alike(rng):
    """There the posterior is the kernel, of whatever row."""
    points = torch.nn.functional.pad(clusters(rng, 0.05), (0, 3))
    bandwidth, log_widths = fit_kernels(points, 16)
    assert not log_widths.any()
    assert bandwidth == pytest.approx(bandwidth_of(points, 16), rel=0.01)


def test_widths_of_many_points_are_those_among_some_of_them(rng, monkeypatch):
    points = clusters(rng, 0.05)[torch.tensor(rng.permutation(400))]
    _, all_widths = fit_kernels(points, 16)
    monkeypatch.setattr(bandwidth, "CROWD_ROWS", 200)
    _, some_widths = fit_kernels(points, 16)
    assert_allclose(some_widths, all_widths, atol=0.4)
    assert np.corrcoef(some_widths, all_widths)[0, 1] > 0.9


def test_in_many_latents_kernels_are_narrower_than_a_quarter_of_the_distance_to_the_nearest(rng):
    """The likeliest bandwidth is about that distance over the square root of the number of latents."""
    points = torch.tensor(rng.standard_normal((400, 64)))
    nearest = torch.cdist(points, points).fill_diagonal_(torch.inf).amin(1).median()
    local, common = (fit_kernels(points, 16, local=local)[0] / nearest for local in (True, False))
    assert_allclose(local, 1 / np.sqrt(64), rtol=0.15)
    assert_allclose(common, 1 / 4, rtol=0.02)
