import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vae_anomaly.inference import exemplars
from vae_anomaly.inference.exemplars import Exemplars, choose_exemplars, row_keys

CPU = torch.device("cpu")
CELLS = st.sampled_from([0.0, -0.0, 1.0, -1.0, np.nan, 0.5, 2.0, 1e-3, 700.0])


@given(arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=CELLS))
def test_keys_are_equal_where_rows_are_and_only_there(x):
    keys = row_keys(x)
    assert keys.dtype == np.uint64
    for key, row in zip(keys, x, strict=True):
        for other_key, other in zip(keys, x, strict=True):
            assert (key == other_key) == np.array_equal(row, other, equal_nan=True)  # -0.0 equals 0.0


@given(arrays(np.float64, (3, 5), elements=st.floats(-30, 30)))
def test_the_last_bits_of_a_float64_do_not_count(x):
    """Two machines' logarithms may differ in them."""
    rounded = x.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(row_keys(rounded), row_keys(x))


def test_a_rows_key_is_its_own_whatever_the_batch(rng):
    x = rng.normal(size=(50, 4))
    alone = np.concatenate([row_keys(x[[row]]) for row in range(50)])
    np.testing.assert_array_equal(alone, row_keys(x))
    np.testing.assert_array_equal(row_keys(np.asfortranarray(x)), row_keys(x))


def test_every_kind_of_missing_is_one(rng):
    odd_nan = np.array([0x7FF8000000000001], np.uint64).view(np.float64)
    assert row_keys(np.array([[odd_nan[0]]])) == row_keys(np.array([[np.nan]])) == row_keys(np.array([[-np.nan]]))


def test_the_order_of_cells_counts():
    assert len(set(row_keys(np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 1.0], [1.0, 0.0]])).tolist())) == 4


def test_keys_do_not_collide_among_many_rows():
    grid = np.stack(np.meshgrid(np.arange(300.0), np.arange(300.0)), -1).reshape(-1, 2)
    assert len(np.unique(row_keys(grid))) == 90_000


def slow_key(row):
    """The key in Python's own whole numbers, cell by cell."""
    key = 0
    for cell in row:
        bits = 0x7FC00000 if np.isnan(cell) else struct.unpack("<I", struct.pack("<f", cell))[0]
        key = (key * 0x94D049BB133111EB + bits + 0x9E3779B97F4A7C15) % 2**64
        key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        key ^= key >> 27
    return key


def test_keys_are_the_same_on_every_machine_and_in_every_version(rng):
    """They stand in model files."""
    x = np.where(rng.random((20, 4)) < 0.2, np.nan, rng.normal(size=(20, 4)))
    assert row_keys(x).tolist() == [slow_key(row) for row in x]


def test_exemplars_are_the_distinct_rows_with_their_counts(rng):
    x = rng.permutation(np.repeat(rng.normal(size=(4, 3)), [1, 2, 3, 10], axis=0))
    chosen, keys, counts = choose_exemplars(x, rng)
    assert (np.diff(keys.astype(object)) > 0).all()
    np.testing.assert_array_equal(row_keys(x[chosen]), keys)
    assert sorted(counts) == [1, 2, 3, 10]
    for row, count in zip(chosen, counts, strict=True):
        assert (x == x[row]).all(1).sum() == count


def test_of_many_rows_a_number_is_drawn(rng, monkeypatch):
    monkeypatch.setattr(exemplars, "MAX_EXEMPLARS", 20)
    x = np.arange(100.0)[:, None]
    chosen, _, counts = choose_exemplars(x, rng)
    assert len(set(chosen)) == 20
    assert (counts == 1).all()
    assert set(choose_exemplars(x, rng)[0]) != set(chosen)
    assert choose_exemplars(np.repeat(x, 2, 0), rng)[2].sum() == 20


@pytest.fixture
def three():
    return Exemplars(np.array([5, 8, 2**63], np.uint64), torch.tensor([1, 3, 2]), torch.zeros(1, 3, 2))


def test_a_row_among_the_exemplars_counts_once_less_for_itself(three):
    keys = np.array([8, 5, 7, 2**63, 2**64 - 1, 0], np.uint64)
    weights = three.weights(keys, CPU)
    assert weights.tolist() == [[[1, 2, 2], [0, 3, 2], [1, 3, 2], [1, 3, 1], [1, 3, 2], [1, 3, 2]]]
    assert three.counts.tolist() == [1, 3, 2]  # as before


def test_rows_known_to_be_others_count_every_exemplar(three):
    assert three.weights(None, CPU).tolist() == [[[1, 3, 2]]]
    assert three.weights(np.array([6], np.uint64), CPU).tolist() == [[[1, 3, 2]]]


def test_an_only_exemplar_stays(three):
    single = Exemplars(np.array([5], np.uint64), torch.tensor([1]), torch.zeros(1, 1, 2))
    assert single.weights(np.array([5], np.uint64), CPU).tolist() == [[[1]]]
    double = Exemplars(np.array([5], np.uint64), torch.tensor([2]), torch.zeros(1, 1, 2))
    assert double.weights(np.array([5], np.uint64), CPU).tolist() == [[[1]]]
