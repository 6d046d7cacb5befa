"""The Markdown page of a setting: tables, and where the figures come from."""

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

from benchmarks.peers import METHODS, OURS, YARDSTICK, seeds_of
from benchmarks.summary import MEASURES, RESAMPLES, differences, grid, ranking
from vae_anomaly import __version__

ROOT = Path(__file__).parents[1]
MEASURED = ["vae_anomaly", "benchmarks/*.py"]  # the code that a figure depends on
PACKAGES = ["torch", "scikit-learn", "numpy", "pyod"]
PROTOCOL = {
    "novelty": "Trained on a random half of the normal rows, by seed; tested on the other half and every anomaly.",
    "outlier": "Trained and tested on all rows, the labels hidden; neighbour methods leave the row itself out.",
}


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


def page(setting: str, figures: pd.DataFrame, complete: list[str], facts: Sequence[str]) -> str:
    """The whole page.

    Parameters
    ----------
    setting : str
        Which of the two.
    figures : DataFrame
        Of this setting, of the sets and seeds in question.
    complete : list of str
        Methods that have them all; the others are listed apart.
    facts : sequence of str
        Where the figures come from, a line each.
    """
    whole = figures[figures["method"].isin(complete)]
    parts = [f"# ADBench, {setting} setting", PROTOCOL[setting], *_tables(whole)]
    if parted := _incomplete(figures[~figures["method"].isin(complete)]):
        parts += ["## Not complete, and so not averaged", parted]
    if failed := _failures(figures):
        parts += ["## Failures", "A method that fails has AUROC 0.5 and the share of anomalies as AP.", failed]
    parts += [ending([*facts, *_of(figures)])]
    return "\n\n".join(parts) + "\n"


def main_table(whole: pd.DataFrame) -> str:
    """A row a method: accuracy, ranks, wins, failures, seconds."""
    table = ranking(whole, yardstick=YARDSTICK).rename(columns={"relative seconds": f"× {YARDSTICK}"})
    four = [".4f", ".4f", ".2f", ".0f"]
    return markdown(table.rename(index=_mark), [*four, *four, ".0f", ".1f", ".1f"], "method")


def _tables(whole: pd.DataFrame) -> list[str]:
    if whole.empty:
        return []
    parts = [main_table(whole), _notes(whole)]
    if whole["method"].nunique() > 1 and OURS in set(whole["method"]):
        parts += [
            f"## {OURS} against each peer",
            f"Mean difference over sets, with the percentile 95 % interval of a paired bootstrap over the sets "
            f"({RESAMPLES:,} resamples).",
            _versus(whole),
        ]
    return [*parts, "## By set: AUROC / AP", _by_set(whole)]


def _mark(method: str) -> str:
    return f"{method} \\*" if _limit(method) else method


def _limit(method: str) -> int | None:
    return METHODS[method].max_train if method in METHODS else None


def _notes(whole: pd.DataFrame) -> str:
    seeds = whole["seed"].nunique()
    notes = [
        f"Mean and median over {whole['set'].nunique()} sets of means over {seeds} seed{'s' * (seeds > 1)}; rank: mean "
        "over sets, 1 is best, ties averaged; wins: sets where no method is better; failures: runs; seconds: fit and "
        "score, summed over the sets."
    ]
    limits = [f"{method} {limit:,}" for method in whole["method"].unique() if (limit := _limit(method))]
    if limits:
        notes.append(f"\\* Trained on this many rows at most, drawn by seed, and tested on all: {', '.join(limits)}.")
    some = [f"{method} {n}" for method in whole["method"].unique() if (n := len(seeds_of(method, seeds))) < seeds]
    if some:
        notes.append(f"Fewer seeds, where more would take hours: {', '.join(some)}.")
    return "\n\n".join(notes)


def _versus(whole: pd.DataFrame) -> str:
    gaps = differences(whole, OURS)
    says = gaps["excludes_zero"].map({True: "excludes zero", False: "includes zero"})
    gaps["text"] = [
        f"{row.difference:+.4f} [{row.low:+.4f}, {row.high:+.4f}] {said}"
        for row, said in zip(gaps.itertuples(), says, strict=True)
    ]
    table = gaps.pivot_table(index="method", columns="measure", values="text", aggfunc="first", sort=False)
    return markdown(table, [""] * table.shape[1], "minus")


def _by_set(whole: pd.DataFrame) -> str:
    grids = [grid(whole, measure).map("{:.3f}".format) for measure in MEASURES]
    table = (grids[0] + " / " + grids[1]).sort_index(key=lambda names: names.map(_number))
    return markdown(table, [""] * table.shape[1], "set")


def _number(name: str) -> tuple[int, str]:
    """ADBench's sets by their number, any others after them by name."""
    found = re.match(r"\d+", name)
    return (int(found[0]) if found else 10**9, name)


def _incomplete(figures: pd.DataFrame) -> str:
    counts = figures.groupby("method", sort=False).size()
    return "\n".join(f"- {method}: {count} figures" for method, count in counts.items())


def _failures(figures: pd.DataFrame) -> str:
    failed = figures[figures["error"] != ""]
    return "\n".join(f"- {row.method} on {row.set}, seed {row.seed}: {row.error}" for row in failed.itertuples())


def _of(figures: pd.DataFrame) -> list[str]:
    """What the figures themselves say of their making."""
    facts = ["measured at commit " + ", ".join(sorted(figures["commit"].unique()))]
    if cap := figures["cap"].max():
        facts.append(f"**at most {cap} rows of each set were used: for development, not to be reported**")
    if (jobs := figures["jobs"].max()) > 1:
        facts.append(f"**up to {jobs} processes ran at a time, so that the seconds do not compare**")
    return facts


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
