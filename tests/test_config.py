"""What "auto" resolves to: rules and recipes, not every number of the table."""

import numpy as np
import pytest

from vae_anomaly import config
from vae_anomaly.config import RECIPES, choose_architecture
from vae_anomaly.data.columns import CodeCell, NumberCell
from vae_anomaly.model.pca_init import UNITS
from vae_anomaly.training.trainer import FenceTrimming, FixedTrimming

PURPOSES = {
    "outlier": {},
    "novelty": {"novelty": True},
    "representation": {"purpose": "representation"},
    "images": {"purpose": "representation", "image_shape": (1, 16, 16)},
}


def make_plan(settings, n_rows, *, exemplars=True, **facts):
    return config.make_plan(settings, n_rows, exemplars=exemplars, **facts)


def architecture_of(settings, n_rows, n_features, **facts):
    cells = [NumberCell(column) for column in range(n_features)]
    return choose_architecture(settings, np.broadcast_to(0.5, (n_rows, n_features)), cells, **facts)


@pytest.mark.parametrize("recipe, asked", PURPOSES.items())
def test_each_purpose_has_its_recipe(settings_of, recipe, asked):
    assert settings_of(**asked).recipe is RECIPES[recipe]
    plan, architecture = make_plan(settings_of(**asked), 300), architecture_of(settings_of(**asked), 300, 256)
    assert plan.batch_size == RECIPES[recipe].batch_size
    assert plan.max_iter == RECIPES[recipe].max_iter
    assert architecture.n_components == RECIPES[recipe].n_components
    assert architecture.hidden_layer_sizes == RECIPES[recipe].hidden_layer_sizes
    assert (architecture.pca_init, architecture.convolutional) == (
        RECIPES[recipe].pca_init,
        RECIPES[recipe].convolutional,
    )


def test_a_representation_is_the_same_in_novelty_detection(settings_of):
    assert settings_of(purpose="representation", novelty=True).recipe is RECIPES["representation"]


@pytest.mark.parametrize(
    "recipe, exemplars, n_rows, steps",
    [
        ("outlier", True, 300, 200),
        ("outlier", False, 300, 200),
        ("novelty", True, 300, 60),
        ("novelty", False, 300, 300),  # without exemplars the start is not the density of the table
        ("representation", False, 10**6, 1000),
        ("images", True, 300, 1000),
        ("images", True, 12_800, 3000),  # 30 epochs
        ("images", True, 10**6, 5000),
    ],
)
def test_steps_follow_the_recipe_the_prior_and_for_images_the_rows(settings_of, recipe, exemplars, n_rows, steps):
    assert make_plan(settings_of(**PURPOSES[recipe]), n_rows, exemplars=exemplars).max_iter == steps


@pytest.mark.parametrize("n_rows", [1, 9, 10, 300, 1_000_000])
def test_what_was_asked_for_is_taken_as_it_is(settings_of, n_rows):
    for asked in PURPOSES.values():
        settings = settings_of(max_iter=7, batch_size=5, learning_rate=0.25, beta=3.0, **asked)
        plan = make_plan(settings, n_rows)
        assert (plan.max_iter, plan.batch_size) == (7, min(5, n_rows))
        assert (plan.learning_rate, plan.beta) == (0.25, 3.0)
        architecture = architecture_of(
            settings_of(n_components=50, n_estimators=5, likelihood="gaussian", **asked), n_rows, 2
        )
        assert (architecture.n_components, architecture.n_estimators, architecture.number_likelihood) == (
            50,
            5,
            "gaussian",
        )


