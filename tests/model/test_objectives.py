"""Bounds against the exact evidence of a linear-Gaussian model, where everything is known in closed form."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import integrate, stats
from scipy.special import logsumexp

from vae_anomaly.model.likelihoods import Bernoulli, Gaussian, Mixed, SquaredError, StudentT
from vae_anomaly.model.objectives import ELBO, IWAE, Reconstruction, Terms
from vae_anomaly.model.pca_init import fit_exemplar_init, fit_gaussian_init
from vae_anomaly.model.priors import ExemplarPrior, log_weights
from vae_anomaly.model.vae import LOG_VAR_RANGE, VAE

COLUMNS, LATENTS = 4, 2


@dataclass(frozen=True)
class LinearGaussian:
    """x = W z + mu + noise, with a posterior N(A (x - c), diag(exp(log_var))) that need not be the right one."""

    weights: np.ndarray  # (columns, latents)
    centre: np.ndarray
    noise: np.ndarray  # variance of each column
    encode: np.ndarray  # (latents, columns)
    offset: np.ndarray
    log_var: np.ndarray

    def evidence(self, x):
        return stats.multivariate_normal(self.centre, self.weights @ self.weights.T + np.diag(self.noise)).logpdf(x)

    def posterior(self, x):
        """Exact mean (rows, latents) and covariance of z given x."""
        covariance = np.linalg.inv(np.eye(LATENTS) + self.weights.T / self.noise @ self.weights)
        return (x - self.centre) / self.noise @ self.weights @ covariance, covariance

    def approximate(self, x):
        return x @ self.encode.T + self.offset, np.exp(self.log_var)

    def kl_to_prior(self, x):
        mean, variance = self.approximate(x)
        return kl_of_gaussians(mean, np.diag(variance), np.zeros_like(mean), np.eye(LATENTS))

    def kl_to_posterior(self, x):
        mean, variance = self.approximate(x)
        return kl_of_gaussians(mean, np.diag(variance), *self.posterior(x))

    def expected_log_likelihood(self, x):
        """Of each cell: E (x - Wz - mu)^2 is the square of its mean plus its variance."""
        mean, variance = self.approximate(x)
        square = (x - mean @ self.weights.T - self.centre) ** 2 + self.weights**2 @ variance
        return -0.5 * (square / self.noise + np.log(2 * np.pi * self.noise))

    def elbo(self, x):
        return self.expected_log_likelihood(x).sum(-1) - self.kl_to_prior(x)

    def with_exact_posterior(self):
        """The same model turned so that its exact posterior is diagonal, with an encoder that gives it."""
        _, _, turn = np.linalg.svd(self.weights / np.sqrt(self.noise)[:, None], full_matrices=False)
        weights = self.weights @ turn.T
        variance = 1 / (1 + (weights**2 / self.noise[:, None]).sum(0))
        encode = variance[:, None] * weights.T / self.noise
        return LinearGaussian(weights, self.centre, self.noise, encode, -encode @ self.centre, np.log(variance))


def kl_of_gaussians(mean, covariance, other_mean, other_covariance):
    """KL(N(mean, covariance) || N(other_mean, other_covariance)) of each row."""
    inverse = np.linalg.inv(other_covariance)
    away = mean - other_mean
    determinants = np.linalg.slogdet(other_covariance)[1] - np.linalg.slogdet(covariance)[1]
    mahalanobis = np.einsum("ri,ij,rj->r", away, inverse, away)
    return 0.5 * (np.trace(inverse @ covariance) + mahalanobis - len(covariance) + determinants)


def build(*models):
    """A VAE whose members are the linear-Gaussian models; its hidden paths are zero."""
    floor = 0.1
    vae = VAE(Gaussian((floor,) * COLUMNS), LATENTS, (3,), len(models)).double().requires_grad_(False)
    for member, model in enumerate(models):
        vae.encoder.linear.weight[member, :, :LATENTS] = torch.tensor(model.encode.T)
        vae.encoder.linear.bias[member, 0, :LATENTS] = torch.tensor(model.offset)
        vae.encoder.linear.bias[member, 0, LATENTS:] = torch.tensor(model.log_var)
        vae.decoder.linear.weight[member] = torch.tensor(model.weights.T)
        vae.decoder.linear.bias[member, 0] = torch.tensor(model.centre)
        vae.shared[member, 0] = torch.tensor(0.5 * np.log(model.noise - floor**2))
    return vae


def draw_model(rng):
    return LinearGaussian(
        weights=rng.standard_normal((COLUMNS, LATENTS)),
        centre=rng.standard_normal(COLUMNS),
        noise=rng.uniform(0.3, 1.0, COLUMNS),
        encode=0.3 * rng.standard_normal((LATENTS, COLUMNS)),
        offset=0.3 * rng.standard_normal(LATENTS),
        log_var=rng.uniform(-1.5, -0.5, LATENTS),
    )


@pytest.fixture
def models(rng):
    return draw_model(rng), draw_model(rng)


@pytest.fixture
def x(rng):
    return rng.standard_normal((6, COLUMNS))


def prior_of(vae):
    return vae.standard_normal()


def elbo_terms(vae, x, draws):
    return ELBO().terms(vae, torch.tensor(x), prior_of(vae), draws)


def each(models, verb, x):
    return np.stack([verb(model, x) for model in models])


def test_the_terms_of_the_elbo_are_their_closed_forms(models, x, sigma_points):
    terms = elbo_terms(build(*models), x, sigma_points(LATENTS))
    assert terms.cells.shape == (2, 6, COLUMNS)
    assert terms.kl.shape == (2, 6)
    assert_allclose(terms.cells, each(models, LinearGaussian.expected_log_likelihood, x), rtol=1e-10)
    assert_allclose(terms.kl, each(models, LinearGaussian.kl_to_prior, x), rtol=1e-10)
    assert_allclose(terms.elbo(), each(models, LinearGaussian.elbo, x), rtol=1e-10)


def test_the_gap_to_the_evidence_is_the_kl_to_the_exact_posterior(models, x, sigma_points):
    elbo = elbo_terms(build(*models), x, sigma_points(LATENTS)).elbo().numpy()
    gap = each(models, LinearGaussian.evidence, x) - elbo
    assert (gap > 0.01).all()
    assert_allclose(gap, each(models, LinearGaussian.kl_to_posterior, x), rtol=1e-9)


def test_with_the_exact_posterior_both_bounds_are_the_evidence(models, x, rng, sigma_points):
    exact = [model.with_exact_posterior() for model in models]
    vae, evidence = build(*exact), each(exact, LinearGaussian.evidence, x)
    assert_allclose(evidence, each(models, LinearGaussian.evidence, x), rtol=1e-10)
    assert_allclose(elbo_terms(vae, x, sigma_points(LATENTS)).elbo(), evidence, rtol=1e-9)
    for k in (1, 5):  # every draw's weight is the evidence itself
        draws = torch.tensor(rng.standard_normal((k, 1, 1, LATENTS)))
        assert_allclose(IWAE().score(vae, torch.tensor(x), prior_of(vae), draws), evidence, rtol=1e-9)


def test_the_elbo_of_many_draws_is_its_closed_form(models, x, rng):
    n = 20_000
    vae = build(*models)
    draws = torch.tensor(rng.standard_normal((n, 1, 1, LATENTS)))
    log_probs = vae.log_prob(
        torch.tensor(x), vae.encode(torch.tensor(x))[0] + torch.tensor(models[0].log_var / 2).exp() * draws
    )
    error = (log_probs.sum(-1).std(0) / n**0.5).numpy()[0]
    elbo = elbo_terms(vae, x, draws).elbo()[0].numpy()
    assert (abs(elbo - models[0].elbo(x)) < 4 * error).all()
    assert (error < 0.05).all()


def test_bounds_rise_with_their_draws_from_the_elbo_to_the_evidence(models, x, rng):
    """ELBO <= IWAE(k) <= log p(x), each in expectation (arXiv 1509.00519, theorem 1)."""
    repeats, vae = 4000, build(models[0])
    row = torch.tensor(x[:1]).expand(repeats, -1)  # one row many times over, each with draws of its own
    evidence, elbo = models[0].evidence(x[:1]).item(), models[0].elbo(x[:1]).item()
    estimates, errors = [], []
    for k in (1, 2, 8, 64):
        draws = torch.tensor(rng.standard_normal((k, 1, repeats, LATENTS)))
        bounds = IWAE().score(vae, row, prior_of(vae), draws)[0]
        estimates.append(bounds.mean().item())
        errors.append(bounds.std().item() / repeats**0.5)
        if k == 64:  # the mean of the weights is unbiased: E exp(IWAE) = p(x)
            ratios = (bounds - evidence).exp()
            assert abs(ratios.mean() - 1) < 4 * ratios.std() / repeats**0.5
    assert abs(estimates[0] - elbo) < 4 * errors[0], "one draw: the ELBO"
    steps, step_errors = np.diff([*estimates, evidence]), np.hypot(errors, [*errors[1:], 0])
    assert (steps > 2 * step_errors).all(), "each bound is tighter than the one before, none passes the evidence"
    assert evidence - estimates[-1] < 0.1 * (evidence - elbo)


def test_many_draws_reach_the_evidence(models, x, rng):
    wide = [replace(model, log_var=np.full(LATENTS, 0.1)) for model in models]  # so that the weights have a variance
    vae = build(*wide)
    draws = torch.tensor(rng.standard_normal((50_000, 1, 1, LATENTS)))
    bound = IWAE().score(vae, torch.tensor(x), prior_of(vae), draws)
    assert_allclose(bound, each(wide, LinearGaussian.evidence, x), atol=0.05)


def test_an_exemplar_model_reaches_its_evidence_too(models, x, rng):
    """Under an exemplar prior p(x) is a mixture: of Gaussians around what each exemplar's code decodes to."""
    wide = [replace(model, log_var=np.full(LATENTS, 0.5)) for model in models]
    vae, counts = build(*wide), np.array([0.0, 2, 1, 1, 3])
    means, scale = rng.standard_normal((2, 5, LATENTS)), np.array([[0.6], [1.0]])
    prior = ExemplarPrior(
        torch.tensor(means), torch.tensor(np.log(scale))[:, None], log_weights(torch.tensor(counts)[None, None])
    )
    draws = torch.tensor(rng.standard_normal((10_000, 1, 1, LATENTS)))
    elbo = ELBO().terms(vae, torch.tensor(x), prior, draws).elbo().numpy()
    bound = IWAE().score(vae, torch.tensor(x), prior, draws)
    for member, model in enumerate(wide):
        spread = model.weights * scale[member] ** 2 @ model.weights.T + np.diag(model.noise)
        centres = means[member] @ model.weights.T + model.centre
        densities = [stats.multivariate_normal(centre, spread).pdf(x) for centre in centres]
        evidence = np.log(counts @ np.array(densities) / counts.sum())
        assert_allclose(bound[member], evidence, atol=0.1)
        assert (elbo[member] < evidence - 0.1).all()


