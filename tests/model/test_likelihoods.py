"""Densities of cells against scipy, hand-derived masses, integration, finite differences and their own samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import integrate, stats
from scipy.special import expit, softmax

from vae_anomaly.model.likelihoods import (
    Bernoulli,
    Categorical,
    Frequency,
    Gaussian,
    Likelihood,
    Mixed,
    SquaredError,
    StudentT,
    floored_scale,
    raw_scale,
)

FLOORS = (0.2, 1e-3, 0.05)
UNSEEN = 0.02
COUNTS = np.array([1, 1, 5, 2])  # table values behind each code
NAN = float("nan")


def tensor(values):
    return torch.tensor(np.asarray(values, dtype=np.float64))


@dataclass(frozen=True)
class Case:
    """A likelihood, its density by other means, and values it must know."""

    likelihood: Likelihood
    density: Callable  # (x, outputs, shared) -> density or mass of each cell
    x: list  # (rows, cells)

    def __str__(self):
        return type(self.likelihood).__name__


def number_scale(log_scale):
    return np.hypot(np.array(FLOORS), np.exp(log_scale))


def gaussian(x, outputs, shared):
    return stats.norm.pdf(x, outputs, number_scale(shared))


def student_t(x, outputs, shared):
    log_scale, raw_df = np.split(shared, 2, -1)
    return stats.t.pdf(x, 2 + np.log1p(np.exp(raw_df)), outputs, number_scale(log_scale))


def bernoulli(x, outputs, shared):
    return (1 - UNSEEN) * stats.bernoulli.pmf(x, expit(outputs)) + UNSEEN * stats.randint.pmf(x, 0, 3)


def categorical(x, outputs, shared):
    """Codes under their logits, an unseen code, and each code's mass divided among its table values."""
    known = (1 - UNSEEN) * softmax(outputs, -1) + UNSEEN / 5
    codes = np.broadcast_to(x, (*known.shape[:-1], 1)).astype(int)
    per_value = np.concatenate([known / COUNTS, np.full_like(known[..., :1], UNSEEN / 5)], -1)
    return np.take_along_axis(per_value, codes, -1)


NUMBERS = [[0.3, -1.0, 2.0], [0.0, 0.0, 0.0], [8.0, -3.0, 0.7], [-1.5, 1.5, -4.0]]
CASES = [
    Case(Gaussian(FLOORS), gaussian, NUMBERS),
    Case(StudentT(FLOORS), student_t, NUMBERS),
    Case(Bernoulli(3, UNSEEN), bernoulli, [[0, 1, 2], [1, 1, 0], [2, 0, 1], [0, 2, 1]]),
    Case(Categorical(4, UNSEEN, tuple(np.log(COUNTS))), categorical, [[0], [2], [4], [3]]),
]
NUMBER_CASES, DISCRETE_CASES = CASES[:2], CASES[2:]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
number_cases = pytest.mark.parametrize("case", NUMBER_CASES, ids=str)
discrete_cases = pytest.mark.parametrize("case", DISCRETE_CASES, ids=str)


def log_masses(likelihood, values, outputs, shared):
    """Log mass of every cell at each of the values, (values, ..., cells)."""
    rows = (torch.full((1, likelihood.n_cells), value, dtype=torch.float64) for value in values)
    return torch.stack([likelihood.log_prob(row, outputs, shared) for row in rows])


def parameters(likelihood, rng, *, draws=2, members=3, rows=4):
    """Outputs and shared numbers in the shapes that the VAE hands over."""
    outputs = 1.5 * rng.standard_normal((draws, members, rows, likelihood.n_outputs))
    return outputs, rng.standard_normal((members, 1, likelihood.n_shared)) - 0.5


@every_case
def test_log_prob_is_the_density(case, rng):
    outputs, shared = parameters(case.likelihood, rng)
    actual = case.likelihood.log_prob(tensor(case.x), tensor(outputs), tensor(shared))
    assert actual.shape == (2, 3, 4, case.likelihood.n_cells)
    assert_allclose(actual, np.log(case.density(np.array(case.x), outputs, shared)), rtol=1e-11, atol=1e-12)


