import dataclasses
import math

import numpy as np
import pytest
import torch

from vae_anomaly.errors import DataError, DeviceError, FitWarning
from vae_anomaly.training.callbacks import CallbackRunner
from vae_anomaly.training.trainer import Trainer, clip_members, rate_factor

ALONE = CallbackRunner(object(), [])


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.vae.state_dict().items()}


def test_history_holds_what_was_optimised_a_number_a_round(make_trainer, x):
    rounds = make_trainer(x, max_iter=50).run(ALONE)
    assert set(rounds) == {"step", "elbo", "log_likelihood", "kl"}
    assert rounds["step"] == list(range(2, 51, 2))
    assert {len(figures) for figures in rounds.values()} == {25}
    np.testing.assert_allclose(rounds["elbo"], np.subtract(rounds["log_likelihood"], rounds["kl"]), rtol=1e-9)


@pytest.mark.parametrize("prior", ["gaussian", "exemplar"])
def test_training_raises_the_elbo(make_trainer, x, prior):
    elbo = make_trainer(x, prior=prior, max_iter=150, learning_rate=0.01).run(ALONE)["elbo"]
    assert elbo[-1] > elbo[0] + 1
    assert np.mean(elbo[-5:]) > np.mean(elbo[:5])


def test_beta_is_the_price_of_the_kl_in_training(make_trainer, x):
    settings = {"prior": "gaussian", "max_iter": 100, "learning_rate": 0.01}
    kls = [make_trainer(x, beta=beta, **settings).run(ALONE)["kl"][-1] for beta in (0.1, 1, 10)]
    assert kls[0] > kls[1] + 0.5  # the dearer, the less of it
    assert kls[1] > kls[2] + 0.5


def test_common_noise_keeps_its_ratios_while_it_is_learned(make_trainer, x):
    """Also where the columns' own noise would part: the first column is all but constant, the last wide."""
    rows = x * [0.1, 1.0, 1.0, 3.0]
    free, common = (
        make_trainer(rows, purpose=purpose, novelty=True, max_iter=100, n_estimators=2, one_measure=True)
        for purpose in ("detection", "representation")
    )
    assert (free.plan.common_noise, common.plan.common_noise) == (False, True)
    ratios = []
    for trainer in (free, common):
        before = trainer.vae.shared.detach().clone()
        trainer.run(ALONE)
        ratios.append((trainer.vae.shared.detach() - before).squeeze(1))
    assert (ratios[1].abs() > 0.05).all()  # it is learned
    torch.testing.assert_close(ratios[1], ratios[1][:, :1].expand_as(ratios[1]), rtol=0, atol=1e-5)
    assert np.ptp(ratios[0].numpy(), axis=1).min() > 0.05


def test_members_do_not_touch_one_another(make_trainer, x):
    """Also not through the clipping of gradients: the disturbed member's gradient is far above its limit."""
    calm, disturbed = make_trainer(x), make_trainer(x)
    with torch.no_grad():
        disturbed.vae.decoder.last.weight[1] += 30.0
        disturbed.vae.shared[1] -= 1.0
    for trainer in (calm, disturbed):
        trainer.run(ALONE)
    for name, tensor in calm.vae.state_dict().items():
        other = disturbed.vae.state_dict()[name]
        assert torch.equal(tensor[[0, 2]], other[[0, 2]]), name
    assert not torch.equal(calm.vae.decoder.last.weight[1], disturbed.vae.decoder.last.weight[1])


def test_members_are_three_models_and_not_one(make_trainer, x):
    trainer = make_trainer(x)
    trainer.run(ALONE)
    last = trainer.vae.decoder.last.weight
    assert not torch.equal(last[0], last[1])
    assert not torch.equal(last[1], last[2])


def test_a_members_gradient_is_clipped_at_its_own_norm(make_trainer, x):
    trainer = make_trainer(x)
    vae, limit = trainer.vae, trainer.plan.gradient_norm
    generator = torch.Generator().manual_seed(3)
    for parameter in vae.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad[1] *= 1e-3  # this member is below the limit
    wanted = {}
    for member in range(3):
        norm = math.sqrt(sum(float((p.grad[member] ** 2).sum()) for p in vae.parameters()))
        assert (norm > limit) == (member != 1)
        for name, parameter in vae.named_parameters():
            wanted[name, member] = parameter.grad[member] * min(1.0, limit / norm)
    clip_members(vae, limit)
    for (name, member), gradient in wanted.items():
        torch.testing.assert_close(dict(vae.named_parameters())[name].grad[member], gradient, rtol=1e-12, atol=0)


