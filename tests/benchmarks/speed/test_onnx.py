import re

import numpy as np
import pandas as pd
import pytest

from benchmarks.speed import onnx as onnx_parity


@pytest.fixture
def source():
    """Numbers and a category; every tenth row is odd."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(size=60), "b": rng.choice(["x", "y"], 60)})
    odd = np.arange(60) % 10 == 0
    rows.loc[odd, "a"] += 9
    return onnx_parity.Source("made up", rows, odd)


@pytest.mark.slow
def test_a_graph_scores_as_the_detector_it_was_made_of(source, monkeypatch):
    monkeypatch.setattr(onnx_parity, "SECONDS", 0.01)
    line = onnx_parity.measure(source, novelty=True)
    assert (line["set"], line["setting"], line["rows"], line["columns"]) == ("made up", "novelty", 27, 2)
    assert line["difference"] < 1e-10
    assert line["verdicts"] == 0
    assert min(line["torch, 1"], line["onnx, 1"], line["torch, 4,096"], line["onnx, 4,096"]) > 0


def test_a_rate_is_rows_a_second_of_the_quickest_call(monkeypatch):
    ticks = iter([0.0, 0.0, 0.3, 0.3, 0.4, 0.4, 0.9, 1.0])  # calls of 0.3, 0.1 and 0.5 seconds, then the end
    monkeypatch.setattr(onnx_parity.time, "perf_counter", lambda: next(ticks))
    assert onnx_parity.rate(lambda: None, 50) == pytest.approx(500)


def test_the_page_tells_how_it_came_about(source, tmp_path, monkeypatch):
    line = {"set": "made up", "setting": "novelty", "rows": 27, "columns": 2, "exemplars": 27, "difference": 2e-13}
    line |= {"verdicts": 0, "KB": 1.4, "torch, 1": 10.0, "onnx, 1": 80.0, "torch, 4,096": 1e4, "onnx, 4,096": 2e4}
    monkeypatch.setattr(onnx_parity, "measure", lambda *_: line)
    monkeypatch.setattr(onnx_parity, "sources", lambda _: [source])
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    onnx_parity.main(["--data=data", f"--output={tmp_path / 'onnx.md'}"])
    page = (tmp_path / "onnx.md").read_text()
    assert page.count("| made up | novelty | 27 | 2 | 27 | 2e-13 | 0 | 1 | 10 | 80 | 10,000 | 20,000 |") == 2
    assert "8.0 (8.0 to 8.0) times as many scores a second of one row and 2.0 (2.0 to 2.0)" in page
    assert re.search(r"command: `python -m benchmarks\.speed\.onnx --data=data --output=\S*onnx\.md`", page)
