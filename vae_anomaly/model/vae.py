"""The variational autoencoder: x -> q(z|x) -> p(x|z), for all members of the ensemble at once.

Shapes: x (members or 1, rows, cells), mean and log variance of q (members, rows, latents), z (draws, members, rows,
latents).
"""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from vae_anomaly.model.convolutions import ConvolutionalDecoder, ConvolutionalEncoder, Shape
from vae_anomaly.model.likelihoods import START_SCALE, Density, Likelihood, Mixed
from vae_anomaly.model.networks import SkipNet
from vae_anomaly.model.pca_init import PCAInit
from vae_anomaly.model.priors import GaussianPrior

LOG_VAR_RANGE = (-12.0, 8.0)
COMPLETION_ROUNDS = 5
ALIKE = 96  # products and sums over a multiple of so many rows give each row the same bits (AVX2, AVX-512, both types)
FEW_ALIKE = 8  # so do those over exactly so many
WIDE, WIDEST = 2**13, 2**17  # cells of all members, of rows that take too much memory for so many, for any but one
SMALL_PRODUCT = 400  # multiplications below which torch takes a loop of its own, which rounds differently
START_LOG_VAR = -2.0  # of the posterior without a PCA initialisation


class VAE(nn.Module):
    """Encoder, decoder, the parameters that all rows share, and the bandwidth of an exemplar prior.

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
        Shape of the image in a row: then the nets are convolutional, and ``hidden_layer_sizes`` are channels.
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
        self.encoder: SkipNet | ConvolutionalEncoder
        self.decoder: SkipNet | ConvolutionalDecoder
        if image_shape is None:
            self.encoder = SkipNet(n_estimators, likelihood.n_features, sizes, 2 * n_components)
            self.decoder = SkipNet(n_estimators, n_components, sizes[::-1], likelihood.n_outputs)
        else:
            self.encoder = ConvolutionalEncoder(n_estimators, image_shape, sizes, 2 * n_components)
            self.decoder = ConvolutionalDecoder(n_estimators, n_components, sizes, image_shape)
        self.shared = nn.Parameter(torch.zeros(n_estimators, 1, likelihood.n_shared))
        self.log_bandwidth = nn.Parameter(torch.zeros(n_estimators, 1, 1))
        self._density: Density | None = None
        self.alike = 1  # rows of which batches to score are multiples, so that each gets the same bits in all of them
        self.complete_all = False  # for a trace, in which no step depends on the content of rows

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each (members, rows, latents)."""
        return self.posterior(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Features of x as the encoder sees them, (members, rows, features).

        In training a missing cell is the centre of its column, with an indicator. In scoring it is what the model
        expects given the observed cells: otherwise the latents, and with them the score, would depend on the centre.
        """
        features = self.likelihood.features(x).expand(self.n_estimators, -1, -1)
        if self._density is None or (not self.complete_all and bool(x.isfinite().all())):
            return features
        if self.complete_all or x.ndim > 2:
            return self.completed(x, features)
        lacking = (~x.isfinite().all(-1)).nonzero()[:, 0]
        lacking = torch.cat([lacking, lacking[-1:].expand(-len(lacking) % min(self.alike, len(x)))])
        return features.index_copy(1, lacking, self.completed(x[lacking], features[:, lacking]))

    def completed(self, x: Tensor, features: Tensor) -> Tensor:
        """The features with those of missing cells as each member expects them given the others.

        Encoding and decoding in turn moves the latents to values that agree with the observed cells (Rezende, Mohamed
        and Wierstra, arXiv 1401.4082, section F; here without draws).
        """
        observed = self.likelihood.observed(x)
        for _ in range(COMPLETION_ROUNDS):
            mean = self.encoder(features)[..., : self.n_components]
            expected = self.likelihood.expected_features(self.decode(mean[None])[0])
            features = torch.where(observed, features, expected)
        return features

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x) for the features of x (members, rows, features)."""
        mean, log_var = self.encoder(features).chunk(2, -1)
        return mean, log_var.clamp(*LOG_VAR_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """Outputs of the decoder, (draws, members, rows, outputs)."""
        draws, members, rows, latents = z.shape
        flat = z.permute(1, 3, 0, 2).reshape(members, latents, draws * rows).mT
        return self.decoder(flat).unflatten(1, (draws, rows)).transpose(0, 1)

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Log density of each cell given z, (draws, members, rows, cells)."""
        density = self._density or self.likelihood.density(self.shared)
        return density(x, self.decode(z))

    def standard_normal(self) -> GaussianPrior:
        """The prior without exemplars."""
        return GaussianPrior(torch.zeros_like(self.log_bandwidth).expand(-1, -1, self.n_components))

    def freeze(self) -> Self:
        """Prepare the model for scoring: no gradients, and the density of the shared parameters computed once."""
        self.eval().requires_grad_(False)
        self._density = self.likelihood.density(self.shared)
        widest = max(self.likelihood.n_features, self.likelihood.n_outputs, self.n_components) * self.n_estimators
        smallest = min(
            (
                weight[0].numel()
                for name, weight in self.named_parameters()
                if name.endswith("weight") and weight.numel()
            ),
            default=SMALL_PRODUCT,
        )
        if widest > WIDE:
            self.alike = FEW_ALIKE if widest <= WIDEST else 1
        else:
            self.alike = ALIKE * -(-SMALL_PRODUCT // (ALIKE * smallest))
        return self

    @torch.no_grad()
    def grow_from(self, smaller: "VAE", x: Tensor, shares: Mapping[int, Tensor]) -> None:
        """Take the weights of a model of the same table with fewer category codes.

        Until training moves them, the encoder sees a new code as the average of the known ones, so that it is no place
        for unseen values, and the decoder gives it the same probability in every row. All else is as in the smaller
        model.

        Parameters
        ----------
        smaller : VAE
            The model with fewer codes.
        x : Tensor
            (rows, cells), some rows of its training.
        shares : mapping of int to Tensor
            For each cell with new codes, (codes,): the fraction of all rows that have each of them.
        """
        own, other = self.likelihood, smaller.likelihood
        assert isinstance(own, Mixed)
        assert isinstance(other, Mixed)
        assert isinstance(self.encoder, SkipNet)
        assert isinstance(self.decoder, SkipNet)
        assert isinstance(smaller.encoder, SkipNet)
        assert isinstance(smaller.decoder, SkipNet)
        mean, _ = smaller.encode(x)
        inputs, outputs = own.growth(other, other.features(x).mean(0))
        latents, posterior = (torch.eye(n * self.n_components).to(inputs) for n in (1, 2))
        self.encoder.take(smaller.encoder, inputs, posterior)
        self.decoder.take(smaller.decoder, latents, outputs)
        self.decoder.offset[:, 0] += other.new_offsets(smaller.decode(mean[None])[0], shares)
        self.shared[:] = smaller.shared
        self.log_bandwidth[:] = smaller.log_bandwidth

    @torch.no_grad()
    def start(self, inits: Sequence[PCAInit], x: Tensor, generator: torch.Generator) -> None:
        """Set the weights before training: hidden layers drawn, offsets from the rows ``x``, linear paths from the PCA.

        There is one PCA initialisation for each member, or none: then the linear paths are zero, the last layers are
        drawn as well, and the bandwidth is one. Convolutional nets have no linear path and take none.
        """
        for net in (self.encoder, self.decoder):
            if isinstance(net, SkipNet):
                net.initialise(generator, last=not inits)
            else:
                net.initialise(generator)
        outputs, _, shared = self.likelihood.start(x, x.new_full((self.likelihood.n_features,), START_SCALE))
        self.shared[:] = shared
        self.decoder.offset[:] = outputs
        self.encoder.offset[..., self.n_components :] = START_LOG_VAR
        for member, init in enumerate(inits):
            assert isinstance(self.encoder, SkipNet)
            assert isinstance(self.decoder, SkipNet)
            encoder, decoder = self.encoder.linear, self.decoder.linear
            outputs, gains, shared = self.likelihood.start(x, init.noise_scale.to(x))
            encoder.weight[member, :, : self.n_components] = init.encode
            encoder.bias[member, :, : self.n_components] = -init.centre @ init.encode
            encoder.bias[member, :, self.n_components :] = init.log_var
            decoder.weight[member] = init.decode[:, : len(outputs)].to(x.device) * gains  # from features to outputs
            decoder.bias[member] = outputs
            self.shared[member] = shared
            self.log_bandwidth[member] = init.log_bandwidth