def test_the_rate_warms_up_and_falls_to_zero():
    factors = np.array([rate_factor(step, 100) for step in range(100)])
    np.testing.assert_allclose(factors[0], 1 / 5)  # a fifth of the five steps of warm-up
    np.testing.assert_allclose(factors[4:], 0.5 * (1 + np.cos(np.pi * np.arange(4, 100) / 100)))
    assert factors.argmax() == 4


def test_still_steps_measure_gradients_and_leave_the_weights(make_trainer, x):
    trainer = make_trainer(x, max_iter=1)
    before = weights(trainer)
    for step in range(-20, 0):
        trainer._step(step)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())
    assert trainer.optimizer.state()["second"].max() > 0


def test_the_first_step_after_still_ones_is_shorter(make_trainer, x):
    """Adam's very first step moves every weight by its whole rate, whatever its gradient is."""
    lengths = []
    for still in (0, 20):
        trainer = make_trainer(x, max_iter=1)
        trainer.plan = dataclasses.replace(trainer.plan, still=still)
        before = weights(trainer)["decoder.last.weight"]
        trainer.run(ALONE)
        lengths.append(float((weights(trainer)["decoder.last.weight"] - before).abs().mean()))
    assert lengths[1] < 0.8 * lengths[0]


def test_the_scales_learn_ten_times_as_fast_as_the_nets(make_trainer, x):
    trainer = make_trainer(x, learning_rate=0.01, max_iter=1)
    before = weights(trainer)
    trainer.optimizer.gradients.fill_(1.0)
    trainer.optimizer.step(0.5)  # a first step of Adam is as long as its rate
    moved = {name: float((before[name] - weight).max()) for name, weight in weights(trainer).items() if weight.numel()}
    scales = {"shared", "log_bandwidth"}
    assert {name: round(length, 6) for name, length in moved.items()} == {
        name: 0.05 if name in scales else 0.005 for name in moved
    }
    assert scales < set(moved)


def test_a_trimmed_row_has_no_pull(make_trainer, x):
    """Two tables that differ in the one row that is always the worst train the same weights."""
    far, farther = (np.vstack([x[:19], [[value] * 4]]) for value in (40.0, 41.0))
    trainers = [make_trainer(x[:20], prior="gaussian", contamination=0.5, max_iter=5) for _ in range(2)]
    for trainer, rows in zip(trainers, (far, farther), strict=True):
        trainer.x = torch.as_tensor(rows)
        trainer.run(ALONE)
    first, second = map(weights, trainers)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_row_is_its_own_exemplar_in_training(make_trainer, x):
    trainer = make_trainer(x[:5], prior="exemplar")
    rows = torch.tensor([[2, 0], [3, 3], [4, 1]])
    weights = trainer._prior(rows, trainer.generator).log_weights.exp()
    wanted = torch.full((3, 2, 5), 1 / 4, dtype=torch.float64)
    wanted.scatter_(2, rows[..., None], 0.0)
    torch.testing.assert_close(weights, wanted)
    of_new_rows = trainer._prior(None, trainer.generator).log_weights.exp()
    torch.testing.assert_close(of_new_rows, torch.full((3, 1, 5), 1 / 5, dtype=torch.float64))


def test_a_table_of_one_row_has_no_other_exemplar(make_trainer, x):
    trainer = make_trainer(x[:1], prior="exemplar")
    assert (trainer._prior(torch.zeros(3, 2, dtype=torch.long), trainer.generator).log_weights == 0).all()


def test_exemplars_are_all_rows_where_they_are_few_and_drawn_anew_where_not(make_trainer, x):
    trainer = make_trainer(x)
    rows = torch.zeros(3, 5, dtype=torch.long)
    means, _ = trainer.vae.encode(trainer.x)
    torch.testing.assert_close(trainer._prior(rows, trainer.generator).means, means)
    trainer.plan = dataclasses.replace(trainer.plan, n_exemplars=16)
    first, second = (trainer._prior(rows, trainer.generator).means for _ in range(2))
    assert first.shape == (3, 16, means.shape[-1])
    assert not torch.equal(first, second)


