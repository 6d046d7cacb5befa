import numpy as np
import pytest
import torch


@pytest.fixture
def rng():
    return np.random.default_rng(20260117)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(20260117)


@pytest.fixture
def sigma_points():
    """Draws whose plain mean integrates quadratics over a standard normal exactly: +-sqrt(d) on each of d axes."""

    def points(latents):
        axes = np.sqrt(latents) * torch.eye(latents, dtype=torch.float64)
        return torch.cat([axes, -axes])[:, None, None]  # (draws, members, rows, latents)

    return points
