"""Scores of rows under a trained model: the same for a row in whatever batch it comes."""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.data.columns import Cell
from vae_anomaly.data.schema import EncodedMatrix
from vae_anomaly.errors import FitWarning, ModelFileError
from vae_anomaly.model.likelihoods import Mixed, Numbers
from vae_anomaly.model.nearest import NEAREST, MemberSearch, fit_kernels
from vae_anomaly.model.objectives import ELBO, Objective
from vae_anomaly.model.priors import ExemplarPrior, GaussianPrior, NearestPrior, Prior, log_weights
from vae_anomaly.model.vae import ALIKE, VAE
from vae_anomaly.parallel import InHalves, in_pieces, memory_errors
from vae_anomaly.scoring.calibration import core_limit
from vae_anomaly.scoring.cells import OutstandingCells
from vae_anomaly.scoring.missing import MissingCells

FEW = 256  # exemplars up to which every row sees all of them, as in training
MOST = 20_000  # exemplars; more would add little, and megabytes to a model file
CORE_POOL = 8192  # training rows among which the core of a contaminated table is chosen
CHUNK_BYTES = 16 * 2**20  # of the largest array that the nets make
CHUNK_ROWS = 5 * ALIKE  # at most, on a processor
MOSTLY = 0.75  # of the features are numbers: then kernels may have widths of their own
DRAW_ROWS = 128  # rows of which the mean score chooses the draws
SAMPLE_ROWS = 4096  # drawn at a time

Result = TypeVar("Result")


def make_scorer(
    vae: VAE,
    objective: Objective,
    x: EncodedMatrix,
    *,
    exemplars: bool,
    starts_at_pca: bool,
    leave_one_out: bool,
    contamination: str | float,
    n_draws: int,
    dtype: torch.dtype,
    rng: np.random.Generator,
    draws: Tensor | None = None,
) -> "Scorer":
    """Scorer of a trained model: a frozen copy of it, draws that all rows share, and exemplars.

    Without contamination every distinct row is an exemplar, up to 20,000, and a model that ``starts_at_pca`` gets
    kernels fitted to them, because in training the bandwidth belonged to the few exemplars of a step. The posteriors of
    such a model are narrower than the kernels; those of others need not be. The kernels have one width where flags and
    categories are many: rows with a rare level lie apart from all others without being a loose group.

    Where the training rows may hold anomalies (``leave_one_out``), there are as few exemplars as in training, and they
    come from the core of the table: rows are scored against exemplars of all kinds first, and those below its limit
    are left out. The bandwidth stays as trained, because the likeliest one would follow the anomalies.

    Parameters
    ----------
    vae : VAE
        Trained on the encoded rows ``x`` (rows, cells).
    objective : Objective
        Its bound is the score.
    exemplars : bool
        Whether the prior has exemplars, or is the standard normal.
    starts_at_pca : bool
        Whether training started at principal components.
    leave_one_out : bool
        Whether rows to score may be training rows, which must not explain themselves.
    contamination : "auto" or float
        Fraction of anomalies among the rows.
    n_draws : int
        Draws for each row, unless ``draws`` (draws, latents) are given.
    dtype : torch.dtype
        Type of the arithmetic.
    rng : numpy.random.Generator
        Source of all randomness.
    """
    frozen = copy.deepcopy(vae).to(dtype).freeze()
    scorer = Scorer(frozen, objective, frozen.shared if draws is None else draws, None, leave_one_out)
    if draws is None:
        scorer = replace(scorer, draws=choose_draws(scorer, x, n_draws, rng))
    if not exemplars:
        return scorer
    if leave_one_out:
        core_draws = 2
        pool = x[rng.permutation(len(x))[:CORE_POOL]]
        first = replace(scorer, objective=ELBO(), draws=scorer.draws[:core_draws])
        scores = replace(first, exemplars=Exemplars.drawn(frozen, pool, FEW, rng)).score(pool)
        core = pool[scores >= core_limit(scores, contamination)]
        return replace(scorer, exemplars=Exemplars.drawn(frozen, core, FEW, rng))
    clean = Exemplars.drawn(frozen, x, MOST, rng)
    if starts_at_pca:
        blocks = frozen.likelihood.blocks if isinstance(frozen.likelihood, Mixed) else (frozen.likelihood,)
        of_numbers = sum(block.n_features for block in blocks if isinstance(block, Numbers))
        local = of_numbers >= MOSTLY * frozen.likelihood.n_features
        for member, means in enumerate(clean.means):
            fitted, clean.log_widths[member] = fit_kernels(means.double(), NEAREST, local=local)
            frozen.log_bandwidth[member] = vae.shared.new_tensor(math.log(fitted)).item()  # rounded as it is in a file
    return replace(scorer, exemplars=clean)


