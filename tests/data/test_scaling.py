import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vae_anomaly.data.scaling import Scaling
from vae_anomaly.errors import DataWarning

FINITE = st.floats(allow_nan=False, allow_infinity=False)
MAGNITUDES = [1e300, 1e-300, 1.7e308, 1e9, 1.0, 5e-324]


def column(*values):
    return np.array(values, dtype=np.float64)[:, None]


def encoded(numbers):
    return Scaling.learn([numbers]).apply(numbers)[:, 0]


UNITS = {7.0: 1.0, 0.3: 0.003, 0.0: 1.0, 3.0: 1.0}  # of columns that are mostly this number


def slowly(values):
    """Centre and scale as they are defined, one column, in Python's own arithmetic."""
    ordered, spreads = sorted(values), []
    trimmed = math.ceil(0.01 * (len(ordered) - 1)) if len(ordered) >= 5 else 0
    for dropped in (trimmed, 2 if len(ordered) >= 20 else min(trimmed, 1), 0):
        middle = ordered[dropped : len(ordered) - dropped]
        mean = math.fsum(middle) / len(middle)
        spreads.append((mean, math.sqrt(math.fsum((value - mean) ** 2 for value in middle) / len(middle))))
    centre, scale = spreads[0]
    if scale > 1e-13 * abs(centre):
        return centre, scale
    few, whole = (spread if spread > 1e-13 * abs(centre) else math.inf for _, spread in spreads[1:])
    return centre, few if few < math.inf else min(UNITS[centre], whole)


CASES = {
    "one row": [3.0],
    "two rows": [1.0, 2.0],
    "four rows, an outlier": [1.0, 2.0, 3.0, 1e6],
    "five rows": [1.0, 2.0, 3.0, 4.0, 1e6],
    "two hundred rows": [math.sin(k) * k for k in range(200)],
    "mostly constant": [0.0] * 999 + [1.0],
    "mostly constant, with an outlier": [0.0] * 985 + [1.0] * 14 + [1e9],
    "mostly constant, with a number far off": [0.3] * 999 + [1e6],
    "mostly constant, with a number nearby": [7.0] * 999 + [7.001],
    "mostly constant, with two numbers": [7.0] * 300 + [8.0, 1e6],
    "constant whole": [7.0] * 9,
    "constant fraction": [0.3] * 9,
    "zero": [0.0] * 9,
    "1e9 ± 1": [1e9 - 1, 1e9, 1e9 + 1] * 7,
}


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_centre_and_scale_are_those_of_the_middle_values(values):
    scaling = Scaling.learn([column(*values)])
    centre, scale = slowly(values)
    unit = 2.0 ** scaling.exponents[0]
    assert scaling.centres[0] * unit == pytest.approx(centre, rel=1e-12, abs=1e-12)
    assert scaling.scales[0] * unit == pytest.approx(scale, rel=1e-9)


def test_cells_are_deviations_up_to_ten_and_their_logarithm_beyond():
    values = np.linspace(-3, 3, 101)
    scaling = Scaling.learn([column(*values)])
    centre, scale = slowly(values.tolist())
    for deviations, cell in [(0, 0), (9.5, 9.5), (-10, -10), (11, 10 + math.log(2)), (-1010, -10 - math.log(1001))]:
        assert scaling.apply(column(centre + deviations * scale))[0, 0] == pytest.approx(cell, abs=1e-9)


@pytest.mark.parametrize("n", [5, 20, 100, 1000])
def test_one_row_at_a_million_deviations_does_not_hide_one_at_thirty(n):
    typical = np.random.default_rng(0).normal(size=n)
    cells = encoded(column(*typical, 30.0, 1e6))
    assert cells[-2] > 2 * np.abs(cells[:-2]).max()
    assert cells[-2] > 10 or n < 100  # where it is one of few, it is part of the middle


@pytest.mark.parametrize("size", MAGNITUDES)
def test_magnitude_does_not_matter(size):
    shape = np.array([0.0, 1.0, -1.0, 0.5, 0.25, 0.75, -0.5])
    if size == 5e-324:
        shape = np.rint(shape * 8)
    reference = encoded(column(*shape))
    np.testing.assert_allclose(encoded(column(*(shape * size))), reference, rtol=1e-12, atol=1e-12)


def test_huge_and_tiny_in_one_column_stay_apart():
    numbers = column(*[1e-300, 2e-300, 3e-300] * 50, 1e300, -1e300, 1.7e308, -1.7e308)
    cells = encoded(numbers)
    assert np.isfinite(cells).all()
    assert cells[150] > cells[2] > cells[1] > cells[0] > cells[151]
    assert cells[152] > cells[150]
    np.testing.assert_allclose(Scaling.learn([numbers]).undo(cells[:, None]), numbers, rtol=1e-9)


