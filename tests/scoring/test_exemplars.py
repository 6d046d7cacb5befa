import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import logsumexp

from vae_anomaly.model.priors import ExemplarPrior, NearestPrior
from vae_anomaly.scoring import scorer as exemplars
from vae_anomaly.scoring.scorer import DISTINCT, SAME, Exemplars, row_keys

CELLS = st.sampled_from([0.0, -0.0, 1.0, -1.0, np.nan, 0.5, 2.0, 1e-3, 700.0])


@given(arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=CELLS))
def test_keys_are_equal_where_rows_are_and_only_there(x):
    keys = row_keys(x)
    assert keys.dtype == np.uint64
    for key, row in zip(keys, x, strict=True):
        for other_key, other in zip(keys, x, strict=True):
            assert (key == other_key) == np.array_equal(row, other, equal_nan=True)  # -0.0 equals 0.0


@given(arrays(np.float64, (3, 5), elements=st.floats(-30, 30)))
def test_the_last_bits_of_a_float64_do_not_count(x):
    """Two machines' logarithms may differ in them."""
    rounded = x.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(row_keys(rounded), row_keys(x))


def test_a_rows_key_is_its_own_whatever_the_batch(rng):
    x = rng.normal(size=(50, 4))
    alone = np.concatenate([row_keys(x[[row]]) for row in range(50)])
    np.testing.assert_array_equal(alone, row_keys(x))
    np.testing.assert_array_equal(row_keys(np.asfortranarray(x)), row_keys(x))


def test_every_kind_of_missing_is_one(rng):
    odd_nan = np.array([0x7FF8000000000001], np.uint64).view(np.float64)
    assert row_keys(np.array([[odd_nan[0]]])) == row_keys(np.array([[np.nan]])) == row_keys(np.array([[-np.nan]]))


def test_the_order_of_cells_counts():
    assert len(set(row_keys(np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 1.0], [1.0, 0.0]])).tolist())) == 4


def test_keys_do_not_collide_among_many_rows():
    grid = np.stack(np.meshgrid(np.arange(300.0), np.arange(300.0)), -1).reshape(-1, 2)
    assert len(np.unique(row_keys(grid))) == 90_000


def slow_key(row):
    """The key in Python's own whole numbers, cell by cell."""
    key = 0
    for cell in row:
        bits = 0x7FC00000 if np.isnan(cell) else struct.unpack("<I", struct.pack("<f", cell))[0]
        key = (key * 0x94D049BB133111EB + bits + 0x9E3779B97F4A7C15) % 2**64
        key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        key ^= key >> 27
    return key


def test_keys_are_those_of_the_definition(rng):
    x = np.where(rng.random((20, 4)) < 0.2, np.nan, rng.normal(size=(20, 4)))
    wanted = [slow_key(row) for row in x]
    assert row_keys(x).tolist() == wanted
    assert [row_keys(row[None]).item() for row in x] == wanted


def test_exemplars_are_the_distinct_rows_with_their_counts_and_means(vae, rng):
    x = rng.permutation(np.repeat(rng.normal(size=(4, 3)), [1, 2, 3, 10], axis=0))
    found = Exemplars.drawn(vae, x, 100, rng)
    assert sorted(found.counts.tolist()) == [1, 2, 3, 10]
    for key, count, mean in zip(np.unique(row_keys(x)), found.counts, found.means.unbind(1), strict=True):
        same = x[row_keys(x) == key]
        assert len(same) == count
        torch.testing.assert_close(mean, vae.encode(torch.tensor(same[:1]))[0].detach()[:, 0])


def test_of_many_rows_a_number_is_drawn(vae, rng):
    x = np.repeat(np.arange(100.0)[:, None], 3, axis=1)
    found = Exemplars.drawn(vae, x, 20, rng)
    assert (found.counts == 1).all()
    assert len(found.counts) == 20
    means = vae.encode(torch.tensor(x))[0][0]
    assert (torch.cdist(found.means[0], means).amin(1) < 1e-5).all()
    assert not torch.equal(Exemplars.drawn(vae, x, 20, rng).means, found.means)
    assert Exemplars.drawn(vae, np.repeat(x, 2, 0), 20, rng).counts.sum() == 20


THREE = torch.tensor([[0.0, 0.0], [0.0, 5.0], [5.0, 0.0]])


@pytest.fixture
def three():
    return Exemplars(torch.tensor([1, 3, 2]), torch.stack([THREE, 2 * THREE]), torch.zeros(2, 3).double())


def weights_of(found, z):
    """Weights of the exemplars for rows of these latent means in the first member, the double in the second."""
    z = torch.tensor(z).float()
    return found.leave_out(found.prior(torch.zeros(2, 1, 1)), torch.stack([z, 2 * z])).log_weights.exp().numpy()