@number_cases
def test_an_unreadable_number_has_its_fraction_and_the_others_have_the_rest(case, rng):
    """Unreadable: any number that a float can hold, whose cells lie within 720 deviations, all equally likely."""
    likelihood = type(case.likelihood)(FLOORS, UNSEEN)
    outputs, shared = (tensor(part) for part in parameters(likelihood, rng))
    x = tensor(case.x)
    readable = case.likelihood.log_prob(x, outputs, shared)
    x[1, 0], x[2, 1] = torch.inf, NAN
    actual = likelihood.log_prob(x, outputs, shared)
    assert_allclose(actual[..., 1, 0], np.log(UNSEEN / 1440))
    assert (actual[..., 2, 1] == 0).all()
    kept = torch.isfinite(x)
    assert_allclose(actual[..., kept], readable[..., kept] + np.log(1 - UNSEEN))
    assert_allclose(likelihood.log_prob(x, outputs.requires_grad_(), shared).detach(), actual)


@every_case
def test_an_unreadable_cell_has_no_gradient_and_the_features_of_a_missing_one(case, rng):
    likelihood, x = case.likelihood, tensor(case.x)
    if case in NUMBER_CASES:
        likelihood = type(likelihood)(FLOORS, UNSEEN)
    elif isinstance(likelihood, Categorical):
        return  # a text that is no level has the code of a level never seen
    x[1] = torch.inf
    for density in (likelihood, SquaredError(likelihood)):
        outputs, shared = (tensor(part).requires_grad_() for part in parameters(density, rng))
        log_prob = density.log_prob(x, outputs, shared)
        assert (log_prob < 0)[..., 1, :].all()
        log_prob[..., 1, :].sum().backward()
        assert outputs.grad.isfinite().all()
        assert shared.grad is None or (shared.grad == 0).all()
    assert torch.equal(likelihood.features(x)[1], likelihood.features(torch.full_like(x, NAN))[1])
    mixed = Mixed((likelihood,), indicators=(0,))
    assert mixed.features(x)[:, -1].tolist() == [0, 1, 0, 0]


@number_cases
def test_an_unreadable_number_does_not_move_the_start(case, rng):
    likelihood, x = type(case.likelihood)(FLOORS, UNSEEN), tensor(rng.standard_normal((40, 3)))
    x[3] = NAN
    unreadable = x.clone()
    unreadable[3] = torch.inf
    for begin in (likelihood.marginals, lambda rows: likelihood.start(rows, tensor([0.3] * 3))):
        for expected, actual in zip(begin(x), begin(unreadable), strict=True):
            assert_allclose(actual, expected)


def test_the_squared_error_of_an_unreadable_number_is_that_of_ten_deviations(rng):
    error = SquaredError(Gaussian(FLOORS)).log_prob(
        tensor([[torch.inf, 1.0, NAN]]), tensor(rng.standard_normal((2, 1, 3))), torch.zeros(1, 0)
    )
    assert (error[..., 0] == -100).all()


@every_case
def test_far_values_keep_a_finite_density(case):
    far = tensor(case.x) * (1e6 if case in NUMBER_CASES else 1)
    outputs = torch.full((4, case.likelihood.n_outputs), -800.0, dtype=torch.float64)
    outputs[..., 0] = 800.0
    shared = torch.full((1, case.likelihood.n_shared), -700.0, dtype=torch.float64)
    assert case.likelihood.log_prob(far, outputs, shared).isfinite().all()
    if case in DISCRETE_CASES:  # at least the probability of an unseen value, divided among the values of a code
        least = np.log(UNSEEN / (3 if isinstance(case.likelihood, Bernoulli) else 5 * COUNTS.max()))
        assert case.likelihood.log_prob(far, outputs, shared).min() >= least - 1e-12


@number_cases
def test_densities_of_numbers_integrate_to_one_around_their_expected_value(case, rng):
    outputs, shared = parameters(case.likelihood, rng, draws=1, members=1, rows=1)
    outputs, shared = tensor(outputs[0, 0]), tensor(shared[0]).abs()  # heavy tails with df near 2 converge slowly
    expected = case.likelihood.expected(outputs)[0]

    def density(value, column):
        x = torch.full_like(outputs, value)
        return case.likelihood.log_prob(x, outputs, shared)[0, column].exp().item()

    for column, centre in enumerate(expected.tolist()):
        mass = integrate.quad(density, -np.inf, np.inf, args=(column,))[0]
        mean = integrate.quad(lambda v, c=column: v * density(v, c), -np.inf, np.inf)[0]
        assert mass == pytest.approx(1, abs=1e-6)
        assert mean == pytest.approx(centre, abs=1e-3)


