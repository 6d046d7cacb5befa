"""A table with all kinds of columns, and a detector fitted to it."""

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector

N_ROWS = 80


def mixed_table() -> pd.DataFrame:
    """Numbers, whole numbers, flags, truth values, text, categories, dates and durations; most have a missing cell."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=N_ROWS)
    table = pd.DataFrame(
        {
            "number": x.round(3),
            "whole": rng.integers(0, 50, N_ROWS),
            "flag": (x > 0).astype(int),
            "truth": x > 0.3,
            "maybe": pd.array(x > -0.3, dtype="boolean"),
            "text": np.where(x > 0, "up", "down"),
            "category": pd.Categorical(rng.choice(["low", "high"], N_ROWS)),
            "code": pd.Categorical(rng.choice([3, 7], N_ROWS)),
            "day": pd.date_range("2026-01-01", periods=N_ROWS, freq="7h"),
            "length": pd.to_timedelta(rng.integers(60, 90_000, N_ROWS), unit="s"),
        }
    )
    for row, name in enumerate(["number", "maybe", "text", "category", "code", "day", "length"], 3):
        table.loc[row, name] = None
    return table


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return mixed_table()


@pytest.fixture(scope="session")
def detector(table) -> VAEDetector:
    return VAEDetector(max_iter=20, random_state=0).fit(table)
