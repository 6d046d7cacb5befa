import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly.model.likelihoods import Gaussian, Mixed
from vae_anomaly.model.objectives import ELBO
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring import impute
from vae_anomaly.scoring import scorer as scoring
from vae_anomaly.scoring.impute import fill_missing
from vae_anomaly.scoring.scorer import Scorer

EVERYWHERE = np.full(3, -np.inf), np.full(3, np.inf)


@pytest.fixture
def scorer(vae, rng):
    return Scorer(vae, ELBO(), torch.tensor(rng.standard_normal((2, 2))), None, leave_one_out=False)


@pytest.fixture
def table(rng):
    x = rng.normal(size=(40, 3))
    x[rng.random(x.shape) < 0.4] = np.nan
    return x


def linear(directions, noise):
    """A model whose encoder is the exact posterior of factor analysis with these directions: x = z W + noise."""
    model = VAE(Mixed((Gaussian((1e-6,) * directions.shape[1]),)), len(directions), (4,), 1).double()
    precision = np.eye(len(directions)) + directions @ directions.T / noise**2
    with torch.no_grad():
        model.encoder.linear.weight[0, :, : len(directions)] = torch.tensor(
            directions.T @ np.linalg.inv(precision) / noise**2
        )
        model.decoder.linear.weight[0] = torch.tensor(directions)
    return model


def test_observed_cells_stay_to_the_bit_and_no_cell_is_missing(scorer, table):
    filled = fill_missing(scorer, table, *EVERYWHERE)
    seen = ~np.isnan(table)
    assert_array_equal(filled[seen], table[seen])
    assert np.isfinite(filled).all()


def test_with_one_round_a_missing_cell_is_decoded_from_the_latent_means_by_all_members(scorer, table, monkeypatch):
    monkeypatch.setattr(impute, "ROUNDS", 1)
    vae = scorer.vae
    with torch.no_grad():
        means, _ = vae.encode(torch.tensor(table))
        expected = vae.decode(means[None])[0].mean(0).numpy()
    missing = np.isnan(table)
    assert_allclose(fill_missing(scorer, table, *EVERYWHERE)[missing], expected[missing], rtol=1e-12)


def test_the_rounds_come_to_the_conditional_expectation_of_a_linear_model(rng, monkeypatch):
    """Their fixed point given exact posteriors: the missing cells decoded from the latents of all cells."""
    monkeypatch.setattr(impute, "ROUNDS", 2000)
    directions = np.array([[1.0, -2.0, 0.5], [0.3, 0.4, 1.5]])
    scorer = Scorer(linear(directions, 0.2), ELBO(), torch.zeros(1, 2).double(), None, leave_one_out=False)
    covariance = directions.T @ directions + 0.2**2 * np.eye(3)
    x = rng.multivariate_normal(np.zeros(3), covariance, 20)
    gone = x.copy()
    gone[:, 2] = np.nan
    expected = x[:, :2] @ np.linalg.solve(covariance[:2, :2], covariance[:2, 2])
    assert_allclose(fill_missing(scorer, gone, *EVERYWHERE)[:, 2], expected, rtol=1e-6)


def test_filled_cells_stay_within_the_ranges_of_training(scorer, table):
    low, high = np.array([-0.1, -0.2, 0.0]), np.array([0.1, 0.05, 0.0])
    filled, missing = fill_missing(scorer, table, low, high), np.isnan(table)
    assert ((filled >= low) & (filled <= high))[missing].all()


def test_a_row_is_filled_the_same_in_whatever_batch(scorer, table, monkeypatch):
    wanted = fill_missing(scorer, table, *EVERYWHERE)
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 1)
    assert_allclose(fill_missing(scorer, table[::-1].copy(), *EVERYWHERE)[::-1], wanted, rtol=1e-10)