def test_with_one_exemplar_and_the_exact_posterior_the_elbo_is_the_evidence(x, rng, sigma_points):
    """Under a single kernel N(c, h^2 I) the model is linear and Gaussian, and the KL is no mere bound."""
    model, code, scale = draw_model(rng), rng.standard_normal(LATENTS), 0.7
    moved = replace(model, centre=model.centre + model.weights @ code, weights=scale * model.weights)  # z = c + h u
    exact = moved.with_exact_posterior()
    inner = replace(
        exact, weights=exact.weights / scale, encode=scale * exact.encode, log_var=exact.log_var + 2 * np.log(scale)
    )
    turned = code @ np.linalg.lstsq(model.weights, inner.weights, rcond=None)[0]  # the exemplar in the turned latents
    inner = replace(inner, centre=model.centre, offset=scale * exact.offset + turned)
    prior = ExemplarPrior(
        torch.tensor(turned)[None, None], torch.tensor([[[np.log(scale)]]]), torch.zeros(1, 1, 1).double()
    )
    elbo = ELBO().terms(build(inner), torch.tensor(x), prior, sigma_points(LATENTS)).elbo()[0]
    spread = scale**2 * model.weights @ model.weights.T + np.diag(model.noise)
    evidence = stats.multivariate_normal(model.centre + model.weights @ code, spread).logpdf(x)
    assert_allclose(elbo, evidence, rtol=1e-9)


