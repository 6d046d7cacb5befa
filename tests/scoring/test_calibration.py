import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import expon, genpareto, kstest

from vae_anomaly.scoring.calibration import (
    CORE_SHAPE,
    FALSE_ALARM_RATE,
    Conformal,
    Tail,
    calibrate,
    core_limit,
    flagging_offset,
)
from vae_anomaly.scoring.decide import FDR_METHODS, MANY, FlaggingRule, hardly_outliers

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
    assert found.contamination == pytest.approx(0.1, abs=0.008)
    scores = -genpareto.isf(LEVELS, CORE_SHAPE, scale=3.0)
    assert_allclose(found.p_values(scores), LEVELS, rtol=0.25)
    assert (Conformal(reference).p_values(scores)[1:3] > 0.1).all()  # what it corrects


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_a_lighter_tail_than_is_assumed_errs_on_the_safe_side(rng, contamination):
    found = calibrate(contaminated(rng, 18_000, 2_000, shape=0.0), contamination=contamination, extrapolate=False)
    p_values = found.p_values(-expon.isf(LEVELS, scale=3.0))
    assert (p_values > 0.85 * LEVELS).all()
    assert (p_values[:2] > 1.2 * LEVELS[:2]).all()
    assert found.contamination < 0.105


def test_the_cut_tail_has_the_mean_of_the_rows_and_their_scale(rng):
    reference = -genpareto.rvs(CORE_SHAPE, scale=2.0, size=40_000, random_state=rng)
    found = Tail.of_core(reference, 0.1)
    excess = found.start - found.core[found.core < found.start]
    tail = genpareto(CORE_SHAPE, scale=found.scale)
    assert tail.expect(ub=found.start - found.core[0], conditional=True) == pytest.approx(excess.mean(), rel=1e-3)
    assert found.scale == pytest.approx(2.0 - CORE_SHAPE * found.start, rel=0.1)  # a Pareto tail's tail (Pickands)


def test_p_values_of_a_tail_fall_with_the_score_and_are_never_zero(rng):
    scores = np.sort(np.concatenate([-rng.exponential(3.0, 500), [-1e9, -300.0, -90.0]]))
    for found in (Tail.of_clean(scores), Tail.of_core(scores, "auto")):
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


# The score below which rows are flagged

CONTAMINATIONS = ["auto", 0.02, 0.1, 0.5]


def normal_scores(rng, kind, n):
    """Scores of tables without anomalies: of Gaussian rows, of heavy tails, of small ordinary groups, of few values."""
    match kind:
        case "gaussian":
            return -rng.chisquare(10, n) / 2
        case "heavy tail":
            return -genpareto.rvs(0.4, scale=3.0, size=n, random_state=rng)
        case "group":
            return rng.normal(size=n) - 4.0 * (rng.random(n) < 0.1)
    return -rng.choice([1.0, 2.0, 30.0], n, p=[0.9, 0.08, 0.02])


