"""A model that takes the weights of one with fewer category codes: the same for every row that has old codes."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from vae_anomaly.model.likelihoods import Bernoulli, Categorical, Gaussian, Mixed, SquaredError
from vae_anomaly.model.vae import VAE

SHARES = {2: torch.tensor([0.2, 0.05], dtype=torch.float64), 4: torch.tensor([0.1], dtype=torch.float64)}


def model(n_codes, *, variational=True):
    """A number, of which an indicator says where it is missing, a flag, and three categories."""
    blocks = [Gaussian((0.05,)), Bernoulli(1, 0.01)]
    blocks += [Categorical(n, 0.01, (0.0,) * n) for n in n_codes]
    if not variational:
        blocks = [SquaredError(block) for block in blocks]
    return VAE(Mixed(tuple(blocks), (0,)), 2, (6, 5), 3).double()


@pytest.fixture
def x(rng):
    """Rows with the codes of the smaller model, some cells missing, some codes unseen by both models."""
    n_rows = 400
    cells = np.column_stack(
        [rng.normal(size=n_rows), rng.integers(2, size=n_rows), *(rng.integers(n, size=n_rows) for n in (3, 2, 4))]
    )
    cells[::9, 0] = cells[::7, 3] = np.nan
    return torch.tensor(cells)


@pytest.fixture
def grown(rng, x):
    def make(**changes):
        small, large = model((3, 2, 4), **changes), model((5, 2, 5), **changes)
        with torch.no_grad():
            for parameter in small.parameters():
                parameter.copy_(torch.tensor(0.5 * rng.standard_normal(parameter.shape)))
        large.grow_from(small, x, SHARES)
        return small, large

    return make


@pytest.mark.parametrize("variational", [True, False])
def test_rows_of_old_codes_are_encoded_and_decoded_as_before(grown, x, variational):
    small, large = grown(variational=variational)
    for before, after in zip(small.encode(x), large.encode(x), strict=True):
        assert_allclose(after.detach(), before.detach(), rtol=1e-12, atol=1e-14)
    mean = small.encode(x)[0][None]
    widths = [block.n_outputs for block in large.likelihood.blocks]
    old_widths = [block.n_outputs for block in small.likelihood.blocks]
    parts = large.decode(mean).detach().split(widths, -1)
    wanted = small.decode(mean).detach().split(old_widths, -1)
    for part, old, width in zip(parts, wanted, old_widths, strict=True):
        assert_allclose(part[..., :width], old, rtol=1e-12, atol=1e-14)
    assert_allclose(large.shared.detach(), small.shared.detach())
    assert_allclose(large.log_bandwidth.detach(), small.log_bandwidth.detach())


def test_a_new_code_is_encoded_as_the_average_of_the_known_ones(grown, x):
    """Not as an unseen value was, which is no code: then unseen values would become normal with the new code."""
    small, large = grown()
    known = {2: (slice(2, 5), slice(5, 7)), 4: (slice(7, 11), slice(13, 14))}
    for layer, other in (
        (large.encoder.linear, small.encoder.linear),
        (large.encoder.hidden[0], small.encoder.hidden[0]),
    ):
        for cell, (old, new) in known.items():
            shares = np.bincount(x[:, cell].long()) / len(x)
            average = np.einsum("k,mkl->ml", shares, other.weight[:, old].detach().numpy())
            for weights in layer.weight[:, new].detach().numpy().swapaxes(0, 1):
                assert_allclose(weights, average, rtol=1e-12)


def test_a_new_code_has_its_share_and_the_others_lose_as_much(grown, x):
    small, large = grown()
    z = small.encode(x)[0][None]
    for cell, shares in SHARES.items():
        for code, share in enumerate(shares.tolist(), 3 if cell == 2 else 4):
            new = x.clone()
            new[:, cell] = float(code)
            probability = large.log_prob(new, z)[..., cell].exp().mean()
            assert probability.item() == pytest.approx(share, rel=0.3)
        lost = (large.log_prob(x, z) - small.log_prob(x, z))[..., cell].mean()
        assert lost.item() == pytest.approx(np.log1p(-shares.sum().item()), abs=0.03)
    for cell in (0, 1, 3):
        assert_allclose(large.log_prob(x, z)[..., cell].detach(), small.log_prob(x, z)[..., cell].detach(), rtol=1e-12)


def test_a_plain_autoencoder_starts_at_the_mean_of_the_new_features(grown, x):
    _, large = grown(variational=False)
    outputs = large.decode(large.encode(x)[0][None])  # number, flag, five codes, two codes, five codes
    assert_allclose(outputs[..., [5, 6, 13]].detach(), torch.tensor([0.2, 0.05, 0.1]).expand(1, 3, 400, 3), rtol=1e-6)


def test_a_grown_model_learns_the_new_code(grown, x):
    """Weights of new features and outputs are not stuck at zero."""
    _, large = grown()
    new = x.clone()
    new[:, 2] = 3.0
    z = large.encode(new)[0]
    large.log_prob(new, z[None]).sum().backward()
    assert (large.encoder.linear.weight.grad[:, 5, :2] != 0).all()
    assert (large.encoder.hidden[0].weight.grad[:, 5] != 0).any()
    assert (large.decoder.linear.weight.grad[..., 5] != 0).all()
