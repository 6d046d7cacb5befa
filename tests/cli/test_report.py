"""``vae-anomaly report``: a page on a table, with a model fitted to it or one that is given."""

import hashlib
import io
import re
import sys

import pandas as pd
import pytest
from PIL import Image

from vae_anomaly import load, report

pytestmark = pytest.mark.usefixtures("_quick_fits")
ANOMALOUS_ROW = 17


def rows_of(page):
    return [int(row) for row in re.findall(r'id="row-(\d+)"', page.read_text())]


@pytest.fixture
def asked(monkeypatch):
    """What the command hands to ``write_report``: rows and options of each call."""
    calls = []
    write = report.write_report

    def call(detector, rows, path, **options):
        calls.append((rows, options))
        write(detector, rows, path, **options)

    monkeypatch.setattr(report, "write_report", call, raising=False)
    return calls


def test_a_page_is_written_and_reported(cli, csv, model, tmp_path):
    target = tmp_path / "report.html"
    ended = cli("report", csv, "--model", model, "--output", target)
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == f"{target}: report on 40 rows.\n"
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert rows_of(target)[0] == ANOMALOUS_ROW
    page = " ".join(target.read_text().split())
    assert "Anomalous rows of people.csv, <time" in page
    n_flagged = (load(model).predict(pd.read_csv(csv)) == -1).sum()
    assert f"<h1>{n_flagged} of 40 rows need" in page


def test_without_a_model_one_is_fitted_and_nothing_is_compared(cli, csv, quick_model, tmp_path, asked):
    for name, more in (("a", ()), ("b", ("--model", quick_model))):
        assert cli("report", csv, *more, "--output", tmp_path / f"{name}.html").status == 0
    assert [options["compare"] for _, options in asked] == [False, True]
    assert rows_of(tmp_path / "a.html") == rows_of(tmp_path / "b.html")  # the same seed, so the same model


def test_the_same_command_writes_the_same_bytes_at_the_same_time(cli, csv, model, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    pages = []
    for _ in range(2):
        assert cli("report", csv, "--model", model, "--output", tmp_path / "a.html", "--quiet").err == ""
        pages.append((tmp_path / "a.html").read_bytes())
    assert pages[0] == pages[1]


def test_the_page_names_file_model_digests_and_command(cli, csv, model, tmp_path):
    target = tmp_path / "the report.html"
    assert cli("report", csv, "--model", model, "--output", target).status == 0
    page = target.read_text()
    for path in (csv, model):
        assert f"<dd>{path}</dd>" in page
        assert f"<dd>{hashlib.sha256(path.read_bytes()).hexdigest()}</dd>" in page
    assert f"<dd>vae-anomaly report {csv} --model {model} --output &#39;{target}&#39;</dd>" in page


@pytest.mark.parametrize(
    ("name", "more", "noun"),
    [
        ("invoices.csv", (), "invoices"),
        ("Orders_2024.csv", (), "orders"),
        ("people.csv", (), "rows"),
        ("status.csv", (), "rows"),
        ("train.csv", ("--noun", "customers"), "customers"),
    ],
)
def test_rows_are_called_what_the_file_says(cli, csv, model, tmp_path, name, more, noun):
    (tmp_path / name).write_bytes(csv.read_bytes())
    assert cli("report", tmp_path / name, "--model", model, "--output", tmp_path / "a.html", *more).status == 0
    assert re.search(rf" of 40 {noun} needs? a look</h1>", (tmp_path / "a.html").read_text())


def test_options_reach_the_page(cli, named_csv, model, tmp_path, asked, frame):
    command = ("report", named_csv, "--model", model, "--output", tmp_path / "report.html", "--exclude", "name")
    ended = cli(*command, "--keep", "name", "--top", 3, "--title", "Who is unusual?", "--fdr", 0.2)
    assert ended.status == 0
    assert len(rows_of(tmp_path / "report.html")) == 3
    page = (tmp_path / "report.html").read_text()
    assert "<title>Who is unusual?</title>" in page
    assert f"no. {ANOMALOUS_ROW}" in page
    ((rows, options),) = asked
    assert list(rows.columns) == ["height", "weight", "colour"]
    pd.testing.assert_frame_equal(options["keep"], frame[["name"]], check_dtype=False)
    assert options["fdr"] == 0.2
    for option, value in (("alerts", 5), ("false_alarm_rate", 0.1)):
        assert cli(*command, f"--{option.replace('_', '-')}", value).status == 0
        assert asked[-1][1][option] == value


def test_the_name_of_the_file_is_text(cli, csv, model, tmp_path):
    evil = tmp_path / "<script>alert(1)<"
    evil.write_bytes(csv.read_bytes())
    assert cli("report", evil, "--model", model, "--output", tmp_path / "report.html").status == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("<script>") == 1
    assert "Anomalous rows of &lt;script&gt;alert(1)&lt;" in page


def test_a_dash_reads_standard_input(cli, csv, model, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(csv.read_bytes())))
    assert cli("report", "-", "--model", model, "--output", tmp_path / "report.html").status == 0
    assert "<title>Anomalous rows of standard input</title>" in (tmp_path / "report.html").read_text()


