"""From a trained model to the score of a row, the same in whatever batch it comes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vae_anomaly.inference.exemplars import Exemplars, row_keys
from vae_anomaly.model.objectives import Objective, importance_weighted_bound
from vae_anomaly.model.priors import ExemplarPrior, Prior
from vae_anomaly.model.vae import VAE
from vae_anomaly.threads import in_pieces

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
