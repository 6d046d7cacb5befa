"""What partial_fit promises: a model that follows its rows, forgets in proportion, and needs none of the rows seen."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.spatial.distance import cdist
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from vae_anomaly import VAEDetector, load
from vae_anomaly import fit as fitting
from vae_anomaly import update as updating
from vae_anomaly.data.columns import CodeCell, NumberCell
from vae_anomaly.errors import DataError
from vae_anomaly.scoring.scorer import row_keys
from vae_anomaly.update import recoded, score_difference, steps_between, uniform_rows

MIXING = np.random.default_rng(5).normal(size=(2, 5))
SMALL = {"hidden_layer_sizes": (32,), "random_state": 0}
TINY = {"hidden_layer_sizes": (8,), "n_estimators": 1, "max_iter": 20, "random_state": 0}


def normal_rows(n, seed, shift=0.0):
    """Rows near a plane."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ MIXING + 0.1 * rng.normal(size=(n, 5)) + shift


def corrupted(X, seed=1):
    """The same rows, one cell of each off the plane."""
    rng, X = np.random.default_rng(seed), X.copy()
    X[np.arange(len(X)), rng.integers(5, size=len(X))] += rng.choice([-1.5, 1.5], len(X))
    return X


def encoded(detector, X):
    return detector.schema_.encode(pd.DataFrame(X, columns=detector.model_.inputs))


def flagged(detector, X):
    return (detector.predict(X) == -1).mean()


def contents(detector, path):
    detector.save(path)
    return path.read_bytes()


# What is kept of the past


def test_the_rows_kept_are_a_uniform_sample_of_all_that_were_seen():
    """Ten tables of 100 rows one after the other, 50 rows kept: each row with the same probability."""
    rng, counts = np.random.default_rng(0), np.zeros(1000)
    for _ in range(1000):
        kept = np.empty((0, 1))
        for seen in range(0, 1000, 100):
            new = np.arange(seen, seen + 100.0)[:, None]
            rows = uniform_rows(kept, seen, new, rng) if seen else new
            kept = rows[rng.permutation(len(rows))[:50]]
        counts[kept[:, 0].astype(int)] += 1
    tenths = counts.reshape(10, 100).sum(1)
    np.testing.assert_allclose(tenths, 5000, atol=4 * np.sqrt(5000))


def test_all_rows_are_kept_while_they_are_few():
    old, new = np.arange(10.0)[:, None], np.arange(10.0, 15.0)[:, None]
    assert uniform_rows(old, 10, new, np.random.default_rng(0))[:, 0].tolist() == list(range(15))


def test_what_a_model_keeps_does_not_grow_and_holds_its_past_in_proportion(monkeypatch):
    monkeypatch.setattr(fitting, "REFERENCE_ROWS", 300)
    monkeypatch.setattr(updating, "REFERENCE_ROWS", 300)
    parts = [normal_rows(400, seed, shift) for seed, shift in enumerate((0, 3, 6, 9))]
    detector = VAEDetector(**TINY)
    for part in parts:
        detector.partial_fit(part)
        assert len(detector.model_.reference.cells) <= 300
    kept = row_keys(detector.model_.reference.cells)
    shares = [np.isin(kept, row_keys(encoded(detector, part))).mean() for part in parts]
    np.testing.assert_allclose(shares, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / 300))


# How long is trained


def test_many_small_updates_take_as_many_steps_as_a_large_one():
    rows = np.linspace(1000, 2000, 101).astype(int)
    small = [steps_between(a, b, 200) for a, b in zip(rows[:-1], rows[1:], strict=True)]
    assert abs(sum(small) - 200 * np.log(2)) <= 50  # in parts of 50
    assert sum(small) == steps_between(1000, 2000, 200)
    assert steps_between(1000, 2000, 200, worth=2.0) == 200
    assert steps_between(10, 10**6, 200) == 200


def test_score_difference_is_kolmogorovs_distance_and_nothing_where_there_is_none():
    rng = np.random.default_rng(0)
    old = rng.normal(size=4000)
    assert [score_difference(old, rng.normal(size=n)) for n in (1, 5, 50, 500)] == [0.0] * 4
    assert score_difference(old, rng.normal(size=4000) - 1) == pytest.approx(0.383, abs=0.04)  # 2 Phi(1/2) - 1
    assert score_difference(old, old - 100) == 1.0


# What becomes of the model


@pytest.mark.parametrize("novelty", [False, True])
def test_after_a_shift_new_rows_stop_being_anomalous_and_old_ones_do_not_become_so(novelty):
    old, new = normal_rows(600, 0), normal_rows(600, 1, shift=4.0)
    detector = VAEDetector(novelty=novelty, **SMALL).fit(old)
    assert flagged(detector, normal_rows(300, 2, shift=4.0)) > 0.95
    for part in np.array_split(new, 3):
        detector.partial_fit(part)
    for shift, seed in ((0.0, 3), (4.0, 4)):
        fresh = normal_rows(300, seed, shift)
        assert flagged(detector, fresh) < 0.25
        assert roc_auc_score(np.repeat([0, 1], 300), detector.anomaly_score(np.vstack([fresh, corrupted(fresh)]))) > 0.9


