"""Each check finds a fault made for it, is good without one, and measures what it documents."""

import re

import numpy as np
import pandas as pd
import pytest
from cases import product
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import genpareto
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from vae_anomaly import VAEDetector, load
from vae_anomaly.diagnose import checks
from vae_anomaly.diagnose.dependence import dependence, shuffled
from vae_anomaly.errors import DataWarning
from vae_anomaly.fit import summarise_latents
from vae_anomaly.scoring.calibration import CORE_SHAPE

KINDS = {
    "outlier": {},
    "novelty": {"novelty": True},
    "gaussian prior": {"novelty": True, "prior": "gaussian"},
    "representation": {"purpose": "representation", "max_iter": 40},
    "iwae": {"bound": "iwae"},
    "autoencoder": {"variational": False},
    "one member": {"n_estimators": 1},
}
KEYS = [
    "rows_per_column",
    "constant_columns",
    "identifiers",
    "training",
    "unlearned_group",
    "active_latents",
    "latent_nats",
    "independent_columns",
    "shuffled_columns",
    "seed_stability",
    "leading_column",
    "silent_columns",
    "flagged_rows",
    "p_values",
]


def correlated(rng, n=400, columns=5):
    return rng.normal(size=(n, 2)) @ rng.normal(size=(2, columns)) + 0.3 * rng.normal(size=(n, columns))


def diagnosed(X, *, quick=False, **parameters):
    return VAEDetector(**{"random_state": 0, **parameters}).fit(X).diagnose(quick=quick).set_index("check")


@pytest.fixture(scope="module")
def healthy():
    return diagnosed(correlated(np.random.default_rng(5)))


@pytest.fixture(scope="module")
def independent():
    return diagnosed(np.random.default_rng(6).normal(size=(400, 5)))


# Whole models


def test_a_healthy_model_is_good_throughout(healthy):
    assert healthy.index.tolist() == KEYS
    assert healthy["verdict"].unique().tolist() == ["good"], healthy.to_string()


def test_a_collapsed_posterior_is_found_and_named(rng):
    found = diagnosed(correlated(rng), beta=1000.0)
    assert found.verdict["active_latents"] == "bad"
    assert "posterior has collapsed" in found.message["active_latents"]
    assert "smaller beta" in found.message["active_latents"]
    assert found.value["active_latents"] == 0
    assert found.value["latent_nats"] < 0.1
    assert found.verdict["shuffled_columns"] == "bad"


def test_of_independent_columns_the_model_knows_nothing_beyond_the_margins(independent):
    assert independent.value["shuffled_columns"] == pytest.approx(0.5, abs=0.05)
    assert "nothing beyond the margins" in independent.message["shuffled_columns"]
    assert independent.value["independent_columns"] < 0
    for check in ("independent_columns", "shuffled_columns"):
        assert independent.verdict[check] == "look"  # there is nothing to know: it is no fault of the model
        assert "there may be nothing to learn" in independent.message[check]


def test_of_correlated_columns_it_knows_more_than_the_margins(healthy):
    assert healthy.value["independent_columns"] > 0.5
    assert healthy.value["shuffled_columns"] > 0.8


def test_training_that_diverges_is_found(rng):
    for learning_rate in (0.5, 1.0, 2.0):  # the rounds go down, or up from a depth: the weights kept are those before
        found = diagnosed(correlated(rng), novelty=True, learning_rate=learning_rate)
        assert found.verdict["training"] == "bad"
        assert "learning_rate" in found.message["training"]


def test_scores_worse_than_those_of_independent_columns_are_found(rng):
    found = diagnosed(correlated(rng), learning_rate=1.0)
    assert found.verdict["independent_columns"] == "bad"
    assert found.verdict["seed_stability"] == "bad"


def test_training_that_is_cut_short_is_found():
    digits = load_digits().images[:200].repeat(2, axis=1).repeat(2, axis=2).reshape(200, -1) / 16
    short = diagnosed(digits, purpose="representation", image_shape=(1, 16, 16), max_iter=100)
    assert (short.verdict["held_out_elbo"], "max_iter" in short.message["held_out_elbo"]) == ("look", True)


