"""Where training starts: scikit-learn's PCA, or probabilistic PCA in closed form (Tipping and Bishop 1999)."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity

from vae_anomaly.model import pca_init
from vae_anomaly.model.likelihoods import START_SCALE, Bernoulli, Categorical, Gaussian, Mixed, floored_scale
from vae_anomaly.model.nearest import NEAREST, SMALLEST, leave_one_out_bandwidth
from vae_anomaly.model.objectives import ELBO, IWAE
from vae_anomaly.model.pca_init import (
    LEAST_NOISE,
    MAX_ROWS,
    NOISE_FRACTION,
    UNITS,
    count_components,
    fit_exemplar_init,
    fit_gaussian_init,
    pca_rows,
    standardised_variances,
)
from vae_anomaly.model.priors import ExemplarPrior, GaussianPrior, log_weights
from vae_anomaly.model.vae import START_LOG_VAR, VAE

FLOOR = 1e-3
PRIORS = ["exemplar", "gaussian"]


def fit_inits(features, n_components, *, prior, members=2, seed=3):
    if prior == "gaussian":
        return [fit_gaussian_init(features, n_components, seed=seed)] * members
    return [fit_exemplar_init(features, n_components, member, seed=seed) for member in range(members)]


def start_vae(x, n_components, *, prior, members=2, likelihood=None, seed=3):
    likelihood = likelihood or Gaussian((FLOOR,) * x.shape[1])
    x = torch.tensor(x)
    vae = VAE(likelihood, n_components, (5, 4), members).double()
    inits = fit_inits(likelihood.features(x), n_components, prior=prior, members=members, seed=seed)
    vae.start(inits, x, torch.Generator().manual_seed(seed))
    return vae.requires_grad_(False)


@pytest.fixture
def x(rng):
    """Correlated columns with three strong directions, each above the starting noise, and weaker ones."""
    return rng.standard_normal((60, 3)) @ (2 * rng.standard_normal((3, 6))) + 0.8 * rng.standard_normal((60, 6)) + 1.0


def units_of(x, member):
    """Unit of each column by hand: deviations, or ranges with a common factor that makes them typically deviations."""
    if member % 2 == 0:
        return x.std(0)
    ranges = x.max(0) - x.min(0)
    return ranges * stats.gmean(x.std(0) / ranges)


def reconstruct(vae, x):
    mean, _ = vae.encode(torch.tensor(x))
    return vae.decode(mean[None])[0]


# -- under an exemplar prior: a kernel density --


def test_before_training_the_exemplar_model_reconstructs_as_scikit_learns_pca_of_the_scaled_rows(x):
    vae = start_vae(x, 3, prior="exemplar", members=3)
    new = x[:5] + 10.0
    for member in range(3):
        units = units_of(x, member)
        pca = PCA(3).fit(x / units)
        reference = pca.inverse_transform(pca.transform(new / units)) * units
        assert_allclose(reconstruct(vae, new)[member], reference, rtol=1e-9)
        deviations = vae.encode(torch.tensor(x))[0][member].std(0, correction=1)
        assert_allclose(deviations, np.sqrt(pca.explained_variance_), rtol=1e-9)


def test_members_measure_the_columns_by_deviation_and_by_range_in_turn(x):
    """A column's unit decides what a step along it is worth in the latents; a common factor of all units does not."""
    x = x.copy()
    x[0, 2] += 30.0  # its range grows more than its deviation
    means = start_vae(x, 6, prior="exemplar", members=4).encode(torch.tensor(x))[0]
    for member in range(4):
        scaled = torch.tensor(x / units_of(x, member))
        assert_allclose(torch.pdist(means[member]), torch.pdist(scaled), rtol=1e-9)
    assert not np.allclose(torch.pdist(means[0]), torch.pdist(means[1]), rtol=0.05)


