"""The page of the benchmark of codes: a table a task, what the figures say of the targets, and where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmarks.codes import (
    ACCURACY,
    FEW_LABELS,
    LOGISTIC,
    MACRO,
    NEIGHBOURS,
    ONE_HOT,
    OURS_AS_IMAGE,
    PRINCIPAL,
    RAW,
    UNSCALED,
)
from benchmarks.peers import OURS
from benchmarks.reports import markdown
from benchmarks.tasks import Chapter

MEAN = "mean"
INTRODUCTION = (
    "What the codes, samples and filled cells of a model are worth. Unless a task says otherwise, a random half is "
    "learned from, without labels, and the other half is judged; both by seed. Means over seeds ± their standard "
    "deviation; seeds: how many a method was measured with, fewer where more would take hours; seconds: of learning "
    "and using a model for one seed, without the judge's."
)


@dataclass(frozen=True)
class Target:
    """What a figure of ours shall exceed: a peer's by so much, or, without a peer, a number."""

    task: str
    measure: str
    by: float
    peer: str = ""
    ours: str = OURS


TARGETS = [
    Target("mnist", LOGISTIC, 0.05, PRINCIPAL),
    *(Target("mnist", measure, 0.01, peer) for measure in (NEIGHBOURS, UNSCALED) for peer in (PRINCIPAL, RAW)),
    Target("mnist", FEW_LABELS, 0.03, RAW),
    *(
        Target("digits", measure, 0.0, PRINCIPAL, ours)
        for ours in (OURS, OURS_AS_IMAGE)
        for measure in (LOGISTIC, NEIGHBOURS, UNSCALED, FEW_LABELS)
    ),
    *(Target("nsl_kdd", measure, 0.0, f"{ONE_HOT}, {PRINCIPAL}") for measure in (MACRO, ACCURACY)),
    Target("samples", MEAN, 0.9),
]


def write_page(chapters: Mapping[str, Chapter], figures: pd.DataFrame, facts: Sequence[str]) -> str:
    """The whole page, of the chapters that have figures; the figures say the last word."""
    tables = {name: figures[figures["task"] == name] for name in chapters}
    parts = ["# Codes, samples and missing cells", INTRODUCTION]
    for name, chapter in chapters.items():
        if len(tables[name]):
            parts += [f"## {chapter.title}", chapter.about, task_table(chapter, tables[name])]
    facts = [*facts, "measured at commit " + ", ".join(sorted(figures["commit"].unique()))]
    parts += ["## Where these figures come from", "\n".join(f"- {fact}" for fact in facts)]
    parts += ["## What the figures say", "\n".join(f"- {sentence}" for sentence in verdicts(chapters, tables))]
    return "\n\n".join(parts) + "\n"


def values_by_seed(chapter: Chapter, figures: pd.DataFrame) -> pd.DataFrame:
    """Values of a task, (method and seed, measure); with their mean where the measures are of one kind."""
    table = figures.pivot_table(index=["method", "seed"], columns="measure", values="value", sort=False)
    return table.assign(**{MEAN: table.mean(axis=1, skipna=False)}) if chapter.averaged else table


def task_table(chapter: Chapter, figures: pd.DataFrame) -> str:
    """A row a method, a column a measure."""
    values = values_by_seed(chapter, figures)
    means, deviations = values.groupby("method", sort=False).mean(), values.groupby("method", sort=False).std()
    cells = means.map(lambda value: "–" if pd.isna(value) else f"{value:.4f}")
    spread = deviations.map(lambda value: "" if pd.isna(value) else f" ± {value:.4f}")
    seconds = figures.groupby(["method", "seed", "measure"], sort=False)["seconds"].last().groupby(["method", "seed"])
    spent = (seconds.sum() if chapter.averaged else seconds.max()).groupby("method", sort=False).mean()
    seeds = figures.groupby("method", sort=False)["seed"].nunique()
    table = (cells + spread).assign(seeds=seeds, seconds=spent)
    return markdown(table, [*[""] * len(cells.columns), ".0f", ".1f"], "method")


def verdicts(chapters: Mapping[str, Chapter], tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """A sentence for each target that can be judged, then one for each measure of who leads."""
    known = {name: values_by_seed(chapters[name], table) for name, table in tables.items() if len(table)}
    sentences = [judged(target, known[target.task]) for target in TARGETS if target.task in known]
    leads = [standing(chapters[name], measure, known[name][measure]) for name in known for measure in known[name]]
    return [sentence for sentence in [*sentences, *leads] if sentence]


def judged(target: Target, values: pd.DataFrame) -> str:
    """Whether a target is met, on the seeds that both methods have; nothing if there are none."""
    if target.measure not in values:
        return ""
    by_method = values[target.measure].unstack("method")
    names = [name for name in (target.ours, target.peer) if name]
    if not set(names) <= set(by_method):
        return ""
    both = by_method[names].dropna().mean()
    if both.isna().any():
        return ""
    bar = target.by + (both[target.peer] if target.peer else 0.0)
    asked = f"{100 * target.by:.0f} points above {target.peer}" if target.peer else f"{target.by}"
    asked = f"above {target.peer}" if target.peer and not target.by else asked
    found = f"{both[target.ours]:.4f}" + (f" against {both[target.peer]:.4f}" if target.peer else "")
    verdict = "met" if both[target.ours] > bar else "missed"
    return f"{target.task}, {target.measure}, {target.ours}: {found}; asked for {asked}: **{verdict}**."


def standing(chapter: Chapter, measure: str, values: pd.Series) -> str:
    """Who leads, and how far off ours is where it does not."""
    means = values.groupby("method", sort=False).mean().dropna().sort_values(ascending=chapter.lower_is_better)
    ours = [name for name in means.index if name.startswith(OURS)]
    if not ours or len(means) < 2:
        return ""
    where = f"{chapter.title}, {measure}"
    if ours[0] == means.index[0]:
        peers = means.drop(ours)
        return f"{where}: {ours[0]} leads" + (
            f", {means.iloc[0]:.4f} against {peers.iloc[0]:.4f} ({peers.index[0]})." if len(peers) else "."
        )
    return f"{where}: {means.index[0]} leads, {means.iloc[0]:.4f} against {means[ours[0]]:.4f} ({ours[0]})."
