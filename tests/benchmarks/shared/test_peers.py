import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from sklearn.neighbors import LocalOutlierFactor

from benchmarks.shared import peers
from benchmarks.shared.peers import METHODS, OURS, LocalOutliers, Neighbours, missing_packages

PEERS = [pytest.param(name, marks=pytest.mark.slow) if name == "LUNAR" else name for name in METHODS if name != OURS]


@pytest.fixture
def x(rng):
    """Sixty rows, the last one an anomaly."""
    rows = rng.normal(size=(60, 3))
    rows[-1] = 8
    return rows


def test_neighbours_are_other_rows(x):
    peer = Neighbours()
    peer.fit(x)
    nearest = np.sort(cdist(x, x))[:, 1:6].mean(1)
    assert_allclose(peer.score(x, np.arange(60)), nearest)


def test_a_copy_of_the_row_is_a_neighbour(x):
    x[:9] = x[0]
    peer = Neighbours()
    peer.fit(x)
    assert_allclose(peer.score(x, np.arange(60)), np.sort(cdist(x, x))[:, 1:6].mean(1), atol=1e-12)


def test_neighbours_of_new_rows_are_all_training_rows(x):
    peer = Neighbours()
    peer.fit(x[:50])
    assert_allclose(peer.score(x[50:], np.full(10, -1)), np.sort(cdist(x[50:], x[:50]))[:, :5].mean(1))


def test_local_outlier_factor_of_training_rows_is_that_of_scikit_learn(x):
    peer = LocalOutliers()
    peer.fit(x)
    assert_allclose(peer.score(x, np.arange(60)), -LocalOutlierFactor().fit(x).negative_outlier_factor_)
    own = np.r_[np.arange(40), np.full(20, -1)]
    naive = -LocalOutlierFactor(novelty=True).fit(x).score_samples(x[40:])
    assert_allclose(peer.score(x, own)[40:], naive)


@pytest.mark.filterwarnings("ignore")  # warnings of other libraries
@pytest.mark.parametrize("name", PEERS)
def test_the_anomaly_has_the_highest_score(name, x):
    if METHODS[name].requires:
        pytest.importorskip(METHODS[name].requires)
    novelty, outlier = METHODS[name].make(True, 0), METHODS[name].make(False, 0)
    novelty.fit(x[:50])
    scores = novelty.score(x[50:], np.full(10, -1))
    assert scores.shape == (10,)
    assert scores.argmax() == 9
    outlier.fit(x)
    assert outlier.score(x, np.arange(60)).argmax() == 59


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].deterministic])
def test_a_deterministic_method_scores_alike_under_any_seed(name, x):
    if METHODS[name].requires:
        pytest.importorskip(METHODS[name].requires)
    scores = []
    for seed in (0, 1):
        peer = METHODS[name].make(False, seed)
        peer.fit(x)
        scores.append(peer.score(x, np.arange(60)))
    assert np.array_equal(*scores)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["IsolationForest", "PyOD VAE", "AutoEncoder", "DeepSVDD"])
def test_the_seed_changes_the_scores(name, x):
    if METHODS[name].requires:
        pytest.importorskip(METHODS[name].requires)
    scores = []
    for seed in (0, 0, 1):
        peer = METHODS[name].make(True, seed)
        peer.fit(x)
        scores.append(peer.score(x, np.full(60, -1)))
    assert_allclose(scores[0], scores[1], rtol=1e-3)
    assert not np.allclose(scores[0], scores[2], rtol=1e-3)


def test_a_missing_package_is_named_with_its_command_and_only_where_it_is_needed(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert missing_packages(["KCM", "LOF", "vae-anomaly"]) == ""
    assert missing_packages(["KCM", "ECOD"]).startswith("ECOD: pyod is not installed")
    assert 'pip install "vae-anomaly[benchmark]"' in missing_packages(["ECOD"])
