"""Tasks of the representation benchmark: each method is measured one seed at a time."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.model_selection import train_test_split

SEEDS = 5  # for quick methods


@dataclass(frozen=True)
class Method:
    """A row of a task's table."""

    name: str
    make: Callable[..., Any]  # parameters and result depend on the task
    seeds: int = SEEDS  # fewer where more would take hours


class Result(NamedTuple):
    """Value of a measure, and the seconds to train and use the model, without evaluation."""

    measure: str
    value: float
    seconds: float


class Task(Protocol):
    """Interface of a task."""

    @property
    def methods(self) -> Sequence[Method]:
        """Methods to compare."""

    @property
    def measures(self) -> Sequence[str]:
        """Names of the measures, for each method and seed."""

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """Results as they are measured: at least the ``lacking`` measures."""


@dataclass(frozen=True)
class Chapter:
    """Section of the page for a task, and how to build the task from the data folder."""

    title: str
    about: str  # the protocol
    build: Callable[[Path], Task]
    averaged: bool = False  # whether all measures are the same quantity on several sets, and their mean is shown
    lower_is_better: bool = False


class Halves(NamedTuple):
    """Rows and labels of two halves."""

    train: Any
    test: Any
    train_labels: np.ndarray
    test_labels: np.ndarray


def halves(rows: Any, labels: np.ndarray, seed: int) -> Halves:
    """Random training half and test half, stratified by label."""
    return Halves(*train_test_split(rows, labels, test_size=0.5, stratify=labels, random_state=seed))
