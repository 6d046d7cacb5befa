"""Whether a table fits in memory, told before it is read: the kernel ends who finds out by trying."""

from contextlib import suppress
from pathlib import Path

from vae_anomaly.errors import DataError
from vae_anomaly_cli.contents import holds_images

BYTES_A_CELL = 8
LONG_BYTES = 2**28  # of a file that `fit` reads piece by piece
_LIMIT, _MEMORY = Path("/sys/fs/cgroup/memory.max"), Path("/proc/meminfo")


def is_long(file: str) -> bool:
    """Whether FILE is a table that need not be held whole to fit to it: several files, or a large one."""
    from vae_anomaly.io.read import is_pattern

    if file == "-" or holds_images(file):
        return False
    path = Path(file)
    return path.is_dir() or is_pattern(file) or (path.is_file() and path.stat().st_size > LONG_BYTES)


def available() -> int | None:
    """Bytes of memory to be had, where the system says so."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        line = next(line for line in _MEMORY.read_text().splitlines() if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError):  # ValueError: "max", no limit
        found.append(int(_LIMIT.read_text()))  # of a container, whose use of memory counts what files leave in it
    return min(found, default=None)


def refuse_too_large(file: str) -> None:
    """Refuse a table that is larger than the memory that is free."""
    free = available()
    path = Path(file)
    if free is None or not path.is_file() or (size := _least_bytes(path)) < free:
        return
    raise DataError(
        f"{file} takes {size / 1e9:.1f} GB or more, and {free / 1e9:.1f} GB of memory are free. "
        "With --stream, `score` and `fit` read it piece by piece."
    )


def _least_bytes(path: Path) -> int:
    """What a table takes in memory, at least: Parquet is packed, and says how many cells it has."""
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return path.stat().st_size

    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(path)
    except (OSError, pa.ArrowException):  # damaged, as the reader will say
        return 0
    return int(found.num_rows) * int(found.num_columns) * BYTES_A_CELL
