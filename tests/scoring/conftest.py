import numpy as np
import pytest
import torch

from vae_anomaly.model.likelihoods import Gaussian, Mixed
from vae_anomaly.model.objectives import ELBO
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.scorer import make_scorer


@pytest.fixture
def rng():
    return np.random.default_rng(20260117)


@pytest.fixture(scope="session")
def vae():
    """Two members of three cells and two latents, all weights drawn at random."""
    generator = torch.Generator().manual_seed(1)
    model = VAE(Mixed((Gaussian((0.05, 0.05, 0.05)),)), 2, (5,), 2).double()
    for parameter in model.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


@pytest.fixture
def scorer_of(vae, rng):
    """A scorer on the exemplars of some rows."""

    def make(x, **changes):
        settings = {
            "exemplars": True,
            "starts_at_pca": True,
            "leave_one_out": False,
            "contamination": "auto",
            "n_draws": 4,
            "dtype": torch.float64,
        }
        return make_scorer(vae, ELBO(), x, rng=rng, **{**settings, **changes})

    return make
