"""Markdown page of the error rates: a table for each part, the figures above the requested level, and provenance."""

import math
from collections.abc import Sequence

import pandas as pd

from benchmarks.decisions.trials import COLUMNS, FACTORS, LEVELS, NOISE, SHIFT, THRESHOLDS
from benchmarks.shared.page import markdown, provenance_section

LEVEL, UNIFORM, CONTAMINATED, LIBRARY, FEW = "level", "uniform", "contaminated", "library", "few"
ERRORS = 2.0  # standard errors beyond which a figure counts as above the requested level
NO_LIBRARY = "nonconform is not installed and is not compared. It needs Python 3.12: `pip install nonconform`."
INTRODUCTION = (
    "Error rates of `detect(X, fdr=q)` and `p_values(X)`. FDP: fraction of normal rows among the flagged rows, 0 if "
    "none is flagged; its mean should not exceed q. Power: fraction of the anomalies that are flagged. Figures are "
    "means over fits ± their standard error. Each fit is tested on several batches of new rows, which are not "
    f"independent, so the error is that of the fits' means. **Bold**: more than {ERRORS:.0f} standard errors above the "
    "requested level; one in forty figures that are exactly at the level would be bold by chance.\n\n"
    f"*synthetic*: {COLUMNS} Gaussian columns of unit variance with {FACTORS} common factors, which leave {NOISE:g} of "
    "a standard deviation unexplained. Half of its anomalies take each cell from a different normal row; in the other "
    f"half one cell is shifted by {SHIFT:g} standard deviations. The other sources are sets of ADBench: training rows "
    "come from a random half, by seed; test rows are sampled without replacement from the other half. All fits use "
    "1,000 training rows and test batches with a tenth of anomalies unless a line says otherwise. The detector has its "
    "defaults apart from what is named."
)
ABOUT = {
    LEVEL: (
        "Clean training rows",
        "novelty=True. 20 fits on synthetic rows, each tested on 10 batches of 1,000 rows, and 10 fits on each set, "
        "each tested on 20 batches of 500 rows. With calibration='cross', 8 fits on synthetic rows with 25 batches "
        "each and 5 fits on each set with 40 batches each. extrapolate=True: below 1 / (reference rows + 1), p-values "
        "come from a fitted tail.",
    ),
    UNIFORM: (
        "P-values of normal rows",
        "Fraction of new normal rows with a p-value up to a threshold, which should not exceed the threshold; and "
        "fraction of fits for which the Kolmogorov-Smirnov test rejects uniform p-values at the 5 % level, where 5 % "
        "are expected by chance. It is the two-sample test, because the reference rows are a sample as well. The test "
        "also rejects p-values that are too large, which are safe: typical rows may repeat (three in ten of "
        "23_mammography) and have the p-value 1. The fractions show whether p-values are too small. First come the "
        "fits of the previous section, then 20 fits each of small tables and of models without exemplars "
        "(prior='gaussian'; 6 fits with calibration='cross'), each tested on 500 normal rows.",
    ),
    CONTAMINATED: (
        "Anomalies among the reference rows",
        "The training rows contain the named fraction of anomalies like those to be found; q = 0.1. "
        "`p_values(X, contamination=...)` assumes no anomalies, is given the fraction, or estimates it. 5 fits, each "
        "tested on 40 batches of 500 rows. Assuming no anomalies is safe: anomalies among the reference rows make "
        "other anomalies look typical.",
    ),
    LIBRARY: (
        "Comparison with a conformal library",
        "Split conformal p-values of nonconform, with a fifth of the rows held out, and the Benjamini-Hochberg rule; "
        "q = 0.1. Same rows. 10 fits, each tested on 20 batches. Seconds: one fit and one batch.",
    ),
    FEW: (
        "Few anomalies",
        "Ten anomalies among 1,000 rows. 10 fits, each tested on 20 batches. A conformal p-value is the fraction of "
        "the reference rows, including the row itself, that are at least as anomalous. With n reference rows it is "
        "never below 1 / (n + 1). The Benjamini-Hochberg rule flags k of m rows if k of them have p-values up to "
        "qk / m. So at least m / (q (n + 1)) rows must be flagged together, however anomalous they are.",
    ),
}


