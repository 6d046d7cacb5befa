"""The samples that `VAEDetector.drift` compares."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vae_anomaly import VAEDetector, load
from vae_anomaly.config import Settings
from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.monitor.drift import comparable_scores
from vae_anomaly.training.trainer import Trainer


def tiny(**parameters):
    return VAEDetector(max_iter=15, hidden_layer_sizes=(8,), n_estimators=2, random_state=0, **parameters)


@pytest.fixture(scope="module")
def halves():
    """Rows to learn and others like them."""
    x = np.random.default_rng(7).normal(size=(400, 3)) @ [[1, 0.8, 0], [0, 0.6, 0], [0, 0, 1]]
    return x[:200], x[200:]


@pytest.mark.parametrize("novelty", [True, False])
def test_drift_is_found_where_there_is_some_and_the_same_again(halves, novelty, tmp_path):
    train, others = halves
    fitted = tiny(novelty=novelty).fit(train)
    drift = fitted.drift(others, level=0.01, random_state=0)
    assert not drift.drifted
    assert drift.columns.index.tolist() == ["x0", "x1", "x2", "(score)"]
    moved = fitted.drift(others + [0, 0, 1], level=0.01, random_state=0)
    assert moved.drifted
    assert moved.columns["drifted"][["x0", "x1", "x2"]].tolist() == [False, False, True]
    fitted.save(tmp_path / "model.vae")
    again = load(tmp_path / "model.vae").drift(others, level=0.01, random_state=0)
    pd.testing.assert_frame_equal(again.columns, drift.columns)
    assert again.stream == drift.stream


def test_held_out_rows_are_compared_under_the_model_itself(halves):
    train, others = halves
    fitted = tiny(calibration="split").fit(train)
    scores = fitted.model_.reference.scores, fitted.score_samples(others)
    expected = stats.ks_2samp(*scores, method="exact").pvalue
    assert fitted.drift(others, random_state=0).columns["p_value"]["(score)"] == pytest.approx(expected)


@pytest.mark.parametrize("how", [{}, {"novelty": True}, {"calibration": "cross"}], ids=str)
def test_training_rows_are_compared_under_a_model_that_did_not_see_them(halves, how):
    train, _ = halves
    fitted = tiny(**how).fit(train)
    old, new = comparable_scores(
        fitted.model_, fitted.model_.encode(train), Settings.of(fitted.get_params(deep=False)), 0
    )
    assert len(old) == 100
    assert np.isin(old.round(9), new.round(9)).all()  # half of the training rows, scored as new rows are
    assert not np.allclose(new, fitted.score_samples(train))
    seen = ~np.isin(new.round(9), old.round(9))
    assert seen.sum() == 100


def test_the_order_of_the_rows_counts_if_they_are_ordered(halves):
    train, others = halves
    fitted = tiny(novelty=True).fit(train)
    ordered = others[np.argsort(fitted.score_samples(others))]
    assert fitted.drift(ordered, level=0.01, random_state=0).stream.alarm is not None
    assert fitted.drift(ordered, level=0.01, ordered=False, random_state=0).stream is None


@pytest.mark.parametrize("level", [0, 1, "0.05"])
def test_a_level_of_drift_is_a_probability(halves, level):
    with pytest.raises(ValueError, match="level must be a number between 0 and 1"):
        tiny().fit(halves[0]).drift(halves[1], level=level)


def test_values_that_only_the_other_half_has_count_as_unseen_as_those_of_new_rows_do():
    names = np.array([f"v{i}" for i in range(100)])
    train = pd.DataFrame({"name": np.repeat(names, 2), "size": np.random.default_rng(4).normal(size=200)})
    fitted = tiny(novelty=True).fit(train)
    settings = Settings.of(fitted.get_params(deep=False))
    unknown = train.assign(name="never seen")
    old, new = comparable_scores(fitted.model_, fitted.model_.encode(unknown), settings, 0)
    kept = fitted.model_.reference.cells
    learned, others = np.array_split(np.random.default_rng(0).permutation(kept), 2)
    only_there = ~np.isin(others[:, 1], learned[:, 1])
    assert 10 < only_there.sum() < 90
    same_size = dict(zip(kept[:, 0], new, strict=True))
    expected = [same_size[size] for size in others[only_there, 0]]
    assert old[only_there] == pytest.approx(expected)
    assert np.median(old[~only_there]) > np.median(old[only_there])


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows_are_no_drift_and_no_error(rows):
    x = np.random.default_rng(3).normal(size=(rows, 2))
    drift = tiny().fit(x).drift(x[:1] + 9, random_state=0)
    assert not drift.drifted


def test_a_column_that_half_of_the_rows_do_not_have_leaves_the_kept_scores(halves):
    train = halves[0][:40].copy()
    train[1:, 2] = np.nan  # one value, which half of the rows may not have
    fitted = tiny().fit(train)
    drifts = [fitted.drift(halves[1][:20], random_state=seed) for seed in range(4)]
    assert all(drift.columns["drifted"]["x2"] for drift in drifts)
    assert len({drift.columns["p_value"]["(score)"] for drift in drifts}) > 1


@pytest.mark.parametrize(
    "asked", [{"max_iter": 10**7}, {"max_iter": 10**6, "hidden_layer_sizes": [2000, 2000]}], ids=str
)
def test_a_file_cannot_ask_for_hours_of_training(halves, tmp_path, monkeypatch, asked):
    tiny().fit(halves[0]).set_params(**asked).save(tmp_path / "forged.vae")
    monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("it trains"))
    loaded = load(tmp_path / "forged.vae")
    with pytest.raises(DataError, match=rf"max_iter={asked['max_iter']:,}\. Set a smaller max_iter"):
        loaded.drift(halves[1], random_state=0)
    monkeypatch.undo()
    assert not loaded.set_params(max_iter=15, hidden_layer_sizes=[8]).drift(halves[1], random_state=0).drifted


def test_what_the_model_does_not_use_is_not_tested(halves):
    train = pd.DataFrame(halves[0], columns=["a", "b", "c"]).assign(name=range(200))
    with pytest.warns(DataWarning, match="name"):
        fitted = tiny(novelty=True).fit(train)
    assert "name" not in fitted.drift(train, random_state=0).columns.index


@pytest.mark.filterwarnings("ignore:.*later than in training")
def test_dates_that_run_on_are_a_drift_of_their_column():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=600, freq="h"), "x": rng.normal(size=600)})
    detector = tiny().fit(rows)
    found = detector.drift(rows.assign(when=rows["when"] + pd.Timedelta("84D")), random_state=0)
    assert found.columns["message"]["when"].startswith("shifted later by")
