"""From a trained model to the score of a row, which is the same in whatever batch the row comes."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.data.columns import Cell
from vae_anomaly.data.schema import EncodedMatrix
from vae_anomaly.model.nearest import NEAREST, Neighbours, leave_one_out_bandwidth
from vae_anomaly.model.objectives import Objective, attributed_terms, importance_weighted_bound
from vae_anomaly.model.priors import ExemplarPrior, NearestPrior, Prior, log_share
from vae_anomaly.model.vae import VAE
from vae_anomaly.parallel import in_pieces
from vae_anomaly.scoring.decide import offset

KEYS_AT_ONCE = 4096  # rows, which stay in a processor's cache
FEW = 256  # exemplars up to which every row sees all of them, as in training
FEW_ROWS = 8  # whose keys are worked out one by one
MIX, ALL_BITS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB), 2**64 - 1


def row_keys(x: np.ndarray) -> np.ndarray:
    """64-bit key of each encoded row, (rows,): equal rows have equal keys, others almost surely not.

    The cells are rounded to float32 first, so that the last bit of a logarithm, which may differ between machines,
    does not count. The mixing is that of splitmix64 (Steele, Lea and Flood 2014).
    """
    if len(x) < FEW_ROWS:
        return np.array([_mix(row) for row in _bits(x).tolist()], np.uint64)
    keys = np.zeros(len(x), np.uint64)
    for begin in range(0, len(x), KEYS_AT_ONCE):
        _mix_rows(keys[begin : begin + KEYS_AT_ONCE], _bits(x[begin : begin + KEYS_AT_ONCE]))
    return keys


def _bits(x: np.ndarray) -> np.ndarray:
    """Cells as the bits of float32: one NaN of the many that there are, no negative zero."""
    cells = x.astype(np.float32)
    cells[np.isnan(cells)] = np.nan
    cells += 0
    return cells.view(np.uint32)


def _mix_rows(keys: np.ndarray, bits: np.ndarray) -> None:
    """Mix the cells of rows into their keys, in place."""
    step, first, second = map(np.uint64, MIX)
    for column in bits.T:
        keys *= second
        keys += column + step
        keys ^= keys >> np.uint64(30)
        keys *= first
        keys ^= keys >> np.uint64(27)


def _mix(bits: list[int]) -> int:
    """The same for one row: Python is quicker at that than numpy."""
    step, first, second = MIX
    key = 0
    for cell in bits:
        key = (key * second + cell + step) & ALL_BITS
        key = (key ^ key >> 30) * first & ALL_BITS
        key ^= key >> 27
    return key


@dataclass(frozen=True)
class Exemplars:
    """Distinct training rows, how often each stands in the table, and their codes in every member."""

    keys: np.ndarray  # (exemplars,) uint64, rising
    counts: Tensor  # (exemplars,)
    codes: Tensor  # (members, exemplars, latents)

    @property
    def are_few(self) -> bool:
        """Whether every row sees all of them."""
        return len(self.keys) <= FEW

    def whole_prior(self, log_bandwidth: Tensor) -> ExemplarPrior:
        """The prior that rests on all of them, for rows that are known to be others."""
        return ExemplarPrior(self.codes, log_bandwidth, log_share(self.counts.to(self.codes))[None, None])

    def leaving_out(self, prior: ExemplarPrior, keys: np.ndarray) -> ExemplarPrior:
        """The whole prior for rows of these keys: one that is itself an exemplar does not explain itself.

        Its double may, and an only exemplar stays.
        """
        own = self._own(keys)
        itself = np.flatnonzero(own >= 0)
        if not len(itself) or self.counts.sum() <= 1:
            return prior
        weights = self.counts.to(self.codes).repeat(len(itself), 1)
        weights[range(len(itself)), own[itself]] -= 1
        shares = prior.log_share.repeat(1, len(keys), 1)
        shares[0, itself] = log_share(weights)
        return prior.sharing(shares)

    def nearest_prior(self, log_bandwidth: Tensor, keys: np.ndarray | None, z: Tensor) -> NearestPrior:
        """The prior that rests on the exemplars nearest to the rows' own codes ``z`` (members, rows, latents)."""
        near = self._neighbours.nearest(z, NEAREST)
        codes = torch.stack([codes[places] for codes, places in zip(self.codes, near, strict=True)])
        weights, total = self.counts.to(z.device)[near], self.counts.sum().to(z.device)
        if keys is not None:
            own = torch.as_tensor(self._own(keys), device=z.device)
            weights = weights - (near == own[:, None]).to(weights.dtype)
            total = total - (own >= 0).to(total.dtype)[:, None]
        return NearestPrior(codes, log_bandwidth, weights.to(z.dtype).log() - total.to(z.dtype).log())

    @cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours(self.codes)

    def _own(self, keys: np.ndarray) -> np.ndarray:
        """Place of the exemplar that each row is, -1 for none, (rows,)."""
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[place] == keys, place, -1)