@discrete_cases
def test_masses_of_all_values_of_the_table_sum_to_one(case, rng):
    outputs, shared = (tensor(a) for a in parameters(case.likelihood, rng))
    repeats = [1, 1, 1] if isinstance(case.likelihood, Bernoulli) else [*COUNTS, 1]
    masses = log_masses(case.likelihood, range(len(repeats)), outputs, shared).exp()
    assert_allclose(torch.einsum("v,v...->...", tensor(repeats), masses), 1, rtol=1e-12)


@discrete_cases
def test_expected_is_the_most_probable_value(case, rng):
    outputs, shared = (tensor(a) for a in parameters(case.likelihood, rng))
    values_of_code = [1, 1] if isinstance(case.likelihood, Bernoulli) else COUNTS
    masses = log_masses(case.likelihood, range(len(values_of_code)), outputs, shared).exp()
    masses *= tensor(values_of_code)[
        :, None, None, None, None
    ]  # the most probable code, not the most probable of its values
    assert torch.equal(case.likelihood.expected(outputs), masses.argmax(0).double())


@every_case
def test_a_missing_cell_counts_nothing_and_has_no_gradient(case, rng):
    x = tensor(case.x)
    x[1] = NAN
    x[2, 0] = NAN
    outputs, shared = (tensor(a).requires_grad_() for a in parameters(case.likelihood, rng))
    log_prob, whole = (case.likelihood.log_prob(values, outputs, shared) for values in (x, tensor(case.x)))
    assert (log_prob[..., x.isnan()] == 0).all()
    assert torch.equal(log_prob[..., ~x.isnan()], whole[..., ~x.isnan()])
    log_prob.sum().backward()
    assert (outputs.grad[..., 1, :] == 0).all()
    assert outputs.grad.isfinite().all()
    assert (outputs.grad[..., [0, 3], :] != 0).any(-1).all()
    if case in NUMBER_CASES:
        assert shared.grad.isfinite().all()


@number_cases
def test_a_column_never_observed_leaves_the_noise_scale_without_gradient(case, rng):
    outputs, shared = (tensor(a).requires_grad_() for a in parameters(case.likelihood, rng))
    x = tensor(case.x)
    x[:, 1] = NAN
    x.requires_grad_()
    case.likelihood.log_prob(x, outputs, shared).sum().backward()
    unobserved = shared.grad.unflatten(-1, (-1, 3))[..., 1]
    assert (unobserved == 0).all()
    assert (x.grad[:, 1] == 0).all()
    assert x.grad.isfinite().all()


@every_case
def test_gradients_match_finite_differences(case, rng):
    x = tensor(case.x)
    x[1, 0] = NAN
    outputs, shared = (tensor(a).requires_grad_() for a in parameters(case.likelihood, rng, draws=1))
    if case in NUMBER_CASES:
        assert torch.autograd.gradcheck(lambda o, s: case.likelihood.log_prob(x, o, s), (outputs, shared))
    else:
        assert torch.autograd.gradcheck(lambda o: case.likelihood.log_prob(x, o, shared), (outputs,))


@every_case
def test_float32_is_the_same_density(case, rng):
    outputs, shared = (tensor(a) for a in parameters(case.likelihood, rng))
    double = case.likelihood.log_prob(tensor(case.x), outputs, shared)
    single = case.likelihood.log_prob(tensor(case.x).float(), outputs.float(), shared.float())
    assert single.dtype == torch.float32
    assert_allclose(single, double, rtol=1e-4, atol=1e-5)


@every_case
def test_features_are_finite_and_keep_what_was_seen(case):
    x = tensor(case.x)
    missing = torch.full_like(x[:1], NAN)
    features = case.likelihood.features(torch.cat([x, missing]))
    assert features.shape == (5, case.likelihood.n_features)
    assert features.isfinite().all()
    match case.likelihood:
        case Gaussian() | StudentT():
            assert torch.equal(features[:4], x)
            assert (features[4] == 0).all()
        case Bernoulli():
            assert_allclose(features, [[0, 1, 0.5], [1, 1, 0], [0.5, 0, 1], [0, 0.5, 1], [0.5, 0.5, 0.5]])
        case Categorical():
            assert_allclose(features, [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])


# -- the noise scale --


