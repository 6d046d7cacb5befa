"""Rows that are images: the same promises, through convolutions where codes are the purpose."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import InvalidParameterError

from vae_anomaly import VAEDetector, load
from vae_anomaly.errors import DataError, NoDensityError

SIDE = 16
SHAPE = (1, SIDE, SIDE)
FIVE_LAYERS = {"purpose": "representation", "image_shape": SHAPE, "hidden_layer_sizes": (4, 4, 4, 4, 4)}
KINDS = {
    "representation": {"purpose": "representation", "n_components": 4},
    "outlier detection": {"n_estimators": 2},
    "novelty detection": {"novelty": True, "max_iter": 400},
    "bernoulli": {"likelihood": "bernoulli", "novelty": True},
    "gaussian": {"purpose": "representation", "prior": "gaussian", "likelihood": "gaussian", "n_components": 4},
    "autoencoder": {"purpose": "representation", "variational": False, "n_components": 4},
}


def bars(n, seed, upright):
    """Images of one bright bar, two pixels wide, lying or upright, on a dark ground with some noise."""
    rng = np.random.default_rng(seed)
    images = 0.05 * rng.random((n, SIDE, SIDE))
    for image, place in zip(images, rng.integers(SIDE // 2, size=n), strict=True):
        (image.T if upright else image)[2 * place : 2 * place + 2] += 0.8
    return images.reshape(n, -1)


@pytest.fixture(scope="module")
def train():
    return bars(300, 0, upright=False)


@pytest.fixture(scope="module")
def model_of(train):
    """The model of a kind, fitted when it is first asked for."""

    @cache
    def fit(kind):
        chosen = {"image_shape": SHAPE, "random_state": 0, "max_iter": 150, "learning_rate": 5e-3}
        chosen |= {"hidden_layer_sizes": (8, 16), "n_estimators": 1}
        return VAEDetector(**{**chosen, **KINDS[kind]}).fit(train)

    return fit


@pytest.fixture(params=KINDS)
def model(request, model_of):
    return model_of(request.param)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "outlier detection"])  # which sees few of each bar
def test_images_of_another_kind_are_anomalous(model_of, kind):
    model = model_of(kind)
    new, odd = bars(60, 1, upright=False), bars(60, 2, upright=True)
    scores = model.anomaly_score(np.vstack([new, odd]))
    assert roc_auc_score(np.repeat([0, 1], 60), scores) > 0.95


def test_an_image_scores_alike_alone_and_on_every_call(model):
    images = bars(7, 3, upright=True)
    whole = model.score_samples(images)
    assert_allclose([model.score_samples(image[None])[0] for image in images], whole, rtol=1e-9)
    assert_array_equal(model.score_samples(images), whole)


def test_contributions_of_pixels_add_up(model):
    images = bars(5, 4, upright=True)
    assert_allclose(model.explain(images)["nats"].sum(axis=1), model.anomaly_score(images), rtol=1e-9)


def test_a_model_of_images_comes_back_from_its_file(model, train, tmp_path):
    model.save(tmp_path / "model.vae")
    again = load(tmp_path / "model.vae")
    images = bars(9, 5, upright=True)
    assert_array_equal(again.score_samples(images), model.score_samples(images))
    assert again.image_shape == list(SHAPE)
    again.set_params(max_iter=2).fit(train[:40])  # with the other parameters of the file


def test_reconstructions_are_better_than_the_mean_image(model_of, train):
    new = bars(50, 6, upright=False)
    made = model_of("representation").reconstruct(new)
    assert ((made >= 0) & (made <= 1)).all()
    assert np.square(made - new).mean() < 0.3 * np.square(train.mean(0) - new).mean()


def test_new_images_are_of_trainings_kind(model_of):
    drawn = model_of("representation").sample(200, random_state=0).reshape(-1, SIDE, SIDE)
    assert ((drawn >= 0) & (drawn <= 1)).all()
    lying, upright = drawn.mean(2).var(1), drawn.mean(1).var(1)
    assert (lying > upright).mean() > 0.95
    with pytest.raises(NoDensityError):
        model_of("autoencoder").sample(2)


def test_missing_pixels_are_filled_by_the_rest_of_the_image(model_of):
    whole = bars(60, 7, upright=False)
    gone = whole.copy()
    gone[:, ::3] = np.nan
    filled = model_of("representation").impute(gone)
    missing = np.isnan(gone)
    assert_array_equal(filled[~missing], gone[~missing])
    assert np.square(filled - whole)[missing].mean() < 0.35 * whole[missing].var()


def test_a_missing_pixel_adds_the_mean_of_its_column(model):
    image = bars(1, 8, upright=False)
    image[0, 10] = np.nan
    assert model.explain(image)["nats"]["x10"].item() == model.baseline_contributions_[10]
    assert model.explain(image)["surprise"]["x10"].item() == 0


@pytest.mark.parametrize("kind", ["novelty detection", "bernoulli"])
def test_values_of_any_range_are_images(model_of, train, kind):
    bright = model_of(kind).__class__(**model_of(kind).get_params()).fit(1000 * train - 7)
    images = bars(9, 12, upright=True)
    scores = model_of(kind).anomaly_score(images)
    assert_allclose(bright.anomaly_score(1000 * images - 7), scores, rtol=0.2)
    assert_allclose(bright.reconstruct(1000 * images - 7), 1000 * model_of(kind).reconstruct(images) - 7, atol=100)


def test_colour_frames_and_sides_that_are_not_alike():
    rng = np.random.default_rng(0)
    for shape, purpose, sizes in [
        ((3, 17, 19), "representation", (16, 32)),
        ((3, 5, 9), "representation", (64, 64)),
        ((1, 1, 45), "representation", (64, 64)),
        ((3, 5, 9), "detection", (64, 64)),
    ]:
        pixels = rng.random((40, np.prod(shape)))
        images = pd.DataFrame(pixels, columns=[f"p{place}" for place in range(pixels.shape[1])])
        model = VAEDetector(purpose=purpose, image_shape=shape, max_iter=3, random_state=0).fit(images)
        assert model.transform(images).shape == (40, 16)
        assert list(model.reconstruct(images).columns) == list(images.columns)
        assert model.hidden_layer_sizes_ == sizes


def test_latents_of_images_distinguish_classes(train):
    images = np.vstack([train, bars(300, 9, upright=True)])
    labels = np.repeat([0, 1], 300)
    features = VAEDetector(
        purpose="representation", image_shape=SHAPE, n_components=8, max_iter=150, learning_rate=5e-3, random_state=0
    )
    pipeline = make_pipeline(features, KNeighborsClassifier()).fit(images, labels)
    new = np.vstack([bars(50, 10, upright=False), bars(50, 11, upright=True)])
    assert pipeline.score(new, np.repeat([0, 1], 50)) > 0.9


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"image_shape": (8, 8)}, "three whole numbers"),
        ({"image_shape": (1, 8, 0)}, "three whole numbers"),
        ({"image_shape": (1, 8.0, 8)}, "three whole numbers"),
        (FIVE_LAYERS, "too small for 5 convolutions"),
        ({"likelihood": "bernoulli"}, "give the image_shape"),
    ],
)
def test_a_shape_that_is_none_is_refused(train, parameters, words):
    with pytest.raises(InvalidParameterError, match=words):
        VAEDetector(**parameters).fit(train)


def test_rows_that_are_not_of_the_shape_are_refused(train):
    with pytest.raises(DataError, match="256 columns; images of image_shape=\\(1, 7, 7\\) have 49 pixels"):
        VAEDetector(image_shape=(1, 7, 7)).fit(train)
