import io

import pandas as pd
import pytest

from vae_anomaly.io.dataset import Dataset, reading_bar


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def file(tmp_path):
    pd.DataFrame({"x": range(1000)}).to_csv(tmp_path / "x.csv", index=False)
    return tmp_path / "x.csv"


def watched(dataset, monkeypatch, stream, *, shown=True):
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with reading_bar(dataset, shown=shown):
        for _ in dataset:
            pass
    return stream.getvalue()


def test_a_terminal_shows_how_many_bytes_were_read(file, monkeypatch):
    shown = watched(Dataset(file), monkeypatch, Terminal())
    assert f"{file.stat().st_size / 1000:.1f}/{file.stat().st_size / 1000:.1f} kB" in shown


def test_rows_are_counted_if_bytes_are_unknown(monkeypatch):
    frames = [pd.DataFrame({"x": range(600)}), pd.DataFrame({"x": range(700)})]
    assert "1,300 rows" in watched(Dataset(frames), monkeypatch, Terminal())


def test_without_a_terminal_nothing_is_drawn(file, monkeypatch):
    assert watched(Dataset(file), monkeypatch, io.StringIO()) == ""
    assert watched(Dataset(file), monkeypatch, Terminal(), shown=False) == ""
