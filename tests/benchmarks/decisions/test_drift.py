import re

import numpy as np
import pandas as pd
import pytest

from benchmarks.decisions import drift


def test_patched_rows_leave_the_values_of_every_column_unchanged(rng):
    draw = drift.mixed_table(rng, 1000)
    patched = drift.patch_rows(draw, rng)
    for name in draw:
        assert sorted(patched[name].dropna()) == sorted(draw[name].dropna())
    moved = (patched.fillna(0) != draw.fillna(0)).any(axis=1).to_numpy()
    assert not moved[: drift.PATCHED_FROM].any()
    assert np.flatnonzero(moved).tolist() == list(range(drift.PATCHED_FROM, 1000, drift.PATCHED_EVERY))


def test_only_the_shifted_column_moves_by_half_a_standard_deviation(rng):
    draw = drift.mixed_table(rng, 50)
    moved = drift.shift(draw, draw)
    assert (moved[drift.SHIFTED] - draw[drift.SHIFTED]).to_numpy() == pytest.approx(0.5 * draw[drift.SHIFTED].std())
    pd.testing.assert_frame_equal(moved.drop(columns=drift.SHIFTED), draw.drop(columns=drift.SHIFTED))


def test_the_page_shows_its_figures_and_its_command(tmp_path, monkeypatch):
    line = dict.fromkeys(["false alarms", "shift found", "patched rows found"], 0.25)
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
        assert line["without second model"] > 0.5  # the purpose of the second model
