"""The estimator's promises: what scores mean, a row's score is its own, any table, clear errors, all or nothing."""

import copy
import functools
import itertools
import multiprocessing
import pickle
import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from cases import product
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import false_discovery_control
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from vae_anomaly import VAEDetector, load
from vae_anomaly import detector as detector_module
from vae_anomaly.errors import DataError, DataWarning, DeviceError, NoDensityError
from vae_anomaly.scoring import scorer as exemplars
from vae_anomaly.scoring.calibration import calibrate
from vae_anomaly.scoring.scorer import FEW

KINDS = {
    "elbo": {},
    "iwae": {"bound": "iwae"},
    "gaussian": {"prior": "gaussian"},
    "novelty": {"novelty": True},
    "student": {"likelihood": "student_t"},
    "autoencoder": {"variational": False},
    "representation": {"purpose": "representation"},
    "many rows": {"novelty": True, "n_components": 3},  # so many that a row sees only the exemplars nearest to it
    "many rows, wide code": {"novelty": True, "n_components": 9},  # looked for without a tree
}
MANY = FEW + 150


def tiny(**parameters):
    chosen = {"max_iter": 15, "hidden_layer_sizes": (8,), "n_estimators": 2, "random_state": 0}
    return VAEDetector(**{**chosen, **parameters})


def mixed(n, seed):
    rng = np.random.default_rng(seed)
    size = rng.normal(10, 3, n)
    return pd.DataFrame(
        {
            "size": size,
            "weight": np.where(rng.random(n) < 0.15, np.nan, 2 * size + rng.normal(size=n)),
            "count": pd.array(rng.integers(0, 50, n), dtype="Int64"),
            "flag": rng.random(n) < 0.3,
            "shop": pd.Categorical(rng.choice(["north", "south"], n)),
            "note": np.where(rng.random(n) < 0.2, None, rng.choice(["red", "green", "blue"], n)),
            "when": pd.Timestamp("2026-03-01") + pd.to_timedelta(rng.integers(0, 10**7, n), unit="s"),
        }
    )


@pytest.fixture(scope="module")
def train():
    return mixed(70, 0)


@pytest.fixture(scope="module")
def tables(train):
    """The table that each kind is fitted to."""
    many = pd.concat([train, mixed(MANY, 7)], ignore_index=True)
    return {kind: many if kind.startswith("many rows") else train for kind in KINDS}


@pytest.fixture(scope="module")
def table(train):
    """Rows to score: some of training, some new, one with a value never seen, one with nothing in it."""
    new = mixed(12, 1)
    new.loc[0, "note"] = "purple"
    new.loc[1, "size"] = 1e12
    found = pd.concat([train.head(8), new], ignore_index=True)
    for name in found.columns:
        if name != "flag":
            found.loc[9, name] = None
    return found


@pytest.fixture(scope="module")
def detectors(tables):
    return {kind: tiny(**parameters).fit(tables[kind]) for kind, parameters in KINDS.items()}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def detector(kind, detectors):
    return detectors[kind]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(5)
    return rng.normal(size=(80, 2)) @ rng.normal(size=(2, 4)) + 0.3 * rng.normal(size=(80, 4))


@pytest.fixture(scope="module")
def plain(X):
    return tiny().fit(X)


# A row's score is its own


def test_a_row_scores_alike_alone_and_in_any_batch_and_order(detector, table):
    whole = detector.score_samples(table)
    alone = np.concatenate([detector.score_samples(table.iloc[[row]]) for row in range(len(table))])
    assert_array_equal(alone, whole)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(len(table)), 3))
    assert_array_equal(detector.score_samples(table.iloc[order]), whole[order])
    assert np.isfinite(whole).all()
    assert len(np.unique(whole.round(9))) == len(table)


def test_a_row_scores_alike_on_every_call_and_from_eight_threads(detector, table):
    whole = detector.score_samples(table)
    assert_array_equal(detector.score_samples(table), whole)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: detector.score_samples(table), range(16)))
    for scores in found:
        assert_allclose(scores, whole, rtol=1e-9)


def test_reordered_columns_score_alike(detector, table):
    assert_array_equal(detector.score_samples(table[table.columns[::-1]]), detector.score_samples(table))


def test_a_forked_child_scores_alike_and_does_not_hang(detectors, table):
    torch.ones(1000, 1000).exp().sum()  # torch's threads, where it has more than one, are at work before the fork
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def in_child():
        torch.ones(1000, 1000).exp().sum()  # large enough for two threads, if the child thinks that it has them
        sender.send({kind: each.score_samples(table) for kind, each in detectors.items()})

    child = context.Process(target=in_child, daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
        child.start()
    try:
        assert receiver.poll(60), "the forked child hangs"
        found = receiver.recv()
    finally:
        child.kill()
        child.join()
    for kind, each in detectors.items():
        assert_allclose(found[kind], each.score_samples(table), rtol=1e-9)


def test_processes_of_joblib_score_alike(detectors, table):
    each = detectors["elbo"]
    parts = [table.iloc[:9], table.iloc[9:]]
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(each.score_samples)(part) for part in parts)
    assert_allclose(np.concatenate(found), each.score_samples(table), rtol=1e-9)


def test_polars_and_pyarrow_tables_score_as_pandas_does(train, table):
    columns = ["size", "weight", "flag", "note", "when"]
    fitted = tiny(max_iter=2).fit(train[columns])
    rows = table[columns].drop(index=9)
    wanted = fitted.score_samples(rows)
    for other in (pl.from_pandas(rows), pl.from_pandas(rows).lazy(), pa.Table.from_pandas(rows, preserve_index=False)):
        assert_allclose(fitted.score_samples(other), wanted, rtol=1e-9)
    for other in (pl.from_pandas(train[columns]), pa.Table.from_pandas(train[columns], preserve_index=False)):
        assert_allclose(tiny(max_iter=2).fit(other).score_samples(rows), wanted, rtol=1e-9)


def test_same_data_and_seed_same_weights_bit_for_bit(tables, kind, table, detector):
    again = clone(detector).fit(tables[kind])
    for name, tensor in detector.model_.scorer.vae.state_dict().items():
        assert torch.equal(again.model_.scorer.vae.state_dict()[name], tensor), name
    assert_array_equal(again.score_samples(table), detector.score_samples(table))
    assert again.offset_ == detector.offset_
    if kind.startswith("many rows"):
        return  # they have the seed of "novelty", and are slow to fit
    other = clone(detector).set_params(random_state=1).fit(tables[kind])
    assert not np.allclose(other.score_samples(table), detector.score_samples(table))


def test_nobodys_randomness_or_threads_are_touched(train, table):
    def states():
        return (
            pickle.dumps(np.random.get_state()),  # noqa: NPY002 (the global state is what must not change)
            random.getstate(),
            torch.get_rng_state().tolist(),
            torch.initial_seed(),
            torch.get_num_threads(),
            torch.get_num_interop_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )

    before = states()
    fitted = tiny(novelty=True).fit(
        train
    )  # random_state=None draws its seed from numpy's global state, as scikit-learn does
    fitted.score_samples(table)
    fitted.sample(3, random_state=0)
    fitted.reconstruct(table)
    pickle.loads(pickle.dumps(fitted))
    assert states() == before


