"""Threads for work made of many small operations: one thread for each piece, not all threads for each operation.

torch splits even a small product over all its threads and waits for the slowest. On a shared machine that wait took
twenty times as long as the work. Only the calling thread's settings change, and they are restored afterwards. After a
call of ``torch.set_num_threads``, torch's built-in MKL keeps that number in spite of these settings.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

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

    def alone(piece: Piece) -> Result:
        with one_thread():
            return work(piece)

    pieces = list(pieces)
    workers = max(1, min(workers - sum(_taken), len(pieces)))
    _taken.append(workers)
    try:
        if workers == 1:
            with one_thread():
                return [work(piece) for piece in pieces]
        with ThreadPoolExecutor(workers) as pool:
            try:
                return list(pool.map(alone, pieces))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C need not wait for pieces not yet started
                raise
    finally:
        _taken.remove(workers)


def ahead(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces; another thread fetches the next one, and no more, while one is in use."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, pieces, end)
        while (piece := upcoming.result()) is not end:
            upcoming = pool.submit(next, pieces, end)
            yield piece
