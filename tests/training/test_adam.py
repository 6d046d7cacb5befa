import torch
from torch import nn

from vae_anomaly.training.trainer import BETAS, EPSILON, Adam


def test_it_is_torchs_adam_with_a_rate_for_each_parameter():
    generator = torch.Generator().manual_seed(0)
    ours = [
        nn.Parameter(torch.randn(shape, generator=generator).double()) for shape in [(3, 2), (4,), (0, 5), (1, 1, 2)]
    ]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    rates = [0.1, 0.02, 0.3, 0.004]
    adam = Adam(dict(zip(ours, rates, strict=True)))
    groups = [{"params": [parameter], "lr": rate} for parameter, rate in zip(theirs, rates, strict=True)]
    reference = torch.optim.Adam(groups, betas=BETAS, eps=EPSILON)
    for _ in range(20):
        for optimizer, parameters in [(adam, ours), (reference, theirs)]:
            optimizer.gradients.zero_() if optimizer is adam else optimizer.zero_grad()
            sum((parameter**4 - 3 * parameter).sum() for parameter in parameters).backward()
        adam.step(0.5)
        for group, rate in zip(reference.param_groups, rates, strict=True):
            group["lr"] = 0.5 * rate
        reference.step()
    for parameter, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(parameter, wanted, rtol=1e-12, atol=1e-14)


def test_a_parameter_without_gradient_stays():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    adam = Adam({used: 0.1, unused: 0.1})
    used.sum().backward()
    adam.step(1.0)
    assert (used < 1).all()
    assert (unused == 1).all()
