"""Densities of table cells given the decoder's outputs, in nats.

Arrays end in cells: ``x`` is (..., n_cells); a NaN cell was not observed and counts 0, a cell of plus infinity is one
that no value could be read from, such as text in a column of numbers. ``outputs`` (..., n_outputs) come from the
decoder for each row, ``shared`` (..., n_shared) are parameters learned once for all rows, such as the noise scale of
each column.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from scipy.special import stdtrit
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot, softplus

START_SCALE = 0.3  # noise scale of a standardised number before training, without a PCA initialisation
DISCRETE_GAIN = 4.0  # slope of the logit at one half: how a linear path starts to move a probability
MOST_EXPECTED = 10.0  # deviations; an expected number beyond would diverge if encoded and decoded again and again
LEAST_SCALE = 1e-3  # noise scale of a marginal fit, of a standardised number: no division by zero
CELL_RANGE = 1440.0  # the logarithm of the largest float is 710, so standardised numbers lie between -720 and 720
UNREADABLE_ERROR = 10.0**2  # squared error of an unreadable number: it counts as 10 deviations away


Density = Callable[[Tensor, Tensor], Tensor]  # cells and outputs to the log density of each cell


class Likelihood(ABC):
    """A density of cells.

    Attributes
    ----------
    n_cells : int
        Columns of ``x``.
    n_features : int
        Columns that the encoder sees of the cells.
    n_outputs : int
        Columns that the decoder gives for each row.
    n_shared : int
        Parameters learned once for all rows.
    """

    n_cells: int
    n_features: int
    n_outputs: int
    n_shared: int

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Cells as the encoder sees them, always finite."""

    @abstractmethod
    def start(self, x: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of a decoder that knows only the means of ``x``, its gain per feature, and the shared parameters.

        ``scales`` (features,) is the initial noise scale of each feature that has one.
        """

    def marginals(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and shared parameters of the greatest likelihood of ``x`` if all rows have the same outputs."""
        outputs, _, shared = self.start(x, x.new_ones(self.n_features))
        return outputs, shared

    @abstractmethod
    def density(self, shared: Tensor) -> Density:
        """The density for these shared parameters; everything that depends on them alone is computed once."""

    def log_prob(self, x: Tensor, outputs: Tensor, shared: Tensor) -> Tensor:
        """Log density of each cell; unobserved cells count 0."""
        return self.density(shared)(x, outputs)

    def offsets(self, outputs: Tensor, shares: Tensor) -> Tensor:
        """Outputs (members, codes) of new category codes that have these ``shares`` (codes,) of the rows.

        ``outputs`` (members, rows, n_outputs) are those of some rows with the known codes.
        """
        raise TypeError("Only categories have codes.")

    @abstractmethod
    def expected(self, outputs: Tensor) -> Tensor:
        """Expected cell: the mean of a number, the most probable value of anything else."""

    @abstractmethod
    def expected_features(self, outputs: Tensor) -> Tensor:
        """Mean of the features of a cell drawn from the density."""

    def observed(self, x: Tensor) -> Tensor:
        """Mask (..., features) of the features that come from observed cells."""
        return x.isfinite().repeat_interleave(self.n_features // self.n_cells, -1)

    @abstractmethod
    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        """Cells drawn from the density."""


class Numbers(Likelihood):
    """Base of the densities of standardised numbers: one output a cell, its location, and a floor for the scale.

    With probability ``unseen`` a cell is unreadable: it stands for any number that a cell can hold, all equally likely.
    A readable number has the rest of the probability.
    """

    shared_per_cell: ClassVar[int]

    def __init__(self, floors: tuple[float, ...], unseen: float = 0.0) -> None:
        self.floors, self.unseen = floors, unseen
        self.log_unseen = math.log(unseen / CELL_RANGE) if unseen else -math.inf
        self.n_cells = self.n_features = self.n_outputs = len(floors)
        self.n_shared = self.shared_per_cell * len(floors)

    def features(self, x: Tensor) -> Tensor:
        return _observed(x)[0]

    def expected(self, outputs: Tensor) -> Tensor:
        return outputs

    def expected_features(self, outputs: Tensor) -> Tensor:
        return self.expected(outputs).clamp(-MOST_EXPECTED, MOST_EXPECTED)


class Gaussian(Numbers):
    """Gaussian in each column: the decoder gives the mean; the noise scale is learned per column, above its floor.

    With a noise scale fixed at 1 the rows would rank as in principal component analysis (sigma-VAE, arXiv 2006.13202).
    """

    shared_per_cell = 1

    def start(self, x: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means = _column_means(x)
        return means, torch.ones_like(means), raw_scale(scales, self.floors)

    def marginals(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, seen = _observed(x)
        means = _column_means(x)
        variances = ((value - means).square() * seen).sum(0) / seen.sum(0).clamp_min(1)
        return means, raw_scale(variances.sqrt().clamp_min(LEAST_SCALE), self.floors)

    def density(self, shared: Tensor) -> Density:
        scale = floored_scale(shared, self.floors)
        norm = math.log1p(-self.unseen) - scale.log() - 0.5 * math.log(2 * math.pi)

        def log_prob(x: Tensor, outputs: Tensor) -> Tensor:
            value, seen = _observed(x)
            log_density = norm - 0.5 * ((value - outputs) / scale) ** 2
            without_value = torch.where(x.isnan(), torch.zeros_like(x), torch.full_like(x, self.log_unseen))
            return torch.where(seen, log_density, without_value)

        return log_prob

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        draws = torch.randn(outputs.shape, dtype=outputs.dtype, device=outputs.device, generator=generator)
        return outputs + floored_scale(shared, self.floors) * draws


class StudentT(Numbers):
    """Student-t in each column: the decoder gives the location; scale and degrees of freedom are learned per column."""

    shared_per_cell = 2

    def start(self, x: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means = _column_means(x)
        log_scale = raw_scale(scales, self.floors)
        return means, torch.ones_like(means), torch.cat([log_scale, torch.full_like(log_scale, 3.0)])

    def marginals(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale by parameter-expanded EM (Liu, Rubin and Wu 1998), the best of a few dfs."""
        rounds = 12
        value, seen = _observed(x)
        loc = torch.where(seen, x, torch.nan).nanmedian(0).values.nan_to_num(0.0)
        scale = ((value - loc).abs() * seen).sum(0) / seen.sum(0).clamp_min(1) + LEAST_SCALE
        found: list[tuple[Tensor, Tensor]] = []
        for df in (2.1, 3.0, 4.5, 8.0, 20.0, 100.0):
            for _ in range(rounds):
                weight = seen / (df + ((value - loc) / scale).square())
                total = weight.sum(0).clamp_min(1e-12)
                loc = (weight * value).sum(0) / total
                scale = ((weight * (value - loc).square()).sum(0) / total).sqrt() + LEAST_SCALE
            raw_df = torch.full_like(scale, math.log(math.expm1(df - 2)))
            found.append((loc, torch.stack([raw_scale(scale, self.floors), raw_df])))
        likelihoods = torch.stack([self.log_prob(x, loc, shared.flatten()).sum(0) for loc, shared in found])
        best, columns = likelihoods.argmax(0), torch.arange(x.shape[1], device=x.device)
        locs, shareds = torch.stack([loc for loc, _ in found]), torch.stack([shared for _, shared in found], -1)
        return locs[best, columns], shareds[:, columns, best].flatten()

    def density(self, shared: Tensor) -> Density:
        log_scale, raw_df = shared.chunk(2, -1)
        scale, df = floored_scale(log_scale, self.floors), 2 + softplus(raw_df)
        norm = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * (df * math.pi).log() - scale.log()
        norm = norm + math.log1p(-self.unseen)
        power, rate = (df + 1) / 2, 1 / (scale * df.sqrt())

        def log_prob(x: Tensor, outputs: Tensor) -> Tensor:
            value, seen = _observed(x)
            if outputs.requires_grad:
                log_density = norm - power * torch.log1p(((value - outputs) / scale) ** 2 / df)
            else:  # the same in fewer passes
                log_density = (value - outputs).mul_(rate).square_().log1p_().mul_(-power).add_(norm)
            without_value = torch.where(x.isnan(), torch.zeros_like(x), torch.full_like(x, self.log_unseen))
            return torch.where(seen, log_density, without_value)

        return log_prob

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        """Quantiles at uniform draws: torch has no t or gamma variates that take a generator."""
        log_scale, raw_df = shared.chunk(2, -1)
        scale, df = floored_scale(log_scale, self.floors), 2 + softplus(raw_df)
        uniform = _uniform(outputs, generator).cpu().double().clamp(1e-12, 1 - 1e-12)
        quantiles = stdtrit(df.cpu().double().numpy(), uniform.numpy())
        return outputs + scale * torch.as_tensor(quantiles).to(outputs)


class BernoulliPixels(Numbers):
    """Pixels from 0 to 1: the decoder gives the logit of white.

    A grey pixel is the probability of a white one: its log density is the expected log mass of such a draw, so the ELBO
    is the expected ELBO of the image in black and white (Salakhutdinov and Murray 2008 binarise digits this way).
    """

    shared_per_cell = 0

    def start(self, x: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rate = _column_means(x).clamp(5e-3, 1 - 5e-3)
        return rate.logit(), torch.full_like(rate, DISCRETE_GAIN), rate.new_zeros(0)

    def density(self, shared: Tensor) -> Density:
        def log_prob(x: Tensor, outputs: Tensor) -> Tensor:
            value, seen = _observed(x)
            log_mass = value * outputs - softplus(outputs)
            return torch.where(seen, log_mass, torch.zeros_like(log_mass))

        return log_prob

    def expected(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        """The expected grey: no image of training is only black and white."""
        return outputs.sigmoid()


class Bernoulli(Likelihood):
    """Columns of two values, 0 and 1; the decoder gives the logit of 1.

    Any other value, an unreadable one included, was never seen in training. With probability ``unseen`` a cell is one
    of three values, all equally likely, so nothing is impossible and no cell outweighs a row.
    """

    def __init__(self, n_cells: int, unseen: float) -> None:
        self.n_cells = self.n_features = self.n_outputs = n_cells
        self.n_shared, self.unseen = 0, unseen

    def features(self, x: Tensor) -> Tensor:
        known = (x == 0) | (x == 1)
        return torch.where(known, x, torch.full_like(x, 0.5))

    def start(self, x: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rate = _column_means(torch.where(x > 1, torch.nan, x)).clamp(0.5 * self.unseen, 1 - 0.5 * self.unseen)
        return rate.logit(), torch.full_like(rate, DISCRETE_GAIN), rate.new_zeros(0)

    def density(self, shared: Tensor) -> Density:
        log_any, log_known = math.log(self.unseen / 3), math.log1p(-self.unseen)

        def log_prob(x: Tensor, outputs: Tensor) -> Tensor:
            value, seen = x, ~x.isnan()
            one, zero = logsigmoid(outputs), logsigmoid(-outputs)
            chosen = torch.where(value == 1, one, zero) + log_known
            known = (value == 0) | (value == 1)
            any_value = torch.full_like(chosen, log_any)
            log_mass = torch.where(known, torch.logaddexp(chosen, any_value), any_value)
            return torch.where(seen, log_mass, torch.zeros_like(log_mass))

        return log_prob

    def expected(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).to(outputs.dtype)

    def expected_features(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        return (_uniform(outputs, generator) < outputs.sigmoid()).to(outputs.dtype)


class Categorical(Likelihood):
    """One column of category codes 0 to ``n_codes`` - 1; the decoder gives a logit for each.

    Code ``n_codes`` was never seen in training. With probability ``unseen`` the cell is one of the ``n_codes`` + 1
    codes, all equally likely. ``spread`` is the log of the number of table values behind each code, which divide its
    probability.
    """

    def __init__(self, n_codes: int, unseen: float, spread: tuple[float, ...]) -> None:
        self.n_cells, self.n_shared = 1, 0
        self.n_features = self.n_outputs = self.n_codes = n_codes
        self.unseen, self.spread = unseen, spread

    def features(self, x: Tensor) -> Tensor:
        codes = x[..., 0].nan_to_num(float(self.n_codes)).long()  # a missing cell is coded as unseen
        return one_hot(codes, self.n_codes + 1)[..., : self.n_codes].to(x.dtype)

    def start(self, x: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        frequency = self.features(x).mean(0)
        gains = torch.full_like(frequency, DISCRETE_GAIN)
        return frequency.clamp_min(self.unseen).log(), gains, frequency.new_zeros(0)

    def offsets(self, outputs: Tensor, shares: Tensor) -> Tensor:
        """Logits: the log odds, beside the known codes of an average row."""
        odds = shares / (1 - shares.sum())
        return outputs.logsumexp(-1).mean(1, keepdim=True) + odds.log()

    def density(self, shared: Tensor) -> Density:
        log_any, log_known = math.log(self.unseen / (self.n_codes + 1)), math.log1p(-self.unseen)

        def log_prob(x: Tensor, outputs: Tensor) -> Tensor:
            codes = x.nan_to_num(float(self.n_codes)).long().expand(*outputs.shape[:-1], 1)
            code = codes.clamp_max(self.n_codes - 1)
            known = outputs.gather(-1, code) - outputs.logsumexp(-1, keepdim=True) + log_known
            any_code = torch.full_like(known, log_any)
            log_mass = torch.logaddexp(known, any_code) - known.new_tensor(self.spread)[code]
            log_mass = torch.where(codes < self.n_codes, log_mass, any_code)
            return torch.where(x.isnan(), torch.zeros_like(any_code), log_mass)

        return log_prob

    def expected(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(-1, keepdim=True).to(outputs.dtype)

    def expected_features(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(-1)

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        """Largest logit plus Gumbel noise."""
        gumbel = -(-_uniform(outputs, generator).clamp(1e-12, 1 - 1e-7).log()).log()
        return (outputs + gumbel).argmax(-1, keepdim=True).to(outputs.dtype)


class Frequency(Likelihood):
    """One column of codes that are as surprising as they are rare, whatever the other columns hold.

    The networks neither see the column nor explain it. ``nats`` is the surprise of each code, that of values never seen
    last.
    """

    def __init__(self, nats: tuple[float, ...]) -> None:
        self.n_cells, self.n_features, self.n_outputs, self.n_shared = 1, 0, 0, 0
        self.nats = nats

    def features(self, x: Tensor) -> Tensor:
        return x[..., :0]

    def start(self, x: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x.new_zeros(0), x.new_zeros(0), x.new_zeros(0)

    def density(self, shared: Tensor) -> Density:
        log_mass = -shared.new_tensor(self.nats)

        def log_prob(x: Tensor, outputs: Tensor) -> Tensor:
            codes = x.nan_to_num(0.0).long()
            found = torch.where(x.isnan(), torch.zeros_like(x), log_mass[codes])
            return found.expand(*outputs.shape[:-1], 1)

        return log_prob

    def expected(self, outputs: Tensor) -> Tensor:
        """The most frequent code."""
        return outputs.new_zeros(*outputs.shape[:-1], 1)

    def expected_features(self, outputs: Tensor) -> Tensor:
        return outputs

    def observed(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[..., :0], dtype=torch.bool)

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        return self.expected(outputs)


class SquaredError(Likelihood):
    """The plain autoencoder's term: minus the squared distance of the encoder's features from their reconstruction.

    It is not a density. The squares of a category code's features, one for each category, are summed. An unreadable
    number counts as one that is 10 deviations away, where the log-compressed tails begin.
    """

    def __init__(self, cells: Likelihood) -> None:
        self.cells, self.n_cells, self.n_shared = cells, cells.n_cells, 0
        self.n_features = self.n_outputs = cells.n_features

    def features(self, x: Tensor) -> Tensor:
        return self.cells.features(x)

    def start(self, x: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means = self.features(x).mean(0)
        return means, torch.ones_like(means), means.new_zeros(0)

    def offsets(self, outputs: Tensor, shares: Tensor) -> Tensor:
        """The mean of their features."""
        return shares.expand(len(outputs), -1)

    def density(self, shared: Tensor) -> Density:
        are_numbers = isinstance(self.cells, Numbers)

        def log_prob(x: Tensor, outputs: Tensor) -> Tensor:
            error = ((self.cells.features(x) - outputs) ** 2).unflatten(-1, (self.n_cells, -1)).sum(-1)
            if are_numbers:
                error = torch.where(x.isinf(), UNREADABLE_ERROR, error)
            return torch.where(x.isnan(), torch.zeros_like(error), -error)

        return log_prob

    def expected(self, outputs: Tensor) -> Tensor:
        if isinstance(self.cells, Numbers):
            return outputs
        return self.cells.expected(outputs - 0.5)  # features of two values are 0 and 1

    def expected_features(self, outputs: Tensor) -> Tensor:
        return outputs.clamp(-MOST_EXPECTED, MOST_EXPECTED)

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        raise TypeError("A squared error is not a density and has nothing to draw from.")


class Mixed(Likelihood):
    """A mixed table: blocks of its columns, each with a density of its own.

    ``indicators`` are the cells that were missing in some training rows: the encoder gets a feature for each that is 1
    where it is missing or unreadable.
    """

    def __init__(self, blocks: tuple[Likelihood, ...], indicators: tuple[int, ...] = ()) -> None:
        self.blocks, self.indicators = blocks, indicators
        self._parts: list[tuple[Likelihood, slice, slice, slice]] = []  # with its slices of cells, outputs, shared
        cells = outputs = shared = 0
        for block in blocks:
            ends = cells + block.n_cells, outputs + block.n_outputs, shared + block.n_shared
            self._parts.append((block, slice(cells, ends[0]), slice(outputs, ends[1]), slice(shared, ends[2])))
            cells, outputs, shared = ends
        self.n_cells, self.n_outputs, self.n_shared = cells, outputs, shared
        self.n_features = sum(block.n_features for block in blocks) + len(indicators)

    def growth(self, fewer: "Mixed", means: Tensor) -> tuple[Tensor, Tensor]:
        """Features and outputs here in terms of those with fewer category codes, two matrices (here, with fewer).

        A new code is the average of the known ones as a feature, and nothing as an output. ``means`` (features,) are
        those of the features with fewer codes.
        """
        inputs, outputs = [], []
        averages = means[: len(means) - len(self.indicators)].split([block.n_features for block in fewer.blocks])
        for block, other, known in zip(self.blocks, fewer.blocks, averages, strict=True):
            added = block.n_features - other.n_features
            average = known / known.sum().clamp_min(1e-12) if added else known
            inputs.append(torch.cat([torch.eye(len(known)).to(known), average.expand(added, -1)]))
            outputs.append(torch.eye(block.n_outputs, other.n_outputs).to(known))
        return torch.block_diag(*inputs, torch.eye(len(self.indicators)).to(means)), torch.block_diag(*outputs)

    def new_offsets(self, outputs: Tensor, shares: Mapping[int, Tensor]) -> Tensor:
        """What `offsets` gives for the cells in ``shares``, behind the known codes; 0 for all that is not new."""
        parts = []
        for block, cells, part, _ in self._parts:
            known = outputs[..., part]
            parts.append(torch.zeros_like(known[:, 0]))
            if cells.start in shares:
                parts.append(block.offsets(known, shares[cells.start]))
        return torch.cat(parts, -1)

    def features(self, x: Tensor) -> Tensor:
        parts = [block.features(x[..., cells]) for block, cells, _, _ in self._parts]
        if self.indicators:
            parts.append((~x[..., list(self.indicators)].isfinite()).to(x.dtype))
        return torch.cat(parts, -1)

    def observed(self, x: Tensor) -> Tensor:
        parts = [block.observed(x[..., cells]) for block, cells, _, _ in self._parts]
        if self.indicators:  # a completed row has none
            parts.append(torch.zeros_like(x[..., list(self.indicators)], dtype=torch.bool))
        return torch.cat(parts, -1)

    def start(self, x: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        widths = [block.n_features for block in self.blocks]
        of_blocks = scales[: sum(widths)].split(widths)
        starts = [b.start(x[:, cells], s) for (b, cells, _, _), s in zip(self._parts, of_blocks, strict=True)]
        outputs, gains, shared = (torch.cat(parts) for parts in zip(*starts, strict=True))
        return outputs, gains, shared

    def marginals(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = [block.marginals(x[..., cells]) for block, cells, _, _ in self._parts]
        outputs, shared = (torch.cat(parts) for parts in zip(*found, strict=True))
        return outputs, shared

    def density(self, shared: Tensor) -> Density:
        parts = [(block.density(shared[..., part]), cells, outputs) for block, cells, outputs, part in self._parts]
        if len(parts) == 1:
            return parts[0][0]
        return lambda x, outputs: torch.cat([density(x[..., c], outputs[..., o]) for density, c, o in parts], -1)

    def expected(self, outputs: Tensor) -> Tensor:
        return torch.cat([block.expected(outputs[..., o]) for block, _, o, _ in self._parts], -1)

    def expected_features(self, outputs: Tensor) -> Tensor:
        parts = [block.expected_features(outputs[..., o]) for block, _, o, _ in self._parts]
        indicators = outputs.new_zeros(*outputs.shape[:-1], len(self.indicators))
        return torch.cat([*parts, indicators], -1)

    def sample(self, outputs: Tensor, shared: Tensor, generator: torch.Generator) -> Tensor:
        return torch.cat([b.sample(outputs[..., o], shared[..., s], generator) for b, _, o, s in self._parts], -1)


NUMBER_LIKELIHOODS: dict[str, type[Numbers]] = {
    "gaussian": Gaussian,
    "student_t": StudentT,
    "bernoulli": BernoulliPixels,
}


def floored_scale(log_scale: Tensor, floors: tuple[float, ...]) -> Tensor:
    """Scale that approaches its floor smoothly: duplicated values cannot drive a density to infinity."""
    return (log_scale.new_tensor(floors) ** 2 + (2 * log_scale.clamp(-12.0, 8.0)).exp()).sqrt()


def raw_scale(scale: Tensor, floors: tuple[float, ...]) -> Tensor:
    """Log scale whose floored scale is ``scale``, or at least half a ``scale`` where the floor is as high."""
    return 0.5 * (scale**2 - scale.new_tensor(floors) ** 2).clamp_min(0.25 * scale**2).log()


def _observed(x: Tensor) -> tuple[Tensor, Tensor]:
    """Cells with 0 where one is missing or unreadable, and a mask of the others."""
    seen = x.isfinite()
    return torch.where(seen, x, torch.zeros_like(x)), seen


def _column_means(x: Tensor) -> Tensor:
    cells_at_once = 2**18  # all at once takes twice the memory of x
    rows = x.split(max(1, cells_at_once // max(1, x.shape[1])))
    seen = sum(part.isfinite().sum(0) for part in rows)
    total = sum(torch.where(part.isfinite(), part, 0.0).sum(0) for part in rows)
    return torch.as_tensor(total / seen).nan_to_num(0.0)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, dtype=like.dtype, device=like.device, generator=generator)
