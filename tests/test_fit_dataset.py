import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from vae_anomaly import Dataset, VAEDetector
from vae_anomaly.data import sampling
from vae_anomaly.errors import DataError

QUICK = {"hidden_layer_sizes": (8,), "n_estimators": 2, "max_iter": 12, "random_state": 3}
N = 1000


@pytest.fixture
def short_shards(monkeypatch):
    """Shares of 400 rows."""
    monkeypatch.setattr(sampling, "TRAINING_ROWS", 400)
    monkeypatch.setattr(sampling, "FEWEST_ROWS", 100)


def table_of(n=N, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) @ rng.normal(size=(3, 4))
    x[rng.random(x.shape) < 0.02] = np.nan
    frame = pd.DataFrame(x, columns=list("abcd"))
    return frame.assign(t=rng.choice(["u", "v", "w"], n), f=rng.integers(0, 2, n), row=np.arange(n) * 2)


def in_pieces(frame, size=170):
    return Dataset([frame.iloc[first : first + size] for first in range(0, len(frame), size)])


def assert_same(one, other):
    """Both hold the same model, to the last bit."""
    (document, arrays), (others, other_arrays) = one.model_.to_parts(), other.model_.to_parts()
    assert document == others
    assert arrays.keys() == other_arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, other_arrays[name], err_msg=name)


MODES = {
    "outlier detection": {},
    "novelty detection": {"novelty": True},
    "representation": {"purpose": "representation"},
    "split": {"calibration": "split"},
    "cross": {"calibration": "cross", "max_iter": 5},
}


WHOLE = ("outlier detection", "split")


@pytest.mark.parametrize(("mode", "bound"), [*((mode, 400) for mode in MODES), *((mode, 2 * N) for mode in WHOLE)])
def test_a_dataset_gives_the_model_of_the_same_rows_in_memory(mode, bound, monkeypatch):
    monkeypatch.setattr(sampling, "TRAINING_ROWS", bound)
    monkeypatch.setattr(sampling, "FEWEST_ROWS", 100)
    frame, parameters = table_of(), {**QUICK, **MODES[mode]}
    detector, streamed = VAEDetector(**parameters), VAEDetector(**parameters).fit(in_pieces(frame))
    assert_same(streamed, detector.fit(frame))
    np.testing.assert_array_equal(streamed.anomaly_score(frame), detector.anomaly_score(frame))
    assert streamed.feature_names_in_.tolist() == list(frame)
    if mode != "split":
        assert streamed.n_samples_fit_ == N


def test_files_give_the_model_of_the_table_read_at_once(tmp_path, short_shards):
    frame = table_of()
    frame[:400].to_csv(tmp_path / "part-2.csv", index=False)
    frame[400:].to_csv(tmp_path / "part-10.csv", index=False)
    whole = pd.concat([pd.read_csv(tmp_path / name) for name in ("part-2.csv", "part-10.csv")], ignore_index=True)
    assert_same(VAEDetector(**QUICK).fit(Dataset(tmp_path)), VAEDetector(**QUICK).fit(whole))


def test_arrays_that_are_long_are_not_changed_and_may_be_of_any_kind(short_shards):
    x = table_of()[list("abcd")].to_numpy()
    before = x.copy()
    fitted = VAEDetector(**QUICK).fit(x)
    np.testing.assert_array_equal(x, before)
    assert_same(fitted, VAEDetector(**QUICK).fit(np.asfortranarray(x)))
    assert_same(fitted, VAEDetector(**QUICK).fit(np.ma.masked_invalid(x)))


def test_the_model_knows_how_long_the_table_is_and_what_it_holds(short_shards):
    frame = table_of()
    undrawn = np.setdiff1d(np.arange(N), drawn_places(frame))[:2]
    frame.loc[undrawn, "t"] = "rare"
    fitted = VAEDetector(**QUICK).fit(in_pieces(frame))
    rare, never = (
        fitted.explain(frame.iloc[undrawn[:1]].assign(t=level))["nats"]["t"].iloc[0] for level in ("rare", "no")
    )
    assert fitted.n_samples_fit_ == N
    assert rare < never  # a level that the training rows lack, and one that the table lacks


def drawn_places(frame):
    seed = np.random.RandomState(3).randint(2**31 - 1)
    return sampling.draw(frame, seed, split=False).rows