@given(arrays(np.float64, st.tuples(st.integers(1, 40), st.just(1)), elements=FINITE))
def test_encoding_keeps_order_and_stays_finite(numbers):
    cells = encoded(numbers)
    assert np.isfinite(cells).all()
    assert (np.diff(cells[np.argsort(numbers[:, 0], kind="stable")]) >= 0).all()


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(2, 40), st.just(1)),
        elements=st.floats(width=16, allow_nan=False, allow_infinity=False),
    )
)
def test_different_numbers_have_different_cells(numbers):
    assert len(np.unique(encoded(numbers))) == len(np.unique(numbers))


@given(arrays(np.float64, st.tuples(st.integers(1, 40), st.just(1)), elements=FINITE))
def test_undo_gives_the_numbers_back(numbers):
    scaling = Scaling.learn([numbers])
    last_digit = np.ldexp(1e-14 * (scaling.scales + np.abs(scaling.centres)), scaling.exponents)
    np.testing.assert_allclose(scaling.undo(scaling.apply(numbers)), numbers, rtol=1e-9, atol=float(last_digit[0]))


@settings(max_examples=30)
@given(arrays(np.float64, (20, 3), elements=st.floats(width=32, allow_infinity=False)))
def test_a_row_is_encoded_alone_as_in_a_batch(numbers):
    numbers[0] = 1.0  # every column has a value
    scaling = Scaling.learn([numbers])
    together = scaling.apply(numbers)
    for row in range(len(numbers)):
        np.testing.assert_array_equal(scaling.apply(numbers[[row]])[0], together[row])


def test_columns_are_learned_each_by_itself():
    numbers = np.random.default_rng(0).normal(size=(50, 7)) ** 3
    numbers[::3, 2] = np.nan
    whole = Scaling.learn([numbers]).apply(numbers)
    two_at_a_time = [numbers[:, first : first + 2] for first in range(0, 7, 2)]
    np.testing.assert_array_equal(Scaling.learn(two_at_a_time).apply(numbers), whole)
    for place in range(7):
        np.testing.assert_array_equal(encoded(numbers[:, [place]]), whole[:, place])


