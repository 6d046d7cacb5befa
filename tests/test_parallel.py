"""Pieces of work on threads: results in order, no more threads at a time than were asked for, nothing left behind."""

import ctypes
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import joblib
import numpy as np
import pytest
import torch
from forks import forked

from vae_anomaly import parallel as threads
from vae_anomaly.parallel import ahead, in_pieces


class Crowd:
    """Work that counts how many do it at once."""

    def __init__(self):
        self._lock, self._now, self.most = threading.Lock(), 0, 0

    def __call__(self, piece):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        threading.Event().wait(0.01)
        with self._lock:
            self._now -= 1
        return piece, threading.get_ident()


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_pieces_from_so_many_threads(workers):
    crowd = Crowd()
    found = in_pieces(crowd, range(20), workers)
    assert [piece for piece, _ in found] == list(range(20))
    assert len({thread for _, thread in found}) <= workers
    assert crowd.most == workers


def test_one_piece_needs_no_thread():
    assert in_pieces(lambda _: threading.get_ident(), [0], 8) == [threading.get_ident()]


def test_every_piece_is_worked_on_by_one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        assert in_pieces(lambda _: torch.get_num_threads(), range(6), 3) == [1] * 6
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(n_threads)


def test_calls_side_by_side_share_the_threads():
    """As under joblib's threads: two calls that may use four do not use eight, nor do five use twenty."""
    crowd = Crowd()
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda _: in_pieces(crowd, range(20), 4), range(5)))
    assert [[piece for piece, _ in pieces] for pieces in found] == [list(range(20))] * 5
    assert crowd.most <= 4 + 4  # the first may have all of them; each of the others has at least its own
    assert in_pieces(crowd, [0], 1)
    assert threads._taken == []


def test_threads_are_free_again_after_an_error():
    with pytest.raises(ZeroDivisionError):
        in_pieces(lambda piece: 1 // piece, [1, 0, 1], 2)
    assert threads._taken == []


@pytest.fixture
def ends_slowly():
    """A function that a thread calls so as to take 0.1 s for its end, after Python has joined it."""
    libc, key = ctypes.CDLL(None), ctypes.c_uint()
    assert libc.pthread_key_create(ctypes.byref(key), libc.usleep) == 0  # called with the value as its argument
    yield lambda: libc.pthread_setspecific(key, ctypes.c_void_p(100_000))
    libc.pthread_key_delete(key)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux")
@pytest.mark.parametrize("fails", [False, True], ids=["done", "after an error"])
def test_threads_have_ended_when_the_results_are_there(ends_slowly, fails):
    """Not only for Python: a process forked meanwhile would inherit the locks that they hold, and hang."""
    ids = set()

    def work(piece):
        ends_slowly()
        ids.add(threading.get_native_id())
        threading.Event().wait(0.01)
        if fails and piece == 5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) if fails else nullcontext():
        in_pieces(work, range(6), 3)
    assert len(ids) > 1
    assert not ids & {int(name) for name in os.listdir("/proc/self/task")}


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux")
def test_the_thread_that_fetches_pieces_has_ended_with_them(ends_slowly):
    ids = set()

    def pieces():
        ends_slowly()
        for piece in range(3):
            ids.add(threading.get_native_id())
            yield piece

    assert list(ahead(pieces())) == [0, 1, 2]
    assert len(ids) == 1
    assert not ids & {int(name) for name in os.listdir("/proc/self/task")}


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.parametrize("n_threads", [None, 2], ids=["usual threads", "two threads"])
def test_processes_forked_right_after_scoring_do_not_hang(n_threads):
    """In a process of its own, whose threads no other test has started."""
    threads = f"torch.set_num_threads({n_threads})" if n_threads else ""
    status, output, errors = forked(SCORING.format(threads=threads), 10)
    assert (status, output) == (0, "10 of 10 ended\n"), errors


SCORING = """
import numpy as np
import torch
from vae_anomaly import VAEDetector

{threads}
X = np.random.default_rng(0).normal(size=(3000, 4))
detector = VAEDetector(max_iter=2, n_estimators=1, random_state=0).fit(X[:300])
expected = detector.score_samples(X)

def before():
    detector.score_samples(X)

def is_right():
    return np.array_equal(detector.score_samples(X), expected)
"""


def _threads_of_scoring(X):
    """Threads that a worker process has, after it has fitted and scored."""
    from vae_anomaly import VAEDetector

    VAEDetector(max_iter=2, random_state=0).fit(X).score_samples(X)
    return torch.get_num_threads()


@pytest.mark.slow
def test_processes_of_joblib_share_the_processors(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    X, jobs = np.random.default_rng(0).normal(size=(50, 3)), 2
    with joblib.parallel_config("loky"):
        found = joblib.Parallel(n_jobs=jobs)(joblib.delayed(_threads_of_scoring)(X) for _ in range(jobs))
    assert max(found) <= max(1, joblib.cpu_count() // jobs) < max(2, os.cpu_count() or 1)


def test_pieces_come_in_their_order_and_one_is_got_while_another_is_in_use():
    got, in_use = [], threading.Event()

    def pieces():
        for number in range(4):
            got.append((number, threading.current_thread() is threading.main_thread()))
            if number == 1:
                assert in_use.wait(10)  # the first is in use before the second is there
            yield number

    used = []
    for piece in ahead(pieces()):
        in_use.set()
        used.append(piece)
        assert len(got) <= piece + 2
    assert used == [0, 1, 2, 3]
    assert got == [(number, False) for number in range(4)]


def test_an_error_comes_after_the_pieces_before_it():
    def pieces():
        yield 1
        raise ValueError("damaged")

    found = ahead(pieces())
    assert next(found) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(found)
