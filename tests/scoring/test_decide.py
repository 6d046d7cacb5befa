import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vae_anomaly.scoring.decide import threshold

SCORES = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e3))


@given(SCORES, st.floats(0.001, 0.5))
def test_a_fraction_is_numpys_quantile(scores, fraction):
    np.testing.assert_allclose(threshold(scores, fraction), np.quantile(scores, fraction), rtol=2e-9, atol=2e-9)


@given(SCORES)
def test_auto_is_tukeys_lower_fence(scores):
    low, high = np.quantile(scores, [0.25, 0.75])
    np.testing.assert_allclose(threshold(scores, "auto"), low - 1.5 * (high - low), rtol=2e-9, atol=2e-9)


@given(SCORES, st.floats(0.001, 0.5))
def test_never_more_than_the_fraction_is_flagged(scores, fraction):
    assert (scores < threshold(scores, fraction)).sum() <= np.ceil(fraction * len(scores))


@pytest.mark.parametrize("contamination", ["auto", 0.1, 0.5])
@pytest.mark.parametrize("level", [-1e6, -3.7, 0.0, 1e-12, 40.0])
def test_scores_that_differ_by_rounding_tie_with_the_threshold(contamination, level):
    scores = np.full(30, level)
    limit = threshold(scores, contamination)
    nearly = np.nextafter(np.nextafter(scores, -np.inf), -np.inf)
    assert (nearly >= limit).all()
    assert level - 2e-9 * max(1, abs(level)) < limit


def test_the_threshold_is_a_plain_number():
    assert type(threshold(np.arange(9.0), "auto")) is float
    assert type(threshold(np.arange(9.0), 0.2)) is float