@pytest.mark.parametrize("member", [0, 1])
def test_common_noise_is_one_fraction_of_each_columns_range(x, member):
    init = fit_exemplar_init(torch.tensor(x), 2, member, seed=0, common_noise=True)
    units = units_of(x, 1)
    pca = PCA(2).fit(x / units)
    residual = np.square(x / units - pca.inverse_transform(pca.transform(x / units))).mean()
    kernel = NOISE_FRACTION * init.log_bandwidth.exp().item()
    assert_allclose(init.noise_scale.numpy(), np.sqrt(residual + kernel**2) * units)


def test_with_latents_for_all_columns_nothing_is_lost_on_the_way_there_and_back(x, rng):
    far = np.vstack([x, 100 * rng.standard_normal((5, 6))])
    for latents in (6, 9):
        for member in reconstruct(start_vae(x, latents, prior="exemplar"), far):
            assert_allclose(member, far, rtol=1e-9, atol=1e-9)


def test_a_constant_column_is_left_as_it_is(x):
    x = x.copy()
    x[:, 2] = 5.0
    moving = [0, 1, 3, 4, 5]
    vae, without = start_vae(x, 3, prior="exemplar"), start_vae(x[:, moving], 3, prior="exemplar")
    assert_allclose(reconstruct(vae, x)[..., 2], 5.0)
    assert_allclose(reconstruct(vae, x)[..., moving], reconstruct(without, x[:, moving]), rtol=1e-9)
    moved = x.copy()
    moved[:, 2] = -20.0
    assert_allclose(vae.encode(torch.tensor(moved))[0], vae.encode(torch.tensor(x))[0], atol=1e-9)
    assert_allclose(vae.log_bandwidth, without.log_bandwidth, rtol=1e-9)


def test_bandwidth_posterior_and_noise_start_as_those_of_a_kernel_density(x):
    vae = start_vae(x, 3, prior="exemplar")
    for member in range(2):
        units = units_of(x, member)
        pca = PCA(3).fit(x / units)
        means = pca.transform(x / units)
        bandwidth = leave_one_out_bandwidth(torch.tensor(means), NEAREST)[0]
        assert_allclose(vae.log_bandwidth[member].exp(), bandwidth, rtol=1e-6)
        noise = NOISE_FRACTION * bandwidth
        variance = 1 / (1 / bandwidth**2 + 1 / noise**2)  # of a latent, given its kernel and its own noisy row
        assert_allclose(vae.encode(torch.tensor(x))[1][member].exp(), np.full((60, 3), variance), rtol=1e-6)
        residual = ((x / units - pca.inverse_transform(means)) ** 2).mean(0)
        scale = floored_scale(vae.shared[member, 0], (FLOOR,) * 6)
        assert_allclose(scale, np.sqrt(residual + noise**2) * units, rtol=1e-6)


def test_noise_starts_no_lower_than_its_least_value():
    x = np.linspace(0, 1e-3, 50)[:, None] * [1.0, 2.0]
    for init in fit_inits(torch.tensor(x), 2, prior="exemplar"):
        assert (init.noise_scale == LEAST_NOISE).all()


@pytest.mark.parametrize("latents", [4, 6])
def test_with_latents_for_all_columns_training_starts_at_scikit_learns_kernel_density(rng, latents):
    """Of the scaled rows, up to one constant: reconstruction is perfect, and the blur is the same for all."""
    x = rng.standard_normal((80, 4)) @ rng.standard_normal((4, 4)) + 1.0
    new = np.vstack([2 * rng.standard_normal((40, 4)) @ rng.standard_normal((4, 4)), x[:3], [[40.0, 0, -30, 9]]])
    vae = start_vae(x, latents, prior="exemplar")
    prior = ExemplarPrior(vae.encode(torch.tensor(x))[0], vae.log_bandwidth, log_weights(torch.ones(1, 1, 80).double()))
    noise = torch.tensor(rng.standard_normal((3, 1, 1, latents)))
    scores = ELBO().terms(vae, torch.tensor(new), prior, noise).elbo()
    for member in range(2):
        units, bandwidth = units_of(x, member), vae.log_bandwidth[member].exp().item()
        density = KernelDensity(bandwidth=bandwidth, rtol=1e-12).fit(x / units).score_samples(new / units)
        constant = scores[member].numpy() - density
        assert_allclose(constant, constant[0], rtol=1e-8)
        assert stats.spearmanr(scores[member], density).statistic > 0.9999