def test_options_of_the_fit_change_the_model(cli, csv, tmp_path):
    for name, more in (("a", ()), ("b", ("--seed", 1)), ("c", ("--contamination", 0.25))):
        assert cli("report", csv, *more, "--output", tmp_path / f"{name}.html").status == 0
    pages = [(tmp_path / f"{name}.html").read_text() for name in "abc"]
    assert len(set(pages)) == 3
    assert "10 of 40 rows" in pages[2]


def test_images_are_shown_with_their_names(cli, tmp_path):
    (tmp_path / "images").mkdir()
    for place, level in enumerate([20] * 30 + [200]):
        Image.new("L", (8, 8), level + place).save(tmp_path / "images" / f"{place}.png")
    ended = cli("report", tmp_path / "images", "--output", tmp_path / "report.html", "--top", 2)
    assert (ended.status, ended.err) == (0, f"{tmp_path / 'report.html'}: report on 31 images.\n")
    page = (tmp_path / "report.html").read_text()
    assert rows_of(tmp_path / "report.html")[0] == 31 - 6  # read in the order of the names: 0, 1, 10, ..., 30, 4
    assert "30.png" in page
    assert "<title>Anomalous images of images</title>" in page


def test_without_jinja_the_command_that_installs_it_is_named_before_anything_is_read(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    ended = cli("report", "nosuch.csv", "--output", tmp_path / "report.html")
    assert ended.status == 1
    assert ended.err.endswith('Run: pip install "vae-anomaly[report]"\n')
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nosuch.csv",), "There is no file 'nosuch.csv'"),
        (("people.csv", "--keep", "hieght"), "There is no column 'hieght' for --keep. Did you mean 'height'?"),
        (("people.csv", "--exclude", "height", "--model", "people.vae"), "--exclude cannot hide it"),
        (("less.csv", "--model", "people.vae"), "less.csv: Columns of the fit that the table lacks: 'weight'"),
        (("people.csv", "--model", "people.csv"), "people.csv"),
        (("picture.png", "--model", "people.vae"), "These are images, and the model was fitted to a table"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_errors_are_one_sentence_and_leave_the_old_page(cli, csv, model, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    rows = pd.read_csv(csv)
    rows.to_csv("people.csv", index=False)
    rows.drop(columns="weight").to_csv("less.csv", index=False)
    Image.new("L", (8, 8)).save("picture.png")
    (tmp_path / "people.vae").write_bytes(model.read_bytes())
    (tmp_path / "report.html").write_text("old")
    ended = cli("report", *arguments, "--output", "report.html")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1
    assert said in ended.err
    assert (tmp_path / "report.html").read_text() == "old"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--output"),
        (("--output", "report.pdf"), "ends in .html"),
        (("--output", "nowhere/report.html"), "no folder nowhere"),
        (("--output", "-"), "This command writes a file"),
        (("--output", "report.html", "--top", "0"), "1"),
        (("--output", "report.html", "--top", "501"), "500"),
        (("--output", "report.html", "--model", "people.vae", "--seed", "1"), "leave one of the two out"),
        (("--output", "report.html", "--fdr", "0.1", "--alerts", "5"), "--"),
        (("--output", "report.html", "--fdr", "2"), "--fdr"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_ends_with_2_before_anything_is_read(cli, csv, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vae_anomaly.load", lambda *_, **__: pytest.fail("the model was read"))
    monkeypatch.setattr("vae_anomaly.read_table", lambda *_, **__: pytest.fail("the table was read"))
    (tmp_path / "people.csv").write_bytes(csv.read_bytes())
    (tmp_path / "people.vae").touch()
    ended = cli("report", "people.csv", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert said in " ".join(ended.err.split())


def test_the_page_says_what_the_model_says(cli, csv, model, tmp_path):
    assert cli("report", csv, "--model", model, "--output", tmp_path / "report.html", "--top", 1).status == 0
    score = load(model).anomaly_score(pd.read_csv(csv))[ANOMALOUS_ROW - 1]
    assert f'data-value="{score}"' in (tmp_path / "report.html").read_text()
