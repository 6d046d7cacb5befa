import re

import numpy as np
import pandas as pd
import pytest

from benchmarks.decisions import drift


def test_patched_rows_leave_every_column_what_it_was(rng):
    draw = drift.mixed_table(rng, 1000)
    patched = drift.break_rows(draw, rng)
    for name in draw:
        assert sorted(patched[name].dropna()) == sorted(draw[name].dropna())
    moved = (patched.fillna(0) != draw.fillna(0)).any(axis=1).to_numpy()
    assert not moved[: drift.BROKEN_FROM].any()
    assert np.flatnonzero(moved).tolist() == list(range(drift.BROKEN_FROM, 1000, drift.BROKEN_EVERY))


def test_the_moved_column_moves_by_half_a_deviation_and_no_other_does(rng):
    draw = drift.mixed_table(rng, 50)
    moved = drift.shift(draw, draw)
    assert (moved[drift.MOVED] - draw[drift.MOVED]).to_numpy() == pytest.approx(0.5 * draw[drift.MOVED].std())
    pd.testing.assert_frame_equal(moved.drop(columns=drift.MOVED), draw.drop(columns=drift.MOVED))


def test_the_page_tells_how_it_came_about(tmp_path, monkeypatch):
    line = dict.fromkeys(["false alarms", "shift found", "patched rows seen"], 0.25)
    line = {"setting": "novelty", "training rows": 9, "fits × draws": "1 × 1", **line, "after rows": np.nan}
    monkeypatch.setattr(drift, "measure", lambda *_: line)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    drift.main(["--sizes", "9", f"--output={tmp_path / 'drift.md'}"])
    page = (tmp_path / "drift.md").read_text()
    assert page.count("| novelty | 9 | 1 × 1 | 0.250 | 0.250 | 0.250 | – |") == 2
    assert re.search(r"command: `python -m benchmarks\.decisions\.drift --sizes 9 --output=\S*drift\.md`", page)


@pytest.mark.slow
@pytest.mark.parametrize("novelty", [False, True])
def test_alarms_are_rare_without_drift_and_certain_with_it(novelty):
    line = drift.measure(drift.mixed_table, novelty, 300, fits=5, draws=8)
    assert line["false alarms"] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)
    assert line["shift found"] == 1
    assert line["another named"] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 15)
    if not novelty:
        assert line["kept scores as they are"] > 0.5  # what the second model is there for
