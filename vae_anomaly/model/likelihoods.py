"""Densities of table cells given what the decoder says of them, in nats.

Arrays end in cells: ``x`` is (..., n_cells) and a NaN cell was not observed and counts 0. ``outputs`` (..., n_outputs)
is what the decoder gives for each row, ``shared`` (..., n_shared) what is learned once for all rows, such as the noise
scale of each column.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, pairwise
from typing import Protocol

import torch
from scipy.special import stdtrit
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid, one_hot, softplus

START_SCALE = 0.3  # noise scale of a standardised number before training, where there is no anchor
DISCRETE_GAIN = 4.0  # slope of the logit at one half: how a linear path starts to move a probability
LEAST_SCALE = 1e-3  # of a standardised number's margin: below every floor, and no division by zero
TAIL_WEIGHTS = (2.1, 3.0, 4.5, 8.0, 20.0, 100.0)  # degrees of freedom tried for a margin
EM_ROUNDS = 12  # for each of them
COUNTED_CELLS = 2**18  # at a time
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


Density = Callable[[Tensor, Tensor], Tensor]  # cells and outputs to the log density of each cell


class Likelihood(Protocol):
    """What every density of cells can do."""

    @property
    def n_cells(self) -> int:
        """Columns of ``x``."""

    @property
    def n_features(self) -> int:
        """Columns that the encoder sees of the cells."""

    @property
    def n_outputs(self) -> int:
        """Columns that the decoder gives for each row."""

    @property
    def n_shared(self) -> int:
        """Numbers learned once for all rows."""

    def features(self, x: Tensor) -> Tensor:
        """Cells as the encoder sees them, always finite."""

    def start(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of a decoder that knows only the margins of ``x``, its gain per feature, and the shared numbers.

        ``noise`` (features,) is the scale at which the noise of each feature starts, where it has one.
        """

    def margins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and shared numbers under which ``x`` is likeliest if the decoder says the same of every row."""

    def given(self, shared: Tensor) -> Density:
        """The density once the shared numbers are known: what depends on them alone is computed here."""

    def log_prob(self, x: Tensor, outputs: Tensor, shared: Tensor) -> Tensor:
        """Log density of each cell; unobserved cells count 0."""

    def expected(self, outputs: Tensor, shared: Tensor) -> Tensor:
        """Expected cell: the mean of a number, the most probable value of anything else."""

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        """Cells drawn from the density."""


def floored_scale(log_scale: Tensor, floor: Tensor) -> Tensor:
    """Scale that approaches its floor smoothly: duplicated values cannot drive a density to infinity."""
    return (floor**2 + (2 * log_scale.clamp(-12.0, 8.0)).exp()).sqrt()


def raw_scale(scale: Tensor, floor: Tensor) -> Tensor:
    """Log scale whose floored scale is ``scale``, or as near above the floor as makes sense."""
    return 0.5 * (scale**2 - floor**2).clamp_min(0.25 * scale**2).log()


def _zero_if_unseen(x: Tensor) -> tuple[Tensor, Tensor]:
    seen = ~x.isnan()
    return torch.where(seen, x, torch.zeros_like(x)), seen


def _column_means(x: Tensor) -> Tensor:
    few = max(1, COUNTED_CELLS // max(1, x.shape[1]))
    seen = sum((~rows.isnan()).sum(0) for rows in x.split(few))  # at once it takes twice the memory of x
    return x.nansum(0).div(seen).nan_to_num(0.0)


def _started(likelihood: Likelihood, x: Tensor) -> tuple[Tensor, Tensor]:
    """Margins of a density that has no noise scale: where it starts, it is likeliest."""
    outputs, _, shared = likelihood.start(x, x.new_ones(likelihood.n_features))
    return outputs, shared


@dataclass(frozen=True)
class Numbers:
    """What densities of standardised numbers share: one output a cell, its location, and floors for the noise scale."""

    floors: tuple[float, ...]

    @property
    def n_cells(self) -> int:
        return len(self.floors)

    @property
    def n_features(self) -> int:
        return len(self.floors)

    @property
    def n_outputs(self) -> int:
        return len(self.floors)

    def features(self, x: Tensor) -> Tensor:
        return _zero_if_unseen(x)[0]

    def expected(self, outputs: Tensor, shared: Tensor) -> Tensor:
        return outputs

    def _floor(self, like: Tensor) -> Tensor:
        return like.new_tensor(self.floors)


@dataclass(frozen=True)
class Gaussian(Numbers):
    """Gaussian in each column: the decoder gives the mean; the noise scale is learned per column, above its floor.

    With the noise fixed at 1 the rows would rank as in principal component analysis (sigma-VAE, arXiv 2006.13202).
    """

    @property
    def n_shared(self) -> int:
        return self.n_cells

    def start(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means = _column_means(x)
        return means, torch.ones_like(means), raw_scale(noise, self._floor(means))

    def margins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, seen = _zero_if_unseen(x)
        means = _column_means(x)
        variances = ((value - means).square() * seen).sum(0) / seen.sum(0).clamp_min(1)
        return means, raw_scale(variances.sqrt().clamp_min(LEAST_SCALE), self._floor(means))

    def given(self, shared: Tensor) -> Density:
        scale = floored_scale(shared, self._floor(shared))
        log_scale = scale.log()

        def log_prob(x: Tensor, outputs: Tensor) -> Tensor:
            value, seen = _zero_if_unseen(x)
            log_density = -0.5 * ((value - outputs) / scale) ** 2 - log_scale - HALF_LOG_TWO_PI
            return torch.where(seen, log_density, 0.0)

        return log_prob

    def log_prob(self, x: Tensor, outputs: Tensor, shared: Tensor) -> Tensor:
        return self.given(shared)(x, outputs)

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        scale = floored_scale(shared, self._floor(shared))
        return outputs + scale * _normal(outputs, generator)


@dataclass(frozen=True)
class StudentT(Numbers):
    """Student-t in each column: the decoder gives the location; scale and tail weight are learned per column."""

    @property
    def n_shared(self) -> int:
        return 2 * self.n_cells

    def start(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means = _column_means(x)
        log_scale = raw_scale(noise, self._floor(means))
        return means, torch.ones_like(means), torch.cat([log_scale, torch.full_like(log_scale, 3.0)])

    def margins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale by parameter-expanded EM (Liu, Rubin and Wu 1998) for each of a few tail weights."""
        (value, seen), loc = _zero_if_unseen(x), x.nanmedian(0).values.nan_to_num(0.0)
        scale = ((value - loc).abs() * seen).sum(0) / seen.sum(0).clamp_min(1) + LEAST_SCALE
        found: list[tuple[Tensor, Tensor]] = []
        for df in TAIL_WEIGHTS:
            for _ in range(EM_ROUNDS):
                weight = seen / (df + ((value - loc) / scale).square())
                total = weight.sum(0).clamp_min(1e-12)
                loc = (weight * value).sum(0) / total
                scale = ((weight * (value - loc).square()).sum(0) / total).sqrt() + LEAST_SCALE
            raw_df = torch.full_like(scale, math.log(math.expm1(df - 2)))
            found.append((loc, torch.stack([raw_scale(scale, self._floor(scale)), raw_df])))
        likely = torch.stack([self.log_prob(x, loc, shared.flatten()).sum(0) for loc, shared in found])
        best, columns = likely.argmax(0), torch.arange(x.shape[1], device=x.device)
        locs, shareds = torch.stack([loc for loc, _ in found]), torch.stack([shared for _, shared in found], -1)
        return locs[best, columns], shareds[:, columns, best].flatten()

    def _scale_and_df(self, shared: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, raw_df = shared.chunk(2, -1)
        return floored_scale(log_scale, self._floor(shared)), 2 + softplus(raw_df)

    def given(self, shared: Tensor) -> Density:
        scale, df = self._scale_and_df(shared)
        norm = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * (df * math.pi).log() - scale.log()
        power, rate = (df + 1) / 2, 1 / (scale * df.sqrt())

        def log_prob(x: Tensor, outputs: Tensor) -> Tensor:
            value, seen = _zero_if_unseen(x)
            if outputs.requires_grad:
                log_density = norm - power * torch.log1p(((value - outputs) / scale) ** 2 / df)
            else:  # the same in fewer passes
                log_density = (value - outputs).mul_(rate).square_().log1p_().mul_(-power).add_(norm)
            return torch.where(seen, log_density, 0.0)

        return log_prob

    def log_prob(self, x: Tensor, outputs: Tensor, shared: Tensor) -> Tensor:
        return self.given(shared)(x, outputs)

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        """Quantiles at uniform draws: torch has no t or gamma variates that take a generator."""
        scale, df = self._scale_and_df(shared)
        uniform = _uniform(outputs, generator).cpu().double().clamp(1e-12, 1 - 1e-12)
        quantiles = stdtrit(df.cpu().double().numpy(), uniform.numpy())
        return outputs + scale * torch.as_tensor(quantiles).to(outputs)


@dataclass(frozen=True)
class BernoulliPixels(Numbers):
    """Pixels from 0 to 1: the decoder gives the logit of white.

    A gray pixel stands for a coin that shows white so often: the log density is the expected one of a draw of it, so
    the ELBO is the expected ELBO of the image in black and white (Salakhutdinov and Murray 2008 binarise digits so).
    """

    @property
    def n_shared(self) -> int:
        return 0

    def start(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rate = _column_means(x).clamp(5e-3, 1 - 5e-3)
        return rate.logit(), torch.full_like(rate, DISCRETE_GAIN), rate.new_zeros(0)

    def margins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _started(self, x)

    def given(self, shared: Tensor) -> Density:
        return partial(self.log_prob, shared=shared)

    def log_prob(self, x: Tensor, outputs: Tensor, shared: Tensor) -> Tensor:
        value, seen = _zero_if_unseen(x)
        log_mass = value * outputs - softplus(outputs)
        return torch.where(seen, log_mass, torch.zeros_like(log_mass))

    def expected(self, outputs: Tensor, shared: Tensor) -> Tensor:
        return outputs.sigmoid()

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        """The expected gray: a drawn image that is only black and white would be no image of training's kind."""
        return outputs.sigmoid()


@dataclass(frozen=True)
class Bernoulli:
    """Columns of two values, 0 and 1; the decoder gives the logit of 1.

    Any other value was never seen in training. With the share ``unseen`` a cell is any of the three values alike, so
    nothing is impossible and no cell outweighs a row.
    """

    n_cells: int
    unseen: float

    @property
    def n_features(self) -> int:
        return self.n_cells

    @property
    def n_outputs(self) -> int:
        return self.n_cells

    @property
    def n_shared(self) -> int:
        return 0

    def features(self, x: Tensor) -> Tensor:
        known = (x == 0) | (x == 1)
        return torch.where(known, x, torch.full_like(x, 0.5))

    def start(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rate = _column_means(torch.where(x > 1, torch.nan, x)).clamp(0.5 * self.unseen, 1 - 0.5 * self.unseen)
        return rate.logit(), torch.full_like(rate, DISCRETE_GAIN), rate.new_zeros(0)

    def margins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _started(self, x)

    def given(self, shared: Tensor) -> Density:
        return partial(self.log_prob, shared=shared)

    def log_prob(self, x: Tensor, outputs: Tensor, shared: Tensor) -> Tensor:
        value, seen = _zero_if_unseen(x)
        any_value = math.log(self.unseen / 3)
        one, zero = logsigmoid(outputs), logsigmoid(-outputs)
        chosen = torch.where(value == 1, one, zero) + math.log1p(-self.unseen)
        known = (value == 0) | (value == 1)
        spread = torch.full_like(chosen, any_value)
        log_mass = torch.where(known, torch.logaddexp(chosen, spread), spread)
        return torch.where(seen, log_mass, torch.zeros_like(log_mass))

    def expected(self, outputs: Tensor, shared: Tensor) -> Tensor:
        return (outputs > 0).to(outputs.dtype)

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        return (_uniform(outputs, generator) < outputs.sigmoid()).to(outputs.dtype)


@dataclass(frozen=True)
class Categorical:
    """One column of codes 0 to ``n_codes`` - 1; the decoder gives a logit for each.

    Code ``n_codes`` was never seen in training. With the share ``unseen`` the cell is any of the ``n_codes`` + 1 codes
    alike. ``spread`` is the log of how many table values share a code: their probability is divided among them.
    """

    n_codes: int
    unseen: float
    spread: tuple[float, ...]

    @property
    def n_cells(self) -> int:
        return 1

    @property
    def n_features(self) -> int:
        return self.n_codes

    @property
    def n_outputs(self) -> int:
        return self.n_codes

    @property
    def n_shared(self) -> int:
        return 0

    def features(self, x: Tensor) -> Tensor:
        return one_hot(self._codes(x), self.n_codes + 1)[..., : self.n_codes].to(x.dtype)

    def _codes(self, x: Tensor) -> Tensor:
        """Codes as whole numbers; a missing cell is coded as unseen."""
        return x[..., 0].nan_to_num(float(self.n_codes)).long()

    def start(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share = self.features(x).mean(0)
        return share.clamp_min(self.unseen).log(), torch.full_like(share, DISCRETE_GAIN), share.new_zeros(0)

    def margins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _started(self, x)

    def given(self, shared: Tensor) -> Density:
        return partial(self.log_prob, shared=shared)

    def log_prob(self, x: Tensor, outputs: Tensor, shared: Tensor) -> Tensor:
        any_code = math.log(self.unseen / (self.n_codes + 1))
        known = log_softmax(outputs, -1) + math.log1p(-self.unseen)
        spread = torch.full_like(known[..., :1], any_code)
        log_mass = torch.cat([torch.logaddexp(known, spread) - known.new_tensor(self.spread), spread], -1)
        codes = self._codes(x)[..., None]
        codes = codes.expand(*log_mass.shape[:-1], 1)
        return torch.where(x.isnan(), torch.zeros_like(spread), log_mass.gather(-1, codes))

    def expected(self, outputs: Tensor, shared: Tensor) -> Tensor:
        return outputs.argmax(-1, keepdim=True).to(outputs.dtype)

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        """Largest logit plus Gumbel noise."""
        gumbel = -(-_uniform(outputs, generator).clamp(1e-12, 1 - 1e-7).log()).log()
        return (outputs + gumbel).argmax(-1, keepdim=True).to(outputs.dtype)


@dataclass(frozen=True)
class SquaredError:
    """The plain autoencoder's term: minus the squared distance of the encoder's features from their reconstruction.

    Not a density. Of a code's features, one for each value, the squares are summed.
    """

    cells: Likelihood

    @property
    def n_cells(self) -> int:
        return self.cells.n_cells

    @property
    def n_features(self) -> int:
        return self.cells.n_features

    @property
    def n_outputs(self) -> int:
        return self.cells.n_features

    @property
    def n_shared(self) -> int:
        return 0

    def features(self, x: Tensor) -> Tensor:
        return self.cells.features(x)

    def start(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means = self.features(x).mean(0)
        return means, torch.ones_like(means), means.new_zeros(0)

    def margins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _started(self, x)

    def given(self, shared: Tensor) -> Density:
        return partial(self.log_prob, shared=shared)

    def log_prob(self, x: Tensor, outputs: Tensor, shared: Tensor) -> Tensor:
        error = ((self.features(x) - outputs) ** 2).unflatten(-1, (self.n_cells, -1)).sum(-1)
        return torch.where(x.isnan(), torch.zeros_like(error), -error)

    def expected(self, outputs: Tensor, shared: Tensor) -> Tensor:
        if isinstance(self.cells, Numbers):
            return outputs
        return self.cells.expected(outputs - 0.5, shared)  # features of two values lie at 0 and 1

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        raise TypeError("A squared error is not a density and has nothing to draw from.")


@dataclass(frozen=True)
class Mixed:
    """A mixed table: slices of its columns, each under a density of its own.

    ``indicators`` names the cells that were missing in some training rows: the encoder is told where they are missing.
    """

    blocks: tuple[Likelihood, ...]
    indicators: tuple[int, ...] = ()

    @cached_property
    def n_cells(self) -> int:
        return sum(block.n_cells for block in self.blocks)

    @cached_property
    def n_features(self) -> int:
        return sum(block.n_features for block in self.blocks) + len(self.indicators)

    @cached_property
    def n_outputs(self) -> int:
        return sum(block.n_outputs for block in self.blocks)

    @cached_property
    def n_shared(self) -> int:
        return sum(block.n_shared for block in self.blocks)

    @cached_property
    def _parts(self) -> list[tuple[Likelihood, slice, slice, slice]]:
        """Each block with its slices of cells, outputs and shared numbers."""
        slices = [
            [slice(a, b) for a, b in pairwise(accumulate(widths, initial=0))]
            for widths in (
                [block.n_cells for block in self.blocks],
                [block.n_outputs for block in self.blocks],
                [block.n_shared for block in self.blocks],
            )
        ]
        return list(zip(self.blocks, *slices, strict=True))

    def features(self, x: Tensor) -> Tensor:
        parts = [block.features(x[..., cells]) for block, cells, _, _ in self._parts]
        if self.indicators:
            parts.append(x[..., list(self.indicators)].isnan().to(x.dtype))
        return torch.cat(parts, -1)

    def start(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        widths = [block.n_features for block in self.blocks]
        noises = noise[: sum(widths)].split(widths)
        starts = [b.start(x[:, cells], n) for (b, cells, _, _), n in zip(self._parts, noises, strict=True)]
        outputs, gains, shared = (torch.cat(parts) for parts in zip(*starts, strict=True))
        return outputs, gains, shared

    def margins(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = [block.margins(x[..., cells]) for block, cells, _, _ in self._parts]
        outputs, shared = (torch.cat(parts) for parts in zip(*found, strict=True))
        return outputs, shared

    def given(self, shared: Tensor) -> Density:
        parts = [(block.given(shared[..., part]), cells, outputs) for block, cells, outputs, part in self._parts]
        if len(parts) == 1:
            return parts[0][0]
        return lambda x, outputs: torch.cat([density(x[..., c], outputs[..., o]) for density, c, o in parts], -1)

    def log_prob(self, x: Tensor, outputs: Tensor, shared: Tensor) -> Tensor:
        return self.given(shared)(x, outputs)

    def expected(self, outputs: Tensor, shared: Tensor) -> Tensor:
        return torch.cat([b.expected(outputs[..., o], shared[..., s]) for b, _, o, s in self._parts], -1)

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        return torch.cat([b.sample(outputs[..., o], shared[..., s], generator) for b, _, o, s in self._parts], -1)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, dtype=like.dtype, device=like.device, generator=generator)


NUMBER_LIKELIHOODS: dict[str, Callable[[tuple[float, ...]], Likelihood]] = {
    "gaussian": Gaussian,
    "student_t": StudentT,
    "bernoulli": BernoulliPixels,
}
