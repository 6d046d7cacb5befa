"""The training loop: mini-batch Adam on the ELBO, for all members of an ensemble side by side.

`Trainer.run` is the whole training. The encoded table lies on the device, a batch is a slice of it by indices, and
every member draws batches of its own. Members never influence one another.
"""

import math
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vae_anomaly.errors import DataError, DeviceError, FitWarning
from vae_anomaly.model.objectives import Objective
from vae_anomaly.model.priors import ExemplarPrior, Prior
from vae_anomaly.model.vae import VAE
from vae_anomaly.parallel import is_out_of_memory, one_thread
from vae_anomaly.training.callbacks import CallbackRunner
from vae_anomaly.training.checkpoints import Checkpoint, State


@dataclass(frozen=True)
class Plan:
    """How to train; `vae_anomaly.config.make_plan` chooses the numbers."""

    max_iter: int  # gradient steps
    batch_size: int  # rows of a step, for each member
    learning_rate: float  # peak rate of Adam
    scale_rate: float  # noise scales and bandwidths learn this many times as fast
    gradient_norm: float  # largest norm of a member's gradient
    beta: float  # weight of the KL
    warm_up: float  # fraction of the steps over which that weight rises to beta
    trimming: "Trimming"  # weights of the rows of a batch
    n_exemplars: int  # training rows drawn as exemplars for each step
    held_out: int  # rows held out to stop training
    patience: int  # evaluations on held-out rows without improvement that end training
    interval: int  # steps of a round: between reports, and between evaluations
    common_noise: bool  # the noise scales of all numbers grow and shrink together
    still: int = 0  # steps before the first in which only Adam's moments change: a trained model needs them

    def beta_at(self, step: int) -> float:
        """Weight of the KL at a step."""
        return self.beta * min(1.0, (max(step, 0) + 1) / max(1.0, self.warm_up * self.max_iter))


