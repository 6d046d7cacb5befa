"""The training loop: batches are index slices of a table on the device, and each member has batches of its own."""

import math
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vae_anomaly.errors import DataError, DeviceError, FitWarning
from vae_anomaly.model.objectives import Objective, Terms
from vae_anomaly.model.priors import ExemplarPrior, Prior
from vae_anomaly.model.vae import VAE
from vae_anomaly.parallel import one_thread
from vae_anomaly.training.callbacks import CallbackRunner
from vae_anomaly.training.checkpoints import Checkpoint, State

BETAS = (0.9, 0.99)
EPSILON = 1e-8


class Adam:
    """Kingma and Ba, arXiv 1412.6980, algorithm 1.

    Parameters
    ----------
    rates : mapping of Parameter to float
        Learning rate of each parameter. The parameters and their gradients become views of two vectors.
    """

    def __init__(self, rates: Mapping[nn.Parameter, float]) -> None:
        self.values = torch.cat([parameter.detach().flatten() for parameter in rates])
        self.gradients = torch.zeros_like(self.values)
        self.rates = torch.cat(
            [torch.full_like(parameter.detach().flatten(), rate) for parameter, rate in rates.items()]
        )
        self._first, self._second = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self._steps = 0
        sizes = [parameter.numel() for parameter in rates]
        for parameter, value, gradient in zip(
            rates, self.values.split(sizes), self.gradients.split(sizes), strict=True
        ):
            parameter.data, parameter.grad = value.view_as(parameter), gradient.view_as(parameter)

    def zero_gradients(self) -> None:
        """Forget the gradients."""
        self.gradients.zero_()

    def state(self) -> dict[str, torch.Tensor]:
        """The parameters' values, the moments of their gradients and how many steps were done, by name."""
        steps = torch.tensor(self._steps)
        return {"values": self.values, "first": self._first, "second": self._second, "steps": steps}

    @torch.no_grad()
    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        self.values.copy_(state["values"])
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])
        self._steps = int(state["steps"])

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move all parameters, each at ``factor`` times its rate."""
        self._steps += 1
        (keep_first, keep_second), steps = BETAS, self._steps
        self._first.lerp_(self.gradients, 1 - keep_first)
        self._second.mul_(keep_second).addcmul_(self.gradients, self.gradients, value=1 - keep_second)
        spread = (self._second / (1 - keep_second**steps)).sqrt_().add_(EPSILON)
        self.values.addcdiv_(self._first * self.rates, spread, value=-factor / (1 - keep_first**steps))


FENCE = 0.5  # interquartile ranges below the first quartile; of 0.5, 1 and a fixed 15 % the most accurate (benchmarks)


class Trimming(Protocol):
    """What every rule can do."""

    def weights(self, elbo: Tensor) -> Tensor:
        """Weights (members, rows), adding up to 1 for each member, given the ELBO of each row of its batch."""


@dataclass(frozen=True)
class FixedTrimming:
    """Leave out this share of each member's batch, its oddest rows; 0 keeps all."""

    share: float

    def weights(self, elbo: Tensor) -> Tensor:
        """The same for all rows that are kept."""
        kept = elbo.shape[1] - int(self.share * elbo.shape[1])
        best = elbo.detach().topk(kept, dim=1).indices
        return torch.zeros_like(elbo).scatter(1, best, 1 / kept)


@dataclass(frozen=True)
class FenceTrimming:
    """Leave out the rows far below the first quartile of their batch: how many, the batch itself says."""

    def weights(self, elbo: Tensor) -> Tensor:
        """The same for all rows that are kept."""
        rows = elbo.detach()
        low, high = torch.quantile(rows, rows.new_tensor([0.25, 0.75]), dim=1, keepdim=True)
        kept = (rows >= low - FENCE * (high - low)).to(elbo.dtype)
        return kept / kept.sum(1, keepdim=True)


MAX_HELD_OUT = 2048  # rows scored at an evaluation
GRADIENT_NORM = 10.0
SMALL_STEP = 10**8  # weights times rows; three members of the default layers on 30 columns have 10**7
SCALE_RATE = 10.0  # noise scales and bandwidths learn this many times faster than the nets


