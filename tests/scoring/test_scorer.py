import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly import VAEDetector
from vae_anomaly.model.nearest import NEAREST, fit_kernels
from vae_anomaly.model.objectives import ELBO, IWAE
from vae_anomaly.model.priors import ExemplarPrior, NearestPrior
from vae_anomaly.scoring import scorer as scoring
from vae_anomaly.scoring.scorer import row_keys


@pytest.mark.parametrize("n_draws", [1, 2, 4, 5])
def test_draws_come_in_pairs_of_opposite_sign(scorer_of, rng, n_draws):
    draws = scorer_of(rng.normal(size=(9, 3)), n_draws=n_draws).draws.numpy()
    assert draws.shape == (n_draws, 2)
    half = -(-n_draws // 2)
    assert_array_equal(draws[half:], -draws[: n_draws - half])
    if n_draws % 2 == 0:
        assert (draws.sum(0) == 0).all()
    assert (np.abs(draws) == 1).all()


def test_draws_of_the_importance_weighted_bound_are_standard_normal(rng):
    draws = IWAE().draws(rng, 20_000, 2)
    assert_array_equal(draws[10_000:], -draws[:10_000])
    assert_allclose(draws.std(0), 1, atol=0.03)
    assert_allclose((draws**4).mean(0), 3, atol=0.3)


@pytest.mark.parametrize("prior", ["standard normal", "few exemplars", "many exemplars"])
@pytest.mark.parametrize("leave_one_out", [True, False])
def test_the_size_of_chunks_does_not_change_scores(scorer_of, rng, monkeypatch, prior, leave_one_out):
    x = rng.normal(size=(70, 3))
    scorer = scorer_of(x, exemplars=prior != "standard normal", leave_one_out=False)
    scorer = replace(scorer, leave_one_out=leave_one_out)
    if prior == "many exemplars":
        monkeypatch.setattr(scoring, "FEW", 50)
        assert len(scorer.exemplars.counts) > scoring.FEW
    tight = replace(scorer, objective=IWAE())
    wanted = scorer.score(x), tight.score(x), scorer.by_member(x), scorer.encode(x)
    for size in (1, 1000, 5000):
        monkeypatch.setattr(scoring, "CHUNK_BYTES", size)  # a row, some, many at a time
        found = scorer.score(x), tight.score(x), scorer.by_member(x), scorer.encode(x)
        for one, other in zip(found, wanted, strict=True):
            assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_exemplars", [0, 100, 300], ids="{} exemplars".format)
@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_row_gets_the_same_bits_in_any_batch(scorer_of, rng, n_exemplars, leave_one_out, dtype):
    x = rng.normal(size=(700, 3))
    x[rng.random(x.shape) < 0.1] = np.nan
    scorer = scorer_of(x[: max(1, n_exemplars)], exemplars=n_exemplars > 0, leave_one_out=False, dtype=dtype)
    scorer = replace(scorer, leave_one_out=leave_one_out)
    whole = scorer.score(x)
    for n_rows in (1, 2, 3, 7, 17, 95, 96, 97, 333):
        assert_array_equal(scorer.score(x[-n_rows:]), whole[-n_rows:])
    order = rng.permutation(len(x))
    assert_array_equal(scorer.score(x[order]), whole[order])


def test_parallel_chunks_score_as_sequential_ones_and_leave_threads_as_they_are(scorer_of, rng, monkeypatch):
    x = rng.normal(size=(90, 3))
    scorer = scorer_of(x, leave_one_out=True)
    wanted, n_threads = scorer.score(x), torch.get_num_threads
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 7)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)  # chunks at once

    def score(_):
        before = n_threads()
        scores = scorer.score(x)
        return scores, n_threads() - before

    found = [score(0)]
    with ThreadPoolExecutor(8) as pool:
        found += pool.map(score, range(16))
    for scores, change in found:
        assert_allclose(scores, wanted, rtol=1e-9)
        assert change == 0


@pytest.mark.parametrize("objective", [ELBO(), IWAE()])
def test_rows_that_repeat_are_scored_once_each(scorer_of, rng, monkeypatch, objective):
    distinct = rng.normal(size=(12, 3))
    distinct[3, 1] = np.nan
    scorer, positions = replace(scorer_of(distinct[:3]), objective=objective), rng.integers(12, size=300)
    wanted, scored = scorer.score(distinct), []
    monkeypatch.setattr(
        scoring, "in_pieces", lambda work, chunks, _: [scored.append(len(c[0])) or work(c) for c in chunks]
    )
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 100)
    assert_allclose(scorer.score(distinct[positions]), wanted[positions], rtol=1e-12)
    assert scored == [scorer.vae.alike]  # filled up with repeats


@pytest.mark.parametrize("n_rows", [40, 3000])
def test_equal_rows_have_exactly_the_same_score_at_any_position(scorer_of, rng, n_rows):
    few = rng.normal(size=(7, 3))
    scores = scorer_of(few, exemplars=False).score(few[np.arange(n_rows) % 7])
    assert_array_equal(scores, scores[np.arange(n_rows) % 7])


