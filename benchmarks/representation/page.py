"""Markdown page of the representation benchmark: a table for each task, and a comparison with targets and peers."""

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
from benchmarks.representation.disentangling import method_name
from benchmarks.representation.mnist import OURS_AS_IMAGE, PRINCIPAL_ERROR
from benchmarks.representation.tasks import Chapter
from benchmarks.shared.page import markdown, provenance_section
from benchmarks.shared.peers import OURS

MEAN = "mean"
MET, MISSED = "met", "**missed**"
INTRODUCTION = (
    "Quality of the latent means, samples and filled cells of a model. Unless a task says otherwise, models are "
    "trained on a random half without labels and evaluated on the other half, by seed. Figures are means over seeds ± "
    "the standard deviation. Seeds: how many were used for a method, fewer where more would take hours. Seconds: "
    "training and use of a model for one seed, without the evaluation."
)


@dataclass(frozen=True)
class Target:
    """Target for a figure of our detector: exceed the figure of ``peer`` by ``by``, or exceed ``by`` without a peer."""

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
    *(Target("disentanglement", MEAN, 0.0, method_name(1), method_name(beta)) for beta in (4, 8, 16)),
]


def write_page(chapters: Mapping[str, Chapter], figures: pd.DataFrame, facts: Sequence[str]) -> str:
    """Text of the page, with the chapters that have figures."""
    tables = {name: figures[figures["task"] == name] for name in chapters}
    parts = ["# Representation: features, samples and missing cells", INTRODUCTION]
    for name, chapter in chapters.items():
        if len(tables[name]):
            parts += [f"## {chapter.title}", chapter.about, task_table(chapter, tables[name])]
    known = {name: values_by_seed(chapters[name], table) for name, table in tables.items() if len(table)}
    sentences = [sentence for name in known if (sentence := comparison(chapters[name], name, known[name]))]
    parts += [
        "## Comparison with targets and peers",
        targets_table(known),
        "Our best method compared with the best peer, for each task:",
        "\n".join(f"- {sentence}" for sentence in sentences),
        provenance_section(facts, figures),
    ]
    return "\n\n".join(parts) + "\n"


def values_by_seed(chapter: Chapter, figures: pd.DataFrame) -> pd.DataFrame:
    """Values of a task (method and seed, measure), with their mean if the measures can be averaged."""
    table = figures.pivot_table(index=["method", "seed"], columns="measure", values="value", sort=False)
    return table.assign(**{MEAN: table.mean(axis=1, skipna=False)}) if chapter.averaged else table


def task_table(chapter: Chapter, figures: pd.DataFrame) -> str:
    """A row for each method, a column for each measure."""
    values = values_by_seed(chapter, figures)
    means, deviations = values.groupby("method", sort=False).mean(), values.groupby("method", sort=False).std()
    cells = means.map(lambda value: "–" if pd.isna(value) else f"{value:.4f}")
    spread = deviations.map(lambda value: "" if pd.isna(value) else f" ± {value:.4f}")
    seconds = figures.groupby(["method", "seed", "measure"], sort=False)["seconds"].last().groupby(["method", "seed"])
    mean_seconds = (seconds.sum() if chapter.averaged else seconds.max()).groupby("method", sort=False).mean()
    seeds = figures.groupby("method", sort=False)["seed"].nunique()
    table = (cells + spread).assign(seeds=seeds, seconds=mean_seconds)
    return markdown(table, [*[""] * len(cells.columns), ".0f", ".1f"], "method")


def targets_table(known: Mapping[str, pd.DataFrame]) -> str:
    """Number of targets met, and a row for each target with figures, on the seeds that both methods have."""
    rows = [row for target in TARGETS if target.task in known and (row := target_row(target, known[target.task]))]
    if not rows:
        return "There are no figures for any target yet."
    table = pd.DataFrame(rows, columns=["measure", "ours", "figure", "target", "difference", "verdict"])
    counted = f"{sum(table['verdict'] == MET)} of {len(table)} targets with figures are met."
    return f"{counted}\n\n" + markdown(table.set_index("measure"), ["", ".4f", "", "+.4f", ""], "measure")


def target_row(target: Target, values: pd.DataFrame) -> tuple[str, str, float, str, float, str] | None:
    """Row of the table of targets, or None if a figure is missing."""
    names = [name for name in (target.ours, target.peer) if name]
    if target.measure not in values or not set(names) <= set(values.index.get_level_values("method")):
        return None
    means = values[target.measure].unstack("method")[names].dropna().mean()
    if means.isna().any():
        return None
    least = target.by + (means[target.peer] if target.peer else 0.0)
    margin = f" + {target.by:.2f}" if target.by else ""
    text = f"{least:.4f}" + (f" ({target.peer}{margin})" if target.peer else "")
    difference = means[target.ours] - least
    verdict = MET if difference > 0 else MISSED
    return f"{target.task}: {target.measure}", target.ours, means[target.ours], text, difference, verdict


def comparison(chapter: Chapter, name: str, values: pd.DataFrame) -> str:
    """Measures in which our best method is first or behind, with its figure and the best peer's."""
    sign = -1 if chapter.lower_is_better else 1
    means = values.groupby("method", sort=False).mean()
    is_ours = means.index.str.startswith(OURS)
    gaps: dict[str, list[str]] = {"first": [], "behind": []}
    for measure in [MEAN] if chapter.averaged else means.columns:
        known = (sign * means[measure]).dropna()
        ours, peers = known[is_ours[means[measure].notna()]], known[~is_ours[means[measure].notna()]]
        if len(ours) and len(peers):
            figures = [f"{means.loc[method, measure]:.4f} ({method})" for method in (ours.idxmax(), peers.idxmax())]
            gaps["first" if ours.max() > peers.max() else "behind"].append(f"{measure} {figures[0]} vs {figures[1]}")
    text = ". It is ".join(f"{place} in {'; '.join(found)}" for place, found in gaps.items() if found)
    if text and chapter.averaged:
        best = (sign * means[MEAN])[is_ours].idxmax()
        each = sign * means.drop(columns=MEAN)
        text += f". {best} is the best or tied in {(each.loc[best] == each.max()).sum()} of {each.shape[1]} measures"
    return f"{name}: {text}." if text else ""
