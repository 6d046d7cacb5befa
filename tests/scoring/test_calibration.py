import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import expon, genpareto, kstest

from vae_anomaly.scoring.calibration import CORE_SHAPE, Conformal, Tail, calibrate
from vae_anomaly.scoring.decide import FDR_METHODS, detection_rule

LEVELS = np.array([0.001, 0.01, 0.05, 0.1, 0.3, 0.7])


def hard(reference, scores):
    """Conformal p-values, counted one by one."""
    return np.array([(1 + sum(r <= s for r in reference)) / (len(reference) + 1) for s in scores])


def contaminated(rng, n_normal, n_anomalous, shape=CORE_SHAPE):
    normal = genpareto.rvs(shape, scale=3.0, size=n_normal, random_state=rng)
    return np.concatenate([-normal, -90.0 - rng.exponential(20.0, n_anomalous)])


def test_p_values_are_conformal_ones_raised_by_less_than_a_thousandth_of_a_row(rng):
    reference = rng.normal(size=60).round(1)  # with ties
    scores = np.concatenate([reference, rng.normal(size=200), [-1e6, -50.0, 40.0]])
    found, wanted = Conformal(reference).p_values(scores), hard(reference, scores)
    assert (found >= wanted - 1e-15).all()
    assert (found <= np.minimum(wanted + 1e-3 / 61, 1) + 1e-15).all()


def test_p_values_keep_the_order_of_the_scores_also_beyond_all_reference_rows(rng):
    scores = np.sort(np.concatenate([rng.normal(size=300), [-1e9, -1e8, -1e3, -50.0, -40.0]]))
    reference = rng.normal(size=100)
    found = Conformal(reference).p_values(scores)
    assert (np.diff(found[scores < reference.max()]) > 0).all()
    assert 1 / 101 < found[0] < 1.000_001 / 101


def test_p_values_of_rows_like_the_reference_are_super_uniform(rng):
    """Whichever of eleven exchangeable rows is the new one: exactly, not on average."""
    for rows in (rng.normal(size=11), rng.integers(3, size=11).astype(float), rng.standard_cauchy(size=11)):
        found = [Conformal(np.delete(rows, index)).p_values(rows[[index]])[0] for index in range(11)]
        for level in np.linspace(0, 1, 201):
            assert np.mean(np.array(found) <= level) <= level + 1e-12


def test_the_tail_of_clean_rows_is_the_one_that_they_were_drawn_from(rng):
    reference = -genpareto.rvs(0.3, scale=2.0, size=40_000, random_state=rng)
    scores = -genpareto.isf(LEVELS, 0.3, scale=2.0)
    assert_allclose(calibrate(reference, contamination=0, extrapolate=True).p_values(scores), LEVELS, rtol=0.15)
    beyond = calibrate(reference[:500], contamination=0, extrapolate=True).p_values(np.array([-1e4]))
    assert 0 < beyond[0] < 1e-3 < Conformal(reference[:500]).p_values(np.array([-1e4]))[0]


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_anomalies_in_the_reference_are_left_out_and_the_normal_rows_beyond_are_estimated(rng, contamination):
    reference = contaminated(rng, 18_000, 2_000)
    found = calibrate(reference, contamination=contamination, extrapolate=False)
    assert found.contamination == pytest.approx(0.1, abs=0.005)
    scores = -genpareto.isf(LEVELS, CORE_SHAPE, scale=3.0)
    assert_allclose(found.p_values(scores), LEVELS, rtol=0.25)
    assert (Conformal(reference).p_values(scores)[:3] > 0.1).all()  # what it corrects


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_a_lighter_tail_than_is_assumed_errs_on_the_safe_side(rng, contamination):
    found = calibrate(contaminated(rng, 18_000, 2_000, shape=0.0), contamination=contamination, extrapolate=False)
    p_values = found.p_values(-expon.isf(LEVELS, scale=3.0))
    assert (p_values > 0.9 * LEVELS).all()
    assert (p_values[:2] > 1.2 * LEVELS[:2]).all()
    assert found.contamination < 0.105


