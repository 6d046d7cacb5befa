"""Markdown page and plot of the speed benchmark."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.shared.page import HIGHLIGHT, NEUTRAL, markdown, provenance_section
from benchmarks.speed.timing import MATCHED, OURS, OURS_NOVELTY, PYOD_MATCHED

PYOD, FOREST = "PyOD VAE", "IsolationForest"
HEADLINE = 100_000, 30  # rows and columns for the comparison of fits
LONG = 1_000_000, 30  # for the comparison of scores
NOTICEABLE = 0.1  # seconds; overheads dominate shorter runs
COLOURS = ["#2471a3", "#7d3c98", "#1e8449", "#b9770e", "#5d6d7e", "#839192", "#a04000", "#117a65"]


def write_page(table: pd.DataFrame, facts: Sequence[str]) -> str:
    """Text of the page, from timings of `benchmarks.speed.timing`."""
    done = table[table["error"] == ""]
    parts = [
        "# Speed and memory",
        "Tables of numbers whose rows share five directions, except for 2 % of the rows, which have other directions. "
        "Each method runs with its defaults in its own process; it is fitted to the whole table and scores the same "
        "rows as new ones. Work: processor seconds of all cores together, without waiting for other processes. "
        "Memory: peak of the process beyond the table and the libraries.",
        "\n".join(f"- {fact}" for fact in comparisons(done)),
        "A dash: the method would have exceeded the time limit, or failed.",
    ]
    for columns, group in table.groupby("columns"):
        parts += [f"## {columns} columns", _size_table(group.sort_values("rows", kind="stable"))]
    parts += ["## Growth of the seconds", _growth_table(done), provenance_section(facts, done)]
    return "\n\n".join(parts) + "\n"


def comparisons(done: pd.DataFrame) -> list[str]:
    """Sentences that compare our detector with peers, where both were measured."""
    sentences = []
    for name in (OURS, OURS_NOVELTY):
        if (fit := _ratio(done, "fit", PYOD, name, HEADLINE)) is not None:
            ours, theirs = (_value(done, "auroc", method, HEADLINE) for method in (name, PYOD))
            sentences.append(
                f"Fit, {_size(HEADLINE)}: PyOD's VAE takes {fit} as long as {name} "
                f"(AUROC {theirs:.3f}, ours {ours:.3f})."
            )
        for size, peer in ((HEADLINE, PYOD), (LONG, FOREST)):
            if (score := _ratio(done, "score", peer, name, size)) is not None:
                sentences.append(f"Score, {_size(size)}: {peer} takes {score} as long as {name}.")
        if (fraction := _value(done, "products", name, LONG)) is not None:
            sentences.append(
                f"Bare matrix products of the networks, {_size(LONG)}: {fraction:.0%} of the scoring time of {name}."
            )
    if (epoch := _ratio(done, "fit", PYOD_MATCHED, MATCHED, HEADLINE)) is not None:
        sentences.append(f"One epoch of the same network, {_size(HEADLINE)}: PyOD takes {epoch} as long.")
    if (memory := _value(done, "fit_mib", OURS, LONG)) is not None:
        ratio = memory / _value(done, "table_mib", OURS, LONG)
        sentences.append(
            f"Memory of the fit, {_size(LONG)}: {ratio:.1f} times the table as float32, in addition to the table."
        )
    return sentences


def _value(done: pd.DataFrame, figure: str, method: str, size: tuple[int, int]) -> float | None:
    found = done[(done["method"] == method) & (done["rows"] == size[0]) & (done["columns"] == size[1])]
    return float(found[figure].iloc[0]) if len(found) else None


def _ratio(done: pd.DataFrame, what: str, upper: str, lower: str, size: tuple[int, int]) -> str | None:
    """Ratio of two methods in seconds and in work, as text."""
    ratios = []
    for figure in (f"{what}_seconds", f"{what}_work"):
        above, below = (_value(done, figure, method, size) for method in (upper, lower))
        if above is None or below is None:
            return None
        ratios.append(above / below)
    seconds, work = (f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}" for ratio in ratios)
    return f"{seconds} times (work: {work} times)"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]}"


def _size_table(group: pd.DataFrame) -> str:
    """A row for each number of rows and each method."""
    group = group.assign(
        rate=group["rows"] / group["score_seconds"], memory=group[["fit_mib", "score_mib"]].max(axis=1)
    )
    named = group.set_index(group["rows"].map("{:,}".format))
    columns = {
        "method": "",
        "fit s": ".2f",
        "work": ".2f",
        "score s": ".2f",
        "work ": ".2f",
        "rows/s scored": ",.0f",
        "memory MiB": ",.0f",
        "AUROC": ".3f",
    }
    figures = ["method", "fit_seconds", "fit_work", "score_seconds", "score_work", "rate", "memory", "auroc"]
    return markdown(named[figures].set_axis(list(columns), axis=1), list(columns.values()), "rows")


def _growth_table(done: pd.DataFrame) -> str:
    """Exponents of rows and columns for each method, from tables on which it took noticeable time."""
    lines = {}
    for method, group in done.groupby("method", sort=False):
        fit, score = (exponents(group, figure) for figure in ("fit_seconds", "score_seconds"))
        lines[method] = [*fit, *score]
    names = ["fit: rows", "fit: columns", "score: rows", "score: columns"]
    table = pd.DataFrame.from_dict(lines, orient="index", columns=names)
    return (
        f"Exponents of a power law fitted to the seconds of all sizes that took more than {NOTICEABLE} s "
        "(1: twice the rows take twice the time).\n\n" + markdown(table, [".2f"] * 4, "method")
    )


def exponents(group: pd.DataFrame, figure: str) -> tuple[float, float]:
    """Exponents of rows and columns by least squares of logarithms; NaN if there are too few sizes."""
    noticeable = group[group[figure] > NOTICEABLE]
    sizes = np.log(noticeable[["rows", "columns"]].to_numpy(np.float64))
    design = np.column_stack([np.ones(len(sizes)), sizes])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return float("nan"), float("nan")
    _, rows, columns = np.linalg.lstsq(design, np.log(noticeable[figure].to_numpy()))[0]
    return float(rows), float(columns)


def plot(table: pd.DataFrame, path: Path) -> None:
    """Plot the seconds of fit and score against the rows, at the width of `HEADLINE`."""
    from matplotlib.figure import Figure

    done = table[(table["error"] == "") & (table["columns"] == HEADLINE[1])]
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    methods = [method for method in done["method"].unique() if "matched" not in method]
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("fit", "score"), strict=True):
        for method, colour in zip(methods, _colours(methods), strict=True):
            line = done[done["method"] == method].sort_values("rows")
            ours = method.startswith(OURS)
            axes.plot(
                line["rows"],
                line[f"{name}_seconds"],
                "o--" if method == OURS_NOVELTY else "o-",
                color=colour,
                linewidth=2.5 if ours else 1.2,
                label=method,
                zorder=3 if ours else 2,
            )
        axes.set(xscale="log", yscale="log", xlabel="rows", title=f"{name}, {HEADLINE[1]} columns")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("seconds")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right", frameon=False)
    figure.savefig(path, dpi=150)


def _colours(methods: Sequence[str]) -> list[str]:
    others = iter(COLOURS)
    return [HIGHLIGHT if method.startswith(OURS) else next(others, NEUTRAL) for method in methods]