def test_a_few_rows_of_another_kind_stay_anomalous():
    detector = VAEDetector(**SMALL).fit(normal_rows(600, 0)).partial_fit(normal_rows(6, 1, shift=4.0))
    assert flagged(detector, normal_rows(300, 2, shift=4.0)) > 0.95
    assert flagged(detector, normal_rows(300, 3)) < 0.15


@pytest.mark.parametrize("novelty", [pytest.param(False, marks=pytest.mark.slow), True])
def test_parts_of_a_table_one_after_the_other_come_near_to_the_whole(novelty):
    X = normal_rows(1000, 0)
    if not novelty:
        X[::20] = corrupted(X[::20])
    whole, parted = (VAEDetector(novelty=novelty, **SMALL) for _ in range(2))
    whole.fit(X)
    for part in np.array_split(np.random.default_rng(0).permutation(X), 5):
        parted.partial_fit(part)
    assert parted.n_samples_fit_ == whole.n_samples_fit_ == 1000
    fresh = normal_rows(500, 7)
    truth, rows = np.repeat([0, 1], 500), np.vstack([fresh, corrupted(fresh)])
    found = [roc_auc_score(truth, detector.anomaly_score(rows)) for detector in (whole, parted)]
    assert found[1] > found[0] - 0.03
    assert flagged(parted, fresh) == pytest.approx(flagged(whole, fresh), abs=0.05)


def test_p_values_of_fresh_rows_are_near_uniform():
    detector = VAEDetector(novelty=True, **SMALL)
    for seed in range(4):
        detector.partial_fit(normal_rows(400, seed))
    p_values = detector.p_values(normal_rows(1000, 9))
    assert kstest(p_values, "uniform").statistic < 0.12
    assert 0.02 < (p_values < 0.05).mean() < 0.1


def test_rows_of_an_update_do_not_explain_themselves():
    """In outlier detection the rows of both calls are exemplars, in proportion, and known as such."""
    first, second = normal_rows(400, 0), normal_rows(400, 1)
    detector = VAEDetector(**TINY).fit(first).partial_fit(second)
    scorer = detector.model_.scorer
    means = scorer.exemplars.means[0].numpy()
    from_first, from_second = (
        cdist(means, scorer.encode(encoded(detector, rows))).min(1) < 1e-9 for rows in (first, second)
    )
    assert (from_first | from_second).all()
    assert 0.35 < from_second.mean() < 0.65
    again = detector.model_.scorer.score(detector.model_.reference.cells)
    np.testing.assert_allclose(again, detector.model_.reference.scores, rtol=1e-9)


def test_ranges_and_rows_are_merged():
    detector = VAEDetector(**TINY).fit(normal_rows(100, 0)).partial_fit(normal_rows(50, 1, shift=9.0))
    cells = encoded(detector, np.vstack([normal_rows(100, 0), normal_rows(50, 1, shift=9.0)]))
    assert_array_equal(detector.model_.ranges, [cells.min(0), cells.max(0)])
    assert detector.n_samples_fit_ == detector.schema_.n_rows == 150


def test_the_history_continues():
    detector = VAEDetector(**TINY).fit(normal_rows(300, 0))
    before, steps = detector.history_["elbo"], detector.n_iter_
    detector.partial_fit(normal_rows(300, 1))
    assert detector.history_["elbo"][: len(before)] == before
    assert detector.history_["step"] == sorted(set(detector.history_["step"]))
    assert detector.history_["step"][-1] == detector.n_iter_
    assert detector.n_iter_ - steps == pytest.approx(20 * np.log(2), abs=5)  # in parts of 5


def test_an_update_that_trains_nothing_still_takes_the_rows_in():
    detector = VAEDetector(**TINY, novelty=True).fit(normal_rows(500, 0))
    before, odd = detector.n_iter_, np.full((5, 5), 3.0)
    scores = detector.score_samples(odd)
    detector.partial_fit(odd)
    assert (detector.n_iter_, detector.n_samples_fit_) == (before, 505)
    assert (detector.score_samples(odd) > scores + 1).all()  # they are exemplars


# Same calls, same model


