import re

import numpy as np
import pandas as pd
import pytest

from benchmarks.speed import onnx


@pytest.fixture
def table():
    """Numbers and a category; every tenth row is an anomaly."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(size=60), "b": rng.choice(["x", "y"], 60)})
    is_anomaly = np.arange(60) % 10 == 0
    rows.loc[is_anomaly, "a"] += 9
    return onnx.LabelledTable("made up", rows, is_anomaly)


@pytest.mark.slow
def test_a_graph_scores_like_its_detector(table, monkeypatch):
    monkeypatch.setattr(onnx, "SECONDS", 0.01)
    line = onnx.measure(table, novelty=True)
    assert (line["set"], line["setting"], line["rows"], line["columns"]) == ("made up", "novelty", 27, 2)
    assert line["difference"] < 1e-10
    assert line["verdicts"] == 0
    assert min(line["torch, 1"], line["onnx, 1"], line["torch, 4,096"], line["onnx, 4,096"]) > 0


def test_a_rate_is_that_of_the_fastest_call(monkeypatch):
    ticks = iter([0.0, 0.0, 0.3, 0.3, 0.4, 0.4, 0.9, 1.0])  # calls of 0.3, 0.1 and 0.5 seconds, then the end
    monkeypatch.setattr(onnx.time, "perf_counter", lambda: next(ticks))
    assert onnx.rate(lambda: None, 50) == pytest.approx(500)


def test_the_page_shows_its_figures_and_its_command(table, tmp_path, monkeypatch):
    line = {"set": "made up", "setting": "novelty", "rows": 27, "columns": 2, "exemplars": 27, "difference": 2e-13}
    line |= {"verdicts": 0, "KB": 1.4, "torch, 1": 10.0, "onnx, 1": 80.0, "torch, 4,096": 1e4, "onnx, 4,096": 2e4}
    monkeypatch.setattr(onnx, "measure", lambda *_: line)
    monkeypatch.setattr(onnx, "read_tables", lambda _: [table])
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    onnx.main(["--data=data", f"--output={tmp_path / 'onnx.md'}"])
    page = (tmp_path / "onnx.md").read_text()
    assert page.count("| made up | novelty | 27 | 2 | 27 | 2e-13 | 0 | 1 | 10 | 80 | 10,000 | 20,000 |") == 2
    assert (
        "scores single rows 8.0 (8.0 to 8.0) times as fast as the detector, and 4,096 rows at once 2.0 (2.0 to 2.0)"
        in page
    )
    assert re.search(r"command: `python -m benchmarks\.speed\.onnx --data=data --output=\S*onnx\.md`", page)
