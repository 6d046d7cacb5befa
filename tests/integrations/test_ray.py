"""Fits and scores on a local cluster of Ray: those of one machine, whatever dies in the middle."""

import os
import signal
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import Dataset, VAEDetector
from vae_anomaly.data import sampling
from vae_anomaly.errors import DataError, MissingExtraError
from vae_anomaly.io.model_file import model_digest

pytestmark = pytest.mark.ray
N = 1200  # rows of the fixtures


@pytest.fixture(scope="module")
def detector(dated_folder):
    return VAEDetector(max_iter=20, random_state=0).fit(Dataset(dated_folder))


@pytest.fixture(scope="module")
def typed(dated):
    """The table with dates in place of their texts."""
    return dated.assign(d=pd.to_datetime(dated["d"], dayfirst=True))


def digest_of(detector, tmp_path):
    detector.save(tmp_path / "compared.vae")
    return model_digest(tmp_path / "compared.vae")


@pytest.mark.parametrize("novelty", [False, True], ids=["outliers", "novelty"])
def test_a_fit_of_files_is_that_of_one_machine(ray, dated_folder, novelty, tmp_path):
    from vae_anomaly.integrations.ray import fit

    new = partial(VAEDetector, novelty=novelty, max_iter=20, random_state=0)
    found, expected = fit(new(), Dataset(dated_folder)), new().fit(Dataset(dated_folder))
    assert digest_of(found, tmp_path) == digest_of(expected, tmp_path)
    assert found.schema_.reading["d"] == "dates"


def test_a_fit_of_blocks_is_that_of_one_machine_also_if_it_draws_rows(ray, typed, tmp_path, monkeypatch):
    from vae_anomaly.integrations.ray import fit

    monkeypatch.setattr(sampling, "TRAINING_ROWS", 500)
    monkeypatch.setattr(sampling, "FEWEST_ROWS", 100)
    blocks = ray.data.from_pandas([typed[:100], typed[100:700], typed[700:]])
    found = fit(VAEDetector(max_iter=20, random_state=0), blocks)
    expected = VAEDetector(max_iter=20, random_state=0).fit(Dataset([typed]))
    assert digest_of(found, tmp_path) == digest_of(expected, tmp_path)


def test_blocks_get_the_scores_of_the_table_and_keep_their_columns(ray, detector, typed):
    from vae_anomaly.integrations.ray import score

    rows = ray.data.from_pandas([typed[:100].assign(row=range(100)), typed[100:].assign(row=range(100, N))])
    found = score(detector, rows, workers=2, false_alarm_rate=0.02).to_pandas().sort_values("row", ignore_index=True)
    expected = detector.detect(typed, false_alarm_rate=0.02)
    assert [*found.columns] == [*typed.columns, "row", *expected.columns]
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    with pytest.raises(DataError, match="already has 'severity'"):
        score(detector, rows.add_column("severity", lambda batch: batch["x"]))


def test_work_whose_worker_was_killed_is_done_again(ray, dated_folder, tmp_path):
    from vae_anomaly.integrations.ray import SpreadFiles

    killed = tmp_path / "killed"

    def work(pieces, place):
        rows = sum(map(len, pieces))
        if not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return rows, place

    found = [*SpreadFiles(Dataset(dated_folder)).each(work, lambda n: n)]
    assert killed.exists()
    assert found == [(n, n) for n in (30, 0, 470, 1, 699)]


def test_work_that_kills_each_of_its_workers_ends_with_an_error(ray, monkeypatch):
    from vae_anomaly.errors import ClusterError
    from vae_anomaly.integrations import ray as ours

    def kill():
        yield os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ours, "MOST_RETRIES", 1)
    with pytest.raises(ClusterError, match="has lost the same work 2 times"):
        list(ours.in_order(kill, [()]))


def test_the_command_that_installs_ray_is_named_where_it_is_missing(monkeypatch):
    from vae_anomaly.integrations.ray import fit

    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vae-anomaly\[ray\]"'):
        fit(VAEDetector(), Dataset([pd.DataFrame({"x": [1.0]})]))