def test_a_table_is_not_modified(train, table):
    kept, scored = train.copy(deep=True), table.copy(deep=True)
    fitted = tiny(max_iter=2, n_estimators=1).fit(train)
    fitted.score_samples(table)
    fitted.explain(table)
    pd.testing.assert_frame_equal(train, kept)
    pd.testing.assert_frame_equal(table, scored)


# What scores mean


def test_the_signs(detector, table):
    scores = detector.score_samples(table)
    assert scores.dtype == np.float64
    assert_array_equal(detector.anomaly_score(table), -scores)
    assert_array_equal(detector.decision_function(table), scores - detector.offset_)
    assert_array_equal(detector.predict(table), np.where(scores < detector.offset_, -1, 1))
    assert detector.score(table) == pytest.approx(scores.mean(), rel=1e-12)
    moved = copy.copy(detector)
    moved.offset_ = scores[3]  # a row at the threshold is not odd
    assert_array_equal(moved.predict(table) == -1, scores < scores[3])


def test_reasons_add_up_to_the_anomaly_score(detector, table):
    nats = detector.explain(table)["nats"]
    assert list(nats.columns) == [*detector.schema_.names, "(latent)"]
    assert_allclose(nats.sum(axis=1), detector.anomaly_score(table), rtol=1e-9, atol=1e-9)
    if not detector.variational:
        complete = pd.DataFrame(table)[detector.schema_.names].notna().all(axis=1)  # others are brought to their scale
        assert (nats["(latent)"][complete.to_numpy()].abs() < 1e-12).all()


def test_surprise_is_measured_from_the_means_of_training_rows_that_are_not_anomalous(train, table):
    fitted = tiny(novelty=True, prior="gaussian").fit(train)  # no row of training is scored otherwise than a new one
    normal = fitted.explain(train)["nats"][fitted.score_samples(train) >= fitted.offset_]
    assert_allclose(fitted.baseline_contributions_, normal.mean(), atol=0.05)
    explained = fitted.explain(table)
    wanted = explained["nats"] - fitted.baseline_contributions_
    pd.testing.assert_frame_equal(explained["surprise"], wanted, rtol=1e-9, atol=1e-9)


def test_a_wrong_cell_leads_the_reasons_with_the_expected_value():
    mix = [[1.0, 2.0, 0.0, 1.0, 0.5], [0.0, 1.0, 1.0, -1.0, 1.0]]
    x = np.random.default_rng(0).normal(size=(600, 2)) @ mix
    table, rows = (pd.DataFrame(part, columns=list("abcde")) for part in (x[:500], x[500:]))
    fitted = VAEDetector(novelty=True, random_state=0).fit(table)
    wrong = rows.assign(b=rows["b"] + np.where(rows["b"] > 0, -6.0, 6.0))
    explained = fitted.explain(wrong)
    assert (explained["surprise"].idxmax(axis=1) == "b").mean() > 0.95
    low, high = explained["low"]["b"], explained["high"]["b"]
    assert ((low <= rows["b"]) & (rows["b"] <= high)).mean() > 0.75
    assert ((wrong["b"] < low) | (wrong["b"] > high)).mean() > 0.9
    assert (explained["expected"]["b"] - rows["b"]).abs().median() < 0.5 * rows["b"].std()


def test_long_reasons_hold_what_the_wide_ones_do(detector, table):
    wide, long = detector.explain(table), detector.explain(table, long=True)
    assert list(long.columns) == ["row", "column", "nats", "surprise", "value", "expected", "low", "high", "reason"]
    assert len(long) == len(table) * (len(detector.schema_.names) + 1)
    assert (long.groupby("row", sort=False)["surprise"].diff().dropna() <= 0).all()
    again = long.pivot(index="row", columns="column", values="nats").loc[table.index, wide["nats"].columns]
    assert_array_equal(again.to_numpy(), wide["nats"].to_numpy())
    values = long[long["column"] != "(latent)"].pivot(index="row", columns="column", values="value")
    for name in wide["value"].columns:
        assert values[name].loc[table.index].astype(str).tolist() == table[name].astype(object).astype(str).tolist()


def test_reasons_are_the_same_in_whatever_batch(detector, table):
    whole = detector.explain(table)
    alone = pd.concat([detector.explain(table.iloc[[row]]) for row in range(len(table))])
    for figure in ("expected", "low", "high"):
        assert whole[figure].astype(str).equals(alone[figure].astype(str))
    assert_allclose(alone["nats"], whole["nats"], rtol=1e-7, atol=1e-9)


def test_a_missing_cell_adds_the_same_in_every_row_and_an_observed_one_does_not(detector, table):
    missing = table.isna()
    contributions = detector.explain(table)["nats"]
    assert missing.to_numpy().sum() > 5
    for name in missing.columns:
        assert contributions.loc[missing[name], name].nunique() <= 1
        assert contributions.loc[~missing[name], name].nunique() > 1


@pytest.mark.parametrize("kind", ["elbo", "gaussian", "novelty", "student", "many rows"])
def test_a_value_never_seen_costs_more_than_any_seen_one(detectors, train, kind):
    rows = train.head(1).loc[[0] * 4].reset_index(drop=True)
    rows["note"] = ["red", "green", "blue", "purple"]
    costs = detectors[kind].explain(rows)["nats"]["note"]
    assert costs[3] > costs[:3].max()
    assert np.isfinite(costs).all()


def test_a_float_contamination_flags_that_fraction_of_the_training_rows(X):
    for share in (0.05, 0.25, 0.5):
        flagged = tiny(contamination=share).fit_predict(X) == -1
        assert flagged.sum() == share * len(X)


@pytest.mark.parametrize(
    "kind, contamination",
    product(
        [kind for kind in KINDS if not kind.startswith("many rows")],
        ["auto", 0.1],
        quick=[*((kind, "auto") for kind in KINDS if "rows" not in kind), ("elbo", 0.1), ("autoencoder", 0.1)],
    ),
)
def test_rows_that_tie_with_the_threshold_are_not_anomalous(kind, contamination):
    """Where all rows are alike none is odd; where most are, they are not, though rounding tells scores apart."""
    for seed in range(3):
        row = np.random.default_rng(seed).normal(size=(1, 5))
        fitted = tiny(**KINDS[kind], contamination=contamination, n_estimators=3, random_state=seed)
        alike = np.repeat(row, 37, axis=0)
        assert (fitted.fit(alike).predict(alike) == 1).all()
        assert (fitted.predict(row) == 1).all()
    flags = np.repeat([[0.0], [1.0]], [30, 34], axis=0)
    assert (tiny(**KINDS[kind], contamination=contamination).fit(flags).predict(flags) == 1).all()


@pytest.mark.parametrize("novelty", [False, True])
def test_a_planted_row_is_found_also_next_to_one_that_dwarfs_it(X, novelty):
    scale = X.std(axis=0)
    planted = np.vstack([X, X.mean(0) + 30 * scale, X.mean(0) + 1e6 * scale])
    clean = X if novelty else planted
    fitted = tiny(novelty=novelty, max_iter=100).fit(clean)
    scores = fitted.anomaly_score(planted)
    assert scores.argsort()[-2:].tolist() == [80, 81]
    assert (fitted.predict(planted[-2:]) == -1).all()
    assert tiny(novelty=novelty, max_iter=100).fit(clean).anomaly_score(planted[:81]).argmax() == 80


