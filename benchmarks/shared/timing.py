"""Wall-clock and processor seconds of a call."""

import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Timed(NamedTuple):
    """Result of a call, and how long it took."""

    result: Any
    seconds: float
    cpu_seconds: float  # all cores together; waiting for other processes does not count


def timed(function: Callable[..., Any], *arguments: Any) -> Timed:
    """Call a function with these arguments and time it."""
    begin, cpu_begin = time.perf_counter(), _cpu_seconds()
    result = function(*arguments)
    return Timed(result, time.perf_counter() - begin, _cpu_seconds() - cpu_begin)


def _cpu_seconds() -> float:
    """Processor seconds of this process and of children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
