"""The page of the benchmark of decisions: a table a part, what is above what was asked, where the figures come from."""

import math
from collections.abc import Sequence

import pandas as pd

from benchmarks.decisions.trials import COLUMNS, FACTORS, LEVELS, NOISE, SHARES, SHIFT
from benchmarks.shared.page import ending, markdown

LEVEL, UNIFORM, TAINTED, LIBRARY, FEW = "level", "uniform", "contaminated", "library", "few"
ERRORS = 2.0  # standard errors beyond which a figure counts as above
NO_LIBRARY = "nonconform is not installed, and so not compared. It takes Python 3.12: `pip install nonconform`."
INTRODUCTION = (
    "Whether `detect(X, fdr=q)` and `p_values(X)` keep what they say. FDP: share of normal rows among the flagged, 0 "
    "where none is; its mean shall not exceed q. Power: share of the anomalies that are flagged. Means over fits ± "
    "their standard error; each fit is judged on several batches of new rows, which share its luck, so the error is "
    f"that of the fits' means. **Bold**: more than {ERRORS:.0f} standard errors above what was asked, which of figures "
    "that are exactly what was asked would be one in forty.\n\n"
    f"*synthetic*: {COLUMNS} Gaussian columns of unit variance on {FACTORS} factors, which leave {NOISE:g} of a "
    "standard deviation unsaid. Half of its anomalies have each cell from another normal row, half have one cell off "
    f"by {SHIFT:g} standard deviations. The others are sets of ADBench: a random half of their normal rows trains, by "
    "seed, rows are drawn without replacement from the other half and from the anomalies. All train on 1,000 rows "
    "unless a line says otherwise, and judge batches of which a tenth are anomalies. The detector has its defaults "
    "beside what is named."
)
ABOUT = {
    LEVEL: (
        "Clean training rows",
        "novelty=True. 20 fits of synthetic rows, each judged on 10 batches of 1,000 rows, and 10 fits of each set, "
        "each judged on 20 batches of 500; calibration='cross': 8 fits, each judged on 25, of the sets 5 on 40. "
        "extrapolate=True: below 1 / (reference rows + 1), p-values go on in a fitted tail.",
    ),
    UNIFORM: (
        "P-values of normal rows",
        "Of new normal rows, the share up to a p-value, which shall not exceed that p-value; and the share of fits "
        "that Kolmogorov and Smirnov's test finds not uniform at its 5 % level, where 5 % is what chance gives: the "
        "reference rows are a sample as well, so that it is the test of two samples. It finds both sides: p-values "
        "that are too large are safe, as where usual rows repeat (three in ten of 23_mammography) and have the p-value "
        "1. Whether they are too small, the shares say. First the fits of the last section, then 20 fits each of small "
        "tables and of models without exemplars (prior='gaussian'; 6 fits with calibration='cross'), each judged on "
        "500 normal rows.",
    ),
    TAINTED: (
        "Anomalies among the reference rows",
        "The training rows hold this share of anomalies, of the kinds that are to be found; q = 0.1. "
        "`p_values(X, contamination=...)` takes none of them for anomalies, is told the share, or estimates it. 5 "
        "fits, each judged on 40 batches of 500 rows. Taking none of them for anomalies is on the safe side: those "
        "among the reference rows make others look usual.",
    ),
    LIBRARY: (
        "Beside a wrapper library",
        "nonconform's split conformal p-values, a fifth held out, and "
        "Benjamini and Hochberg's rule; q = 0.1. Same rows. 10 fits, each judged on 20 batches. Seconds: of a fit and "
        "a batch.",
    ),
    FEW: (
        "Few anomalies",
        "Ten anomalies among 1,000 rows. 10 fits, each judged on 20 batches. A conformal p-value is the share of the "
        "reference rows, the row itself among them, that are as odd: with n of them, never below 1 / (n + 1). "
        "Benjamini and Hochberg's rule flags k of m rows where k of them have p-values up to qk / m. So no fewer than "
        "m / (q (n + 1)) rows can be flagged, however odd they are.",
    ),
}