def test_missing_values_are_not_seen():
    values = column(1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    gaps = np.insert(values, [0, 2, 6], np.nan, axis=0)
    cells = encoded(gaps)
    np.testing.assert_array_equal(cells[~np.isnan(cells)], encoded(values))


FLOORS = [
    ([0.0, 1.0] * 10, 0.5),  # gap 2 deviations
    ([float(k) for k in range(21)], 0.05),  # 21 values are many
    ([1.0, 1.0, 2.0, 3.0, 10.0], None),
    ([5.0] * 8, 0.05),
    ([0.0] * 999 + [1.0], 1.0),  # gap above 10 deviations
]


@pytest.mark.parametrize("values, floor", FLOORS)
def test_the_noise_floor_of_few_values_is_a_quarter_of_their_gaps(values, floor):
    gaps = np.diff(np.unique(encoded(column(*values))))
    floor = float(np.clip(0.25 * np.median(gaps), 0.05, 1.0)) if floor is None else floor
    assert Scaling.learn([column(*values)]).floors[0] == pytest.approx(floor)


def test_undo_clips_to_what_a_float_holds():
    scaling = Scaling.learn([column(1e300, 2e300, 3e300, 4e300, 5e300)])
    numbers = scaling.undo(column(1e6, -1e6, np.nan))
    assert numbers[0, 0] == -numbers[1, 0] == np.finfo(float).max
    assert np.isnan(numbers[2, 0])


CONSTANTS = [  # the number and the unit by which it is compared
    (7.0, 1.0),
    (600.0, 1.0),
    (1e9, 1.0),
    (0.0, 1.0),
    (-0.37, 0.0037),  # 1 % of it: below the last digit, which is 0.01
    (123.456, 0.001),
    (123456.789, 0.001),
    (1 / 3, 1e-6 / 3),
    (float(np.float32(0.37)), 0.37e-6),  # 0.37000000476837: more digits than single precision has
    (-2.5e-7, 2.5e-9),
    (1e300, 1e291),
    (1e-300, 1e-302),
]


@pytest.mark.parametrize("value, unit", CONSTANTS)
def test_the_scale_of_a_constant_is_what_its_digits_distinguish(value, unit):
    """It was the number itself, if this is not whole: 0.40 was 0.08 deviations from 0.37."""
    scaling = Scaling.learn([column(*[value] * 9)])
    assert math.ldexp(scaling.scales[0], int(scaling.exponents[0])) == pytest.approx(unit, rel=1e-6)
    assert abs(scaling.apply(column(value * (1 + 1e-12)))[0, 0]) < 0.01, "rounding is near"


@pytest.mark.parametrize("stray", [[1e6], [1e6, 2e6], [-1e300], [0.370001]])
def test_a_few_numbers_far_off_do_not_hide_others_in_a_column_that_is_otherwise_constant(stray):
    scaling = Scaling.learn([column(*[0.37] * 400, *stray)])
    assert scaling.apply(column(0.40))[0, 0] > 5


@pytest.mark.parametrize(
    "size, spread, warns",
    [(1.0, 1e-14, True), (1e9, 1e-5, True), (0.3, 5e-17, False), (1.0, 0.0, False), (1e9, 1e-2, False)],
)
def test_a_spread_near_the_rounding_of_floats_counts_as_constant_with_a_warning(size, spread, warns):
    """Rounding noise of another size was 350 nats a row before."""
    values = size + spread * np.random.default_rng(0).standard_normal((300, 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scaling = Scaling.learn([values], ["temperature"])
    assert [warning.category for warning in caught] == [DataWarning] * warns
    if warns:
        assert "'temperature'" in str(caught[0].message)
        assert "subtract" in str(caught[0].message)
    is_constant = spread < 1e-12 * size
    assert (np.abs(scaling.apply(size + 10 * (values - size))).max() < 0.1) == is_constant
    assert scaling.apply(column(size + 3))[0, 0] > 2.9


def test_an_unreadable_cell_stays_one_and_comes_back_missing():
    scaling = Scaling.learn([column(1.0, 2.0, 3.0, 4.0, 50.0)])
    cells = scaling.apply(column(1.0, np.inf, 1e300))
    assert np.isposinf(cells[1, 0])
    assert np.isfinite(cells[[0, 2]]).all()
    np.testing.assert_allclose(scaling.undo(cells), column(1.0, np.nan, 1e300))


def skewed(n=1000):
    """Skewed columns: amounts, zero-inflated amounts, debts; and columns that are not, or are no amounts."""
    rng = np.random.default_rng(0)
    amounts = 100 * np.exp(1.5 * rng.normal(size=n))
    grades = np.minimum(rng.geometric(0.5, size=n), 6)
    columns = [amounts, np.where(rng.random(n) < 0.5, 0.0, amounts), -amounts, rng.normal(size=n), amounts - 80, grades]
    return np.column_stack(columns)


def skewness(cells):
    middle = np.sort(cells, axis=0)[25:-25]
    return np.mean((middle - middle.mean(0)) ** 3, axis=0) / middle.std(0) ** 3


def test_skewed_amounts_are_measured_on_a_scale_without_skewness_and_other_columns_as_they_are():
    numbers = skewed()
    scaling = Scaling.learn([numbers])
    assert (scaling.widths > 0).tolist() == [True] * 3 + [False] * 3
    assert (np.abs(skewness(numbers))[:3] > 2).all()
    assert (np.abs(skewness(scaling.apply(numbers))[:3]) < [0.3, 1.0, 0.3]).all()


def test_on_a_bent_scale_wrong_units_and_signs_are_far_and_numbers_come_back():
    numbers = skewed()
    scaling = Scaling.learn([numbers])
    wrong = np.array([[1e6, 1e7, -1e6], [0.001, 1e7, -0.001], [-100, -1000, 100]])
    wrong = np.column_stack([wrong, np.zeros((3, 3))])
    cells, typical = scaling.apply(wrong), scaling.apply(numbers)
    assert (np.abs(cells[:, :3]) > np.abs(typical[:, :3]).max(0)).all()
    extreme = np.array([[1e300], [-1e300], [1.7e308], [5e-324], [0.0]]) * np.ones(6)
    for rows in numbers, wrong, extreme:
        np.testing.assert_allclose(scaling.undo(scaling.apply(rows)), rows, rtol=1e-9, atol=1e-9)


def test_outliers_do_not_bend_a_column():
    numbers = np.random.default_rng(0).normal(10, 1, size=(500, 1))
    numbers[:50] *= np.linspace(2, 1e4, 50)[:, None]
    assert Scaling.learn([numbers]).widths[0] == 0


def test_a_column_that_is_kept_straight_is_not_bent():
    assert Scaling.learn([skewed()], straight=[True] * 6).widths.max() == 0
