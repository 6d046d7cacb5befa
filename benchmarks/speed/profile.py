"""Processor seconds of scoring by part, with both kinds of detection, for one row, 1,000 and 100,000 rows.

``python -m benchmarks.speed.profile --output benchmarks/results/profile.md`` fits to the table of the speed benchmark
and scores it on one thread. Each part counts without the parts inside it. Scoring alternates with scikit-learn's
IsolationForest (100 trees, one thread) in every round, and of all rounds the fastest counts, so that ratios hold also
on a busy machine.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import IsolationForest

from benchmarks.shared.command import make_parser, provenance
from benchmarks.shared.page import markdown, provenance_section
from benchmarks.speed.products import ROWS_AT_ONCE, products_work
from benchmarks.speed.timing import OURS, OURS_NOVELTY, make_table
from vae_anomaly import VAEDetector
from vae_anomaly.data.schema import TableForm
from vae_anomaly.model import objectives, priors
from vae_anomaly.model.nearest import MemberSearch
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring import scorer
from vae_anomaly.scoring.calibration import Calibration
from vae_anomaly.scoring.cells import OutstandingCells
from vae_anomaly.scoring.missing import MissingCells

CALLS = {1: 200, 1_000: 10, 100_000: 1}  # in a round, by the number of rows
ROUNDS = 5
METHODS, FOREST = (OURS, OURS_NOVELTY), "IsolationForest"
TOTAL, SCORE, PRODUCTS = "all", "score_samples", "bare products"
PARTS: dict[str, list[tuple[Any, str]]] = {  # the functions of each part
    "encoding": [(TableForm, "encode")],
    "keys of rows": [(scorer, "row_keys")],
    "distinct rows": [(scorer.Scorer, "score")],
    "chunks": [(scorer.Scorer, "by_chunk"), (scorer.Scorer, "inputs")],
    "features": [(VAE, "features")],
    "encoder": [(VAE, "posterior")],
    "draws": [(objectives, "_expected_log_prob")],
    "decoder": [(VAE, "decode")],
    "likelihood": [(VAE, "log_prob")],
    "sums": [(objectives.ELBO, "score")],
    "prior": [(kind, "kl") for kind in (priors.ExemplarPrior, priors.NearestPrior, priors.GaussianPrior)],
    "leaving out": [(scorer.Exemplars, "leave_out")],
    "nearest exemplars": [(MemberSearch, "nearest"), (scorer.Exemplars, "nearest_prior")],
    "second model": [(OutstandingCells, "negative_log_likelihood")],
    "outstanding cells": [(OutstandingCells, "excess")],
    "missing cells": [(MissingCells, "adjusted"), (MissingCells, "charged_nats")],
    "calibration": [(VAEDetector, "_calibration"), (Calibration, "p_values")],
    "output": [(VAEDetector, "detect")],
}
WHOLE = "second model"  # with everything inside it


@dataclass
class Clock:
    """Processor seconds of the parts, each without the parts inside it."""

    seconds: Counter[str] = field(default_factory=Counter)
    _inside: list[tuple[str, list[float]]] = field(default_factory=list)  # the part, and seconds of those inside it

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its seconds counted towards the part."""

        @wraps(function)
        def wrapper(*arguments: Any, **named: Any) -> Any:
            if any(name == WHOLE for name, _ in self._inside):
                return function(*arguments, **named)
            self._inside.append((part, []))
            begin = process_time()
            try:
                return function(*arguments, **named)
            finally:
                elapsed = process_time() - begin
                self.seconds[part] += elapsed - sum(self._inside.pop()[1])
                if self._inside:
                    self._inside[-1][1].append(elapsed)

        return wrapper


