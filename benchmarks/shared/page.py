"""Markdown pages of results: tables, and the provenance of the figures."""

import os
import platform
import re
import shlex
import subprocess
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath

import pandas as pd

from vae_anomaly import __version__

ROOT = Path(__file__).parents[2]
MEASURED = ["vae_anomaly", "benchmarks/*.py"]  # the code that a figure depends on
PACKAGES = ["torch", "scikit-learn", "numpy", "pyod"]


def markdown(table: pd.DataFrame, formats: Sequence[str], first: str) -> str:
    """A table with its index as the first column; ``formats`` are of its columns, NaN becomes a dash."""
    lines = [[first, *table.columns], ["---", *["---:"] * table.shape[1]]]
    for name, values in zip(table.index, table.itertuples(index=False), strict=True):
        cells = ["–" if pd.isna(value) else format(value, form) for value, form in zip(values, formats, strict=True)]
        lines.append([str(name), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ending(facts: Sequence[str]) -> str:
    """The last section of a page, a line a fact."""
    return "\n\n".join(["## Where these figures come from", "\n".join(f"- {fact}" for fact in facts)])


def provenance(command: str) -> list[str]:
    """The machine, the versions, the day and the command, a line each."""
    versions = [f"{name} {_version(name)}" for name in PACKAGES]
    return [
        f"machine: {_processor()}, {cores()} cores, {platform.system()}",
        f"threads that wait (OMP_WAIT_POLICY): {os.environ['OMP_WAIT_POLICY']}",
        f"versions: vae-anomaly {__version__}, Python {platform.python_version()}, {', '.join(versions)}",
        f"date: {date.today().isoformat()}, commit {commit()}",
        f"command: `{command}`",
    ]


def spell(arguments: Sequence[str], module: str = "benchmarks.accuracy") -> str:
    """The command as it was given; of a path from the root only the last two parts, the rest is this machine's."""
    shown = []
    for argument in arguments:
        option, equals, value = argument.rpartition("=")
        path = PurePath(value)
        shown.append(option + equals + str(PurePath(*path.parts[-2:])) if path.is_absolute() else argument)
    return shlex.join(["python", "-m", module, *shown])


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def commit() -> str:
    """The commit in use, with a plus if code that is measured differs from it; "unknown" outside a repository."""
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain", *MEASURED], capture_output=True, check=True)
    return found.stdout.strip() + "+" * bool(changed.stdout)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's name: on Linux, platform knows only its architecture."""
    about = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", about.read_text(), re.MULTILINE) if about.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
