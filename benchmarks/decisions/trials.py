"""Repeated fits on labelled tables, and the error rates of the rows that are flagged.

Each fit is tested on several batches of new rows. The batches of a fit are not independent, so standard errors are
those of the fits' means.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from scipy.stats import kstest, kstwobign

from benchmarks.decisions.judges import Judge
from benchmarks.shared.adbench import Table
from benchmarks.shared.timing import timed
from vae_anomaly.scoring.decide import FlaggingRule

COLUMNS, FACTORS = 10, 4
NOISE = 0.25  # standard deviation of the part of a column that the factors do not explain
SHIFT = 4.0  # standard deviations by which one cell of a shifted row is changed
LEVELS = (0.05, 0.1, 0.2)  # requested false discovery rates
THRESHOLDS = (0.01, 0.05, 0.1, 0.2)  # fraction of normal rows that should have a p-value up to this
SIGNIFICANT = 0.05  # level of the test of uniform p-values


@dataclass(frozen=True)
class Batch:
    """Rows (rows, columns), and whether each is an anomaly; only the error rates use the latter."""

    x: np.ndarray
    is_anomaly: np.ndarray


class Source(Protocol):
    """Interface of a source of rows."""

    def training(self, n_rows: int, contamination: float, rng: np.random.Generator) -> np.ndarray:
        """Training rows (rows, columns), of which a fraction ``contamination`` are anomalies."""

    def test(self, n_normal: int, n_anomalies: int, rng: np.random.Generator) -> Batch:
        """Test rows, the normal ones first; none is among the last training rows."""


class Correlated:
    """Ten Gaussian columns of unit variance with four common factors; every row is new.

    Half of the anomalies take each cell from a different normal row. The others are normal rows with one shifted cell.
    """

    def training(self, n_rows: int, contamination: float, rng: np.random.Generator) -> np.ndarray:
        """New rows, the anomalies last."""
        n_anomalies = round(contamination * n_rows)
        return self.test(n_rows - n_anomalies, n_anomalies, rng).x

    def test(self, n_normal: int, n_anomalies: int, rng: np.random.Generator) -> Batch:
        """New rows."""
        mixed = rng.normal(size=(n_anomalies - n_anomalies // 2, COLUMNS))
        shifted = self._normal(n_anomalies // 2, rng)
        cells = np.arange(len(shifted)), rng.integers(COLUMNS, size=len(shifted))
        shifted[cells] += SHIFT * rng.choice([-1, 1], len(shifted))
        x = np.concatenate([self._normal(n_normal, rng), mixed, shifted])
        return Batch(x, np.arange(len(x)) >= n_normal)

    def _normal(self, n_rows: int, rng: np.random.Generator) -> np.ndarray:
        loadings = np.random.default_rng(0).normal(size=(FACTORS, COLUMNS))  # the same distribution every time
        loadings *= np.sqrt(1 - NOISE**2) / np.linalg.norm(loadings, axis=0)
        return rng.normal(size=(n_rows, FACTORS)) @ loadings + NOISE * rng.normal(size=(n_rows, COLUMNS))


class Halves:
    """A labelled table: a random half of its normal rows and of its anomalies is for training, the rest for tests."""

    def __init__(self, table: Table):
        self.table = table

    def training(self, n_rows: int, contamination: float, rng: np.random.Generator) -> np.ndarray:
        """Rows of a new random half, sampled without replacement, the anomalies last."""
        groups = [rng.permutation(np.flatnonzero(self.table.y == label)) for label in (0, 1)]
        n_anomalies = round(contamination * n_rows)
        self.rest = [rows[len(rows) // 2 :] for rows in groups]
        return self.table.x[
            _first_rows([rows[: len(rows) // 2] for rows in groups], (n_rows - n_anomalies, n_anomalies))
        ]

    def test(self, n_normal: int, n_anomalies: int, rng: np.random.Generator) -> Batch:
        """Rows of the other half, sampled without replacement."""
        rows = _first_rows([rng.permutation(rest) for rest in self.rest], (n_normal, n_anomalies))
        return Batch(self.table.x[rows], self.table.y[rows] == 1)


def _first_rows(groups: Sequence[np.ndarray], counts: tuple[int, int]) -> np.ndarray:
    """The first rows of each group, normal rows and anomalies."""
    for rows, count in zip(groups, counts, strict=True):
        if len(rows) < count:
            raise ValueError(f"Half of the table has only {len(rows)} rows of a group; {count} were requested.")
    return np.concatenate([rows[:count] for rows, count in zip(groups, counts, strict=True)])


@dataclass(frozen=True)
class Rule:
    """How rows are flagged: options of the p-values, and the method for multiple tests."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    method: str = "bh"
    levels: tuple[float, ...] = LEVELS

    def flagged(self, p_values: np.ndarray, level: float) -> np.ndarray:
        """Rows that `VAEDetector.detect` flags at this false discovery rate."""
        return FlaggingRule(fdr=level, method=self.method).flag(p_values, p_values, np.nan)