def test_same_calls_give_the_same_model_also_through_a_file(tmp_path):
    parts = [normal_rows(200, seed) for seed in range(3)]
    first, second, filed = (VAEDetector(**TINY).partial_fit(parts[0]) for _ in range(3))
    for part in parts[1:]:
        first.partial_fit(part)
        second.partial_fit(part)
        filed.save(tmp_path / "between.vae")
        filed = load(tmp_path / "between.vae").partial_fit(part)
    wanted = contents(first, tmp_path / "first.vae")
    assert contents(second, tmp_path / "second.vae") == wanted
    assert contents(filed, tmp_path / "filed.vae") == wanted
    fresh = normal_rows(50, 9)
    assert_array_equal(load(tmp_path / "first.vae").score_samples(fresh), first.score_samples(fresh))


def test_the_first_call_is_a_fit(tmp_path):
    X = normal_rows(100, 0)
    fitted, parted = VAEDetector(**TINY).fit(X), VAEDetector(**TINY).partial_fit(X)
    assert contents(fitted, tmp_path / "fitted.vae") == contents(parted, tmp_path / "parted.vae")


def test_an_update_that_is_broken_off_leaves_no_trace(tmp_path):
    class Interrupting:
        def on_fit_task_end(self, estimator, context):
            raise KeyboardInterrupt

    detector = VAEDetector(**TINY).fit(normal_rows(200, 0))
    before = contents(detector, tmp_path / "before.vae")
    detector.set_params(callbacks=[Interrupting()])
    with pytest.raises(KeyboardInterrupt):
        detector.partial_fit(normal_rows(200, 1))
    assert contents(detector, tmp_path / "after.vae") == before
    assert detector.n_samples_fit_ == 200


# Any model and any table


def people(n, seed):
    rng = np.random.default_rng(seed)
    height = rng.normal(170, 10, n)
    colour = np.where(height > 170, "red", "blue").astype(object)
    return pd.DataFrame({"height": height, "weight": height - 100 + rng.normal(0, 2, n), "colour": colour})


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"novelty": True},
        {"purpose": "representation"},
        {"variational": False},
        {"bound": "iwae"},
        {"prior": "gaussian"},
    ],
    ids=str,
)
def test_tables_with_values_and_gaps_that_the_first_call_had_not(parameters, tmp_path):
    detector = VAEDetector(**TINY, **parameters).fit(people(80, 0))
    second = people(60, 1)
    second.loc[::3, "colour"] = "green"
    second.loc[::4, "height"] = np.nan
    gone = people(30, 2).assign(weight=np.nan)
    detector.partial_fit(second).partial_fit(gone).partial_fit(people(1, 3))
    assert detector.n_samples_fit_ == 171
    rows = pd.concat([people(20, 4), second[:10], gone[:3]], ignore_index=True)
    scores = detector.score_samples(rows)
    np.testing.assert_allclose([detector.score_samples(rows.iloc[[i]])[0] for i in (0, 22, 31)], scores[[0, 22, 31]])
    assert np.isfinite(scores).all()
    detector.save(tmp_path / "model.vae")
    assert_array_equal(load(tmp_path / "model.vae").score_samples(rows), scores)
    assert len(detector.diagnose()) > 3
    assert np.isfinite(detector.explain(rows)["nats"].to_numpy(dtype=float)).all()


# Levels that the first call had not


