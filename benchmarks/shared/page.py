"""Parts of the Markdown pages and plots of results."""

from collections.abc import Sequence

import pandas as pd

HIGHLIGHT, NEUTRAL = "#c0392b", "#5d6d7e"  # colours of our detector and of the peers


def markdown(table: pd.DataFrame, formats: Sequence[str], first: str) -> str:
    """Markdown table with the index as its first column; ``formats`` has one entry a column, NaN becomes a dash."""
    lines = [[first, *table.columns], ["---", *["---:"] * table.shape[1]]]
    for name, values in zip(table.index, table.itertuples(index=False), strict=True):
        cells = ["–" if pd.isna(value) else format(value, form) for value, form in zip(values, formats, strict=True)]
        lines.append([str(name), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def provenance_section(facts: Sequence[str], figures: pd.DataFrame | None = None) -> str:
    """Last section of a page: a line for each fact, and the commits at which the figures were measured."""
    if figures is not None:
        facts = [*facts, "measured at commit " + ", ".join(sorted(figures["commit"].unique()))]
    return "\n\n".join(["## Provenance", "\n".join(f"- {fact}" for fact in facts)])
