from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.speed.products import products_of, products_seconds
from vae_anomaly import VAEDetector


@pytest.fixture(scope="module")
def scorer():
    X = np.random.default_rng(0).normal(size=(60, 5))
    shape = {"n_components": 3, "hidden_layer_sizes": (7, 6), "n_estimators": 2, "n_draws": 4}
    return VAEDetector(**shape, max_iter=2, random_state=0).fit(X).model_.scorer


def test_every_layer_is_multiplied_once_for_each_row_or_draw(scorer):
    encoder = 5 * 7 + 7 * 6 + 6 * (2 * 3) + 5 * (2 * 3)
    decoder = 3 * 6 + 6 * 7 + 7 * 5 + 3 * 5
    multiplications = sum(a.shape[0] * a.shape[1] * a.shape[2] * b.shape[2] for a, b in products_of(scorer, 1))
    second = encoder + decoder  # as many latents, because there are 20 rows to each
    assert multiplications == 2 * (encoder + 4 * decoder) + 2 * second


def test_the_products_are_those_that_scoring_makes(scorer, monkeypatch):
    """Shapes of all products of the networks in one chunk; the prior's product is left out."""
    made, multiply = [], torch.baddbmm

    def watched(bias, a, b):
        made.append((tuple(a.shape), tuple(b.shape)))
        return multiply(bias, a, b)

    monkeypatch.setattr(torch, "baddbmm", watched)
    x = np.random.default_rng(1).normal(size=(9, 5))
    replace(scorer, leave_one_out=False).score(x)
    products = products_of(scorer, len(scorer.filled(x)))  # a batch is filled up with repeats
    of_networks = [shapes for shapes in made if len(scorer.exemplars.counts) not in (shapes[1][2], shapes[0][1])]
    assert sorted(of_networks) == sorted((tuple(a.shape), tuple(b.shape)) for a, b in products)
    assert {a.dtype for a, _ in products_of(scorer, 1)} == {scorer.dtype}


def test_more_rows_take_longer(scorer):
    few, many = (products_seconds(scorer, rows, workers=1) for rows in (512, 50 * 512))
    assert 5 * few < many < 500 * few


def test_images_have_no_plain_products():
    X = np.random.default_rng(0).random((40, 256))
    detector = VAEDetector(purpose="representation", image_shape=(1, 16, 16), max_iter=2, random_state=0).fit(X)
    with pytest.raises(TypeError, match="plain layers"):
        products_of(detector.model_.scorer, 1)
