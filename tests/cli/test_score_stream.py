"""``vae-anomaly score --stream``: the same scores piece by piece, in the order of the rows, interrupted or not."""

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.io.read import read_table

SMALL_PIECES = """
import sys
from vae_anomaly.io import pieces as sizes
from vae_anomaly_cli import main, stream
sizes.MOST_ROWS, stream.COMMIT_SECONDS = 4, 0
main.main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 8)
    monkeypatch.setattr("vae_anomaly_cli.stream.COMMIT_SECONDS", 0)


@pytest.fixture
def stream(cli, model):
    """Score with --stream and the model: ``stream(path, ...)``."""
    return lambda file, *arguments: cli("score", file, "--stream", "--model", model, *arguments)


@pytest.fixture(scope="session")
def parts(frame, tmp_path_factory):
    """The table in a folder of three Parquet files."""
    folder = tmp_path_factory.mktemp("parts")
    for number, begin in enumerate((0, 5, 30), 9):
        frame.iloc[begin : {9: 5, 10: 30}.get(number, 40)].to_parquet(folder / f"part-{number}.parquet")
    return folder


def table_of(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def assert_alike(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The same up to rounding, which few rows at a time do not share: a row of training then misses its own p-value."""
    ranks = ["p_value", "severity"]
    pd.testing.assert_frame_equal(found.drop(columns=ranks), expected.drop(columns=ranks), rtol=1e-5, check_dtype=False)
    np.testing.assert_allclose(found["p_value"], expected["p_value"], atol=1.1 / 40)
    np.testing.assert_allclose(found["severity"], expected["severity"], atol=110 / 40)


@pytest.fixture
def in_memory(cli, csv, model):
    """What ``score`` writes of the table read whole, in the order of the rows."""
    return table_of(cli("score", csv, "--model", model).out).sort_values("row", ignore_index=True)


def test_rows_come_in_their_order_with_the_scores_of_the_table_read_whole(stream, csv, in_memory):
    ended = stream(csv)
    assert_alike(table_of(ended.out), in_memory)
    assert re.fullmatch(
        r"-: 40 rows written; [\d,]+ rows a second\.\n\S+: 40 rows and 3 columns read\.\n"
        r"\d+ of 40 rows need a look. Rows are flagged if .*\n",
        ended.err,
        re.S,
    )


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz", "parquet"])
def test_every_format_holds_the_same(stream, csv, in_memory, tmp_path, suffix):
    target = tmp_path / f"scores.{suffix}"
    ended = stream(csv, "--output", target)
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.startswith(f"{target}: 40 rows written; ")
    found = pd.read_json(target, lines=True) if "jsonl" in suffix else read_table(target)
    found["reason"] = found["reason"].replace("", np.nan)
    assert_alike(found, in_memory)
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize("pattern", ["{}", "{}/part-*.parquet"])
def test_files_of_a_folder_are_one_table_and_rows_say_where_they_stand(stream, parts, in_memory, pattern):
    found = table_of(stream(pattern.format(parts), "--exclude", "name").out)
    assert_alike(found.drop(columns=["file", "file_row"]), in_memory)
    names = [f"{parts}/part-{number}.parquet" for number in (9, 10, 11)]
    assert found["file"].tolist() == [names[0]] * 5 + [names[1]] * 25 + [names[2]] * 10
    assert found["file_row"].tolist() == [*range(1, 6), *range(1, 26), *range(1, 11)]


def test_in_pieces_of_the_usual_length_scores_are_those_of_the_whole_table_to_the_last_bit(
    stream, cli, csv, model, tmp_path, monkeypatch
):
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 1024)
    rng, rows = np.random.default_rng(0), pd.concat([pd.read_csv(csv)] * 60, ignore_index=True)
    rows["weight"] += rng.normal(size=len(rows))
    rows.to_csv(tmp_path / "long.csv", index=False)
    whole = cli("score", tmp_path / "long.csv", "--model", model, "--digits", 17).out
    assert stream(tmp_path / "long.csv", "--digits", 17).out == whole


def test_standard_input_is_scored_as_it_comes(stream, csv, in_memory, monkeypatch):
    packed = gzip.compress(csv.read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(packed)))
    assert_alike(table_of(stream("-").out), in_memory)


def test_columns_are_kept_as_they_stand(stream, csv, tmp_path):
    table = pd.read_csv(csv).assign(id=[f"{number:03}" for number in range(40)], note="=1+1")
    table.to_csv(tmp_path / "named.csv", index=False)
    options = ("--keep", "id", "--keep", "height", "--keep", "note", "--exclude", "id", "--exclude", "note")
    lines = stream(tmp_path / "named.csv", *options).out.splitlines()
    assert lines[0] == "row,anomaly_score,p_value,severity,is_anomaly,reason,id,height,note"
    assert [line.split(",")[-3:] for line in lines[1:3]] == [
        [f"{number:03}", str(table["height"][number]), "'=1+1"] for number in (0, 1)
    ]


