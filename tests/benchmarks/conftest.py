"""Small tables in ADBench's format, and figures made by hand."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(20260117)


@pytest.fixture
def adbench(tmp_path, rng):
    """A folder of two tables: 50 normal rows around 0, 10 anomalies around 4."""
    folder = tmp_path / "adbench"
    folder.mkdir()
    for name, columns in [("1_narrow", 2), ("2_wide", 5)]:
        x = np.concatenate([rng.normal(size=(50, columns)), rng.normal(4, 1, size=(10, columns))])
        np.savez(folder / f"{name}.npz", X=x, y=np.repeat([0, 1], [50, 10]))
    return folder


@pytest.fixture
def make_figures():
    """Figures of ``{method: [AUROC on the first set, on the second, ...]}``; AP is half of it, a fit takes 2 s."""

    def make(aurocs, **columns):
        rows = [
            {"setting": "novelty", "set": f"{i}_set", "seed": 0, "method": method, "cap": 0, "auroc": auroc}
            for method, values in aurocs.items()
            for i, auroc in enumerate(values, start=1)
        ]
        frame = pd.DataFrame(rows).assign(fit_seconds=2.0, score_seconds=1.0, rows_trained=9, jobs=1, commit="abc")
        return frame.assign(average_precision=frame["auroc"] / 2, error="", **columns)

    return make