def sites(n, levels, seed):
    """Two measurements that go together, at one of several sites."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=n)
    return pd.DataFrame({"site": rng.choice(levels, n), "a": first, "b": first + 0.1 * rng.normal(size=n)})


@pytest.mark.parametrize("novelty", [False, True])
def test_a_level_seen_since_the_fit_is_normal_and_another_one_is_not(novelty):
    """With one code for all unseen levels, D became normal with C: "site 'D', seen in 75 %"."""
    detector = VAEDetector(novelty=novelty, random_state=0).fit(sites(600, ["A", "B"], 0))
    assert flagged(detector, sites(200, ["C"], 1)) > 0.9
    detector.partial_fit(sites(1800, ["C"], 2))
    shares = {site: flagged(detector, sites(200, [site], 3)) for site in "ABCD"}
    assert max(shares[site] for site in "ABC") < 0.25
    assert (detector.p_values(sites(200, ["D"], 3)) <= 0.05).all()
    reasons = detector.reasons(sites(20, ["D"], 4))
    assert reasons.str.contains("site 'D' is new, expected ").all()
    assert not detector.reasons(sites(20, ["C"], 4)).str.contains(" is new").any()


@pytest.mark.parametrize("novelty", [False, True])
def test_a_few_rows_of_a_new_level_have_a_place_but_stay_rare(novelty):
    detector = VAEDetector(novelty=novelty, random_state=0).fit(sites(600, ["A", "B"], 0))
    before = detector.score_samples(sites(200, ["A", "B"], 1))
    detector.partial_fit(sites(3, ["C"], 2))
    c, d = (detector.score_samples(sites(200, [site], 3)).mean() for site in "CD")
    assert c > d + 2
    assert (detector.p_values(sites(200, ["C"], 3)) <= 0.05).mean() > 0.9
    assert np.abs(detector.score_samples(sites(200, ["A", "B"], 1)) - before).mean() < 0.5
    (reason,) = detector.reasons(sites(1, ["C"], 3))
    assert " is new" not in reason


def test_levels_that_only_rows_no_longer_kept_had_are_not_called_unseen(monkeypatch):
    monkeypatch.setattr(fitting, "REFERENCE_ROWS", 40)
    monkeypatch.setattr(updating, "REFERENCE_ROWS", 40)
    detector = VAEDetector(**TINY).fit(sites(600, ["A", "B"], 0)).partial_fit(sites(1, ["C"], 1))
    code = detector.schema_.columns[0].codes["C"]
    assert code not in detector.model_.reference.cells[:, -1]
    assert "site 'C', seen in 0.17 %" in detector.reasons(sites(1, ["C"], 2))[0]


def test_codes_of_earlier_unseen_values_follow_the_new_levels():
    before, after = ([NumberCell(0), CodeCell(1, n, (0.0,) * n), CodeCell(2, 2, (0.0, 0.0))] for n in (3, 5))
    x = np.array([[3.0, 3, 2], [4, 2, 0], [5, np.nan, np.nan], [6, np.inf, 1]])
    wanted = np.array([[3.0, 5, 2], [4, 2, 0], [5, np.nan, np.nan], [6, np.inf, 1]])
    assert_array_equal(recoded(x, before, after), wanted)
    assert_array_equal(recoded(wanted, after, before), x)
    assert_array_equal(recoded(np.array([[0.0, 4, 1]]), after, before), [[0, 3, 1]])


@pytest.mark.parametrize("kind", ["text", "category", "mixed"])
def test_grown_models_keep_their_promises_also_through_a_file(kind, tmp_path):
    def table(n, levels, seed):
        rows = sites(n, levels, seed)
        match kind:
            case "category":
                rows["site"] = pd.Categorical(rows["site"], categories=levels)
            case "mixed":
                rows["site"] = rows["site"].astype(object).where(rows["site"] != "A", 1)
        return rows

    parts = [table(80, ["A", "B"], 0), table(80, ["A", "C"], 1), table(60, ["D", "B", "C"], 2)]
    first, filed = (VAEDetector(**TINY).fit(parts[0]) for _ in range(2))
    for part in parts[1:]:
        first.partial_fit(part)
        filed.save(tmp_path / "between.vae")
        filed = load(tmp_path / "between.vae").partial_fit(part)
    assert contents(first, tmp_path / "first.vae") == contents(filed, tmp_path / "filed.vae")
    levels = ["1" if kind == "mixed" else "A", "B", "C", "D"]
    assert sorted(first.schema_.columns[0].levels) == levels
    assert_array_equal(first.model_.ranges[:, -1], [0, 3])
    sample = first.sample(300)["site"]
    assert set(sample) == set(levels)
    if kind == "category":
        assert set(first.reconstruct(parts[2])["site"].cat.categories) == set(levels)
    rows = table(50, ["A", "B", "C", "D", "E"], 3)
    scores = first.score_samples(rows)
    np.testing.assert_allclose([first.score_samples(rows.iloc[[i]])[0] for i in range(5)], scores[:5])
    np.testing.assert_allclose(first.explain(rows)["nats"].sum(axis=1), -scores, rtol=1e-6)


def test_a_flag_with_a_third_value_stays_a_flag():
    flags = sites(100, ["A", "B"], 0).assign(flag=np.arange(100) % 2)
    detector = VAEDetector(**TINY).fit(flags).partial_fit(flags.assign(flag=2))
    assert detector.schema_.kinds == ["category", "number", "number", "flag"]
    assert detector.model_.encode(flags.assign(flag=2))[0, 2] == 2


def test_images_and_their_convolutions():
    rng = np.random.default_rng(0)
    images = rng.random((40, 256)) * np.linspace(0, 1, 256)
    detector = VAEDetector(purpose="representation", image_shape=(1, 16, 16), max_iter=8, random_state=0).fit(images)
    before = detector.transform(images)
    detector.partial_fit(rng.random((40, 256)))
    assert detector.n_samples_fit_ == 80
    assert np.abs(detector.transform(images) - before).max() > 0


@pytest.mark.parametrize("calibration", ["split", "cross"])
def test_a_calibration_that_an_update_would_invalidate_is_refused_at_once(calibration):
    detector = VAEDetector(calibration=calibration)
    with pytest.raises(DataError, match=f"calibration='{calibration}' uses rows that it was not trained on"):
        detector.partial_fit(normal_rows(50, 0))


def test_rows_with_other_columns_are_refused():
    detector = VAEDetector(**TINY).fit(people(40, 0))
    with pytest.raises(DataError, match="lacks: 'weight'"):
        detector.partial_fit(people(10, 1).drop(columns="weight"))