def test_the_elbo_never_passes_the_evidence_of_any_net_by_integration(rng):
    """One latent, any weights, exemplars far and near: log p(x) = log of the integral of p(x|z) p(z)."""
    vae = VAE(Gaussian((0.2, 0.2)), 1, (4,), 3).double().requires_grad_(False)
    for parameter in vae.parameters():
        parameter.copy_(torch.tensor(0.7 * rng.standard_normal(parameter.shape)))
    x, grid = torch.tensor(rng.standard_normal((12, 2))), torch.linspace(-25, 25, 20_001).double()
    counts = torch.tensor([[[1.0, 2, 1, 3]]]).double()
    prior = ExemplarPrior(torch.tensor(2 * rng.standard_normal((3, 4, 1))), vae.log_bandwidth, log_weights(counts))
    z = grid[:, None, None, None].expand(-1, 3, 12, 1)
    log_joint = vae.log_prob(x, z).sum(-1) + prior.log_prob(z)
    evidence = np.log(integrate.simpson(log_joint.exp().numpy(), x=grid.numpy(), axis=0))
    levels = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)  # evenly spread draws: Monte Carlo without its noise
    elbo = ELBO().terms(vae, x, prior, torch.tensor(levels)[:, None, None, None]).elbo().numpy()
    assert np.isfinite(evidence).all()
    assert (elbo < evidence).all()