@dataclass(frozen=True)
class Plan:
    """Everything the loop needs to know.

    ``trimming`` says which rows of a batch are left out of the loss. ``patience`` counts evaluations on held-out rows
    without improvement; with no held-out rows all steps are done. ``warm_up`` is the share of the steps over which the
    weight of the KL rises to ``beta``. ``n_exemplars`` is the number drawn for each step. With ``common_noise`` the
    noise scales of all numbers grow and shrink together. In ``still`` steps before the first the weights stay, and the
    optimiser learns how large gradients are: else its first steps would be too long for a trained model.
    """

    max_iter: int
    batch_size: int
    learning_rate: float
    beta: float
    trimming: Trimming
    held_out: int
    warm_up: float = 0.0
    patience: int = 3
    evaluations: int = 20
    n_exemplars: int = 128
    common_noise: bool = False
    still: int = 0

    @property
    def interval(self) -> int:
        """Steps between reports, and between evaluations."""
        return max(1, self.max_iter // self.evaluations)

    def beta_at(self, step: int) -> float:
        """Weight of the KL at a step."""
        return self.beta * min(1.0, (max(step, 0) + 1) / max(1.0, self.warm_up * self.max_iter))


class Shards(Protocol):
    """A long table in shares, of which one at a time is held."""

    def number(self, used: int) -> int:
        """Share that is due when so many rows have been used; 0 is the first, and follows the last."""

    def read(self, number: int) -> Tensor:
        """Encoded rows (rows, cells) of a share; those of the first are in the order that the trainer was given."""


@dataclass(frozen=True)
class Chosen:
    """Rows of ``x`` (rows, cells), those at ``places``, as good as a tensor of them where rows are drawn."""

    x: Tensor
    places: Tensor

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.x[self.places[rows]]

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.x.device

    @property
    def dtype(self) -> torch.dtype:
        """Their type."""
        return self.x.dtype


class PriorSource:
    """The standard normal, the same for every batch."""

    def for_rows(self, vae: VAE, rows: Tensor | None, generator: torch.Generator) -> Prior:
        """Prior for the training rows ``rows`` (members, batch), or for rows that are not in training (None)."""
        return vae.standard_normal()


@dataclass
class ExemplarSource(PriorSource):
    """An exemplar prior on rows drawn afresh for each batch, or on all rows where they are few."""

    x: Tensor | Chosen  # (rows, cells)
    size: int

    def for_rows(self, vae: VAE, rows: Tensor | None, generator: torch.Generator) -> Prior:
        """No row is its own exemplar: pairs of a row with itself are left out."""
        n_rows, members = len(self.x), vae.n_estimators
        if n_rows <= self.size:
            chosen = torch.arange(n_rows, device=self.x.device).expand(members, -1)
        else:
            chosen = torch.randint(n_rows, (members, self.size), generator=generator, device=self.x.device)
        codes, _ = vae.encode(self.x[chosen])
        others = _leave_one_out(chosen, rows)
        share = -others.sum(-1, keepdim=True).to(codes.dtype).log()
        return ExemplarPrior(codes, vae.log_bandwidth, share.where(others, -torch.inf))


def _leave_one_out(chosen: Tensor, rows: Tensor | None) -> Tensor:
    """Which exemplars count, (members, rows or 1, exemplars): not the row itself, unless there is no other."""
    if rows is None or chosen.shape[1] == 1:
        return torch.ones_like(chosen, dtype=torch.bool)[:, None]
    return chosen[:, None] != rows[..., None]


@dataclass
class History:
    """What was optimised, a number a round: mean ELBO of the rows that counted, its terms, ELBO of held-out rows."""

    rounds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **figures: float) -> dict[str, float]:
        """Append a round's figures and give them back."""
        for name, figure in figures.items():
            self.rounds.setdefault(name, []).append(figure)
        return figures

    def __len__(self) -> int:
        return len(self.rounds.get("step", []))


