import time

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from vae_anomaly.monitor.martingale import BETS, RATES, follow, log_martingale, online_p_values, smaller_before


def slow_p_values(reference, new, rng):
    """Each score ranked among all before it, pair by pair; the draws in the order in which the quick way takes them."""
    scores = np.concatenate([reference, new])
    ties, smooth = rng.random(len(scores)), rng.random(len(new))
    p_values = []
    for row, u in enumerate(smooth, start=len(reference)):
        before = [(scores[i], ties[i]) < (scores[row], ties[row]) for i in range(row)]
        p_values.append((sum(before) + 1 - u) / (row + 1))
    return p_values


def slow_log_martingale(p_values):
    """The mean of one Jumper for each rate, the capital of each bet moved by hand."""
    total = np.zeros(len(p_values))
    for rate in RATES:
        capital = [1 / len(BETS)] * len(BETS)
        for row, p in enumerate(p_values):
            whole = sum(capital)
            capital = [
                ((1 - rate) * c + rate * whole / len(BETS)) * bet(p) for c, bet in zip(capital, BETS, strict=True)
            ]
            total[row] += sum(capital) / len(RATES)
    return np.log(total)


@pytest.mark.parametrize("n_reference, n_new", [(0, 7), (1, 1), (13, 40), (64, 65)])
@pytest.mark.parametrize("digits", [0, 8], ids=["ties", "no ties"])
def test_p_values_are_ranks_among_all_scores_before(rng, n_reference, n_new, digits):
    reference, new = rng.normal(size=n_reference).round(digits), rng.normal(size=n_new).round(digits)
    quick, slow = online_p_values(reference, new, np.random.default_rng(5)), np.random.default_rng(5)
    assert_allclose(quick, slow_p_values(reference, new, slow), rtol=1e-12)


def test_entries_before_that_are_smaller_are_counted(rng):
    for size in (0, 1, 2, 3, 17, 128, 129):
        ranks = rng.permutation(size)
        assert smaller_before(ranks).tolist() == [np.count_nonzero(ranks[:i] < rank) for i, rank in enumerate(ranks)]


def test_p_values_are_uniform_and_independent_even_of_scores_that_tie(rng):
    streams = [rng.integers(4, size=30).astype(float) for _ in range(2000)]
    p_values = np.array([online_p_values(stream[:10], stream[10:], rng) for stream in streams])
    assert stats.kstest(p_values.ravel(), "uniform").pvalue > 0.01
    assert np.abs(np.corrcoef(p_values.T) - np.eye(20)).max() < 4.5 / np.sqrt(2000)


def test_every_bet_is_fair_and_never_loses_all():
    grid = (np.arange(100_000) + 0.5) / 100_000
    for bet in BETS:
        assert bet(grid).min() > 0
        assert bet(grid).mean() == pytest.approx(1.0, abs=2e-3)  # the quadrature at the pole


def test_the_martingale_is_the_mean_of_jumpers(rng):
    p_values = rng.random(60) ** 2
    assert_allclose(log_martingale(p_values), slow_log_martingale(p_values), rtol=1e-9)


def test_among_exchangeable_streams_at_most_the_level_alarm(rng):
    level, streams = 0.1, 1000
    alarms = [follow(*np.split(rng.normal(size=300), [100]), level, rng).alarm is not None for _ in range(streams)]
    assert np.mean(alarms) <= level + 3 * np.sqrt(level * (1 - level) / streams)


def test_a_reference_that_happens_to_lie_off_is_no_drift(rng):
    """A long stream after ten rows: compared with these alone it would certainly be another sample."""
    alarms = [follow(rng.normal(size=10), rng.normal(size=1500), 0.05, rng).alarm is not None for _ in range(40)]
    assert np.mean(alarms) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)


CHANGES = {
    "more anomalous": lambda scores: scores - 1,
    "less anomalous": lambda scores: scores + 1,
    "wider": lambda scores: 2 * scores,
    "narrower": lambda scores: scores / 2,
    "a tenth far off": lambda scores: np.where(np.arange(len(scores)) % 10 == 0, scores - 5, scores),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_in_mid_stream_is_found_soon_after_it_begins(rng, change):
    new = rng.normal(size=1400)
    new[1000:] = change(new[1000:])
    stream = follow(rng.normal(size=500), new, 0.01, rng)
    assert 1000 <= stream.alarm < 1300
    assert stream.largest > stream.threshold == 100


def test_evidence_beyond_what_a_float_holds_is_the_largest_float(rng):
    stream = follow(rng.normal(size=5000), rng.normal(-20, 1, size=4000), 0.05, rng)
    assert stream.largest == pytest.approx(np.finfo(float).max)
    assert stream.alarm < 20


def test_nothing_against_the_rows_leaves_the_stake():
    stream = follow(np.arange(100.0), np.array([50.5]), 0.05, np.random.default_rng(0))
    assert stream.largest >= 1
    assert stream.alarm is None


@pytest.mark.slow
def test_a_million_rows_take_seconds(rng):
    scores = rng.normal(size=1_000_000)
    begin = time.perf_counter()
    follow(rng.normal(size=4096), scores, 0.05, rng)
    assert time.perf_counter() - begin < 120  # about 15 on a busy core; n squared would take days