def test_a_row_among_the_exemplars_counts_once_less_for_itself(three):
    z = [[0.0, 5.0], [0.0, 0.0], [2.0, 2.0], [5.0, 0.0], [9.0, 9.0], [5.0, 5.0]]
    weights = np.array([[1, 2, 2], [0, 3, 2], [1, 3, 2], [1, 3, 1], [1, 3, 2], [1, 3, 2]])
    assert_allclose(weights_of(three, z), (weights / weights.sum(1, keepdims=True))[None], rtol=1e-6)
    assert three.counts.tolist() == [1, 3, 2]  # as before


def test_rows_known_to_be_others_count_every_exemplar(three):
    whole = [[[1 / 6, 3 / 6, 2 / 6]]]
    assert_allclose(three.prior(torch.zeros(2, 1, 1)).log_weights.exp(), whole, rtol=1e-6)
    assert_allclose(weights_of(three, [[0.0, 1.0]]), whole, rtol=1e-6)


def test_a_row_ceases_to_be_an_exemplar_without_a_jump(three):
    """The farthest of the members counts: the second, in which distances are twice as large."""
    distances = np.linspace(0, 2 * DISTINCT, 81)
    weights = weights_of(three, np.column_stack([np.zeros(81), 5 + distances / 2]))[0]
    taken = 3 - weights[:, 1] / weights[:, 0]
    assert_allclose(taken, ((DISTINCT - distances) / (DISTINCT - SAME)).clip(0, 1), atol=1e-4)


def test_rows_that_agree_with_an_exemplar_in_one_member_alone_are_others(three):
    z = torch.stack([THREE, THREE.roll(1, 0)])
    prior = three.prior(torch.zeros(2, 1, 1))
    assert_allclose(three.leave_out(prior, z).log_weights.expand(-1, 3, -1), prior.log_weights.expand(-1, 3, -1))


def test_an_only_exemplar_stays():
    for count in (1, 2):
        found = Exemplars(torch.tensor([count]), torch.zeros(2, 1, 2), torch.zeros(2, 1))
        assert weights_of(found, [[0.0, 0.0]]) == [[[1]]]


# Of many exemplars a row sees the nearest


MEMBERS, ROWS, LATENTS = 2, 40, 3
LOG_BANDWIDTH = torch.tensor([-0.5, 0.2]).double()[:, None, None]


@pytest.fixture
def many(rng):
    """Forty exemplars, the last twelve of them with duplicates, each with a width of its own."""
    counts = torch.tensor([1] * 28 + [3] * 12)
    means, widths = rng.standard_normal((MEMBERS, ROWS, LATENTS)), rng.uniform(-0.5, 1.0, (MEMBERS, ROWS))
    return Exemplars(counts, torch.tensor(means), torch.tensor(widths))


@pytest.fixture
def few_are_five(monkeypatch):
    """Beyond five exemplars a row sees the four nearest."""
    monkeypatch.setattr(exemplars, "FEW", 5)
    monkeypatch.setattr(exemplars, "NEAREST", 4)


def slow_prior(found, nearest, z, itself=None):
    """Log density of each row, by the definition: the nearest, weighted among all counts but one of ``itself``."""
    means, counts = found.means.numpy(), found.counts.numpy()
    out = np.empty(z.shape[:2])
    for member, row in np.ndindex(*z.shape[:2]):
        own = counts.astype(float)
        if itself is not None:
            own[itself[row]] -= 1
        distances = np.linalg.norm(means[member] - z[member, row], axis=-1)
        near = np.argsort(distances)[:nearest]
        scales = np.exp(LOG_BANDWIDTH[member, 0, 0].item() + found.log_widths[member, near].numpy())
        kernels = stats.norm.logpdf(z[member, row], means[member, near], scales[:, None]).sum(-1)
        out[member, row] = logsumexp(kernels, b=own[near] / own.sum())
    return out


@pytest.mark.parametrize("known", [True, False])
def test_of_many_exemplars_the_prior_is_the_sum_over_the_nearest(many, few_are_five, rng, known):
    z = many.means + (0.0 if known else 0.3) * torch.tensor(rng.standard_normal((MEMBERS, ROWS, LATENTS)))
    prior = many.nearest_prior(LOG_BANDWIDTH, z, z if known else None)
    assert isinstance(prior, NearestPrior)
    wanted = slow_prior(many, 4, z.numpy(), np.arange(ROWS) if known else None)
    assert_allclose(prior.log_prob(z[None])[0], wanted, rtol=1e-10)


