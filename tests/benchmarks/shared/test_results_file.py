from dataclasses import fields

import pytest

from benchmarks.accuracy.measure import KEY, Figure
from benchmarks.shared.results_file import ResultsFile

FIGURE = Figure("novelty", "1_a", 0, "KCM", 0, 1 / 3, 0.25, 1.5, 0.5, 40, 1, "12e4567", "ValueError: no, never")


def test_what_is_appended_is_read_back(tmp_path):
    file = ResultsFile(tmp_path / "new" / "figures.csv", Figure, KEY)
    file.append([FIGURE])
    assert [Figure(*row) for row in file.read().itertuples(index=False)] == [FIGURE]
    assert (tmp_path / "new" / "figures.csv").read_text().count("\n") == 2


@pytest.mark.parametrize("partial", ["nov", "novelty,1_a,1,KCM,0,0.3", 'novelty,1_a,1,KCM,0,1,1,1,1,9,1,abc,"an err'])
def test_an_incomplete_last_line_is_removed(tmp_path, partial):
    path = tmp_path / "figures.csv"
    ResultsFile(path, Figure, KEY).append([FIGURE])
    whole = path.read_text()
    path.write_text(whole + partial)
    ResultsFile(path, Figure, KEY).append([FIGURE])
    assert path.read_text() == whole + whole.splitlines()[1] + "\n"


def test_an_incomplete_header_is_rewritten(tmp_path):
    (tmp_path / "figures.csv").write_text("setting,se")
    assert list(ResultsFile(tmp_path / "figures.csv", Figure, KEY).read().columns) == [
        column.name for column in fields(Figure)
    ]


def test_other_columns_are_refused(tmp_path):
    (tmp_path / "figures.csv").write_text("setting,set\n")
    with pytest.raises(ValueError, match="The columns of figures.csv are not setting, set, seed"):
        ResultsFile(tmp_path / "figures.csv", Figure, KEY)


def test_of_two_rows_with_the_same_key_the_later_counts(tmp_path):
    file = ResultsFile(tmp_path / "figures.csv", Figure, KEY)
    file.append([FIGURE, Figure("novelty", "1_a", 0, "KCM", 0, 0.9, 0.25, 1.5, 0.5, 40, 1, "abc", "")])
    assert file.read()["auroc"].tolist() == [0.9]
