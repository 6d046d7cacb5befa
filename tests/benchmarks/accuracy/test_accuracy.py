from dataclasses import replace

import pytest

from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy import measure as measuring
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.measure import KEY, Figure
from benchmarks.shared import peers
from benchmarks.shared.results_file import ResultsFile

QUICK = ["5 neighbours", "KCM", "IsolationForest"]


@pytest.fixture
def start(adbench, tmp_path):
    """Run the command on two tiny tables and read figures.csv."""

    def run(*arguments, methods=QUICK):
        output = tmp_path / "results"
        main(["--data", str(adbench), "--output", str(output), "--methods", *methods, *map(str, arguments)])
        return ResultsFile(output / "figures.csv", Figure, KEY).read()

    return run


@pytest.fixture(autouse=True)
def every_seed(monkeypatch):
    """No method is limited in seeds, since the tables are tiny."""
    for name, method in peers.METHODS.items():
        monkeypatch.setitem(peers.METHODS, name, replace(method, max_seeds=None))


@pytest.fixture
def measured(monkeypatch):
    """Tasks in the order of measurement."""
    tasks = []
    monkeypatch.setattr(accuracy, "measure", lambda task: tasks.append(task) or measuring.measure(task))
    return tasks


def test_the_command_writes_figures_and_pages(start, tmp_path, capsys):
    figures = start("--seeds", 1, "--setting", "novelty", methods=["vae-anomaly", "5 neighbours"])
    assert len(figures) == 4
    assert figures["error"].eq("").all()
    assert figures["auroc"].min() > 0.9
    text = (tmp_path / "results" / "novelty.md").read_text()
    assert "## vae-anomaly compared with each peer" in text
    assert str(tmp_path) not in text
    out, err = capsys.readouterr()
    assert "| 5 neighbours |" in out
    assert err == "" or "no plots" in err


def test_a_second_run_measures_only_what_is_missing(start, measured, tmp_path):
    figures = start("--seeds", 2, "--setting", "novelty")
    assert len(figures) == len(measured) == 2 * 3 * 2
    path = tmp_path / "results" / "figures.csv"
    *kept, _, last = path.read_text().splitlines(keepends=True)
    path.write_text("".join(kept) + last[:20])  # one row deleted, the next incomplete
    (tmp_path / "results" / "novelty.md").unlink()
    measured.clear()
    again = start("--seeds", 2, "--setting", "novelty")
    assert [(task.method, task.path.stem, task.seeds) for task in measured] == [
        ("IsolationForest", "2_wide", (0,)),
        ("IsolationForest", "2_wide", (1,)),
    ]
    assert again["auroc"].tolist() == figures["auroc"].tolist()
    measured.clear()
    start("--seeds", 2, "--setting", "novelty")
    assert measured == []
    assert (tmp_path / "results" / "novelty.md").exists()


def test_a_cap_is_never_mixed_with_whole_sets(start, tmp_path):
    start("--seeds", 1, "--setting", "outlier", "--cap", 40)
    assert "for development" in (tmp_path / "results" / "outlier.md").read_text()
    figures = start("--seeds", 1, "--setting", "outlier")
    assert figures.groupby("cap").size().to_dict() == {0: 6, 40: 6}
    assert "for development" not in (tmp_path / "results" / "outlier.md").read_text()


def test_a_method_that_would_take_hours_is_measured_with_fewer_seeds(start, measured, monkeypatch, tmp_path):
    monkeypatch.setitem(peers.METHODS, "KCM", replace(peers.METHODS["KCM"], max_seeds=1))
    start("--seeds", 2, "--setting", "novelty", methods=["KCM", "IsolationForest"])
    assert [task.seeds for task in measured if task.method == "KCM"] == [(0,)] * 2
    text = (tmp_path / "results" / "novelty.md").read_text()
    assert "Fewer seeds, where more would take hours: KCM 1." in text
    assert "Not complete" not in text


def test_what_cannot_differ_between_seeds_is_measured_once(start, measured):
    figures = start("--seeds", 3, "--setting", "outlier", methods=["5 neighbours", "IsolationForest"])
    assert [task.seeds for task in measured if task.method == "5 neighbours"] == [(0, 1, 2)] * 2
    assert [task.seeds for task in measured if task.method == "IsolationForest"] == [(0,), (1,), (2,)] * 2
    assert len(figures) == 2 * 3 * 2


@pytest.mark.slow  # each process imports torch
def test_processes_give_the_same_figures(start, adbench, tmp_path):
    alone = start("--seeds", 1, "--setting", "novelty")
    shared = tmp_path / "shared"
    main(["--data", str(adbench), "--output", str(shared), "--seeds", "1", "--jobs", "2", "--methods", *QUICK])
    figures = ResultsFile(shared / "figures.csv", Figure, KEY).read()
    figures = figures[figures["setting"] == "novelty"].sort_values(["method", "set"])
    assert figures["auroc"].tolist() == alone.sort_values(["method", "set"])["auroc"].tolist()
    assert "up to 2 processes" in (shared / "novelty.md").read_text()


def test_without_pyod_the_command_says_how_to_get_it(start, monkeypatch, capsys):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        start(methods=["ECOD"])
    assert 'pip install "vae-anomaly[benchmark]"' in capsys.readouterr().err


def test_a_folder_without_tables_is_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        main(["--data", str(tmp_path), "--output", str(tmp_path), "--methods", "KCM"])
    assert capsys.readouterr().err.startswith("error: ")


def test_the_plots_are_drawn(start, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    start("--seeds", 1, "--setting", "outlier")
    for name in ("ranks-outlier.png", "time-outlier.png"):
        assert (tmp_path / "results" / name).read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().err == ""