# -- under a Gaussian prior: probabilistic PCA --


def ppca(x, n_components, noise):
    """Weights and mean of probabilistic PCA with the noise variance given: W = U (Lambda - noise)^(1/2)."""
    variances, directions = np.linalg.eigh(np.cov(x.T))
    variances, directions = variances[::-1][:n_components], directions[:, ::-1][:, :n_components]
    assert (variances > noise).all(), "the closed form holds where the signal exceeds the noise"
    return directions * np.sqrt(variances - noise), x.mean(0)


@pytest.mark.parametrize("n_components", [1, 3, 6])
def test_before_training_the_gaussian_model_is_probabilistic_pca(x, n_components):
    noise = START_SCALE**2
    weights, centre = ppca(x, n_components, noise)
    vae = start_vae(x, n_components, prior="gaussian")
    assert_allclose(floored_scale(vae.shared, (FLOOR,) * 6), START_SCALE)
    new = x[:7] * 2.0
    inverse = np.linalg.inv(weights.T @ weights + noise * np.eye(n_components))
    posterior_mean = (new - centre) @ weights @ inverse
    covariance = noise * inverse
    assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-12)
    mean, log_var = vae.encode(torch.tensor(new))
    sign = np.sign(mean[0].numpy() * posterior_mean)  # a direction may point either way, the same for all rows
    assert (sign == sign[0]).all()
    for member in range(2):
        assert_allclose(mean[member], posterior_mean * sign[0], rtol=1e-8)
        assert_allclose(log_var[member].exp(), np.broadcast_to(np.diag(covariance), (7, n_components)), rtol=1e-8)
    assert_allclose(reconstruct(vae, new)[0], posterior_mean @ weights.T + centre, rtol=1e-8)


@pytest.mark.parametrize("n_components", [1, 3, 6])
def test_before_training_the_bounds_are_the_exact_evidence_of_probabilistic_pca(x, n_components, rng, sigma_points):
    noise = START_SCALE**2
    weights, centre = ppca(x, n_components, noise)
    evidence = stats.multivariate_normal(centre, weights @ weights.T + noise * np.eye(6)).logpdf(x)
    vae, prior = start_vae(x, n_components, prior="gaussian"), GaussianPrior(torch.zeros(2, 1, n_components).double())
    elbo = ELBO().terms(vae, torch.tensor(x), prior, sigma_points(n_components)).elbo()
    draws = torch.tensor(rng.standard_normal((3, 2, 60, n_components)))
    bound = IWAE().score(vae, torch.tensor(x), prior, draws)
    for member in range(2):
        assert_allclose(elbo[member], evidence, rtol=1e-9)
        assert_allclose(bound[member], evidence, rtol=1e-9)


@pytest.mark.parametrize("prior", PRIORS)
def test_latents_beyond_the_rank_start_unused_at_no_cost(rng, prior):
    x = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 2)) + 3.0
    vae, enough = start_vae(x, 5, prior=prior), start_vae(x, 2, prior=prior)
    mean, log_var = vae.encode(torch.tensor(x))
    assert (mean[..., 2:] == 0).all()
    assert_allclose(reconstruct(vae, x), reconstruct(enough, x))
    moved = mean[None].clone()
    moved[..., 2:] = 7.0
    assert_allclose(vae.decode(moved)[0], reconstruct(vae, x), err_msg="the decoder does not look at them")
    unused = vae.log_bandwidth if prior == "exemplar" else torch.zeros(2, 1, 1).double()
    assert_allclose(log_var[..., 2:], 2 * unused.expand(2, 30, 3), atol=1e-12, err_msg="their posterior is the prior")
    means = vae.encode(torch.tensor(x))[0]
    kls = [kl_at_start(vae, means, log_var), kl_at_start(vae, means[..., :2], log_var[..., :2])]
    assert_allclose(kls[0], kls[1], rtol=1e-9, err_msg="so their KL is zero")