def test_a_shape_that_all_texts_have_is_no_constant_column(rng):
    frame = pd.DataFrame(correlated(rng, 100, 3), columns=["a", "b", "c"]).assign(unit=7.5)
    frame["number"] = [f"INV-{i:05}" for i in range(100)]
    with pytest.warns(DataWarning, match="only the shape of the text is used: 'number'"):
        found = diagnosed(frame, max_iter=5)
    assert "1 column ('unit')" in found.message["constant_columns"]


def test_a_constant_column_and_an_identifier_are_named(rng):
    frame = pd.DataFrame(correlated(rng, 100, 3), columns=["a", "b", "c"])
    frame["unit"], frame["sure"] = 7.5, True
    frame["ticket"] = pd.Categorical([f"T{i}" for i in range(100)])  # a category by its type: not left out
    frame["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(100) * 50, unit="h")
    found = diagnosed(frame, max_iter=5)
    assert found.verdict[["constant_columns", "identifiers"]].tolist() == ["look", "look"]
    assert "2 columns ('unit', 'sure')" in found.message["constant_columns"]
    assert "1 column ('ticket')" in found.message["identifiers"]
    assert found.value["identifiers"] == 1.0


def test_too_few_rows_for_the_columns_are_found(rng):
    shapes = ((9, 1), (20, 30), (60, 30))
    verdicts = [diagnosed(rng.normal(size=shape), max_iter=5).verdict["rows_per_column"] for shape in shapes]
    assert verdicts == ["bad", "bad", "look"]


def test_a_column_that_decides_alone_is_named(rng):
    frame = pd.DataFrame(correlated(rng, 600, 4), columns=["a", "b", "c", "d"])
    frame["spike"] = rng.normal(size=600)
    frame.loc[::15, "spike"] += rng.uniform(30, 60, 40)
    found = diagnosed(frame)
    assert found.verdict["leading_column"] == "look"
    assert "'spike'" in found.message["leading_column"]


def test_a_threshold_that_flags_too_many_is_found_unless_it_was_asked_for(rng):
    X = correlated(rng)
    detector = VAEDetector(random_state=0, max_iter=20).fit(X)
    detector.offset_ = float(np.quantile(detector.score_samples(X), 0.4))
    found = detector.diagnose().set_index("check")
    assert found.verdict["flagged_rows"] == "bad"
    assert "More than 5 % are flagged" in found.message["flagged_rows"]
    asked = diagnosed(X, contamination=0.4, max_iter=20)
    assert asked.value["flagged_rows"] == pytest.approx(0.4, abs=0.01)
    assert asked.verdict["flagged_rows"] == "good"


def small_group(rng, n=400, share=0.15):
    """Two shops; the rows of the smaller one lie elsewhere."""
    is_small = rng.random(n) < share
    shop = np.where(is_small, "small", "large")
    numbers = correlated(rng, n) + 4.0 * is_small[:, None] * np.array([1, -1, 1, -1, 1])
    return pd.DataFrame(numbers, columns=list("abcde")).assign(shop=shop, size=rng.choice(["S", "M", "L"], n))


def test_a_small_group_that_outlier_detection_leaves_out_of_training_is_named(rng):
    table = small_group(rng)
    found = diagnosed(table, quick=True)
    share = (table["shop"] == "small").mean()
    assert (found.verdict["unlearned_group"], found.value["unlearned_group"]) == ("look", pytest.approx(share))
    assert f"the {round(share * 400)} rows with shop 'small'" in found.message["unlearned_group"]
    as_flag = diagnosed(table.assign(shop=table["shop"] == "small"), quick=True)
    assert "rows with shop 'True'" in as_flag.message["unlearned_group"]
    assert diagnosed(table, novelty=True).verdict["unlearned_group"] == "good"
    assert diagnosed(table[table["shop"] == "large"]).verdict["unlearned_group"] == "good"


def test_a_group_counts_as_unlearned_if_it_is_neither_reconstructed_nor_scored_like_others(rng):
    codes = np.repeat([0.0, 1.0, 2.0, np.nan], [300, 60, 15, 25])
    scores = rng.normal(size=400)
    below = np.where(codes == 1, scores - 4, scores)

    def found(made, scores):
        return dict(checks.unlearned_levels(codes, made, scores))

    ((code, group),) = found(np.zeros(400), below).items()
    assert (code, group.evidence) == (1.0, "it reconstructs 0 % of them with this value")
    assert_array_equal(group.rows, codes == 1)
    assert group.loss == pytest.approx(np.median(below[codes != 1]) - np.median(below[codes == 1]))
    assert found(codes, below) == {}  # reconstructed
    assert found(np.zeros(400), scores) == {}  # scored like the others
    assert found(np.zeros(400), np.where(codes == 2, scores - 9, scores)) == {}  # too few rows
    by_frequency = scores + np.log(np.select([codes == 0, codes == 1], [0.75, 0.01], 1))
    assert len(found(np.zeros(400), by_frequency)) == 1
    rare = np.concatenate([np.zeros(960), np.ones(40)])
    cost = np.log(np.where(rare == 1, 0.04, 0.96))
    assert (
        dict(checks.unlearned_levels(rare, 0 * rare, 0.5 * rng.normal(size=1000) + cost)) == {}
    )  # what its frequency costs


def test_a_cluster_of_numbers_that_is_not_learned_is_named_by_its_place(rng):
    numbers = correlated(rng, 600).round(2)
    numbers[:60] = [9.0, -8.0, 0.0, 1.0, 0.0] + 0.3 * rng.normal(size=(60, 5))
    table = pd.DataFrame(numbers, columns=list("abcde"))
    found = diagnosed(table)
    assert (found.verdict["unlearned_group"], found.value["unlearned_group"]) == ("look", pytest.approx(0.1, abs=0.02))
    place = re.search(r" rows around (\w) (\S+) and (\w) (\S+):", found.message["unlearned_group"])
    assert {place[1]: float(place[2]), place[3]: float(place[4])} == pytest.approx({"a": 9.0, "b": -8.0}, abs=0.3)
    assert diagnosed(table, novelty=True).verdict["unlearned_group"] == "good"
    assert diagnosed(table[60:]).verdict["unlearned_group"] == "good"


def test_a_cluster_counts_as_unlearned_if_it_is_dense_reconstructed_elsewhere_and_scored_low(rng):
    rows = np.arange(300) < 40
    x, scores = rng.normal(size=(300, 3)), rng.normal(size=300)
    x[rows] = 6 + 0.2 * x[rows]
    below = scores - 4 * rows
    (group,) = checks.unlearned_clusters(x, np.zeros_like(x), below)
    assert_array_equal(group.rows, rows)
    assert group.loss == pytest.approx(np.median(below[~rows]) - np.median(below[rows]))
    assert list(checks.unlearned_clusters(x, x, below)) == []  # reconstructed
    assert list(checks.unlearned_clusters(x, np.zeros_like(x), scores)) == []  # scored like the others
    assert list(checks.unlearned_clusters(x[30:], np.zeros_like(x)[30:], below[30:])) == []  # too few rows
    assert list(checks.unlearned_clusters(x[:5], x[:5], below[:5])) == []


def test_quick_checks_are_the_first_of_all_checks(rng):
    detector = VAEDetector(random_state=0, max_iter=5).fit(small_group(rng))
    quick, whole = detector.diagnose(quick=True), detector.diagnose()
    pd.testing.assert_frame_equal(quick, whole[: len(quick)])
    assert quick["check"].tolist()[-1] == "unlearned_group"
    assert len(quick) < len(whole)


def test_one_member_does_not_show_what_other_seeds_give(rng):
    found = diagnosed(correlated(rng), n_estimators=1, max_iter=5)
    assert np.isnan(found.value["seed_stability"])
    assert (found.verdict["seed_stability"], "n_estimators" in found.message["seed_stability"]) == ("look", True)


@pytest.mark.parametrize(
    "kind, shape",
    product(
        KINDS,
        [(2, 3), (30, 1), (60, 4)],
        quick=[
            *((kind, (60, 4)) for kind in KINDS),
            *((kind, (2, 3)) for kind in ("outlier", "novelty", "autoencoder")),
            *((kind, (30, 1)) for kind in ("outlier", "representation")),
        ],
    ),
    ids=str,
)
def test_every_kind_of_model_and_table_is_diagnosed(rng, kind, shape):
    X = rng.normal(size=shape)
    X[1, 0] = np.nan
    found = VAEDetector(random_state=0, max_iter=5).set_params(**KINDS[kind]).fit(X).diagnose()
    assert list(found) == ["check", "value", "verdict", "message"]
    assert set(found["verdict"]) <= {"good", "look", "bad"}
    assert set(found["check"]) <= {*KEYS, "held_out_elbo"}
    assert found["check"].is_unique
    assert found["message"].str.endswith(".").all()
    assert found["value"][~found["check"].isin(["seed_stability", "p_values"])].notna().all()


@pytest.mark.parametrize("parameters", [{}, {"novelty": True}, {"purpose": "representation"}], ids=str)
def test_images_are_diagnosed_as_images(rng, parameters):
    X = rng.random((40, 36)) * np.r_[np.ones(30), np.zeros(6)]
    found = diagnosed(X, image_shape=(1, 6, 6), max_iter=10, **parameters)
    assert "constant_columns" not in found.index
    assert "pixels" in found.message["rows_per_column"]


def test_the_diagnosis_of_a_loaded_model_is_the_same(rng, tmp_path):
    detector = VAEDetector(random_state=0, max_iter=20).fit(correlated(rng))
    detector.save(tmp_path / "model.vae")
    loaded = load(tmp_path / "model.vae", device="cpu")
    pd.testing.assert_frame_equal(loaded.diagnose(), detector.diagnose())
    pd.testing.assert_frame_equal(detector.diagnose(), detector.diagnose())


# Arrays


def test_the_fraction_of_pairs_is_the_area_under_the_curve(rng):
    scores, other = rng.normal(1, 1, 80).round(1), rng.normal(size=60).round(1)
    found = checks.shuffled_columns(scores, other, 1.0, remedy="more")
    assert_allclose(found.value, roc_auc_score(np.repeat([1, 0], [80, 60]), np.r_[scores, other]))


@pytest.mark.parametrize("gain, verdict", [(0.1, "good"), (-0.1, "look"), (-2.9, "look"), (-3.1, "bad")])
def test_the_gain_over_independent_columns_is_a_mean_in_nats(rng, gain, verdict):
    margins = rng.normal(size=50)
    found = checks.independent_columns(margins + gain + np.repeat([1, -1], 25), margins, 1.0, 3, remedy="more")
    assert_allclose(found.value, gain)
    assert found.verdict == verdict


def test_agreement_is_the_fraction_of_the_most_anomalous_rows_in_common():
    ranks = np.arange(100.0)
    half = np.r_[ranks[:5], 0.5, 1.5, ranks[7:]]  # of the five lowest of the first, 0, 1 and 2 are left
    found = checks.seed_stability(np.stack([ranks, half]))
    assert_allclose(found.value, 3 / 5)
    alike, unlike = checks.seed_stability(np.stack([ranks] * 3)), checks.seed_stability(np.stack([ranks, -ranks]))
    assert (alike.value, alike.verdict) == (1.0, "good")
    assert (unlike.value, unlike.verdict) == (0.0, "bad")


def test_a_column_is_silent_if_it_never_leads_in_a_long_table():
    surprise = np.tile([[1.0, 0.0, 0.5, 0.2], [0.0, -1.0, 0.5, 0.4]], (60, 1))
    found = checks.silent_columns(["a", "b", "c", "d"], surprise)
    assert (found.value, found.verdict) == (2, "look")
    assert "('b', 'd')" in found.message
    assert checks.silent_columns(["a", "b", "c", "d"], surprise[:70]).value == 0  # 17.5 rows a column are too few


@pytest.mark.parametrize(
    "elbo, completed, intended, verdict",
    [
        ([-9, -7, -6, -5], True, False, "look"),
        ([-9, -7, -6, -5], False, False, "good"),  # stopped by patience or by a callback
        ([-9, -7, -6, -5], True, True, "good"),
        ([-9, -5, -4.9, -4.8], True, False, "good"),
        ([-9, -7, -5, -6], True, False, "good"),  # the best was before the end
        ([-9, -10, -12, -15], False, False, "look"),  # it was worse from the first step on
        ([-9], True, False, "good"),
    ],
)
def test_training_was_cut_short_if_its_second_half_still_gained(elbo, completed, intended, verdict):
    assert checks.held_out_elbo(np.array(elbo, float), completed=completed, intended=intended).verdict == verdict


@pytest.mark.parametrize(
    "objective, verdict",
    [([-20, -10, -9, -9.5], "good"), ([-20, -10, -9, -16], "bad"), ([-3.0, -3.9], "good"), ([-5, -500, -9e6], "bad")],
)
def test_training_diverged_if_it_lost_most_of_its_way(objective, verdict):
    found = checks.training(np.array(objective, float), objective[-1], objective[-1], 2)
    assert found.verdict == verdict
    assert_allclose(found.value, max(objective) - objective[-1])


@pytest.mark.parametrize("last, verdict", [(-9.0, "good"), (-21.0, "good"), (-23.0, "bad")])
def test_training_diverged_if_its_end_is_far_below_the_weights_that_were_kept(last, verdict):
    found = checks.training(np.array([-1e9, last]), last, -2.0, 2)
    assert found.verdict == verdict
    assert_allclose(found.value, 0.0 if verdict == "good" else -2 - last)


@pytest.mark.parametrize("contamination", [0.0, "auto"])
def test_the_fraction_of_normal_rows_with_a_small_p_value_is_measured_on_rows_that_did_not_set_it(rng, contamination):
    scores = [-genpareto.rvs(CORE_SHAPE, size=300, random_state=rng) for _ in range(30)]
    found = [checks.p_values(some, contamination, rng, in_sample=False) for some in scores]
    assert np.mean([each.value for each in found]) == pytest.approx(0.05, abs=0.015)
    assert {each.verdict for each in found} == {"good"}


def test_p_values_that_are_too_small_too_often_are_found(rng):
    scores = np.r_[rng.normal(0, 0.1, 700), rng.normal(-3, 0.1, 300)]
    assert checks.p_values(scores, "auto", rng, in_sample=False).verdict == "good"
    found = checks.p_values(scores, 0.5, rng, in_sample=False)  # 0.3 of the rows are anomalous
    assert found.value > 0.1
    assert (found.verdict, "contamination" in found.message) == ("look", True)


def test_p_values_from_rows_that_training_saw_are_to_be_looked_at(rng):
    found = diagnosed(correlated(rng), novelty=True, prior="gaussian", max_iter=20)
    assert (found.verdict["p_values"], "calibration" in found.message["p_values"]) == ("look", True)
    for calibration in ("split", "cross"):
        unseen = diagnosed(correlated(rng), novelty=True, prior="gaussian", max_iter=20, calibration=calibration)
        assert unseen.verdict["p_values"] == "good"
    assert "too few" in diagnosed(rng.normal(size=(30, 3))).message["p_values"]


def test_members_that_collapsed_next_to_an_active_one_are_counted(rng):
    alive = summarise_latents(rng.normal(size=(50, 3)), np.full((50, 3), 0.1), standard=True)
    dead = summarise_latents(1e-3 * rng.normal(size=(50, 3)), np.ones((50, 3)), standard=True)
    mixed, gone = checks.active_latents([dead, alive], 2.0), checks.active_latents([dead, dead], 2.0)
    assert (mixed.value, mixed.verdict) == (3, "good")
    assert "1 of 2 members" in mixed.message
    assert (gone.value, gone.verdict) == (0, "bad")
    assert checks.active_latents([dead], 0.1).verdict == "look"  # there is nothing to learn


# Information that columns share


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_dependence_of_normal_columns_is_their_mutual_information(rng, correlation):
    covariance = [[1, correlation, 0], [correlation, 1, 0], [0, 0, 1]]
    x = rng.multivariate_normal(np.zeros(3), covariance, 20_000)
    expected = -0.5 * np.log(1 - correlation**2)
    assert_allclose(dependence(np.exp(x), rng), expected, rtol=0.1)  # whatever the margins


def test_independent_columns_do_not_depend_on_one_another(rng):
    found = [dependence(rng.normal(size=(60, 12)), rng) for _ in range(20)]
    assert np.mean(found) < 0.3  # without the correction for chance it would be 0.6
    assert dependence(rng.normal(size=(2, 5)), rng) < 1
    assert dependence(np.ones((9, 3)), rng) == 0


def test_shuffling_keeps_each_column_and_the_cells_of_one_column_together(rng):
    x = np.column_stack([np.arange(200), np.arange(200) + 0.5, np.arange(200)])
    mixed = shuffled(x, [0, 0, 1], rng)
    assert_allclose(np.sort(mixed, 0), x)
    assert_allclose(mixed[:, 1] - mixed[:, 0], 0.5)
    assert abs(np.corrcoef(mixed[:, 0], mixed[:, 2])[0, 1]) < 0.2