def choose_exemplars(
    x: EncodedMatrix, most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most so many distinct rows of ``x``: their positions, keys (rising) and counts among the rows drawn."""
    drawn = rng.permutation(len(x))[:most]
    keys, first, counts = np.unique(row_keys(x[drawn]), return_index=True, return_counts=True)
    return drawn[first], keys, counts


CHUNK_BYTES = 16 * 2**20  # of the largest array that the nets make
CHUNK_ROWS = 512
SAMPLE_ROWS = 4096  # drawn at a time
GPU_CHUNKS = 16  # times as much at once, so that a GPU has enough to do

Result = TypeVar("Result")


def fixed_noise(n_draws: int, n_components: int, rng: np.random.Generator) -> np.ndarray:
    """Draws (n_draws, n_components), shared by all rows, in pairs of opposite sign: an even number has mean 0."""
    half = rng.standard_normal((-(-n_draws // 2), n_components))
    return np.concatenate([half, -half])[:n_draws]


@dataclass(frozen=True)
class Scorer:
    """A trained model with all that its scores depend on.

    ``leave_one_out`` says that rows to score may be training rows, which must not explain themselves; ``bound`` names
    the bound of the log density that is the score, "elbo" or "iwae".
    """

    vae: VAE
    objective: Objective
    noise: Tensor  # (draws, latents)
    exemplars: Exemplars | None
    leave_one_out: bool
    bound: str = "elbo"

    @property
    def dtype(self) -> torch.dtype:
        """Type of the arithmetic."""
        return self.vae.shared.dtype

    @property
    def device(self) -> torch.device:
        """Where the arithmetic runs."""
        return self.vae.shared.device

    def terms(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected log-likelihood of each cell (rows, cells) and KL (rows,), means over the members, in nats."""
        parts = self.by_chunk(self._terms, x)
        return np.concatenate([cells for cells, _ in parts]), np.concatenate([kl for _, kl in parts])

    def score(self, x: np.ndarray) -> np.ndarray:
        """Score of each row, (rows,), in nats: the lower, the odder."""
        return self.iwae(x) if self.bound == "iwae" else self.elbo(x)

    def elbo(self, x: np.ndarray) -> np.ndarray:
        """Mean over the members of the ELBO, (rows,), in nats."""
        return self._of_distinct(self._elbo, x)

    def iwae(self, x: np.ndarray) -> np.ndarray:
        """Mean over the members of the importance-weighted bound, (rows,), in nats."""
        return self._of_distinct(self._iwae, x)

    def by_member(self, x: np.ndarray) -> np.ndarray:
        """Score of each row in each member, (members, rows), in nats; `score` is their mean."""
        return np.concatenate(self.by_chunk(self._by_member, x), 1)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Posterior means of the first member, (rows, latents)."""
        return self.posterior(x)[0]

    def posterior(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means and variances of the first member, each (rows, latents)."""
        parts = self.by_chunk(self._posterior, x)
        return np.concatenate([means for means, _ in parts]), np.concatenate([variances for _, variances in parts])

    def posteriors(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means and variances of every member, each (members, rows, latents)."""
        parts = self.by_chunk(self._posteriors, x)
        return np.concatenate([means for means, _ in parts], 1), np.concatenate([spread for _, spread in parts], 1)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Expected cells (rows, cells) for codes of the first member."""
        return np.concatenate(self.by_chunk(self._cells, z))

    @torch.no_grad()
    def sample(self, n_rows: int, seed: int) -> np.ndarray:
        """New rows (n_rows, cells), each from a member drawn at random: code from the prior, cells from the decoder."""
        vae, generator = self.vae, torch.Generator(self.device).manual_seed(seed)
        prior = vae.standard_normal() if self.exemplars is None else self._whole_prior
        rows = np.empty((n_rows, vae.likelihood.n_cells))
        for part in np.array_split(rows, range(SAMPLE_ROWS, n_rows, SAMPLE_ROWS)):
            z = prior.sample(vae.n_estimators, len(part), generator)
            cells = vae.likelihood.sample(vae.decode(z[None])[0], vae.shared, generator)
            member = torch.randint(vae.n_estimators, (len(part),), generator=generator, device=self.device)
            part[:] = _numpy(cells[member, torch.arange(len(part), device=self.device)])
        return rows

    def inputs(self, chunk: np.ndarray, keys: np.ndarray | None = None) -> tuple[VAE, Tensor, Prior, Tensor]:
        """What every bound of the rows of a chunk is computed from; ``keys`` are theirs, where they are known."""
        x = self.tensor(chunk)
        if self.device.type == "cpu":
            x = x.mT.contiguous().mT  # rows side by side, as the nets have them
        if keys is None and self.leave_one_out and self.exemplars is not None:
            keys = row_keys(chunk)
        return self.vae, x, self._prior(x, keys), self.noise[:, None, None]

    @torch.no_grad()
    def _terms(self, chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        terms = self.objective.terms(*self.inputs(chunk))
        return _numpy(terms.cells.mean(0)), _numpy(terms.kl.mean(0))

    @torch.no_grad()
    def _elbo(self, chunk: np.ndarray, keys: np.ndarray | None = None) -> np.ndarray:
        return _numpy(self.objective.terms(*self.inputs(chunk, keys)).elbo().mean(0))

    @torch.no_grad()
    def _iwae(self, chunk: np.ndarray, keys: np.ndarray | None = None) -> np.ndarray:
        return _numpy(importance_weighted_bound(*self.inputs(chunk, keys)).mean(0))

    @torch.no_grad()
    def _by_member(self, chunk: np.ndarray) -> np.ndarray:
        inputs = self.inputs(chunk)
        iwae = self.bound == "iwae"
        return _numpy(importance_weighted_bound(*inputs) if iwae else self.objective.terms(*inputs).elbo())

    def _posterior(self, chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means, variances = self._posteriors(chunk)
        return means[0], variances[0]

    @torch.no_grad()
    def _posteriors(self, chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, log_var = self.vae.encode(self.tensor(chunk))
        return _numpy(mean), _numpy(log_var.exp())

    @torch.no_grad()
    def _cells(self, chunk: np.ndarray) -> np.ndarray:
        codes = self.tensor(chunk).expand(1, self.vae.n_estimators, -1, -1)
        return _numpy(self.vae.likelihood.expected(self.vae.decode(codes), self.vae.shared)[0, 0])

    def _of_distinct(self, work: Callable[..., np.ndarray], x: np.ndarray) -> np.ndarray:
        """``work`` on each distinct row once, (rows,): long tables of few values repeat themselves.

        So rows that are equal are equally odd to the last bit, which in products depends on the place in the batch.
        """
        if len(x) == 1:
            return work(x)
        keys = row_keys(x)
        ordered = np.sort(keys)
        if (ordered[1:] != ordered[:-1]).all():
            return self._of_each(work, x, keys)
        _, first, places = np.unique(keys, return_index=True, return_inverse=True)
        distinct = x[first]
        if not np.array_equal(distinct[places], x, equal_nan=True):
            return self._of_each(work, x, keys)
        return self._of_each(work, distinct, keys[first])[places]

    def _of_each(self, work: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
        """``work`` on every row, (rows,), written where it belongs: many small results would leave memory in holes."""
        scores = np.empty(len(arrays[0]))

        def fill(part: np.ndarray, *chunk: np.ndarray) -> None:
            part[:] = work(*chunk)

        self.by_chunk(fill, scores, *arrays)
        return scores

    def by_chunk(self, work: Callable[..., Result], *arrays: np.ndarray) -> list[Result]:
        """``work`` on slices of rows that fit the memory: side by side on a processor, one after the other on a GPU.

        The arrays are sliced alike; ``work`` takes a slice of each.
        """
        rows = self._chunk_rows
        chunks = [[array[first : first + rows] for array in arrays] for first in range(0, len(arrays[0]), rows)]
        workers = torch.get_num_threads() if self.device.type == "cpu" else 1
        return in_pieces(lambda chunk: work(*chunk), chunks, workers)

    @property
    def _chunk_rows(self) -> int:
        """Rows that are scored at once."""
        likelihood = self.vae.likelihood
        widest = max(likelihood.n_cells, likelihood.n_features, likelihood.n_outputs, self.vae.n_components)
        rows = CHUNK_BYTES // (8 * self.vae.n_estimators * len(self.noise) * widest)
        return max(1, min(CHUNK_ROWS, rows) if self.device.type == "cpu" else GPU_CHUNKS * rows)

    @cached_property
    def _whole_prior(self) -> ExemplarPrior:
        assert self.exemplars is not None
        return self.exemplars.whole_prior(self.vae.log_bandwidth)

    def _prior(self, x: Tensor, keys: np.ndarray | None) -> Prior:
        """The prior for rows of which those with the ``keys`` of exemplars must not explain themselves."""
        if self.exemplars is None:
            return self.vae.standard_normal()
        keys = keys if self.leave_one_out else None
        if not self.exemplars.are_few:
            return self.exemplars.nearest_prior(self.vae.log_bandwidth, keys, self.vae.encode(x)[0])
        return self._whole_prior if keys is None else self.exemplars.leaving_out(self._whole_prior, keys)

    def tensor(self, array: np.ndarray) -> Tensor:
        """The array where and as the arithmetic has it."""
        writable = array if array.flags.writeable else array.copy()  # torch warns of what it could not write to
        return torch.as_tensor(writable, dtype=self.dtype, device=self.device).contiguous()


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().double().contiguous().numpy()


MOST = 20_000  # exemplars; more would add little and take a file of megabytes
CORE_POOL = 8192  # rows among which a dirty table's core is looked for
CORE_DRAWS = 2


def make_scorer(
    vae: VAE,
    objective: Objective,
    x: EncodedMatrix,
    *,
    exemplars: bool,
    anchored: bool,
    leave_one_out: bool,
    contamination: str | float,
    bound: str,
    n_draws: int,
    dtype: torch.dtype,
    rng: np.random.Generator,
    noise: torch.Tensor | None = None,
) -> Scorer:
    """Fix everything that scores depend on; the ``noise`` that rows share is drawn, unless it is given.

    Clean rows are exemplars as far as they go, and the bandwidth of an ``anchored`` model, whose posteriors are
    narrower than the kernels, is fitted to them anew: in training it belonged to the few of a step. Where the
    training rows may hold anomalies (``leave_one_out``), the exemplars are as few as in training and come from the
    table's core: the rows are scored against exemplars of all kinds, and those that would be called odd are left
    out. The bandwidth stays as trained: the likeliest would follow the dirt.
    """
    frozen = copy.deepcopy(vae).to(dtype).freeze()
    if noise is None:
        noise = torch.as_tensor(fixed_noise(n_draws, vae.n_components, rng), dtype=dtype, device=vae.shared.device)
    scorer = Scorer(frozen, objective, noise, None, leave_one_out, bound)
    if not exemplars:
        return scorer
    if not leave_one_out:
        clean = _exemplars(scorer, x, MOST, rng)
        if anchored:
            for bandwidth, codes in zip(frozen.log_bandwidth, clean.codes, strict=True):
                fitted = math.log(leave_one_out_bandwidth(codes, NEAREST))
                bandwidth.fill_(vae.shared.new_tensor(fitted).item())  # rounded as it is in a file
        return replace(scorer, exemplars=clean)
    pool = x[rng.permutation(len(x))[:CORE_POOL]]
    scores = replace(scorer, noise=noise[:CORE_DRAWS], exemplars=_exemplars(scorer, pool, FEW, rng)).elbo(pool)
    return replace(scorer, exemplars=_exemplars(scorer, pool[scores >= offset(scores, contamination)], FEW, rng))


@torch.no_grad()
def _exemplars(scorer: Scorer, x: EncodedMatrix, most: int, rng: np.random.Generator) -> Exemplars:
    chosen, keys, counts = choose_exemplars(x, most, rng)
    codes, _ = scorer.vae.encode(torch.as_tensor(x[chosen], dtype=scorer.dtype, device=scorer.device))
    return Exemplars(keys, torch.as_tensor(counts), codes.contiguous())  # as they come back from a file: same rounding


def column_contributions(scorer: Scorer, x: np.ndarray, cells: Sequence[Cell]) -> np.ndarray:
    """Nats of each column, then of the latent term, (rows, columns + 1): they add up to the anomaly score.

    Those of a column are the negative log-likelihood of its cells and what these carry of the KL (see
    `vae_anomaly.model.objectives`); the latent term is the rest. A missing cell adds nothing.

    Parameters
    ----------
    scorer : Scorer
        The trained model.
    x : ndarray
        (rows, cells).
    cells : sequence of Cell
        What each cell is.
    """
    widths = [cell.n_features for cell in cells]
    parts = scorer.by_chunk(partial(_nats, scorer, widths), x)
    nats, totals = (np.concatenate(part) for part in zip(*parts, strict=True))
    if scorer.bound == "iwae":
        totals = -scorer.score(x)
    columns = sum_by_column(nats, [cell.column for cell in cells])
    return np.column_stack([columns, totals - columns.sum(1)])


def sum_by_column(nats: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Sums of the cells (rows, cells) that belong to each column, (rows, columns)."""
    summed = np.zeros((max(columns) + 1, len(nats)))
    np.add.at(summed, np.asarray(columns), nats.T)
    return summed.T


def baseline_contributions(nats: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Mean nats of each column over the training rows that are not ``odd``, (columns + 1,)."""
    return nats[~odd].mean(0) if not odd.all() else nats.mean(0)


@torch.no_grad()
def _nats(scorer: Scorer, widths: list[int], chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nats of each cell (rows, cells) and the negative ELBO (rows,), means over the members."""
    vae, x, prior, noise = scorer.inputs(chunk)
    terms, carried = attributed_terms(scorer.objective, vae, x, prior, noise)
    nats = -terms.cells
    if carried is not None:
        parts = carried[..., : sum(widths)].split(widths, -1)  # the rest marks missing cells, which add nothing
        of_cells = torch.stack([part.sum(-1) for part in parts], -1)
        nats = nats + of_cells.masked_fill(x.isnan(), 0.0)
    return nats.mean(0).cpu().double().numpy(), -terms.elbo().mean(0).cpu().double().numpy()