@pytest.mark.parametrize("max_iter", [1, 7, 19, 20, 21, 39, 100, 2000])
def test_a_plan_reports_about_twenty_times(settings_of, max_iter):
    plan = make_plan(settings_of(max_iter=max_iter), 300)
    rounds = -(-max_iter // plan.interval)
    assert rounds == max_iter if max_iter <= 20 else 20 <= rounds < 40


@pytest.mark.parametrize("n_rows, held_out", [(1, 0), (94, 0), (100, 10), (300, 30), (10**6, 10**5)])
def test_rows_are_held_out_where_ten_can_be_spared_except_in_outlier_detection(settings_of, n_rows, held_out):
    found = {name: make_plan(settings_of(**asked), n_rows).held_out for name, asked in PURPOSES.items()}
    assert found == {"outlier": 0, "novelty": held_out, "representation": held_out, "images": held_out}


def test_only_outlier_detection_trims_and_by_the_contamination_that_was_declared(settings_of):
    for name, asked in PURPOSES.items():
        outlier = name == "outlier"
        assert make_plan(settings_of(**asked), 300).trimming == (FenceTrimming() if outlier else FixedTrimming(0.0))
        declared = make_plan(settings_of(contamination=0.4, **asked), 300).trimming
        assert declared == FixedTrimming(0.4 if outlier else 0.0)


def test_the_kl_of_a_representation_is_warmed_up_and_that_of_a_detector_is_not(settings_of):
    plan = make_plan(settings_of(purpose="representation", beta=3.0, max_iter=100), 300)
    weights = [plan.beta_at(step) for step in range(100)]
    np.testing.assert_allclose(weights[:21], 3.0 * np.minimum(np.arange(1, 22) / 20, 1))
    assert set(weights[20:]) == {3.0}
    for novelty in (False, True):
        assert make_plan(settings_of(novelty=novelty, beta=3.0), 300).beta_at(0) == 3.0


@pytest.mark.parametrize(
    "asked, exemplars, common",
    [
        ({}, True, True),
        ({}, False, False),
        ({"image_shape": (1, 8, 5)}, False, True),
        ({"likelihood": "gaussian"}, True, True),
        ({"likelihood": "student_t"}, True, False),
        ({"purpose": "detection"}, True, False),
        ({"purpose": "detection", "novelty": True, "image_shape": (1, 8, 5)}, True, False),
    ],
    ids=str,
)
def test_noise_is_common_where_the_measure_is_and_latents_are_the_purpose(settings_of, asked, exemplars, common):
    asked = settings_of(**{"purpose": "representation"} | asked)
    for one_measure in (False, True):
        plan = make_plan(asked, 300, exemplars=exemplars, one_measure=one_measure)
        assert plan.common_noise is (common and one_measure)


def test_a_prior_on_rows_needs_ten_rows_and_for_a_representation_one_measure(settings_of):
    for n_rows, prior in [(1, "gaussian"), (9, "gaussian"), (10, "exemplar"), (300, "exemplar")]:
        assert architecture_of(settings_of(), n_rows, 5).prior == prior
        assert architecture_of(settings_of(purpose="representation"), n_rows, 5, one_measure=True).prior == prior
        assert architecture_of(settings_of(purpose="representation"), n_rows, 5).prior == "gaussian"
        for asked in ("gaussian", "exemplar"):
            assert architecture_of(settings_of(prior=asked), n_rows, 5).prior == asked


@pytest.mark.parametrize(
    "sides, convolutional", [((16, 16), True), ((28, 28), True), ((15, 40), False), ((8, 8), False)]
)
def test_only_images_large_enough_are_convolved_and_only_for_latents(settings_of, sides, convolutional):
    shape = (1, *sides)
    assert (
        architecture_of(settings_of(purpose="representation", image_shape=shape), 30, 64).convolutional is convolutional
    )
    for novelty in (False, True):
        assert not architecture_of(settings_of(image_shape=shape, novelty=novelty), 30, 64).convolutional


@pytest.mark.parametrize("n_features", [1, 2, 7, 8, 31, 33, 10_000])
def test_there_are_never_more_latents_than_the_encoder_sees_features(settings_of, n_features):
    for novelty, variational in [(False, True), (True, True), (False, False), (True, False)]:
        architecture = architecture_of(settings_of(novelty=novelty, variational=variational), 300, n_features)
        assert 1 <= architecture.n_components <= n_features
        if not variational:
            assert architecture.n_components <= max(1, n_features // 2)  # an autoencoder has to compress


@pytest.mark.parametrize("asked", [{}, {"novelty": True}, {"purpose": "representation"}], ids=str)
def test_a_few_rows_of_very_many_columns_have_a_small_model(settings_of, asked):
    """A row of 100,000 columns took three minutes."""
    found = architecture_of(settings_of(**asked), 3, 2000)
    assert (found.n_components, found.hidden_layer_sizes) == (3, (6, 6))
    assert architecture_of(settings_of(**asked), 1, 2000).n_estimators == 1
    for n_rows, n_features in ((10, 2000), (3, 1000)):
        usual = architecture_of(settings_of(**asked), n_rows, n_features)
        assert usual.n_components >= 16
        assert usual.hidden_layer_sizes == (64, 64)
    wanted = architecture_of(settings_of(**asked, n_components=20, hidden_layer_sizes=[50], n_estimators=4), 1, 2000)
    assert (wanted.n_components, wanted.hidden_layer_sizes, wanted.n_estimators) == (20, (50,), 4)


def test_the_encoder_sees_a_feature_for_each_level_and_each_cell_that_can_be_missing(settings_of):
    cells = [NumberCell(0), CodeCell(1, 3, (0.0,) * 3)]
    x = np.zeros((300, 2))
    assert choose_architecture(settings_of(), x, cells).n_components == 4
    missing = choose_architecture(settings_of(), x, cells, missing=(0, 1))
    assert (missing.n_components, missing.missing_indicators) == (6, (0, 1))


def test_members_measure_columns_in_two_ways_in_novelty_detection_except_of_images(settings_of):
    assert architecture_of(settings_of(novelty=True), 300, 5).n_estimators == len(UNITS)
    assert architecture_of(settings_of(novelty=True, image_shape=(1, 1, 5)), 300, 5).n_estimators == 1
    assert architecture_of(settings_of(), 300, 5).n_estimators > 1
    assert architecture_of(settings_of(purpose="representation"), 300, 5).n_estimators == 1


def test_numbers_have_heavy_tails_where_training_rows_may_be_anomalous(settings_of):
    found = {
        name: architecture_of(settings_of(**asked), 300, 256).number_likelihood for name, asked in PURPOSES.items()
    }
    assert found == {
        "outlier": "student_t",
        "novelty": "gaussian",
        "representation": "gaussian",
        "images": "gaussian",  # these are gray
    }
    assert architecture_of(settings_of(variational=False), 300, 5).number_likelihood == "gaussian"


@pytest.mark.parametrize("gray, likelihood", [(0.15, "bernoulli"), (0.25, "gaussian")])
def test_images_that_are_nearly_black_and_white_are_bernoulli(settings_of, gray, likelihood):
    x = np.where(np.arange(2560).reshape(10, 256) % 100 < 100 * gray, 0.5, 1.0)
    cells = [NumberCell(column) for column in range(256)]
    assert choose_architecture(settings_of(**PURPOSES["images"]), x, cells).number_likelihood == likelihood


def test_a_plain_autoencoder_has_no_prior_whatever_its_name(settings_of):
    assert not architecture_of(settings_of(variational=False), 300, 5).exemplars
    assert architecture_of(settings_of(prior="exemplar"), 300, 5).exemplars
    assert not architecture_of(settings_of(prior="gaussian"), 300, 5).exemplars


def test_numbers_of_numpy_become_pythons_own(settings_of):
    settings = settings_of(n_estimators=np.int64(2), novelty=np.bool_(True), hidden_layer_sizes=np.array([4, 3]))
    architecture = architecture_of(settings, 300, 5)
    assert type(architecture.n_estimators) is int
    assert all(type(width) is int for width in architecture.hidden_layer_sizes)
    assert type(settings.novelty) is bool


def latents_of(settings, x):
    return choose_architecture(settings, x, [NumberCell(column) for column in range(x.shape[1])]).n_components


@pytest.mark.parametrize(
    "asked, wide, copies",
    [
        ({"novelty": True}, 63, 5),  # 64 directions of equal variance; 40 columns with five directions
        ({"novelty": True, "prior": "gaussian"}, 32, 32),  # its KL switches off what it does not use
        ({"novelty": True, "n_components": 40}, 40, 40),
        ({}, 16, 16),
        ({"purpose": "representation", "prior": "exemplar"}, 16, 16),
    ],
)
def test_latents_of_novelty_detection_follow_the_variance_of_the_table(settings_of, rng, asked, wide, copies):
    directions = np.linalg.qr(rng.normal(size=(300, 64)))[0]
    assert abs(latents_of(settings_of(**asked), directions) - wide) <= 1
    assert latents_of(settings_of(**asked), np.repeat(directions[:, :5], 8, axis=1)) == copies


def test_a_category_gives_one_latent_less_than_it_has_codes(settings_of, rng):
    cells = [CodeCell(column, 6, (0.0,) * 6) for column in range(3)]
    x = rng.integers(6, size=(500, 3)).astype(float)
    assert choose_architecture(settings_of(novelty=True), x, cells).n_components == 15
