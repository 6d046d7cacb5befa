"""Scores and speed of exported ONNX graphs compared with the detector, on ADBench and NSL-KDD in both settings.

``python -m benchmarks.speed.onnx --data data --output benchmarks/results/onnx.md`` takes the folder that contains
``adbench/`` and ``nsl_kdd/train.csv``. It fits a model with the defaults to at most 2,000 rows of each set (4,000 of
NSL-KDD), exports it, and compares scores and speed. Takes about ten minutes.
"""

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

from benchmarks.shared.adbench import find_tables, read_table
from benchmarks.shared.command import make_parser, provenance
from benchmarks.shared.nsl_kdd import read_connections
from benchmarks.shared.page import markdown, provenance_section
from vae_anomaly import VAEDetector
from vae_anomaly.errors import DataWarning
from vae_anomaly.fitted import FittedModel
from vae_anomaly.integrations.onnx import export

ROWS, NSL_KDD_ROWS = 2000, 4000
MANY = 4096  # rows scored at once
SECONDS = 0.5  # shortest time over which a rate is measured
JITTER = 1e-6  # standard deviations; makes all rows distinct, because the detector scores equal rows once


@dataclass(frozen=True)
class LabelledTable:
    """Rows of a set, and whether each is an anomaly."""

    name: str
    rows: pd.DataFrame
    is_anomaly: np.ndarray


def read_tables(folder: Path) -> Iterator[LabelledTable]:
    """The sets of ADBench, then NSL-KDD."""
    for path in find_tables(folder / "adbench"):
        table = read_table(path, ROWS)
        yield LabelledTable(path.stem, pd.DataFrame(table.x), table.y == 1)
    rows, attacks = read_connections(folder / "nsl_kdd" / "train.csv")
    sample = rows.sample(NSL_KDD_ROWS, random_state=0)
    yield LabelledTable("NSL-KDD", sample.reset_index(drop=True), (attacks[sample.index] != "normal").to_numpy())


def measure(table: LabelledTable, novelty: bool) -> dict[str, object]:
    """A row of the page: a model of half of the normal rows or of all rows, and its graph, compared on all rows."""
    normal = np.random.default_rng(0).permutation(np.flatnonzero(~table.is_anomaly))
    training = table.rows.iloc[normal[: len(normal) // 2]] if novelty else table.rows
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore", DataWarning)
        detector = VAEDetector(novelty=novelty, random_state=0).fit(training)
        path = Path(folder) / "model.onnx"
        export(detector, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session, size = onnxruntime.InferenceSession(path, options), path.stat().st_size
    model = detector.model_
    exemplars = model.scorer.exemplars
    graph_scores, flagged = session.run(None, {"rows": model.schema.as_numbers(table.rows)})
    scores = -model.scorer.score(model.schema.encode(table.rows))
    difference = np.abs(graph_scores - scores) / np.maximum(np.abs(scores), 1.0)
    return {
        "set": table.name,
        "setting": "novelty" if novelty else "outlier",
        "rows": len(training),
        "columns": len(detector.schema_.names),
        "exemplars": 0 if exemplars is None else len(exemplars.counts),
        "difference": float(difference.max()),
        "verdicts": int((flagged != (-scores < detector.offset_)).sum()),
        "KB": size / 1000,
        **_rates(model, session, table.rows),
    }


def _rates(model: FittedModel, session: onnxruntime.InferenceSession, rows: pd.DataFrame) -> dict[str, float]:
    """Scores for each second of encoded rows, since reading a table costs the same for both."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(rows), size=MANY)
    numbers, x = model.schema.as_numbers(rows)[chosen], model.schema.encode(rows)[chosen]
    is_number = np.array([cell.is_number for cell in model.schema.cells])
    x = x + JITTER * is_number * rng.normal(size=x.shape)
    rates = {}
    for count in (1, MANY):
        rates[f"torch, {count:,}"] = rate(lambda n=count: model.scorer.score(x[:n]), count)
        rates[f"onnx, {count:,}"] = rate(lambda n=count: session.run(None, {"rows": numbers[:n]}), count)
    return rates


def rate(score: Callable[[], object], count: int) -> float:
    """Rows for each second of the fastest call; other processes only make calls slower."""
    score()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while (begin := time.perf_counter()) < end:
        score()
        best = min(best, time.perf_counter() - begin)
    return count / best


def write_page(lines: pd.DataFrame, facts: Sequence[str]) -> str:
    """Text of the page."""
    ratios = [lines[f"onnx, {count:,}"] / lines[f"torch, {count:,}"] for count in (1, MANY)]
    one, many = (f"{ratio.median():.1f} ({ratio.min():.1f} to {ratio.max():.1f})" for ratio in ratios)
    formats = ["", ",d", "d", ",d", ".0e", "d", *[",.0f"] * 5]
    parts = [
        "# ONNX",
        "Scores of exported graphs compared with those of the detector, on training rows and held-out rows. "
        "Difference: the largest, relative to the score, or in nats where the score is below one nat. Verdicts: rows "
        "that only one of the two flags as anomalous. The other columns are scores per second of single rows and of "
        f"{MANY:,} rows at once, on one thread, without reading the table.",
        f"The largest difference is {lines['difference'].max():.0e}, and {lines['verdicts'].sum()} verdicts differ. "
        f"onnxruntime scores single rows {one} times as fast as the detector, and {MANY:,} rows at once {many} times "
        "as fast: median, smallest and largest ratio.",
        markdown(lines.set_index("set"), formats, "set"),
        provenance_section([*facts, f"onnxruntime {version('onnxruntime')}"]),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each row when it is measured, and write the page."""
    parser = make_parser("benchmarks.speed.onnx", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that contains adbench/ and nsl_kdd/")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    facts, lines = provenance("benchmarks.speed.onnx", arguments), []
    for table in read_tables(options.data):
        for novelty in (False, True):
            lines.append(measure(table, novelty))
            print(lines[-1], flush=True)
            if options.output is not None:
                options.output.write_text(write_page(pd.DataFrame(lines), facts))


if __name__ == "__main__":
    main()
