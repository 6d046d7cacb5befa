"""Nets of all members against a loop over the members, and their behaviour before training."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import expit

from vae_anomaly.model.networks import HIDDEN_INPUT_LIMIT, MemberLinear, SkipNet


def scramble(module, rng, size=0.5):
    """Every weight drawn, the last layer too."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.tensor(size * rng.standard_normal(parameter.shape)))
    return module


@pytest.fixture
def x(rng):
    return torch.tensor(rng.standard_normal((3, 7, 4)))


@pytest.fixture
def net(rng):
    return scramble(SkipNet(3, 4, (6, 5), 2).double(), rng)


def slow_net(net, member, x):
    """One member's net in numpy."""

    def affine(layer, h):
        return h @ layer.weight[member].detach().numpy() + layer.bias[member].detach().numpy()

    h = np.clip(x, -HIDDEN_INPUT_LIMIT, HIDDEN_INPUT_LIMIT)
    for layer in net.hidden:
        h = affine(layer, h)
        h = h * expit(h)
    return affine(net.linear, x) + affine(net.last, h)


def test_member_linear_is_a_loop_of_matrix_products(x, rng):
    layer = scramble(MemberLinear(3, 4, 2).double(), rng)
    actual = layer(x).detach().numpy()
    for member in range(3):
        for row in range(7):
            product = layer.weight[member].detach().numpy().T @ x[member, row].numpy()
            assert_allclose(actual[member, row], product + layer.bias[member, 0].detach().numpy(), rtol=1e-12)


def test_skip_net_is_a_loop_over_members(net, x):
    actual = net(x).detach().numpy()
    for member in range(3):
        assert_allclose(actual[member], slow_net(net, member, x[member].numpy()), rtol=1e-12)


def test_after_training_the_numbers_are_the_same_and_the_columns_contiguous(net, x):
    trained, frozen = net(x).detach(), net.eval()(x).detach()
    assert_allclose(frozen, trained, rtol=1e-12)
    assert trained.stride(-1) == frozen.stride(-2) == 1


def test_hidden_widths_follow_one_another():
    shapes = [tuple(layer.weight.shape) for layer in SkipNet(2, 3, (8, 5), 4).hidden]
    assert shapes == [(2, 3, 8), (2, 8, 5)]


def test_members_are_independent(net, x):
    def outputs_and_gradients():
        net.zero_grad()
        out = net(x)
        out.square().sum().backward()
        return out.detach(), [p.grad.clone() for p in net.parameters()]

    before, grads_before = outputs_and_gradients()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter[1] += 1.0
    after, grads_after = outputs_and_gradients()
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.isclose(after[1], before[1]).any()
    for old, new in zip(grads_before, grads_after, strict=True):
        assert torch.equal(new[[0, 2]], old[[0, 2]])


def test_a_freshly_drawn_net_is_exactly_its_linear_path(x, rng, generator):
    net = SkipNet(3, 4, (6, 5), 2).double()
    scramble(net.linear, rng)
    linear_before = [p.clone() for p in net.linear.parameters()]
    net.initialise(generator, last=False)
    far = 1e5 * x
    assert torch.equal(net(far), net.linear(far))
    assert all(torch.equal(a, b) for a, b in zip(net.linear.parameters(), linear_before, strict=True))


def test_a_freshly_drawn_net_can_learn_beyond_its_linear_path(x, generator):
    net = SkipNet(3, 4, (6, 5), 2).double()
    net.initialise(generator, last=False)
    net(x).sum().backward()
    assert (net.last.weight.grad.abs().sum((1, 2)) > 0).all(), "every member's hidden path answers to its input"
    assert all((layer.weight != 0).all() for layer in net.hidden)


def test_far_points_reach_only_the_linear_path(net, x):
    far = 100 * HIDDEN_INPUT_LIMIT * x.sign()
    farther = 2 * far
    assert_allclose((net(farther) - net(far)).detach(), (far @ net.linear.weight).detach(), rtol=1e-12)


def test_draws_have_the_variance_of_torchs_linear_layer(generator):
    layer = MemberLinear(3, 300, 100)
    layer.initialise(generator)
    bound = 300**-0.5
    assert layer.weight.abs().max() <= bound
    assert layer.bias.abs().max() <= bound
    assert layer.weight.var().item() == pytest.approx(1 / (3 * 300), rel=0.02)
    assert not torch.equal(layer.weight[0], layer.weight[1]), "members start apart"


def test_draws_come_from_the_generator_alone():
    before = torch.get_rng_state()
    nets = [SkipNet(2, 3, (4,), 1) for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        net.initialise(torch.Generator().manual_seed(seed), last=False)
    first, again, other = (net.hidden[0].weight for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
