"""False alarms of `VAEDetector.drift` without drift, and its power when one column moves or rows are patched.

``python -m benchmarks.decisions.drift --output benchmarks/results/drift.md`` fits models to synthetic tables, 20 for
each size and setting, and tests 10 further draws of 1,000 rows with each model. ``--data nsl_kdd/train.csv`` adds
normal rows of NSL-KDD, drawn without replacement. Takes minutes.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.shared.page import ending, markdown, provenance, spell
from vae_anomaly import VAEDetector, read_table
from vae_anomaly.config import Settings
from vae_anomaly.errors import DataWarning
from vae_anomaly.monitor.drift import SCORE, Drift, comparable_scores, find_drift

Source = Callable[[np.random.Generator, int], pd.DataFrame]
NEW_ROWS = 1000
BROKEN_FROM, BROKEN_EVERY = 500, 10  # rows
LEVEL = 0.05
SHIFT = 0.5  # deviations
MOVED = "x3"
MOVED_DRAWS = 3  # of each fit, on which a shift and patched rows are tried
SIZES = (300, 1000)  # training rows
NSL_KDD_ROWS = 2000
NOTES = [
    f"table: 20 columns, mixed (`mixed_table`); with `--data` also NSL-KDD's normal rows, 41 columns, "
    f"{NSL_KDD_ROWS} of them learned, drawn without replacement",
    "kept scores as they are: false alarms, if no second model were fitted, and training rows were compared by their "
    "scores under the model itself",
    f"shift, {MOVED_DRAWS} draws of each fit: one column moved up by {SHIFT} deviations; found: it is named; another "
    "named: wrongly",
    f"patched rows, likewise: from row {BROKEN_FROM} on every {BROKEN_EVERY}th is made of cells of others, so that no "
    "column is any different; seen by the stream, and the median number of rows until then",
]


def mixed_table(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """Twenty columns: numbers with five directions in common, some missing, some skewed; three of text, two of 0/1."""
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


def nsl_kdd(path: Path) -> Source:
    """Normal rows of NSL-KDD, drawn without replacement."""
    table = read_table(path)
    normal = table[table["attack"] == "normal"].drop(columns="attack")
    return lambda rng, rows: normal.iloc[rng.permutation(len(normal))[:rows]].reset_index(drop=True)


def judge(detector: VAEDetector, draws: list[pd.DataFrame], seed: int, *, honest: bool = True) -> list[Drift]:
    """What `drift` says of each draw; unless ``honest``, if training rows had the scores that the model gives them.

    The second model that `drift` fits to a small table is fitted once for all draws, since it depends on none of them.
    """
    fitted, settings = detector.model_, Settings.of(detector.get_params(deep=False))
    cells = [detector.model_.encode(draw) for draw in draws]
    x, rng = np.concatenate(cells), np.random.default_rng(seed)
    old, new = (
        comparable_scores(fitted, x, settings, seed) if honest else (fitted.reference.scores, fitted.scorer.score(x))
    )
    return [
        find_drift(fitted.schema, fitted.reference.cells, x, old, scores, level=LEVEL, ordered=True, rng=rng)
        for x, scores in zip(cells, np.split(new, len(draws)), strict=True)
    ]


def shift(draw: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    """The rows with one column moved up."""
    return draw.assign(**{MOVED: draw[MOVED] + SHIFT * training[MOVED].std()})


def break_rows(draw: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The rows, from some row on with every tenth patched together from cells of others: no column is any different."""
    broken = draw.copy()
    chosen = np.arange(BROKEN_FROM, len(draw), BROKEN_EVERY)
    for place in range(draw.shape[1]):
        broken.iloc[chosen, place] = draw.iloc[rng.permutation(chosen), place].to_numpy()
    return broken


