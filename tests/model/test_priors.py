"""Priors against scipy, torch.distributions, slow nested loops, Monte Carlo and numerical integration."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import integrate, stats
from scipy.special import logsumexp

from vae_anomaly.model.priors import ExemplarPrior, GaussianPrior, NearestPrior, log_weights, normal_log_prob


def tensor(values):
    return torch.tensor(np.asarray(values, dtype=np.float64))


def standard_normal(members=2, latents=3):
    return GaussianPrior(torch.zeros(members, 1, latents, dtype=torch.float64))


# -- diagonal Gaussians --


def test_normal_log_prob_is_scipys(rng):
    z, mean, log_var = rng.standard_normal((3, 4, 2, 5, 3))
    actual = normal_log_prob(tensor(z), tensor(mean), tensor(log_var))
    assert actual.shape == (4, 2, 5)
    for index in np.ndindex(4, 2, 5):
        reference = stats.multivariate_normal(mean[index], np.diag(np.exp(log_var[index])))
        assert actual[index] == pytest.approx(reference.logpdf(z[index]), rel=1e-12)


# -- the standard normal prior --


def test_standard_normal_log_prob_is_scipys(rng):
    z = rng.standard_normal((4, 2, 5, 3))
    assert_allclose(standard_normal().log_prob(tensor(z)), stats.multivariate_normal(np.zeros(3)).logpdf(z), rtol=1e-12)


def test_gaussian_kl_is_that_of_torch_distributions(rng):
    mean, log_var = (tensor(a) for a in rng.standard_normal((2, 2, 5, 3)))
    posterior = torch.distributions.Normal(mean, (log_var / 2).exp())
    reference = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    assert_allclose(standard_normal().kl(mean, log_var), reference, rtol=1e-12)


def test_gaussian_kl_is_the_mean_log_ratio_of_draws(rng, generator):
    n = 40_000
    mean, log_var = (tensor(a) for a in rng.standard_normal((2, 2, 5, 3)))
    z = mean + (log_var / 2).exp() * torch.randn(n, 2, 5, 3, dtype=torch.float64, generator=generator)
    ratios = normal_log_prob(z, mean, log_var) - standard_normal().log_prob(z)
    error = ratios.std(0) / n**0.5
    assert ((ratios.mean(0) - standard_normal().kl(mean, log_var)).abs() < 4 * error).all()
    assert (error < 0.05).all(), "the comparison means something"


def test_gaussian_kl_is_zero_at_the_prior_and_there_alone():
    mean, log_var = torch.zeros(1, 3, 2).double(), torch.zeros(1, 3, 2).double()
    mean[0, 1, 0] = log_var[0, 2, 1] = 0.1
    kl = standard_normal(1, 2).kl(mean, log_var)[0]
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


def slow_log_prob(z, means, log_bandwidth, weights):
    """Log of the weighted mean of Gaussians, one exemplar and one row at a time."""
    draws, members, rows, latents = z.shape
    exemplars = means.shape[1]
    weights = np.broadcast_to(weights, (members, rows, exemplars))
    out = np.empty((draws, members, rows))
    for d, m, r in np.ndindex(draws, members, rows):
        scale = np.exp(log_bandwidth[m, 0])
        logs = [stats.norm.logpdf(z[d, m, r], means[m, e], scale).sum() for e in range(exemplars)]
        out[d, m, r] = logsumexp(logs, b=weights[m, r] / weights[m, r].sum())
    return out


WEIGHTS = {
    "all equal": np.ones((1, 1, 5)),
    "counts": np.array([1.0, 2, 1, 3, 2])[None, None],
    "one left out per row": 1 - np.eye(5)[None, :4],
    "left out of its count": np.array([2.0, 2, 1, 1, 1]) - np.eye(5)[None, :4],
    "per member": np.array([[[1.0, 0, 2, 0, 1]], [[0, 1, 1, 5, 0]], [[1, 1, 1, 1, 1]]]),
}


@pytest.fixture
def exemplars(rng):
    """Draws, means and bandwidths of 3 members with 5 exemplars in 2 latents, 4 rows, 2 draws."""
    return rng.standard_normal((2, 3, 4, 2)), rng.standard_normal((3, 5, 2)), rng.standard_normal((3, 1, 1)) * 0.5 - 0.5


def exemplar_prior(means, log_bandwidth, weights):
    return ExemplarPrior(tensor(means), tensor(log_bandwidth), log_weights(tensor(weights)))


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_exemplar_log_prob_is_the_slow_nested_loop(exemplars, weights):
    z, means, log_bandwidth = exemplars
    actual = exemplar_prior(means, log_bandwidth, weights).log_prob(tensor(z))
    assert actual.shape == (2, 3, 4)
    assert_allclose(actual, slow_log_prob(z, means, log_bandwidth, weights), rtol=1e-10)


@pytest.mark.parametrize("weights", ["counts", "one left out per row"])
@pytest.mark.parametrize("rows_at_once", [1, 3])
def test_the_density_does_not_depend_on_how_many_rows_are_taken_at_once(exemplars, weights, rows_at_once, monkeypatch):
    z, means, log_bandwidth = exemplars
    monkeypatch.setattr("vae_anomaly.model.priors.PAIRS_AT_ONCE", rows_at_once * 3 * 5)
    actual = exemplar_prior(means, log_bandwidth, WEIGHTS[weights]).log_prob(tensor(z))
    assert_allclose(actual, slow_log_prob(z, means, log_bandwidth, WEIGHTS[weights]), rtol=1e-10)


@pytest.mark.parametrize("distance", [10.0, 1e3, 1e4])
def test_far_latents_are_exact(exemplars, distance):
    z, means, log_bandwidth = exemplars
    prior = exemplar_prior(means, log_bandwidth, WEIGHTS["counts"])
    far = distance * z
    assert_allclose(prior.log_prob(tensor(far)), slow_log_prob(far, means, log_bandwidth, WEIGHTS["counts"]), rtol=1e-9)


def test_a_far_exemplar_does_not_blur_the_near_ones(exemplars):
    z, means, log_bandwidth = exemplars
    means[:, 4] = 1e3
    prior = exemplar_prior(means, log_bandwidth, WEIGHTS["counts"])
    assert_allclose(prior.log_prob(tensor(z)), slow_log_prob(z, means, log_bandwidth, WEIGHTS["counts"]), atol=1e-8)


def test_moving_everything_leaves_the_density_as_it_was(exemplars):
    z, means, log_bandwidth = exemplars
    prior, moved = (exemplar_prior(means + shift, log_bandwidth, WEIGHTS["counts"]) for shift in (0, 1e6))
    assert_allclose(moved.log_prob(tensor(z + 1e6)), prior.log_prob(tensor(z)), rtol=0, atol=1e-6)


def test_an_exemplar_of_weight_two_is_two_exemplars(exemplars):
    z, means, log_bandwidth = exemplars
    doubled = exemplar_prior(np.concatenate([means, means[:, 1:2]], 1), log_bandwidth, np.ones((1, 1, 6)))
    counted = exemplar_prior(means, log_bandwidth, np.array([[[1.0, 2, 1, 1, 1]]]))
    assert_allclose(counted.log_prob(tensor(z)), doubled.log_prob(tensor(z)), rtol=1e-12)


def test_weights_are_normalised_here(exemplars):
    z, means, log_bandwidth = exemplars
    once, thrice = (exemplar_prior(means, log_bandwidth, k * WEIGHTS["counts"]).log_prob(tensor(z)) for k in (1, 3))
    assert_allclose(once, thrice, rtol=1e-12)


def test_exemplar_density_integrates_to_one():
    prior = exemplar_prior([[[-1.0], [0.5], [4.0]]], [[[-0.7]]], [[[1.0, 2.0, 0.0]]])
    grid = np.linspace(-12, 12, 4001)
    density = prior.log_prob(tensor(grid)[None, None, :, None]).exp()[0, 0]
    assert integrate.simpson(density, x=grid) == pytest.approx(1, abs=1e-9)


def test_gradients_of_the_exemplar_density_match_finite_differences(exemplars):
    z, means, log_bandwidth = (tensor(a).requires_grad_() for a in exemplars)
    weights = tensor(WEIGHTS["one left out per row"])
    assert torch.autograd.gradcheck(
        lambda *a: ExemplarPrior(a[1], a[2], log_weights(weights)).log_prob(a[0]), (z, means, log_bandwidth)
    )


def test_an_exemplar_left_out_has_no_gradient(exemplars):
    z, means, log_bandwidth = exemplars
    weights = np.array([[[1.0, 0, 1, 1, 1]]])
    means = tensor(means).requires_grad_()
    ExemplarPrior(means, tensor(log_bandwidth), log_weights(tensor(weights))).log_prob(tensor(z)).sum().backward()
    kept = means.grad[:, [0, 2, 3, 4]]
    assert kept.isfinite().all()
    assert (kept != 0).all()
    # Its only pull is through the centre, which cancels: the density does not depend on the centre.
    assert_allclose(means.grad[:, 1], 0, atol=1e-12)


def slow_kl(mean, log_var, means, log_bandwidth, weights):
    """-log sum_k w_k exp(-KL(q || p_k)), each KL that of two Gaussians, one exemplar and one row at a time."""
    members, rows, _ = mean.shape
    weights = np.broadcast_to(weights, (members, rows, means.shape[1]))
    out = np.empty((members, rows))
    for m, r in np.ndindex(members, rows):
        variance, square = np.exp(log_var[m, r]), np.exp(2 * log_bandwidth[m, 0])
        away = (mean[m, r] - means[m]) ** 2
        kls = 0.5 * (variance / square + away / square - 1 - np.log(variance / square)).sum(-1)
        out[m, r] = -logsumexp(-kls, b=weights[m, r] / weights[m, r].sum())
    return out


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("distance", [1.0, 1e3])
def test_exemplar_kl_is_the_slow_mixture_of_kls(exemplars, rng, weights, distance):
    z, means, log_bandwidth = exemplars
    mean, log_var = distance * z[0], rng.standard_normal((3, 4, 2))
    actual = exemplar_prior(means, log_bandwidth, weights).kl(tensor(mean), tensor(log_var))
    assert actual.shape == (3, 4)
    assert_allclose(actual, slow_kl(mean, log_var, means, log_bandwidth, weights), rtol=1e-10)


POSTERIORS = [(0.0, -1.0), (2.0, -3.0), (-4.0, 0.5), (0.5, -0.8), (1.0, 2.0)]  # mean, log variance


def integrated_kl(mean, log_var, means, scale, weights):
    """KL from a Gaussian to a mixture of Gaussians on a line, by numerical integration."""
    q = stats.norm(mean, np.exp(log_var / 2))
    grid = np.linspace(*q.ppf([1e-13, 1 - 1e-13]), 8001)
    log_p = logsumexp(stats.norm(means, scale).logpdf(grid[:, None]), b=weights / weights.sum(), axis=-1)
    return integrate.simpson(q.pdf(grid) * (q.logpdf(grid) - log_p), x=grid)


@pytest.mark.parametrize("mean, log_var", POSTERIORS)
@pytest.mark.parametrize("weights", [(1.0, 2.0, 1.0), (0.0, 1.0, 1.0), (5.0, 0.1, 0.0)])
@pytest.mark.parametrize("log_bandwidth", [-1.5, -0.4, 0.7])
def test_exemplar_kl_is_never_below_the_integral(mean, log_var, weights, log_bandwidth):
    means, weights = np.array([-1.0, 0.5, 3.0]), np.array(weights)
    prior = exemplar_prior(means[None, :, None], [[[log_bandwidth]]], weights[None, None])
    exact = integrated_kl(mean, log_var, means, np.exp(log_bandwidth), weights)
    bound = prior.kl(tensor([[[mean]]]), tensor([[[log_var]]])).item()
    assert bound >= exact - 1e-9
    assert exact > 0


@pytest.mark.parametrize("mean, log_var", POSTERIORS)
def test_exemplar_kl_is_the_integral_where_one_exemplar_counts(mean, log_var):
    for means, weights in [([0.7], [1.0]), ([0.7, -2.0, 9.0], [3.0, 0.0, 0.0]), ([0.7, 0.7], [1.0, 2.0])]:
        prior = exemplar_prior(np.array(means)[None, :, None], [[[-0.4]]], np.array(weights)[None, None])
        exact = integrated_kl(mean, log_var, np.array(means), np.exp(-0.4), np.array(weights))
        assert prior.kl(tensor([[[mean]]]), tensor([[[log_var]]])).item() == pytest.approx(exact, abs=1e-8)


def test_exemplar_kl_is_tight_where_the_exemplars_lie_far_apart_and_loose_between_two():
    """A row at one exemplar pays for naming it; a posterior that covers two pays more than the mixture asks."""
    apart = exemplar_prior([[[0.0], [50.0]]], [[[0.0]]], [[[1.0, 1.0]]])
    assert apart.kl(tensor([[[0.0]]]), tensor([[[0.0]]])).item() == pytest.approx(np.log(2), abs=1e-12)
    between = exemplar_prior([[[-2.0], [2.0]]], [[[0.0]]], [[[1.0, 1.0]]])
    exact = integrated_kl(0.0, np.log(5.0), np.array([-2.0, 2.0]), 1.0, np.ones(2))
    assert between.kl(tensor([[[0.0]]]), tensor([[[np.log(5.0)]]])).item() > exact + 0.5


def test_gradients_of_the_exemplar_kl_match_finite_differences(exemplars, rng):
    z, means, log_bandwidth = (tensor(a).requires_grad_() for a in exemplars)
    log_var = tensor(rng.standard_normal((3, 4, 2))).requires_grad_()
    log_weight = log_weights(tensor(WEIGHTS["one left out per row"]))
    assert torch.autograd.gradcheck(
        lambda *a: ExemplarPrior(a[1], a[2], log_weight).kl(a[0][0], a[3]), (z, means, log_bandwidth, log_var)
    )


def test_one_exemplar_at_zero_is_the_standard_normal(exemplars):
    z, _, _ = exemplars
    mean, log_var = tensor(z[0]), tensor(z[1])
    prior = exemplar_prior(np.zeros((3, 1, 2)), np.zeros((3, 1, 1)), np.ones((1, 1, 1)))
    assert_allclose(prior.log_prob(tensor(z)), standard_normal(3, 2).log_prob(tensor(z)), rtol=1e-12)
    assert_allclose(prior.kl(mean, log_var), standard_normal(3, 2).kl(mean, log_var), rtol=1e-10)


# -- of many exemplars, the nearest --


def gathered(means, log_bandwidth, weights, indices):
    """The prior of rows that see the exemplars at ``indices`` (members, rows, nearest)."""
    weights = np.broadcast_to(weights, (*indices.shape[:2], means.shape[1]))
    fractions = np.take_along_axis(weights / weights.sum(-1, keepdims=True), indices, -1)
    near = np.take_along_axis(means[:, None], indices[..., None], 2)
    return NearestPrior(tensor(near), tensor(log_bandwidth), tensor(fractions).log())


def indices_of(rng, members=3, rows=4, exemplars=5):
    return np.stack([[rng.permutation(exemplars) for _ in range(rows)] for _ in range(members)])


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_with_all_exemplars_in_any_order_the_nearest_prior_is_the_exemplar_prior(exemplars, rng, weights):
    z, means, log_bandwidth = exemplars
    whole, near = (
        exemplar_prior(means, log_bandwidth, weights),
        gathered(means, log_bandwidth, weights, indices_of(rng)),
    )
    log_var = rng.standard_normal((3, 4, 2))
    for distance in (1.0, 1e3):
        far = tensor(distance * z)
        assert near.log_prob(far).shape == (2, 3, 4)
        assert_allclose(near.log_prob(far), whole.log_prob(far), rtol=1e-10, atol=1e-10)
        assert_allclose(near.kl(far[0], tensor(log_var)), whole.kl(far[0], tensor(log_var)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_fewer_exemplars_only_lower_the_density_and_raise_the_kl(exemplars, rng, weights):
    z, means, log_bandwidth = exemplars
    indices, log_var = indices_of(rng), tensor(rng.standard_normal((3, 4, 2)))
    nested = [gathered(means, log_bandwidth, weights, indices[..., :count]) for count in (5, 4, 3, 1)]
    for more, fewer in pairwise(nested):
        assert (fewer.log_prob(tensor(z)) <= more.log_prob(tensor(z)) + 1e-12).all()
        assert (fewer.kl(tensor(z[0]), log_var) >= more.kl(tensor(z[0]), log_var) - 1e-12).all()
    assert (nested[-1].log_prob(tensor(z)) < nested[0].log_prob(tensor(z)) - 1e-3).any()


def test_the_nearest_keep_the_weights_that_they_have_among_all(exemplars, rng):
    """The sum is over those that a row sees, their weights are not normalised again."""
    z, means, log_bandwidth = exemplars
    weights, indices = WEIGHTS["per member"], indices_of(rng)[..., :2]
    actual = gathered(means, log_bandwidth, weights, indices).log_prob(tensor(z))
    for d, m, r in np.ndindex(2, 3, 4):
        fractions, scale = weights[m, 0] / weights[m, 0].sum(), np.exp(log_bandwidth[m, 0])
        density = sum(fractions[k] * stats.norm.pdf(z[d, m, r], means[m, k], scale).prod() for k in indices[m, r])
        assert actual[d, m, r].item() == pytest.approx(np.log(density) if density else -np.inf, rel=1e-10)


def test_far_from_zero_the_nearest_prior_is_as_it_was(exemplars, rng):
    z, means, log_bandwidth = exemplars
    indices = indices_of(rng)[..., :3]
    here, there = (gathered(means + shift, log_bandwidth, WEIGHTS["counts"], indices) for shift in (0, 1e6))
    assert_allclose(there.log_prob(tensor(z + 1e6)), here.log_prob(tensor(z)), atol=1e-6)


def test_kernels_of_their_own_widths_by_the_definition(exemplars, rng):
    z, means, log_bandwidth = exemplars
    indices = indices_of(rng)[..., :3]
    one = gathered(means, log_bandwidth, WEIGHTS["counts"], indices)
    widths = tensor(log_bandwidth + rng.uniform(-1, 1, indices.shape))
    prior = NearestPrior(one.means, widths, one.log_weights)
    mean, log_var = tensor(z[0]), tensor(rng.standard_normal((3, 4, 2))).requires_grad_()
    scale, sd = widths.exp()[..., None], (0.5 * log_var).exp()[:, :, None]
    kernels = torch.distributions.Normal(prior.means, scale)
    log_density = kernels.log_prob(mean[:, :, None]).sum(-1) + prior.log_weights
    assert_allclose(prior.log_prob(mean[None])[0], log_density.logsumexp(-1), rtol=1e-10)
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(mean[:, :, None], sd), kernels).sum(-1)
    assert_allclose(prior.kl(mean, log_var).detach(), -(prior.log_weights - kl).logsumexp(-1).detach(), rtol=1e-10)


def test_what_is_nearby_is_where_the_kl_pulls(exemplars, rng):
    """With kernels of one width, the components' weighted mean is the row moved along the gradient of its KL."""
    z, means, log_bandwidth = exemplars
    log_var = tensor(rng.standard_normal((3, 4, 2)))
    whole, near = (
        exemplar_prior(means, log_bandwidth, WEIGHTS["counts"]),
        gathered(means, log_bandwidth, WEIGHTS["counts"], indices_of(rng)),
    )
    mean = tensor(z[0]).requires_grad_()
    (pull,) = torch.autograd.grad(whole.kl(mean, log_var).sum(), mean)
    expected = whole.nearby(mean, log_var, pull).detach()
    assert_allclose(near.nearby(mean, log_var, pull).detach(), expected, rtol=1e-8, atol=1e-8)
    normal = standard_normal(3, 2)
    (pull,) = torch.autograd.grad(normal.kl(mean, log_var).sum(), mean)
    assert_allclose(normal.nearby(mean, log_var, pull), (mean - pull).detach(), atol=1e-12)


# -- draws --


def test_samples_come_from_the_generator_alone():
    before, prior = torch.get_rng_state(), standard_normal(3, 2)
    first, again, other = (prior.sample(3, 9, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
