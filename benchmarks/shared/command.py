"""What the benchmark commands share: their parser, and the provenance of what they measured."""

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath

from vae_anomaly import __version__

RESULTS = Path("benchmarks/results")


def make_parser(module: str, description: str | None, epilog: str = "") -> argparse.ArgumentParser:
    """Parser of ``python -m module``."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def provenance(module: str, arguments: Sequence[str] | None) -> list[str]:
    """Machine, versions, date and command, a sentence each; ``arguments`` are those of the process by default."""
    packages = [f"{name} {_version(name)}" for name in ("torch", "scikit-learn", "numpy", "pyod")]
    return [
        f"machine: {_processor()}, {cores()} cores, {platform.system()}",
        f"waiting threads (OMP_WAIT_POLICY): {os.environ['OMP_WAIT_POLICY']}",
        f"versions: vae-anomaly {__version__}, Python {platform.python_version()}, {', '.join(packages)}",
        f"date: {date.today().isoformat()}, commit {commit()}",
        f"command: `{command_line(module, sys.argv[1:] if arguments is None else arguments)}`",
    ]


def command_line(module: str, arguments: Sequence[str]) -> str:
    """The command as given, with absolute paths shortened to their last two parts."""
    shown = []
    for argument in arguments:
        option, equals, value = argument.rpartition("=")
        path = PurePath(value)
        shown.append(option + equals + str(PurePath(*path.parts[-2:])) if path.is_absolute() else argument)
    return shlex.join(["python", "-m", module, *shown])


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def commit() -> str:
    """Current commit, followed by "+" if measured code differs from it; "unknown" outside a repository."""
    git = ["git", "-C", str(Path(__file__).parents[2])]
    found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return "unknown"
    measured = ["vae_anomaly", "benchmarks/*.py"]
    changed = subprocess.run([*git, "status", "--porcelain", *measured], capture_output=True, check=True)
    return found.stdout.strip() + "+" * bool(changed.stdout)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """Name of the processor; on Linux, `platform` reports only its architecture."""
    about = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", about.read_text(), re.MULTILINE) if about.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
