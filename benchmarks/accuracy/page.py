"""Markdown page of a field of tables in one setting."""

import re
from collections.abc import Sequence

import pandas as pd

from benchmarks.accuracy.summary import MEASURES, RESAMPLES, differences, grid, ranking
from benchmarks.shared.page import markdown, provenance_section
from benchmarks.shared.peers import BASELINE, METHODS, OURS, seeds_of

PROTOCOL = {
    "novelty": "Trained on a random half of the normal rows, by seed; tested on the other half and every anomaly. "
    "Files with a split of their own are trained and tested by it.",
    "outlier": "Trained and tested on all rows, without labels; neighbour methods leave the row itself out. Of files "
    "with a split of their own, these are the test rows.",
}
LOSSES = 10


def write_page(field: str, setting: str, figures: pd.DataFrame, complete: list[str], facts: Sequence[str]) -> str:
    """Text of the page.

    Parameters
    ----------
    field : str
        Name of the folder of tables.
    setting : str
        "novelty" or "outlier".
    figures : DataFrame
        Figures of this setting, for the reported sets and seeds.
    complete : list of str
        Methods with a figure for every set and seed; only these are averaged.
    facts : sequence of str
        Provenance, a sentence each.
    """
    is_complete = figures["method"].isin(complete)
    averaged = figures[is_complete]
    parts = [f"# {field}, {setting} setting", PROTOCOL[setting]]
    if not averaged.empty:
        parts += [main_table(averaged), *_notes(averaged)]
        if averaged["method"].nunique() > 1 and OURS in set(averaged["method"]):
            parts += [
                f"## {OURS} compared with each peer",
                f"Mean difference over sets, with the 95 % percentile interval of a paired bootstrap over the sets "
                f"({RESAMPLES:,} resamples).",
                _difference_table(averaged),
                "## Largest losses by average precision",
                _loss_table(averaged),
            ]
        parts += ["## By set: AUROC / AP", _set_table(averaged)]
    if counts := figures[~is_complete].groupby("method", sort=False).size().to_dict():
        lines = [f"- {method}: {count} figures" for method, count in counts.items()]
        parts += ["## Incomplete methods, not averaged", "\n".join(lines)]
    failed = figures[figures["error"] != ""]
    if len(failed):
        lines = [f"- {row.method} on {row.set}, seed {row.seed}: {row.error}" for row in failed.itertuples()]
        reason = "A method that fails gets AUROC 0.5 and the fraction of anomalies as AP."
        parts += ["## Failures", reason, "\n".join(lines)]
    facts = [*facts, *_warnings(figures)]
    return "\n\n".join([*parts, provenance_section(facts, figures)]) + "\n"


def main_table(averaged: pd.DataFrame) -> str:
    """A row for each method: accuracy, ranks, wins, failures, seconds."""
    table = ranking(averaged, baseline=BASELINE).rename(columns={"relative seconds": f"× {BASELINE}"})
    table = table.rename(index=lambda method: f"{method} \\*" if _limit(method) else method)
    four = [".4f", ".4f", ".2f", ".0f"]
    return markdown(table, [*four, *four, ".0f", ".1f", ".1f"], "method")


def _limit(method: str) -> int | None:
    """Most training rows of a method, if it is limited."""
    return METHODS[method].max_train if method in METHODS else None


def _notes(averaged: pd.DataFrame) -> list[str]:
    """What the columns mean, and which methods ran on fewer rows or seeds."""
    seeds, methods = averaged["seed"].nunique(), averaged["method"].unique()
    notes = [
        f"Mean and median over {averaged['set'].nunique()} sets of means over {seeds} seed{'s' * (seeds > 1)}. Rank: "
        "mean over sets; 1 is the best, ties are averaged. Wins: sets where no method is better. Failures: runs. "
        "Seconds: fit and score, summed over the sets."
    ]
    if limits := [f"{method} {limit:,}" for method in methods if (limit := _limit(method))]:
        notes.append(f"\\* Trained on at most this many rows, sampled by seed, and tested on all: {', '.join(limits)}.")
    if fewer := [f"{method} {n}" for method in methods if (n := len(seeds_of(method, seeds))) < seeds]:
        notes.append(f"Fewer seeds, where more would take hours: {', '.join(fewer)}.")
    return notes


def _difference_table(averaged: pd.DataFrame) -> str:
    """A row for each peer: our mean minus the peer's, with intervals."""
    gaps = differences(averaged, OURS)
    gaps["text"] = [
        f"{row.difference:+.4f} [{row.low:+.4f}, {row.high:+.4f}] {'ex' if row.excludes_zero else 'in'}cludes zero"
        for row in gaps.itertuples()
    ]
    table = gaps.pivot_table(index="method", columns="measure", values="text", aggfunc="first", sort=False)
    return markdown(table, [""] * table.shape[1], "minus")


def _loss_table(averaged: pd.DataFrame) -> str:
    """The sets on which a peer has the most average precision beyond ours, with that peer."""
    measured = grid(averaged, "average_precision")
    peers = measured.drop(columns=OURS)
    table = pd.DataFrame({OURS: measured[OURS], "best peer": peers.max(axis=1), "peer": peers.idxmax(axis=1)})
    table["loss"] = table["best peer"] - table[OURS]
    table = table[table["loss"] > 0].nlargest(LOSSES, "loss")
    return markdown(table[[OURS, "best peer", "loss", "peer"]], [".3f", ".3f", ".3f", ""], "set")


def _set_table(averaged: pd.DataFrame) -> str:
    """Both measures for each set and method; ADBench's sets by their number, any others after them by name."""

    def by_number(name: str) -> tuple[int, str]:
        found = re.match(r"\d+", name)
        return (int(found[0]) if found else 10**9, name)

    grids = [grid(averaged, measure).map("{:.3f}".format) for measure in MEASURES]
    table = (grids[0] + " / " + grids[1]).sort_index(key=lambda names: names.map(by_number))
    return markdown(table, [""] * table.shape[1], "set")


def _warnings(figures: pd.DataFrame) -> list[str]:
    """Reasons why the figures are not comparable."""
    warnings = []
    if cap := figures["cap"].max():
        warnings.append(f"**at most {cap} rows of each set were used: for development, not for reports**")
    if (jobs := figures["jobs"].max()) > 1:
        warnings.append(f"**up to {jobs} processes ran in parallel, so the seconds are not comparable**")
    return warnings
