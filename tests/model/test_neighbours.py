"""The nearest exemplars by tree and by products, against all distances."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from vae_anomaly.model import nearest as neighbours
from vae_anomaly.model.nearest import TREE_LATENTS, MemberSearch


def check(z, points, count, rtol=1e-9):
    found = MemberSearch(torch.tensor(points)).nearest(torch.tensor(z), count)
    assert found.shape == (*z.shape[:2], count)
    for member in range(len(z)):
        distances = np.linalg.norm(z[member][:, None] - points[member], axis=-1)
        indices = found[member].numpy()
        assert (np.diff(np.sort(indices, 1), axis=1) > 0).all(), "each once"
        near = np.sort(np.take_along_axis(distances, indices, 1), 1)
        assert_allclose(near, np.sort(distances, 1)[:, :count], rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("latents", [1, 3, TREE_LATENTS, TREE_LATENTS + 1, 20])
@pytest.mark.parametrize("most_latents", [0, 100], ids=["products", "tree"])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_the_nearest_are_those_of_all_distances(rng, monkeypatch, latents, most_latents, count):
    monkeypatch.setattr(neighbours, "TREE_LATENTS", most_latents)
    points, z = rng.standard_normal((2, 60, latents)), 2 * rng.standard_normal((2, 30, latents))
    check(z, points, count)


@pytest.mark.parametrize("latents", [2, 12])
@pytest.mark.parametrize("most_latents", [0, 100], ids=["products", "tree"])
def test_points_far_from_zero_and_rows_far_from_the_points_have_the_same_neighbours(
    rng, monkeypatch, latents, most_latents
):
    monkeypatch.setattr(neighbours, "TREE_LATENTS", most_latents)
    points, z = rng.standard_normal((2, 60, latents)), 2 * rng.standard_normal((2, 30, latents))
    check(z + 1e6, points + 1e6, 5)
    check(1e4 * z, points, 5)


@pytest.mark.parametrize("most_latents", [0, 100], ids=["products", "tree"])
def test_a_far_exemplar_does_not_blur_the_near_ones(rng, monkeypatch, most_latents):
    monkeypatch.setattr(neighbours, "TREE_LATENTS", most_latents)
    points, z = rng.standard_normal((1, 60, 3)), rng.standard_normal((1, 30, 3))
    points[0, 7] = 1e4
    check(z, points, 5, rtol=1e-6)


@pytest.mark.parametrize("most_latents", [0, 100], ids=["products", "tree"])
def test_a_row_has_its_neighbours_in_whatever_batch(rng, monkeypatch, most_latents):
    monkeypatch.setattr(neighbours, "TREE_LATENTS", most_latents)
    points, z = torch.tensor(rng.standard_normal((2, 60, 3))), torch.tensor(rng.standard_normal((2, 30, 3)))
    search = MemberSearch(points)
    whole = search.nearest(z, 7).sort().values
    alone = torch.cat([search.nearest(z[:, [row]], 7) for row in range(30)], 1).sort().values
    assert torch.equal(alone, whole)
    monkeypatch.setattr(neighbours, "PAIRS_AT_ONCE", 60 * 4)  # four rows at a time
    assert torch.equal(search.nearest(z, 7).sort().values, whole)


@pytest.mark.parametrize("most_latents", [0, 100], ids=["products", "tree"])
def test_single_precision_is_searched_as_well(rng, monkeypatch, most_latents):
    monkeypatch.setattr(neighbours, "TREE_LATENTS", most_latents)
    points, z = (rng.standard_normal((2, n, 3)).astype(np.float32) for n in (60, 30))
    check(z, points, 5, rtol=1e-4)
