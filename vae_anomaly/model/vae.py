"""The variational autoencoder itself: x -> q(z|x) -> p(x|z), for all members of the ensemble at once.

Shapes: x (members or 1, rows, cells), q's mean and log variance (members, rows, latents), z (draws, members, rows,
latents).
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from vae_anomaly.model.convolutions import ConvolutionalDecoder, ConvolutionalEncoder, Shape
from vae_anomaly.model.likelihoods import START_SCALE, Density, Likelihood
from vae_anomaly.model.networks import AnchoredNet
from vae_anomaly.model.pca_init import Anchor
from vae_anomaly.model.priors import GaussianPrior

LOG_VAR_RANGE = (-12.0, 8.0)
START_LOG_VAR = -2.0  # of the posterior where there is no anchor


class VAE(nn.Module):
    """Encoder, decoder, the numbers learned once for all rows, and the bandwidth of an exemplar prior.

    Parameters
    ----------
    likelihood : Likelihood
        Density of the cells.
    n_components : int
        Latents.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's hidden layers; the decoder has them in reverse.
    n_estimators : int
        Members.
    image_shape : (channels, height, width) or None
        That of a row, where rows are images: then the nets are convolutional, and ``hidden_layer_sizes`` are channels.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        n_estimators: int,
        image_shape: Shape | None = None,
    ) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.n_components = n_components
        self.n_estimators = n_estimators
        sizes = list(hidden_layer_sizes)
        self.encoder: AnchoredNet | ConvolutionalEncoder
        self.decoder: AnchoredNet | ConvolutionalDecoder
        if image_shape is None:
            self.encoder = AnchoredNet(n_estimators, likelihood.n_features, sizes, 2 * n_components)
            self.decoder = AnchoredNet(n_estimators, n_components, sizes[::-1], likelihood.n_outputs)
        else:
            self.encoder = ConvolutionalEncoder(n_estimators, image_shape, sizes, 2 * n_components)
            self.decoder = ConvolutionalDecoder(n_estimators, n_components, sizes, image_shape)
        self.shared = nn.Parameter(torch.zeros(n_estimators, 1, likelihood.n_shared))
        self.log_bandwidth = nn.Parameter(torch.zeros(n_estimators, 1, 1))
        self._density: Density | None = None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each (members, rows, latents)."""
        return self.posterior(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """What the encoders see of x, (members, rows, features)."""
        return self.likelihood.features(x).expand(self.n_estimators, -1, -1)

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x) for what the encoders see of x, each (members, rows, latents)."""
        mean, log_var = self.encoder(features).chunk(2, -1)
        return mean, log_var.clamp(*LOG_VAR_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """Outputs of the decoder for z (draws, members, rows, latents), alike but for the last axis."""
        draws, members, rows, latents = z.shape
        flat = z.permute(1, 3, 0, 2).reshape(members, latents, draws * rows).mT
        return self.decoder(flat).unflatten(1, (draws, rows)).transpose(0, 1)

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Log density of each cell given z, (draws, members, rows, cells)."""
        density = self._density or self.likelihood.given(self.shared)
        return density(x, self.decode(z))

    def freeze(self) -> Self:
        """For scoring alone: no gradient of a weight, and what depends on the shared numbers alone is computed now."""
        self.eval().requires_grad_(False)
        self._density = self.likelihood.given(self.shared)
        return self

    @torch.no_grad()
    def start(self, anchors: Sequence[Anchor], x: Tensor, generator: torch.Generator) -> None:
        """Weights before training: hidden layers drawn, margins from the rows ``x``, linear paths from the anchors.

        There is one anchor a member, or none: then the linear paths are zero, the last layers drawn as well, and the
        bandwidth is one. Convolutional nets have no linear path and take no anchors.
        """
        nets = (self.encoder, self.decoder)
        linear = [net.linear for net in nets if isinstance(net, AnchoredNet)]
        for net in nets:
            if isinstance(net, AnchoredNet):
                net.draw(generator, last=not anchors)
            else:
                net.draw(generator)
        outputs, _, shared = self.likelihood.start(x, x.new_full((self.likelihood.n_features,), START_SCALE))
        self.shared[:] = shared
        self.decoder.offset[:] = outputs
        self.encoder.offset[..., self.n_components :] = START_LOG_VAR
        for member, anchor in enumerate(anchors):
            outputs, gains, shared = self.likelihood.start(x, anchor.noise.to(x.dtype))
            anchor.place(member, linear[0], linear[1], outputs, gains)
            self.shared[member] = shared
            self.log_bandwidth[member] = anchor.log_bandwidth

    def standard_normal(self) -> GaussianPrior:
        """The prior that rests on no rows."""
        return GaussianPrior(self.log_bandwidth.expand(-1, -1, self.n_components))

    def scales(self) -> list[nn.Parameter]:
        """Noise scales and bandwidth: they need a faster rate than the nets to converge in the same steps."""
        return [self.shared, self.log_bandwidth]