class Trainer:
    """Trains ``vae`` on the rows of ``x`` by a plan; with held-out rows it stops in time and keeps the best weights.

    Parameters
    ----------
    vae : VAE
        Started, on the device of ``x``.
    x : Tensor
        (rows, cells), the encoded table.
    plan : Plan
        Steps, batches, trimming, stopping.
    objective : Objective
        What is made large.
    exemplars : bool
        Whether the prior sits on training rows, or is the standard normal.
    generator : torch.Generator
        The only source of randomness, on the device of ``x``.
    shares : Shares, optional
        Where ``x`` is the first of several shares of a table: as many rows are drawn from each as it has.
    """

    def __init__(
        self,
        vae: VAE,
        x: Tensor,
        plan: Plan,
        objective: Objective,
        *,
        exemplars: bool,
        generator: torch.Generator,
        shares: Shards | None = None,
    ) -> None:
        self.vae, self.plan, self.objective, self.generator = vae, plan, objective, generator
        self.x, self.held_out = _split(x, plan.held_out, generator)
        self.shares, self._share, self._used = shares, 0, 0
        self._places = self.x.places if isinstance(self.x, Chosen) else None
        self.source = ExemplarSource(self.x, plan.n_exemplars) if exemplars else PriorSource()
        rates = dict.fromkeys(vae.parameters(), plan.learning_rate)
        if plan.common_noise:
            vae.shared.register_hook(_evened)
        self.optimizer = Adam(rates | dict.fromkeys([vae.shared, vae.log_bandwidth], SCALE_RATE * plan.learning_rate))
        self.history = History()

    def run(self, monitor: CallbackRunner, checkpoint: Checkpoint | None = None) -> History:
        """Train to the end of the plan, to the last improvement on held-out rows, or until a callback asks to stop.

        With a ``checkpoint``, go on from the state in it, if there is one, and leave the state there now and then.
        """
        with one_thread() if self._is_small() else nullcontext():
            self._run(monitor, checkpoint)
        return self.history

    def _is_small(self) -> bool:
        """Whether a step on the processor is too small to be worth dividing among threads."""
        weights = sum(parameter.numel() for parameter in self.vae.parameters())
        return self.x.device.type == "cpu" and weights * self.plan.batch_size < SMALL_STEP

    def _run(self, monitor: CallbackRunner, checkpoint: Checkpoint | None) -> None:
        completed = False
        best = Best(self.vae, self._held_out_elbo())
        state = None if checkpoint is None else checkpoint.read()
        over = state is not None and self._resume(state, best)
        try:
            monitor.begin(self._n_rounds, done=len(self.history))
            if not over:
                self._rounds(best, monitor, checkpoint)
            best.restore(self.vae)
            self._check_weights()
            completed = True
        finally:
            monitor.end(completed)

    @property
    def _n_rounds(self) -> int:
        return math.ceil(self.plan.max_iter / self.plan.interval)

    def _check_weights(self) -> None:
        if not all(parameter.isfinite().all() for parameter in self.vae.parameters()):
            raise DataError(f"Training diverged at learning_rate={self.plan.learning_rate}. Take a smaller one.")

    def _rounds(self, best: "Best", monitor: CallbackRunner, checkpoint: Checkpoint | None) -> None:
        for step in range(0 if len(self.history) else -self.plan.still, 0):
            self._step(step)
        for number in range(len(self.history), self._n_rounds):
            figures = self._round(number * self.plan.interval, best)
            over = monitor.report(number, figures) or best.waited >= self.plan.patience
            if checkpoint is not None:
                checkpoint.offer(partial(self._state, best, over))
            if over:
                break

    def _round(self, first: int, best: "Best") -> dict[str, float]:
        """The steps from ``first`` to the next report; returns what is reported."""
        steps = range(first, min(first + self.plan.interval, self.plan.max_iter))
        elbo, log_likelihood, kl = torch.stack([self._step(step) for step in steps]).mean(0).tolist()
        figures = {"step": steps.stop, "elbo": elbo, "log_likelihood": log_likelihood, "kl": kl}
        if len(self.held_out):
            figures["held_out_elbo"] = self._held_out_elbo()
            best.offer(self.vae, figures["held_out_elbo"])
            if steps.stop <= self.plan.warm_up * self.plan.max_iter:
                best.waited = 0  # the weight of the KL still grows: patience begins when it is whole
        return self.history.add(**figures)

    def _state(self, best: "Best", over: bool) -> State:
        """All that the rounds to come depend on; ``over`` says that there are none."""
        tensors = {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in best.weights.items()}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        arrays |= {f"history.{name}": np.array(figures) for name, figures in self.history.rounds.items()}
        arrays["generator"] = self.generator.get_state().numpy()
        arrays["best_score"] = np.array(best.score)
        facts = {"figures": list(self.history.rounds), "batch_size": self.plan.batch_size, "used": self._used}
        return State({**facts, "waited": best.waited, "over": over}, arrays)

    def _resume(self, state: State, best: "Best") -> bool:
        """Be as after the round in which `_state` was called; returns whether that was the last one."""
        tensors = {name: torch.tensor(array) for name, array in state.arrays.items()}
        self.optimizer.restore(_below("optimizer", tensors))
        self.generator.set_state(tensors["generator"])
        self.history.rounds = {name: tensors[f"history.{name}"].tolist() for name in state.facts["figures"]}
        best.score, best.waited = float(tensors["best_score"]), state.facts["waited"]
        best.weights = {name: weights.to(self.x.device) for name, weights in _below("best", tensors).items()}
        self.plan = replace(self.plan, batch_size=state.facts["batch_size"])
        self._used = state.facts["used"]
        return bool(state.facts["over"])

    def _step(self, step: int) -> Tensor:
        """One step; returns the mean ELBO and its two terms over the rows that counted."""
        self._turn_to_share()
        while True:
            try:
                figures = self._try_step(step)
                self._used += self.plan.batch_size
                return figures
            except torch.OutOfMemoryError as error:
                self._halve_batch(error)

    def _turn_to_share(self) -> None:
        """Go on with the share that is due; rows held out of the first stay so."""
        due = 0 if self.shares is None else self.shares.number(self._used)
        if self.shares is not None and due != self._share:
            self._train_on(self.held_out)  # not on the last share, so that one at a time is held
            x = self.shares.read(due)
            self._train_on(x if due or self._places is None else Chosen(x, self._places))
            self._share = due

    def _train_on(self, rows: Tensor | Chosen) -> None:
        self.x = rows
        if isinstance(self.source, ExemplarSource):
            self.source.x = rows

    def _halve_batch(self, error: torch.OutOfMemoryError) -> None:
        batch = self.plan.batch_size // 2
        if batch == 0:
            raise DeviceError(
                "The device ran out of memory with one row a batch. "
                "Use device='cpu', fewer n_estimators or smaller layers."
            ) from error
        warnings.warn(f"The device ran out of memory: the batch is halved to {batch} rows.", FitWarning, stacklevel=2)
        self.plan = replace(self.plan, batch_size=batch)
        if self.x.device.type == "cuda":
            torch.cuda.empty_cache()

    def _try_step(self, step: int) -> Tensor:
        vae, plan = self.vae, self.plan
        shape = (vae.n_estimators, plan.batch_size)
        rows = torch.randint(len(self.x), shape, generator=self.generator, device=self.x.device)
        noise = torch.randn(
            1, *shape, vae.n_components, generator=self.generator, dtype=self.x.dtype, device=self.x.device
        )
        terms = self.objective.terms(vae, self.x[rows], self.source.for_rows(vae, rows, self.generator), noise)
        elbo = terms.elbo(plan.beta_at(step))
        kept = plan.trimming.weights(elbo)
        self.optimizer.zero_gradients()
        (-elbo * kept).sum().backward()
        _clip_members(vae, GRADIENT_NORM)
        self.optimizer.step(rate_factor(step, plan.max_iter))
        return _figures(terms, kept)

    @torch.no_grad()
    def _held_out_elbo(self) -> float:
        """Mean of what is optimised, for the held-out rows under fixed noise; minus infinity where there are none."""
        if not len(self.held_out):
            return -math.inf
        fixed = torch.Generator(self.x.device).manual_seed(0)
        noise = torch.randn(2, 1, 1, self.vae.n_components, generator=fixed, dtype=self.x.dtype, device=self.x.device)
        terms = self.objective.terms(self.vae, self.held_out, self.source.for_rows(self.vae, None, fixed), noise)
        return terms.elbo(self.plan.beta).mean().item()