KINDS = ["gaussian", "heavy tail", "group", "few values"]


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
@pytest.mark.parametrize("novelty", [True, False])
@pytest.mark.parametrize("n_rows", [1, 5, 60, 99, 100, 2000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_flagged_exactly_if_its_p_value_is_at_most_the_rate(rng, kind, n_rows, novelty, contamination):
    reference = normal_scores(rng, kind, n_rows)
    offset = flagging_offset(reference, novelty=novelty, contamination=contamination)
    calibration = calibrate(reference, contamination=0 if novelty else contamination, extrapolate=False)
    beside = [np.nextafter(offset, -np.inf), offset, np.nextafter(offset, np.inf)]
    scores = np.concatenate([reference, rng.normal(offset, 1.0, 3000), rng.normal(offset, 1e-8, 1000), beside])
    p_values = calibration.p_values(scores)
    rate = p_values[-3]
    assert rate < p_values[-2]
    assert_array_equal(scores < offset, p_values <= rate)
    if contamination == "auto" and (n_rows >= 100 or not novelty):
        assert_array_equal(scores < offset, p_values <= FALSE_ALARM_RATE)
    if contamination == "auto" and n_rows < 100 and novelty:  # these rows support no smaller rate
        assert_array_equal(scores < offset, scores < reference.min() - 1e-9 * max(1, abs(reference.min())))


@pytest.mark.parametrize("kind", ["gaussian", "heavy tail"])
@pytest.mark.parametrize("n_rows", [1000, 3000])
def test_normal_rows_are_flagged_once_in_a_hundred(rng, kind, n_rows):
    """Tukey's fence flagged 2 to 3 % of the Gaussian ones and 9 % of the others."""
    flagged, training = [], []
    for _ in range(40):
        reference, new = normal_scores(rng, kind, n_rows), normal_scores(rng, kind, 3000)
        offset = flagging_offset(reference, novelty=False, contamination="auto")
        flagged.append((new < offset).mean())
        training.append((reference < offset).mean())
    assert 0.5 * FALSE_ALARM_RATE < np.mean(training) <= 1.3 * FALSE_ALARM_RATE
    assert 0.5 * FALSE_ALARM_RATE < np.mean(flagged) <= 1.3 * FALSE_ALARM_RATE


def test_a_small_group_of_normal_rows_beside_the_others_is_not_flagged(rng):
    """Tukey's fence flagged most of it."""
    for _ in range(10):
        reference = normal_scores(rng, "group", 2000)
        assert (reference < flagging_offset(reference, novelty=False, contamination="auto")).mean() <= FALSE_ALARM_RATE
        limit = core_limit(reference, "auto")
        assert (reference < limit).mean() > 0.05


def test_where_most_scores_are_equal_the_others_are_not_all_anomalies(rng):
    """Before, 64 rows had a p-value of 4e-79."""
    reference = normal_scores(rng, "few values", 1000)
    found = calibrate(reference, contamination="auto", extrapolate=False)
    assert found.p_values(reference).min() > FALSE_ALARM_RATE
    assert (reference >= flagging_offset(reference, novelty=False, contamination="auto")).all()


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.2])
def test_more_rows_are_flagged_where_more_are_anomalous(rng, fraction):
    n_anomalous = round(2000 * fraction)
    scores = np.concatenate([-rng.chisquare(10, 2000 - n_anomalous) / 2, rng.normal(-60, 5, n_anomalous)])
    flagged = scores < flagging_offset(scores, novelty=False, contamination="auto")
    assert flagged[-n_anomalous:].mean() > 0.95
    assert flagged.mean() <= fraction + FALSE_ALARM_RATE


@pytest.mark.parametrize("fraction", [0.01, 0.03, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("novelty", [True, False])
def test_a_fraction_given_by_the_user_is_flagged_of_the_reference_rows(rng, fraction, novelty):
    reference = rng.normal(size=1000)
    offset = flagging_offset(reference, novelty=novelty, contamination=fraction)
    assert (reference < offset).sum() == 1000 * fraction
    assert_allclose(offset, np.quantile(reference, fraction), rtol=3e-8, atol=3e-9)


@pytest.mark.parametrize("contamination", ["auto", 0.1])
@pytest.mark.parametrize("novelty", [True, False])
@pytest.mark.parametrize("level", [-1e6, -3.7, 0.0, 1e-12, 40.0])
def test_rows_that_differ_by_rounding_have_equal_p_values_and_are_not_flagged(contamination, novelty, level):
    reference = np.append(np.full(300, level), [level + 5.0] * 300)
    nearly = np.nextafter(np.nextafter(reference, -np.inf), -np.inf)
    assert (nearly >= flagging_offset(reference, novelty=novelty, contamination=contamination)).all()
    calibration = calibrate(reference, contamination=0 if novelty else contamination, extrapolate=False)
    assert_allclose(calibration.p_values(nearly), calibration.p_values(reference), rtol=1e-5)


def test_an_extrapolated_p_value_is_at_least_a_hundredth_of_what_the_rows_support(rng):
    reference = rng.normal(size=499)
    scores = np.sort(np.append(-np.geomspace(1, 1e12, 200), reference))
    for calibration in (
        calibrate(reference, contamination="auto", extrapolate=False),
        calibrate(reference, contamination=0, extrapolate=True),
    ):
        p_values = calibration.p_values(scores)
        assert p_values[0] >= 1 / (100 * 500)
        assert p_values[0] < 1.001 / (100 * 500)
        assert (np.diff(p_values[scores < 0]) > 0).mean() > 0.95  # the order stays


def test_clear_anomalies_are_found_at_a_false_discovery_rate_also_among_the_reference_rows(rng):
    scores = np.concatenate([-rng.chisquare(10, 1980) / 2, rng.normal(-150, 10, 20)])
    p_values = calibrate(scores, contamination="auto", extrapolate=False).p_values(scores)
    flagged = FlaggingRule(fdr=0.1).flag(scores, p_values, np.nan)
    assert flagged[-20:].all()
    assert flagged[:1980].sum() <= 2
    assert (
        not FlaggingRule(fdr=0.1).flag(scores, Conformal(scores).p_values(scores), np.nan).any()
    )  # what the tail is for


# The core of a table with anomalies

SCORES = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e3))


