import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from vae_anomaly.fit import summarise_latents


def divergence(mean, variance, centre, total):
    """KL between two normal densities, by quadrature."""
    z = np.linspace(-12, 12, 40_001)
    q, p = stats.norm(mean, np.sqrt(variance)), stats.norm(centre, np.sqrt(total))
    return np.trapezoid(q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), z)


@pytest.fixture
def posterior(rng):
    return rng.normal([0.5, -1, 0], [1, 0.7, 0.01], (30, 3)), rng.uniform(0.05, 0.9, (30, 3))


def test_under_a_standard_normal_prior_the_kl_of_each_latent_is_that_of_its_posterior(posterior):
    means, variances = posterior
    each = [[divergence(m, v, 0, 1) for m, v in zip(*row, strict=True)] for row in zip(means, variances, strict=True)]
    assert_allclose(summarise_latents(means, variances, standard=True).kl, np.mean(each, 0), rtol=1e-6)


def test_under_exemplars_it_is_the_kl_to_a_normal_density_of_the_latents_own_moments(posterior):
    means, variances = posterior
    centre, total = means.mean(0), means.var(0) + variances.mean(0)
    each = [
        [divergence(m, v, c, t) for m, v, c, t in zip(*row, centre, total, strict=True)]
        for row in zip(means, variances, strict=True)
    ]
    found = summarise_latents(means, variances, standard=False)
    assert_allclose(found.kl, np.mean(each, 0), rtol=1e-6)
    assert_allclose(found.reach, np.sqrt(total))
    assert_allclose(found.mean, centre)


def test_a_latent_is_active_if_it_distinguishes_rows(rng):
    means, noise = rng.normal(size=(200, 3)) * [1.0, 0.2, 0.01], np.tile([0.1, 0.9, 1.0], (200, 1))
    assert summarise_latents(means, noise, standard=True).active.tolist() == [True, True, False]


def test_a_plain_autoencoder_has_no_posterior_deviation_and_no_kl(rng):
    means = np.column_stack([rng.normal(size=20), np.full(20, 3.0)])
    found = summarise_latents(means, np.zeros((20, 2)), standard=False)
    assert found.kl == found.posterior_std == [0.0, 0.0]
    assert found.active.tolist() == [True, False]
    assert (found.reach > 0).all()
