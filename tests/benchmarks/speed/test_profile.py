import time

import numpy as np
import pytest

from benchmarks.speed import profile
from benchmarks.speed.profile import FOREST, METHODS, PARTS, PRODUCTS, SCORE, TOTAL, Clock, watched
from benchmarks.speed.timing import make_table
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring import scorer


def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_part_counts_without_the_parts_inside_it():
    clock = Clock()
    inner = clock.timed("decoder", lambda: busy(0.02))
    outer = clock.timed("likelihood", lambda: [busy(0.01), inner(), inner()])
    outer()
    assert 0.04 <= clock.seconds["decoder"] < 0.06
    assert 0.01 <= clock.seconds["likelihood"] < 0.02


def test_parts_inside_the_second_model_are_its_own():
    clock = Clock()
    inner = clock.timed("encoder", lambda: busy(0.02))
    clock.timed(profile.WHOLE, inner)()
    assert clock.seconds["encoder"] == 0
    assert clock.seconds[profile.WHOLE] >= 0.02


def test_functions_are_watched_only_meanwhile():
    before = VAE.decode, scorer.row_keys
    with watched():
        assert VAE.decode is not before[0]
        assert scorer.row_keys is not before[1]
    assert (VAE.decode, scorer.row_keys) == before


@pytest.mark.benchmarks
def test_the_parts_add_up_and_the_page_has_them(monkeypatch):
    monkeypatch.setattr(profile, "CALLS", {1: 3, 1_000: 1})
    found = profile.profile(make_table(1_000, 6)[0], rounds=1)
    for name in METHODS:
        of_method = found[name][1_000]
        assert of_method[list(PARTS)].sum() == pytest.approx(of_method[TOTAL], rel=0.8)
        assert of_method[PRODUCTS] > 0
        assert np.isnan(found[name][1][PRODUCTS])
    assert (found.loc[SCORE] > 0).all()
    assert np.isnan(found[FOREST][1][TOTAL])
    page = profile.write_page(found, 6, ["a fact"])
    assert "## 1,000 rows" in page
    assert "times the rate of IsolationForest; bare products" in page