def write_page(figures: pd.DataFrame, facts: Sequence[str]) -> str:
    """The whole page, of the parts that have figures."""
    parts = ["# Decisions: errors that are as rare as asked", INTRODUCTION]
    for part, (title, about) in ABOUT.items():
        if len(shown := chosen(figures, part)):
            parts += [f"## {title}", about, *([least_table()] if part == FEW else []), table_of(shown)]
    above = [figure for _, figure in figures.iterrows() if is_above(figure)]
    asked = figures["measure"].map(asked_of).notna().sum()
    parts += ["## What is above what was asked", f"{len(above)} of {asked} figures:"]
    parts += ["\n".join(f"- {spelled(figure)}" for figure in above)] if above else []
    commits = ", ".join(sorted(figures["commit"].unique()))
    facts = [*facts, f"measured at commit {commits}"]
    parts += [ending(facts)]
    return "\n\n".join(parts) + "\n"


def chosen(figures: pd.DataFrame, part: str) -> pd.DataFrame:
    """What a part's table shows."""
    measure = figures["measure"]
    uniform = measure.str.startswith("share up to") | (measure == "found not uniform")
    if part == UNIFORM:
        return figures[uniform & (figures["rule"] == "bh")]
    wanted = {TAINTED: {"share taken for anomalies"}, LIBRARY: {"seconds"}}.get(part, set())
    errors = measure.str.startswith(("FDP", "power"))
    at = measure.str.endswith(" 0.1") | (part == LEVEL)
    return figures[(figures["part"] == part) & ((errors & at) | measure.isin(wanted))]


def table_of(shown: pd.DataFrame) -> str:
    """A row a source, judge and rule; a column a measure."""
    texts = [cell(figure) for _, figure in shown.iterrows()]
    label = shown["source"] + ": " + shown["judge"]
    if shown["rule"].nunique() > 1:
        label += "; " + shown["rule"]
    names = [*dict.fromkeys(label)]
    table = shown.assign(text=texts, label=label).pivot(index="label", columns="measure", values="text")
    table = table.reindex(index=names, columns=[*dict.fromkeys(shown["measure"])])
    return markdown(table, [""] * table.shape[1], "rows: how judged")


def cell(figure: pd.Series) -> str:
    """The mean and its standard error, bold where it is above what was asked."""
    if figure["measure"] == "seconds":
        return f"{figure['mean']:.2f}"
    text = f"{figure['mean']:.3f} ± {figure['error']:.3f}"
    return f"**{text}**" if is_above(figure) else text


def asked_of(measure: str) -> float | None:
    """What a measure's mean shall not exceed, if there is such a thing."""
    limits = {f"FDP at {level}": level for level in LEVELS} | {f"share up to {share}": share for share in SHARES}
    return limits.get(measure)


def is_above(figure: pd.Series) -> bool:
    """Whether the mean is above what was asked by more than chance."""
    asked = asked_of(figure["measure"])
    return asked is not None and bool(figure["mean"] - ERRORS * figure["error"] > asked)


def spelled(figure: pd.Series) -> str:
    """A figure in words."""
    where = f"{figure['source']}, {figure['judge']}, {figure['rule']}"
    return f"{where}: {figure['measure']} {figure['mean']:.3f} ± {figure['error']:.3f}"


def least_flagged(n_reference: int, n_rows: int, level: float) -> int:
    """Fewest rows that can be flagged by conformal p-values, however odd the rows are."""
    return math.ceil(n_rows / (level * (n_reference + 1)) - 1e-9)


def least_table() -> str:
    """Fewest rows that can be flagged, by reference rows and rows to judge, at a level of 0.1."""
    references, rows = (100, 200, 1_000, 4_096), (100, 1_000, 10_000)
    table = pd.DataFrame(
        [[least_flagged(n, m, 0.1) for m in rows] for n in references],
        index=[f"{n:,} reference rows" for n in references],
        columns=[f"of {m:,} rows" for m in rows],
    )
    return "Fewest rows that can be flagged, q = 0.1:\n\n" + markdown(table, ["d"] * len(rows), "")