def rate_factor(step: int, max_iter: int) -> float:
    """Share of the peak rate: a warm-up over the first 5 %, then a cosine down to zero; 0 before the first step."""
    return min(1.0, max(step + 1, 0) / (0.05 * max_iter)) * 0.5 * (1 + math.cos(math.pi * step / max_iter))


def _evened(gradient: Tensor) -> Tensor:
    """Each member's mean in every place: logarithms that move by the same step keep their differences."""
    return gradient.mean(-1, keepdim=True).expand_as(gradient)


def _below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those tensors whose names begin with ``name`` and a dot, by the rest of their names."""
    return {each.removeprefix(f"{name}."): tensor for each, tensor in tensors.items() if each.startswith(f"{name}.")}


def _split(x: Tensor, held_out: int, generator: torch.Generator) -> tuple[Tensor | Chosen, Tensor]:
    """Rows to train on and rows to stop by, drawn; the table is not copied."""
    if not held_out:
        return x, x.new_empty(0, x.shape[1])
    order = torch.randperm(len(x), generator=generator, device=x.device)
    return Chosen(x, order[held_out:]), x[order[:held_out][:MAX_HELD_OUT]]


class Best:
    """The best weights so far, and how many evaluations ago they were."""

    def __init__(self, vae: VAE, score: float):
        self.score, self.waited = -math.inf, 0
        self.weights: dict[str, Tensor] = {}
        self.offer(vae, score)

    def offer(self, vae: VAE, score: float) -> None:
        """Take the weights if they score higher than any before."""
        if score > self.score:
            self.score, self.waited = score, 0
            self.weights = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
        elif math.isfinite(self.score):
            self.waited += 1

    def restore(self, vae: VAE) -> None:
        """Give the best weights back, if any had a score."""
        if self.weights:
            vae.load_state_dict(self.weights)


def _figures(terms: Terms, kept: Tensor) -> Tensor:
    log_likelihood = (terms.cells.detach().sum(-1) * kept).sum(1).mean()
    kl = (terms.kl.detach() * kept).sum(1).mean()
    return torch.stack([log_likelihood - kl, log_likelihood, kl])


def _clip_members(vae: VAE, limit: float) -> None:
    """Scale each member's own gradient to a norm of at most ``limit``: members stay independent of one another."""
    gradients = [parameter.grad for parameter in vae.parameters() if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
    factor = limit / norms.clamp_min(limit)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))
