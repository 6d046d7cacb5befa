"""Whether a table fits in memory, told before it is read: the kernel ends who finds out by trying."""

from contextlib import suppress
from pathlib import Path

from vae_anomaly.errors import DataError
from vae_anomaly_cli.contents import holds_images

LONG_BYTES = 2**28  # of a file that `fit` reads piece by piece
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_MEMORY = Path("/proc/meminfo")


def is_long(file: str) -> bool:
    """Whether FILE is a table that need not be held whole to fit to it: several files, or a large one."""
    from vae_anomaly.tables.folders import is_pattern

    if file == "-" or holds_images(file):
        return False
    path = Path(file)
    return path.is_dir() or is_pattern(file) or (path.is_file() and path.stat().st_size > LONG_BYTES)


def available() -> int | None:
    """Bytes of memory that are free, where the system says so."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        line = next(line for line in _MEMORY.read_text().splitlines() if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError):  # ValueError: "max", no limit
        found.append(int(_LIMIT.read_text()) - int(_USED.read_text()))
    return min(found, default=None)


def refuse_too_large(file: str) -> None:
    """Refuse a file that alone is larger than the memory that is free: as a table it is larger still."""
    free = available()
    path = Path(file)
    if free is None or not path.is_file() or (size := path.stat().st_size) < free:
        return
    raise DataError(
        f"{file} has {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free. "
        "With --stream, `score` and `fit` read it piece by piece."
    )
