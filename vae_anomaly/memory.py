"""Running out of memory, on a processor or a GPU: how it is recognised, rows in halves, and an error with a remedy."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Generic, TypeVar

import numpy as np
import torch

from vae_anomaly.errors import DeviceError

Result = TypeVar("Result")
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


class InHalves(Generic[Result]):
    """Work on rows that continues with halves of them where memory runs out, and with no more rows later.

    Parameters
    ----------
    work : callable
        Takes arrays of equally many rows.
    device : torch.device
        Where the work is done.
    """

    def __init__(self, work: Callable[..., Result], device: torch.device) -> None:
        self.work, self.device = work, device
        self.most = inf  # rows at a time

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
