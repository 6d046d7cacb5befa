"""What is measured of a method on a table: how early wrong rows and cells come, what is flagged, and what is said."""

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.errors.methods import Findings, findings_of
from benchmarks.errors.tables import Table

AP, AUROC, CELLS = "average precision", "AUROC", "average precision of cells"
FOUND = {1: "found in k", 2: "found in 2k", 3: "found in 3k"}  # k: number of wrong rows
KIND = "found in 3k: "  # followed by the kind of error
FIRST_CELL = "most surprising cell is wrong"
FIRST_REASON = "first reason names a wrong cell"
FLAGGED, INSIDE, SECONDS = "flagged", "value inside its stated range", "seconds"
KEY = ["setting", "table", "rate", "seed", "method", "most", "measure"]


@dataclass(frozen=True)
class Figure:
    """A row of errors.csv."""

    setting: str
    table: str
    rate: float  # planted wrong rows: their fraction, from 1 up their number; 0 if none are planted
    seed: int
    method: str
    most: int  # most rows of the table; 0: all rows
    measure: str
    value: float
    of: int  # number of rows, cells or reasons of which the value is a fraction or an average
    commit: str  # of the measured code
    error: str  # message in one line if the method failed, else ''


class Value(NamedTuple):
    """A measured value, and the number of rows, cells or reasons behind it."""

    measure: str
    value: float
    of: int


def measure(method: str, table: Table, seed: int) -> tuple[list[Value], str]:
    """All values of a method on a table, and its error if it failed; the warnings of libraries are not shown."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        findings, error = findings_of(method, table, seed)
        seconds = Value(SECONDS, time.perf_counter() - begin, len(table.rows))
        return [*values(findings, table), seconds], error


def values(findings: Findings, table: Table) -> Iterator[Value]:
    """Values that do not depend on time.

    Found rows are the wrong rows among the first 3k, k being the number of wrong rows.
    """
    flagged = findings.flagged
    if flagged is not None:
        yield Value(FLAGGED, float(flagged.mean()), len(flagged))
    is_found = np.zeros(len(table.labels), bool)
    if table.labels.any():
        yield from _ranking(findings.scores, table)
        is_found = table.labels & (ranks(findings.scores) < 3 * table.labels.sum())
    if findings.cells is not None and table.mask.to_numpy().any():
        cells, wrong = findings.cells[table.mask.columns].to_numpy(np.float64), table.mask.to_numpy(bool)
        yield Value(CELLS, float(average_precision_score(wrong.ravel(), cells.ravel())), wrong.size)
        if is_found.any():
            first = cells[is_found].argmax(1)
            yield Value(FIRST_CELL, float(wrong[is_found, first].mean()), int(is_found.sum()))
    if findings.reasons is not None and flagged is not None:
        stated = findings.reasons(np.flatnonzero(is_found | flagged))
        if is_found.any() and table.mask.to_numpy().any():
            right = first_is_wrong(stated, table.mask, np.flatnonzero(is_found))
            yield Value(FIRST_REASON, float(right.mean()), len(right))
        inside = is_inside(stated[flagged[stated["row"].to_numpy(int)]])
        if len(inside):
            yield Value(INSIDE, float(inside.mean()), len(inside))


def _ranking(scores: np.ndarray, table: Table) -> Iterator[Value]:
    """How early the wrong rows come."""
    labels, rank = table.labels, ranks(scores)
    if not labels.all():
        yield Value(AUROC, float(roc_auc_score(labels, scores)), len(labels))
    yield Value(AP, float(average_precision_score(labels, scores)), len(labels))
    for times, name in FOUND.items():
        yield Value(name, float((rank[labels] < times * labels.sum()).mean()), int(labels.sum()))
    for kind, rows in table.log.groupby("kind")["row"]:
        yield Value(f"{KIND}{kind}", float((rank[rows.to_numpy(int)] < 3 * labels.sum()).mean()), len(rows))


def ranks(scores: np.ndarray) -> np.ndarray:
    """Rank of each row, 0 for the most anomalous; equal rows come in random order, the same at every call."""
    order = np.random.default_rng(0).permutation(len(scores))
    rank = np.empty(len(scores), int)
    rank[order[np.argsort(-scores[order], kind="stable")]] = np.arange(len(scores))
    return rank


def first_is_wrong(stated: pd.DataFrame, mask: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """For each of these rows whether its first stated cell is wrong; False for a row without stated cells."""
    first = stated.drop_duplicates("row").set_index("row")["column"]
    return np.array([row in first.index and bool(mask[first[row]].iloc[row]) for row in rows])


def is_inside(stated: pd.DataFrame) -> np.ndarray:
    """For each stated cell with a range, whether its value lies inside it, ends included; text is in no range."""
    ranged = stated[stated["low"].notna() & stated["high"].notna() & stated["value"].notna()]
    return np.array(
        [not isinstance(row.value, str) and row.low <= row.value <= row.high for row in ranged.itertuples()], bool
    )
