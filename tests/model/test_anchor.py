"""Where training starts: scikit-learn's PCA, or probabilistic PCA in closed form (Tipping and Bishop 1999)."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.decomposition import PCA

from vae_anomaly.model.anchor import MAX_ROWS, START_DEVIATION, anchor_rows, fit_anchor
from vae_anomaly.model.likelihoods import START_SCALE, Bernoulli, Categorical, Gaussian, Mixed
from vae_anomaly.model.objectives import ELBO, importance_weighted_bound
from vae_anomaly.model.priors import GaussianPrior
from vae_anomaly.model.vae import START_LOG_VAR, VAE


def start_vae(x, n_components, *, whiten, members=2, likelihood=None, seed=3):
    likelihood = likelihood or Gaussian((1e-3,) * x.shape[1])
    x = torch.tensor(x)
    vae = VAE(likelihood, n_components, (5, 4), members).double()
    anchor = fit_anchor(likelihood.features(x), n_components, whiten=whiten, seed=seed)
    vae.start(anchor, x, torch.Generator().manual_seed(seed))
    return vae.requires_grad_(False)


@pytest.fixture
def x(rng):
    """Correlated columns with three strong directions, each above the starting noise, and weaker ones."""
    return rng.standard_normal((60, 3)) @ (2 * rng.standard_normal((3, 6))) + 0.8 * rng.standard_normal((60, 6)) + 1.0


def reconstruct(vae, x):
    mean, _ = vae.encode(torch.tensor(x))
    return vae.decode(mean[None])[0]


def test_before_training_the_exemplar_model_reconstructs_as_scikit_learns_pca(x):
    vae = start_vae(x, 3, whiten=False)
    new = x[:5] + 10.0
    pca = PCA(3).fit(x)
    reference = pca.inverse_transform(pca.transform(new))
    for member in reconstruct(vae, new):
        assert_allclose(member, reference, rtol=1e-9)
    assert_allclose(vae.encode(torch.tensor(x))[0][0].std(0, correction=1), np.sqrt(pca.explained_variance_), rtol=1e-9)
    assert_allclose(vae.encode(torch.tensor(new))[1], 2 * np.log(START_DEVIATION))


def test_codes_of_an_exemplar_model_keep_the_distances_of_the_table(x):
    vae = start_vae(x, 6, whiten=False)
    codes = vae.encode(torch.tensor(x))[0][0]
    assert_allclose(torch.pdist(codes), torch.pdist(torch.tensor(x)), rtol=1e-9)


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
    vae = start_vae(x, n_components, whiten=True)
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
    vae, prior = start_vae(x, n_components, whiten=True), GaussianPrior(torch.zeros(2, 1, n_components).double())
    elbo = ELBO().terms(vae, torch.tensor(x), prior, sigma_points(n_components)).elbo()
    draws = torch.tensor(rng.standard_normal((3, 2, 60, n_components)))
    bound = importance_weighted_bound(vae, torch.tensor(x), prior, draws)
    for member in range(2):
        assert_allclose(elbo[member], evidence, rtol=1e-9)
        assert_allclose(bound[member], evidence, rtol=1e-9)


def test_latents_beyond_the_rank_start_unused_at_no_cost(rng):
    x = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 2)) + 3.0
    for whiten in (False, True):
        vae, enough = start_vae(x, 5, whiten=whiten), start_vae(x, 2, whiten=whiten)
        mean, log_var = vae.encode(torch.tensor(x))
        assert (mean[..., 2:] == 0).all()
        assert_allclose(reconstruct(vae, x), reconstruct(enough, x))
        moved = mean[None].clone()
        moved[..., 2:] = 7.0
        assert_allclose(vae.decode(moved)[0], reconstruct(vae, x), err_msg="the decoder does not look at them")
    assert_allclose(log_var[..., 2:], 0, atol=1e-12, err_msg="their posterior is the prior: their KL is zero")


def test_a_gaussian_model_with_latents_to_spare_still_starts_at_the_exact_evidence(rng, sigma_points):
    x = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 2)) + 3.0
    weights, centre = ppca(x, 2, START_SCALE**2)
    evidence = stats.multivariate_normal(centre, weights @ weights.T + START_SCALE**2 * np.eye(2)).logpdf(x)
    prior = GaussianPrior(torch.zeros(1, 1, 5).double())
    vae = start_vae(x, 5, whiten=True, members=1)
    assert_allclose(ELBO().terms(vae, torch.tensor(x), prior, sigma_points(5)).elbo()[0], evidence, rtol=1e-9)


def test_directions_below_the_noise_start_nearly_unused(rng, sigma_points):
    x = rng.standard_normal((80, 3)) * [3.0, 2.0, START_SCALE / 10]
    log_var = start_vae(x, 3, whiten=True).encode(torch.tensor(x))[1][0, 0]
    assert (log_var[:2].exp() < 0.1).all()
    assert log_var[2].exp() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize(
    "table",
    [np.array([[2.0, -1.0, 0.5]]), np.full((9, 3), 4.0), np.array([[1.0], [2.0]]), np.zeros((1, 1))],
    ids=["one row", "constant table", "two rows, one column", "one zero"],
)
def test_degenerate_tables_start_at_their_mean(table, whiten):
    vae = start_vae(table, 2, whiten=whiten)
    assert all(parameter.isfinite().all() for parameter in vae.parameters())
    centre = np.broadcast_to(table.mean(0), (1, *table.shape[1:]))
    for member in reconstruct(vae, centre.copy()):
        assert_allclose(member, centre)
    noise = torch.zeros(1, 1, 1, 2).double()
    prior = GaussianPrior(torch.zeros(2, 1, 2).double())
    assert ELBO().terms(vae, torch.tensor(table), prior, noise).elbo().isfinite().all()


def test_wide_tables_reconstruct_their_own_rows(rng):
    x = rng.standard_normal((6, 700))
    assert_allclose(reconstruct(start_vae(x, 5, whiten=False), x)[0], x, atol=1e-6)


def test_the_same_seed_gives_the_same_anchor_and_leaves_the_callers_randomness_alone(rng):
    x = torch.tensor(rng.standard_normal((60, 600)))  # wide: scikit-learn takes its randomised solver
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (fit_anchor(x, 3, whiten=False, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.encode, again.encode)
    assert torch.equal(first.deviation, again.deviation)
    assert not torch.equal(first.encode, other.encode), "the solver is the randomised one"
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_a_long_table_is_anchored_on_all_of_it_however_it_is_sorted(rng):
    x = np.sort(rng.standard_normal(30_000))[:, None] * [2.0, 1.0] + 0.1 * rng.standard_normal((30_000, 2))
    reference = PCA(1).fit(x)
    first, again = (
        fit_anchor(torch.tensor(x[anchor_rows(len(x), seed)]), 1, whiten=False, seed=seed) for seed in (1, 1)
    )
    error = np.sqrt(reference.explained_variance_[0] / MAX_ROWS)
    assert_allclose(first.centre, x.mean(0), atol=4 * error)
    assert_allclose(first.deviation, np.sqrt(reference.explained_variance_), atol=4 * error)
    assert abs(first.decode.numpy() @ reference.components_.T).item() == pytest.approx(1, abs=1e-4)
    assert torch.equal(first.encode, again.encode)


def test_bandwidth_starts_at_scotts_rule(rng):
    codes = rng.standard_normal((500, 2)) * [3.0, 0.7]
    vae = start_vae(codes, 2, whiten=False)
    scott = stats.gaussian_kde(codes.T).scotts_factor()
    own = np.linalg.eigvalsh(np.cov(codes.T))[::-1]
    assert_allclose(vae.log_bandwidth[0, 0].exp(), np.sqrt(own) * scott, rtol=1e-9)


def test_bandwidth_never_starts_at_nothing():
    vae = start_vae(np.array([[0.0, 0.0], [1e-3, 0.0], [3.0, 0.0]]), 2, whiten=False)
    assert_allclose(vae.log_bandwidth[0, 0, 1].exp(), 0.05)


def test_a_mixed_table_starts_at_its_margins(rng):
    n = 200
    x = np.column_stack([
        rng.standard_normal(n) * 2 + 1, rng.random(n) < 0.3, rng.random(n) < 0.8, rng.choice(3, n, p=[0.6, 0.3, 0.1])
    ]).astype(float)  # fmt: skip
    x[:5, 0] = np.nan
    likelihood = Mixed((Gaussian((0.01,)), Bernoulli(2, 0.01), Categorical(3, 0.01, (0.0,) * 3)), indicators=(0,))
    vae = start_vae(x, 3, whiten=False, likelihood=likelihood)
    at_zero = vae.decode(torch.zeros(1, 2, 1, 3).double())[0, 0, 0]
    assert_allclose(at_zero[0], np.nanmean(x[:, 0]))
    assert_allclose(at_zero[1:3].sigmoid(), x[:, 1:3].mean(0))
    assert_allclose(at_zero[3:].softmax(-1), np.bincount(x[:, 3].astype(int)) / n)


def test_a_decoder_turns_a_reconstructed_flag_into_a_logit_of_its_slope(rng):
    """Near one half a logit of slope 4 is the tangent of the probability: d sigmoid / d logit = 1/4 there."""
    flags = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]] * 5)
    vae = start_vae(flags, 2, whiten=False, likelihood=Bernoulli(2, 0.01))
    logits = reconstruct(vae, flags)[0]
    assert_allclose(logits, 4 * (flags - 0.5), atol=1e-9)


def test_members_share_the_anchor_and_differ_in_their_hidden_layers(x):
    vae = start_vae(x, 3, whiten=False)
    assert torch.equal(vae.encoder.linear.weight[0], vae.encoder.linear.weight[1])
    for net in (vae.encoder, vae.decoder):
        for layer in net.hidden:
            assert not torch.equal(layer.weight[0], layer.weight[1])


def test_without_an_anchor_the_model_starts_at_the_margins_with_all_layers_drawn(x):
    likelihood, rows = Gaussian((1e-3,) * 6), torch.tensor(x)
    vae = VAE(likelihood, 3, (5, 4), 2).double().requires_grad_(False)
    vae.start(None, rows, torch.Generator().manual_seed(1))
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
