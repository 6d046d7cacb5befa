"""Fully connected nets of all members at once: a leading member axis, one batched product a layer."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

HIDDEN_INPUT_LIMIT = 10.0  # root mean square; beyond it only the linear path grows: no far point looks familiar


class MemberLinear(nn.Module):
    """Affine map of each member: (members, rows, inputs) to (members, rows, outputs)."""

    def __init__(self, members: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """One batched product.

        After training, on a processor, each column of the result is contiguous in memory: with few columns the product
        takes a third less time.
        """
        if self.training or x.device.type != "cpu":
            return torch.baddbmm(self.bias, x, self.weight)
        return torch.baddbmm(self.bias.mT, self.weight.mT, x.mT).mT

    @torch.no_grad()
    def take(self, other: "MemberLinear", inputs: Tensor, outputs: Tensor) -> None:
        """Take the weights of another layer, given each input and output in terms of the other's, (own, other's)."""
        self.weight[:] = inputs @ other.weight @ outputs.T
        self.bias[:] = other.bias @ outputs.T

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Uniform weights of variance 1 / (3 inputs), torch's own default for a linear layer."""
        bound = 1 / math.sqrt(max(1, self.weight.shape[1]))
        self.weight.uniform_(-bound, bound, generator=generator)
        self.bias.uniform_(-bound, bound, generator=generator)


class SkipNet(nn.Module):
    """A linear path plus a hidden path, ``x A + b + g(x)``: with g = 0 training begins at the linear map."""

    def __init__(self, members: int, inputs: int, hidden: Sequence[int], outputs: int):
        super().__init__()
        self.widths = list(hidden)
        self.linear = MemberLinear(members, inputs, outputs)
        self.hidden = nn.ModuleList(MemberLinear(members, a, b) for a, b in pairwise([inputs, *hidden]))
        self.last = MemberLinear(members, hidden[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Sum of both paths; the input of the hidden one is shortened to the limit, in the same direction."""
        length = x.square().mean(-1, keepdim=True).clamp_min(HIDDEN_INPUT_LIMIT**2).sqrt()
        h = x * (HIDDEN_INPUT_LIMIT / length)
        for layer in self.hidden:
            h = silu(layer(h), inplace=not self.training)
        return self.linear(x).add_(self.last(h))

    @property
    def offset(self) -> nn.Parameter:
        """Constant term of the outputs, (members, 1, outputs)."""
        return self.linear.bias

    def take(self, other: "SkipNet", inputs: Tensor, outputs: Tensor) -> None:
        """Take the weights of another net, given each input and output in terms of the other's, (own, other's)."""
        self.linear.take(other.linear, inputs, outputs)
        inner = [torch.eye(width).to(inputs) for width in self.widths]
        pairs = zip([*self.hidden, self.last], [*other.hidden, other.last], strict=True)
        for (own, others), ends in zip(pairs, pairwise([inputs, *inner, outputs]), strict=True):
            own.take(others, *ends)

    def initialise(self, generator: torch.Generator, *, last: bool) -> None:
        """Draw the hidden layers, and the last one only if ``last``: at zero it leaves the linear path alone."""
        for layer in (*self.hidden, self.last):
            if last or layer is not self.last:
                layer.initialise(generator)
