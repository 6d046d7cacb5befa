import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from vae_anomaly.model.likelihoods import Gaussian, Mixed
from vae_anomaly.model.objectives import ELBO, IWAE, Reconstruction
from vae_anomaly.model.priors import ExemplarPrior
from vae_anomaly.model.vae import VAE

FEATURES, MEMBERS = 4, 2


@pytest.fixture
def rotated():
    """A model whose encoder turns the features around and whose decoder turns them back; no hidden path."""
    vae = VAE(Mixed((Gaussian((0.05,) * FEATURES),)), FEATURES, [3], MEMBERS).double()
    turn = torch.linalg.qr(torch.randn(FEATURES, FEATURES, generator=torch.Generator().manual_seed(0)).double())[0]
    with torch.no_grad():
        vae.encoder.linear.weight[:, :, :FEATURES] = turn
        vae.decoder.linear.weight[:] = turn.T
        vae.encoder.linear.bias[..., FEATURES:] = -2.0
    return vae.requires_grad_(False)


@pytest.fixture
def x():
    return torch.as_tensor(np.random.default_rng(1).normal(size=(5, FEATURES)))


NO_DRAWS = torch.zeros(1, 1, 1, FEATURES).double()


def test_the_terms_and_the_score_are_those_of_the_objective(rotated, x):
    draws = torch.linspace(-1, 1, 2 * FEATURES).double().reshape(2, 1, 1, FEATURES)
    for objective in (ELBO(), IWAE(), Reconstruction()):
        cells, carried, score = objective.attributed(rotated, x, rotated.standard_normal(), draws)
        assert_allclose(cells, objective.terms(rotated, x, rotated.standard_normal(), draws).cells, rtol=1e-12)
        assert_allclose(score, objective.score(rotated, x, rotated.standard_normal(), draws), rtol=1e-12)
        assert carried.any() == (objective != Reconstruction())


def test_under_a_standard_normal_features_carry_the_distance_of_the_latents_from_zero(rotated, x):
    """The encoder only turns: |m|^2 / 2 is |f|^2 / 2, so each feature carries half its own square."""
    _, carried, _ = ELBO().attributed(rotated, x, rotated.standard_normal(), NO_DRAWS)
    assert_allclose(carried, (0.5 * x**2).expand(MEMBERS, -1, -1), rtol=1e-9, atol=1e-12)


def test_under_one_exemplar_features_carry_their_distance_from_it_in_bandwidths(rotated, x):
    exemplar = torch.tensor([[0.5, -1.0, 2.0, 0.0]]).double()
    means, _ = rotated.encode(exemplar)
    bandwidth = torch.full((MEMBERS, 1, 1), 0.4, dtype=torch.double)
    prior = ExemplarPrior(means, bandwidth.log(), torch.zeros(1, 1, 1).double())
    _, carried, _ = ELBO().attributed(rotated, x, prior, NO_DRAWS)
    wanted = 0.5 * (x - exemplar) ** 2 / 0.4**2
    assert_allclose(carried, wanted.expand(MEMBERS, -1, -1), rtol=1e-9)


def test_between_two_exemplars_the_expected_row_is_their_weighted_mean(rotated, x):
    pair = torch.tensor([[1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]]).double()
    means, _ = rotated.encode(pair)
    prior = ExemplarPrior(
        means, torch.zeros(MEMBERS, 1, 1).double(), torch.full((1, 1, 2), -np.log(2), dtype=torch.double)
    )
    _, carried, _ = ELBO().attributed(rotated, x, prior, NO_DRAWS)
    centre = torch.zeros_like(x)
    centre[:, 0] = torch.tanh(x[:, 0])  # weights exp(+x) and exp(-x)
    assert_allclose(carried, (0.5 * (x - centre) ** 2).expand(MEMBERS, -1, -1), rtol=1e-9, atol=1e-12)