def test_single_precision_scores_as_double_does(scorer_of, rng):
    x = rng.normal(size=(300, 3))
    single = scorer_of(x, dtype=torch.float32)
    double = replace(
        single,
        vae=copy.deepcopy(single.vae).double().freeze(),
        draws=single.draws.double(),
        exemplars=replace(single.exemplars, means=single.exemplars.means.double()),
    )
    assert_allclose(single.score(x), double.score(x), rtol=1e-5, atol=1e-4)


def test_rows_with_one_key_but_different_cells_have_scores_of_their_own(scorer_of, rng):
    x = np.repeat(rng.normal(size=(4, 3)), 2, axis=0)
    x[1::2] += 1e-12  # keys are of float32
    assert_array_equal(row_keys(x[::2]), row_keys(x[1::2]))
    scorer = scorer_of(x)
    scores = scorer.score(x)
    assert (scores[::2] != scores[1::2]).any()
    assert_allclose(scores, [scorer.score(row[None])[0] for row in x], rtol=1e-13)


def test_an_error_in_a_chunk_is_the_callers(scorer_of, rng, monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 2)
    with pytest.raises(RuntimeError):
        scorer_of(rng.normal(size=(9, 3))).score(np.zeros((9, 2)))


def test_a_score_is_the_mean_over_members(scorer_of, vae, rng):
    """Each member on its own, with its own exemplars, by slicing every weight."""
    x = rng.normal(size=(15, 3))
    scorer = scorer_of(x)
    singles = []
    for member in range(2):
        alone = type(vae)(vae.likelihood, 2, (5,), 1).double()  # with the scorer's own bandwidth
        alone.load_state_dict({name: tensor[member : member + 1] for name, tensor in scorer.vae.state_dict().items()})
        means, widths = (part[member : member + 1] for part in (scorer.exemplars.means, scorer.exemplars.log_widths))
        own = replace(scorer.exemplars, means=means, log_widths=widths)
        singles.append(replace(scorer, vae=alone.requires_grad_(False), exemplars=own))
    for objective in (ELBO(), IWAE()):
        mean = np.mean([replace(single, objective=objective).score(x) for single in singles], axis=0)
        assert_allclose(replace(scorer, objective=objective).score(x), mean, rtol=1e-10)
    assert_allclose(scorer.encode(x), singles[0].encode(x), rtol=1e-10)
    assert_allclose(scorer.decode(scorer.encode(x)), singles[0].decode(scorer.encode(x)), rtol=1e-10)


def test_an_exemplar_that_counts_twice_is_two_exemplars(scorer_of, rng):
    x = rng.normal(size=(9, 3))
    doubled = scorer_of(np.vstack([x, x[:1]]))
    own = doubled.exemplars
    index = int(own.counts.argmax())
    assert own.counts[index] == 2
    spread = replace(
        own,
        counts=torch.ones(10, dtype=torch.int64),
        means=torch.cat([own.means, own.means[:, [index]]], 1),
        log_widths=torch.cat([own.log_widths, own.log_widths[:, [index]]], 1),
    )
    assert_allclose(doubled.score(x), replace(doubled, exemplars=spread).score(x), rtol=1e-10)


def test_the_most_anomalous_rows_of_a_contaminated_table_are_no_exemplars(scorer_of, rng):
    x = rng.normal(size=(100, 3))
    x[:5] += 30
    contaminated, clean = scorer_of(x, leave_one_out=True), scorer_of(x, leave_one_out=False)
    far = clean.posteriors(x[:5])[0]
    distances = [torch.cdist(torch.tensor(far), scorer.exemplars.means).amin(2) for scorer in (contaminated, clean)]
    assert (distances[0] > 1).all()
    assert (distances[1] < 1e-5).all()
    declared = scorer_of(x, leave_one_out=True, contamination=0.4)
    assert len(declared.exemplars.counts) == 60


def test_clean_rows_are_exemplars_as_far_as_they_go_and_the_bandwidth_is_theirs(scorer_of, vae, rng, monkeypatch):
    monkeypatch.setattr(scoring, "MOST", 80)
    for n_rows in (60, 200):
        scorer = scorer_of(rng.normal(size=(n_rows, 3)))
        assert len(scorer.exemplars.counts) == min(n_rows, 80)
        for member in range(2):
            fitted, log_widths = fit_kernels(scorer.exemplars.means[member], NEAREST)
            assert_allclose(scorer.vae.log_bandwidth[member].exp(), fitted, rtol=1e-6)
            assert torch.equal(scorer.exemplars.log_widths[member], log_widths)
        for name, tensor in vae.state_dict().items():
            assert torch.equal(tensor, scorer.vae.state_dict()[name]) == (name != "log_bandwidth"), name


def test_contaminated_rows_give_few_exemplars_and_keep_the_trained_bandwidth(scorer_of, vae, rng, monkeypatch):
    monkeypatch.setattr(scoring, "FEW", 50)
    scorer = scorer_of(rng.normal(size=(200, 3)), leave_one_out=True)
    assert len(scorer.exemplars.counts) == 50
    for name, tensor in vae.state_dict().items():
        assert torch.equal(tensor, scorer.vae.state_dict()[name]), name


