"""Tables with wrong rows: errors planted into clean rows, and labelled tables as they are.

A data folder holds ``plant_errors.py``, ``make_tables.py`` and ``data/tables``: for each table ``NAME.parquet`` with a
column ``__label__`` (1 = wrong row), for dirty tables ``NAME.mask.parquet`` (True = wrong cell), and ``manifest.csv``.
"""

from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pandas as pd

PLANTED, NEW, OUTLIER, NOVELTY = "planted", "new", "outlier", "novelty"
SETTINGS = (PLANTED, NEW, OUTLIER, NOVELTY)
LABEL = "__label__"
MADE_ROWS = 2400


class Table(NamedTuple):
    """Rows to score, which of them are wrong, which cells are wrong, and which errors were planted."""

    rows: pd.DataFrame
    labels: np.ndarray  # (rows,), True for wrong rows
    mask: pd.DataFrame  # (rows, columns), True for wrong cells; without columns if they are unknown
    log: pd.DataFrame  # planted errors: row, kind, columns
    train: pd.DataFrame  # rows to learn from


def names(data: Path, setting: str = PLANTED) -> list[str]:
    """Names of the tables of a setting; errors are planted into tables that are not wide (groups a, b and d)."""
    manifest = pd.read_csv(_existing(data / "data" / "tables" / "manifest.csv")).sort_values(["group", "name"])
    if setting not in (PLANTED, NEW):
        return manifest["name"].to_list()
    return [*_module(data / "make_tables.py").TABLES, *manifest.loc[manifest["group"] != "c", "name"]]


def read(data: Path, setting: str, name: str, rate: float, seed: int, most: int = 0) -> Table:
    """Table of a setting; only planted errors use ``rate``."""
    if setting in (PLANTED, NEW):
        return planted(data, name, rate, seed, most, new=setting == NEW)
    return labelled(data, name, None if setting == OUTLIER else seed, most)


def planted(data: Path, name: str, rate: float, seed: int, most: int = 0, *, new: bool = False) -> Table:
    """A clean table with planted errors.

    Parameters
    ----------
    data : Path
        Data folder.
    name : str
        One of `names`.
    rate : float
        Fraction of wrong rows, from 1 up their number; 0 leaves the table clean.
    seed : int
        Seed of the errors, and of a table that is made.
    most : int
        Most rows, sampled; 0 keeps all.
    new : bool
        Learn from a random half of the rows, which stays clean, and plant errors into the other.
    """
    clean = _sample(clean_rows(data, name, seed), most)
    train = None
    if new:
        order, half = np.random.default_rng(seed).permutation(len(clean)), len(clean) // 2
        train, clean = (clean.iloc[np.sort(part)].reset_index(drop=True) for part in (order[:half], order[half:]))
    if rate == 0:
        mask = pd.DataFrame(False, index=clean.index, columns=clean.columns)
        dirty, log = clean, pd.DataFrame(columns=["row", "kind", "columns"])
    else:
        fraction = rate / len(clean) if rate >= 1 else rate
        dirty, mask, log = _module(data / "plant_errors.py").plant(clean, rate=fraction, seed=seed)
    return Table(dirty, mask.any(axis=1).to_numpy(bool), mask, log, dirty if train is None else train)


def clean_rows(data: Path, name: str, seed: int) -> pd.DataFrame:
    """Rows without errors: of a table that is made, or those labelled 0."""
    made = _module(data / "make_tables.py")
    if name in made.TABLES:
        return made.make(name, MADE_ROWS, seed)
    table = _labelled_rows(data, name)
    return table[table[LABEL] == 0].drop(columns=LABEL).reset_index(drop=True)


def labelled(data: Path, name: str, novelty_seed: int | None = None, most: int = 0) -> Table:
    """A table as it is, to learn from all rows; with a seed, to learn from a random half of the rows labelled 0.

    That half is not scored.
    """
    table = _sample(_labelled_rows(data, name), most)
    path = data / "data" / "tables" / f"{name}.mask.parquet"
    mask = pd.read_parquet(path).loc[table.index] if path.exists() else pd.DataFrame(index=table.index)
    rows, labels = table.drop(columns=LABEL), table[LABEL].to_numpy() == 1
    log, is_train = pd.DataFrame(columns=["row", "kind", "columns"]), np.zeros(len(rows), bool)
    if novelty_seed is None:
        return Table(rows, labels, mask, log, rows)
    normal = np.random.default_rng(novelty_seed).permutation(np.flatnonzero(~labels))
    is_train[normal[: len(normal) // 2]] = True
    return Table(rows[~is_train], labels[~is_train], mask[~is_train], log, rows[is_train])


def _labelled_rows(data: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(_existing(data / "data" / "tables" / f"{name}.parquet"))


def _sample(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most this many rows, in their order; the index tells which."""
    return table if not 0 < most < len(table) else table.sample(most, random_state=0).sort_index()


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"{path} does not exist. Name the folder that holds make_tables.py and data/tables.")
    return path


@cache
def _module(path: Path) -> ModuleType:
    """The module of a file, which need not be on the import path."""
    spec = spec_from_file_location(path.stem, _existing(path))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
