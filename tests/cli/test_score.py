"""``vae-anomaly score``: what it writes, in which order, and what it refuses."""

import io
import json
import sys

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector, load, write_table
from vae_anomaly_cli.main import main

pytestmark = pytest.mark.usefixtures("_quick_fits")
ANOMALOUS_ROW = 17
READERS = {
    ".csv": pd.read_csv,
    ".tsv": lambda path: pd.read_csv(path, sep="\t"),
    ".parquet": pd.read_parquet,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
}


def table_of(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


@pytest.fixture(scope="module")
def quickly_scored(csv, tmp_path_factory, _quick_fits):
    """What ``score`` writes with a model that is trained in this process, and briefly."""
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    with pytest.raises(SystemExit, match="0"):
        main(["score", str(csv), "--quiet", "--output", str(path)])
    return table_of(path.read_text())


def test_piped_it_writes_every_row_once_in_the_order_of_the_file(scored):
    assert scored.splitlines()[0] == "row,anomaly_score,p_value,severity,is_anomaly,reason"
    assert list(table_of(scored)["row"]) == list(range(1, 41))


def test_sorted_the_most_anomalous_row_is_first(cli, csv, model, scored):
    ranking = table_of(cli("score", csv, "--model", model, "--sort").out)
    assert ranking["row"][0] == ANOMALOUS_ROW
    assert ranking["anomaly_score"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(ranking.sort_values("row", ignore_index=True), table_of(scored))


def test_whole_and_streamed_a_benchmark_can_join_by_position(cli, csv, model):
    """A user compared the positions of two outputs, and measured 0.50 AUROC for a model that finds everything."""
    outputs = [table_of(cli("score", csv, "--model", model, *more).out) for more in ((), ("--stream",))]
    for output in outputs:
        np.testing.assert_allclose(output["anomaly_score"], load(model).anomaly_score(pd.read_csv(csv)), rtol=1e-5)


def test_scores_have_six_digits_or_as_many_as_asked(cli, csv, model):
    exact = load(model).detect(pd.read_csv(csv))
    for name in ("anomaly_score", "p_value", "severity"):
        for digits, options in ((6, ()), (3, ("--digits", 3))):
            expected = [float(f"{value:.{digits}g}") for value in exact[name]]
            assert list(table_of(cli("score", csv, "--model", model, *options).out)[name]) == expected
        written = table_of(cli("score", csv, "--model", model, "--digits", 17).out)[name]
        np.testing.assert_array_equal(written, exact[name])


def test_severity_is_the_percentage_of_lower_reference_scores(cli, csv, model):
    found, reference = table_of(cli("score", csv, "--model", model).out), -load(model).model_.reference.scores
    lower = [(reference < score).mean() for score in load(model).anomaly_score(pd.read_csv(csv))]
    np.testing.assert_allclose(found["severity"], 100 * np.array(lower), rtol=1e-5)
    assert found["severity"][ANOMALOUS_ROW - 1] == 97.5  # the highest of the 40, its own


@pytest.mark.parametrize("streams", [(), ("--stream",)], ids=["whole", "streamed"])
def test_appended_the_file_stands_there_as_it_was(cli, csv, model, tmp_path, streams):
    header, *lines = csv.read_text().splitlines()
    table = tmp_path / "codes.csv"
    zips = ["00501", "1234567890123456789", "", "NA", '"a,b"', *["007"] * 35]
    table.write_text("".join(f"{line},{more}\n" for line, more in zip([header, *lines], ["zip", *zips], strict=True)))
    options = ("score", table, "--model", model, "--quiet", *streams)
    appended = cli(*options, "--append").out.splitlines()
    alone = cli(*options).out.splitlines()
    assert appended == [f"{line},{ours}" for line, ours in zip(table.read_text().splitlines(), alone, strict=True)]
    kept = cli(*options, "--keep", "*").out.splitlines()
    assert kept == [f"{ours},{line}" for line, ours in zip(table.read_text().splitlines(), alone, strict=True)]


@pytest.mark.parametrize("streams", [(), ("--stream",)], ids=["whole", "streamed"])
def test_a_summary_for_machines(cli, csv, model, tmp_path, streams):
    flagged = int((load(model).predict(pd.read_csv(csv)) == -1).sum())
    target = tmp_path / "scores.csv"
    for more, output in (((), None), (("--output", target), str(target))):
        found = json.loads(cli("score", csv, "--model", model, "--json", *streams, *more).out)
        assert (found["rows"], found["flagged"], found["output"]) == (40, flagged, output)
        assert found["threshold"] == -load(model).offset_
    assert len(pd.read_csv(target)) == 40
    assert json.loads(cli("score", csv, "--model", model, "--json", "--alerts", 3).out)["threshold"] is None
    assert cli("score", csv, "--model", model, "--json", "--output", "-").status == 2


@pytest.mark.parametrize(
    "option", [("--append",), ("--keep", "colour"), ("--sort",), ("--top", 3)], ids=lambda of: of[0]
)
def test_options_of_the_table_are_refused_where_none_is_written(cli, csv, model, tmp_path, option):
    alone = cli("score", csv, "--model", model, "--json", *option)
    assert alone.status == 2
    assert f"{option[0]}: it applies to the table" in " ".join(alone.err.replace("\u2502", "").split())
    assert cli("score", csv, "--model", model, "--json", "--output", tmp_path / "a.csv", *option).status == 0


@pytest.mark.parametrize("streams", [(), ("--stream",)], ids=["whole", "streamed"])
@pytest.mark.parametrize("option", [("--append",), ("--keep", "row")], ids=lambda of: of[0])
def test_a_column_with_the_name_of_an_output_is_refused_with_the_option_given(
    cli, csv, model, tmp_path, option, streams
):
    pd.read_csv(csv).assign(row=1).to_csv(tmp_path / "a.csv", index=False)
    ended = cli("score", tmp_path / "a.csv", "--model", model, *option, *streams)
    assert ended.status == 2
    assert f"{option[0]}: 'row' is also the name of an output column" in " ".join(
        ended.err.replace("\u2502", "").split()
    )


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """A model of a table with codes such as A3 and 12, and today's table, of which the codes are digits only."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("codes")
    code = rng.choice(["A3", "12", "B9", "7"], 200)
    size = np.where(code == "12", 10.0, 20.0) + rng.normal(size=200).round(2)
    VAEDetector(random_state=0).fit(pd.DataFrame({"code": code, "size": size})).save(folder / "codes.vae")
    today = pd.DataFrame({"code": ["12", "7", "12", "12"], "size": [10.0, 20.5, 20.0, 10.5]})
    for name in ("today.csv", "today.jsonl", "today.xlsx", "today.parquet"):
        write_table(today.assign(code=today["code"].astype(int)), folder / name)
    return folder, load(folder / "codes.vae").anomaly_score(today)


@pytest.mark.parametrize("name", ["today.csv", "today.jsonl", "today.xlsx", "today.parquet"])
@pytest.mark.parametrize("streams", [(), ("--stream",)], ids=["whole", "streamed"])
def test_codes_of_digits_are_the_codes_of_the_model(cli, coded, name, streams):
    folder, scores = coded
    ended = cli("score", folder / name, "--model", folder / "codes.vae", *streams)
    np.testing.assert_allclose(table_of(ended.out)["anomaly_score"], scores, rtol=1e-5)


@pytest.mark.parametrize("more", [(), ("--json",), ("--stream",)], ids=lambda more: " ".join(more) or "whole")
def test_a_pipeline_can_stop_at_anomalies(cli, csv, model, tmp_path, more):
    whole = cli("score", csv, "--model", model, *more)
    failed = cli("score", csv, "--model", model, "--fail-if-anomalies", *more)
    assert (whole.status, failed.status, failed.out) == (0, 3, whole.out)
    detector, rows = load(model), pd.read_csv(csv)
    rows[detector.predict(rows) == 1].to_csv(tmp_path / "normal.csv", index=False)
    assert cli("score", tmp_path / "normal.csv", "--model", model, "--fail-if-anomalies", *more).status == 0


def test_a_model_gives_its_own_scores_and_flags(cli, csv, model):
    ranking = table_of(cli("score", csv, "--model", model, "--digits", 17).out)
    rows, detector = pd.read_csv(csv), load(model)
    np.testing.assert_allclose(ranking["anomaly_score"], detector.anomaly_score(rows), rtol=1e-9)
    np.testing.assert_array_equal(ranking["is_anomaly"], detector.predict(rows) == -1)


def test_fit_and_score_apart_write_the_bytes_of_score_alone_in_another_process(cli, csv, model, scored):
    assert cli("score", csv, "--model", model).out == scored


def test_kept_columns_follow_with_their_values(cli, named_csv, model, frame):
    command = ("score", named_csv, "--model", model, "--keep", "name", "--keep", "height", "--exclude", "name")
    ranking = table_of(cli(*command).out)
    ours = ["row", "anomaly_score", "p_value", "severity", "is_anomaly", "reason"]
    assert list(ranking.columns) == [*ours, "name", "height"]
    np.testing.assert_array_equal(ranking["name"], frame["name"].iloc[ranking["row"] - 1])
    np.testing.assert_array_equal(ranking["height"], frame["height"].iloc[ranking["row"] - 1])


def test_a_kept_column_still_counts_unless_it_is_excluded(cli, csv, quickly_scored):
    kept = table_of(cli("score", csv, "--keep", "height").out)
    excluded = table_of(cli("score", csv, "--keep", "height", "--exclude", "height").out)
    assert list(kept["anomaly_score"]) == list(quickly_scored["anomaly_score"])
    assert list(excluded["anomaly_score"]) != list(quickly_scored["anomaly_score"])


def test_top_cuts_the_ranking(cli, csv, model):
    whole, top = (cli("score", csv, "--model", model, *more).out.splitlines() for more in (("--sort",), ("--top", 3)))
    assert top == whole[:4]


def test_rows_of_equal_score_stay_in_the_order_of_the_table(cli, csv, model, tmp_path):
    twice = tmp_path / "twice.csv"
    pd.concat([pd.read_csv(csv)] * 2).to_csv(twice, index=False)
    ranking = table_of(cli("score", twice, "--model", model, "--sort").out)
    for _, rows in ranking.groupby("anomaly_score")["row"]:
        assert rows.is_monotonic_increasing


def test_a_new_model_has_its_findings_on_standard_error_the_worst_first(cli, csv, model, monkeypatch):
    found = pd.DataFrame(
        {
            "check": list("abcdef"),
            "verdict": ["good", "look", "bad", "look", "look", "bad"],
            "message": ["All is well.", "It wavers.", "It knows nothing.", "It drifts.", "It ends.", "It diverged."],
        }
    )
    monkeypatch.setattr(VAEDetector, "diagnose", lambda _, quick: found[: 10 if quick else 0])
    err = cli("score", csv).err.splitlines()
    assert [line for line in err if line.startswith(("warning", "note"))] == [
        "warning: It knows nothing.",
        "warning: It diverged.",
        "note: It wavers.",
    ]
    assert "It wavers" not in cli("score", csv, "--quiet").err
    assert "It wavers" not in cli("score", csv, "--model", model).err
    assert "note: It wavers." in cli("score", csv, "--stream").err


def test_the_rule_is_said_and_what_to_do_where_many_rows_are_flagged(cli, csv, model, tmp_path):
    target = tmp_path / "scores.csv"
    usual = cli("score", csv, "--model", model, "--output", target).err
    rate = load(model).false_alarm_rate_
    assert "of 40 rows need a look. Rows are flagged if at most " in usual
    assert (rate, "of normal rows are as anomalous." in usual) == (0.01, True)
    many = tmp_path / "many.csv"
    pd.read_csv(csv).assign(weight=1e4).to_csv(many, index=False)
    flagged = cli("score", many, "--model", model, "--output", target).err
    assert "More than 5 % are flagged, so this is hardly an outlier problem" in flagged
    assert "--alerts or --fdr" in flagged
    by_rule = cli("score", many, "--model", model, "--output", target, "--alerts", 9).err
    assert "The 9 most anomalous rows are flagged." in by_rule
    assert "hardly" not in by_rule


@pytest.mark.parametrize("suffix", READERS)
def test_the_suffix_chooses_the_format(cli, csv, model, tmp_path, suffix):
    target = tmp_path / f"scores{suffix}"
    ended = cli("score", csv, "--model", model, "--keep", "colour", "--output", target)
    ranking = READERS[suffix](target)
    assert (ended.status, ended.out) == (0, "")
    assert list(ranking.columns) == ["row", "anomaly_score", "p_value", "severity", "is_anomaly", "reason", "colour"]
    assert ranking["anomaly_score"].idxmax() == ANOMALOUS_ROW - 1
    assert ended.err.startswith(f"{target}: 40 rows written.\n{csv}: 40 rows and 3 columns read.\n")
    assert f"{ranking['is_anomaly'].sum()} of 40 rows need" in ended.err


def test_a_dash_reads_standard_input(cli, csv, model, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(csv.read_bytes())))
    assert cli("score", "-", "--model", model).out == cli("score", csv, "--model", model).out


def test_calibration_changes_the_reference_scores_not_the_model(cli, csv, quickly_scored):
    crossed = table_of(cli("score", csv, "--calibration", "cross").out)
    np.testing.assert_array_equal(crossed["anomaly_score"], quickly_scored["anomaly_score"])
    assert not np.allclose(crossed["p_value"], quickly_scored["p_value"])


@pytest.mark.parametrize("option", [("--seed", 1), ("--bound", "iwae"), ("--novelty",)], ids=lambda option: option[0])
def test_each_option_of_the_fit_changes_the_scores(cli, csv, quickly_scored, option):
    scores = table_of(cli("score", csv, *option).out)["anomaly_score"]
    assert not np.allclose(scores, quickly_scored["anomaly_score"])


def test_contamination_is_the_fraction_that_is_flagged(cli, csv):
    assert table_of(cli("score", csv, "--contamination", 0.25).out)["is_anomaly"].sum() == 10


def test_flagged_rows_have_a_reason_and_others_none(cli, csv, model, scored):
    ranking = table_of(scored)
    assert ranking["is_anomaly"].sum() >= 1
    assert (ranking["reason"].notna() == ranking["is_anomaly"]).all()
    assert "weight 140.0, expected " in ranking["reason"][ANOMALOUS_ROW - 1]
    top = table_of(cli("score", csv, "--model", model, "--top", 1).out)
    assert top["reason"][0] == ranking["reason"][ANOMALOUS_ROW - 1]


def test_p_values_are_those_of_the_library(cli, csv, model):
    ranking = table_of(cli("score", csv, "--model", model).out)
    np.testing.assert_allclose(ranking["p_value"], load(model).p_values(pd.read_csv(csv)), rtol=1e-5)


@pytest.mark.parametrize("rule", [("fdr", 0.2), ("alerts", 3), ("false-alarm-rate", 0.1)], ids=lambda rule: rule[0])
def test_rows_are_flagged_by_what_is_asked(cli, csv, model, rule):
    name, value = rule
    ranking = table_of(cli("score", csv, "--model", model, f"--{name}", value).out).sort_values("row")
    wanted = load(model).detect(pd.read_csv(csv), **{name.replace("-", "_"): value})["is_anomaly"]
    np.testing.assert_array_equal(ranking["is_anomaly"], wanted)
    assert 0 < wanted.sum() < 40


def test_rows_are_flagged_in_one_way(cli, csv):
    ended = cli("score", csv, "--fdr", 0.1, "--alerts", 5)
    assert ended.status == 2
    assert "--fdr and --alerts" in ended.err


FIT_OPTIONS = [("--seed", 0), ("--contamination", "auto"), ("--calibration", "split"), ("--bound", "elbo")]
FIT_OPTIONS += [("--novelty",)]


@pytest.mark.parametrize("option", FIT_OPTIONS)
def test_options_of_the_fit_are_refused_with_a_model(cli, csv, model, option):
    ended = cli("score", csv, "--model", model, *option)
    assert ended.status == 2
    assert option[0] in ended.err
    assert "already fitted" in " ".join(ended.err.replace("│", " ").split())  # the sentence may be wrapped in its box


def test_what_would_be_a_formula_is_written_as_text(cli, csv, model, tmp_path):
    evil = tmp_path / "evil.csv"
    pd.read_csv(csv).assign(note="=HYPERLINK(A1)").to_csv(evil, index=False)
    lines = cli("score", evil, "--model", model, "--keep", "note", "--quiet").out.splitlines()
    assert all(line.rpartition(",")[2].lstrip('"').startswith("'=") for line in lines[1:])


def test_warnings_are_one_line_each(cli, named_csv):
    err = cli("score", named_csv).err
    assert [line for line in err.splitlines() if line.startswith("warning: ") and "'name'" in line]
    assert "Warning" not in err


def test_quiet_prints_nothing_but_the_data(cli, named_csv, model):
    loud, quiet = cli("score", named_csv, "--model", model), cli("score", named_csv, "--model", model, "--quiet")
    assert loud.err.startswith("warning: ")
    assert (quiet.out, quiet.err) == (loud.out, "")


def test_json_lines_are_json(cli, csv, model, tmp_path):
    cli("score", csv, "--model", model, "--output", tmp_path / "scores.jsonl")
    first = json.loads((tmp_path / "scores.jsonl").read_text().splitlines()[ANOMALOUS_ROW - 1])
    assert first["row"] == ANOMALOUS_ROW
    assert first["is_anomaly"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nosuch.csv",), "There is no file 'nosuch.csv'"),
        (
            ("people.csv", "--keep", "hieght"),
            "people.csv: There is no column 'hieght' for --keep. Did you mean 'height'?",
        ),
        (("people.csv", "--exclude", "WEIGHT"), "Did you mean 'weight'?"),
        (("people.csv", "--keep", "zzz"), "The columns are: 'height', 'weight', 'colour'."),
        (("people.csv", "--model", "people.csv"), "people.csv"),
        (("infinite.csv",), "infinite.csv"),
        (("empty.csv",), "empty.csv"),
        ((".",), ". stands for several tables. Only `score` and `fit` read these, with --stream"),
        (("folder",), "There is no image in 'folder'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_errors_of_the_data_are_one_sentence_that_names_the_file(cli, csv, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_bytes(csv.read_bytes())
    (tmp_path / "infinite.csv").write_text("a,b\n1,2\ninf,3\n4,5\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "folder").mkdir()
    ended = cli("score", *arguments)
    assert ended.status == 1
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1
    assert said in ended.err


def test_a_table_that_lacks_a_column_of_the_model_says_which(cli, csv, model, tmp_path):
    pd.read_csv(csv).drop(columns="weight").to_csv(tmp_path / "less.csv", index=False)
    ended = cli("score", tmp_path / "less.csv", "--model", model)
    assert ended.status == 1
    assert "less.csv" in ended.err
    assert "weight" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--output", "scores.xls"), ".parquet"),
        (("--output", "nowhere/scores.csv"), "There is no folder nowhere"),
        (("--output", "people.csv"), "is also an input"),
        (("--output", "folder.csv"), "folder"),
        (("--contamination", "0.7"), "0.5"),
        (("--contamination", "some"), "'auto'"),
        (("--keep", "row"), "'row'"),
        (("--keep", "reason"), "'reason'"),
        (("--keep", "severity"), "'severity'"),
        (("--append", "--keep", "height"), "--keep"),
        (("--fdr", "1.5"), "between 0 and 1"),
        (("--false-alarm-rate", "0"), "between 0 and 1"),
        (("--alerts", "-1"), "0"),
        (("--top", "0"), "1"),
        (("--seed", "-1"), "0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_ends_with_2_before_anything_is_fitted(cli, csv, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vae_anomaly.VAEDetector.fit", lambda *_: pytest.fail("the fit began"))
    (tmp_path / "people.csv").write_bytes(csv.read_bytes())
    (tmp_path / "folder.csv").mkdir()
    ended = cli("score", "people.csv", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


def test_a_device_that_is_not_there_is_wrong_usage(cli, csv):
    ended = cli("score", csv, "--device", "quantum")
    assert ended.status == 2
    assert ended.err.startswith("error: ")
    assert "quantum" in ended.err


@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["whole", "streamed"])
def test_a_closed_standard_input_is_one_sentence(cli, model, monkeypatch, options):
    """As after ``<&-`` in a shell."""
    monkeypatch.setattr("sys.stdin", None)
    ended = cli("score", "-", "--model", model, *options)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "error: Standard input is closed. Name a file, or pipe the table in.\n"


def test_columns_that_are_not_kept_are_not_converted_to_text(cli, csv, model, monkeypatch):
    """A table of 100,000 columns took a minute for what was thrown away."""
    from vae_anomaly.io import read

    asked = []
    texts_of = read.texts_of
    monkeypatch.setattr(read, "texts_of", lambda table, names: asked.extend(names) or texts_of(table, names))
    assert cli("score", csv, "--model", model, "--keep", "colour").status == 0
    assert {*asked} == {"colour"}
