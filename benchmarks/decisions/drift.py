"""False alarms of `VAEDetector.drift` without drift, and its power when one column moves or rows are patched.

``python -m benchmarks.decisions.drift --output benchmarks/results/drift.md`` fits models to synthetic tables, 20 for
each size and setting, and tests 10 further draws of 1,000 rows with each model. ``--data nsl_kdd/train.csv`` adds
normal rows of NSL-KDD, drawn without replacement. Takes minutes.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.shared.command import make_parser, provenance
from benchmarks.shared.nsl_kdd import read_connections
from benchmarks.shared.page import markdown, provenance_section
from vae_anomaly import VAEDetector
from vae_anomaly.config import Settings
from vae_anomaly.errors import DataWarning
from vae_anomaly.monitor.drift import SCORE, Drift, comparable_scores, find_drift

Source = Callable[[np.random.Generator, int], pd.DataFrame]
NEW_ROWS = 1000
PATCHED_FROM, PATCHED_EVERY = 500, 10  # rows
LEVEL = 0.05
SHIFT = 0.5  # standard deviations
SHIFTED = "x3"
CHANGED_DRAWS = 3  # draws of each fit that are shifted and patched
SIZES = (300, 1000)  # training rows
NSL_KDD_ROWS = 2000
NOTES = [
    f"table: 20 mixed columns (`mixed_table`); with `--data` also NSL-KDD's normal rows, 41 columns, {NSL_KDD_ROWS:,} "
    "of them for training, drawn without replacement",
    "without second model: false alarms if no second model were fitted and training rows were compared by their "
    "scores under the model itself",
    f"shift, {CHANGED_DRAWS} draws of each fit: one column is increased by {SHIFT} standard deviations; found: `drift` "
    "names this column; another named: it names another one, wrongly",
    f"patched rows, {CHANGED_DRAWS} draws of each fit: from row {PATCHED_FROM} on, every {PATCHED_EVERY}th row is made "
    "of cells of other rows, so that the distribution of each column stays the same; fraction of draws in which the "
    "stream raises an alarm, and the median number of rows until then",
]


def mixed_table(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """Table of 15 numbers with five common directions, some missing or skewed, 3 text columns and 2 of 0 and 1."""
    weights = np.random.default_rng(0).normal(size=(5, 15))
    numbers = rng.normal(size=(rows, 5)) @ weights + 0.5 * rng.normal(size=(rows, 15))
    table = pd.DataFrame(numbers, columns=[f"x{i}" for i in range(15)])
    table["x14"] = np.exp(table["x14"])
    table["x13"] = table["x13"].round()
    table["x12"] = table["x12"].mask(rng.random(rows) < 0.1)
    kinds = np.minimum(rng.geometric(0.3, size=rows), 40)
    tail = rng.zipf(1.5, size=rows) % 1000  # many values, most of them rare
    table["kind"] = [f"k{kind}" for kind in kinds]
    table["tail"] = [f"t{value}" for value in tail]
    table["sign"] = np.where(table["x0"] > 0, "plus", "minus")
    table["often"] = (rng.random(rows) < 0.5).astype(int)
    table["seldom"] = (rng.random(rows) < 0.02).astype(int)
    return table


def normal_connections(path: Path) -> Source:
    """Source of normal rows of NSL-KDD, drawn without replacement."""
    normal = read_connections(path).normal
    return lambda rng, rows: normal.iloc[rng.permutation(len(normal))[:rows]].reset_index(drop=True)


def find_drifts(
    detector: VAEDetector, draws: list[pd.DataFrame], seed: int, *, second_model: bool = True
) -> list[Drift]:
    """Result of `drift` on each draw.

    The second model, which gives out-of-sample scores of the training rows, is fitted once for all draws, since it does
    not depend on them. Without it, training rows keep their scores under the model itself.
    """
    fitted, settings = detector.model_, Settings.of(detector.get_params(deep=False))
    cells = [fitted.encode(draw) for draw in draws]
    x, rng = np.concatenate(cells), np.random.default_rng(seed)
    if second_model:
        old, new = comparable_scores(fitted, x, settings, seed)
    else:
        old, new = fitted.reference.scores, fitted.scorer.score(x)
    return [
        find_drift(fitted.schema, fitted.reference.cells, x, old, scores, level=LEVEL, ordered=True, rng=rng)
        for x, scores in zip(cells, np.split(new, len(draws)), strict=True)
    ]


def shift(draw: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    """The rows with one column increased."""
    return draw.assign(**{SHIFTED: draw[SHIFTED] + SHIFT * training[SHIFTED].std()})


def patch_rows(draw: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The rows with every tenth of the later ones made of cells of others; no column's distribution changes."""
    patched = draw.copy()
    chosen = np.arange(PATCHED_FROM, len(draw), PATCHED_EVERY)
    for column in range(draw.shape[1]):
        patched.iloc[chosen, column] = draw.iloc[rng.permutation(chosen), column].to_numpy()
    return patched