def test_a_scorer_holds_a_copy_of_the_model_in_its_own_type(vae, rng):
    scorer = scoring.make_scorer(
        vae,
        ELBO(),
        rng.normal(size=(20, 3)),
        exemplars=True,
        starts_at_pca=True,
        leave_one_out=False,
        contamination="auto",
        n_draws=2,
        dtype=torch.float32,
        rng=rng,
    )
    assert scorer.dtype == scorer.draws.dtype == scorer.exemplars.means.dtype == torch.float32
    assert vae.shared.dtype == torch.float64
    assert not any(parameter.requires_grad for parameter in scorer.vae.parameters())
    assert scorer.vae.shared.data_ptr() != vae.shared.data_ptr()
    assert scorer.score(rng.normal(size=(2, 3))).dtype == np.float64


def test_many_samples_are_drawn_a_part_at_a_time(scorer_of, rng, monkeypatch):
    monkeypatch.setattr(scoring, "SAMPLE_ROWS", 500)
    scorer = scorer_of(rng.normal(size=(9, 3)))
    assert_array_equal(scorer.sample(1200, 1)[:500], scorer.sample(500, 1))
    new = scorer.sample(20_200, 2)
    monkeypatch.setattr(scoring, "SAMPLE_ROWS", 50_000)
    assert_allclose(new.mean(0), scorer.sample(20_000, 3).mean(0), atol=0.1)
    assert len(np.unique(new, axis=0)) == 20_200


def test_samples_come_from_all_members_and_follow_their_seed(scorer_of, rng):
    scorer = scorer_of(rng.normal(size=(30, 3)))
    assert_array_equal(scorer.sample(6, 1), scorer.sample(6, 1))
    assert not np.array_equal(scorer.sample(6, 1), scorer.sample(6, 2))
    means = []
    for member in range(2):  # where a member alone would put its samples
        z = scorer.exemplars.sample(scorer.vae.log_bandwidth, 4000, torch.Generator().manual_seed(3))
        means.append(scorer.vae.decode(z[None])[0, member].mean(0).numpy())
    assert np.abs(means[0] - means[1]).max() > 0.2
    assert_allclose(scorer.sample(8000, 5).mean(0), np.mean(means, 0), atol=0.1)


def test_a_bandwidth_is_fitted_to_the_exemplars_only_of_a_model_that_starts_at_pca(scorer_of, vae, rng):
    """Elsewhere posteriors may be wider than the gaps between latent means: so wide a kernel would blur everything."""
    x = rng.normal(size=(50, 3))
    trained, fitted = (scorer_of(x, starts_at_pca=at_pca).vae.log_bandwidth for at_pca in (False, True))
    torch.testing.assert_close(trained, vae.log_bandwidth.data)
    assert (fitted - trained).abs().min() > 0.01


@pytest.mark.parametrize("objective", [ELBO(), IWAE()])
def test_the_score_is_the_mean_of_the_members_own(scorer_of, rng, objective):
    x = rng.normal(size=(600, 3))
    scorer = replace(scorer_of(x), objective=objective)
    found = scorer.by_member(x)
    assert found.shape == (2, 600)
    assert_allclose(found.mean(0), scorer.score(x), rtol=1e-12)
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_the_first_members_posterior_is_that_of_all_members(scorer_of, rng):
    x = rng.normal(size=(600, 3))
    scorer = scorer_of(x)
    for every, first in zip(scorer.posteriors(x), scorer.posteriors(x, 1), strict=True):
        assert every.shape == (2, 600, 2)
        assert_array_equal(every[:1], first)
        assert np.abs(every[0] - every[1]).max() > 0.1
    assert_array_equal(scorer.encode(x), scorer.posteriors(x)[0][0])


def test_few_rows_whose_kernels_differ_see_the_nearest_alone(scorer_of, rng):
    x = rng.normal(size=(60, 3)) * np.repeat([0.1, 3.0], 30)[:, None]
    scorer = scorer_of(x)
    assert scorer.exemplars.log_widths.any()
    alike = replace(scorer.exemplars, log_widths=torch.zeros_like(scorer.exemplars.log_widths))
    for exemplars, kind in ((scorer.exemplars, NearestPrior), (alike, ExemplarPrior)):
        assert isinstance(replace(scorer, exemplars=exemplars).inputs(x)[2], kind)


@pytest.mark.parametrize("n_flags, local", [(1, True), (2, False)])
def test_kernels_have_one_width_where_flags_are_many(rng, n_flags, local):
    """Rows with a rare value lie apart from all others without being a loose group."""
    numbers = rng.normal(size=(80, 3)) * np.repeat([0.1, 3.0], 40)[:, None]
    x = np.column_stack([numbers, rng.random((80, n_flags)) < 0.3])
    detector = VAEDetector(novelty=True, random_state=0).fit(pd.DataFrame(x).astype({3: bool}))
    assert bool(detector.model_.scorer.exemplars.log_widths.any()) == local
