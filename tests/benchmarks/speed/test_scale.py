import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.speed import scale


def test_the_table_has_the_requested_size_and_correlated_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "ROWS_AT_A_TIME", 400)
    scale.make_table(tmp_path / "table.parquet", 1000, 8)
    table = pq.read_table(tmp_path / "table.parquet").to_pandas()
    assert table.shape == (1000, 8)
    assert len(table.drop_duplicates()) == 1000
    variances = np.linalg.eigvalsh(table.cov())[::-1]
    assert variances[: scale.DIRECTIONS].sum() > 0.9 * variances.sum()


def test_the_page_compares_rates_with_the_rate_in_memory():
    found = [
        scale.Run("fit", 100, 2.0, 10**8),
        scale.Run("score, in memory", 100, 1.0, 5 * 10**8),
        scale.Run("score --stream", 100, 1.25, 3 * 10**8),
        scale.Run("fit", 1000, 9.0, 10**8),
        scale.Run("score --stream", 1000, 20.0, 3 * 10**8),
    ]
    page = scale.write_page(found, 10, ["a fact"])
    assert "at 80% and 50% of the rate of the table in memory" in page
    assert "| score --stream | 1,000 | 20.0 | 50 | 300 |" in page


@pytest.mark.slow
def test_each_step_runs_in_its_own_process_and_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "SMALL", 2000)
    found = list(scale.runs(3000, 4, tmp_path))
    assert [(run.work, run.rows) for run in found] == [
        ("fit", 2000),
        ("score, in memory", 2000),
        ("score --stream", 2000),
        ("fit", 3000),
        ("score --stream", 3000),
    ]
    assert min(run.peak_bytes for run in found) > 10**8
    assert list(tmp_path.iterdir()) == []