def test_of_many_exemplars_a_row_does_not_see_its_own_copy_but_its_duplicates(many, few_are_five):
    z = many.means  # each row is an exemplar
    seen, left_out = (many.nearest_prior(LOG_BANDWIDTH, z, own).log_weights.exp() for own in (None, z))
    total = many.counts.sum().item()
    assert total == 28 + 36
    assert_allclose(seen.max(-1).values[:, 28:], 3 / total)  # its own is the nearest
    assert_allclose(left_out.sum(-1) * (total - 1), seen.sum(-1) * total - 1, rtol=1e-12)
    own = (many.nearest_prior(LOG_BANDWIDTH, z, z).means == z[:, :, None]).all(-1)
    assert own.sum() == MEMBERS * ROWS
    expected = torch.tensor([0.0] * 28 + [2.0] * 12).double() / (total - 1)
    assert_allclose(left_out[own].reshape(MEMBERS, ROWS), expected.expand(MEMBERS, -1))


def test_of_many_exemplars_rows_that_are_none_of_them_see_all_counts(many, few_are_five):
    z = many.means + 0.4
    priors = [many.nearest_prior(LOG_BANDWIDTH, z, own) for own in (z, None)]
    assert torch.equal(priors[0].log_prob(z[None]), priors[1].log_prob(z[None]))


def test_cells_can_be_removed_from_a_row_that_stays_known(many, few_are_five, rng):
    """The row is found by its own latents; what it sees follows from the others."""
    z = many.means + 0.3 * torch.tensor(rng.standard_normal((MEMBERS, ROWS, LATENTS)))
    prior = many.nearest_prior(LOG_BANDWIDTH, z, many.means)
    assert_allclose(prior.log_prob(z[None])[0], slow_prior(many, 4, z.numpy(), np.arange(ROWS)), rtol=1e-10)


@pytest.mark.parametrize("known", [True, False])
def test_few_and_many_exemplars_agree_where_the_nearest_are_all(many, rng, monkeypatch, known):
    z = many.means if known else torch.tensor(rng.standard_normal((MEMBERS, ROWS, LATENTS)))
    log_var = torch.tensor(rng.standard_normal((MEMBERS, ROWS, LATENTS)))
    monkeypatch.setattr(exemplars, "NEAREST", ROWS)
    many = replace(many, log_widths=torch.zeros_like(many.log_widths))
    whole = many.prior(LOG_BANDWIDTH)
    left_out = many.leave_out(whole, z) if known else whole
    priors = [left_out, many.nearest_prior(LOG_BANDWIDTH, z, z if known else None)]
    assert [type(prior) for prior in priors] == [ExemplarPrior, NearestPrior]
    assert_allclose(priors[1].log_prob(z[None]), priors[0].log_prob(z[None]), rtol=1e-10)
    assert_allclose(priors[1].kl(z, log_var), priors[0].kl(z, log_var), rtol=1e-10)


@pytest.mark.parametrize("known", [True, False])
def test_of_many_exemplars_a_row_sees_the_same_in_whatever_batch(many, few_are_five, rng, known):
    z = many.means + (0.0 if known else 0.1) * torch.tensor(rng.standard_normal((MEMBERS, ROWS, LATENTS)))
    whole = many.nearest_prior(LOG_BANDWIDTH, z, z if known else None).log_prob(z[None])[0]
    order = rng.permutation(ROWS)
    rows = [z[:, [i]] for i in order]
    alone = [many.nearest_prior(LOG_BANDWIDTH, row, row if known else None) for row in rows]
    found = torch.cat([prior.log_prob(row[None])[0] for prior, row in zip(alone, rows, strict=True)], 1)
    assert_allclose(found, whole[:, order], rtol=1e-10)


def test_samples_lie_around_the_exemplars_by_their_counts_at_their_own_widths():
    widths = torch.tensor([[0.0, 1.0, -1.0], [1.0, 0.0, 0.5]]).double()
    means = torch.tensor([[0.0], [1000.0], [2000.0]]).double().expand(2, 3, 1)
    found = Exemplars(torch.tensor([1, 3, 2]), means, widths)
    z = found.sample(LOG_BANDWIDTH, 60_000, torch.Generator().manual_seed(0))[..., 0]
    nearest = (z / 1000).round().long()
    for member in range(2):
        shares = torch.bincount(nearest[member], minlength=3) / 60_000
        assert_allclose(shares, [1 / 6, 3 / 6, 2 / 6], atol=0.01)
        for exemplar in range(3):
            around = z[member][nearest[member] == exemplar] - 1000 * exemplar
            expected = (LOG_BANDWIDTH[member, 0, 0] + widths[member, exemplar]).exp()
            assert_allclose(around.std(), expected, rtol=0.03)
