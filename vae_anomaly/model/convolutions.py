"""Convolutional nets whose members lie side by side: each member is a group of channels, one convolution a layer.

Rows come and go as they do elsewhere, (members, rows, pixels), an image flattened channel first. Every convolution
halves the sides (rounded down), every transposed one of the decoder brings the side back that its mirror image had.
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
DENSE = 128  # width of the layer between the last convolution and the code


def halved_sides(shape: Shape, layers: int) -> list[tuple[int, int]]:
    """Height and width before and after each of so many convolutions; a side of 1 cannot be halved."""
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
    def draw(self, generator: torch.Generator) -> None:
        """Uniform weights, as `MemberLinear` draws them."""
        _draw_uniform(self.weight, self.bias, self.weight[0, 0].numel(), generator)


class MemberUpConvolution(nn.Module):
    """Transposed convolution of each member: (rows, members * inputs, height, width) to the sides asked for."""

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
    def draw(self, generator: torch.Generator) -> None:
        """Uniform weights: a pixel of the output is reached by a quarter of the kernel's cells."""
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
        """Images of [0, 1] as they are."""
        h = _as_images(x, self.shape)
        for convolution in self.convolutions:
            h = silu(convolution(h))
        return self.last(silu(self.dense(_as_rows(h, len(x)))))

    def draw(self, generator: torch.Generator) -> None:
        """Draw all layers."""
        for layer in (*self.convolutions, self.dense, self.last):
            layer.draw(generator)

    @property
    def offset(self) -> nn.Parameter:
        """What is added to the outputs, (members, 1, outputs)."""
        return self.last.bias


class ConvolutionalDecoder(nn.Module):
    """The encoder's mirror image, and an offset for each pixel: (members, rows, latents) to (members, rows, pixels)."""

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

    def draw(self, generator: torch.Generator) -> None:
        """Draw all layers."""
        for layer in (self.first, self.dense, *self.convolutions):
            layer.draw(generator)


def _as_images(x: Tensor, shape: Shape) -> Tensor:
    """(members, rows, pixels) as (rows, members * channels, height, width)."""
    channels, height, width = shape
    return x.transpose(0, 1).reshape(x.shape[1], len(x) * channels, height, width)


def _as_rows(h: Tensor, members: int) -> Tensor:
    """The way back."""
    return h.reshape(len(h), members, -1).transpose(0, 1)


def _draw_uniform(weight: nn.Parameter, bias: nn.Parameter, fan_in: int, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(fan_in)
    weight.uniform_(-bound, bound, generator=generator)
    bias.uniform_(-bound, bound, generator=generator)