def test_the_bound_of_one_draw_is_the_elbo_but_for_the_kl_of_that_draw(models, x, rng):
    """With an exemplar prior the ELBO bounds its KL in closed form; the weights use the draw's own log ratio."""
    vae = build(*models)
    means, scale = rng.standard_normal((2, 5, LATENTS)), np.exp(-0.3)
    prior = ExemplarPrior(
        torch.tensor(means), torch.tensor(np.full((2, 1, 1), -0.3)), log_weights(torch.ones(1, 1, 5).double())
    )
    draws = rng.standard_normal((1, 1, 1, LATENTS))
    elbo = ELBO().terms(vae, torch.tensor(x), prior, torch.tensor(draws)).elbo()
    bound = IWAE().score(vae, torch.tensor(x), prior, torch.tensor(draws))
    for member, model in enumerate(models):
        mean, variance = model.approximate(x)
        z = mean + np.sqrt(variance) * draws[0, 0, 0]
        kernels = [stats.multivariate_normal(code, scale**2).logpdf(z) for code in means[member]]
        ratio = stats.norm.logpdf(z, mean, np.sqrt(variance)).sum(-1) - logsumexp(kernels, b=1 / 5, axis=0)
        square = scale**2 * np.eye(LATENTS)
        kls = [kl_of_gaussians(mean, np.diag(variance), np.broadcast_to(c, mean.shape), square) for c in means[member]]
        kl = -logsumexp(-np.array(kls), b=1 / 5, axis=0)
        assert_allclose(bound[member] - elbo[member], kl - ratio, rtol=1e-9)


def test_beta_weighs_the_kl(models, x, sigma_points):
    terms = elbo_terms(build(*models), x, sigma_points(LATENTS))
    cells, kl = (
        each(models, LinearGaussian.expected_log_likelihood, x).sum(-1),
        each(models, LinearGaussian.kl_to_prior, x),
    )
    for beta in (0.0, 0.5, 1.0, 4.0):
        assert_allclose(terms.elbo(beta), cells - beta * kl, rtol=1e-10)
    assert (kl > 0.1).all()
    assert torch.equal(terms.elbo(), terms.elbo(1.0))


def test_terms_are_sums_over_cells_never_means():
    terms = Terms(torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[3.0]]))
    assert terms.elbo(2.0).item() == 1 + 2 + 4 - 2 * 3


def test_missing_cells_leave_the_elbo_of_the_others(models, x, sigma_points):
    vae = build(*models)
    hole, filled = x.copy(), x.copy()
    hole[:, 1], filled[:, 1] = np.nan, 0.0  # the encoder sees a zero
    terms, whole = elbo_terms(vae, hole, sigma_points(LATENTS)), elbo_terms(vae, filled, sigma_points(LATENTS))
    assert (terms.cells[..., 1] == 0).all()
    assert torch.equal(terms.cells[..., [0, 2, 3]], whole.cells[..., [0, 2, 3]])
    assert torch.equal(terms.kl, whole.kl)
    assert not torch.equal(terms.kl, elbo_terms(vae, x, sigma_points(LATENTS)).kl)


