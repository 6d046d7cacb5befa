"""``vae-anomaly score``: rows that repeat an earlier row, on standard error and with --duplicates in the output."""

import io
import json

import pandas as pd
import pytest

pytestmark = pytest.mark.usefixtures("_quick_fits")

PAIRS = {41: 3, 42: 8}  # later row and earlier row, counted from 1
REPEATED = "2 rows repeat an earlier row in every column but 'name'; the first: row 41 repeats row 3"


@pytest.fixture(scope="module")
def repeated(frame, tmp_path_factory):
    """The table of people, followed by two of its rows under other names."""
    path = tmp_path_factory.mktemp("tables") / "repeated.csv"
    again = frame.iloc[[row - 1 for row in PAIRS.values()]].assign(name=["no. 90", "no. 91"])
    pd.concat([frame, again]).to_csv(path, index=False)
    return path


def test_repeats_are_counted_on_standard_error_and_the_output_stays_as_it_is(cli, repeated, model):
    ended = cli("score", repeated, "--model", model)
    assert f"{REPEATED}; mark them with --duplicates" in ended.err.splitlines()
    assert ended.out.splitlines()[0] == "row,anomaly_score,p_value,severity,is_anomaly,reason"
    assert cli("score", repeated, "--model", model, "--quiet").err == ""


@pytest.mark.parametrize("hidden", [(), ("--exclude", "name")], ids=["left out by the fit", "excluded"])
def test_the_option_adds_a_column_with_the_number_of_the_earlier_row(cli, repeated, hidden):
    ended = cli("score", repeated, "--duplicates", *hidden)
    assert REPEATED in ended.err.splitlines()
    ranking = pd.read_csv(io.StringIO(ended.out))
    assert list(ranking.columns)[1:] == ["anomaly_score", "p_value", "severity", "is_anomaly", "duplicate_of", "reason"]
    assert ranking.set_index("row")["duplicate_of"].dropna().to_dict() == PAIRS


def test_the_column_is_there_without_repeats_too(cli, csv, model):
    ended = cli("score", csv, "--model", model, "--duplicates")
    assert "repeat" not in ended.err
    assert pd.read_csv(io.StringIO(ended.out))["duplicate_of"].isna().all()


def test_repeats_leave_the_scores_as_they_are(cli, repeated, model):
    plain, marked = (cli("score", repeated, "--model", model, *more).out for more in ((), ("--duplicates",)))
    marked = pd.read_csv(io.StringIO(marked)).drop(columns="duplicate_of")
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(plain)), marked)


def test_json_lines_have_whole_numbers_and_nulls(cli, repeated, model, tmp_path):
    cli("score", repeated, "--model", model, "--duplicates", "--output", tmp_path / "scores.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert {line["row"]: line["duplicate_of"] for line in lines if line["duplicate_of"] is not None} == PAIRS
    assert all(isinstance(line["duplicate_of"], int | None) for line in lines)


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--stream",), "needs all rows at once"), (("--keep", "duplicate_of"), "also the name of an output column")],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_does_not_go_together_is_wrong_usage(cli, csv, options, said):
    ended = cli("score", csv, "--duplicates", *options)
    assert (ended.status, ended.out) == (2, "")
    assert said in " ".join(ended.err.replace("│", " ").split())