def write_page(figures: pd.DataFrame, facts: Sequence[str]) -> str:
    """Text of the page, with the parts that have figures."""
    parts = ["# Decisions: error rates and the requested level", INTRODUCTION]
    for part, (title, about) in ABOUT.items():
        if len(shown := select(figures, part)):
            parts += [f"## {title}", about, *([fewest_table()] if part == FEW else []), figures_table(shown)]
    above = [figure for _, figure in figures.iterrows() if is_above(figure)]
    limited = figures["measure"].map(limit_of).notna().sum()
    parts += ["## Figures above the requested level", f"{len(above)} of {limited} figures:"]
    if above:
        parts.append("\n".join(f"- {describe(figure)}" for figure in above))
    return "\n\n".join([*parts, provenance_section(facts, figures)]) + "\n"


def select(figures: pd.DataFrame, part: str) -> pd.DataFrame:
    """Figures shown in the table of a part."""
    measure = figures["measure"]
    is_uniformity = measure.str.startswith("share up to") | (measure == "found not uniform")
    if part == UNIFORM:
        return figures[is_uniformity & (figures["rule"] == "bh")]
    others = {CONTAMINATED: {"share taken for anomalies"}, LIBRARY: {"seconds"}}.get(part, set())
    is_error = measure.str.startswith(("FDP", "power"))
    at_level = measure.str.endswith(" 0.1") | (part == LEVEL)
    return figures[(figures["part"] == part) & ((is_error & at_level) | measure.isin(others))]


def figures_table(shown: pd.DataFrame) -> str:
    """A row for each source, judge and rule; a column for each measure."""
    texts = [format_cell(figure) for _, figure in shown.iterrows()]
    label = shown["source"] + ": " + shown["judge"]
    if shown["rule"].nunique() > 1:
        label += "; " + shown["rule"]
    table = shown.assign(text=texts, label=label).pivot(index="label", columns="measure", values="text")
    table = table.reindex(index=[*dict.fromkeys(label)], columns=[*dict.fromkeys(shown["measure"])])
    return markdown(table, [""] * table.shape[1], "rows: method")


def format_cell(figure: pd.Series) -> str:
    """Mean and standard error, in bold if above the requested level."""
    if figure["measure"] == "seconds":
        return f"{figure['mean']:.2f}"
    text = f"{figure['mean']:.3f} ± {figure['error']:.3f}"
    return f"**{text}**" if is_above(figure) else text


def limit_of(measure: str) -> float | None:
    """Value that the mean of a measure should not exceed, if it has one."""
    limits = {f"FDP at {level}": level for level in LEVELS}
    limits |= {f"share up to {threshold}": threshold for threshold in THRESHOLDS}
    return limits.get(measure)


def is_above(figure: pd.Series) -> bool:
    """True if the mean exceeds its limit by more than `ERRORS` standard errors."""
    limit = limit_of(figure["measure"])
    return limit is not None and bool(figure["mean"] - ERRORS * figure["error"] > limit)


def describe(figure: pd.Series) -> str:
    """Source, method and value of a figure as text."""
    where = f"{figure['source']}, {figure['judge']}, {figure['rule']}"
    return f"{where}: {figure['measure']} {figure['mean']:.3f} ± {figure['error']:.3f}"


def fewest_flagged(n_reference: int, n_rows: int, level: float) -> int:
    """Smallest number of rows that conformal p-values can flag, however anomalous the rows are."""
    return math.ceil(n_rows / (level * (n_reference + 1)) - 1e-9)


def fewest_table() -> str:
    """Smallest number of rows that can be flagged at level 0.1, by reference rows and tested rows."""
    references, rows = (100, 200, 1_000, 4_096), (100, 1_000, 10_000)
    table = pd.DataFrame(
        [[fewest_flagged(n, m, 0.1) for m in rows] for n in references],
        index=[f"{n:,} reference rows" for n in references],
        columns=[f"of {m:,} rows" for m in rows],
    )
    return "Smallest number of rows that can be flagged, q = 0.1:\n\n" + markdown(table, ["d"] * len(rows), "")
