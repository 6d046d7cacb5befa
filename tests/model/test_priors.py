"""Priors against scipy, torch.distributions, a slow double loop, Monte Carlo and numerical integration."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import integrate, stats
from scipy.special import logsumexp

from vae_anomaly.model.priors import ExemplarPrior, GaussianPrior, entropy, log_share, normal_log_prob


def tensor(values):
    return torch.tensor(np.asarray(values, dtype=np.float64))


def standard_normal(members=2, latents=3):
    return GaussianPrior(torch.zeros(members, 1, latents, dtype=torch.float64))


def quantile_draws(mean, log_var, n=20_001):
    """Evenly spread draws from N(mean, exp(log_var)) in one dimension: Monte Carlo without the noise."""
    levels = stats.norm.ppf((np.arange(n) + 0.5) / n)
    return tensor(mean + np.exp(log_var / 2) * levels)[:, None, None, None]


# -- diagonal Gaussians --


def test_normal_log_prob_is_scipys(rng):
    z, mean, log_var = rng.standard_normal((3, 4, 2, 5, 3))
    actual = normal_log_prob(tensor(z), tensor(mean), tensor(log_var))
    assert actual.shape == (4, 2, 5)
    for place in np.ndindex(4, 2, 5):
        reference = stats.multivariate_normal(mean[place], np.diag(np.exp(log_var[place])))
        assert actual[place] == pytest.approx(reference.logpdf(z[place]), rel=1e-12)


def test_entropy_is_scipys_and_minus_the_mean_log_density(rng, sigma_points):
    mean, log_var = rng.standard_normal((2, 2, 5, 3))
    actual = entropy(tensor(log_var))
    for place in np.ndindex(2, 5):
        assert actual[place] == pytest.approx(stats.multivariate_normal(cov=np.diag(np.exp(log_var[place]))).entropy())
    z = tensor(mean) + tensor(log_var / 2).exp() * sigma_points(3)
    assert_allclose(-normal_log_prob(z, tensor(mean), tensor(log_var)).mean(0), actual, rtol=1e-12)


# -- the standard normal prior --


def test_standard_normal_log_prob_is_scipys(rng):
    z = rng.standard_normal((4, 2, 5, 3))
    assert_allclose(standard_normal().log_prob(tensor(z)), stats.multivariate_normal(np.zeros(3)).logpdf(z), rtol=1e-12)


def test_gaussian_kl_is_that_of_torch_distributions(rng):
    mean, log_var = (tensor(a) for a in rng.standard_normal((2, 2, 5, 3)))
    posterior = torch.distributions.Normal(mean, (log_var / 2).exp())
    reference = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    assert_allclose(standard_normal().kl(mean, log_var, torch.zeros(0)), reference, rtol=1e-12)


def test_gaussian_kl_is_the_mean_log_ratio_of_draws(rng, generator):
    n = 40_000
    mean, log_var = (tensor(a) for a in rng.standard_normal((2, 2, 5, 3)))
    z = mean + (log_var / 2).exp() * torch.randn(n, 2, 5, 3, dtype=torch.float64, generator=generator)
    ratios = normal_log_prob(z, mean, log_var) - standard_normal().log_prob(z)
    error = ratios.std(0) / n**0.5
    assert ((ratios.mean(0) - standard_normal().kl(mean, log_var, z)).abs() < 4 * error).all()
    assert (error < 0.05).all(), "the comparison means something"


def test_gaussian_kl_is_zero_at_the_prior_and_there_alone():
    mean, log_var = torch.zeros(1, 3, 2).double(), torch.zeros(1, 3, 2).double()
    mean[0, 1, 0] = log_var[0, 2, 1] = 0.1
    kl = standard_normal(1, 2).kl(mean, log_var, torch.zeros(0))[0]
    assert kl[0] == 0
    assert (kl[1:] > 0).all()


def test_gaussian_samples_are_standard_normal(generator):
    n = 20_000
    z = standard_normal().sample(2, n, generator).numpy()
    assert z.shape == (2, n, 3)
    for column in z.transpose(0, 2, 1).reshape(6, n):
        assert stats.kstest(column, stats.norm.cdf).pvalue > 0.01
    assert abs(np.corrcoef(z.transpose(0, 2, 1).reshape(6, n)) - np.eye(6)).max() < 4 / np.sqrt(n)


# -- the exemplar prior --


def slow_log_prob(z, codes, log_bandwidth, weights):
    """Log of the weighted mean of Gaussians, one exemplar and one row at a time."""
    draws, members, rows, latents = z.shape
    exemplars = codes.shape[1]
    weights = np.broadcast_to(weights, (members, rows, exemplars))
    out = np.empty((draws, members, rows))
    for d, m, r in np.ndindex(draws, members, rows):
        scale = np.exp(log_bandwidth[m, 0])
        logs = [stats.norm.logpdf(z[d, m, r], codes[m, e], scale).sum() for e in range(exemplars)]
        out[d, m, r] = logsumexp(logs, b=weights[m, r] / weights[m, r].sum())
    return out


WEIGHTS = {
    "all alike": np.ones((1, 1, 5)),
    "counts": np.array([1.0, 2, 1, 3, 2])[None, None],
    "one left out per row": 1 - np.eye(5)[None, :4],
    "left out of its count": np.array([2.0, 2, 1, 1, 1]) - np.eye(5)[None, :4],
    "per member": np.array([[[1.0, 0, 2, 0, 1]], [[0, 1, 1, 5, 0]], [[1, 1, 1, 1, 1]]]),
}


@pytest.fixture
def exemplars(rng):
    """Draws, codes and bandwidths of 3 members with 5 exemplars in 2 latents, 4 rows, 2 draws."""
    return rng.standard_normal((2, 3, 4, 2)), rng.standard_normal((3, 5, 2)), rng.standard_normal((3, 1, 2)) * 0.5 - 0.5


def exemplar_prior(codes, log_bandwidth, weights):
    return ExemplarPrior(tensor(codes), tensor(log_bandwidth), log_share(tensor(weights)))


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_exemplar_log_prob_is_the_slow_double_loop(exemplars, weights):
    z, codes, log_bandwidth = exemplars
    actual = exemplar_prior(codes, log_bandwidth, weights).log_prob(tensor(z))
    assert actual.shape == (2, 3, 4)
    assert_allclose(actual, slow_log_prob(z, codes, log_bandwidth, weights), rtol=1e-10)


@pytest.mark.parametrize("weights", ["counts", "one left out per row"])
@pytest.mark.parametrize("rows_at_once", [1, 3])
def test_the_density_does_not_depend_on_how_many_rows_are_taken_at_once(exemplars, weights, rows_at_once, monkeypatch):
    z, codes, log_bandwidth = exemplars
    monkeypatch.setattr("vae_anomaly.model.priors.PAIRS_AT_ONCE", rows_at_once * 3 * 5)
    actual = exemplar_prior(codes, log_bandwidth, WEIGHTS[weights]).log_prob(tensor(z))
    assert_allclose(actual, slow_log_prob(z, codes, log_bandwidth, WEIGHTS[weights]), rtol=1e-10)


@pytest.mark.parametrize("distance", [10.0, 1e3, 1e4])
def test_far_codes_are_exact(exemplars, distance):
    z, codes, log_bandwidth = exemplars
    prior = exemplar_prior(codes, log_bandwidth, WEIGHTS["counts"])
    far = distance * z
    assert_allclose(prior.log_prob(tensor(far)), slow_log_prob(far, codes, log_bandwidth, WEIGHTS["counts"]), rtol=1e-9)


def test_a_far_exemplar_does_not_blur_the_near_ones(exemplars):
    z, codes, log_bandwidth = exemplars
    codes[:, 4] = 1e3
    prior = exemplar_prior(codes, log_bandwidth, WEIGHTS["counts"])
    assert_allclose(prior.log_prob(tensor(z)), slow_log_prob(z, codes, log_bandwidth, WEIGHTS["counts"]), atol=1e-8)


def test_moving_everything_leaves_the_density_as_it_was(exemplars):
    z, codes, log_bandwidth = exemplars
    prior, moved = (exemplar_prior(codes + shift, log_bandwidth, WEIGHTS["counts"]) for shift in (0, 1e6))
    assert_allclose(moved.log_prob(tensor(z + 1e6)), prior.log_prob(tensor(z)), rtol=0, atol=1e-6)


def test_an_exemplar_of_weight_two_is_two_exemplars(exemplars):
    z, codes, log_bandwidth = exemplars
    doubled = exemplar_prior(np.concatenate([codes, codes[:, 1:2]], 1), log_bandwidth, np.ones((1, 1, 6)))
    counted = exemplar_prior(codes, log_bandwidth, np.array([[[1.0, 2, 1, 1, 1]]]))
    assert_allclose(counted.log_prob(tensor(z)), doubled.log_prob(tensor(z)), rtol=1e-12)


def test_weights_are_normalised_here(exemplars):
    z, codes, log_bandwidth = exemplars
    once, thrice = (exemplar_prior(codes, log_bandwidth, k * WEIGHTS["counts"]).log_prob(tensor(z)) for k in (1, 3))
    assert_allclose(once, thrice, rtol=1e-12)


def test_exemplar_density_integrates_to_one():
    prior = exemplar_prior([[[-1.0], [0.5], [4.0]]], [[[-0.7]]], [[[1.0, 2.0, 0.0]]])
    grid = np.linspace(-12, 12, 4001)
    density = prior.log_prob(tensor(grid)[None, None, :, None]).exp()[0, 0]
    assert integrate.simpson(density, x=grid) == pytest.approx(1, abs=1e-9)


def test_gradients_of_the_exemplar_density_match_finite_differences(exemplars):
    z, codes, log_bandwidth = (tensor(a).requires_grad_() for a in exemplars)
    weights = tensor(WEIGHTS["one left out per row"])
    assert torch.autograd.gradcheck(
        lambda *a: ExemplarPrior(a[1], a[2], log_share(weights)).log_prob(a[0]), (z, codes, log_bandwidth)
    )


def test_an_exemplar_left_out_has_no_gradient(exemplars):
    z, codes, log_bandwidth = exemplars
    weights = np.array([[[1.0, 0, 1, 1, 1]]])
    codes = tensor(codes).requires_grad_()
    ExemplarPrior(codes, tensor(log_bandwidth), log_share(tensor(weights))).log_prob(tensor(z)).sum().backward()
    kept = codes.grad[:, [0, 2, 3, 4]]
    assert kept.isfinite().all()
    assert (kept != 0).all()
    # Its only pull is through the centre, which cancels: the density does not depend on the centre.
    assert_allclose(codes.grad[:, 1], 0, atol=1e-12)


def test_exemplar_kl_is_the_integral(rng):
    codes, log_bandwidth, weights = np.array([-1.0, 0.5, 3.0]), -0.4, np.array([1.0, 2.0, 1.0])
    prior = exemplar_prior(codes[None, :, None], [[[log_bandwidth]]], weights[None, None])
    for mean, log_var in [(0.0, -1.0), (2.0, -3.0), (-4.0, 0.5)]:
        q = stats.norm(mean, np.exp(log_var / 2))
        grid = np.linspace(*q.ppf([1e-13, 1 - 1e-13]), 4001)
        p = (stats.norm(codes, np.exp(log_bandwidth)).pdf(grid[:, None]) * weights / weights.sum()).sum(-1)
        reference = integrate.simpson(q.pdf(grid) * (q.logpdf(grid) - np.log(p)), x=grid)
        z = quantile_draws(mean, log_var)
        actual = prior.kl(tensor([[[mean]]]), tensor([[[log_var]]]), z)
        assert actual.shape == (1, 1)
        assert actual.item() == pytest.approx(reference, abs=2e-3)
        assert actual.item() > 0
        random = tensor(q.rvs(4000, random_state=rng))[:, None, None, None]
        error = prior.log_prob(random).std().item() / 4000**0.5
        assert abs(prior.kl(tensor([[[mean]]]), tensor([[[log_var]]]), random).item() - reference) < 4 * error


def test_one_exemplar_at_zero_is_the_standard_normal(exemplars, sigma_points):
    z, mean, _ = exemplars
    mean, log_var = tensor(mean), tensor(mean[..., ::-1].copy())
    prior = exemplar_prior(np.zeros((3, 1, 2)), np.zeros((3, 1, 2)), np.ones((1, 1, 1)))
    assert_allclose(prior.log_prob(tensor(z)), standard_normal(3, 2).log_prob(tensor(z)), rtol=1e-12)
    draws = mean + (log_var / 2).exp() * sigma_points(2)
    assert_allclose(prior.kl(mean, log_var, draws), standard_normal(3, 2).kl(mean, log_var, draws), rtol=1e-10)


def test_exemplar_samples_follow_the_weights_and_the_bandwidth(generator):
    n, weights = 20_000, np.array([[[1.0, 0, 3, 4]], [[2, 2, 0, 1]]])
    codes = np.stack([np.arange(4.0)[:, None] * [1000, 1], -np.arange(4.0)[:, None] * [1000, 1]])
    log_bandwidth = np.log([[[0.5, 2.0]], [[1.0, 0.1]]])
    z = exemplar_prior(codes, log_bandwidth, weights).sample(2, n, generator).numpy()
    assert z.shape == (2, n, 2)
    for member in range(2):
        nearest = abs(np.rint(z[member, :, 0] / 1000)).astype(int)
        share = weights[member, 0] / weights[member].sum()
        frequency = np.bincount(nearest, minlength=4) / n
        assert (abs(frequency - share) <= 4 * np.sqrt(share * (1 - share) / n)).all()
        around = (z[member] - codes[member, nearest]) / np.exp(log_bandwidth[member])
        assert stats.kstest(around[:, 0], stats.norm.cdf).pvalue > 0.01
        assert stats.kstest(around[:, 1], stats.norm.cdf).pvalue > 0.01


def test_shared_weights_serve_every_member_its_own_codes(exemplars, generator):
    _, codes, _ = exemplars
    tight = np.full((3, 1, 2), -20.0)
    z = exemplar_prior(codes, tight, [[[0.0, 0, 0, 1, 0]]]).sample(3, 7, generator)
    assert_allclose(z, np.broadcast_to(codes[:, 3:4], (3, 7, 2)), atol=1e-7)


def test_samples_come_from_the_generator_alone(exemplars):
    _, codes, log_bandwidth = exemplars
    before = torch.get_rng_state()
    for prior in (standard_normal(3, 2), exemplar_prior(codes, log_bandwidth, WEIGHTS["counts"])):
        first, again, other = (prior.sample(3, 9, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
