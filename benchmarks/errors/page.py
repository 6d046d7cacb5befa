"""Markdown page of the errors benchmark."""

from collections.abc import Sequence

import pandas as pd

from benchmarks.errors.measure import (
    AP,
    AUROC,
    CELLS,
    FIRST_CELL,
    FIRST_REASON,
    FLAGGED,
    FOUND,
    INSIDE,
    KIND,
    SECONDS,
)
from benchmarks.errors.methods import METHODS
from benchmarks.errors.tables import NEW, NOVELTY, OUTLIER, PLANTED
from benchmarks.shared.page import markdown, provenance_section

INTRODUCTION = (
    "Wrong rows and cells in tables of mixed columns; every method has its defaults. The peers see standardised "
    "numbers, one-hot text and flags for missing cells; *value frequency* sees how often each value occurs in its own "
    "column. Means over tables and seeds; k is the number of wrong rows of a table. Fractions of errors of a kind, of "
    "found rows and of reasons are pooled over tables."
)
ABOUT = {
    PLANTED: "One error in each wrong row; methods learn from the dirty table itself. Found rows are the wrong rows "
    "among the first 3k: in how many is the most surprising cell wrong, and in how many the first that the reasons "
    "name? *Inside*: reasons of flagged rows with a range in which the value lies.",
    NEW: "The same, but methods learn from a random half of the clean rows, by seed, and errors are planted into the "
    "other half.",
    OUTLIER: "Labelled tables as they are; methods learn from all rows. Cells: average precision of the wrong cells "
    "among all cells, for tables that mark them.",
    NOVELTY: "Labelled tables as they are; methods learn from a random half of the rows labelled 0, by seed, and score "
    "the others.",
}
PLANTED_COLUMNS = {
    AP: "AP",
    **{name: name for name in FOUND.values()},
    FIRST_CELL: "first cell",
    FIRST_REASON: "first reason",
    FLAGGED: "flagged",
    INSIDE: "inside",
    SECONDS: "seconds",
}
LABELLED_COLUMNS = {AUROC: "AUROC", AP: "AP", CELLS: "AP of cells", FLAGGED: "flagged", SECONDS: "seconds"}


def write_page(figures: pd.DataFrame, facts: Sequence[str]) -> str:
    """Text of the page, with the settings that have figures."""
    parts = ["# Errors in tables", INTRODUCTION]
    for setting, title in ((PLANTED, "Planted errors"), (NEW, "Planted errors in new rows")):
        planted = figures[figures["setting"] == setting]
        parts += [f"## {title}", ABOUT[setting]] if len(planted) else []
        for rate, of_rate in planted.groupby("rate"):
            parts += [f"### {rate_text(rate)}", means_table(of_rate, PLANTED_COLUMNS)]
            if rate:
                parts += ["Found among the first 3k, by kind of error:", kinds_table(of_rate)]
                parts += ["Average precision:", by_table(of_rate, AP)]
    for setting in (OUTLIER, NOVELTY):
        chosen = figures[figures["setting"] == setting]
        if len(chosen):
            parts += [f"## Labelled tables, {setting} setting", ABOUT[setting], means_table(chosen, LABELLED_COLUMNS)]
            parts += ["Average precision of rows:", by_table(chosen, AP)]
        if (chosen["measure"] == CELLS).any():
            parts += ["Average precision of cells:", by_table(chosen, CELLS)]
    if failed := sorted(set(figures.loc[figures["error"] != "", ["method", "table", "error"]].itertuples(index=False))):
        lines = [f"- {row.method} on {row.table}: {row.error}" for row in failed]
        parts += ["## Failures", "A method that fails gets the figures of a constant score.", "\n".join(lines)]
    most = sorted(set(figures["most"]) - {0})
    facts = [*facts, *(f"at most {rows:,} rows of each table: for development only" for rows in most)]
    return "\n\n".join([*parts, provenance_section(facts, figures)]) + "\n"


def rate_text(rate: float) -> str:
    """A rate in words."""
    if rate == 0:
        return "No errors"
    return f"{rate:g} wrong rows" if rate >= 1 else f"{100 * rate:g} % of the rows"


def averages(figures: pd.DataFrame) -> pd.DataFrame:
    """Mean of each measure (methods, measures) over tables and seeds; fractions of few cases are pooled."""
    measure = figures["measure"]
    is_pooled = measure.isin([FIRST_CELL, FIRST_REASON, INSIDE]) | measure.str.startswith(KIND)
    weight = figures["of"].where(is_pooled, 1)
    weighed = figures.assign(weight=weight, value=figures["value"] * weight)
    sums = weighed.groupby(["method", "measure"], sort=False)[["value", "weight"]].sum()
    return (sums["value"] / sums["weight"]).unstack().reindex(methods_in(figures))


def methods_in(figures: pd.DataFrame) -> list[str]:
    """Methods with figures, in the order of `METHODS`."""
    names = [*METHODS, *figures["method"].unique()]
    return [name for name in dict.fromkeys(names) if (figures["method"] == name).any()]


def means_table(figures: pd.DataFrame, columns: dict[str, str]) -> str:
    """A row for each method, a column for each measure and the number of tables."""
    table = averages(figures)
    shown = table[[name for name in columns if name in table]]
    form = [".1f" if name == SECONDS else ".3f" for name in shown]
    tables = figures.groupby("method")["table"].nunique().reindex(shown.index)
    return markdown(shown.rename(columns=columns).assign(tables=tables), [*form, "d"], "method")


def kinds_table(figures: pd.DataFrame) -> str:
    """A row for each kind of error, a column for each method, and the number of errors."""
    kinds = figures[figures["measure"].str.startswith(KIND)]
    errors = kinds[kinds["method"] == kinds["method"].iloc[0]].groupby("measure")["of"].sum()
    table = averages(kinds).T.assign(errors=errors)
    table.index = table.index.str.removeprefix(KIND)
    return markdown(table, [*[".2f"] * (table.shape[1] - 1), "d"], "kind")


def by_table(figures: pd.DataFrame, measure: str) -> str:
    """A row for each table, a column for each method."""
    shown = figures[figures["measure"] == measure]
    wide = shown.pivot_table(index="table", columns="method", values="value", sort=False)
    wide = wide[[method for method in methods_in(figures) if method in wide]]
    return markdown(wide, [".3f"] * wide.shape[1], "table")
