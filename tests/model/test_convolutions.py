import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, silu

from vae_anomaly.model.convolutions import ConvolutionalDecoder, ConvolutionalEncoder, halved_sides

SHAPES = [(1, 28, 28), (1, 8, 8), (3, 9, 16), (2, 5, 7), (1, 4, 30)]


def drawn(net, seed=0):
    """The net in float64, every weight and offset drawn."""
    net = net.double()
    net.initialise(torch.Generator().manual_seed(seed))
    net.offset.data = torch.randn(net.offset.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return net


def member(net, make, index):
    """A net of one member alone."""
    alone = make().double()
    alone.load_state_dict({name: tensor[index : index + 1] for name, tensor in net.state_dict().items()})
    return alone


@pytest.mark.parametrize("shape", SHAPES)
def test_members_do_not_see_one_another(shape):
    pixels = int(np.prod(shape))
    x, z = torch.rand(3, 6, pixels, dtype=torch.float64), torch.randn(3, 6, 5, dtype=torch.float64)
    encoder = drawn(ConvolutionalEncoder(3, shape, (4, 6), 10))
    decoder = drawn(ConvolutionalDecoder(3, 5, (4, 6), shape))
    outputs, images = encoder(x), decoder(z)
    assert outputs.shape == (3, 6, 10)
    assert images.shape == (3, 6, pixels)
    for index in range(3):
        alone = member(encoder, lambda: ConvolutionalEncoder(1, shape, (4, 6), 10), index)
        torch.testing.assert_close(alone(x[index : index + 1])[0], outputs[index], rtol=1e-9, atol=1e-12)
        alone = member(decoder, lambda: ConvolutionalDecoder(1, 5, (4, 6), shape), index)
        torch.testing.assert_close(alone(z[index : index + 1])[0], images[index], rtol=1e-9, atol=1e-12)


def test_an_encoder_is_convolutions_of_stride_two_and_two_dense_layers():
    net = drawn(ConvolutionalEncoder(1, (2, 8, 12), (3, 4), 5))
    x = torch.rand(1, 7, 2 * 8 * 12, dtype=torch.float64)
    h = x[0].reshape(7, 2, 8, 12)
    for layer in net.convolutions:
        h = silu(conv2d(h, layer.weight[0], layer.bias[0, 0], stride=2, padding=1))
    assert h.shape == (7, 4, 2, 3)
    h = silu(h.reshape(7, -1) @ net.dense.weight[0] + net.dense.bias[0])
    torch.testing.assert_close(net(x)[0], h @ net.last.weight[0] + net.offset[0])


def test_a_decoder_is_the_encoders_mirror_image_with_an_offset_a_pixel():
    net = drawn(ConvolutionalDecoder(1, 5, (3, 4), (2, 8, 12)))
    z = torch.randn(1, 7, 5, dtype=torch.float64)
    h = silu(z[0] @ net.first.weight[0] + net.first.bias[0])
    h = (h @ net.dense.weight[0] + net.dense.bias[0]).reshape(7, 4, 2, 3)
    for layer in net.convolutions:
        h = conv_transpose2d(silu(h), layer.weight[0], layer.bias[0, 0], stride=2, padding=1)
    torch.testing.assert_close(net(z)[0], h.reshape(7, -1) + net.offset[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_weight_takes_part(shape):
    encoder, decoder = (
        drawn(ConvolutionalEncoder(2, shape, (4, 6), 10)),
        drawn(ConvolutionalDecoder(2, 5, (4, 6), shape)),
    )
    outputs, _ = encoder(torch.rand(2, 6, int(np.prod(shape)), dtype=torch.float64)).chunk(2, -1)
    decoder(outputs).square().sum().backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        gradients = parameter.grad.flatten(1)
        if not name.startswith("last"):  # of which the second half is the variance, not decoded here
            assert (gradients != 0).any(1).all(), name


def test_sides_are_halved_and_rounded_down():
    assert halved_sides((3, 28, 9), 3) == [(28, 9), (14, 4), (7, 2), (3, 1)]


def test_initial_weights_keep_the_size_of_signals():
    encoder, decoder = (
        drawn(ConvolutionalEncoder(1, (1, 28, 28), (16, 32), 32)),
        drawn(ConvolutionalDecoder(1, 16, (16, 32), (1, 28, 28))),
    )
    nn.init.zeros_(encoder.offset)
    nn.init.zeros_(decoder.offset)
    out = encoder(torch.rand(1, 50, 784, dtype=torch.float64)), decoder(torch.randn(1, 50, 16, dtype=torch.float64))
    for values in out:
        assert 1e-3 < values.std() < 2
