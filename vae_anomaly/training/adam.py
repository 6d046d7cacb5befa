"""Adam on all parameters as one vector: six operations a step, however many layers there are.

torch's own optimisers bring in its compiler at their first use, which takes seconds, longer than a small fit.
"""

from collections.abc import Mapping

import torch
from torch import nn

BETAS = (0.9, 0.99)
EPSILON = 1e-8


class Adam:
    """Kingma and Ba, arXiv 1412.6980, algorithm 1.

    Parameters
    ----------
    rates : mapping of Parameter to float
        Learning rate of each parameter. The parameters and their gradients become views of two vectors.
    """

    def __init__(self, rates: Mapping[nn.Parameter, float]) -> None:
        self.values = torch.cat([parameter.detach().flatten() for parameter in rates])
        self.gradients = torch.zeros_like(self.values)
        self.rates = torch.cat(
            [torch.full_like(parameter.detach().flatten(), rate) for parameter, rate in rates.items()]
        )
        self._first, self._second = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self._steps = 0
        sizes = [parameter.numel() for parameter in rates]
        for parameter, value, gradient in zip(
            rates, self.values.split(sizes), self.gradients.split(sizes), strict=True
        ):
            parameter.data, parameter.grad = value.view_as(parameter), gradient.view_as(parameter)

    def zero_gradients(self) -> None:
        """Forget the gradients."""
        self.gradients.zero_()

    def state(self) -> dict[str, torch.Tensor]:
        """The parameters' values, the moments of their gradients and how many steps were done, by name."""
        steps = torch.tensor(self._steps)
        return {"values": self.values, "first": self._first, "second": self._second, "steps": steps}

    @torch.no_grad()
    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        self.values.copy_(state["values"])
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])
        self._steps = int(state["steps"])

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move all parameters, each at ``factor`` times its rate."""
        self._steps += 1
        (keep_first, keep_second), steps = BETAS, self._steps
        self._first.lerp_(self.gradients, 1 - keep_first)
        self._second.mul_(keep_second).addcmul_(self.gradients, self.gradients, value=1 - keep_second)
        spread = (self._second / (1 - keep_second**steps)).sqrt_().add_(EPSILON)
        self.values.addcdiv_(self._first * self.rates, spread, value=-factor / (1 - keep_first**steps))
