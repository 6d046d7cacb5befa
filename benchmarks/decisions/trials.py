"""Tables whose truth is known, drawn again and again, and how often a detector that flags their rows is wrong.

A batch is rows ``x`` (rows, columns) and ``odd`` (rows,), True where a row is an anomaly: only the count of errors
reads it. A fit is judged on several batches, which share its luck: standard errors are those of the fits' means.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from scipy.stats import kstest, kstwobign

from benchmarks.shared.adbench import Table
from vae_anomaly import VAEDetector
from vae_anomaly.scoring.calibration import Calibration
from vae_anomaly.scoring.decide import detection_rule

COLUMNS, FACTORS = 10, 4
NOISE = 0.25  # standard deviation of what the factors do not say of a column of unit variance
SHIFT = 4.0  # standard deviations by which one cell of a shifted row is off
LEVELS = (0.05, 0.1, 0.2)  # of false discoveries
SHARES = (0.01, 0.05, 0.1, 0.2)  # of normal rows, that p-values up to these should make up
SIGNIFICANT = 0.05  # p-value of the test for uniformity, below which a fit fails it


@dataclass(frozen=True)
class Batch:
    """Rows, and which of them are anomalies."""

    x: np.ndarray
    odd: np.ndarray


class Source(Protocol):
    """Where rows come from."""

    def training(self, n_rows: int, contamination: float, rng: np.random.Generator) -> np.ndarray:
        """Rows to train on, (rows, columns), of which this share are anomalies."""

    def test(self, n_normal: int, n_odd: int, rng: np.random.Generator) -> Batch:
        """Rows to judge, the normal ones first; none is among the training rows drawn last."""


class Correlated:
    """Ten Gaussian columns of unit variance that rest on four factors; every row is new.

    Of the anomalies, half have each cell from another normal row, and half are normal but for one cell, which is off.
    """

    def training(self, n_rows: int, contamination: float, rng: np.random.Generator) -> np.ndarray:
        """New rows, the anomalies last."""
        n_odd = round(contamination * n_rows)
        return self.test(n_rows - n_odd, n_odd, rng).x

    def test(self, n_normal: int, n_odd: int, rng: np.random.Generator) -> Batch:
        """New rows."""
        mixed = rng.normal(size=(n_odd - n_odd // 2, COLUMNS))
        shifted = self._normal(n_odd // 2, rng)
        cells = np.arange(len(shifted)), rng.integers(COLUMNS, size=len(shifted))
        shifted[cells] += SHIFT * rng.choice([-1, 1], len(shifted))
        x = np.concatenate([self._normal(n_normal, rng), mixed, shifted])
        return Batch(x, np.arange(len(x)) >= n_normal)

    def _normal(self, n_rows: int, rng: np.random.Generator) -> np.ndarray:
        loadings = np.random.default_rng(0).normal(size=(FACTORS, COLUMNS))  # the same law every time
        loadings *= np.sqrt(1 - NOISE**2) / np.linalg.norm(loadings, axis=0)
        return rng.normal(size=(n_rows, FACTORS)) @ loadings + NOISE * rng.normal(size=(n_rows, COLUMNS))


class Halves:
    """A labelled table: training rows come from a random half of its rows, of either kind, the others are judged."""

    def __init__(self, table: Table):
        self.table = table

    def training(self, n_rows: int, contamination: float, rng: np.random.Generator) -> np.ndarray:
        """Rows of a new half, drawn without replacement, the anomalies last."""
        kinds = [rng.permutation(np.flatnonzero(self.table.y == label)) for label in (0, 1)]
        n_odd = round(contamination * n_rows)
        self.rest = [rows[len(rows) // 2 :] for rows in kinds]
        return self.table.x[_taken([rows[: len(rows) // 2] for rows in kinds], (n_rows - n_odd, n_odd))]

    def test(self, n_normal: int, n_odd: int, rng: np.random.Generator) -> Batch:
        """Rows of the other half, drawn without replacement."""
        rows = _taken([rng.permutation(rest) for rest in self.rest], (n_normal, n_odd))
        return Batch(self.table.x[rows], self.table.y[rows] == 1)


def _taken(kinds: Sequence[np.ndarray], counts: tuple[int, int]) -> np.ndarray:
    """The first of the normal rows and of the anomalies."""
    for rows, count in zip(kinds, counts, strict=True):
        if len(rows) < count:
            raise ValueError(f"The half has {len(rows)} rows of a kind of which {count} were asked for.")
    return np.concatenate([rows[:count] for rows, count in zip(kinds, counts, strict=True)])


class Judge(Protocol):
    """What gives p-values: from scores, so that rows are scored once however these are read."""

    n_reference: int  # rows that new ones are held against

    def fit(self, x: np.ndarray) -> None:
        """Learn from training rows."""

    def score(self, x: np.ndarray) -> np.ndarray:
        """What p-values come from, (rows,)."""

    def p_values(self, scores: np.ndarray, **how: Any) -> np.ndarray:
        """P-value of each row, (rows,)."""

    def contamination(self, **how: Any) -> float:
        """Share of the reference rows that are taken for anomalies."""


class Ours:
    """The detector of this project; ``how`` are options of its `p_values`."""

    def __init__(self, **parameters: Any):
        self.detector = VAEDetector(**parameters)

    def fit(self, x: np.ndarray) -> None:
        """Learn from training rows."""
        self.detector.fit(x)

    @property
    def n_reference(self) -> int:
        """Rows that new ones are held against."""
        return len(self.detector.model_.reference.scores)

    def score(self, x: np.ndarray) -> np.ndarray:
        """ELBO of each row."""
        return self.detector.score_samples(x)

    def p_values(self, scores: np.ndarray, **how: Any) -> np.ndarray:
        """P-value of each row."""
        return self._calibration(**how).p_values(scores)

    def contamination(self, **how: Any) -> float:
        """Share of the reference rows that are left out for anomalies."""
        return self._calibration(**how).contamination

    def _calibration(self, *, contamination: float | str | None = None, extrapolate: bool = False) -> Calibration:
        return self.detector._calibration(contamination, extrapolate)


@dataclass(frozen=True)
class Rule:
    """How rows are flagged: by p-values that come about so, at a level of false discoveries."""

    name: str
    how: Mapping[str, Any] = field(default_factory=dict)
    method: str = "bh"
    levels: tuple[float, ...] = LEVELS

    def flagged(self, p_values: np.ndarray, level: float) -> np.ndarray:
        """Rows that `VAEDetector.detect` would flag."""
        rule = detection_rule(fdr=level, alerts=None, false_alarm_rate=None, method=self.method)
        return rule(p_values, p_values)


@dataclass(frozen=True)
class Trial:
    """What is repeated: new training rows and a fit, then new batches to judge."""

    part: str
    source: str  # by name
    judge: str  # by name
    make: Callable[[int], Judge]  # of a seed
    rules: Sequence[Rule] = (Rule("bh"),)
    n_train: int = 1_000
    contamination: float = 0.0
    rows: tuple[int, int] = (900, 100)  # of a batch, normal ones and anomalies
    times: tuple[int, int] = (40, 5)  # fits, and batches of each
    uniform: bool = False  # whether p-values of normal rows are tested for uniformity

    def limited(self, fits: int | None) -> "Trial":
        """The same with so many fits at most."""
        return self if fits is None else replace(self, times=(min(fits, self.times[0]), self.times[1]))


@dataclass(frozen=True)
class Reading:
    """What one rule made of one fit: a mean over its batches."""

    rule: str
    measure: str
    value: float


def run(trial: Trial, source: Source) -> Iterator[Reading]:
    """Readings of every fit."""
    fits, times = trial.times
    for seed in range(fits):
        rng = np.random.default_rng(seed)  # of the data: all judges see the same rows
        judge = trial.make(seed)
        train = source.training(trial.n_train, trial.contamination, rng)
        batches = [source.test(*trial.rows, rng) for _ in range(times)]
        begin = time.perf_counter()
        judge.fit(train)
        judge.score(batches[0].x)
        seconds = time.perf_counter() - begin
        scores = np.split(judge.score(np.concatenate([batch.x for batch in batches])), times)
        for rule in trial.rules:
            p_values = [judge.p_values(some, **rule.how) for some in scores]
            yield Reading(rule.name, "seconds", seconds)
            yield Reading(rule.name, "share taken for anomalies", judge.contamination(**rule.how))
            yield from errors(rule, p_values, [batch.odd for batch in batches])
            if trial.uniform:
                normal = [p[~batch.odd] for p, batch in zip(p_values, batches, strict=True)]
                yield from uniformity(rule.name, normal, judge.n_reference)


def errors(rule: Rule, p_values: Sequence[np.ndarray], odd: Sequence[np.ndarray]) -> Iterator[Reading]:
    """Mean share of false discoveries, and of anomalies found, over the batches of a fit, at each level."""
    for level in rule.levels if any(rows.any() for rows in odd) else ():
        flagged = [rule.flagged(p, level) for p in p_values]
        pairs = list(zip(flagged, odd, strict=True))
        yield Reading(rule.name, f"FDP at {level}", float(np.mean([false_discoveries(*pair) for pair in pairs])))
        yield Reading(rule.name, f"power at {level}", float(np.mean([power(*pair) for pair in pairs])))


def false_discoveries(flagged: np.ndarray, odd: np.ndarray) -> float:
    """Share of normal rows among the flagged; 0 where none is flagged."""
    return float((flagged & ~odd).sum() / max(1, flagged.sum()))


def power(flagged: np.ndarray, odd: np.ndarray) -> float:
    """Share of the anomalies that are flagged."""
    return float(flagged[odd].mean())


def uniformity(rule: str, normal: Sequence[np.ndarray], n_reference: int) -> Iterator[Reading]:
    """Shares of normal rows up to a p-value, and whether a test finds the first batch's other than uniform."""
    every = np.concatenate(normal)
    for share in SHARES:
        yield Reading(rule, f"share up to {share}", float((every <= share).mean()))
    yield Reading(rule, "found not uniform", float(uniform_p_value(normal[0], n_reference) < SIGNIFICANT))


def uniform_p_value(p_values: np.ndarray, n_reference: int) -> float:
    """P-value of Kolmogorov and Smirnov's test that normal rows have uniform p-values.

    The reference rows are a sample as well, and all p-values share it: that makes it the test of two samples.
    """
    rows = len(p_values) * n_reference / (len(p_values) + n_reference)
    return float(kstwobign.sf(np.sqrt(rows) * kstest(p_values, "uniform").statistic))
