"""One method on one split of one set: its figures and its seconds. A method that fails scores as chance does."""

import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from benchmarks.shared.adbench import SPLITS, Split, read_table
from benchmarks.shared.peers import METHODS, Method

REASON = 200  # characters of an error, at most
KEY = ["setting", "set", "seed", "method", "cap"]


@dataclass(frozen=True)
class Figure:
    """How well a method ranked a set's test rows, and how long it took."""

    setting: str
    set: str
    seed: int
    method: str
    cap: int  # rows of the set at most; 0: all of them
    auroc: float
    average_precision: float
    fit_seconds: float
    score_seconds: float
    rows_trained: int
    jobs: int  # processes at a time: seconds compare only where this is 1
    commit: str  # of the code that was measured
    error: str  # why the method failed, in one line; empty where it did not


@dataclass(frozen=True)
class Task:
    """What to measure; seeds that cannot differ are served by one measurement."""

    path: Path
    setting: str
    method: str
    seeds: tuple[int, ...]
    cap: int
    jobs: int
    commit: str


@dataclass
class Outcome:
    """Scores of the test rows, or the error, and the seconds until then."""

    scores: np.ndarray | None = None
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    error: str = ""


def measure(task: Task) -> list[Figure]:
    """A figure for each of the task's seeds."""
    method, seed = METHODS[task.method], task.seeds[0]
    split = SPLITS[task.setting](read_table(task.path, task.cap), seed)
    drawn = split.draw(method.max_train, seed)
    outcome = run(method, drawn, seed, standardise=split.train)
    auroc, average_precision = judge(split.labels, outcome.scores)
    return [
        Figure(
            setting=task.setting,
            set=task.path.stem,
            seed=served,
            method=method.name,
            cap=task.cap,
            auroc=auroc,
            average_precision=average_precision,
            fit_seconds=outcome.fit_seconds,
            score_seconds=outcome.score_seconds,
            rows_trained=len(drawn.train),
            jobs=task.jobs,
            commit=task.commit,
            error=outcome.error,
        )
        for served in task.seeds
    ]


def judge(labels: np.ndarray, scores: np.ndarray | None) -> tuple[float, float]:
    """AUROC and average precision; of no scores what a constant would get."""
    if scores is None:
        return 0.5, float(labels.mean())
    return float(roc_auc_score(labels, scores)), float(average_precision_score(labels, scores))


def run(method: Method, split: Split, seed: int, *, standardise: np.ndarray) -> Outcome:
    """Fit and score, timed; what goes wrong in a peer is its result, not ours. Its warnings are not ours either.

    ``standardise`` are the training rows before any were drawn: where they lie and how far they spread is cheap to
    know.
    """
    outcome = Outcome()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            warm_up(method)
            _fit_and_score(method, split, seed, standardise, outcome)
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the method failed on this set
            outcome.error = " ".join(f"{type(error).__name__}: {error}".split())[:REASON]
    return outcome


def _fit_and_score(method: Method, split: Split, seed: int, standardise: np.ndarray, outcome: Outcome) -> None:
    """Fill in the outcome as far as it goes."""
    begin = time.perf_counter()
    try:
        scaler = StandardScaler() if method.scaled else FunctionTransformer()
        scaler.fit(standardise)
        peer = method.make(split.novelty, seed)
        peer.fit(scaler.transform(split.train))
    finally:
        outcome.fit_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    try:
        scores = peer.score(scaler.transform(split.test), split.own)
    finally:
        outcome.score_seconds = time.perf_counter() - begin
    odd = np.count_nonzero(~np.isfinite(scores))
    if odd:
        raise ArithmeticError(f"{odd} of {len(scores)} scores are not finite")
    outcome.scores = scores


@cache
def warm_up(method: Method) -> None:
    """Import and compile what the method needs before its time is taken: some rows, fitted and scored."""
    rows = np.random.default_rng(0).normal(size=(64, 3))
    peer = method.make(True, 0)
    peer.fit(rows)
    peer.score(rows, np.full(len(rows), -1))