def kl_at_start(vae, mean, log_var):
    """To kernels at the rows themselves."""
    weights = log_weights(torch.ones(1, 1, mean.shape[1]).double())
    return ExemplarPrior(mean, vae.log_bandwidth, weights).kl(mean, log_var)


@pytest.mark.parametrize("member", [0, 1])
def test_the_bandwidth_does_not_depend_on_latents_that_nothing_uses(rng, member):
    flat = rng.standard_normal((200, 2)) @ rng.standard_normal((2, 6))
    bandwidths = [
        fit_exemplar_init(torch.tensor(flat), latents, member, seed=0).log_bandwidth.exp() for latents in (2, 4, 6, 9)
    ]
    assert_allclose(bandwidths, bandwidths[0], rtol=1e-6)


def test_a_gaussian_model_with_latents_to_spare_still_starts_at_the_exact_evidence(rng, sigma_points):
    x = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 2)) + 3.0
    weights, centre = ppca(x, 2, START_SCALE**2)
    evidence = stats.multivariate_normal(centre, weights @ weights.T + START_SCALE**2 * np.eye(2)).logpdf(x)
    prior = GaussianPrior(torch.zeros(1, 1, 5).double())
    vae = start_vae(x, 5, prior="gaussian", members=1)
    assert_allclose(ELBO().terms(vae, torch.tensor(x), prior, sigma_points(5)).elbo()[0], evidence, rtol=1e-9)


def test_directions_below_the_noise_start_nearly_unused(rng, sigma_points):
    x = rng.standard_normal((80, 3)) * [3.0, 2.0, START_SCALE / 10]
    log_var = start_vae(x, 3, prior="gaussian").encode(torch.tensor(x))[1][0, 0]
    assert (log_var[:2].exp() < 0.1).all()
    assert log_var[2].exp() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(
    "table",
    [np.array([[2.0, -1.0, 0.5]]), np.full((9, 3), 4.0), np.array([[1.0], [2.0]]), np.zeros((1, 1))],
    ids=["one row", "constant table", "two rows, one column", "one zero"],
)
def test_degenerate_tables_start_at_their_mean(table, prior):
    vae = start_vae(table, 2, prior=prior)
    assert all(parameter.isfinite().all() for parameter in vae.parameters())
    centre = np.broadcast_to(table.mean(0), (1, *table.shape[1:]))
    for member in reconstruct(vae, centre.copy()):
        assert_allclose(member, centre)
    noise = torch.zeros(1, 1, 1, 2).double()
    means = vae.encode(torch.tensor(table))[0]
    kernels = ExemplarPrior(means, vae.log_bandwidth, log_weights(torch.ones(1, 1, len(table)).double()))
    for each in (kernels, vae.standard_normal()):
        assert ELBO().terms(vae, torch.tensor(table), each, noise).elbo().isfinite().all()
    if prior == "exemplar" and (table == table[0]).all():
        assert_allclose(vae.log_bandwidth.exp(), SMALLEST)


@pytest.mark.parametrize("columns", [3, 12, 33])
@pytest.mark.parametrize("member", [0, 1])
def test_rows_that_occur_many_times_do_not_shrink_the_bandwidth_to_nothing(rng, columns, member):
    """Also where the means of equal rows differ by rounding: the rows themselves lie at least a deviation apart."""
    levels = rng.integers(0, 2, (4, columns)) + np.eye(4, columns)
    rows = levels[rng.integers(0, 4, 203)]
    assert fit_exemplar_init(torch.tensor(rows), columns, member, seed=0).log_bandwidth.exp() >= 0.99 * SMALLEST