def without(scorer, row):
    """The scorer as if one copy of a row had not been in training, worked out by hand."""
    distances = torch.tensor(scorer.posteriors(row)[0]) - scorer.exemplars.means
    place = np.flatnonzero(distances.abs().amax((0, 2)) < 1e-9)
    counts = scorer.exemplars.counts.clone()
    counts[place] -= 1
    kept = counts > 0
    means, widths = (part[:, kept] for part in (scorer.exemplars.means, scorer.exemplars.log_widths))
    left = replace(scorer.exemplars, counts=counts[kept], means=means, log_widths=widths)
    return replace(scorer, exemplars=left, leave_one_out=False), len(place)


@pytest.mark.parametrize("bound", ["elbo", "iwae"])
def test_a_training_row_does_not_explain_itself_but_its_duplicate_does(X, bound):
    doubled = np.vstack([X, X[:1], X[1:2] + 50])
    fitted = tiny(bound=bound).fit(doubled)
    scorer = fitted.model_.scorer
    encoded = fitted.schema_.encode(pd.DataFrame(doubled, columns=[f"x{i}" for i in range(4)]))
    scores, n_exemplars = fitted.score_samples(doubled), 0
    for row in range(len(doubled)):
        oracle, found = without(scorer, encoded[[row]])
        n_exemplars += found
        assert_allclose(scores[row], oracle.score(encoded[[row]])[0], rtol=1e-6)
    assert 60 < n_exemplars < len(doubled)  # the most anomalous rows are no exemplars at all
    twice = int(scorer.exemplars.counts.max())
    assert twice == 2
    bare, _ = without(without(scorer, encoded[[0]])[0], encoded[[0]])
    assert scores[0] > bare.score(encoded[[0]])[0] + 1e-4


@pytest.mark.parametrize("few", [FEW, 20])
def test_novelty_detection_takes_rows_as_new_but_sets_its_threshold_by_leave_one_out_scores(X, few, monkeypatch):
    monkeypatch.setattr(exemplars, "FEW", few)
    fitted = tiny(novelty=True, contamination=0.25).fit(X)
    scorer = fitted.model_.scorer
    encoded = fitted.schema_.encode(pd.DataFrame(X, columns=[f"x{i}" for i in range(4)]))
    honest = replace(scorer, leave_one_out=True).score(encoded)
    assert_array_equal(fitted.score_samples(X), scorer.score(encoded))
    assert not scorer.leave_one_out
    assert (fitted.score_samples(X) > honest).all()
    assert_allclose(fitted.offset_, np.quantile(honest, 0.25), rtol=1e-8)


def test_a_row_among_many_does_not_explain_itself_where_the_threshold_is_set(X, monkeypatch):
    """Each score that sets it is that of a model without the row, worked out by hand."""
    monkeypatch.setattr(exemplars, "FEW", 20)
    doubled = np.vstack([X, X[:1]])
    fitted = tiny(novelty=True).fit(doubled)
    scorer = fitted.model_.scorer
    assert len(scorer.exemplars.counts) > 20
    encoded = fitted.schema_.encode(pd.DataFrame(doubled, columns=[f"x{i}" for i in range(4)]))
    monkeypatch.setattr(exemplars, "NEAREST", 70)  # of 80: enough that the few beyond them add nothing
    honest = replace(scorer, leave_one_out=True).score(encoded)
    oracles = [without(scorer, encoded[[row]]) for row in range(81)]
    assert [found for _, found in oracles] == [1] * 81
    expected = [oracle.score(encoded[[row]])[0] for row, (oracle, _) in enumerate(oracles)]
    assert_allclose(honest, expected, rtol=1e-6)
    assert (scorer.score(encoded) > honest).all()


@pytest.mark.parametrize(
    "novelty, contamination, how",
    product(
        [False, True],
        ["auto", 0.07],
        ["leave_one_out", "split", "cross"],
        quick=[
            (False, "auto", "leave_one_out"),
            (True, 0.07, "leave_one_out"),
            (False, 0.07, "split"),
            (True, "auto", "split"),
            (False, "auto", "cross"),
        ],
    ),
)
def test_rows_are_flagged_exactly_if_their_p_value_is_at_most_the_rate(tmp_path, novelty, contamination, how):
    rng = np.random.default_rng(3)
    x = rng.standard_t(4, size=(300, 3)) @ rng.normal(size=(3, 3))
    new = np.concatenate([x, 3 * rng.standard_t(2, size=(300, 3))])
    fitted = tiny(novelty=novelty, contamination=contamination, calibration=how).fit(x)
    fitted.save(tmp_path / "model.vae")
    models = [fitted, load(tmp_path / "model.vae"), pickle.loads(pickle.dumps(fitted))]
    if how == "leave_one_out":
        models.append(copy.deepcopy(fitted).partial_fit(x[:60] + 0.1))
    for model in models:
        flagged, p_values = model.predict(new) == -1, model.p_values(new)
        assert 0 < flagged.sum() < len(new)
        assert_array_equal(flagged, p_values <= model.false_alarm_rate_)
        assert_array_equal(flagged, model.detect(new)["is_anomaly"])
        assert_array_equal(flagged, model.detect(new, false_alarm_rate=model.false_alarm_rate_)["is_anomaly"])
        assert_array_equal(flagged, model.decision_function(new) < 0)
    if contamination == "auto" and (how != "split" or not novelty):  # 60 rows are held out: no p-value is 1 %
        assert fitted.false_alarm_rate_ == 0.01
    if contamination != "auto":
        assert np.mean(fitted.model_.reference.scores < fitted.offset_) == pytest.approx(0.07, abs=0.035)


def test_a_threshold_set_by_hand_has_its_false_alarm_rate(plain, X):
    moved, scores = copy.copy(plain), np.sort(plain.score_samples(X))
    moved.offset_ = (scores[19] + scores[20]) / 2
    assert moved.false_alarm_rate_ == pytest.approx(0.255, abs=0.005)  # 20 of 80 rows
    assert_array_equal(moved.predict(X) == -1, moved.p_values(X) <= moved.false_alarm_rate_)