class Trainer:
    """Trains a VAE; with held-out rows it stops early and keeps the best weights.

    Parameters
    ----------
    vae : VAE
        With its starting weights, on the device of ``x``.
    x : Tensor
        (rows, cells), the encoded table.
    plan : Plan
        Steps, batches, trimming, stopping.
    objective : Objective
        What is maximised.
    exemplars : bool
        The prior is a mixture around training rows; otherwise it is the standard normal.
    generator : torch.Generator
        The only source of randomness, on the device of ``x``.
    shards : Shards, optional
        A table longer than ``x``, which is its first shard: training goes through all shards in turn.
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
        shards: "Shards | None" = None,
    ) -> None:
        self.vae, self.plan, self.objective, self.generator = vae, plan, objective, generator
        self.exemplars, self.shards, self._shard, self._used = exemplars, shards, 0, 0
        self.device, self.dtype = x.device, x.dtype
        self.x: Tensor | RowSubset = x
        self.held_out = x.new_empty(0, x.shape[1])
        self._indices: Tensor | None = None  # rows of the first shard to train on; None for all
        if plan.held_out:
            most = 2048  # rows scored at an evaluation
            order = torch.randperm(len(x), generator=generator, device=x.device)
            self.held_out, self._indices = x[order[: plan.held_out][:most]], order[plan.held_out :]
            self.x = RowSubset(x, self._indices)
        if plan.common_noise:
            vae.shared.register_hook(_mean_of_member)
        rates = dict.fromkeys(vae.parameters(), plan.learning_rate)
        scales = [vae.shared, vae.log_bandwidth]
        self.optimizer = Adam(rates | dict.fromkeys(scales, plan.scale_rate * plan.learning_rate))
        self.history: dict[str, list[float]] = {}
        self.best_score, self.waited = -math.inf, 0  # the best held-out ELBO, and how many evaluations ago it was
        self.best_weights: dict[str, Tensor] = {}

    def run(self, callbacks: CallbackRunner, checkpoint: Checkpoint | None = None) -> dict[str, list[float]]:
        """Train until the last step, until held-out rows stop improving, or until a callback asks to stop.

        With a ``checkpoint``, training continues from the state in it, if there is one, and writes its state to it from
        time to time.

        Returns
        -------
        dict of lists
            One number for each round: ``step``, ``elbo``, ``log_likelihood`` and ``kl`` are means over the rows that
            counted, ``held_out_elbo`` is the ELBO of held-out rows.
        """
        plan, n_rounds = self.plan, math.ceil(self.plan.max_iter / self.plan.interval)
        n_weights = sum(parameter.numel() for parameter in self.vae.parameters())
        is_small = self.device.type == "cpu" and n_weights * plan.batch_size < SMALL_STEP
        with one_thread() if is_small else nullcontext():
            if plan.held_out:
                self._keep_if_best(self._held_out_elbo())
            is_over = checkpoint is not None and self._resume(checkpoint)
            n_done = len(self.history.get("step", ()))
            with callbacks.training(n_rounds, n_done):
                for step in range(0 if n_done else -plan.still, 0):
                    self._step(step)
                for number in range(n_rounds if is_over else n_done, n_rounds):
                    stop = callbacks.report(number, self._round(number))
                    is_over = stop or self.waited >= plan.patience
                    if checkpoint is not None:
                        checkpoint.offer(partial(self._state, is_over))
                    if is_over:
                        break
                if self.best_weights:
                    self.vae.load_state_dict(self.best_weights)
                if not all(parameter.isfinite().all() for parameter in self.vae.parameters()):
                    raise DataError(f"Training diverged at learning_rate={plan.learning_rate}. Take a smaller one.")
        return self.history

    def _round(self, number: int) -> dict[str, float]:
        """Train for ``plan.interval`` steps and evaluate; returns the figures that are reported."""
        plan, first = self.plan, number * self.plan.interval
        steps = range(first, min(first + plan.interval, plan.max_iter))
        elbo, log_likelihood, kl = torch.stack([self._step(step) for step in steps]).mean(0).tolist()
        figures = {"step": steps.stop, "elbo": elbo, "log_likelihood": log_likelihood, "kl": kl}
        if plan.held_out:
            figures["held_out_elbo"] = self._held_out_elbo()
            self._keep_if_best(figures["held_out_elbo"])
            if steps.stop <= plan.warm_up * plan.max_iter:
                self.waited = 0  # the weight of the KL still rises: patience begins when it is full
        for name, figure in figures.items():
            self.history.setdefault(name, []).append(figure)
        return figures

    def _step(self, step: int) -> Tensor:
        """One gradient step, with half the batch if the device runs out of memory; returns what `_gradient_step` does.

        Raises
        ------
        DeviceError
            The device runs out of memory with one row.
        """
        if self.shards is not None:
            self._turn_to_shard(self.shards)
        while True:
            try:
                figures = self._gradient_step(step)
                self._used += self.plan.batch_size
                return figures
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                batch = self.plan.batch_size // 2
                if batch == 0:
                    raise DeviceError(
                        "The device ran out of memory with one row a batch. "
                        "Use device='cpu', fewer n_estimators or smaller layers."
                    ) from error
                message = f"The device ran out of memory: the batch is halved to {batch} rows."
                warnings.warn(message, FitWarning, stacklevel=2)
                self.plan = replace(self.plan, batch_size=batch)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()

    def _gradient_step(self, step: int) -> Tensor:
        """Draw a batch and move the weights; returns the mean ELBO, log-likelihood and KL of the rows that counted."""
        vae, plan, generator = self.vae, self.plan, self.generator
        shape = (vae.n_estimators, plan.batch_size)
        rows = torch.randint(len(self.x), shape, generator=generator, device=self.device)
        draws = torch.randn(1, *shape, vae.n_components, generator=generator, dtype=self.dtype, device=self.device)
        prior = self._prior(rows, generator)
        terms = self.objective.terms(vae, self.x[rows], prior, draws)
        elbo = terms.elbo(plan.beta_at(step))
        weights = plan.trimming.weights(elbo)
        self.optimizer.gradients.zero_()
        (-elbo * weights).sum().backward()
        clip_members(vae, plan.gradient_norm)
        self.optimizer.step(rate_factor(step, plan.max_iter))
        log_likelihood = (terms.cells.detach().sum(-1) * weights).sum(1).mean()
        kl = (terms.kl.detach() * weights).sum(1).mean()
        return torch.stack([log_likelihood - kl, log_likelihood, kl])

    def _prior(self, rows: Tensor | None, generator: torch.Generator) -> Prior:
        """Prior of the training rows ``rows`` (members, batch), or of rows that are not in training (None).

        Exemplars are all training rows where they are few; otherwise they are drawn anew for each batch.
        """
        vae, n_rows, size = self.vae, len(self.x), self.plan.n_exemplars
        if not self.exemplars:
            return vae.standard_normal()
        if n_rows <= size:
            chosen = torch.arange(n_rows, device=self.device).expand(vae.n_estimators, -1)
        else:
            chosen = torch.randint(n_rows, (vae.n_estimators, size), generator=generator, device=self.device)
        means, _ = vae.encode(self.x[chosen])
        if rows is None or chosen.shape[1] == 1:  # an only row stays its own exemplar
            counts = torch.ones_like(chosen, dtype=torch.bool)[:, None]
        else:
            counts = chosen[:, None] != rows[..., None]
        log_weight = -counts.sum(-1, keepdim=True).to(means.dtype).log()
        return ExemplarPrior(means, vae.log_bandwidth, log_weight.where(counts, -torch.inf))

    @torch.no_grad()
    def _held_out_elbo(self) -> float:
        """Mean objective of the held-out rows, under the same draws at every evaluation."""
        fixed = torch.Generator(self.device).manual_seed(0)
        draws = torch.randn(2, 1, 1, self.vae.n_components, generator=fixed, dtype=self.dtype, device=self.device)
        terms = self.objective.terms(self.vae, self.held_out, self._prior(None, fixed), draws)
        return terms.elbo(self.plan.beta).mean().item()

    def _keep_if_best(self, score: float) -> None:
        """Copy the weights if ``score`` is higher than any before."""
        if score > self.best_score:
            self.best_score, self.waited = score, 0
            self.best_weights = {name: tensor.clone() for name, tensor in self.vae.state_dict().items()}
        elif math.isfinite(self.best_score):
            self.waited += 1

    def _turn_to_shard(self, shards: "Shards") -> None:
        """Continue with the shard that is due; the rows held out of the first one stay held out."""
        due = shards.number(self._used)
        if due != self._shard:
            self.x = self.held_out  # drop the last shard first, so that one at a time is in memory
            x = shards.read(due)
            self.x = x if due or self._indices is None else RowSubset(x, self._indices)
            self._shard = due

    def _state(self, is_over: bool) -> State:
        """All that later rounds depend on; ``is_over`` means that there are none."""
        tensors = {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        arrays |= {f"history.{name}": np.array(figures) for name, figures in self.history.items()}
        arrays["generator"] = self.generator.get_state().numpy()
        arrays["best_score"] = np.array(self.best_score)
        facts = {"figures": list(self.history), "batch_size": self.plan.batch_size, "used": self._used}
        return State({**facts, "waited": self.waited, "over": is_over}, arrays)

    def _resume(self, checkpoint: Checkpoint) -> bool:
        """Restore the state in the checkpoint, if there is one; returns whether no rounds are left."""
        state = checkpoint.read()
        if state is None:
            return False
        groups: dict[str, dict[str, Tensor]] = {"optimizer": {}, "best": {}, "history": {}}
        for name, array in state.arrays.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = torch.tensor(array)
        self.optimizer.restore(groups["optimizer"])
        self.generator.set_state(groups["generator"][""])
        self.history = {name: groups["history"][name].tolist() for name in state.facts["figures"]}
        self.best_score, self.waited = float(groups["best_score"][""]), state.facts["waited"]
        self.best_weights = {name: weights.to(self.device) for name, weights in groups["best"].items()}
        self.plan = replace(self.plan, batch_size=state.facts["batch_size"])
        self._used = state.facts["used"]
        return bool(state.facts["over"])


SMALL_STEP = 10**8  # weights times rows: below it a step on a processor is faster on one thread (10**7 by default)


class Shards(Protocol):
    """A long table in shards, of which one at a time is in memory."""

    def number(self, used: int) -> int:
        """Shard that is due after ``used`` rows; 0 is the first, and follows the last."""

    def read(self, number: int) -> Tensor:
        """Encoded rows (rows, cells) of a shard; those of the first are in the order that the trainer was given."""


@dataclass(frozen=True)
class RowSubset:
    """Some rows of ``x`` (rows, cells), without copying them."""

    x: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.x[self.indices[rows]]


class Trimming(Protocol):
    """A rule for which rows of a batch count."""

    def weights(self, elbo: Tensor) -> Tensor:
        """Weights (members, rows), adding up to 1 for each member, given the ELBO of each row of its batch."""


@dataclass(frozen=True)
class FixedTrimming:
    """Leaves out this fraction of each member's batch, the most anomalous rows; 0 keeps all."""

    fraction: float

    def weights(self, elbo: Tensor) -> Tensor:
        """Equal weights of the rows that are kept."""
        kept = elbo.shape[1] - int(self.fraction * elbo.shape[1])
        best = elbo.detach().topk(kept, dim=1).indices
        return torch.zeros_like(elbo).scatter(1, best, 1 / kept)


