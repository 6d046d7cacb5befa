"""Memory: how much a table takes in a command, and how much is free; the kernel kills a process that takes more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vae_anomaly.errors import DataError

PROGRAM_BYTES = 420 * 2**20  # measured: with torch, scikit-learn, pandas and a small table
ADDRESSES = 2_200_000_000  # measured: bytes of address space of the same, most of which are never used
FACTOR = 4.0  # measured: 2.8 to 4.0 bytes for each byte of the file and of its cells as float64
KEPT_BYTES = 110  # of a cell that is kept as text, measured
FEW_BYTES = 2**27  # of a table, up to which reading it piece by piece saves nothing


def shortage(file: str, *, n_kept: float = 0, model: str | None = None) -> str | None:
    """A clause that says how much memory a table takes and how much is free; None if it fits, or is not a file.

    Parameters
    ----------
    file : str
        The table.
    n_kept : float
        Number of columns that are kept as text; inf for all.
    model : str or None
        Model file.
    """
    path, free = Path(file), free_memory()
    if free is None or not path.is_file():
        return None
    from vae_anomaly.io.read import size_of_table

    own = _resident_bytes()
    n_bytes, n_cells, n_columns = size_of_table(path, most=int((free + own) / FACTOR))
    table = FACTOR * (n_bytes + 8 * n_cells) + KEPT_BYTES * n_cells * min(1.0, n_kept / max(1, n_columns))
    weights = 3 * Path(model).stat().st_size if model is not None and Path(model).is_file() else 0
    if table <= FEW_BYTES or (needed := PROGRAM_BYTES + table + weights) <= free + own:
        return None
    return f"{file} takes about {needed / 1e9:.1f} GB of memory at once, and {(free + own) / 1e9:.1f} GB are free"


def check_address_space() -> None:
    """Raise a DataError if addresses are limited to fewer than the program takes: its libraries would abort or hang."""
    limit = _address_limit()
    if limit is not None and limit < ADDRESSES:
        raise DataError(
            f"The address space is limited to {limit / 1e9:.1f} GB (ulimit -v), and the program takes "
            f"{ADDRESSES / 1e9:.1f} GB, most of which is never memory. Raise the limit."
        )


def _address_limit() -> int | None:
    with suppress(ImportError):  # Windows
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        return None if limit == resource.RLIM_INFINITY else limit
    return None


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes of memory that this process can still take: on this machine, in its control groups, below its own limit.

    None if unknown.
    """
    found = [*_left_in_groups(proc / "self" / "cgroup", groups)]
    if (limit := _address_limit()) is not None:
        found.append(limit - ADDRESSES + PROGRAM_BYTES - _resident_bytes())
    with suppress(OSError, ValueError, StopIteration):
        lines = (proc / "meminfo").read_text().splitlines()
        found.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    return min(found, default=None)


V1 = "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
V2 = "memory.max", "memory.current", ("inactive_file", "active_file")


def _left_in_groups(membership: Path, groups: Path) -> Iterator[int]:
    """Bytes left in each control group of version 1 and 2 that this process is in.

    A container may not see its own groups: then the root that it sees is its limit.
    """
    lines = ["0::/", "1:memory:/"]
    with suppress(OSError):
        lines += membership.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, files = (groups / "memory", V1) if controllers else (groups, V2)
        group = root / path.lstrip("/")
        for folder in [folder for folder in (group, *group.parents) if folder.is_relative_to(root)]:
            with suppress(OSError, ValueError):  # ValueError: "max", no limit
                yield _left_in_group(folder, *files)


def _left_in_group(folder: Path, limit: str, usage: str, cached: tuple[str, ...]) -> int:
    """Limit less usage; the page cache counts as free, because the kernel drops it first."""
    left = int((folder / limit).read_text()) - int((folder / usage).read_text())
    figures = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return left + sum(int(figures.get(name, 0)) for name in cached)


def _resident_bytes() -> int:
    """Memory that this process has already."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