@pytest.mark.parametrize(
    "kind, novelty",
    product(
        ["gaussian", "skewed", "mixed"],
        [False, True],
        quick=[("gaussian", False), ("skewed", False), ("mixed", True)],
    ),
)
def test_at_most_one_row_in_a_hundred_of_a_clean_table_is_flagged(kind, novelty):
    """Tukey's fence flagged 3, 3 and 6 %."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(1000, 4)) @ rng.normal(size=(4, 4)), columns=list("abcd"))
    if kind != "gaussian":
        table = np.exp(table)
    if kind == "mixed":
        table = table.assign(shop=rng.choice(list("pqrst"), 1000, p=[0.6, 0.2, 0.1, 0.07, 0.03]))
    fitted = VAEDetector(novelty=novelty, max_iter=60, n_estimators=1, random_state=0).fit(table)
    assert 0.004 < np.mean(fitted.model_.reference.scores < fitted.offset_) <= 0.01


@pytest.mark.parametrize("novelty", [False, True])
def test_a_value_that_many_rows_have_is_no_anomaly(novelty):
    """Before, these 64 rows had the p-value 4e-79."""
    shops = pd.DataFrame({"shop": np.repeat(["x", "y", "z"], [936, 61, 3])})
    fitted = VAEDetector(novelty=novelty, max_iter=20, random_state=0).fit(shops)
    common, rare, rarest = fitted.p_values(pd.DataFrame({"shop": ["x", "y", "z"]}))
    assert common == 1
    assert rare == pytest.approx(65 / 1001, rel=1e-3)
    assert rarest == pytest.approx(4 / 1001, rel=1e-3)
    assert_array_equal(fitted.predict(shops) == -1, shops["shop"] == "z")


def test_more_rows_are_flagged_where_more_are_anomalous():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 5))
    for share in (0.005, 0.15):
        n_anomalous = round(share * 400)
        x = np.concatenate([normal, rng.normal(0, 12, (n_anomalous, 5))])
        flagged = VAEDetector(random_state=0, n_estimators=1).fit_predict(x) == -1
        assert flagged[400:].mean() > 0.7
        assert flagged.mean() < n_anomalous / len(x) + 0.02


def test_the_iwae_is_a_tighter_bound_than_the_elbo(X):
    elbo = tiny(n_draws=16).fit(X)
    iwae = tiny(n_draws=16, bound="iwae").fit(X)
    assert (iwae.score_samples(X) >= elbo.score_samples(X) - 1e-9).mean() > 0.95
    assert iwae.score(X) > elbo.score(X)


def test_a_plain_autoencoder_scores_the_squared_error(X):
    fitted = tiny(variational=False, n_estimators=1).fit(X)
    encode = fitted.schema_.encode
    names = [f"x{i}" for i in range(4)]
    cells = encode(pd.DataFrame(X, columns=names))
    made = encode(pd.DataFrame(fitted.reconstruct(X), columns=names))
    assert_allclose(fitted.anomaly_score(X), ((cells - made) ** 2).sum(1), rtol=1e-6)
    assert fitted.prior_ is None


# Every parameter changes the result


@pytest.fixture(scope="module")
def usual_scores(X):
    """Scores by detectors with these parameters; each is fitted once."""
    return functools.cache(lambda **parameters: tiny(**parameters).fit(X).score_samples(X))


@pytest.mark.parametrize(
    "name, value, base",
    [
        ("purpose", "representation", {}),
        ("n_components", 1, {}),
        ("hidden_layer_sizes", (8, 8), {}),
        ("likelihood", "gaussian", {}),
        ("prior", "gaussian", {}),
        ("beta", 0.1, {"prior": "gaussian"}),
        ("bound", "iwae", {}),
        ("variational", False, {}),
        ("kinds", {"x0": "ignore"}, {}),
        ("n_estimators", 3, {}),
        ("novelty", True, {}),
        ("contamination", 0.4, {}),
        ("calibration", "split", {}),
        ("max_iter", 30, {}),
        ("batch_size", 16, {}),
        ("learning_rate", 1e-2, {}),
        ("validation_fraction", 0.4, {"novelty": True}),
        ("n_draws", 8, {}),
        ("precision", "float64", {}),
        ("random_state", 3, {}),
    ],
)
def test_every_parameter_changes_the_result(X, usual_scores, name, value, base):
    other = tiny(**{**base, name: value}).fit(X)
    change = np.abs(usual_scores(**base) - other.score_samples(X)).max()
    assert change > (1e-9 if name == "precision" else 1e-3)


def test_the_list_of_parameters_that_change_the_result_is_whole():
    tested = {case[0] for case in test_every_parameter_changes_the_result.pytestmark[0].args[1]}
    elsewhere = {"device", "verbose", "callbacks", "checkpoint"}  # where it runs, what is told and what is kept
    elsewhere |= {"image_shape"}  # test_image_models.py
    assert tested | elsewhere == set(VAEDetector().get_params())
    assert set(VAEDetector._parameter_constraints) == set(VAEDetector().get_params())


def test_what_auto_chose_can_be_seen(X):
    fitted = VAEDetector(max_iter=2, random_state=0).fit(X)
    assert (fitted.n_components_, fitted.hidden_layer_sizes_, fitted.prior_) == (4, (64, 64), "exemplar")
    for each in (fitted, VAEDetector(max_iter=2, novelty=True, random_state=0).fit(X)):
        assert each.n_estimators_ == len(each.model_.scorer.vae.log_bandwidth) > 1
        assert each.get_params()["n_estimators"] == "auto"
    assert tiny(n_estimators=4, max_iter=2).fit(X).n_estimators_ == 4
    assert (fitted.batch_size_, fitted.n_iter_, fitted.n_samples_fit_, fitted.n_features_in_) == (80, 2, 80, 4)
    assert fitted.device_.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert fitted.get_params()["n_components"] == "auto"


# scikit-learn


def test_in_a_pipeline_it_scores_as_on_its_own(X):
    pipeline = make_pipeline(StandardScaler(), tiny()).fit(X)
    alone = tiny().fit(StandardScaler().fit_transform(X))
    assert_array_equal(pipeline.score_samples(X), alone.score_samples(StandardScaler().fit_transform(X)))
    assert_array_equal(pipeline.predict(X), alone.predict(StandardScaler().fit_transform(X)))
    assert pipeline.transform(X).shape == (80, 4)


def test_a_grid_search_finds_the_number_of_latents_by_the_mean_elbo(X):
    """The rows lie near a plane: one latent is too few."""
    search = GridSearchCV(tiny(novelty=True, max_iter=60), {"n_components": [1, 2]}, cv=2).fit(X)
    assert search.best_params_ == {"n_components": 2}
    one, two = search.cv_results_["mean_test_score"]
    assert two > one + 0.3
    assert search.best_estimator_.n_components_ == 2


def test_in_a_column_transformer_it_gives_codes(train):
    transformer = ColumnTransformer(
        [("code", tiny(n_components=2, max_iter=2), ["size", "note"]), ("keep", "passthrough", ["flag"])]
    )
    found = transformer.set_output(transform="pandas").fit_transform(train)
    assert list(found.columns) == ["code__vaedetector0", "code__vaedetector1", "keep__flag"]


def test_latents_come_in_the_container_that_was_asked_for(train):
    fitted = tiny(n_components=3, max_iter=2).fit(train)
    names = ["vaedetector0", "vaedetector1", "vaedetector2"]
    assert fitted.get_feature_names_out().tolist() == names
    codes = fitted.transform(train)
    rows = train.set_index(np.arange(100, 170))
    as_pandas = clone(fitted).set_output(transform="pandas").fit(train).transform(rows)
    assert list(as_pandas.columns) == names
    assert as_pandas.index.tolist() == rows.index.tolist()
    assert_array_equal(as_pandas, codes)
    as_polars = clone(fitted).set_output(transform="polars").fit(train).transform(train)
    assert isinstance(as_polars, pl.DataFrame)
    assert as_polars.columns == names
    assert_array_equal(as_polars.to_numpy(), codes)


def test_fit_transform_and_fit_predict_are_fit_and_the_rest(plain, X):
    assert_array_equal(tiny().fit_transform(X), plain.transform(X))
    assert_array_equal(tiny().fit_predict(X), plain.predict(X))


def test_reconstruct_is_there_and_back(detector, table):
    pd.testing.assert_frame_equal(detector.reconstruct(table), detector.inverse_transform(detector.transform(table)))


def test_the_model_reconstructs_what_it_has_learned(X):
    fitted = tiny(novelty=True, max_iter=100).fit(X)
    assert np.mean((fitted.reconstruct(X) - X) ** 2) < 0.2 * X.var()


def test_names_are_remembered_only_while_they_hold(X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = tiny(max_iter=2, n_estimators=1).fit(frame)
    assert fitted.feature_names_in_.tolist() == list("abcd")
    with pytest.warns(UserWarning, match="feature names"):
        fitted.score_samples(X)
    fitted.fit(X)
    assert not hasattr(fitted, "feature_names_in_")
    fitted.score_samples(X)
    fitted.fit(frame)
    assert fitted.feature_names_in_.tolist() == list("abcd")
    assert not hasattr(tiny(max_iter=2, n_estimators=1).fit(pd.DataFrame(X)), "feature_names_in_")


@pytest.mark.parametrize(
    "parameter, values",
    [
        ("n_components", [0, 1.5, "many"]),
        ("hidden_layer_sizes", [(), (0,), (-3,), (8.5,), ["a"], 8, "deep"]),
        ("likelihood", ["cauchy", None]),
        ("prior", ["vamp"]),
        ("beta", [-0.1, float("nan"), "1"]),
        ("bound", ["elbow"]),
        ("variational", ["yes"]),
        ("n_estimators", [0, 2.0]),
        ("novelty", ["no"]),
        ("contamination", [0, 0.6, -0.1, float("nan"), "some"]),
        ("max_iter", [0, 10.0]),
        ("batch_size", [0, "all"]),
        ("learning_rate", [0, -1, float("inf")]),
        ("validation_fraction", [1.0, -0.1]),
        ("n_draws", [0]),
        ("device", [0, None]),
        ("precision", ["float16"]),
        ("random_state", ["seed"]),
        ("verbose", ["loud"]),
        ("callbacks", ["bar"]),
    ],
)
def test_parameters_are_checked_in_fit_and_not_before(X, parameter, values):
    for value in values:
        detector = VAEDetector(**{parameter: value})
        with pytest.raises(InvalidParameterError, match=parameter):
            detector.fit(X)
        with pytest.raises(NotFittedError):
            detector.score_samples(X)


@pytest.mark.parametrize("asked", [{"bound": "iwae"}, {"prior": "exemplar"}, {"likelihood": "student_t"}], ids=str)
def test_what_needs_a_density_is_refused_where_there_is_none(X, asked):
    with pytest.raises(InvalidParameterError, match=f"autoencoder.*{next(iter(asked))}"):
        tiny(variational=False, **asked).fit(X)


def test_the_bound_is_that_of_the_fit_and_its_threshold(plain, X):
    detector, scores = copy.copy(plain), plain.score_samples(X)
    assert_array_equal(detector.set_params(bound="iwae").score_samples(X), scores)


def test_rows_keep_their_names(train, detectors):
    named = train.head(5).set_axis(list("abcde"))
    assert list(detectors["elbo"].explain(named).index) == list("abcde")
    assert list(detectors["elbo"].reconstruct(named).index) == list("abcde")


def test_a_detector_of_arrays_takes_a_frame_by_position_as_scikit_learn_does(plain, X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    with pytest.warns(UserWarning, match="fitted without feature names"):
        assert_array_equal(plain.score_samples(frame), plain.score_samples(X))


# Any table


def _date_frame(rng):
    return pd.DataFrame({"at": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**7, 30), unit="s")})


TABLES = {
    "one row": lambda rng: rng.normal(size=(1, 3)),
    "one cell": lambda rng: rng.normal(size=(1, 1)),
    "one column": lambda rng: rng.normal(size=(40, 1)),
    "two rows": lambda rng: rng.normal(size=(2, 3)),
    "nine rows": lambda rng: rng.normal(size=(9, 3)),
    "wide": lambda rng: rng.normal(size=(20, 500)),
    "constant": lambda rng: np.ones((30, 2)) * [7, -1e9],
    "constant beside numbers": lambda rng: np.column_stack([np.full(30, 3.0), rng.normal(size=30)]),
    "an empty row": lambda rng: np.vstack([rng.normal(size=(29, 3)), [[np.nan] * 3]]),
    "mostly missing": lambda rng: np.where(rng.random((40, 3)) < 0.8, np.nan, rng.normal(size=(40, 3))),
    "huge": lambda rng: rng.normal(size=(40, 2)) * 1e300,
    "tiny": lambda rng: rng.normal(size=(40, 2)) * 1e-300,
    "both": lambda rng: rng.normal(size=(40, 2)) * [1e300, 1e-300],
    "1e9 and a little": lambda rng: 1e9 + rng.integers(-1, 2, (40, 2)),
    "few values": lambda rng: rng.integers(0, 3, (40, 2)).astype(float),
    "heavy tails": lambda rng: rng.standard_cauchy((40, 2)) ** 3,
    "booleans": lambda rng: pd.DataFrame(rng.random((30, 2)) < 0.5, columns=["a", "b"]),
    "text": lambda rng: pd.DataFrame({"a": rng.choice(["x", "y"], 30), "b": rng.choice(["u", "v", "w"], 30)}),
    "dates": _date_frame,
    "mixed": lambda rng: mixed(30, 0),
    "one mixed row": lambda rng: mixed(1, 0).dropna(axis=1),
    "numbered columns": lambda rng: pd.DataFrame(rng.normal(size=(30, 2))),
}


FEW_ROWS = ("one row", "one cell", "two rows", "nine rows", "one mixed row")  # for which "auto" is no exemplar prior


@pytest.mark.parametrize(
    "name, parameters",
    [
        *itertools.product(TABLES, [{}, {"novelty": True}, {"variational": False}]),
        *((name, {"prior": "exemplar"}) for name in FEW_ROWS),
    ],
    ids=str,
)
def test_any_table_is_fitted_scored_made_and_saved(tmp_path, name, parameters):
    table = TABLES[name](np.random.default_rng(2))
    fitted = tiny(**parameters, max_iter=4, n_estimators=1).fit(table)
    for values in (
        fitted.score_samples(table),
        fitted.transform(table),
        fitted.explain(table)["nats"],
        [fitted.offset_],
    ):
        assert np.isfinite(np.asarray(values)).all()
    assert (fitted.predict(table) == 1).any()
    made = [fitted.reconstruct(table), fitted.inverse_transform(np.zeros((2, fitted.n_components_)))]
    made += [fitted.sample(5, random_state=0)] if fitted.variational else []
    for each in made:
        if isinstance(table, np.ndarray):
            assert isinstance(each, np.ndarray)
            assert np.isfinite(each).all()
        else:
            pd.testing.assert_series_equal(each.dtypes, table.dtypes)
            assert not each.isna().any().any()
    assert [len(each) for each in made] == [len(table), 2, 5][: len(made)]
    assert made[0].shape == table.shape
    fitted.save(tmp_path / "model.vae")
    assert_array_equal(load(tmp_path / "model.vae").score_samples(table), fitted.score_samples(table))


@pytest.mark.parametrize("make", [pl.from_pandas, lambda t: pa.Table.from_pandas(t, preserve_index=False)])
def test_other_frames_are_fitted_and_their_columns_come_back(make, train):
    table = make(train[["size", "flag", "note", "when"]])
    fitted = tiny(max_iter=4).fit(table)
    assert np.isfinite(fitted.score_samples(table)).all()
    for made in (fitted.reconstruct(table), fitted.sample(3)):
        assert type(made) is type(table)
        made = made.to_pandas()
        assert list(made.columns) == ["size", "flag", "note", "when"]
        assert made["flag"].dtype == bool
        assert made["when"].dtype.kind == "M"
        assert set(made["note"]) <= {"red", "green", "blue"}


def in_polars(table):
    return pl.from_pandas(table).with_columns(pl.col("when").cast(pl.Date), pl.col("count").cast(pl.Int32))


def in_arrow(table):
    return in_polars(table).to_arrow()


CONTAINERS = {"polars": (in_polars, pl.DataFrame, pl.Series), "pyarrow": (in_arrow, pa.Table, pa.ChunkedArray)}


@pytest.mark.parametrize("name", CONTAINERS)
def test_answers_are_in_the_container_of_the_table(name, train):
    make, frame, series = CONTAINERS[name]
    plain = train[["size", "note", "when"]].assign(count=pd.Series(np.arange(len(train)) % 7, dtype="Int32"))
    plain.loc[::5, ["size", "note", "when", "count"]] = None
    table = make(plain)
    fitted, of_pandas = tiny(max_iter=4).fit(table), table.to_pandas()
    answers = [fitted.detect(table), fitted.explain(table), fitted.explain(table, long=True), fitted.suggest(table)]
    answers += [
        fitted.reconstruct(table),
        fitted.sample(3),
        fitted.traverse(0),
        fitted.inverse_transform([[0.0] * fitted.n_components_]),
    ]
    assert all(isinstance(answer, frame) for answer in answers)
    assert isinstance(fitted.reasons(table), series)
    assert_array_equal(answers[0].to_pandas(), fitted.detect(of_pandas))
    assert_array_equal(answers[1].to_pandas()["nats__size"], fitted.explain(of_pandas)["nats"]["size"])
    filled = fitted.impute(table)
    assert filled.schema == table.schema
    assert filled.to_pandas().notna().all(axis=None)
    for kept, given in zip(filled.to_pandas().to_numpy(), table.to_pandas().to_numpy(), strict=True):
        assert all(one == other for one, other in zip(kept, given, strict=True) if not pd.isna(other))
    if name == "polars":
        assert isinstance(fitted.detect(table.lazy()), frame)


def test_set_output_asks_for_a_container(train):
    fitted = tiny(max_iter=2, n_estimators=1).fit(train)
    assert isinstance(fitted.detect(train), pd.DataFrame)
    fitted.set_output(transform="polars")
    answers = fitted.detect(train), fitted.sample(2), fitted.impute(train)
    assert all(isinstance(answer, pl.DataFrame) for answer in answers)
    fitted.set_output(transform="pandas")
    assert isinstance(fitted.detect(pl.from_pandas(train)), pd.DataFrame)


def test_values_under_a_mask_are_missing(X):
    masked = np.ma.masked_array(X, mask=np.zeros(X.shape, bool))
    masked[3, 1] = np.ma.masked
    with_gap = X.copy()
    with_gap[3, 1] = np.nan
    of_masked, of_gap = (tiny(max_iter=2).fit(each).score_samples(each) for each in (masked, with_gap))
    assert_array_equal(of_masked, of_gap)


def test_samples_look_like_the_table(X):
    fitted = VAEDetector(novelty=True, random_state=0, max_iter=150).fit(X)
    drawn = fitted.sample(3000, random_state=1)
    assert_allclose(drawn.mean(0), X.mean(0), atol=0.3)
    assert_allclose(np.cov(drawn.T), np.cov(X.T), atol=0.35 * np.cov(X.T).max())
    assert_array_equal(fitted.sample(5, random_state=7), fitted.sample(5, random_state=7))
    assert not np.array_equal(fitted.sample(5, random_state=7), fitted.sample(5, random_state=8))


# Errors


def frame_with(**columns):
    return pd.DataFrame({"size": np.arange(30.0) ** 1.5, **columns})


@pytest.mark.parametrize(
    "bad, words",
    [
        (frame_with(load=[np.inf] + [1.0] * 29), "'load' is infinite in row 1"),
        (frame_with(load=[[1, 2]] * 30), "'load'"),
        (frame_with(load=np.ones(30) * 1j), "'load'"),
        (pd.DataFrame(np.ones((30, 2)), columns=["twice", "twice"]), "'twice'"),
        (frame_with()[:0], "0 rows"),
        (pd.DataFrame(index=range(3)), "0 columns"),
        (pd.DataFrame({"none": [None, None]}), "'none'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_of_the_table_names_the_column(bad, words):
    with pytest.raises(DataError, match=words):
        tiny().fit(bad)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.drop(columns="weight"), "'weight'"),
        (lambda t: t.rename(columns={"weight": "Weight"}), "'weight' .did you mean 'Weight'"),
        (lambda t: t.assign(size=-np.inf), "'size' is infinite"),
        (lambda t: t.assign(when=7.5), "'when' held dates in fit; found number 7.5 in row 1"),
        (lambda t: t[:0], "no rows"),
        (lambda t: t[:0].drop(columns="weight"), "no rows|'weight'"),
    ],
)
def test_an_error_of_the_rows_to_score_names_the_column(detectors, table, change, words):
    for call in ("score_samples", "predict", "transform", "reconstruct", "explain"):
        with pytest.raises(DataError, match=words):
            getattr(detectors["elbo"], call)(change(table))


def test_more_columns_than_in_training_are_ignored_with_a_warning(detectors, table):
    wanted = detectors["elbo"].score_samples(table)
    with pytest.warns(DataWarning, match="'more'"):
        assert_array_equal(detectors["elbo"].score_samples(table.assign(more=1)), wanted)


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.zeros((0, 4)), np.zeros(4), np.full((2, 4), np.inf)])
def test_an_array_that_does_not_fit_is_a_value_error(plain, bad):
    with pytest.raises(ValueError, match="."):
        plain.score_samples(bad)


def test_an_infinite_value_in_an_array_names_its_column(X):
    bad = X.copy()
    bad[4, 2] = np.inf
    with pytest.raises(DataError, match="'x2' is infinite in row 5"):
        tiny().fit(bad)


def test_arrays_that_must_not_be_written_to_are_taken(plain, X):
    codes, rows = plain.transform(X), X.copy()
    expected = plain.inverse_transform(codes)
    codes.flags.writeable = rows.flags.writeable = False
    assert_array_equal(plain.inverse_transform(codes), expected)
    assert_array_equal(plain.score_samples(rows), plain.score_samples(X))


def test_latents_of_another_width_are_refused(plain):
    with pytest.raises(DataError, match="3 columns; this model has 4 latents"):
        plain.inverse_transform(np.zeros((2, 3)))


def test_an_autoencoder_has_nothing_to_draw_from(detectors):
    with pytest.raises(NoDensityError, match="variational=True") as raised:
        detectors["autoencoder"].sample()
    assert isinstance(raised.value, TypeError)


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "two"])
def test_a_number_of_samples_that_is_none_is_refused(plain, n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        plain.sample(n_samples)


def test_a_device_that_is_not_there_is_refused(X):
    with pytest.raises(DeviceError, match="nonsense"):
        tiny(device="nonsense").fit(X)


CALLS = ["score_samples", "anomaly_score", "decision_function", "predict", "score"]
CALLS += ["explain", "reasons", "transform", "reconstruct"]


@pytest.mark.parametrize("call", [*CALLS, "inverse_transform"])
def test_what_is_not_fitted_says_so(X, call):
    with pytest.raises(NotFittedError):
        getattr(VAEDetector(), call)(X)


def test_what_is_not_fitted_cannot_be_sampled_or_saved(tmp_path):
    with pytest.raises(NotFittedError):
        VAEDetector().sample()
    with pytest.raises(NotFittedError):
        VAEDetector().save(tmp_path / "model.vae")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFittedError):
        pickle.loads(pickle.dumps(VAEDetector())).sample()


# All or nothing


class Interrupting:
    def __init__(self, error, method):
        self.error, self.torn_down = error, 0
        if method:
            setattr(self, method, self.strike)

    def strike(self, estimator, context):
        raise self.error

    def teardown(self, estimator, context):
        self.torn_down += 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken")])
@pytest.mark.parametrize("method", ["on_fit_task_begin", "on_fit_task_end"])
def test_a_fit_that_is_broken_off_leaves_no_trace(X, error, method):
    callback = Interrupting(error, method)
    detector = tiny(callbacks=[callback])
    before = dict(vars(detector))
    with pytest.raises(type(error)):
        detector.fit(X)
    assert vars(detector) == before
    assert callback.torn_down == 1
    with pytest.raises(NotFittedError):
        detector.predict(X)


def test_a_refit_that_is_broken_off_leaves_the_old_model(X):
    detector = tiny(max_iter=2).fit(pd.DataFrame(X, columns=list("abcd")))
    frame, before = pd.DataFrame(X, columns=list("abcd")), dict(vars(detector))
    scores = detector.score_samples(frame)
    for other in (X[:, :2], frame[["a"]], np.full((3, 3), np.inf)):
        detector.callbacks = [Interrupting(KeyboardInterrupt(), "on_fit_task_end")]
        with pytest.raises((KeyboardInterrupt, DataError)):
            detector.fit(other)
    after = {**vars(detector), "callbacks": None}
    assert all(after[name] is value for name, value in before.items())
    assert after.keys() == before.keys()
    assert_array_equal(detector.score_samples(frame), scores)


def test_a_refit_is_a_first_fit(X):
    detector = tiny(max_iter=2).fit(mixed(40, 0))
    detector.offset_ = 5.0
    detector.fit(X)
    fresh = tiny(max_iter=2).fit(X)
    assert vars(detector).keys() == vars(fresh).keys()
    assert detector.offset_ == fresh.offset_
    assert_array_equal(detector.score_samples(X), fresh.score_samples(X))


def test_parameters_are_not_changed_by_fit(X):
    detector = tiny(hidden_layer_sizes=[8], callbacks=[])
    before = dict(detector.get_params())
    detector.fit(X)
    assert all(detector.get_params()[name] is value for name, value in before.items())


@pytest.mark.parametrize("novelty, gain", [(True, 0.5), (False, 2.0)])
def test_training_raises_the_elbo_and_the_history_says_so(novelty, gain):
    """On rows along a bow, of which the anchor, being linear, knows no more than how far they spread."""
    rng = np.random.default_rng(0)
    along = rng.normal(size=(300, 1))
    bow = np.hstack([along, along**2, -(along**2)]) + 0.1 * rng.normal(size=(300, 3))
    fitted = tiny(novelty=novelty, prior="gaussian", n_components=1, learning_rate=0.01, max_iter=300).fit(bow)
    history = fitted.history_
    assert {len(figures) for figures in history.values()} == {len(history["step"])}
    assert_allclose(history["elbo"], np.subtract(history["log_likelihood"], history["kl"]), rtol=1e-4, atol=1e-4)
    assert history["elbo"][-1] > history["elbo"][0] + gain
    assert set(history) - {"held_out_elbo"} == {"step", "elbo", "log_likelihood", "kl"}
    if novelty:
        assert history["held_out_elbo"][-1] > history["held_out_elbo"][0] + gain
    else:
        assert "held_out_elbo" not in history


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_scores_as_the_processor_does(train, table, kind):
    fitted = tiny(**KINDS[kind], device="cuda").fit(train)
    here = pickle.loads(pickle.dumps(fitted))
    assert here.device_.type == "cpu"
    assert_allclose(here.score_samples(table), fitted.score_samples(table), rtol=1e-4)
    alone = np.concatenate([fitted.score_samples(table.iloc[[row]]) for row in range(len(table))])
    assert_allclose(alone, fitted.score_samples(table), rtol=1e-9)
    with ThreadPoolExecutor(8) as pool:
        for scores in pool.map(lambda _: fitted.score_samples(table), range(8)):
            assert_allclose(scores, fitted.score_samples(table), rtol=1e-9)


# How sure, and where the line is


def test_p_values_are_prepared_once_for_each_model_and_rule(X, monkeypatch):
    prepared = []
    monkeypatch.setattr(
        detector_module, "calibrate", lambda *scores, **rule: prepared.append(rule) or calibrate(*scores, **rule)
    )
    fitted = tiny().fit(X)
    found = [fitted.detect(X)["p_value"] for _ in range(3)]
    assert len(prepared) == 1
    changes = (
        lambda: fitted.set_params(contamination=0.2),
        lambda: fitted.partial_fit(X + 1),
        lambda: fitted.fit(X[:40]),
        lambda: fitted.set_params(novelty=True),
    )
    for change in changes:
        change()
        found.append(fitted.detect(X)["p_value"])
        assert_array_equal(found[-1], pickle.loads(pickle.dumps(fitted)).p_values(X))
        assert not np.array_equal(found[-1], found[-2])
    assert not np.array_equal(fitted.p_values(X, extrapolate=True), found[-1])


def test_p_values_of_rows_that_training_never_saw_are_uniform():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3)) @ rng.normal(size=(3, 6))
    fitted = tiny(novelty=True, calibration="split").fit(x[:1000])
    p_values = fitted.p_values(x[1000:])
    assert [np.mean(p_values <= level) for level in (0.05, 0.2, 0.5)] == pytest.approx([0.05, 0.2, 0.5], abs=0.06)


def test_split_holds_a_fifth_of_the_rows_back_from_everything(X):
    x = np.random.default_rng(1).normal(size=(200, 3))
    fitted = tiny(calibration="split").fit(x)
    assert fitted.n_samples_fit_ == 160
    reference = fitted.model_.reference
    assert len(reference.scores) == 40
    assert_allclose(
        reference.scores, fitted.score_samples(held_out := fitted.model_.decode(reference.cells)), rtol=1e-9
    )
    assert {tuple(row.round(9)) for row in held_out} <= {tuple(row.round(9)) for row in x}
    again = tiny(calibration="split").fit(np.where(np.isin(x.round(9), held_out.round(9)), 7.0, x))
    assert again.schema_.to_json() == fitted.schema_.to_json()  # other held-out rows, the same training


def test_cross_scores_every_row_under_a_model_that_did_not_see_it():
    x = np.random.default_rng(2).normal(size=(60, 4))
    plain, crossed = (tiny(variational=False, calibration=how).fit(x) for how in ("leave_one_out", "cross"))
    assert_array_equal(plain.score_samples(x), crossed.score_samples(x))  # the model is the whole table's
    own, unseen = plain.model_.reference.scores, crossed.model_.reference.scores
    assert_array_equal(own, plain.score_samples(x))
    assert len(unseen) == 60
    assert unseen.mean() < own.mean()  # a plain autoencoder knows the rows that it was trained on


@pytest.mark.parametrize("how", ["split", "cross"])
def test_too_few_rows_cannot_be_divided(how):
    with pytest.raises(DataError, match="9 rows.*leave_one_out"):
        tiny(calibration=how).fit(np.random.default_rng(0).normal(size=(9, 2)))


@pytest.mark.parametrize("how", ["split", "cross"])
def test_a_calibrated_detector_is_the_same_again_and_in_a_file(tmp_path, train, table, how):
    train, table = (rows[["size", "note"]] for rows in (train, table))
    fitted, again = (tiny(novelty=True, calibration=how, max_iter=5).fit(train) for _ in range(2))
    assert_array_equal(fitted.p_values(table), again.p_values(table))
    fitted.save(tmp_path / "model.vae")
    assert_array_equal(load(tmp_path / "model.vae").p_values(table), fitted.p_values(table))


def test_detect_flags_by_what_was_asked(detectors, table):
    fitted = detectors["novelty"]
    scores, p_values = fitted.anomaly_score(table), fitted.p_values(table)
    plain = fitted.detect(table)
    assert list(plain.columns) == ["anomaly_score", "p_value", "severity", "is_anomaly"]
    assert_array_equal(plain["anomaly_score"], scores)
    assert_array_equal(plain["p_value"], p_values)
    assert_array_equal(plain["is_anomaly"], fitted.predict(table) == -1)
    assert_array_equal(np.flatnonzero(fitted.detect(table, alerts=3)["is_anomaly"]), np.sort(np.argsort(-scores)[:3]))
    assert_array_equal(fitted.detect(table, false_alarm_rate=0.2)["is_anomaly"], p_values <= 0.2)
    assert_array_equal(fitted.detect(table, fdr=0.3)["is_anomaly"], false_discovery_control(p_values) <= 0.3)


def test_contamination_of_the_reference_is_that_of_the_detector_unless_given(detectors, table):
    clean, dirty = detectors["novelty"], detectors["elbo"]
    assert_array_equal(clean.p_values(table), clean.p_values(table, contamination=0))
    assert_array_equal(dirty.p_values(table), dirty.p_values(table, contamination="auto"))
    assert (clean.p_values(table, contamination=0.2) < clean.p_values(table)).any()
    odd = table.tail(1).assign(size=1e9)
    least = 1 / (len(clean.model_.reference.scores) + 1)
    assert clean.p_values(odd, extrapolate=True)[0] < least <= clean.p_values(odd)[0]
    with pytest.raises(ValueError, match="contamination must be"):
        clean.p_values(table, contamination=0.7)


def test_a_suggested_change_makes_the_row_normal_when_it_is_carried_out():
    mix = [[1.0, 2.0, 0.0, 1.0, 0.5, 1.0], [0.0, 1.0, 1.0, -1.0, 1.0, 1.0]]
    x = np.random.default_rng(0).normal(size=(540, 2)) @ mix
    table = pd.DataFrame(x, columns=list("abcdef")).assign(whole=np.rint(10 * x[:, 0]).astype(int))
    fitted = VAEDetector(novelty=True, random_state=0).fit(table[:500])
    wrong = table[500:].assign(b=lambda rows: rows["b"] + np.where(rows["b"] > 0, -6.0, 6.0))
    changes = fitted.suggest(wrong)
    assert set(changes["row"]) == set(wrong.index[fitted.predict(wrong) == -1])
    assert (changes.groupby("row")["column"].agg(list).map(lambda names: names == ["b"])).mean() > 0.8
    assert changes["is_normal"].mean() > 0.6  # the columns have two directions: small differences are anomalous
    mended = wrong.copy()
    for change in changes.itertuples():
        assert change.value == wrong.at[change.row, change.column]
        mended.loc[change.row, change.column] = change.suggestion
    normal = changes.groupby("row")["is_normal"].first()
    assert_array_equal(fitted.predict(mended.loc[normal.index]) == 1, normal)
    assert_allclose(changes["new_score"], fitted.anomaly_score(mended.loc[changes["row"]]), rtol=1e-6)
    assert_allclose(changes["anomaly_score"], fitted.anomaly_score(wrong.loc[changes["row"]]), rtol=1e-9)


def test_suggestions_are_made_for_every_kind_of_model_and_column(detector, table):
    changes = detector.suggest(table, max_changes=2)
    assert (changes.groupby("row").size() <= 2).all()
    assert set(changes["row"]) <= set(table.index[detector.predict(table) == -1])
    assert (changes["new_score"] < changes["anomaly_score"]).all()
    with pytest.raises(ValueError, match="max_changes must be"):
        detector.suggest(table, max_changes=0)


def test_a_column_that_a_fold_would_have_no_value_of_is_an_error_that_says_what_helps():
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[1:, 1] = np.nan
    with pytest.raises(DataError, match="leave_one_out"):
        tiny(calibration="cross").fit(x)


def test_a_wide_table_has_latents_for_all_directions_in_which_neighbours_differ(rng):
    """Rows near 80 points in 64 columns; an anomaly mixes two of them. 32 latents, the most before, miss a third."""
    points = rng.normal(size=(80, 64))
    train, normal, one, other = (
        points[rng.integers(80, size=n)] + 0.3 * rng.normal(size=(n, 64)) for n in (600, 200, 100, 100)
    )
    mixed = np.where(rng.random((100, 64)) < 0.15, one, other)
    auroc = {}
    for n_components in (32, "auto"):
        fitted = VAEDetector(novelty=True, n_components=n_components, random_state=0).fit(train)
        scores = fitted.anomaly_score(np.concatenate([normal, mixed]))
        auroc[n_components] = roc_auc_score(np.arange(300) >= 200, scores)
    assert auroc["auto"] > 0.9
    assert auroc["auto"] > auroc[32] + 0.04


@pytest.mark.parametrize("novelty", [False, True])
def test_a_table_of_identifiers_alone_is_scored_by_their_shapes(novelty):
    table = pd.DataFrame({"name": [f"Customer {i}" for i in range(10, 99)] + ["???"]})
    with pytest.warns(DataWarning, match="only the shape of the text is used"):
        detector = VAEDetector(novelty=novelty, random_state=0, max_iter=20).fit(table)
    scores = detector.anomaly_score(table)
    assert scores.argmax() == len(table) - 1
    assert np.ptp(scores[:-1]) < 1e-9