def test_wide_tables_reconstruct_their_own_rows(rng):
    x = rng.standard_normal((6, 700))
    for member in reconstruct(start_vae(x, 5, prior="exemplar"), x):
        assert_allclose(member, x, atol=1e-6)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_same_seed_gives_the_same_initialisation_and_leaves_the_callers_randomness_alone(rng, prior, monkeypatch):
    monkeypatch.setattr(pca_init, "EXACT_SIDE", 59)  # above it, scikit-learn takes its randomised solver
    x = torch.tensor(rng.standard_normal((60, 600)))
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (fit_inits(x, 3, prior=prior, seed=seed)[0] for seed in (1, 1, 2))
    for name, part in vars(first).items():
        assert torch.equal(part, getattr(again, name)), name
    assert not torch.equal(first.encode, other.encode), "the solver is the randomised one"
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


@pytest.mark.parametrize("prior", PRIORS)
def test_a_long_table_starts_at_the_components_of_all_of_it_however_it_is_sorted(rng, prior):
    """A range is that of some rows: it may fall a little short."""
    x = np.sort(rng.standard_normal(30_000))[:, None] * [2.0, 1.0] + 0.1 * rng.standard_normal((30_000, 2))
    reference = PCA(1).fit(x if prior == "gaussian" else x / x.std(0))
    error = np.sqrt(reference.explained_variance_[0] / MAX_ROWS)
    sorted_rows, shuffled = (
        fit_inits(torch.tensor(rows[pca_rows(len(x), 1)]), 1, prior=prior) for rows in (x, rng.permutation(x))
    )
    assert_allclose(sorted_rows[0].centre, x.mean(0), atol=8 * error)
    direction = sorted_rows[0].decode / sorted_rows[0].decode.norm()
    expected = reference.components_[0] * (1 if prior == "gaussian" else x.std(0))
    assert abs(direction.numpy() @ expected).item() == pytest.approx(np.linalg.norm(expected), abs=1e-4)
    for found, wanted in zip(sorted_rows, shuffled, strict=True):
        assert_allclose(found.log_bandwidth.exp(), wanted.log_bandwidth.exp(), rtol=0.5)
        assert_allclose(found.noise_scale, wanted.noise_scale, rtol=0.1)


@pytest.mark.parametrize("n_rows", [1, 500, 3 * MAX_ROWS])
def test_pca_rows_are_some_rows_from_everywhere_in_random_order(n_rows):
    first, again, other = (pca_rows(n_rows, seed) for seed in (1, 1, 2))
    assert len(set(first)) == len(first) == min(n_rows, MAX_ROWS)
    assert first.tolist() == again.tolist()
    if n_rows > 1:
        assert first.tolist() != other.tolist()
        for part in (first, first[: len(first) // 5]):  # any beginning of it is from everywhere as well
            assert stats.kstest(part / n_rows, stats.uniform.cdf).pvalue > 0.001


@pytest.mark.parametrize("prior", PRIORS)
def test_a_mixed_table_starts_at_its_marginals(rng, prior):
    n = 200
    x = np.column_stack([
        rng.standard_normal(n) * 2 + 1, rng.random(n) < 0.3, rng.random(n) < 0.8, rng.choice(3, n, p=[0.6, 0.3, 0.1])
    ]).astype(float)  # fmt: skip
    x[:5, 0] = np.nan
    likelihood = Mixed((Gaussian((0.01,)), Bernoulli(2, 0.01), Categorical(3, 0.01, (0.0,) * 3)), indicators=(0,))
    vae = start_vae(x, 3, prior=prior, likelihood=likelihood)
    for at_zero in vae.decode(torch.zeros(1, 2, 1, 3).double())[0, :, 0]:
        assert_allclose(at_zero[0], np.nanmean(x[:, 0]))
        assert_allclose(at_zero[1:3].sigmoid(), x[:, 1:3].mean(0))
        assert_allclose(at_zero[3:].softmax(-1), np.bincount(x[:, 3].astype(int)) / n)


def test_a_decoder_turns_a_reconstructed_flag_into_a_logit_of_its_slope(rng):
    """Near one half a logit of slope 4 is the tangent of the probability: d sigmoid / d logit = 1/4 there."""
    flags = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]] * 5)
    vae = start_vae(flags, 2, prior="exemplar", likelihood=Bernoulli(2, 0.01))
    for logits in reconstruct(vae, flags):
        assert_allclose(logits, 4 * (flags - 0.5), atol=1e-9)