def test_the_most_anomalous_rows_are_those_of_the_table_read_whole(stream, cli, csv, model, tmp_path):
    top = cli("score", csv, "--model", model, "--top", 5, "--keep", "colour").out
    found = stream(csv, "--top", 5, "--keep", "colour").out
    assert_alike(table_of(found), table_of(top))
    twice = tmp_path / "twice.csv"
    pd.concat([pd.read_csv(csv)] * 2).to_csv(twice, index=False)
    whole, found = cli("score", twice, "--model", model, "--top", 20), stream(twice, "--top", 20)
    assert [(row - 1) % 40 for row in table_of(found.out)["row"]] == [
        (row - 1) % 40 for row in table_of(whole.out)["row"]
    ]
    for _, rows in table_of(found.out).groupby("anomaly_score")["row"]:
        assert rows.is_monotonic_increasing


def test_a_false_alarm_rate_is_kept_row_by_row(stream, cli, csv, model):
    whole = table_of(cli("score", csv, "--model", model, "--false-alarm-rate", 0.2).out).sort_values("row")
    found = table_of(stream(csv, "--false-alarm-rate", 0.2).out)
    assert found["is_anomaly"].tolist() == whole["is_anomaly"].tolist()
    assert 0 < found["is_anomaly"].sum() < 40


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fdr", 0.1), "it needs all rows at once"),
        (("--alerts", 3), "it needs all rows at once"),
        (("--sort",), "it needs all rows at once"),
        (("--track",), "it needs all rows at once"),
        (("--skip-bad",), "it applies to images"),
        (("--keep", "file_row"), "'file_row' is also the name of an output column"),
        (("--output", "people.csv"), "people.csv is also an input"),
        (("--output", "scores.xls"), ".parquet"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_wrong_usage_ends_with_2(stream, csv, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_bytes(csv.read_bytes())
    ended = stream("people.csv", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert said in " ".join(ended.err.replace("│", "").split())


def test_errors_are_one_sentence_that_names_file_and_row(stream, csv, tmp_path):
    lines = csv.read_text().splitlines()
    height, rest = lines[20].split(",", 1)
    (tmp_path / "infinite.csv").write_text("\n".join([*lines[:20], f"inf,{rest}", *lines[24:]]))
    (tmp_path / "long.csv").write_text("\n".join([*lines[:30], f"{lines[30]},more", *lines[31:]]))
    target = tmp_path / "scores.csv"
    for name, said in (
        ("infinite.csv", "infinite.csv: Column 'height' is infinite in row 20 (the first row is 1)"),
        ("long.csv", "long.csv' has 4 fields in line 31, but 3 column names"),
        ("nosuch.csv", "There is no file"),
        ("no*.csv", "No file fits"),
    ):
        ended = stream(tmp_path / name, "--output", target)
        assert (ended.status, len(ended.err.splitlines())) == (1, 1)
        assert said in ended.err
    assert sorted(os.listdir(tmp_path)) == ["infinite.csv", "long.csv"]


def test_a_model_of_images_is_refused(cli, csv, tmp_path):
    from vae_anomaly import VAEDetector

    pixels = np.random.default_rng(0).random((30, 9))
    VAEDetector(image_shape=(1, 3, 3), max_iter=2, random_state=0).fit(pixels).save(tmp_path / "images.vae")
    ended = cli("score", csv, "--stream", "--model", tmp_path / "images.vae")
    assert ended.status == 1
    assert "the model was fitted to 30 images of 3 x 3 pixels" in ended.err


def test_images_are_refused(stream, tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "a.csv").touch()
    ended = stream(tmp_path)
    assert ended.status == 2
    assert "holds images" in " ".join(ended.err.replace("│", "").split())


def test_without_stream_a_folder_of_tables_ends_in_one_sentence_that_names_it(cli, parts, model):
    for source in (parts, f"{parts}/*.parquet"):
        ended = cli("score", source, "--model", model)
        assert (ended.status, len(ended.err.splitlines())) == (1, 1)
        assert "--stream" in ended.err


def test_ctrl_c_keeps_what_is_written_and_the_same_command_continues(stream, csv, tmp_path, monkeypatch):
    uninterrupted, target = tmp_path / "whole.csv", tmp_path / "scores.csv"
    stream(csv, "--output", uninterrupted)
    with monkeypatch.context() as patch:
        _interrupt_at_row(patch, 24)
        ended = stream(csv, "--output", target)
    assert (ended.status, target.exists()) == (130, False)
    assert f"{target}: 24 rows are kept; the same command continues there." in ended.err
    scored = []
    with monkeypatch.context() as patch:
        _note_rows(patch, scored)
        ended = stream(csv, "--output", target)
    assert f"{target}: continuing after row 24.\n" in ended.err
    assert min(scored) == 24
    assert target.read_bytes() == uninterrupted.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["scores.csv", "whole.csv"]


def _interrupt_at_row(patch, row):
    from vae_anomaly import VAEDetector

    detect = VAEDetector.detect

    def interrupted(self, X, **rule):
        if X.index[0] >= row:
            raise KeyboardInterrupt
        return detect(self, X, **rule)

    patch.setattr(VAEDetector, "detect", interrupted)


def _note_rows(patch, rows):
    from vae_anomaly import VAEDetector

    detect = VAEDetector.detect

    def noted(self, X, **rule):
        rows.extend(X.index)
        return detect(self, X, **rule)

    patch.setattr(VAEDetector, "detect", noted)


@pytest.mark.parametrize("change", ["options", "input", "model"])
def test_another_run_starts_again_and_says_why(stream, cli, csv, model, tmp_path, monkeypatch, change):
    table, target = tmp_path / "people.csv", tmp_path / "scores.csv"
    table.write_bytes(csv.read_bytes())
    with monkeypatch.context() as patch:
        _interrupt_at_row(patch, 24)
        stream(table, "--output", target)
    more = ("--keep", "colour") if change == "options" else ()
    if change == "input":
        os.utime(table, ns=(1, 1))
    if change == "model":
        cli("fit", csv, "--seed", 7, "--output", tmp_path / "other.vae")
        ended = cli("score", table, "--stream", "--model", tmp_path / "other.vae", "--output", target)
    else:
        ended = stream(table, "--output", target, *more)
    assert f"there is an unfinished run, but with other {change}; starting again" in ended.err
    assert len(pd.read_csv(target)) == 40


@pytest.mark.parametrize("damage", ["part", "journal"])
def test_a_damaged_unfinished_run_starts_again_with_one_line(stream, csv, tmp_path, monkeypatch, damage):
    uninterrupted, target = tmp_path / "whole.csv", tmp_path / "scores.csv"
    stream(csv, "--output", uninterrupted)
    with monkeypatch.context() as patch:
        _interrupt_at_row(patch, 24)
        stream(csv, "--output", target)
    if damage == "part":
        part = tmp_path / ".scores.csv.partial"
        part.write_bytes(part.read_bytes().replace(b"False", b"Talse", 1))
    else:
        (tmp_path / ".scores.csv.journal").write_text('{"plan": 1, "size": "all", "state": []}')
    ended = stream(csv, "--output", target)
    assert ended.status == 0
    assert f"{target}: what an unfinished run left there is damaged; starting again.\n" in ended.err
    assert target.read_bytes() == uninterrupted.read_bytes()


def test_what_came_over_a_pipe_is_never_continued(stream, csv, tmp_path, monkeypatch):
    target, lines = tmp_path / "scores.csv", csv.read_text().splitlines(keepends=True)
    with monkeypatch.context() as patch:
        patch.setattr(
            "vae_anomaly.io.resumable.PartialFile.close", lambda self, **_: self._file.close()
        )  # as SIGKILL does
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(csv.read_bytes())))
        _interrupt_at_row(patch, 24)
        stream("-", "--output", target)
    assert (tmp_path / ".scores.csv.journal").exists()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(lines[:11]).encode())))
    ended = stream("-", "--output", target)
    assert "with other input; starting again" in ended.err
    assert len(pd.read_csv(target)) == 10
    assert os.listdir(tmp_path) == ["scores.csv"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", pytest.param("csv.gz", marks=pytest.mark.stress), "parquet"])
def test_a_killed_run_continues_and_ends_with_the_bytes_of_one_that_was_not(csv, model, tmp_path, suffix):
    table = tmp_path / "long.csv"
    pd.concat([pd.read_csv(csv)] * 10).to_csv(table, index=False)
    uninterrupted, target = tmp_path / f"whole.{suffix}", tmp_path / f"scores.{suffix}"
    command = [sys.executable, "-c", SMALL_PIECES, "score", table, "--stream", "--model", model, "--output"]
    subprocess.run([*command, uninterrupted], check=True, capture_output=True)
    kept = []
    for rows in (1, 260):
        with subprocess.Popen([*command, target], stderr=subprocess.PIPE) as process:
            while _rows_safe(target) < rows and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        kept.append(_rows_safe(target))
        assert not target.exists()
    assert kept == sorted(set(kept))
    ended = subprocess.run([*command, target], check=True, capture_output=True, text=True)
    assert f"continuing after row {kept[-1]:,}" in ended.stderr
    assert target.read_bytes() == uninterrupted.read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted(["long.csv", uninterrupted.name, target.name])


def _rows_safe(target) -> int:
    journal = target.with_name(f".{target.name}.journal")
    return json.loads(journal.read_text())["state"]["rows"] if journal.exists() else 0