def test_a_longer_training_sees_all_rows_once_before_it_sees_one_again(short_shards, monkeypatch):
    frame, seen = table_of()[["a", "row"]].fillna(0.0), []
    monkeypatch.setattr("vae_anomaly.training.trainer.Trainer._gradient_step", spied(seen))
    VAEDetector(**{**QUICK, "max_iter": 2 * N // 50, "batch_size": 50}).fit(in_pieces(frame))
    shares = [frozenset(rows) for rows in seen]
    turns = [share for share, before in zip(shares, [None, *shares], strict=False) if share != before]
    n_shards = len(turns) // 2
    assert sum(map(len, turns[:n_shards])) == len(frozenset().union(*turns[:n_shards])) == N
    assert turns[n_shards:] == turns[:n_shards]
    counts = [shares.count(turn) * 50 / 2 / len(turn) for turn in turns[:n_shards]]
    np.testing.assert_allclose(counts, 1, atol=0.25)  # as many rows are drawn from each share as it has


def spied(seen):
    from vae_anomaly.training.trainer import Trainer

    step = Trainer._gradient_step

    def noted(trainer, number):
        if trainer.shards is not None:  # not the second model, which trains on the first shard
            seen.append(trainer.x[:, 1].tolist())
        return step(trainer, number)

    return noted


def test_a_training_within_one_shard_does_not_read_on(short_shards):
    frame, passes = table_of(), []
    dataset = Dataset(lambda: passes.append(1) or iter([frame]))
    VAEDetector(**{**QUICK, "batch_size": 40, "max_iter": 10}).fit(dataset)
    assert len(passes) == 1


def test_held_out_rows_stay_those_of_the_first_shard(short_shards):
    long = {**QUICK, "novelty": True, "batch_size": 100, "max_iter": 20}
    in_memory, streamed = VAEDetector(**long).fit(table_of()), VAEDetector(**long).fit(in_pieces(table_of()))
    assert len(streamed.history_["held_out_elbo"]) > 4  # beyond the first share
    assert_same(streamed, in_memory)


def test_images_may_come_in_pieces(short_shards):
    rng = np.random.default_rng(0)
    pixels = pd.DataFrame(rng.integers(0, 200, size=(900, 16)))
    pixels.iloc[np.setdiff1d(np.arange(900), drawn_places(pixels))[0], 0] = 255
    fitted = VAEDetector(**QUICK, image_shape=(1, 4, 4)).fit(in_pieces(pixels))
    assert fitted.schema_.to_json()["range"] == [0.0, 255.0]  # of all images, the one that is not drawn included
    assert_same(fitted, VAEDetector(**QUICK, image_shape=(1, 4, 4)).fit(pixels))
    with pytest.raises(DataError, match="have 16 columns"):
        VAEDetector(**QUICK, image_shape=(1, 4, 5)).fit(in_pieces(pixels))


def test_an_error_in_the_middle_leaves_the_detector_as_it_was(short_shards):
    frame = table_of()
    detector = VAEDetector(**QUICK).fit(frame)
    before = detector.anomaly_score(frame)
    broken = in_pieces(frame.assign(a=frame["a"].where(frame.index != 834, np.inf)))
    with pytest.raises(DataError, match=r"'a' is infinite in row 835"):
        detector.fit(broken)
    np.testing.assert_array_equal(detector.anomaly_score(frame), before)
    with pytest.raises(DataError, match="no rows"):
        detector.fit(Dataset([]))


def test_scoring_a_dataset_at_once_is_refused_with_the_way_to_do_it(short_shards):
    dataset = in_pieces(table_of())
    with pytest.raises(DataError, match=r"piece by piece: .* for piece in dataset.as_fitted\(detector.schema_\)"):
        VAEDetector(**QUICK).fit(dataset).anomaly_score(dataset)


def test_callbacks_get_the_rows_in_memory(short_shards):
    told = []

    class Over:
        def on_fit_over(self, estimator, *, X):
            told.append(X)

    VAEDetector(**QUICK, callbacks=[Over()]).fit(in_pieces(table_of()))
    assert isinstance(told[0], pd.DataFrame)
    assert len(told[0]) == 400


def planted(n, seed):
    """Rows near a plane, one in a hundred with its values from many rows; and which those are."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 10)) + 0.3 * rng.normal(size=(n, 10))
    odd = rng.random(n) < 0.01
    x[odd] = np.stack([rng.permutation(column) for column in x.T], axis=1)[odd]
    return pd.DataFrame(x, columns=[f"x{k}" for k in range(10)]), odd


@pytest.mark.slow
@pytest.mark.parametrize("novelty", [False, True])
def test_a_shard_finds_anomalies_as_well_as_all_rows_do(novelty, monkeypatch):
    frame, odd = planted(60_000, 0)
    train = frame[~odd] if novelty else frame
    areas = {}
    for bound in (2**18, 8_000):
        monkeypatch.setattr(sampling, "TRAINING_ROWS", bound)
        detectors = [VAEDetector(novelty=novelty, random_state=seed).fit(in_pieces(train, 5_000)) for seed in range(4)]
        areas[bound] = np.array([roc_auc_score(odd, detector.anomaly_score(frame)) for detector in detectors])
    gap = areas[2**18].mean() - areas[8_000].mean()
    assert areas[8_000].mean() > 0.9
    assert gap < 0.005 + 2 * np.sqrt((areas[2**18].var(ddof=1) + areas[8_000].var(ddof=1)) / 4)


MEASURED = """
import resource, sys
import numpy as np
from vae_anomaly import Dataset, VAEDetector

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB

rows = lambda seed, n: np.random.default_rng(seed).normal(size=(n, 20))
VAEDetector(random_state=0, max_iter=1).fit(rows(0, 500))  # what the libraries take for themselves
own = peak()
if sys.argv[1] == "array":
    x = np.empty((600_000, 20))
    for first in range(0, len(x), 10_000):
        x[first : first + 10_000] = rows(first, 10_000)
    VAEDetector(random_state=0, max_iter=20).fit(x)
else:
    VAEDetector(random_state=0, max_iter=20).fit(Dataset(lambda: (rows(k, 50_000) for k in range(int(sys.argv[1])))))
print(peak() - own)
"""


def memory_of_a_fit(kind):
    """MiB that a fit takes in a process of its own, its table included, beside the libraries."""
    ended = subprocess.run([sys.executable, "-c", MEASURED, kind], capture_output=True, text=True, check=True)
    return float(ended.stdout)


@pytest.mark.slow
def test_a_fit_in_memory_takes_three_times_the_table_in_single_precision():
    table = 600_000 * 20 * 4 / 2**20
    assert memory_of_a_fit("array") < 3 * table + 30  # MiB, for what does not grow with the table


@pytest.mark.slow
def test_a_fit_to_a_data_set_takes_the_same_memory_however_long_it_is():
    short, long = memory_of_a_fit("8"), memory_of_a_fit("40")
    assert long < 1.2 * short + 30