def measure(source: Source, novelty: bool, rows: int, fits: int, draws: int) -> dict[str, object]:
    """A line of the table."""
    quiet, as_kept, shifted, broken = [], [], [], []
    for seed in range(fits):
        rng = np.random.default_rng([seed, rows, novelty])
        table = source(rng, rows + draws * NEW_ROWS)
        training = table[:rows]
        new = [table[start : start + NEW_ROWS] for start in range(rows, len(table), NEW_ROWS)]
        detector = VAEDetector(novelty=novelty, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            detector.fit(training)
        moved = [shift(draw, training) for draw in new[:MOVED_DRAWS] if MOVED in draw]
        patched = [break_rows(draw, rng) for draw in new[:MOVED_DRAWS]]
        judged = judge(detector, [*new, *patched, *moved], seed)
        quiet += judged[:draws]
        broken += judged[draws : draws + len(patched)]
        shifted += judged[draws + len(patched) :]
        as_kept += judge(detector, new, seed, honest=False)
    return {
        "setting": "novelty" if novelty else "outlier",
        "training rows": rows,
        "fits × draws": f"{fits} × {draws}",
        **_alarms(quiet),
        "kept scores as they are": _share(drift.drifted for drift in as_kept),
        **_power(shifted),
        **_delay(broken),
    }


def _alarms(found: list[Drift]) -> dict[str, float]:
    return {
        "false alarms": _share(drift.drifted for drift in found),
        "of columns": _share(drift.columns["drifted"].drop(SCORE).any() for drift in found),
        "of the score": _share(drift.columns["drifted"][SCORE] for drift in found),
        "of the stream": _share(_alarm(drift) is not None for drift in found),
    }


def _power(found: list[Drift]) -> dict[str, float]:
    """How often the moved column is named, and how often any other."""
    return {
        "shift found": _share(drift.columns["drifted"][MOVED] for drift in found),
        "another named": _share(drift.columns["drifted"].drop([MOVED, SCORE]).any() for drift in found),
    }


def _delay(found: list[Drift]) -> dict[str, float]:
    """How often the stream sees patched rows, and after how many rows of which a tenth are patched."""
    alarms = [alarm for drift in found if (alarm := _alarm(drift)) is not None and alarm >= BROKEN_FROM]
    delay = float(np.median(alarms)) - BROKEN_FROM if alarms else np.nan
    return {"patched rows seen": len(alarms) / len(found), "after rows": delay}


def _alarm(drift: Drift) -> int | None:
    return None if drift.stream is None else drift.stream.alarm


def _share(answers: Iterable[bool]) -> float:
    answers = list(answers)
    return float(np.mean(answers)) if answers else np.nan


def page(lines: pd.DataFrame, command: str) -> str:
    """The lines as Markdown, and where they come from."""
    formats = ["", "", *[".3f"] * (lines.shape[1] - 4), ".0f"]
    parts = [
        "# Drift",
        f"What `VAEDetector.drift` says at level {LEVEL} of {NEW_ROWS:,} new rows, as shares of all draws. Without "
        "drift, anything at all may be found in at most the level: half of it is for the columns and the score, half "
        "for the stream. Draws that are judged by one fit share its training rows, so the shares are less certain than "
        "so many independent draws would make them.",
        markdown(lines.set_index("setting"), formats, "setting"),
        "\n".join(f"- {note}" for note in NOTES),
        ending(provenance(command)),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the lines as they come, and write the page."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="training rows")
    parser.add_argument("--data", type=Path, help="NSL-KDD's training file")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(given)
    tasks = [(mixed_table, rows) for rows in options.sizes]
    if options.data is not None:
        tasks.append((nsl_kdd(options.data), NSL_KDD_ROWS))
    lines = []
    for source, rows in tasks:
        for novelty in (False, True):
            lines.append(measure(source, novelty, rows, options.fits, options.draws))
            print(lines[-1], flush=True)
            if options.output is not None:
                options.output.write_text(page(pd.DataFrame(lines), spell(given, "benchmarks.decisions.drift")))


if __name__ == "__main__":
    main()