@number_cases
def test_the_floor_is_the_least_scale(case):
    x, outputs = tensor([[0.0, 0.0, 0.0]]), tensor([[0.0, 0.0, 0.0]])
    peaks = []
    for log_scale in (-500.0, -20.0, -7.0, -3.0, 0.0, 1.0):
        shared = torch.full((1, case.likelihood.n_shared), 3.0, dtype=torch.float64)
        shared[:, :3] = log_scale
        peaks.append(case.likelihood.log_prob(x, outputs, shared)[0].numpy())
    standard = stats.norm if isinstance(case.likelihood, Gaussian) else stats.t(2 + np.log1p(np.exp(3.0)))
    highest = standard.logpdf(0) - np.log(FLOORS)
    assert_allclose(peaks[0], highest, rtol=1e-4)
    assert (np.array(peaks) <= highest).all()
    assert (np.diff(peaks, axis=0) <= 0).all()
    assert (np.diff(peaks[1:], axis=0) < 0).all(), "above the floor the scale is learned"


def test_the_scale_is_floor_and_learned_scale_at_right_angles():
    floors, log_scale = (0.1, 0.1, 3.0), tensor([-100.0, 0.5, 0.5])
    assert_allclose(floored_scale(log_scale, floors), np.hypot(floors, log_scale.exp().numpy()), rtol=1e-8)
    scale = tensor([0.3, 0.2, 0.3])
    assert_allclose(floored_scale(raw_scale(scale, floors), floors)[:2], scale[:2], rtol=1e-12)
    assert floored_scale(raw_scale(scale, floors), floors)[2] >= 3.0


def test_the_scale_stays_within_the_limits_of_a_finite_density():
    log_scales = tensor([-1e4, -12.0, 8.0, 1e4]).requires_grad_()
    scales = floored_scale(log_scales, (0.0,))
    assert_allclose(scales.detach(), np.exp([-12.0, -12.0, 8.0, 8.0]))
    scales.log().sum().backward()
    assert log_scales.grad.isfinite().all()


# -- samples --

N = 20_000


def draw(case, rng, generator):
    outputs, shared = parameters(case.likelihood, rng, draws=1, members=1, rows=1)
    outputs, shared = outputs[0, 0], shared[0]
    sample = case.likelihood.sample(tensor(outputs).expand(N, -1), tensor(shared), generator)
    assert sample.shape == (N, case.likelihood.n_cells)
    assert sample.dtype == torch.float64
    return outputs[0], shared[0], sample.numpy()


@number_cases
def test_samples_of_numbers_follow_their_distribution(case, rng, generator):
    location, shared, sample = draw(case, rng, generator)
    for column in range(3):
        scale = number_scale(shared[:3])[column]
        if isinstance(case.likelihood, Gaussian):
            reference = stats.norm(location[column], scale)
        else:
            reference = stats.t(2 + np.log1p(np.exp(shared[3 + column])), location[column], scale)
        assert stats.kstest(sample[:, column], reference.cdf).pvalue > 0.01
    if isinstance(case.likelihood, Gaussian):
        assert_allclose(sample.mean(0), location, atol=(4 * number_scale(shared) / np.sqrt(N)).max())
        assert_allclose(sample.std(0), number_scale(shared), rtol=4 / np.sqrt(2 * N))
    between_columns = np.corrcoef(sample.T.clip(-5, 5))[np.triu_indices(3, 1)]
    assert abs(between_columns).max() < 4 / np.sqrt(N)


@discrete_cases
def test_samples_of_values_follow_their_probabilities_and_are_never_unseen(case, rng, generator):
    outputs, _, sample = draw(case, rng, generator)
    if isinstance(case.likelihood, Bernoulli):
        frequencies, probabilities = sample.mean(0), expit(outputs)
        assert set(np.unique(sample)) == {0, 1}
    else:
        frequencies, probabilities = np.bincount(sample[:, 0].astype(int), minlength=4) / N, softmax(outputs)
        assert len(frequencies) == 4
    error = np.sqrt(probabilities * (1 - probabilities) / N)
    assert (abs(frequencies - probabilities) < 4 * error).all()