@dataclass(frozen=True)
class Trial:
    """A repeated experiment: new training rows and a fit, then new batches to test."""

    part: str
    source: str  # name
    judge: str  # name
    make: Callable[[int], Judge]  # from a seed
    rules: Sequence[Rule] = (Rule("bh"),)
    n_train: int = 1_000
    contamination: float = 0.0
    rows: tuple[int, int] = (900, 100)  # normal rows and anomalies of a batch
    times: tuple[int, int] = (40, 5)  # fits, and batches for each fit
    uniform: bool = False  # whether p-values of normal rows are tested for uniformity

    def limited(self, fits: int | None) -> "Trial":
        """The same trial with at most ``fits`` fits; None for no limit."""
        return self if fits is None else replace(self, times=(min(fits, self.times[0]), self.times[1]))


@dataclass(frozen=True)
class Reading:
    """Result of a rule on a fit: a mean over the batches."""

    rule: str
    measure: str
    value: float


def run(trial: Trial, source: Source) -> Iterator[Reading]:
    """Readings of all fits."""
    fits, n_batches = trial.times
    for seed in range(fits):
        rng = np.random.default_rng(seed)  # for the data only, so that all judges see the same rows
        judge = trial.make(seed)
        train = source.training(trial.n_train, trial.contamination, rng)
        batches = [source.test(*trial.rows, rng) for _ in range(n_batches)]
        seconds = timed(judge.fit, train).seconds + timed(judge.score, batches[0].x).seconds
        scores = np.split(judge.score(np.concatenate([batch.x for batch in batches])), n_batches)
        for rule in trial.rules:
            p_values = [judge.p_values(of_batch, **rule.options) for of_batch in scores]
            yield Reading(rule.name, "seconds", seconds)
            yield Reading(rule.name, "share taken for anomalies", judge.contamination(**rule.options))
            yield from errors(rule, p_values, [batch.is_anomaly for batch in batches])
            if trial.uniform:
                normal = [p[~batch.is_anomaly] for p, batch in zip(p_values, batches, strict=True)]
                yield from uniformity(rule.name, normal, judge.n_reference)


def errors(rule: Rule, p_values: Sequence[np.ndarray], is_anomaly: Sequence[np.ndarray]) -> Iterator[Reading]:
    """False discovery proportion and power at each level, averaged over the batches of a fit."""
    for level in rule.levels if any(rows.any() for rows in is_anomaly) else ():
        flagged = [rule.flagged(p, level) for p in p_values]
        pairs = list(zip(flagged, is_anomaly, strict=True))
        yield Reading(rule.name, f"FDP at {level}", float(np.mean([false_discoveries(*pair) for pair in pairs])))
        yield Reading(rule.name, f"power at {level}", float(np.mean([power(*pair) for pair in pairs])))


def false_discoveries(flagged: np.ndarray, is_anomaly: np.ndarray) -> float:
    """Fraction of normal rows among the flagged rows; 0 if none is flagged."""
    return float((flagged & ~is_anomaly).sum() / max(1, flagged.sum()))


def power(flagged: np.ndarray, is_anomaly: np.ndarray) -> float:
    """Fraction of the anomalies that are flagged."""
    return float(flagged[is_anomaly].mean())


def uniformity(rule: str, normal: Sequence[np.ndarray], n_reference: int) -> Iterator[Reading]:
    """Fraction of normal rows up to each threshold, and whether a test rejects uniform p-values in the first batch."""
    p_values = np.concatenate(normal)
    for threshold in THRESHOLDS:
        yield Reading(rule, f"share up to {threshold}", float((p_values <= threshold).mean()))
    yield Reading(rule, "found not uniform", float(uniform_p_value(normal[0], n_reference) < SIGNIFICANT))


def uniform_p_value(p_values: np.ndarray, n_reference: int) -> float:
    """P-value of the two-sample Kolmogorov-Smirnov test that normal rows have uniform p-values.

    It is the test of two samples because all p-values share the reference rows, which are a sample as well.
    """
    rows = len(p_values) * n_reference / (len(p_values) + n_reference)
    return float(kstwobign.sf(np.sqrt(rows) * kstest(p_values, "uniform").statistic))