@given(SCORES, st.floats(0.001, 0.5))
def test_the_limit_of_a_fraction_is_numpys_quantile(scores, fraction):
    np.testing.assert_allclose(core_limit(scores, fraction), np.quantile(scores, fraction), rtol=2e-9, atol=2e-9)


@given(SCORES)
def test_the_limit_auto_is_tukeys_lower_fence(scores):
    low, high = np.quantile(scores, [0.25, 0.75])
    np.testing.assert_allclose(core_limit(scores, "auto"), low - 1.5 * (high - low), rtol=2e-9, atol=2e-9)


@given(SCORES, st.floats(0.001, 0.5))
def test_never_more_than_the_fraction_is_beyond_the_core(scores, fraction):
    assert (scores < core_limit(scores, fraction)).sum() <= np.ceil(fraction * len(scores))


@pytest.mark.parametrize("contamination", ["auto", 0.1, 0.5])
@pytest.mark.parametrize("level", [-1e6, -3.7, 0.0, 1e-12, 40.0])
def test_scores_that_differ_by_rounding_tie_with_the_core_limit(contamination, level):
    scores = np.full(30, level)
    limit = core_limit(scores, contamination)
    nearly = np.nextafter(np.nextafter(scores, -np.inf), -np.inf)
    assert (nearly >= limit).all()
    assert level - 2e-9 * max(1, abs(level)) < limit


def test_the_limit_is_a_plain_number():
    assert type(core_limit(np.arange(9.0), "auto")) is float
    assert type(core_limit(np.arange(9.0), 0.2)) is float


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
    rule = FlaggingRule(fdr=level, method=method)
    fractions, found = [], []
    for _ in range(300):
        scores = np.concatenate([rng.normal(size=180), rng.normal(-5.0, 1.0, size=20)])
        flagged = rule.flag(scores, Conformal(rng.normal(size=5_000)).p_values(scores), np.nan)
        fractions.append(flagged[:180].sum() / max(1, flagged.sum()))
        found.append(flagged[180:].mean())
    assert np.mean(fractions) <= level + 3 * np.std(fractions) / np.sqrt(300)
    assert np.mean(found) > (0.9 if method != "by" else 0.6)


def test_p_values_of_new_normal_rows_are_uniform(rng):
    found = Conformal(rng.normal(size=5_000)).p_values(rng.normal(size=2_000))
    assert kstest(found, "uniform").pvalue > 0.01


def test_alerts_are_the_most_anomalous_rows_and_of_equal_ones_the_first():
    flagged = FlaggingRule(alerts=2).flag(np.array([0.0, -3.0, -1.0, -3.0, -3.0]), np.ones(5), np.nan)
    assert_array_equal(flagged, [False, True, False, True, False])


def test_without_a_criterion_the_threshold_flags_and_with_one_the_p_values_do():
    scores, p_values = np.array([-3.0, -2.0, -1.0]), np.array([0.01, 0.05, 0.5])
    assert_array_equal(FlaggingRule().flag(scores, p_values, -2.0), [True, False, False])
    assert_array_equal(FlaggingRule(false_alarm_rate=0.05).flag(scores, p_values, -2.0), [True, True, False])
    assert FlaggingRule().is_default
    assert not any(FlaggingRule(**rule).is_default for rule in ({"fdr": 0.1}, {"alerts": 0}, {"false_alarm_rate": 0.1}))


def test_the_rule_is_said_in_words():
    sentence = FlaggingRule().sentence(0.01, "image")
    assert sentence == "Images are flagged if at most 1 % of normal images are as anomalous."
    assert FlaggingRule(false_alarm_rate=0.01).sentence(0.2, "image") == sentence
    assert "at most 20 % are false alarms" in FlaggingRule(fdr=0.2).sentence(0.01)
    assert FlaggingRule(alerts=1200).sentence(0.01) == "The 1,200 most anomalous rows are flagged."
    assert f"More than {MANY:.0%}".replace("%", " %") in hardly_outliers("rows")
    assert "(--alerts or --fdr), or set --contamination" in hardly_outliers("rows", "--")


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
        FlaggingRule(**given)