FENCE = 0.5  # interquartile ranges below the first quartile; of 0.5, 1 and a fixed 15 % the most accurate (benchmarks)


@dataclass(frozen=True)
class FenceTrimming:
    """Leaves out the rows far below the first quartile of their batch, as many as there are."""

    def weights(self, elbo: Tensor) -> Tensor:
        """Equal weights of the rows that are kept."""
        rows = elbo.detach()
        low, high = torch.quantile(rows, rows.new_tensor([0.25, 0.75]), dim=1, keepdim=True)
        kept = (rows >= low - FENCE * (high - low)).to(elbo.dtype)
        return kept / kept.sum(1, keepdim=True)


def rate_factor(step: int, max_iter: int) -> float:
    """Fraction of the peak rate: it rises over the first 5 % and falls to zero as a cosine; 0 before the first step."""
    return min(1.0, max(step + 1, 0) / (0.05 * max_iter)) * 0.5 * (1 + math.cos(math.pi * step / max_iter))


def clip_members(vae: VAE, limit: float) -> None:
    """Scale each member's gradient to a norm of at most ``limit``, so that members stay independent."""
    gradients = [parameter.grad for parameter in vae.parameters() if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
    factor = limit / norms.clamp_min(limit)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))


def _mean_of_member(gradient: Tensor) -> Tensor:
    """The gradient with each member's mean everywhere: log scales that move alike keep their differences."""
    return gradient.mean(-1, keepdim=True).expand_as(gradient)