@contextmanager
def watched() -> Iterator[Clock]:
    """Time all parts in this thread."""
    clock, before = Clock(), []
    for part, places in PARTS.items():
        for owner, name in places:
            if name in vars(owner):
                before.append((owner, name, vars(owner)[name]))
                setattr(owner, name, clock.timed(part, vars(owner)[name]))
    try:
        yield clock
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def profile(x: np.ndarray, rounds: int = ROUNDS) -> pd.DataFrame:
    """Microseconds of a call by part (index), for each method and number of rows (columns); of peers only `TOTAL`.

    ``x`` (rows, columns) are the rows to fit to; the first of them are scored.
    """
    detectors = {name: VAEDetector(random_state=0, novelty=name == OURS_NOVELTY).fit(x) for name in METHODS}
    forest = IsolationForest(random_state=0).fit(x)
    found: dict[tuple[str, int], dict[str, float]] = {}
    for n_rows, calls in CALLS.items():
        if n_rows > len(x):
            continue
        for _ in range(rounds):
            for name, detector in detectors.items():
                total = _seconds(lambda d=detector, n=n_rows: d.detect(x[:n]), calls)
                plain = _seconds(lambda d=detector, n=n_rows: d.score_samples(x[:n]), calls)
                with watched() as clock:
                    _seconds(lambda d=detector, n=n_rows: d.detect(x[:n]), calls)
                parts = {part: clock.seconds[part] / calls for part in PARTS}
                best = found.setdefault((name, n_rows), parts)
                found[name, n_rows] = {part: min(best[part], parts[part]) for part in PARTS} | {
                    TOTAL: min(best.get(TOTAL, total), total),
                    SCORE: min(best.get(SCORE, plain), plain),
                }
            seconds = _seconds(lambda n=n_rows: forest.score_samples(x[:n]), calls)
            best = found.setdefault((FOREST, n_rows), {SCORE: seconds})
            found[FOREST, n_rows] = {SCORE: min(best[SCORE], seconds)}
        for name, detector in detectors.items():
            if n_rows >= ROWS_AT_ONCE:
                found[name, n_rows][PRODUCTS] = products_work(detector.model_.scorer, n_rows)
    return pd.DataFrame(found).reindex([*PARTS, TOTAL, SCORE, PRODUCTS]) * 1e6


def _seconds(work: Callable[[], object], calls: int) -> float:
    begin = process_time()
    for _ in range(calls):
        work()
    return (process_time() - begin) / calls


def write_page(figures: pd.DataFrame, n_columns: int, facts: Sequence[str]) -> str:
    """Text of the page, from what `profile` gives."""
    parts = [
        "# Scoring by part",
        f"Processor time on one thread, of calls of `detect` on rows of {n_columns} numbers, in microseconds. Each "
        "part counts without the parts inside it; the second model is that of outlier detection, with all its parts. "
        f"`{SCORE}` is a call of that alone, without calibration and output. The fastest of several rounds, in "
        "which the methods alternate.",
    ]
    for n_rows in figures.columns.unique(1):
        table = figures.xs(n_rows, axis=1, level=1).dropna(how="all")
        part = "part" if n_rows == 1 else "part, all rows"
        parts += [f"## {n_rows:,} row{'s' * (n_rows > 1)}", markdown(table, [",.0f"] * table.shape[1], part)]
        for name in METHODS:
            sentence = f"{name}: {table[FOREST][SCORE] / table[name][SCORE]:.2g} times the rate of IsolationForest"
            if PRODUCTS in table.index:
                sentence += f"; bare products of the networks take {table[name][PRODUCTS] / table[name][SCORE]:.0%}"
            parts.append(f"- {sentence}.")
    return "\n\n".join([*parts, provenance_section(facts)]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print or write the page."""
    parser = make_parser("benchmarks.speed.profile", __doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of which the fastest counts")
    parser.add_argument("--output", type=Path, help="page to write; printed by default")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    figures = profile(make_table(options.rows, options.columns)[0], options.rounds)
    text = write_page(figures, options.columns, provenance("benchmarks.speed.profile", arguments))
    if options.output is None:
        print(text)
    else:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
