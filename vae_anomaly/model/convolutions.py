"""Convolutional nets of all members at once: each member is a group of channels, one convolution a layer.

Inputs and outputs are (members, rows, pixels), an image flattened channel first. Every convolution of the encoder
halves the sides (rounded down); every transposed convolution of the decoder restores them.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, silu

from vae_anomaly.model.networks import MemberLinear

Shape = tuple[int, int, int]  # channels, height, width
KERNEL, STRIDE, PADDING = 4, 2, 1
DENSE = 128  # width of the layer between the last convolution and the latents


def halved_sides(shape: Shape, layers: int) -> list[tuple[int, int]]:
    """Height and width before and after each convolution, (layers + 1); a side of 1 becomes 0."""
    return [(shape[1] >> layer, shape[2] >> layer) for layer in range(layers + 1)]


class MemberConvolution(nn.Module):
    """Convolution of each member: (rows, members * inputs, height, width) to half the sides."""

    def __init__(self, members: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, outputs, inputs, KERNEL, KERNEL))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """One grouped convolution."""
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        return conv2d(x, weight, bias, STRIDE, PADDING, groups=len(self.weight))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Uniform weights, as in `MemberLinear`."""
        _draw_uniform(self.weight, self.bias, self.weight[0, 0].numel(), generator)


class MemberUpConvolution(nn.Module):
    """Transposed convolution of each member: (rows, members * inputs, height, width) to the given sides."""

    def __init__(self, members: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, inputs, outputs, KERNEL, KERNEL))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor, sides: tuple[int, int]) -> Tensor:
        """One grouped transposed convolution."""
        padding = [side - STRIDE * small for side, small in zip(sides, x.shape[-2:], strict=True)]
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        return conv_transpose2d(x, weight, bias, STRIDE, PADDING, padding, groups=len(self.weight))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Uniform weights; a quarter of the kernel reaches each pixel of the output."""
        _draw_uniform(self.weight, self.bias, self.weight[0, :, 0].numel() // STRIDE**2, generator)


class ConvolutionalEncoder(nn.Module):
    """Convolutions, a dense layer, and the outputs: (members, rows, pixels) to (members, rows, outputs)."""

    def __init__(self, members: int, shape: Shape, channels: Sequence[int], outputs: int):
        super().__init__()
        self.shape = shape
        self.convolutions = nn.ModuleList(MemberConvolution(members, a, b) for a, b in pairwise([shape[0], *channels]))
        self.dense = MemberLinear(members, channels[-1] * math.prod(halved_sides(shape, len(channels))[-1]), DENSE)
        self.last = MemberLinear(members, DENSE, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the encoder for pixels from 0 to 1."""
        h = _as_images(x, self.shape)
        for convolution in self.convolutions:
            h = silu(convolution(h))
        return self.last(silu(self.dense(_as_rows(h, len(x)))))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all layers."""
        for layer in (*self.convolutions, self.dense, self.last):
            layer.initialise(generator)

    @property
    def offset(self) -> nn.Parameter:
        """Constant term of the outputs, (members, 1, outputs)."""
        return self.last.bias


class ConvolutionalDecoder(nn.Module):
    """Mirror image of the encoder plus pixel offsets: (members, rows, latents) to (members, rows, pixels)."""

    def __init__(self, members: int, latents: int, channels: Sequence[int], shape: Shape):
        super().__init__()
        self.sides = halved_sides(shape, len(channels))[::-1]
        self.small = (channels[-1], *self.sides[0])
        self.first = MemberLinear(members, latents, DENSE)
        self.dense = MemberLinear(members, DENSE, math.prod(self.small))
        self.convolutions = nn.ModuleList(
            MemberUpConvolution(members, a, b) for a, b in pairwise([*channels[::-1], shape[0]])
        )
        self.offset = nn.Parameter(torch.zeros(members, 1, math.prod(shape)))

    def forward(self, z: Tensor) -> Tensor:
        """Outputs of the decoder."""
        h = _as_images(self.dense(silu(self.first(z))), self.small)
        for convolution, sides in zip(self.convolutions, self.sides[1:], strict=True):
            h = convolution(silu(h), sides)
        return self.offset + _as_rows(h, len(z))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all layers."""
        for layer in (self.first, self.dense, *self.convolutions):
            layer.initialise(generator)


def _as_images(x: Tensor, shape: Shape) -> Tensor:
    """(members, rows, pixels) as (rows, members * channels, height, width)."""
    channels, height, width = shape
    return x.transpose(0, 1).reshape(x.shape[1], len(x) * channels, height, width)


def _as_rows(h: Tensor, members: int) -> Tensor:
    """(rows, members * channels, height, width) as (members, rows, pixels)."""
    return h.reshape(len(h), members, -1).transpose(0, 1)


def _draw_uniform(weight: nn.Parameter, bias: nn.Parameter, fan_in: int, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(fan_in)
    weight.uniform_(-bound, bound, generator=generator)
    bias.uniform_(-bound, bound, generator=generator)