def measure(source: Source, novelty: bool, rows: int, fits: int, draws: int) -> dict[str, object]:
    """A row of the table."""
    unchanged, without_second, shifted, patched = [], [], [], []
    for seed in range(fits):
        rng = np.random.default_rng([seed, rows, novelty])
        table = source(rng, rows + draws * NEW_ROWS)
        training = table[:rows]
        new = [table[start : start + NEW_ROWS] for start in range(rows, len(table), NEW_ROWS)]
        detector = VAEDetector(novelty=novelty, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            detector.fit(training)
        with_shift = [shift(draw, training) for draw in new[:CHANGED_DRAWS] if SHIFTED in draw]
        with_patches = [patch_rows(draw, rng) for draw in new[:CHANGED_DRAWS]]
        found = find_drifts(detector, [*new, *with_patches, *with_shift], seed)
        unchanged += found[:draws]
        patched += found[draws : draws + len(with_patches)]
        shifted += found[draws + len(with_patches) :]
        without_second += find_drifts(detector, new, seed, second_model=False)
    alarms = [alarm for drift in patched if (alarm := _alarm(drift)) is not None and alarm >= PATCHED_FROM]
    return {
        "setting": "novelty" if novelty else "outlier",
        "training rows": rows,
        "fits × draws": f"{fits} × {draws}",
        "false alarms": _fraction(drift.drifted for drift in unchanged),
        "of columns": _fraction(drift.columns["drifted"].drop(SCORE).any() for drift in unchanged),
        "of the score": _fraction(drift.columns["drifted"][SCORE] for drift in unchanged),
        "of the stream": _fraction(_alarm(drift) is not None for drift in unchanged),
        "without second model": _fraction(drift.drifted for drift in without_second),
        "shift found": _fraction(drift.columns["drifted"][SHIFTED] for drift in shifted),
        "another named": _fraction(drift.columns["drifted"].drop([SHIFTED, SCORE]).any() for drift in shifted),
        "patched rows found": len(alarms) / len(patched),
        "after rows": float(np.median(alarms)) - PATCHED_FROM if alarms else np.nan,
    }


def _alarm(drift: Drift) -> int | None:
    """Row at which the stream raised an alarm."""
    return None if drift.stream is None else drift.stream.alarm


def _fraction(answers: Iterable[bool]) -> float:
    answers = list(answers)
    return float(np.mean(answers)) if answers else np.nan


def write_page(lines: pd.DataFrame, facts: Sequence[str]) -> str:
    """Text of the page."""
    formats = ["", "", *[".3f"] * (lines.shape[1] - 4), ".0f"]
    parts = [
        "# Drift",
        f"Results of `VAEDetector.drift` at level {LEVEL} on {NEW_ROWS:,} new rows, as fractions of all draws. Without "
        "drift, the probability of any finding should be at most the level: half of it is for the columns and the "
        "score, half for the stream. Draws that are tested with the same fit share its training rows, so the fractions "
        "are less certain than those of independent draws.",
        markdown(lines.set_index("setting"), formats, "setting"),
        "\n".join(f"- {note}" for note in NOTES),
        provenance_section(facts),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each row when it is measured, and write the page."""
    parser = make_parser("benchmarks.decisions.drift", __doc__)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="training rows")
    parser.add_argument("--data", type=Path, help="NSL-KDD's training file")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    facts = provenance("benchmarks.decisions.drift", arguments)
    tasks = [(mixed_table, rows) for rows in options.sizes]
    if options.data is not None:
        tasks.append((normal_connections(options.data), NSL_KDD_ROWS))
    lines = []
    for source, rows in tasks:
        for novelty in (False, True):
            lines.append(measure(source, novelty, rows, options.fits, options.draws))
            print(lines[-1], flush=True)
            if options.output is not None:
                options.output.write_text(write_page(pd.DataFrame(lines), facts))


if __name__ == "__main__":
    main()
