"""Work in pieces: one thread for each piece, not all threads for each operation, and halves where memory runs out.

torch splits even a small product over all its threads and waits for the slowest. On a shared machine that wait took
twenty times as long as the work. Only the calling thread's settings change, and they are restored afterwards. After a
call of ``torch.set_num_threads``, torch's built-in MKL keeps that number in spite of these settings.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from math import inf
from threading import get_native_id
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from vae_anomaly.errors import DeviceError

Piece = TypeVar("Piece")
Result = TypeVar("Result")


@cache
def _controller() -> ThreadpoolController:
    """Controller of the loaded thread pools; made once torch is loaded, because finding them takes milliseconds."""
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Context manager in which operations of the calling thread run on that thread alone."""
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="openmp")
    return limit


_taken: list[int] = []  # threads of the calls in progress; list operations are atomic, so it needs no lock


def in_pieces(work: Callable[[Piece], Result], pieces: Iterable[Piece], workers: int) -> list[Result]:
    """Results of ``work`` on each piece, in order, on up to ``workers`` threads; one worker is the calling thread.

    Concurrent calls, such as those of joblib's threads, share the workers: a later call gets those that are left.
    """
    pieces = list(pieces)
    workers = max(1, min(workers - sum(_taken), len(pieces)))
    _taken.append(workers)
    try:
        if workers == 1:
            with one_thread():
                return [work(piece) for piece in pieces]
        started: list[int] = []
        begin = [  # torch's first call in a thread sets its number of threads there, so the limit comes after one
            lambda: started.append(get_native_id()),
            torch.get_num_threads,
            one_thread,
        ]
        try:
            with ThreadPoolExecutor(workers, initializer=lambda: [step() for step in begin]) as pool:
                try:
                    return list(pool.map(work, pieces))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C need not wait for pieces not yet started
                    raise
        finally:
            wait_until_gone(started)
    finally:
        _taken.remove(workers)


def wait_until_gone(threads: Iterable[int]) -> None:
    """Wait until the system has ended threads, given by native id, that Python has joined; at most a second.

    A joined thread may still be giving back its memory. A process that is forked then inherits the lock of the
    allocator, but not the thread that would release it, and hangs. Without /proc nothing is waited for.
    """
    longest, step = time.monotonic() + 1.0, 1e-5  # seconds
    for thread in threads:
        while os.path.exists(f"/proc/self/task/{thread}") and time.monotonic() < longest:
            time.sleep(step)


def ahead(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces; another thread fetches the next one, and no more, while one is in use."""
    end: Any = object()
    started: list[int] = []
    with ThreadPoolExecutor(1, initializer=lambda: started.append(get_native_id())) as pool:
        upcoming = pool.submit(next, pieces, end)
        while (piece := upcoming.result()) is not end:
            upcoming = pool.submit(next, pieces, end)
            yield piece
    wait_until_gone(started)


SIGNS = ("out of memory", "DefaultCPUAllocator", "ALLOC_FAILED")  # in torch's errors; for a GPU it also has a class


def is_out_of_memory(error: BaseException) -> bool:
    """True if there was no memory left, for torch or for Python."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


@contextmanager
def memory_errors(device: torch.device, what: str) -> Iterator[None]:
    """Running out of memory with ``what``, such as "one row", becomes a DeviceError that names the remedy."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        place = "The processor" if device.type == "cpu" else f"Device {str(device)!r}"
        remedy = "End other programs" if device.type == "cpu" else "Use device='cpu'"
        smaller = "fewer n_estimators, n_draws or smaller layers"
        raise DeviceError(f"{place} ran out of memory with {what}. {remedy}, or fit with {smaller}.") from error


@dataclass
class InHalves(Generic[Result]):
    """Work on rows that continues with halves of them where memory runs out, and with no more rows later.

    Parameters
    ----------
    work : callable
        Takes arrays of equally many rows.
    device : torch.device
        Where the work is done.
    most : float
        Rows at a time; less once memory has run out.
    """

    work: Callable[..., Result]
    device: torch.device
    most: float = inf

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[Result]:
        """Results on consecutive parts of the rows, in order; usually one.

        Raises
        ------
        DeviceError
            There is not enough memory for one row.
        """
        n_rows = len(arrays[0])
        if n_rows <= 1:
            with memory_errors(self.device, "one row"):
                return [self.work(*arrays)]
        if n_rows <= self.most:
            try:
                return [self.work(*arrays)]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self.most = min(self.most, -(-n_rows // 2))  # after the handler: the error holds the tensors of the work
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        middle = n_rows // 2
        halves = [array[:middle] for array in arrays], [array[middle:] for array in arrays]
        return [result for half in halves for result in self(half)]