@pytest.mark.parametrize("prior", PRIORS)
def test_members_share_the_initialisation_of_their_units_and_differ_in_their_hidden_layers(x, prior):
    vae = start_vae(x, 3, prior=prior, members=2 + len(UNITS))
    same = 1 if prior == "gaussian" else len(UNITS)
    for first, second in [(0, same), (1, 1 + same)]:
        assert torch.equal(vae.encoder.linear.weight[first], vae.encoder.linear.weight[second])
        assert torch.equal(vae.decoder.linear.weight[first], vae.decoder.linear.weight[second])
        assert torch.equal(vae.shared[first], vae.shared[second])
        assert torch.equal(vae.log_bandwidth[first], vae.log_bandwidth[second])
    assert torch.equal(vae.encoder.linear.weight[0], vae.encoder.linear.weight[1]) == (prior == "gaussian")
    for net in (vae.encoder, vae.decoder):
        for layer in net.hidden:
            assert not torch.equal(layer.weight[0], layer.weight[1])


def test_without_pca_the_model_starts_at_the_marginals_with_all_layers_drawn(x):
    likelihood, rows = Gaussian((1e-3,) * 6), torch.tensor(x)
    vae = VAE(likelihood, 3, (5, 4), 2).double().requires_grad_(False)
    vae.start([], rows, torch.Generator().manual_seed(1))
    for net in (vae.encoder, vae.decoder):
        assert (net.linear.weight == 0).all()
        assert (net.last.weight != 0).all()
        assert not torch.equal(net.last.weight[0], net.last.weight[1]), "members start apart"
    hidden_path = vae.decoder(torch.zeros(2, 1, 3).double()) - vae.decoder.linear.bias
    assert_allclose(vae.decoder.linear.bias[:, 0], np.broadcast_to(x.mean(0), (2, 6)))
    assert hidden_path.abs().max() < 2
    _, log_var = vae.encode(rows)
    assert_allclose(log_var.mean(), START_LOG_VAR, atol=0.7)
    assert (vae.log_bandwidth == 0).all()
    assert_allclose(vae.shared.exp() ** 2 + 1e-6, START_SCALE**2)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (30, 30)])
def test_variances_are_those_along_the_components_of_standardised_columns(rng, shape):
    rows = rng.standard_normal(shape) * np.geomspace(1, 1000, shape[1]) + 5
    expected = PCA().fit(rows / rows.std(0)).explained_variance_ * (len(rows) - 1) / len(rows)
    found = standardised_variances(torch.tensor(rows))
    assert_allclose(found[: len(expected)], expected, atol=1e-12)
    assert_allclose(found[len(expected) :], 0, atol=1e-12)


FLAT, STEEP = np.ones(100), 0.5 ** np.arange(100)


@pytest.mark.parametrize(
    "variances, count",
    [
        (FLAT, 99),  # every direction carries variance
        (STEEP, 32),  # seven carry 99 %: the usual number
        (np.append(FLAT[:60], np.full(40, 1e-6)), 60),
        (np.ones(20), 20),  # a narrow table
        (np.append(np.ones(13), np.zeros(7)), 13),  # categories: no latent where no rows differ
        (np.append(np.ones(13), np.full(7, 1e-14)), 13),
        (np.append(np.ones(13), np.full(7, 1e-4)), 20),  # little variance is some
        (np.ones(1555), 256),  # the most
        (np.ones(1), 1),
    ],
)
def test_latents_are_as_many_as_carry_the_variance(variances, count):
    assert count_components(variances, usual=32, most=256, fraction=0.99) == count