def test_gradients_are_finite_with_missing_cells_and_match_finite_differences(models, rng, sigma_points):
    x = torch.tensor(rng.standard_normal((3, COLUMNS)))
    x[0, 1] = x[2] = torch.nan
    vae = build(models[0])
    means = torch.tensor(rng.standard_normal((1, 4, LATENTS)))
    weights = torch.tensor(1 - np.eye(4)[None, :3])
    names, values = zip(
        *((n, torch.tensor(0.3 * rng.standard_normal(p.shape))) for n, p in vae.named_parameters()), strict=True
    )

    def loss(*parameters):
        state = dict(zip(names, parameters, strict=True))
        prior = ExemplarPrior(means, state["log_bandwidth"], log_weights(weights))
        terms = torch.func.functional_call(
            Whole(vae), {f"vae.{n}": p for n, p in state.items()}, (x, prior, sigma_points(LATENTS))
        )
        return terms.elbo()

    assert torch.autograd.gradcheck(loss, [value.requires_grad_() for value in values])


class Whole(torch.nn.Module):
    """The ELBO as a module, for torch.func."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, x, prior, draws):
        return ELBO().terms(self.vae, x, prior, draws)


# -- the plain autoencoder --


def test_reconstruction_is_the_squared_distance_without_kl_or_draws(models, x, rng):
    gaussian = build(*models)
    vae = VAE(SquaredError(Gaussian((0.1,) * COLUMNS)), LATENTS, (3,), 2).double().requires_grad_(False)
    vae.encoder, vae.decoder = gaussian.encoder, gaussian.decoder
    terms, again = (
        Reconstruction().terms(
            vae, torch.tensor(x), prior_of(vae), torch.tensor(rng.standard_normal((k, 1, 1, LATENTS)))
        )
        for k in (1, 3)
    )
    for member, model in enumerate(models):
        mean, _ = model.approximate(x)
        distance = np.linalg.norm(x - mean @ model.weights.T - model.centre, axis=-1) ** 2
        assert_allclose(terms.elbo()[member], -distance, rtol=1e-10)
    assert terms.cells.shape == (2, 6, COLUMNS)
    assert (terms.kl == 0).all()
    assert terms.kl.shape == (2, 6)
    assert torch.equal(terms.cells, again.cells)


# -- members --

MIXED = Mixed((Gaussian((0.05,) * 2), StudentT((0.05,)), Bernoulli(1, 0.01)), indicators=(0,))


def scrambled_vae(members, rng):
    vae = VAE(MIXED, LATENTS, (5, 4), members).double()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(torch.tensor(0.4 * rng.standard_normal(parameter.shape)))
    return vae


@pytest.fixture
def mixed_x(rng):
    x = np.column_stack([rng.standard_normal((6, 3)), rng.integers(0, 3, 6)])
    x[0, 0] = x[1, 3] = np.nan
    return torch.tensor(x)


def exemplars_of(vae, x, weights):
    return ExemplarPrior(vae.encode(x)[0], vae.log_bandwidth, log_weights(weights))


def bounds_and_gradients(vae, x, draws):
    prior = exemplars_of(vae, x, torch.tensor(1 - np.eye(6))[None])
    vae.zero_grad()
    elbo, iwae = ELBO().terms(vae, x, prior, draws).elbo(), IWAE().score(vae, x, prior, draws)
    (elbo + iwae).sum().backward()
    return elbo.detach(), iwae.detach(), [parameter.grad.clone() for parameter in vae.parameters()]


def test_members_do_not_touch_one_another(mixed_x, rng):
    vae, draws = scrambled_vae(3, rng), torch.tensor(rng.standard_normal((4, 1, 1, LATENTS)))
    elbo, iwae, gradients = bounds_and_gradients(vae, mixed_x, draws)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter[1] += 0.1
    moved_elbo, moved_iwae, moved_gradients = bounds_and_gradients(vae, mixed_x, draws)
    for before, after in [(elbo, moved_elbo), (iwae, moved_iwae), *zip(gradients, moved_gradients, strict=True)]:
        assert torch.equal(after[[0, 2]], before[[0, 2]])
        assert not torch.equal(after[1], before[1])


def test_a_member_scores_as_a_model_of_its_own(mixed_x, rng):
    vae, draws = scrambled_vae(3, rng), torch.tensor(rng.standard_normal((4, 1, 1, LATENTS)))
    elbo, iwae, _ = bounds_and_gradients(vae, mixed_x, draws)
    for member in range(3):
        alone = VAE(MIXED, LATENTS, (5, 4), 1).double()
        alone.load_state_dict({name: tensor[member : member + 1] for name, tensor in vae.state_dict().items()})
        own_elbo, own_iwae, _ = bounds_and_gradients(alone, mixed_x, draws)
        assert_allclose(own_elbo[0], elbo[member], rtol=1e-10)
        assert_allclose(own_iwae[0], iwae[member], rtol=1e-10)


# -- the model's own seams --


def test_the_decoder_mirrors_the_encoder():
    vae = VAE(MIXED, LATENTS, (5, 4), 1)
    widths = [[layer.weight.shape[-1] for layer in net.hidden] for net in (vae.encoder, vae.decoder)]
    assert widths == [[5, 4], [4, 5]]


def test_rows_and_draws_are_decoded_each_alone(mixed_x, rng):
    vae = scrambled_vae(3, rng)
    z = torch.tensor(rng.standard_normal((4, 3, 6, LATENTS)))
    whole = vae.decode(z)
    assert whole.shape == (4, 3, 6, MIXED.n_outputs)
    for draw, row in np.ndindex(4, 6):
        alone = vae.decoder(z[draw, :, row : row + 1])
        assert_allclose(whole[draw, :, row : row + 1].detach(), alone.detach(), rtol=1e-12)
    log_prob = vae.log_prob(mixed_x, z)
    assert log_prob.shape == (4, 3, 6, 4)
    expected = MIXED.log_prob(mixed_x[2], whole[1, 2, 2], vae.shared[2, 0])
    assert_allclose(log_prob[1, 2, 2].detach(), expected.detach(), rtol=1e-12)


def test_rows_may_differ_by_member(mixed_x, rng):
    vae = scrambled_vae(3, rng)
    per_member = torch.stack([mixed_x, mixed_x.flip(0), mixed_x])
    mean, log_var = vae.encode(per_member)
    shared_mean, shared_log_var = vae.encode(mixed_x)
    assert torch.equal(mean[[0, 2]], shared_mean[[0, 2]])
    assert_allclose(mean[1].detach(), shared_mean[1].flip(0).detach(), rtol=1e-12)
    assert_allclose(log_var[1].detach(), shared_log_var[1].flip(0).detach(), rtol=1e-12)


def test_log_variance_stays_in_its_range(mixed_x, rng):
    vae = scrambled_vae(1, rng).requires_grad_(False)
    vae.encoder.linear.bias[..., LATENTS:] = torch.tensor([-1e3, 1e3])
    mean, log_var = vae.encode(mixed_x)
    assert_allclose(log_var[0], np.broadcast_to(LOG_VAR_RANGE, (6, 2)))
    assert mean.abs().max() < 100


@pytest.mark.parametrize("numbers", [Gaussian, StudentT])
@pytest.mark.parametrize("prior_name", ["gaussian", "exemplar"])
@pytest.mark.parametrize("hidden", ["fresh", "any weights", "no PCA"])
def test_farther_rows_are_more_anomalous(numbers, prior_name, hidden, rng, generator):
    """Along every ray the score falls without end: no far point looks familiar."""
    x = torch.tensor(rng.standard_normal((40, 3)) @ rng.standard_normal((3, 5)))
    vae = VAE(numbers((1e-3,) * 5), 3, (8, 8), 2).double().requires_grad_(False)
    inits = {
        "gaussian": [fit_gaussian_init(x, 3, seed=0)] * 2,
        "exemplar": [fit_exemplar_init(x, 3, member, seed=0) for member in range(2)],
    }
    vae.start([] if hidden == "no PCA" else inits[prior_name], x, generator)
    if hidden == "any weights":
        vae.encoder.last.initialise(generator)
        vae.decoder.last.initialise(generator)
    prior = vae.standard_normal() if prior_name == "gaussian" else exemplars_of(vae, x, torch.ones(1, 1, 40).double())
    draws = torch.tensor(rng.standard_normal((3, 1, 1, 3)))
    rays = torch.cat([torch.eye(5), -torch.eye(5), x[:4], torch.tensor(rng.standard_normal((4, 5)))])
    distances = 10.0 ** torch.arange(2, 7).double()
    scores = torch.stack([ELBO().terms(vae, distance * rays, prior, draws).elbo() for distance in distances])
    assert scores.isfinite().all()
    if hidden != "no PCA":  # else it knows only the marginals, and many small deviations may outweigh a large one
        assert (scores[0] < ELBO().terms(vae, x, prior, draws).elbo().min()).all()
    assert (scores.diff(dim=0) < -1).all()
