"""Scores of rows with missing cells: on the scale of complete rows, whatever is missing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly import VAEDetector
from vae_anomaly.scoring.missing import FRACTIONS, MissingCells, fit_curves

COLUMNS = 6


def numbers(n_rows, rng):
    """Six Gaussian columns that depend on one another."""
    mixing = np.random.default_rng(5).normal(size=(COLUMNS, COLUMNS))
    rows = rng.normal(size=(n_rows, COLUMNS)) @ mixing + 0.3 * rng.normal(size=(n_rows, COLUMNS))
    return pd.DataFrame(rows, columns=[f"x{i}" for i in range(COLUMNS)])


def mixed(n_rows, rng):
    """Three numbers, a flag and two categories, all of which depend on two hidden numbers."""
    hidden = rng.normal(size=(n_rows, 2))
    frame = pd.DataFrame(hidden @ [[1, 0.5, -1], [0, 1, 1]] + 0.3 * rng.normal(size=(n_rows, 3)), columns=list("abc"))
    frame["flag"] = (hidden[:, 0] + 0.5 * rng.normal(size=n_rows) > 0).astype(float)
    frame["site"] = np.array(["N", "S", "W"])[np.digitize(hidden[:, 1] + 0.5 * rng.normal(size=n_rows), [-0.5, 0.5])]
    frame["grade"] = np.array(["low", "high"])[(hidden.sum(1) + rng.normal(size=n_rows) > 0).astype(int)]
    return frame


def without(frame, mask):
    return frame.mask(pd.DataFrame(mask, frame.index, frame.columns))


def some_columns(n_rows, count, rng, among=COLUMNS):
    return np.argsort(rng.random((n_rows, COLUMNS)) + (np.arange(COLUMNS) >= among), 1).argsort(1) < count


@pytest.fixture(scope="module", params=["numbers, novelty", "numbers", "mixed, novelty", "mixed"])
def fitted(request):
    make, novelty = (numbers if "numbers" in request.param else mixed), "novelty" in request.param
    rng = np.random.default_rng(1)
    train = make(600, rng)
    train = without(train, rng.random(train.shape) < 0.15)
    return VAEDetector(novelty=novelty, random_state=0).fit(train), make(2000, rng)


def test_clean_rows_are_flagged_equally_often_whatever_they_lack(fitted):
    """Before, at a threshold of 5 %: 0.1 % of the rows without four cells in outlier detection, 94 % in novelty."""
    detector, rows = fitted
    limit = np.quantile(detector.score_samples(rows), 0.05)
    for count in range(COLUMNS - 1):
        lacking = without(rows, some_columns(len(rows), count, np.random.default_rng(count)))
        sampling = 0.01  # two standard errors of a fraction of 2,000 rows
        assert 0.025 - sampling <= (detector.score_samples(lacking) < limit).mean() <= 0.075 + sampling, count


def test_a_wrong_cell_is_found_among_missing_ones(fitted):
    """Before, in outlier detection: 13 % with three cells missing, where 93 % were found with none."""
    detector, rows = fitted
    wrong = rows.iloc[:400].copy()
    limit = np.quantile(detector.score_samples(rows), 0.05)
    wrong.iloc[:, 0] += 8 * rows.iloc[:, 0].std()
    mask = some_columns(len(wrong), 4, np.random.default_rng(9))
    mask &= mask.cumsum(1) <= 3 + mask[:, :1]
    mask[:, 0] = False
    assert (mask.sum(1) >= 3).all()
    assert (detector.score_samples(without(wrong, mask)) < limit).mean() >= 0.6


def test_contributions_add_up_and_a_missing_cell_adds_the_baseline(fitted):
    detector, rows = fitted
    mask = some_columns(60, 3, np.random.default_rng(1))
    lacking = without(rows.iloc[:60], mask)
    explained = detector.explain(lacking)
    assert_allclose(explained["nats"].sum(axis=1), detector.anomaly_score(lacking), rtol=1e-9)
    assert_allclose(explained["surprise"].to_numpy()[:, :-1][mask], 0, atol=1e-12)
    assert (np.abs(explained["surprise"].to_numpy()[:, :-1][~mask]) > 1e-12).all()


def test_complete_rows_keep_their_scores(fitted):
    detector, rows = fitted
    scorer = replace(detector.model_.scorer, outstanding=None)
    x = detector.model_.encode(rows.iloc[:50])
    assert_array_equal(scorer.score(x), replace(scorer, missing=None).score(x))


def test_a_row_without_a_single_cell_is_ordinary(fitted):
    """There is nothing that it could be wrong in."""
    detector, rows = fitted
    nothing = without(rows.iloc[:2], np.full((2, COLUMNS), True))
    nothing = nothing.astype(rows.dtypes)
    assert (detector.score_samples(rows) < detector.score_samples(nothing)[0]).mean() > 0.02


def test_the_scale_is_that_of_sums_of_independent_columns(rng):
    """Each column adds half a chi-square: the spread shrinks as the root of the observed fraction."""
    n_columns = 8
    x = rng.normal(size=(4000, n_columns))

    def nats(rows):
        return np.nan_to_num(np.column_stack([rows**2 / 2, np.zeros(len(rows))]))

    def score(rows, _):
        return -nats(rows).sum(1)

    found = MissingCells.learn(x, nats(x), np.full(4000, True), np.arange(n_columns), score, rng)
    assert_allclose(found.means, [0.5] * n_columns + [0], atol=0.05)
    assert_allclose(found.weights, 1 / n_columns, rtol=0.1)
    new = rng.normal(size=(20_000, n_columns))
    whole, new[:, :6] = score(new, new), np.nan
    adjusted = found.adjusted(score(new, new), new)
    limit = np.quantile(whole, 0.05)
    assert 0.03 < (adjusted < limit).mean() < 0.075
    assert (score(new, new) < limit).mean() < 0.001
    assert_allclose(found.contributions(nats(new), new).sum(1), -adjusted, rtol=1e-9)


def test_curves_are_those_of_the_rows(rng):
    fractions = rng.random(20_000)
    locations, scales = fit_curves(fractions, fractions + np.sqrt(1 - fractions) * rng.normal(size=20_000))
    inner = slice(2, 14)
    assert_allclose(locations[inner], FRACTIONS[inner], atol=0.08)
    assert_allclose(scales[inner], 1.645 * np.sqrt(1 - FRACTIONS[inner]), rtol=0.12)


@pytest.mark.parametrize("novelty", [False, True])
def test_an_emptied_cell_leads_the_ranking_where_none_is_missing_and_costs_nothing_where_half_are(novelty):
    rng = np.random.default_rng(0)
    table = mixed(1000, rng)
    table["often"] = np.where(rng.random(1000) < 0.5, rng.normal(size=1000), np.nan)
    table.loc[:3, "a"] = np.nan
    table.loc[4:7, "site"] = None
    table.loc[8:, "rarely"] = np.nan
    table.loc[:7, "rarely"] = rng.normal(size=8)
    detector = VAEDetector(novelty=novelty, random_state=0).fit(table)
    charges = detector.model_.missing.charges
    missing, observed = charges[1], charges[0]
    rare, never = -np.log(5 / 1002) * (1 - 5 / 50.1), np.log(1002) * (1 - 1 / 50.1)
    assert_allclose(missing[:5] / missing[1], np.array([rare, never, never, never, rare]) / never)
    assert never <= missing[1] <= 10 * never
    assert_array_equal(observed[:7], 0)
    assert_array_equal(missing[6:], 0)
    assert observed[7] > 3
    emptied, rows = table.iloc[500:].copy(), np.arange(500)
    emptied["b"] = np.nan
    before, after = detector.anomaly_score(table.iloc[500:]), detector.anomaly_score(emptied)
    assert np.mean(after > np.quantile(before, 0.99)) > 0.9
    assert (detector.explain(emptied)["surprise"].iloc[:, :-1].to_numpy().argmax(1) == 1).mean() > 0.8
    contributions = detector.explain(emptied)["nats"].to_numpy().sum(1)
    assert_allclose(contributions, after[rows], rtol=1e-6)
