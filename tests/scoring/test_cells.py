"""Single cells that stand out: what they add, to whom, and that nearly all cells add nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score

from vae_anomaly import VAEDetector, load
from vae_anomaly.scoring.cells import FAR, LEAST_RANGE, LIMIT, USUAL, WEIGHT, OutstandingCells


def orders(n_rows, seed):
    """Amounts that follow from quantity and price, and a customer who has one city."""
    rng = np.random.default_rng(seed)
    quantity, price = rng.integers(1, 20, n_rows), rng.choice([4.5, 9.0, 12.0, 30.0], n_rows)
    customer = rng.integers(0, 6, n_rows)
    return pd.DataFrame(
        {
            "quantity": quantity.astype(float),
            "price": price,
            "total": quantity * price,
            "customer": np.array(list("ABCDEF"))[customer],
            "city": np.array(["Bern", "Bern", "Genf", "Basel", "Basel", "Basel"])[customer],
            "weight": (quantity * 0.3 + rng.normal(0, 0.2, n_rows)).round(2),
        }
    )


@pytest.fixture(scope="module")
def dirty():
    """1,000 rows, ten of them with one wrong cell."""
    table, rng = orders(1000, 0), np.random.default_rng(1)
    rows = rng.choice(np.flatnonzero((table["quantity"] > 10) & (table["price"] > 5)), 10, replace=False)
    table.loc[rows[:4], "total"] *= 10
    table.loc[rows[4:7], "weight"] *= -1
    table.loc[rows[7:], "city"] = ["Bsael", "Baesl", "Brn"]
    return table, np.isin(np.arange(1000), rows)


@pytest.fixture(scope="module")
def fitted(dirty):
    return VAEDetector(random_state=0).fit(dirty[0])


NONE = np.full(2, np.nan)  # columns that are no numbers, or no categories


def test_what_cells_add_is_what_the_formula_says():
    x = np.arange(10.0).reshape(5, 2)
    nats = np.array([[0.0, 5.0], [1.0, np.nan], [2.0, 5.0], [3.0, 5.0], [100.0, 6.0]])
    charges = np.zeros((5, 2))
    charges[1, 1] = 7.0
    scores = np.array([-4.0, -3.0, -2.0, -1.0, 0.0])
    cells = OutstandingCells.of(None, np.array([0, 1])).learned(x, nats, charges, scores, NONE, NONE, clean=False)
    assert_allclose(cells.unit, WEIGHT * 1.0)  # from the median, -2, to the first quartile, -3
    charged = np.array([[0, 1, 2, 3, 100], [5, 12, 5, 5, 6]]).T
    assert_allclose(cells.usual[0], [2, 5])
    assert_allclose(cells.usual[1], np.quantile(charged, USUAL, axis=0) - [2, 5] + LEAST_RANGE)
    assert_allclose(cells.usual[3], LIMIT * cells.usual[1])
    assert cells.repeated.shape == (0, 4)
    few = replace(cells, usual=np.array([[2.0, 5.0], [3.0, 2.0], [0.0, 0.0], [6.0, 4.0]]))
    expected = np.zeros((5, 2))
    expected[4, 0] = WEIGHT * (98 - 6) / 3
    expected[1, 1] = WEIGHT * (7 - 4) / 2
    assert_allclose(few.excess(x, nats, charges), expected)


def test_next_to_no_cell_of_clean_training_rows_stands_out():
    """A column in which five of 1,000 rows have 50 nats, one in which one has 500, one that lacks five."""
    x, columns, none = np.arange(3000.0).reshape(1000, 3), np.arange(3), np.full(3, np.nan)
    nats, charges = np.random.default_rng(0).random((1000, 3)), np.zeros((1000, 3))
    nats[:5, 0], nats[500, 1], nats[20:25, 2], charges[20:25, 2] = 50, 500, np.nan, 7
    cells = OutstandingCells.of(None, columns).learned(x, nats, charges, np.arange(1000.0), none, none, clean=True)
    excess = cells.excess(x, nats, charges)
    assert_allclose(np.delete(excess, 500, axis=0), 0, atol=1e-9)
    assert excess[500, 1] > 100
    new, charged = np.array([[60, 60, np.nan]]), np.array([[0.0, 0, 9]])
    above = np.array([60 - 50, 60 - np.median(nats[:, 1]) - LIMIT * cells.usual[1, 1], 9 - 7])
    assert_allclose(cells.excess(x[:1] + 0.5, new, charged)[0], cells.unit * above / cells.usual[1])


def test_values_that_several_rows_hold_are_measured_from_their_own_median():
    """Column 0 holds 1 in 1,000 rows, 2 in five and 3 in two; the model expects 1 everywhere."""
    x = np.repeat([[1.0], [2.0], [3.0]], [1000, 5, 2], axis=0)
    nats = np.repeat([[0.0], [9.0], [9.0]], [1000, 5, 2], axis=0)
    nats[1004], charges = 30.0, np.zeros((1007, 1))
    cells = OutstandingCells.of(None, np.array([0])).learned(
        x, nats, charges, np.zeros(1007), NONE[:1], NONE[:1], clean=False
    )
    assert_array_equal(cells.repeated, [[0, 1, 0, 0], [0, 2, 9, 0]])
    excess = cells.excess(x, nats, charges)
    assert_array_equal(np.flatnonzero(excess), [1004, 1005, 1006])
    assert_allclose(excess[[1004, 1005], 0], cells.unit * (np.array([21.0, 9.0]) / LEAST_RANGE - LIMIT))


def test_a_category_spares_its_rows_what_all_of_them_have_in_common():
    """Column 0: category 1 in 20 rows, of scores 50 lower than the others; column 1: no category, but the same rows."""
    rng = np.random.default_rng(0)
    is_rent = np.arange(1000) < 20
    x, scores = np.stack([is_rent, is_rent], 1) * 1.0, rng.normal(size=1000) - 50.0 * is_rent
    nats, unseen = np.zeros((1000, 2)), np.array([9.0, np.nan])
    cells = OutstandingCells.of(None, np.array([0, 1])).learned(x, nats, nats, scores, NONE, unseen, clean=False)
    quartile, half = np.quantile(scores, [0.25, 0.5])
    spared = half - np.median(scores[is_rent]) - FAR * (half - quartile)
    expected = np.where(is_rent, -spared, 0.0)
    assert_allclose(cells.excess(x, nats, nats), np.stack([expected, np.zeros(1000)], 1))
    assert spared > 40
    many = np.concatenate([x[:4], x[20:]])  # four rows are no group
    few = OutstandingCells.of(None, np.array([0, 1])).learned(
        many, nats[:984], nats[:984], scores[np.r_[:4, 20:1000]], NONE, unseen, clean=False
    )
    assert not few.excess(x, nats, nats).any()
    clean = OutstandingCells.of(None, np.array([0, 1])).learned(x, nats, nats, scores, NONE, unseen, clean=True)
    assert not clean.excess(x, nats, nats).any()


@pytest.mark.parametrize("n_single", [5, 40])
def test_a_category_never_seen_stands_out_unless_many_rows_hold_one_of_their_own(n_single):
    """Of 1,000 rows some hold a category that no other row holds; the model knows these, and not the next one."""
    x, nats = np.zeros((1000, 1)), np.full((1000, 1), 0.5)
    x[:n_single, 0] = 1 + np.arange(n_single)
    cells = OutstandingCells.of(None, np.array([0])).learned(
        x, nats, 0 * nats, np.arange(1000.0), NONE[:1], np.array([9.0]), clean=True
    )
    excess = cells.excess(np.array([[99.0]]), np.array([[9.0]]), np.zeros((1, 1)))[0, 0]
    assert_allclose(excess, cells.unit * (8.5 / LEAST_RANGE - LIMIT) if n_single == 5 else 0.0)


def test_a_number_costs_more_where_next_to_all_others_stand_in_several_rows():
    rng = np.random.default_rng(0)
    x = np.stack([rng.choice([4.5, 9.0, 12.0], 1000), rng.normal(size=1000)], 1)
    x[0] = 5.0
    x[1] = np.nan
    nats, charges = np.where(np.isnan(x), np.nan, rng.random((1000, 2))), np.zeros((1000, 2))
    for is_number in (True, False):
        zeros = np.array([-1e3 if is_number else np.nan, -1e3])
        cells = OutstandingCells.of(None, np.array([0, 1])).learned(
            x, nats, charges, np.arange(1000.0), zeros, NONE, clean=False
        )
        price = -np.log(2 / 1001) if is_number else 0.0
        assert_allclose(cells.usual[2], [price, 0.0])
        excess = cells.excess(x, nats, charges)
        above = nats[0, 0] + price - cells.usual[0, 0]
        assert_allclose(excess[0, 0], cells.unit * max(above / cells.usual[1, 0] - LIMIT, 0))
        assert not excess[1:, 0].any()
        assert (excess[0, 0] > 0) == is_number


def test_a_number_costs_more_on_the_other_side_of_0_than_next_to_all_others():
    """Amounts of 1 to 1,000, balances on both sides, counts with zeros, debts below 0: two rows are wrong in each."""
    amounts, zeros = np.arange(1.0, 1001), np.zeros(4)
    x = np.stack([amounts, amounts - 500, amounts // 10, -amounts], 1)
    x[:2] = [[0, 0, -5, 3], [-7, 7, -5, 0]]
    nats = np.zeros((1000, 4))
    cells = OutstandingCells.of(None, np.arange(4)).learned(x, nats, nats, amounts, zeros, zeros * np.nan, clean=False)
    charge = -np.log(3 / 1002)
    added = cells.unit * (charge / LEAST_RANGE - LIMIT)
    excess = cells.excess(x, nats, nats)
    assert_allclose(excess[:2], [[added, 0, added, added], [added, 0, added, added]])
    assert not excess[2:].any()
    new = np.array([[-1e6, -1e6, 0, 1e6], [np.nan, np.nan, np.nan, np.nan]])
    assert_allclose(cells.excess(new, nats[:2], nats[:2]), [[added, 0, 0, added], [0, 0, 0, 0]])


def test_scattered_errors_lead_the_ranking(dirty, fitted):
    table, is_wrong = dirty
    scores = fitted.anomaly_score(table)
    scorer = fitted.model_.scorer
    first_model = -replace(scorer, outstanding=None).score(fitted.model_.encode(table))
    assert average_precision_score(is_wrong, scores) > 0.8
    assert average_precision_score(is_wrong, scores) > average_precision_score(is_wrong, first_model) + 0.1


def test_contributions_add_up_and_name_the_wrong_cell(dirty, fitted):
    table, is_wrong = dirty
    nats = fitted.explain(table)["nats"]
    assert_allclose(nats.sum(axis=1), fitted.anomaly_score(table), rtol=1e-9)
    excess = fitted.model_.scorer.excess(fitted.model_.encode(table))
    columns = np.array(fitted.schema_.names)[excess.argmax(1)]
    assert (columns[table["weight"].to_numpy() < 0] == "weight").mean() >= 0.75
    assert (excess[~is_wrong] > 0).any(1).mean() < 0.02
    assert fitted.model_.record.most_anomalies >= (excess > 0).any(1).mean()


def test_a_small_group_of_normal_rows_is_not_flagged():
    """Rent is seldom and large: the first model, trained without it, calls it anomalous; no cell of it stands out."""
    rng = np.random.default_rng(0)
    is_rent = np.arange(1500) % 12 == 0
    table = pd.DataFrame(
        {
            "category": np.where(is_rent, "Rent", rng.choice(["Meals", "Travel"], 1500)),
            "amount": np.where(is_rent, 9000 + rng.normal(0, 150, 1500), 60 + rng.gamma(2, 20, 1500)).round(2),
            "tax": np.where(is_rent, 0.0, 0.081),
            "days": np.where(is_rent, 30, rng.integers(5, 15, 1500)),
        }
    )
    detector = VAEDetector(random_state=0).fit(table)
    assert (detector.predict(table) == -1).mean() <= 0.015


def test_cells_of_new_rows_stand_out_no_more_often_than_those_of_training_rows():
    for n_rows in (60, 200, 1000):
        detector = VAEDetector(random_state=0).fit(orders(n_rows, 0))
        excess = detector.model_.scorer.excess(detector.model_.encode(orders(500, 2)))
        assert (excess > 0).any(1).mean() < 0.2 * (60 / n_rows) ** 0.5, n_rows


def test_a_row_adds_the_same_in_any_batch(dirty, fitted):
    table, _ = dirty
    x = fitted.model_.encode(table)
    whole = fitted.model_.scorer.excess(x)
    assert_allclose(fitted.model_.scorer.excess(x[500:503]), whole[500:503], rtol=1e-9, atol=1e-9)


def test_a_missing_cell_adds_its_charge_alone(dirty, fitted):
    rows = dirty[0].iloc[:50].assign(weight=np.nan)
    scorer = fitted.model_.scorer
    nats = scorer.cell_nats(fitted.model_.encode(rows))
    column = fitted.schema_.names.index("weight")
    assert np.isnan(nats[:, column]).all()
    assert not np.isnan(np.delete(nats, column, axis=1)).any()
    excess = scorer.excess(fitted.model_.encode(rows))[:, column]
    charge, spread = fitted.model_.missing.charges[1, column], scorer.outstanding.usual[1, column]
    assert charge > 0
    assert_allclose(excess, scorer.outstanding.unit * max(0.0, charge / spread - LIMIT))


def test_the_negative_log_likelihood_is_that_of_the_reconstruction(dirty, fitted):
    outstanding = fitted.model_.scorer.outstanding
    x = fitted.model_.scorer.tensor(fitted.model_.encode(dirty[0].iloc[:5]))
    vae = outstanding.vae
    cells = -vae.log_prob(x, vae.encode(x)[0][None])[0].mean(0)
    found = outstanding.negative_log_likelihood(x).numpy()
    for column in range(found.shape[1]):
        assert_allclose(found[:, column], cells[:, outstanding.columns == column].sum(1), rtol=1e-5)


def test_wrong_cells_of_new_rows_lead_the_ranking_in_novelty_detection():
    """Ten new rows hold a customer and a city that never go together, beside columns that tell nothing."""
    rng, table = np.random.default_rng(0), orders(1000, 0)
    for name in ("channel", "agent", "store", "terms"):
        table[name] = rng.choice(list("abcdefgh"), 1000)
    clean, new, is_wrong = table[:600], table[600:].copy(), np.arange(400) < 10
    new.loc[is_wrong, "city"] = np.where(new.loc[is_wrong, "city"] == "Bern", "Genf", "Bern")
    detector = VAEDetector(novelty=True, random_state=0).fit(clean)
    first_model = replace(detector.model_.scorer, outstanding=None)
    alone = average_precision_score(is_wrong, -first_model.score(detector.model_.encode(new)))
    assert average_precision_score(is_wrong, detector.anomaly_score(new)) > max(0.9, alone + 0.4)
    assert (detector.predict(new)[~is_wrong] < 0).mean() < 0.04


@pytest.mark.parametrize(
    "parameters",
    [{"novelty": True}, {"purpose": "representation"}, {"variational": False}, {"image_shape": (1, 2, 3)}],
    ids=str,
)
def test_other_fits_of_numbers_have_one_model(parameters):
    x = np.random.default_rng(0).uniform(size=(50, 6))
    assert VAEDetector(random_state=0, max_iter=5, **parameters).fit(x).model_.scorer.outstanding is None


def test_files_keep_the_second_model(fitted, dirty, tmp_path):
    fitted.save(tmp_path / "model.vae")
    loaded = load(tmp_path / "model.vae")
    assert_array_equal(loaded.anomaly_score(dirty[0]), fitted.anomaly_score(dirty[0]))
    assert_array_equal(loaded.model_.scorer.outstanding.usual, fitted.model_.scorer.outstanding.usual)
