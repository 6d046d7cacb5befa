"""The page of the benchmark of codes: a table a task, what the figures say of the targets, and where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmarks.representation.classify import (
    ACCURACY,
    FEW_LABELS,
    LOGISTIC,
    MACRO,
    NEIGHBOURS,
    ONE_HOT,
    PRINCIPAL,
    RAW,
    UNSCALED,
)
from benchmarks.representation.disentangling import named
from benchmarks.representation.mnist import OURS_AS_IMAGE, PRINCIPAL_ERROR
from benchmarks.representation.tasks import Chapter
from benchmarks.shared.page import ending, markdown
from benchmarks.shared.peers import OURS

MEAN = "mean"
MET, MISSED = "met", "**missed**"
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
    Target("one_class", MEAN, 0.0, PRINCIPAL_ERROR, OURS_AS_IMAGE),
    *(Target("disentanglement", MEAN, 0.0, named(1), named(beta)) for beta in (4, 8, 16)),
]


def write_page(chapters: Mapping[str, Chapter], figures: pd.DataFrame, facts: Sequence[str]) -> str:
    """The whole page, of the chapters that have figures; the figures say the last word."""
    tables = {name: figures[figures["task"] == name] for name in chapters}
    parts = ["# Codes, samples and missing cells", INTRODUCTION]
    for name, chapter in chapters.items():
        if len(tables[name]):
            parts += [f"## {chapter.title}", chapter.about, task_table(chapter, tables[name])]
    facts = [*facts, "measured at commit " + ", ".join(sorted(figures["commit"].unique()))]
    parts += [ending(facts)]
    known = {name: values_by_seed(chapters[name], table) for name, table in tables.items() if len(table)}
    sentences = [sentence for name in known if (sentence := standings(chapters[name], name, known[name]))]
    parts += [
        "## What the figures say",
        targets_table(known),
        "The best of our rows against the best peer, task by task:",
        "\n".join(f"- {sentence}" for sentence in sentences),
    ]
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


def targets_table(known: Mapping[str, pd.DataFrame]) -> str:
    """How many targets are met, and a row for each that can be judged: on the seeds that both methods have."""
    rows = [row for target in TARGETS if target.task in known and (row := judged(target, known[target.task]))]
    if not rows:
        return "No target can be judged yet."
    table = pd.DataFrame(rows, columns=["measure", "ours", "its figure", "asked for", "beyond that", "verdict"])
    counted = f"{sum(table['verdict'] == MET)} of {len(table)} targets are met, of those that can be judged."
    return f"{counted}\n\n" + markdown(table.set_index("measure"), ["", ".4f", "", "+.4f", ""], "measure")


def judged(target: Target, values: pd.DataFrame) -> tuple[str, str, float, str, float, str] | None:
    """A row of the table of targets; none where a figure is missing."""
    names = [name for name in (target.ours, target.peer) if name]
    if target.measure not in values or not set(names) <= set(values.index.get_level_values("method")):
        return None
    means = values[target.measure].unstack("method")[names].dropna().mean()
    if means.isna().any():
        return None
    bar = target.by + (means[target.peer] if target.peer else 0.0)
    more = f" + {target.by:.2f}" if target.by else ""
    asked = f"{bar:.4f}" + (f" ({target.peer}{more})" if target.peer else "")
    beyond = means[target.ours] - bar
    verdict = MET if beyond > 0 else MISSED
    return f"{target.task}: {target.measure}", target.ours, means[target.ours], asked, beyond, verdict


def standings(chapter: Chapter, name: str, values: pd.DataFrame) -> str:
    """Where ours is first and where it is not, with the figures of ours and of the best peer."""
    places: dict[bool, list[str]] = {True: [], False: []}
    for measure in [MEAN] if chapter.averaged else values.columns:
        ours, peers = best_of_both(values[measure], ascending=chapter.lower_is_better)
        if len(ours) and len(peers):
            gap = f"{ours.iloc[0]:.4f} ({ours.index[0]}) against {peers.iloc[0]:.4f} ({peers.index[0]})"
            places[leads(ours, peers, chapter)].append(f"{measure} {gap}")
    found = {"first": places[True], "behind": places[False]}
    words = ". It is ".join(f"{place} in {'; '.join(gaps)}" for place, gaps in found.items() if gaps)
    return f"{name}: {words}.{wins(chapter, values)}" if words else ""


def best_of_both(values: pd.Series, *, ascending: bool) -> tuple[pd.Series, pd.Series]:
    """Means of our rows and of the peers', the best first."""
    means = values.groupby("method", sort=False).mean().dropna().sort_values(ascending=ascending)
    is_ours = means.index.str.startswith(OURS)
    return means[is_ours], means[~is_ours]


def leads(ours: pd.Series, peers: pd.Series, chapter: Chapter) -> bool:
    """Whether the best of ours is better than the best peer."""
    return bool(ours.iloc[0] < peers.iloc[0] if chapter.lower_is_better else ours.iloc[0] > peers.iloc[0])


def wins(chapter: Chapter, values: pd.DataFrame) -> str:
    """Of measures of one kind, how many our row of the best mean is first in; a mean may hide it."""
    if not chapter.averaged:
        return ""
    row = best_of_both(values[MEAN], ascending=chapter.lower_is_better)[0].index[0]
    means = values.drop(columns=MEAN).groupby("method", sort=False).mean()
    best = means.min() if chapter.lower_is_better else means.max()
    return f" {row} is the best or as good in {(means.loc[row] == best).sum()} of {len(best)}."
