import numpy as np
import pytest
import torch

from vae_anomaly.training.trainer import FENCE, FenceTrimming, FixedTrimming


@pytest.fixture
def elbo():
    """ELBO of ten rows for three members, each with odd rows of its own."""
    values = np.random.default_rng(0).normal(size=(3, 10))
    values[1, 4] = -50.0
    values[2, [0, 9]] = -80.0, -90.0
    return torch.tensor(values, requires_grad=True)


@pytest.mark.parametrize("share, kept", [(0.0, 10), (0.05, 10), (0.15, 9), (0.2, 8), (0.5, 5)])
def test_a_fraction_leaves_out_the_worst_rows_of_each_members_batch(elbo, share, kept):
    weights = FixedTrimming(share).weights(elbo)
    for member in range(3):
        order = elbo[member].detach().argsort(descending=True)
        assert (weights[member][order[:kept]] == 1 / kept).all()
        assert (weights[member][order[kept:]] == 0).all()


def test_a_fence_leaves_out_the_rows_far_below_their_batch(elbo):
    weights = FenceTrimming().weights(elbo)
    for row, found in zip(elbo.detach().numpy(), weights.numpy(), strict=True):
        low, high = np.quantile(row, [0.25, 0.75])
        kept = row >= low - FENCE * (high - low)
        np.testing.assert_allclose(found, kept / kept.sum())
    assert weights[1, 4] == weights[2, 0] == weights[2, 9] == 0


@pytest.mark.parametrize("rule", [FixedTrimming(0.0), FixedTrimming(0.5), FenceTrimming()], ids=str)
def test_weights_add_up_to_one_and_which_rows_count_is_not_learned(elbo, rule):
    weights = rule.weights(elbo)
    assert not weights.requires_grad
    torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("rule", [FixedTrimming(0.5), FenceTrimming()], ids=str)
def test_a_batch_of_one_row_or_of_rows_all_alike_is_never_left_out_whole(rule):
    assert rule.weights(torch.tensor([[-1e9]])).item() == 1
    torch.testing.assert_close(rule.weights(torch.full((2, 6), -3.0)).sum(1), torch.ones(2))