@every_case
def test_samples_come_from_the_generator_alone(case, rng):
    outputs, shared = (tensor(a) for a in parameters(case.likelihood, rng))
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (
        case.likelihood.sample(outputs, shared, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_extreme_uniform_draws_stay_finite(monkeypatch, generator):
    """A generator gives exactly 0 once in a while; a quantile or a Gumbel variate there must not be infinite."""
    for edge in (0.0, 1 - 2**-53):
        monkeypatch.setattr(torch, "rand", lambda shape, dtype, edge=edge, **_: torch.full(shape, edge, dtype=dtype))
        numbers = StudentT(FLOORS).sample(torch.zeros(2, 3).double(), torch.zeros(1, 6).double(), generator)
        assert numbers.isfinite().all()
        codes = Categorical(3, UNSEEN, (0.0, 0.0, 0.0)).sample(tensor([[-1.0, 0.0, 5.0]]), torch.zeros(1, 0), generator)
        assert codes.item() == 2


# -- where training starts --


@number_cases
def test_numbers_start_at_their_means_and_the_given_noise_scale(case, rng):
    x, noise = rng.standard_normal((50, 3)), 3 * np.array(FLOORS) * [1.0, 1.5, 0.7]
    x[:7, 0] = NAN
    outputs, gains, shared = case.likelihood.start(tensor(x), tensor(noise))
    assert_allclose(outputs, np.nanmean(x, 0))
    assert_allclose(gains, 1)
    assert_allclose(number_scale(shared[:3].numpy()), noise)
    assert shared.shape == (case.likelihood.n_shared,)


def test_a_column_never_observed_starts_at_zero():
    outputs, _, shared = Gaussian((0.1,)).start(tensor([[NAN], [NAN]]), tensor([0.3]))
    assert outputs.tolist() == [0]
    assert shared.isfinite().all()


def test_a_scale_starts_no_lower_than_its_floor():
    for floor, noise in [(0.2, 0.3), (0.3, 0.3), (2.0, 0.3), (0.2, 0.05)]:
        likelihood = Gaussian((floor,))
        _, _, shared = likelihood.start(tensor([[0.0], [1.0]]), tensor([noise]))
        scale = floored_scale(shared, (floor,))
        assert scale > floor
        assert scale == pytest.approx(max(noise, np.hypot(floor, noise / 2)))


def test_flags_start_at_their_rates(rng):
    x = (rng.random((400, 2)) < [0.3, 0.9]).astype(float)
    x[:5, 0] = NAN
    x[5:9, 0] = 2
    outputs, _, shared = Bernoulli(2, UNSEEN).start(tensor(x), tensor([0.1, 0.2]))
    known = np.where(x[:, 0] > 1, NAN, x[:, 0])
    assert_allclose(outputs.sigmoid(), [np.nanmean(known), x[:, 1].mean()])
    assert shared.shape == (0,)


def test_a_flag_that_never_varied_starts_with_half_the_unseen_probability():
    outputs, _, _ = Bernoulli(2, UNSEEN).start(tensor([[0.0, 1.0]] * 9), tensor([0.1, 0.2]))
    assert_allclose(outputs.sigmoid(), [UNSEEN / 2, 1 - UNSEEN / 2])


def test_category_codes_start_at_their_frequencies():
    x = tensor([[0]] * 6 + [[1]] * 3 + [[3]] * 1)
    outputs, _, shared = Categorical(4, UNSEEN, (0.0,) * 4).start(x, tensor([0.1] * 4))
    frequencies = np.array([0.6, 0.3, UNSEEN, 0.1])
    assert_allclose(outputs.softmax(-1), frequencies / frequencies.sum())
    assert shared.shape == (0,)


# -- the plain autoencoder's term --


def test_squared_error_of_numbers_is_the_squared_distance(rng):
    x, outputs = rng.standard_normal((4, 3)), rng.standard_normal((2, 4, 3))
    squared = SquaredError(Gaussian(FLOORS))
    actual = squared.log_prob(tensor(x), tensor(outputs), torch.zeros(1, 0))
    assert_allclose(actual.sum(-1), -(np.linalg.norm(x - outputs, axis=-1) ** 2))
    assert_allclose(actual, -((x - outputs) ** 2))


@discrete_cases
def test_squared_error_of_values_is_the_squared_distance_of_their_features(case, rng):
    squared = SquaredError(case.likelihood)
    x = tensor(case.x)
    features = case.likelihood.features(x).numpy()
    outputs = rng.standard_normal((3, 4, squared.n_outputs))
    actual = squared.log_prob(x, tensor(outputs), torch.zeros(1, 0))
    assert actual.shape == (3, 4, case.likelihood.n_cells)
    assert_allclose(actual.sum(-1), -(np.linalg.norm(features - outputs, axis=-1) ** 2))
    assert_allclose(squared.log_prob(x, tensor(features), torch.zeros(1, 0)), 0)


@every_case
def test_squared_error_of_a_missing_cell_is_nothing(case, rng):
    squared = SquaredError(case.likelihood)
    x = tensor(case.x)
    x[1] = NAN
    outputs = tensor(rng.standard_normal((4, squared.n_outputs))).requires_grad_()
    error = squared.log_prob(x, outputs, torch.zeros(1, 0))
    assert (error[1] == 0).all()
    assert (error[[0, 2, 3]] < 0).all()
    error.sum().backward()
    assert (outputs.grad[1] == 0).all()
    assert outputs.grad.isfinite().all()


@every_case
def test_squared_error_starts_at_the_mean_of_the_features_and_expects_the_nearest_value(case):
    squared, x = SquaredError(case.likelihood), tensor(case.x)
    outputs, gains, shared = squared.start(x, tensor([0.1] * squared.n_features))
    assert_allclose(outputs, squared.features(x).mean(0))
    assert_allclose(gains, 1)
    assert shared.shape == (squared.n_shared,) == (0,)
    known = (x < (2 if isinstance(case.likelihood, Bernoulli) else 4)) | torch.tensor(case in NUMBER_CASES)
    near = squared.features(x) + (0.4 if case in DISCRETE_CASES else 0)  # still nearest to the same value
    assert torch.equal(squared.expected(near)[known], x[known])
    assert torch.equal(squared.expected(near - (0.8 if case in DISCRETE_CASES else 0))[known], x[known])


def test_squared_error_has_nothing_to_draw_from(generator):
    with pytest.raises(TypeError, match="not a density"):
        SquaredError(Gaussian(FLOORS)).sample(torch.zeros(1, 3), torch.zeros(1, 0), generator)


# -- mixed tables --

MIXED = Mixed(tuple(case.likelihood for case in CASES), indicators=(4, 9))


@pytest.fixture
def mixed_x():
    x = torch.cat([tensor(case.x) for case in CASES], -1)  # 3 + 3 + 3 + 1 cells
    x[0, 4] = x[2, 9] = x[3, 0] = NAN
    return x


def concatenated(verb, x, outputs, shared):
    """Each case's own answer on its own columns, the widths counted here by hand."""
    cells, outs, shareds = x.split([3, 3, 3, 1], -1), outputs.split([3, 3, 3, 4], -1), shared.split([3, 6, 0, 0], -1)
    return torch.cat([verb(CASES[i].likelihood, cells[i], outs[i], shareds[i]) for i in range(4)], -1)


def test_mixed_is_its_blocks_concatenated(mixed_x, rng):
    assert (MIXED.n_cells, MIXED.n_outputs, MIXED.n_shared, MIXED.n_features) == (10, 13, 9, 13 + 2)
    outputs, shared = (tensor(a) for a in parameters(MIXED, rng))
    for verb, actual in [
        (lambda b, x, o, s: b.log_prob(x, o, s), MIXED.log_prob(mixed_x, outputs, shared)),
        (lambda b, x, o, s: b.expected(o), MIXED.expected(outputs)),
        (lambda b, x, o, s: b.features(x), MIXED.features(mixed_x)[:, :-2]),
    ]:
        assert torch.equal(actual, concatenated(verb, mixed_x, outputs, shared))
    shared_generator = torch.Generator().manual_seed(5)
    sampled = concatenated(lambda b, x, o, s: b.sample(o, s, shared_generator), mixed_x, outputs, shared)
    assert torch.equal(MIXED.sample(outputs, shared, torch.Generator().manual_seed(5)), sampled)


def test_mixed_starts_as_its_blocks_do(mixed_x):
    noise = 0.2 + 0.1 * torch.arange(MIXED.n_features).double()  # one for each feature, indicators included
    cells, block_scales = mixed_x.split([3, 3, 3, 1], -1), noise.split([3, 3, 3, 4, 2])
    for place, actual in enumerate(MIXED.start(mixed_x, noise)):
        blocks = [CASES[i].likelihood.start(cells[i], block_scales[i])[place] for i in range(4)]
        assert torch.equal(actual, torch.cat(blocks))


def test_indicators_mark_the_missing_cells_for_the_encoder(mixed_x):
    features = MIXED.features(mixed_x)
    assert features.shape == (4, MIXED.n_features)
    assert features[:, -2:].tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]
    assert features.isfinite().all()
    assert MIXED.features(torch.full((2, 10), NAN))[:, -2:].tolist() == [[1, 1], [1, 1]]


def test_the_indicator_alone_distinguishes_an_unknown_value_from_a_missing_one():
    likelihood = Mixed((Bernoulli(1, UNSEEN),), indicators=(0,))
    unseen, missing = likelihood.features(tensor([[2.0], [NAN]]))
    assert unseen.tolist() == [0.5, 0]
    assert missing.tolist() == [0.5, 1]


# -- fits to the marginals --


def likelier(likelihood, x, outputs, shared):
    return likelihood.log_prob(x, outputs.expand(len(x), -1), shared).sum(0)


@pytest.mark.parametrize("df", [2.5, 4, 30])
def test_marginals_of_numbers_are_as_likely_as_scipys_own_fit(rng, df):
    x = stats.t.rvs(df, size=(1500, 2), random_state=rng) * [1.0, 0.4] + [0.5, -2.0]
    for likelihood, density in ((Gaussian((1e-3,) * 2), stats.norm), (StudentT((1e-3,) * 2), stats.t)):
        found = likelier(likelihood, tensor(x), *likelihood.marginals(tensor(x)))
        fitted = [density.logpdf(column, *density.fit(column)).sum() for column in x.T]
        assert_allclose(found, fitted, atol=3)  # nats of 1,500 rows: the tail weight is one of a few


def test_marginals_of_numbers_are_those_of_the_observed_cells(rng):
    x = tensor(rng.normal(size=(300, 3)))
    x[::3, 0], x[:, 1] = NAN, NAN
    for likelihood in (Gaussian(FLOORS), StudentT(FLOORS)):
        outputs, shared = likelihood.marginals(x)
        alone, alone_shared = type(likelihood)(FLOORS[:1]).marginals(x[~x[:, 0].isnan(), :1])
        assert_allclose(outputs[0], alone[0], atol=1e-9)
        assert_allclose(shared.unflatten(0, (-1, 3))[:, 0], alone_shared, atol=1e-9)
        assert outputs.isfinite().all()
        assert shared.isfinite().all()


@every_case
def test_no_other_outputs_are_likelier_than_the_marginals(case, rng):
    values = {"Bernoulli": 2, "Categorical": 4}.get(str(case))
    shape = (400, case.likelihood.n_cells)
    x = tensor(rng.integers(0, values, shape) if values else rng.normal(size=shape))
    outputs, shared = case.likelihood.marginals(x)
    best = likelier(case.likelihood, x, outputs, shared)
    for step in (0.1, -0.1):
        for number in range(len(outputs)):
            moved = outputs.clone()
            moved[number] += step
            assert (
                likelier(case.likelihood, x, moved, shared) <= best + 0.2
            ).all()  # nats of 400 rows: a value never seen has some probability already


def test_mixed_has_the_marginals_of_its_blocks(mixed_x):
    cells = mixed_x.split([3, 3, 3, 1], -1)
    outputs, shared = MIXED.marginals(mixed_x)
    found = [CASES[i].likelihood.marginals(cells[i]) for i in range(4)]
    assert torch.equal(outputs, torch.cat([block for block, _ in found]))
    assert torch.equal(shared, torch.cat([block for _, block in found]))


def test_the_plain_autoencoders_marginals_are_the_means_of_the_features(rng):
    x = tensor(rng.normal(size=(50, 2)))
    outputs, _ = SquaredError(Gaussian(FLOORS[:2])).marginals(x)
    assert_allclose(outputs, x.mean(0))


def test_the_frequency_of_a_code_depends_on_nothing_else_and_no_network_sees_it():
    frequency = Frequency((0.0, 2.5, 7.0))
    block = Mixed((Gaussian(FLOORS[:1], UNSEEN), frequency))
    x = tensor([[0.5, 0], [0.5, 1], [0.5, 2], [0.5, NAN]])
    assert (block.n_features, block.n_outputs) == (1, 1)
    assert_allclose(block.features(x), x[:, :1])
    for location in 0.0, 3.0:
        log_prob = block.log_prob(x, torch.full((4, 1), location).double(), tensor([0.0]))
        assert_allclose(log_prob[:, 1], [0.0, -2.5, -7.0, 0.0])