BETAS = (0.9, 0.99)
EPSILON = 1e-8


class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1) with a learning rate for each parameter.

    All parameters are one vector, which is faster than torch's own Adam where networks are small.

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
        parts = zip(rates, self.values.split(sizes), self.gradients.split(sizes), strict=True)
        for parameter, value, gradient in parts:
            parameter.data, parameter.grad = value.view_as(parameter), gradient.view_as(parameter)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move all parameters, each at ``factor`` times its rate."""
        self._steps += 1
        (keep_first, keep_second), steps = BETAS, self._steps
        self._first.lerp_(self.gradients, 1 - keep_first)
        self._second.mul_(keep_second).addcmul_(self.gradients, self.gradients, value=1 - keep_second)
        spread = (self._second / (1 - keep_second**steps)).sqrt_().add_(EPSILON)
        self.values.addcdiv_(self._first * self.rates, spread, value=-factor / (1 - keep_first**steps))

    def state(self) -> dict[str, torch.Tensor]:
        """The parameters' values, the moments of their gradients and the number of steps, by name."""
        steps = torch.tensor(self._steps)
        return {"values": self.values, "first": self._first, "second": self._second, "steps": steps}

    @torch.no_grad()
    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from a `state`."""
        self.values.copy_(state["values"])
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])
        self._steps = int(state["steps"])
