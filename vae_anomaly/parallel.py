"""Threads for work made of many small operations: one thread a piece, instead of all threads for each operation.

torch splits even a small product over all its threads and waits for the slowest; where the machine is shared, that wait
cost us twenty times the work. Settings are those of the calling thread alone and are put back; nobody else's change.
Where somebody has called ``torch.set_num_threads``, torch's built-in MKL keeps that number whatever is said here.
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
    """The thread pools that are loaded; made when torch is there, since looking for them takes milliseconds."""
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Within it, the operations of the calling thread run on that thread alone."""
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="openmp")
    return limit


_taken: list[int] = []  # threads of the calls in progress; what a list does is done at once, so it needs no lock


def in_pieces(work: Callable[[Piece], Result], pieces: Iterable[Piece], workers: int) -> list[Result]:
    """Results of ``work`` on each piece, in their order, on up to ``workers`` threads; one piece needs no thread.

    Calls side by side, as joblib's threads make them, share the workers: a later one has those that are left.
    """
    pieces = list(pieces)
    workers = max(1, min(workers - sum(_taken), len(pieces)))
    _taken.append(workers)
    try:
        return [_alone(work, piece) for piece in pieces] if workers == 1 else _side_by_side(work, pieces, workers)
    finally:
        _taken.remove(workers)


def _side_by_side(work: Callable[[Piece], Result], pieces: list[Piece], workers: int) -> list[Result]:
    with ThreadPoolExecutor(workers) as pool:
        try:
            return list(pool.map(lambda piece: _alone(work, piece), pieces))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C need not wait for the pieces not begun
            raise


def ahead(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Pieces as they come, the next of which another thread gets while one is in use; never more than one."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, pieces, end)
        while (piece := upcoming.result()) is not end:
            upcoming = pool.submit(next, pieces, end)
            yield piece


def _alone(work: Callable[[Piece], Result], piece: Piece) -> Result:
    with one_thread():
        return work(piece)
