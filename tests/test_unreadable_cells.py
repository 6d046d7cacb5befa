"""Cells that no value can be read from: text in a column of numbers, text that is no date in a column of dates."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly import VAEDetector, load
from vae_anomaly.errors import DataError, DataWarning


def beers(n, seed):
    """Numbers that depend on each other, a category, and dates as text."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(size=n)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1000, n), unit="D")
    return pd.DataFrame(
        {
            "abv": (0.05 + 0.01 * strength).round(4),
            "ibu": (40 + 20 * strength + 5 * rng.normal(size=n)).round(),
            "style": rng.choice(["ipa", "ale", "stout"], n),
            "born": days.strftime("%Y-%m-%d"),
        }
    )


def with_texts(table, name, text, n):
    changed = table[name].astype(object)
    changed.iloc[:n] = text
    return table.assign(**{name: changed})


TEXTS = [("abv", "12.0 oz", "number"), ("born", "31.31.2020", "date")]


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(random_state=0).fit(beers(400, 0))


@pytest.fixture(scope="module")
def table():
    return beers(200, 1)


@pytest.mark.parametrize("name, text, noun", TEXTS)
def test_the_row_of_an_unreadable_cell_comes_first_with_that_reason(detector, table, name, text, noun):
    changed, scores = with_texts(table, name, text, 1), detector.anomaly_score(table)
    found = detector.anomaly_score(changed)
    assert_array_equal(found[1:], scores[1:])  # no row's score depends on another's cell
    assert found.argmax() == 0
    assert scores.argmax() != 0
    assert detector.predict(changed[:1]) == -1
    assert f"{name} '{text}' is not a {noun}, expected " in detector.reasons(changed[:1])[0]


@pytest.mark.parametrize("name, text, noun", TEXTS)
@pytest.mark.parametrize("call", ["score_samples", "predict", "transform", "reconstruct", "impute", "drift"])
def test_up_to_a_tenth_of_a_column_may_be_unreadable(detector, table, name, text, noun, call):
    getattr(detector, call)(with_texts(table, name, text, 20))
    message = (
        f"Column '{name}' held {noun}s in fit; found text '{text}' in row 1 .*; 21 of 200 cells are no {noun}s. Con"
    )
    with pytest.raises(DataError, match=message):
        getattr(detector, call)(with_texts(table, name, text, 21))


def test_a_batch_of_few_rows_may_have_some(detector, table):
    changed = with_texts(table, "abv", "12.0 oz", 5)
    scores = detector.score_samples(changed)
    for rows in (changed[:1], changed[4:6], changed[2:8]):
        assert_allclose(detector.score_samples(rows), scores[rows.index], rtol=1e-9)
    with pytest.raises(DataError, match="2 of 2 cells are no numbers"):
        detector.score_samples(changed[:2])
    with pytest.raises(DataError, match="4 of 30 cells are no numbers"):
        detector.score_samples(changed[1:31])


def test_flagged_rows_are_explained_though_all_have_unreadable_cells(detector, table):
    changed = with_texts(table, "abv", "12.0 oz", 5)[:5]
    explained, suggested = detector.explain(changed), detector.suggest(changed)
    assert detector.reasons(changed).str.contains("abv '12.0 oz' is not a number, expected 0").all()
    scores = [detector.anomaly_score(changed[row : row + 1])[0] for row in range(5)]
    assert_allclose(explained["nats"].sum(axis=1), scores)
    assert (explained["value"]["abv"] == "12.0 oz").all()
    expected = explained["expected"]["abv"].to_numpy(float)
    assert ((expected > 0.01) & (expected < 0.1)).all()
    changes = suggested[suggested["column"] == "abv"]
    assert changes["row"].tolist() == [0, 1, 2, 3, 4]
    assert_allclose(changes["suggestion"].to_numpy(float), expected, atol=0.05)
    assert (suggested["new_score"] < suggested["anomaly_score"]).all()


def test_unreadable_cells_are_not_imputed(detector, table):
    changed = with_texts(table, "abv", "12.0 oz", 2)
    changed.loc[5, "abv"] = None
    filled = detector.impute(changed)["abv"]
    assert filled[:2].tolist() == ["12.0 oz"] * 2
    assert 0 < filled[5] < 0.1


SHORT = {"max_iter": 20, "hidden_layer_sizes": (8,)}
FITS = [
    *((*cell, {}) for cell in TEXTS),
    (*TEXTS[0], {"novelty": True, **SHORT}),
    (*TEXTS[1], {"novelty": True, **SHORT}),
    (*TEXTS[0], {"variational": False, **SHORT}),
    (*TEXTS[1], {"prior": "gaussian", **SHORT}),
]


@pytest.mark.parametrize("name, text, noun, parameters", FITS)
def test_a_fit_with_a_few_texts_finds_them(name, text, noun, parameters, tmp_path):
    table = with_texts(beers(200, 2), name, text, 2)
    with pytest.warns(DataWarning, match=rf"'{name}' \(2 of 200 values are no {noun}s; row 1 holds text '{text}'\)"):
        detector = VAEDetector(random_state=0, **parameters).fit(table)
    assert detector.schema_.kinds == ["number", "number", "category", "date"]
    scores = detector.score_samples(table)
    assert np.isfinite(scores).all()
    assert np.isfinite(detector.model_.ranges).all()
    if not parameters:
        assert set(scores.argsort()[:2]) == {0, 1}
    detector.save(tmp_path / "model")
    assert_array_equal(load(tmp_path / "model").score_samples(table), scores)
    assert f"{name} '{text}' is not a {noun}" in detector.reasons(table[:1])[0]
    assert detector.diagnose()["value"].notna().all()
    assert detector.partial_fit(beers(50, 3)).n_samples_fit_ == 250


def test_drift_reports_more_unreadable_cells():
    detector = VAEDetector(calibration="split", max_iter=5, random_state=0).fit(beers(2000, 0))
    new = with_texts(beers(2000, 4), "abv", "12.0 oz", 200)
    found = detector.drift(new, random_state=0, ordered=False)
    assert found.columns.loc["abv", "message"] == "missing or unreadable in 0 %, now 10 % of the rows"