def test_the_cut_tail_has_the_mean_of_the_rows_and_their_scale(rng):
    reference = -genpareto.rvs(CORE_SHAPE, scale=2.0, size=40_000, random_state=rng)
    found = Tail.of_contaminated(reference, 0.1)
    excess = found.start - found.core[found.core < found.start]
    tail = genpareto(CORE_SHAPE, scale=found.scale)
    assert tail.expect(ub=found.start - found.core[0], conditional=True) == pytest.approx(excess.mean(), rel=1e-3)
    assert found.scale == pytest.approx(2.0 - CORE_SHAPE * found.start, rel=0.1)  # a Pareto tail's tail (Pickands)


def test_p_values_of_a_tail_fall_with_the_score_and_are_never_zero(rng):
    scores = np.sort(np.concatenate([-rng.exponential(3.0, 500), [-1e9, -300.0, -90.0]]))
    for found in (Tail.of_clean(scores), Tail.of_contaminated(scores, "auto")):
        p_values = found.p_values(scores)
        assert (np.diff(p_values) >= 0).all()
        assert p_values[0] > 0
        assert p_values[-1] <= 1


def test_equal_scores_and_few_rows_have_p_values():
    for reference in (np.zeros(1), np.full(30, -4.0), np.array([-1.0, -2.0])):
        for how in ({"contamination": 0, "extrapolate": False}, {"contamination": 0, "extrapolate": True}):
            p_values = calibrate(reference, **how).p_values(np.array([-1e3, -4.0, 5.0]))
            assert ((p_values > 0) & (p_values <= 1)).all()
        p_values = calibrate(reference, contamination="auto", extrapolate=True).p_values(np.array([-1e3, -4.0, 5.0]))
        assert ((p_values > 0) & (p_values <= 1)).all()


# Which rows are flagged


def slow_adjusted(p_values, factor=1.0):
    """Adjusted by the definition: the least level at which a row would be flagged."""
    m = len(p_values)
    ordered = sorted(p_values)
    return np.array(
        [min(min(1.0, factor * m * q / (k + 1)) for k, q in enumerate(ordered) if q >= p) for p in p_values]
    )


def test_adjusted_p_values_are_those_of_their_definitions(rng):
    p_values = np.concatenate([rng.random(30), rng.random(10) / 100])
    assert_allclose(FDR_METHODS["bh"](p_values), slow_adjusted(p_values), rtol=1e-12)
    assert_allclose(FDR_METHODS["by"](p_values), slow_adjusted(p_values, np.sum(1 / np.arange(1, 41))), rtol=1e-12)
    normal = min(1.0, (1 + (p_values > 0.5).sum()) / 20)
    assert_allclose(FDR_METHODS["storey"](p_values), slow_adjusted(p_values) * normal, rtol=1e-12)


@pytest.mark.parametrize("method", ["bh", "by", "storey"])
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_false_discovery_rate_is_kept_on_average_over_many_tables(rng, method, level):
    flag = detection_rule(fdr=level, method=method)
    fractions, found = [], []
    for _ in range(300):
        scores = np.concatenate([rng.normal(size=180), rng.normal(-5.0, 1.0, size=20)])
        flagged = flag(scores, Conformal(rng.normal(size=5_000)).p_values(scores))
        fractions.append(flagged[:180].sum() / max(1, flagged.sum()))
        found.append(flagged[180:].mean())
    assert np.mean(fractions) <= level + 3 * np.std(fractions) / np.sqrt(300)
    assert np.mean(found) > (0.9 if method != "by" else 0.6)


def test_p_values_of_new_normal_rows_are_uniform(rng):
    found = Conformal(rng.normal(size=5_000)).p_values(rng.normal(size=2_000))
    assert kstest(found, "uniform").pvalue > 0.01


def test_alerts_are_the_most_anomalous_rows_and_of_equal_ones_the_first():
    flag = detection_rule(alerts=2)
    assert_array_equal(flag(np.array([0.0, -3.0, -1.0, -3.0, -3.0]), np.ones(5)), [False, True, False, True, False])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fdr": 0.1, "alerts": 3}, "fdr and alerts"),
        ({"fdr": 0.0}, "fdr must be"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate must be"),
        ({"alerts": -1}, "alerts must be"),
        ({"alerts": 2.5}, "alerts must be"),
        ({"fdr": 0.1, "method": "hb"}, "method must be"),
    ],
)
def test_impossible_rules_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        detection_rule(**given)
