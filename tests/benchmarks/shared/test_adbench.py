import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from benchmarks.shared.adbench import (
    Table,
    download,
    find_tables,
    read_split,
    read_table,
    split_novelty,
    split_outlier,
)


@pytest.fixture
def table():
    """Forty-one distinct rows, eight of them anomalies."""
    return Table(np.arange(82.0).reshape(41, 2), np.isin(np.arange(41), np.arange(3, 40, 5)).astype(int))


def indices(table, rows):
    return [int(np.flatnonzero((table.x == row).all(1))[0]) for row in rows]


def test_novelty_trains_on_half_of_the_normal_rows_and_tests_on_all_others(table):
    split = split_novelty(table, seed=1)
    train, test = indices(table, split.train), indices(table, split.test)
    assert table.y[train].sum() == 0
    assert len(train) == (41 - 8) // 2
    assert sorted(train + test) == list(range(41))
    assert split.labels.tolist() == table.y[test].tolist()
    assert (split.train_index == -1).all()


def test_another_seed_is_another_half(table):
    assert indices(table, split_novelty(table, 0).train) != indices(table, split_novelty(table, 1).train)
    assert indices(table, split_novelty(table, 1).train) == indices(table, split_novelty(table, 1).train)


def test_outlier_rows_do_not_depend_on_labels(table):
    split, other = split_outlier(table, 0), split_outlier(Table(table.x, 1 - table.y), 5)
    for rows in (split.train, split.test, other.train, other.test):
        assert np.array_equal(rows, table.x)
    assert np.array_equal(split.train[split.train_index], split.test)


def test_sampled_training_rows_are_found_among_the_test_rows(table):
    split = split_outlier(table, 0).subsample(10, seed=3)
    known = split.train_index >= 0
    assert len(split.train) == known.sum() == 10
    assert np.array_equal(split.test, table.x)
    assert np.array_equal(split.train[split.train_index[known]], split.test[known])


def test_a_capped_table_keeps_its_fraction_of_anomalies(tmp_path, table):
    np.savez(tmp_path / "a.npz", X=table.x, y=table.y)
    capped = read_table(tmp_path / "a.npz", cap=20)
    assert capped.y.sum() == 4
    assert len(set(indices(table, capped.x))) == 20
    assert np.array_equal(read_table(tmp_path / "a.npz").x, table.x)


@pytest.mark.parametrize(
    "arrays, message",
    [({}, "holds no .npz file"), ({"X": [[1]]}, "expected X and y"), ({"X": [[1]], "y": [0]}, "y must hold both 0")],
)
def test_a_folder_that_cannot_be_measured_is_named(tmp_path, arrays, message):
    if arrays:
        np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        find_tables(tmp_path)


@pytest.fixture
def site(tmp_path):
    """Local web server with one file; yields its address and the file's content."""
    pytest.importorskip("pooch")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "1_a.npz").write_bytes(b"some rows")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path / "web")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", b"some rows"
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_if_its_checksum_is_known(tmp_path, site):
    address, content = site
    download(tmp_path / "to", address=address, checksums={"1_a.npz": hashlib.sha256(content).hexdigest()})
    assert (tmp_path / "to" / "1_a.npz").read_bytes() == content


def test_a_file_with_another_checksum_is_refused(tmp_path, site):
    with pytest.raises(ValueError, match=r"1_a\.npz"):
        download(tmp_path / "to", address=site[0], checksums={"1_a.npz": "0" * 64})
    assert list((tmp_path / "to").iterdir()) == []


def test_a_given_split_is_kept_in_novelty_and_its_test_rows_are_the_table_in_outlier(tmp_path, rng):
    train, test, labels = rng.normal(size=(30, 2)), rng.normal(size=(20, 2)), np.arange(20) % 4 == 0
    np.savez(tmp_path / "given.npz", train=train, test=test, test_labels=labels)
    assert find_tables(tmp_path) == [tmp_path / "given.npz"]
    novelty, outlier = (read_split(tmp_path / "given.npz", setting, 0) for setting in ("novelty", "outlier"))
    assert novelty.novelty
    for found, expected in ((novelty.train, train), (novelty.test, test), (novelty.labels, labels)):
        assert np.array_equal(found, expected)
    assert (novelty.train_index == -1).all()
    assert not outlier.novelty
    assert np.array_equal(outlier.train, test)
    assert np.array_equal(outlier.test, test)
    small = read_split(tmp_path / "given.npz", "novelty", 0, 10)
    assert len(small.train) == len(small.test) == 10
    for row, label in zip(small.test, small.labels, strict=True):
        assert labels[(test == row).all(1)] == label


def test_other_files_have_the_split_of_their_setting(tmp_path, table):
    np.savez(tmp_path / "whole.npz", X=table.x, y=table.y)
    found, expected = read_split(tmp_path / "whole.npz", "novelty", 3), split_novelty(table, 3)
    assert np.array_equal(found.train, expected.train)
    assert np.array_equal(found.labels, expected.labels)
