"""The command line, run in this process where that shows the same, and a small table with one anomalous row."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.config import RECIPES, Recipe
from vae_anomaly_cli.main import main

ANOMALOUS_ROW = 17  # counted from 1, as the command line does
USUAL = dict(RECIPES)
QUICK = {"hidden_layer_sizes": (8, 8), "n_estimators": 1, "max_iter": 20, "gaussian_max_iter": 20, "longest": 20}


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str


@pytest.fixture
def cli(capsys):
    """Run a command in this process: ``cli("score", path)``."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()  # what was written before is not the command's: MLflow talks while a store is made
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ended(exit_.value.code or 0, out, err)

    return run


@contextlib.contextmanager
def fits_by(recipes: Mapping[str, Recipe]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, recipe in recipes.items():
            patch.setitem(RECIPES, name, recipe)
        yield


@pytest.fixture(scope="module")
def _quick_fits():
    """Small networks, trained briefly: for modules in which no statement depends on how good a model is."""
    with fits_by({name: replace(recipe, **QUICK) for name, recipe in USUAL.items()}):
        yield


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """Forty rows: height and weight go together, colour follows height; row 17 breaks both rules."""
    rng = np.random.default_rng(0)
    height = rng.normal(170, 10, 40).round(1)
    weight = (height - 100 + rng.normal(0, 2, 40)).round(1)
    colour = np.where(height > 170, "red", "blue").astype(object)
    height[ANOMALOUS_ROW - 1], weight[ANOMALOUS_ROW - 1], colour[ANOMALOUS_ROW - 1] = 150.0, 140.0, "red"
    name = [f"no. {i}" for i in range(1, 41)]
    return pd.DataFrame({"height": height, "weight": weight, "colour": colour, "name": name})


@pytest.fixture(scope="session")
def csv(frame, tmp_path_factory):
    """The table as a file, without the identifier."""
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    frame.drop(columns="name").to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def named_csv(frame, tmp_path_factory):
    """The table as a file, with a column in which every value is another."""
    path = tmp_path_factory.mktemp("tables") / "named.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def model(csv, tmp_path_factory):
    """A model fitted to the table, as usual."""
    path = tmp_path_factory.mktemp("models") / "people.vae"
    with fits_by(USUAL), pytest.raises(SystemExit, match="0"):
        main(["fit", str(csv), "--output", str(path)])
    return path


@pytest.fixture(scope="module")
def quick_model(csv, tmp_path_factory, _quick_fits):
    """A model fitted to the table as the other fits of a module with quick fits."""
    path = tmp_path_factory.mktemp("models") / "people.vae"
    with pytest.raises(SystemExit, match="0"):
        main(["fit", str(csv), "--output", str(path)])
    return path


@pytest.fixture(scope="session")
def scored(csv):
    """What ``score`` writes for the table, from a process of its own."""
    command = [sys.executable, "-m", "vae_anomaly_cli", "score", str(csv)]
    return subprocess.run(command, check=True, timeout=300, capture_output=True, text=True).stdout
