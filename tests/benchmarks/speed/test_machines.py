import pytest

from benchmarks.speed.machines import Run, Survey, rates, surveys, write_page
from benchmarks.speed.scale import make_table


def test_rates_leave_out_the_start_and_compare_equal_numbers_of_processors():
    found = [
        Run(1, 0, 100, 0.0, 2.0, 3.0, 10**8),
        Run(1, 0, 1100, 0.0, 4.0, 5.0, 10**8),
        Run(1, 1, 100, 9.0, 7.0, 3.0, 10**8),
        Run(1, 1, 1100, 9.0, 9.5, 6.0, 2 * 10**8),
        Run(2, 0, 100, 0.0, 2.0, 3.0, 10**8),
        Run(2, 0, 1100, 0.0, 3.0, 5.0, 10**8),
        Run(2, 2, 100, 9.0, 7.0, 3.0, 10**8),
        Run(2, 2, 1100, 9.0, 8.0, 5.0, 10**8),
    ]
    table = rates(found)
    assert table["rows a second"].tolist() == [500, 400, 1000, 1000]
    assert table["lost"].tolist() == pytest.approx([0, 0.2, 0, 0])
    assert table["processor µs a row"].tolist() == pytest.approx([2000, 3000, 2000, 2000])
    page = write_page(found, [Survey(500, 0.001, 0.1, 10**6, 0.002)], 10**6, 3, ["a fact"])
    assert "| 1 | Ray | 400 | 20% |" in page
    assert "| 500 | 1.0 | 100.0 | 1.00 | 2.0 |" in page


def test_a_worker_sends_back_fewer_rows_the_more_precede_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("vae_anomaly.data.sampling.TRAINING_ROWS", 300)
    monkeypatch.setattr("vae_anomaly.data.sampling.FEWEST_ROWS", 100)
    for number in range(4):
        make_table(tmp_path / f"part-{number}.parquet", 500, 3, seed=number)
    sizes = [survey.n_bytes for survey in surveys(tmp_path)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[3] < sizes[0] / 2