def choose_draws(scorer: "Scorer", x: EncodedMatrix, n_draws: int, rng: np.random.Generator) -> Tensor:
    """Draws (draws, latents) that all rows share: of several sets, the one that gives the rows ``x`` their mean level.

    A few draws cannot integrate how pairs of latents act together, so that the level of all scores depends on them. The
    scores' mean over all sets is nearly that of many draws. An only set is random; several are the same in every fit.
    """
    few = x[np.linspace(0, len(x) - 1, min(len(x), DRAW_ROWS)).astype(int)]
    like, latents, n_sets = scorer.vae.shared, scorer.vae.n_components, scorer.objective.draw_sets
    fixed = np.random.default_rng(0)
    drawn = [scorer.objective.draws(rng if n_sets == 1 else fixed, n_draws, latents) for _ in range(n_sets)]
    sets = [torch.as_tensor(draws, dtype=like.dtype, device=like.device) for draws in drawn]
    levels = np.array([replace(scorer, draws=draws, exemplars=None).score(few).mean() for draws in sets])
    return sets[int(np.abs(levels - levels.mean()).argmin())]


@dataclass(frozen=True)
class Scorer:
    """A trained model with everything that its scores depend on.

    ``draws`` (draws, latents) are the same for all rows. With ``leave_one_out``, rows to score may
    be training rows, which must not explain themselves.
    """

    vae: VAE
    objective: Objective
    draws: Tensor
    exemplars: "Exemplars | None"
    leave_one_out: bool
    missing: MissingCells | None = None
    outstanding: OutstandingCells | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Type of the arithmetic."""
        return self.draws.dtype

    @property
    def device(self) -> torch.device:
        """Device of the arithmetic."""
        return self.draws.device

    def score(self, x: np.ndarray) -> np.ndarray:
        """Score of each row, (rows,), mean over the members, in nats: the lower, the more anomalous.

        Each distinct row is scored once, because tables of few values repeat themselves. A row gets the same bits in
        whatever batch, on a processor and where memory does not run out: the last bits of products and sums depend on
        how many rows there are, so the last chunk is filled up with repeats.
        """

        def fill(scores: np.ndarray, excess: np.ndarray, rows: np.ndarray) -> None:
            scores[:] = _numpy(self.objective.score(*self.inputs(rows)).mean(0))
            if self.outstanding is not None:
                excess[:] = self._excess_of(rows).sum(1)

        inverse: np.ndarray | None = None
        if len(x) > 1:
            keys = row_keys(x)
            ordered = np.sort(keys)
            if (ordered[1:] == ordered[:-1]).any():
                _, first, positions = np.unique(keys, return_index=True, return_inverse=True)
                if np.array_equal(x[first][positions], x, equal_nan=True):  # else different rows share a key
                    x, inverse = x[first], positions
        n_filled = len(x) + -len(x) % len(self.filled(x[:1]))
        filled = np.zeros((2, n_filled))  # written in place: many small results would leave memory in holes
        self.by_chunk(fill, *filled, x)
        scores, excess = filled[:, : len(x)]
        if self.missing is not None:
            scores = self.missing.adjusted(scores, x)
        scores = scores - excess
        if not np.isfinite(scores).all():  # no fit ends so
            raise ModelFileError(
                "The model gives scores that are not finite: its file is damaged. Fit the model again."
            )
        return scores if inverse is None else scores[inverse]

    def excess(self, x: np.ndarray) -> np.ndarray:
        """Nats (rows, columns) that outstanding cells add to the anomaly score."""
        return np.concatenate(self.by_chunk(self._excess_of, self.filled(x)))[: len(x)]

    def cell_nats(self, x: np.ndarray) -> np.ndarray:
        """Negative log-likelihood (rows, columns) of cells under the model of `OutstandingCells`; NaN for missing."""
        assert self.outstanding is not None
        nats = self.outstanding.negative_log_likelihood
        parts = self.by_chunk(lambda rows: _numpy(nats(self.tensor(rows))), self.filled(x))
        return np.concatenate(parts)[: len(x)]

    def filled(self, x: np.ndarray) -> np.ndarray:
        """The rows with repeats of the last one, as in `score`: cells get the same bits there and here."""
        alike = self.vae.alike if self.outstanding is None else max(self.vae.alike, self.outstanding.vae.alike)
        return np.concatenate([x, x[-1:].repeat(-len(x) % alike, 0)])

    def _excess_of(self, rows: np.ndarray) -> np.ndarray:
        assert self.missing is not None
        assert self.outstanding is not None
        nats = _numpy(self.outstanding.negative_log_likelihood(self.tensor(rows)))
        return self.outstanding.excess(rows, nats, self.missing.charged_nats(rows))

    def by_member(self, x: np.ndarray) -> np.ndarray:
        """Score of each row in each member, (members, rows), in nats; `score` is their mean."""
        parts = self.by_chunk(lambda rows: _numpy(self.objective.score(*self.inputs(rows))), x)
        return np.concatenate(parts, 1)

    def masked_scores(self, masked: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Scores (rows,) of rows ``x`` of which cells were removed, not on the scale of complete rows.

        The exemplar that a row of ``x`` is does not count for it.
        """
        scorer = replace(self, leave_one_out=True)
        parts = self.by_chunk(lambda m, rows: _numpy(self.objective.score(*scorer.inputs(m, rows)).mean(0)), masked, x)
        return np.concatenate(parts)

    def inputs(
        self, rows: np.ndarray, same: np.ndarray | None = None
    ) -> tuple[VAE, Tensor, Prior, Tensor, tuple[Tensor, Tensor]]:
        """Arguments of the objective's verbs for rows of a chunk.

        Exemplars that are left out are found by the rows ``same``, where given.
        """
        vae, exemplars, x = self.vae, self.exemplars, self.tensor(rows)
        if x.device.type == "cpu":
            x = x.mT.contiguous().mT  # each column contiguous, as in the nets
        prior: Prior = self.prior
        posterior = vae.encode(x)
        if exemplars is not None and self.leave_one_out:
            own = posterior[0] if same is None else vae.encode(self.tensor(same))[0]
        if exemplars is not None and (len(exemplars.counts) > FEW or exemplars.log_widths.any()):
            prior = exemplars.nearest_prior(vae.log_bandwidth, posterior[0], own if self.leave_one_out else None)
        elif exemplars is not None and self.leave_one_out:
            assert isinstance(prior, ExemplarPrior)
            prior = exemplars.leave_out(prior, own)
        return vae, x, prior, self.draws[:, None, None], posterior

    @cached_property
    def prior(self) -> GaussianPrior | ExemplarPrior:
        """Prior of rows that are not among the exemplars."""
        if self.exemplars is None:
            return self.vae.standard_normal()
        return self.exemplars.prior(self.vae.log_bandwidth)

    def posteriors(self, x: np.ndarray, members: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means and variances of all members or the first few, each (members, rows, latents)."""

        def encode(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            mean, log_var = self.vae.encode(self.tensor(rows))
            return _numpy(mean[:members]), _numpy(log_var.exp()[:members])

        means, variances = zip(*self.by_chunk(encode, x), strict=True)
        return np.concatenate(means, 1), np.concatenate(variances, 1)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Posterior means of the first member, (rows, latents)."""
        return self.posteriors(x, 1)[0][0]

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Expected cells (rows, cells) of latents ``z`` (rows, latents) under the first member."""

        def decode(rows: np.ndarray) -> np.ndarray:
            outputs = self.vae.decode(self.tensor(rows).expand(1, self.vae.n_estimators, -1, -1))
            return _numpy(self.vae.likelihood.expected(outputs)[0, 0])

        return np.concatenate(self.by_chunk(decode, z))

    @torch.no_grad()
    def sample(self, n_rows: int, seed: int) -> np.ndarray:
        """New rows (n_rows, cells): latents from the prior, cells from the decoder of a member drawn for each row."""
        vae, generator = self.vae, torch.Generator(self.device).manual_seed(seed)
        rows = np.empty((n_rows, vae.likelihood.n_cells))
        for part in np.array_split(rows, range(SAMPLE_ROWS, n_rows, SAMPLE_ROWS)):
            with memory_errors(self.device, f"{len(part)} sampled rows"):
                if self.exemplars is None:
                    z = vae.standard_normal().sample(vae.n_estimators, len(part), generator)
                else:
                    z = self.exemplars.sample(vae.log_bandwidth, len(part), generator)
                cells = vae.likelihood.sample(vae.decode(z[None])[0], vae.shared, generator)
                member = torch.randint(vae.n_estimators, (len(part),), generator=generator, device=self.device)
                part[:] = _numpy(cells[member, torch.arange(len(part), device=self.device)])
        return rows

    def by_chunk(self, work: Callable[..., Result], *arrays: np.ndarray) -> list[Result]:
        """Results of ``work``, without gradients, on chunks of rows: in parallel on a processor, in turn on a GPU.

        The arrays are sliced alike; ``work`` takes a slice of each. Where the last array is shorter than the first, its
        last row is repeated. Where memory runs out, chunks are halved.

        Warns
        -----
        FitWarning
            Once, if chunks were halved.

        Raises
        ------
        DeviceError
            There is not enough memory for one row.
        """
        vae, likelihood, on_cpu = self.vae, self.vae.likelihood, self.draws.device.type == "cpu"
        widest = max(likelihood.n_cells, likelihood.n_features, likelihood.n_outputs, vae.n_components)
        size = CHUNK_BYTES // (8 * vae.n_estimators * len(self.draws) * widest)
        size = max(1, min(CHUNK_ROWS, size) if on_cpu else 16 * size)  # enough at once to keep a GPU busy
        size = min(size, vae.alike) if vae.alike < ALIKE else size // vae.alike * vae.alike or size
        chunks = [[array[first : first + size] for array in arrays] for first in range(0, len(arrays[0]), size)]
        for chunk in chunks[len(arrays[-1]) // size :]:
            repeats = arrays[-1][-1:].repeat(len(chunk[0]) - len(chunk[-1]), 0)
            chunk[-1] = np.concatenate([chunk[-1], repeats]) if len(repeats) else chunk[-1]
        halving = InHalves(torch.no_grad()(work), self.draws.device)
        found = in_pieces(halving, chunks, torch.get_num_threads() if on_cpu else 1)
        if halving.most < size:
            message = f"Not enough memory for {size} rows at a time: at most {halving.most} were taken."
            warnings.warn(message, FitWarning, stacklevel=3)
        return [result for results in found for result in results]

    def tensor(self, array: np.ndarray) -> Tensor:
        """The array in the type and on the device of the arithmetic."""
        writable = array if array.flags.writeable else array.copy()  # torch warns about read-only memory
        return torch.as_tensor(writable, dtype=self.draws.dtype, device=self.draws.device).contiguous()


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().double().contiguous().numpy()


SAME, DISTINCT = 1e-3, 1e-2  # bandwidths up to which a row is an exemplar itself, and from which it is another row


def same_row(distances: Tensor) -> Tensor:
    """Degree to which a row is the exemplar at this distance, in bandwidths: from 1 to 0, without a jump.

    So a row that changes little, by rounding for instance, keeps its score, whether or not it was in training.
    """
    return ((DISTINCT - distances) / (DISTINCT - SAME)).clamp(0, 1)


@dataclass(frozen=True)
class Exemplars:
    """Latent means of distinct training rows in every member, and how often each row occurs."""

    counts: Tensor  # (exemplars,)
    means: Tensor  # (members, exemplars, latents)
    log_widths: Tensor  # (members, exemplars), of the kernels in units of the member's bandwidth; all 0 if it is common

    @classmethod
    @torch.no_grad()
    def drawn(cls, vae: VAE, x: EncodedMatrix, most: int, rng: np.random.Generator) -> "Exemplars":
        """The distinct rows among ``most`` rows drawn from ``x`` (rows, cells)."""
        drawn = rng.permutation(len(x))[:most]
        _, first, counts = np.unique(row_keys(x[drawn]), return_index=True, return_counts=True)
        means, _ = vae.encode(torch.as_tensor(x[drawn[first]], dtype=vae.shared.dtype, device=vae.shared.device))
        means = means.contiguous()  # as read from a file: the same rounding
        return cls(torch.as_tensor(counts), means, torch.zeros_like(means[..., 0]))

    def sample(self, log_bandwidth: Tensor, rows: int, generator: torch.Generator) -> Tensor:
        """Latents around exemplars drawn by their counts, (members, rows, latents)."""
        weights = self.counts.to(self.means).expand(len(self.means), -1)
        chosen = torch.multinomial(weights, rows, replacement=True, generator=generator)[..., None]
        around = self.means.gather(1, chosen.expand(-1, -1, self.means.shape[-1]))
        draws = torch.randn(around.shape, dtype=around.dtype, device=around.device, generator=generator)
        return around + (log_bandwidth + self.log_widths[..., None].gather(1, chosen)).exp() * draws

    def prior(self, log_bandwidth: Tensor) -> ExemplarPrior:
        """The prior on all exemplars."""
        return ExemplarPrior(self.means, log_bandwidth, log_weights(self.counts.to(self.means))[None, None])

    def leave_out(self, prior: ExemplarPrior, z: Tensor) -> ExemplarPrior:
        """The ``prior`` on all exemplars, changed for rows of latent means ``z`` so that none counts for itself.

        A duplicate of it counts, and an only exemplar stays.
        """
        squares, length = self.means[0].square().sum(1), z[0].norm(dim=1)
        half_distances = torch.addmm(0.5 * squares, z[0], self.means[0].T, alpha=-1)  # less the half square of a row
        longest = length + squares.amax().sqrt()
        rounding = 2 * (z.shape[-1] + 4) * torch.finfo(z.dtype).eps * longest.square()  # of a squared distance
        reach = (DISTINCT * prior.log_bandwidth[0, 0, 0].exp()).square() + rounding
        close = (2 * half_distances.amin(1) + length.square() < reach).nonzero()[:, 0]
        if not len(close) or self.counts.sum() <= 1:
            return prior
        near = half_distances[close].topk(min(NEAREST, len(self.counts)), largest=False).indices
        itself, degree = self._itself(z[:, close], near, prior.log_bandwidth)
        counts = self.counts.to(z).repeat(len(close), 1)
        counts.scatter_add_(1, itself, -degree)
        weights = prior.log_weights.repeat(1, z.shape[1], 1)
        weights[0, close] = torch.where(degree > 0, log_weights(counts), prior.log_weights[0])
        return prior.reweighted(weights)

    def nearest_prior(self, log_bandwidth: Tensor, z: Tensor, own: Tensor | None) -> NearestPrior:
        """The prior on the exemplars nearest to the rows' latent means ``z`` (members, rows, latents).

        No exemplar counts for the row whose latent means ``own`` are its own.
        """
        near = self._search.nearest(z, min(NEAREST, len(self.counts)))
        means = torch.stack([means[indices] for means, indices in zip(self.means, near, strict=True)])
        widths = self.log_widths.gather(1, near.flatten(1)).view(near.shape)
        counts, total = self.counts.to(z)[near], self.counts.sum().to(z)
        if own is not None:
            candidates = near[0] if own is z else self._search.nearest(own, near.shape[-1])[0]
            itself, degree = self._itself(own, candidates, log_bandwidth)
            counts, total = counts - degree * (near == itself), total - degree
        return NearestPrior(means, log_bandwidth + widths, counts.log() - total.log())

    def _itself(self, z: Tensor, near: Tensor, log_bandwidth: Tensor) -> tuple[Tensor, Tensor]:
        """The exemplar among those at ``near`` (rows, candidates) that a row is, and to what degree, both (rows, 1).

        It is the one whose latent means are the nearest in the member in which they are farthest.
        """
        distances = (self.means[:, near] - z[:, :, None]).square().sum(-1).sqrt() * (-log_bandwidth).exp()
        nearest = distances.amax(0).min(1, keepdim=True)
        return near.gather(1, nearest.indices), same_row(nearest.values)

    @cached_property
    def _search(self) -> MemberSearch:
        return MemberSearch(self.means)


MIX, ALL_BITS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB), 2**64 - 1


def row_keys(x: np.ndarray) -> np.ndarray:
    """64-bit key of each encoded row, (rows,): equal rows have equal keys, others almost surely not.

    The cells are rounded to float32 first, so that the last bit of a logarithm, which may differ between machines,
    does not count. The mixing is that of splitmix64 (Steele, Lea and Flood 2014).
    """
    rows_at_once, few = 4096, 8  # rows that stay in a processor's cache; rows for which Python is faster than numpy
    step, first, second = map(np.uint64, MIX)
    keys = np.zeros(len(x), np.uint64)
    for begin in range(0, len(x), rows_at_once):
        cells = x[begin : begin + rows_at_once].astype(np.float32)
        cells[np.isnan(cells)] = np.nan  # one of the many bit patterns of NaN
        cells += 0  # no negative zero
        bits, part = cells.view(np.uint32), keys[begin : begin + rows_at_once]
        if len(x) < few:
            part[:] = [_row_key(row) for row in bits.tolist()]
            break
        for column in bits.T:
            part *= second
            part += column + step
            part ^= part >> np.uint64(30)
            part *= first
            part ^= part >> np.uint64(27)
    return keys


def _row_key(bits: list[int]) -> int:
    """The key of one row, in Python."""
    step, first, second = MIX
    key = 0
    for cell in bits:
        key = (key * second + cell + step) & ALL_BITS
        key = (key ^ key >> 30) * first & ALL_BITS
        key ^= key >> 27
    return key


def column_contributions(scorer: Scorer, x: np.ndarray, cells: Sequence[Cell]) -> np.ndarray:
    """Nats of each column, then of the latent term, (rows, columns + 1): they add up to the anomaly score.

    The nats of a column are the negative log-likelihood of its cells and the part of the KL that they carry (see
    `vae_anomaly.model.objectives`). The latent term is the rest. A missing cell adds the mean of its column, on the
    scale of complete rows (see `vae_anomaly.scoring.missing`), and an outstanding cell its excess (see
    `vae_anomaly.scoring.cells`).

    Parameters
    ----------
    scorer : Scorer
        The trained model.
    x : ndarray
        (rows, cells).
    cells : sequence of Cell
        Description of each cell.
    """
    widths = [cell.n_features for cell in cells]
    unseen = scorer.tensor(np.array([cell.unseen for cell in cells], dtype=np.float64))

    def nats_and_totals(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = scorer.inputs(rows)[:4]
        log_likelihood, carried, score = scorer.objective.attributed(*inputs)
        parts = carried[..., : sum(widths)].split(widths, -1)  # the rest are indicators of missing cells
        carried = torch.stack([part.sum(-1) for part in parts], -1).masked_fill(inputs[1].isnan(), 0.0)
        carried = torch.where(inputs[1] == unseen, carried.clamp_min(0.0), carried)  # to first order it may be a gain
        return _numpy((carried - log_likelihood).double().mean(0)), _numpy(-score.mean(0))

    parts = scorer.by_chunk(nats_and_totals, scorer.filled(x))
    nats, totals = (np.concatenate(part)[: len(x)] for part in zip(*parts, strict=True))
    columns = np.zeros((max(cell.column for cell in cells) + 1, len(nats)))
    np.add.at(columns, [cell.column for cell in cells], nats.T)
    contributions = np.column_stack([columns.T, totals - columns.T.sum(1)])
    if scorer.missing is not None:
        contributions = scorer.missing.contributions(contributions, x)
    if scorer.outstanding is not None:
        contributions[:, :-1] += scorer.excess(x)
    return contributions
