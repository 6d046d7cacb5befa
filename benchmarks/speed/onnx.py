"""Does an exported graph score as the detector does, and how fast? ADBench's sets and NSL-KDD, in both settings.

``python -m benchmarks.speed.onnx --data data --output benchmarks/results/onnx.md`` takes the folder that holds
``adbench/`` and ``nsl_kdd/train.csv``, fits a model with the defaults to at most 2,000 rows of each set (4,000 of
NSL-KDD), exports it, and compares scores and speed. Some ten minutes.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

from benchmarks.shared.adbench import find_tables
from benchmarks.shared.adbench import read_table as read_adbench
from benchmarks.shared.page import ending, markdown, provenance, spell
from vae_anomaly import VAEDetector, read_table
from vae_anomaly.errors import DataWarning
from vae_anomaly.integrations.onnx import export

ROWS, NSL_KDD_ROWS = 2000, 4000
LABEL, NORMAL = "attack", "normal"
MANY = 4096  # rows scored at once
SECONDS = 0.5  # that each speed is measured for, at least
JITTER = 1e-6  # of a deviation, so that no two of the many rows are equal: the detector scores equal rows once


@dataclass(frozen=True)
class Source:
    """A table, and which of its rows are odd."""

    name: str
    rows: pd.DataFrame
    odd: np.ndarray


def sources(folder: Path) -> Iterator[Source]:
    """ADBench's sets, then NSL-KDD."""
    for path in find_tables(folder / "adbench"):
        table = read_adbench(path, ROWS)
        yield Source(path.stem, pd.DataFrame(table.x), table.y == 1)
    table = read_table(folder / "nsl_kdd" / "train.csv").sample(NSL_KDD_ROWS, random_state=0, ignore_index=True)
    yield Source("NSL-KDD", table.drop(columns=LABEL), (table[LABEL] != NORMAL).to_numpy())


def measure(source: Source, novelty: bool) -> dict[str, object]:
    """A line of the table: trained on half of the normal rows, or on all rows, and compared on all rows."""
    normal = np.random.default_rng(0).permutation(np.flatnonzero(~source.odd))
    training = source.rows.iloc[normal[: len(normal) // 2]] if novelty else source.rows
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore", DataWarning)
        detector = VAEDetector(novelty=novelty, random_state=0).fit(training)
        path = Path(folder) / "model.onnx"
        export(detector, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session, size = onnxruntime.InferenceSession(path, options), path.stat().st_size
    exemplars = detector.model_.scorer.exemplars
    return {
        "set": source.name,
        "setting": "novelty" if novelty else "outlier",
        "rows": len(training),
        "columns": len(detector.schema_.names),
        "exemplars": 0 if exemplars is None else len(exemplars.keys),
        **_parity(detector, session, source.rows),
        "KB": size / 1000,
        **_speed(detector, session, source.rows),
    }


def _parity(detector: VAEDetector, session: onnxruntime.InferenceSession, rows: pd.DataFrame) -> dict[str, object]:
    """Largest difference in parts of a score (of a nat, where that is larger), and verdicts that differ."""
    fitted = detector.model_
    scores, odd = session.run(None, {"rows": fitted.schema.as_numbers(rows)})
    ours = -replace(fitted.scorer, leave_one_out=False).score(fitted.schema.encode(rows))
    apart = np.abs(scores - ours) / np.maximum(np.abs(ours), 1.0)
    return {"difference": float(apart.max()), "verdicts": int((odd != (-ours < detector.offset_)).sum())}


def _speed(detector: VAEDetector, session: onnxruntime.InferenceSession, rows: pd.DataFrame) -> dict[str, float]:
    """Scores a second of either, of encoded rows: what reading a table costs is the same for both."""
    fitted, rng = detector.model_, np.random.default_rng(0)
    chosen = rng.integers(len(rows), size=MANY)
    numbers, x = fitted.schema.as_numbers(rows)[chosen], fitted.schema.encode(rows)[chosen]
    movable = np.array([cell.is_number for cell in fitted.schema.cells])
    x = x + JITTER * movable * rng.normal(size=x.shape)
    figures = {}
    for count in (1, MANY):
        torch_rate = rate(lambda n=count: fitted.scorer.score(x[:n]), count)
        onnx_rate = rate(lambda n=count: session.run(None, {"rows": numbers[:n]}), count)
        figures |= {f"torch, {count:,}": torch_rate, f"onnx, {count:,}": onnx_rate}
    return figures


def rate(work: Callable[[], object], count: int) -> float:
    """Rows a second, of the quickest call: other processes only make calls slower."""
    work()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while (begin := time.perf_counter()) < end:
        work()
        best = min(best, time.perf_counter() - begin)
    return count / best


def page(lines: pd.DataFrame, command: str) -> str:
    """The lines as Markdown, what they come to, and where they come from."""
    ratios = [lines[f"onnx, {count:,}"] / lines[f"torch, {count:,}"] for count in (1, MANY)]
    one, many = (f"{ratio.median():.1f} ({ratio.min():.1f} to {ratio.max():.1f})" for ratio in ratios)
    formats = ["", ",d", "d", ",d", ".0e", "d", *[",.0f"] * 5]
    parts = [
        "# ONNX",
        "Scores of exported graphs beside the detector's own, on the rows that the models were fitted to and those "
        "held back. Difference: the largest, in parts of the score, or of one nat where the score is smaller. "
        "Verdicts: rows that one calls odd and the other does not. The other columns are scores a second of one row "
        f"and of {MANY:,} at once, each on one thread, without reading the table.",
        f"The largest difference of all is {lines['difference'].max():.0e}, and {lines['verdicts'].sum()} verdicts "
        f"differ. onnxruntime gives {one} times as many scores a second of one row and {many} times as many of "
        f"{MANY:,}: median, least and most.",
        markdown(lines.set_index("set"), formats, "set"),
        ending([*provenance(command), f"onnxruntime {version('onnxruntime')}"]),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the lines as they come, and write the page."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of adbench/ and nsl_kdd/")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(given)
    lines = []
    for source in sources(options.data):
        for novelty in (False, True):
            lines.append(measure(source, novelty))
            print(lines[-1], flush=True)
            if options.output is not None:
                options.output.write_text(page(pd.DataFrame(lines), spell(given, "benchmarks.speed.onnx")))


if __name__ == "__main__":
    main()