def test_held_out_rows_are_never_trained_on(make_trainer, x):
    trainer = make_trainer(x, novelty=True, validation_fraction=0.25)
    assert (len(trainer.held_out), len(trainer.x)) == (30, 90)
    together = torch.cat([trainer.held_out, trainer.x[torch.arange(90)]])
    np.testing.assert_array_equal(np.unique(together.numpy(), axis=0), np.unique(x, axis=0))
    trainer.held_out += 1.0  # other held-out rows, the same exemplars and steps
    other = make_trainer(x, novelty=True, validation_fraction=0.25)
    for each in (trainer, other):
        each._step(0)
    assert all(torch.equal(a, b) for a, b in zip(trainer.vae.parameters(), other.vae.parameters(), strict=True))


def test_training_stops_when_held_out_rows_stop_gaining_and_gives_the_best_weights_back(make_trainer, x):
    trainer = make_trainer(
        x[:60],
        novelty=True,
        validation_fraction=0.3,
        prior="gaussian",
        learning_rate=0.03,
        max_iter=2000,
        hidden_layer_sizes=(64,),
        n_estimators=1,
    )
    held_out = [trainer._held_out_elbo(), *trainer.run(ALONE)["held_out_elbo"]]
    best = int(np.argmax(held_out))
    assert best > 0
    assert len(held_out) == best + 1 + trainer.plan.patience <= 20
    assert trainer._held_out_elbo() == held_out[best] > held_out[-1]


def test_the_best_weights_are_those_of_the_best_score_and_waiting_starts_anew(make_trainer, x):
    trainer = make_trainer(x)
    trainer._keep_if_best(1.0)
    with torch.no_grad():
        for value, score in [(10.0, 0.5), (20.0, 3.0), (30.0, math.nan), (40.0, 3.0)]:
            trainer.vae.shared.fill_(value)
            trainer._keep_if_best(score)
    assert trainer.waited == 2
    assert (trainer.best_weights["shared"] == 20.0).all()


def test_with_nothing_held_out_all_steps_are_done(make_trainer, x):
    assert make_trainer(x, max_iter=37).run(ALONE)["step"][-1] == 37


def test_running_out_of_memory_halves_the_batch_and_continues(make_trainer, x, monkeypatch):
    real, failures = Trainer._gradient_step, [3, 4]

    def sometimes(self, step):
        if failures and step == failures[0]:
            failures.pop(0)
            raise torch.OutOfMemoryError("none left")
        return real(self, step)

    monkeypatch.setattr(Trainer, "_gradient_step", sometimes)
    trainer = make_trainer(x, batch_size=32, max_iter=10)
    with pytest.warns(FitWarning) as said:
        rounds = trainer.run(ALONE)
    assert ["halved to 16 rows" in str(said[0].message), "halved to 8 rows" in str(said[1].message)] == [True, True]
    assert len(said) == 2
    assert trainer.plan.batch_size == 8
    assert rounds["step"][-1] == 10
    assert np.isfinite(rounds["elbo"]).all()


def test_running_out_of_memory_with_one_row_is_an_error(make_trainer, x, monkeypatch):
    def never(self, step):
        raise torch.OutOfMemoryError("none left")

    monkeypatch.setattr(Trainer, "_gradient_step", never)
    trainer = make_trainer(x, batch_size=2)
    with pytest.warns(FitWarning, match="halved to 1 rows"), pytest.raises(DeviceError, match="one row a batch"):
        trainer.run(ALONE)


def test_training_that_diverges_is_an_error_and_not_a_model_of_nan(make_trainer, x):
    with pytest.raises(DataError, match=r"learning_rate=1000\.0"):
        make_trainer(x, learning_rate=1e3).run(ALONE)


def test_same_seed_same_weights(make_trainer, x):
    first, second, third = (make_trainer(x, seed=seed) for seed in (5, 5, 6))
    for trainer in (first, second, third):
        trainer.run(ALONE)
    assert all(torch.equal(a, b) for a, b in zip(first.vae.parameters(), second.vae.parameters(), strict=True))
    assert not torch.equal(first.vae.decoder.last.weight, third.vae.decoder.last.weight)


def test_scoring_held_out_rows_draws_nothing_from_the_generator(make_trainer, x):
    trainer = make_trainer(x, novelty=True)
    trainer.plan = dataclasses.replace(trainer.plan, n_exemplars=16)  # fewer than the rows: exemplars are drawn
    before = trainer.generator.get_state()
    assert trainer._held_out_elbo() == trainer._held_out_elbo()
    assert torch.equal(before, trainer.generator.get_state())
