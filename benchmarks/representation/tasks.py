"""What the benchmark of codes is made of: tasks, whose methods are measured one seed at a time.

A task is learned and judged by seed: `halves` is the split that all share but imputation, which has no test rows.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.model_selection import train_test_split

SEEDS = 5  # of a method that is quick


@dataclass(frozen=True)
class Method:
    """A line of a task's table."""

    name: str
    make: Callable[..., Any]  # what it takes and gives is the task's affair
    seeds: int = SEEDS  # at most, where more would take hours


class Result(NamedTuple):
    """A value, and the seconds of learning and using; a judge's seconds are not counted."""

    measure: str
    value: float
    seconds: float


class Task(Protocol):
    """A question put to every method."""

    @property
    def methods(self) -> Sequence[Method]:
        """Who is asked."""

    @property
    def measures(self) -> Sequence[str]:
        """What is asked of each, for each seed."""

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """Results as they come, of the measures that are lacking at least."""


@dataclass(frozen=True)
class Chapter:
    """A task's place on the page, and how to set it up from the data folder."""

    title: str
    about: str  # the protocol, in sentences
    build: Callable[[Path], Task]
    averaged: bool = False  # the measures are of one kind, of several sets: their mean is shown too
    lower_is_better: bool = False


class Halves(NamedTuple):
    """Rows and labels of two halves."""

    train: Any
    test: Any
    train_labels: np.ndarray
    test_labels: np.ndarray


def halves(rows: Any, labels: np.ndarray, seed: int) -> Halves:
    """A random half to learn from, the other to test on, each with the same share of every label."""
    return Halves(*train_test_split(rows, labels, test_size=0.5, stratify=labels, random_state=seed))
