import numpy as np
import pytest

from vae_anomaly import config as planning
from vae_anomaly.config import choose_architecture, number_likelihood
from vae_anomaly.model.pca_init import UNITS
from vae_anomaly.training.trainer import FenceTrimming, FixedTrimming

SIZES = [1, 9, 10, 300, 1_000_000]


def make_plan(settings, n_rows, *, exemplars=True):
    return planning.make_plan(settings, n_rows, exemplars=exemplars)


@pytest.mark.parametrize("n_rows", SIZES)
def test_outlier_detection_trains_on_all_rows_and_leaves_the_oddest_of_each_batch_out(settings_of, n_rows):
    plan = make_plan(settings_of(), n_rows)
    assert plan.batch_size == min(n_rows, 256)
    assert plan.held_out == 0
    assert plan.trimming == FenceTrimming()


@pytest.mark.parametrize("n_rows, held_out", [(1, 0), (9, 0), (10, 0), (94, 0), (100, 10), (300, 30), (10**6, 10**5)])
def test_novelty_detection_trims_nothing_and_holds_rows_out_where_ten_can_be_spared(settings_of, n_rows, held_out):
    plan = make_plan(settings_of(novelty=True), n_rows)
    assert plan.held_out == held_out
    assert plan.trimming == FixedTrimming(0.0)
    assert plan.held_out < n_rows


@pytest.mark.parametrize("n_rows", SIZES)
@pytest.mark.parametrize(
    "novelty, exemplars, steps", [(False, True, 200), (False, False, 200), (True, True, 60), (True, False, 300)]
)
def test_an_anchor_that_is_a_density_already_is_trained_short(settings_of, n_rows, novelty, exemplars, steps):
    assert make_plan(settings_of(novelty=novelty), n_rows, exemplars=exemplars).max_iter == steps


@pytest.mark.parametrize("n_rows", SIZES)
def test_what_was_asked_for_is_taken_as_it_is(settings_of, n_rows):
    for novelty in (False, True):
        asked = settings_of(max_iter=7, batch_size=5, learning_rate=0.25, beta=3.0, novelty=novelty)
        plan = make_plan(asked, n_rows)
        assert (plan.max_iter, plan.batch_size) == (7, min(5, n_rows))
        assert (plan.learning_rate, plan.beta) == (0.25, 3.0)


