"""The Markdown page of an ADBench setting."""

import re
from collections.abc import Sequence

import pandas as pd

from benchmarks.accuracy.summary import MEASURES, RESAMPLES, differences, grid, ranking
from benchmarks.shared.page import ending, markdown
from benchmarks.shared.peers import METHODS, OURS, YARDSTICK, seeds_of

PROTOCOL = {
    "novelty": "Trained on a random half of the normal rows, by seed; tested on the other half and every anomaly.",
    "outlier": "Trained and tested on all rows, the labels hidden; neighbour methods leave the row itself out.",
}


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
