"""Accuracy and seconds of a method on a split of a set; a method that fails gets the accuracy of a constant score."""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from benchmarks.shared.adbench import Split, read_split
from benchmarks.shared.peers import METHODS, Method, warm_up

KEY = ["setting", "set", "seed", "method", "cap"]


@dataclass(frozen=True)
class Figure:
    """A row of figures.csv: accuracy and seconds of a method on a set."""

    setting: str
    set: str
    seed: int
    method: str
    cap: int  # most rows of the set; 0: all rows
    auroc: float
    average_precision: float
    fit_seconds: float
    score_seconds: float
    rows_trained: int
    jobs: int  # parallel processes: seconds are comparable only where this is 1
    commit: str  # of the measured code
    error: str  # message in one line if the method failed, else ''


@dataclass(frozen=True)
class Task:
    """Something to measure; one measurement serves all seeds that cannot differ."""

    path: Path
    setting: str
    method: str
    seeds: tuple[int, ...]
    cap: int
    jobs: int
    commit: str


@dataclass
class Outcome:
    """Scores of the test rows or an error, and the seconds spent."""

    scores: np.ndarray | None = None
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    error: str = ""


def measure(task: Task) -> list[Figure]:
    """A figure for each seed of the task."""
    method, seed = METHODS[task.method], task.seeds[0]
    split = read_split(task.path, task.setting, seed, task.cap)
    sampled = split.subsample(method.max_train, seed)
    outcome = run(method, sampled, seed, standardise=split.train)
    auroc, average_precision = accuracy(split.labels, outcome.scores)
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
            rows_trained=len(sampled.train),
            jobs=task.jobs,
            commit=task.commit,
            error=outcome.error,
        )
        for served in task.seeds
    ]


def accuracy(labels: np.ndarray, scores: np.ndarray | None) -> tuple[float, float]:
    """AUROC and average precision; without scores, those of a constant score."""
    if scores is None:
        return 0.5, float(labels.mean())
    return float(roc_auc_score(labels, scores)), float(average_precision_score(labels, scores))


def run(method: Method, split: Split, seed: int, *, standardise: np.ndarray) -> Outcome:
    """Fit and score a method, timed; an exception becomes its error, and its warnings are not shown.

    ``standardise`` are the training rows before subsampling, since their mean and standard deviation are cheap.
    """
    outcome = Outcome()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            warm_up(method)
            _fit_and_score(method, split, seed, standardise, outcome)
        except Exception as error:  # noqa: BLE001 - libraries raise anything; the method failed on this set
            outcome.error = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return outcome


def _fit_and_score(method: Method, split: Split, seed: int, standardise: np.ndarray, outcome: Outcome) -> None:
    """Fill in the outcome; seconds are kept also if the method raises."""
    begin = time.perf_counter()
    try:
        scaler = (StandardScaler() if method.scaled else FunctionTransformer()).fit(standardise)
        peer = method.make(split.novelty, seed)
        peer.fit(scaler.transform(split.train))
    finally:
        outcome.fit_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    try:
        scores = peer.score(scaler.transform(split.test), split.train_index)
    finally:
        outcome.score_seconds = time.perf_counter() - begin
    if not_finite := np.count_nonzero(~np.isfinite(scores)):
        raise ArithmeticError(f"{not_finite} of {len(scores)} scores are not finite")
    outcome.scores = scores