@pytest.mark.parametrize("max_iter", [1, 7, 19, 20, 21, 39, 100, 2000])
def test_a_plan_reports_about_twenty_times(settings_of, max_iter):
    plan = make_plan(settings_of(max_iter=max_iter), 300)
    rounds = -(-max_iter // plan.interval)
    assert rounds == max_iter if max_iter <= 20 else 20 <= rounds < 40


def test_a_representation_trains_long_on_all_rows_and_stops_by_held_out_ones(settings_of):
    plan = make_plan(settings_of(purpose="representation", contamination=0.4), 300, exemplars=False)
    assert (plan.max_iter, plan.held_out, plan.trimming) == (1000, 30, FixedTrimming(0.0))
    for novelty in (False, True):
        design = choose_architecture(settings_of(purpose="representation", novelty=novelty), 300, 40)
        assert (design.prior, design.n_estimators, design.n_components, design.anchored) == ("gaussian", 1, 16, True)
        asked = settings_of(purpose="representation", novelty=novelty)
        assert number_likelihood(asked, np.zeros((3, 40))) == "gaussian"


@pytest.mark.parametrize("share, name", [(0.0, "bernoulli"), (0.1, "bernoulli"), (0.3, "gaussian")])
def test_pixels_are_black_or_white_unless_many_are_gray(settings_of, share, name):
    images = np.where(np.arange(100) < 100 * share, 0.5, np.arange(100) % 2)[None]
    shown = settings_of(purpose="representation", image_shape=(1, 16, 16))
    assert number_likelihood(shown, images) == name
    assert number_likelihood(settings_of(image_shape=(1, 10, 10), novelty=True), images) == "gaussian"
    assert number_likelihood(settings_of(image_shape=(1, 10, 10)), images) == "student_t"


def test_codes_rest_on_rows_where_the_columns_are_of_one_measure(settings_of):
    codes = settings_of(purpose="representation")
    assert choose_architecture(codes, 300, 40, one_measure=True).prior == "exemplar"
    assert choose_architecture(codes, 9, 40, one_measure=True).prior == "gaussian"
    for one_measure in (False, True):
        assert choose_architecture(settings_of(), 300, 40, one_measure=one_measure).prior == "exemplar"


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
def test_noise_is_common_where_the_measure_is_and_codes_are_the_purpose(settings_of, asked, exemplars, common):
    asked = settings_of(**{"purpose": "representation"} | asked)
    for one_measure in (False, True):
        plan = planning.make_plan(asked, 300, exemplars=exemplars, one_measure=one_measure)
        assert plan.common_noise is (common and one_measure)


@pytest.mark.parametrize(
    "sides, convolutional", [((16, 16), True), ((28, 28), True), ((15, 40), False), ((8, 8), False)]
)
def test_only_images_large_enough_are_convolved_and_only_for_codes(settings_of, sides, convolutional):
    shape = (1, *sides)
    codes = settings_of(purpose="representation", image_shape=shape)
    assert choose_architecture(codes, 300, 64).convolutional is convolutional
    assert choose_architecture(codes, 300, 64).anchored is not convolutional
    assert choose_architecture(codes, 300, 64).hidden_layer_sizes == ((16, 32) if convolutional else (64, 64))
    assert not choose_architecture(settings_of(image_shape=shape), 300, 64).convolutional


def test_the_kl_of_a_representation_is_warmed_up_and_that_of_a_detector_is_not(settings_of):
    plan = make_plan(settings_of(purpose="representation", beta=3.0, max_iter=100), 300)
    weights = [plan.beta_at(step) for step in range(100)]
    np.testing.assert_allclose(weights[:21], 3.0 * np.minimum(np.arange(1, 22) / 20, 1))
    assert set(weights[20:]) == {3.0}
    for novelty in (False, True):
        assert make_plan(settings_of(novelty=novelty, beta=3.0), 300).beta_at(0) == 3.0


def test_training_leaves_out_what_was_declared_odd(settings_of):
    assert make_plan(settings_of(contamination=0.4), 300).trimming == FixedTrimming(0.4)
    assert make_plan(settings_of(contamination=0.4, novelty=True), 300).trimming == FixedTrimming(0.0)


@pytest.mark.parametrize("n_rows, prior", [(1, "gaussian"), (9, "gaussian"), (10, "exemplar"), (10**6, "exemplar")])
def test_a_prior_of_rows_needs_ten_rows(settings_of, n_rows, prior):
    assert choose_architecture(settings_of(), n_rows, 5).prior == prior
    for asked in ("gaussian", "exemplar"):
        assert choose_architecture(settings_of(prior=asked), n_rows, 5).prior == asked


@pytest.mark.parametrize("n_features", [1, 2, 7, 8, 31, 33, 10_000])
def test_a_code_is_never_wider_than_what_the_encoder_sees(settings_of, n_features):
    for novelty, variational in [(False, True), (True, True), (False, False), (True, False)]:
        design = choose_architecture(settings_of(novelty=novelty, variational=variational), 300, n_features)
        assert 1 <= design.n_components <= n_features
        if not variational:
            assert design.n_components <= max(1, n_features // 2)  # an autoencoder has to compress
    assert choose_architecture(settings_of(n_components=50), 300, n_features).n_components == 50


def test_members_are_two_kinds_of_units_in_novelty_detection_and_as_many_as_asked_for(settings_of):
    """Where nothing is asked for, there is a member for each way to measure columns, and more than one in any case."""
    clean, dirty = (choose_architecture(settings_of(novelty=novelty), 300, 5).n_estimators for novelty in (True, False))
    assert clean == len(UNITS)
    assert dirty > 1
    for novelty in (False, True):
        assert choose_architecture(settings_of(n_estimators=5, novelty=novelty), 300, 5).n_estimators == 5


def test_a_plain_autoencoder_has_no_prior_whatever_its_name(settings_of):
    assert not choose_architecture(settings_of(variational=False, prior="exemplar"), 300, 5).exemplars
    assert choose_architecture(settings_of(prior="exemplar"), 300, 5).exemplars
    assert not choose_architecture(settings_of(prior="gaussian"), 300, 5).exemplars


def test_numbers_of_numpy_become_pythons_own(settings_of):
    settings = settings_of(n_estimators=np.int64(2), novelty=np.bool_(True), hidden_layer_sizes=np.array([4, 3]))
    design = choose_architecture(settings, 300, 5)
    assert type(design.n_estimators) is int
    assert all(type(width) is int for width in design.hidden_layer_sizes)
    assert type(settings.novelty) is bool
