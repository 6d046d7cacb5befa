"""The report as a file: its content, escaping and size, and the pictures and reasons in it."""

import base64
import io
import os
import re
import sys
import time
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from vae_anomaly import VAEDetector
from vae_anomaly.errors import DataError, MissingExtraError
from vae_anomaly.explain import shown
from vae_anomaly.explain.explanation import explain
from vae_anomaly.explain.shown import ShownRows
from vae_anomaly.formatting import percent
from vae_anomaly.report import anomalous_rows, write_report
from vae_anomaly.report.anomalous_rows import AnomalousRows
from vae_anomaly.report.charts import Timeline
from vae_anomaly.report.pictures import Pictures
from vae_anomaly.report.scored_rows import ScoredRows
from vae_anomaly.scoring.decide import FlaggingRule

EVIL = "<script>window.pwned = 1</script>\"'&"
VOID = {"meta", "input", "wbr", "img"}


class Page(HTMLParser):
    """Elements of a page with their attributes, and its text without scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words, self.templates = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []  # every element is closed, in order

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.words.append("" if tag == "wbr" else " ")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["template"]:
            self.templates.append(data)
        elif self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())

    def all(self, tag, **attributes):
        return [found for name, found in self.tags if name == tag and attributes.items() <= found.items()]


@pytest.fixture
def written(tmp_path):
    """Write a report and read it; it is compared with training, which fits a second model, where that is asked for."""

    def write(*arguments, compare=False, **options):
        path = tmp_path / "report.html"
        write_report(*arguments, path, compare=compare, **options)
        return Page(path.read_text(encoding="utf-8"))

    return write


def listed_rows(page):
    return [int(found["id"].removeprefix("row-")) for found in page.all("tbody") if "id" in found]


def test_the_most_anomalous_rows_are_listed_by_score(written, model, table):
    scores = model.anomaly_score(table)
    page = written(model, table, top=7)
    assert listed_rows(page) == (np.argsort(-scores, kind="stable")[:7] + 1).tolist()
    n_flagged = (scores > -model.offset_).sum()
    assert f"{n_flagged} of 300 rows need a look" in page.text


def test_surprises_of_a_row_add_up_to_its_score_less_the_baseline(model, table):
    for row in AnomalousRows.of(model, ScoredRows.of(model, table, None, FlaggingRule()), 5).listed:
        assert_allclose(row.score, model.anomaly_score(table)[row.number - 1])
        assert_allclose(sum(reason.nats for reason in row.reasons.shown) + row.reasons.others, row.surprise)


def test_the_most_surprising_of_many_columns_are_listed_and_the_others_counted(rng):
    X = rng.normal(size=(60, 30))
    model = VAEDetector(max_iter=5, random_state=0).fit(X)
    (row,) = AnomalousRows.of(model, ScoredRows.of(model, X, None, FlaggingRule()), 1).listed
    surprises = model.explain(X[[row.number - 1]])["surprise"].iloc[0].sort_values(ascending=False)
    assert_allclose([reason.nats for reason in row.reasons.shown], surprises[:12])
    assert row.reasons.n_others == 31 - 12
    assert_allclose(row.reasons.others, surprises[12:].sum())


def test_only_the_rows_that_are_listed_or_flagged_are_explained_and_once(written, model, table, monkeypatch):
    asked = []
    monkeypatch.setattr(shown, "explain", lambda model, X: asked.append(len(X)) or explain(model, X))
    written(model, table, top=11)
    written(model, table, top=11, alerts=40)
    assert asked == [11, 40]


def test_names_values_and_title_are_text(written, table):
    evil = table.rename(columns={"height": EVIL}).assign(build=table["build"].map(lambda text: f"{text} {EVIL}"))
    model = VAEDetector(max_iter=5, random_state=0).fit(evil)
    page = written(model, evil.assign(**{f"new {EVIL}": EVIL}), title=EVIL, keep=[f"new {EVIL}"], top=3, compare=True)
    assert len(page.all("script")) == 1
    assert all(name.isalpha() or "-" in name for _, found in page.tags for name in found)
    assert {name for _, found in page.tags for name in found if name.startswith("on")} == set()
    assert page.text.startswith(f"{EVIL} {EVIL}")  # title and heading
    assert page.text.count(EVIL) > 10


def test_characters_that_cannot_be_printed_or_encoded_are_replaced(written, table):
    unprintable = table.rename(columns={"height": "a\x00b\x1b[31m\u202e"})
    model = VAEDetector(max_iter=5, random_state=0).fit(unprintable)
    page = written(model, unprintable, top=3, title="bytes \udcff of a file's name")
    assert "a\ufffdb\ufffd[31m\ufffd" in page.text
    assert page.text.startswith("bytes \ufffd of a file's name")


def test_the_page_loads_nothing(written, model, table):
    page = written(model, table, compare=True)
    addresses = [found.get(name, "") for _, found in page.tags for name in ("src", "href", "data", "action")]
    assert all(address == "" or address.startswith("#") for address in addresses)
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'; ")
    targets = {found["id"] for _, found in page.tags if "id" in found}
    assert {address[1:] for address in addresses if address} <= targets
    assert len(targets) == sum("id" in found for _, found in page.tags)  # unique ids


def test_kept_columns_come_first(written, model, table):
    page = written(model, table.assign(name=[f"no. {row}" for row in range(300)]), keep=["name"], top=2)
    first, second = listed_rows(page)
    assert f"no. {first - 1}" in page.text
    assert f"no. {second - 1}" in page.text
    frame = pd.DataFrame({"known as": [f"row {row}" for row in range(300)]}, index=range(300, 600))
    assert f"row {first - 1} " in written(model, table, keep=frame, top=1).text


def test_rows_that_repeat_an_earlier_row_are_counted(written, model, table):
    again = pd.concat([table, table.iloc[[4, 9]]], ignore_index=True)
    assert "2 rows repeat an earlier row; the first: row 301 repeats row 5." in written(model, again, top=1).text
    assert "repeat" not in written(model, table, top=1).text


def test_columns_are_listed_with_kind_missing_cells_and_the_reason_to_leave_some_out(written, table):
    counted = table.assign(number=range(300), empty=np.nan)
    with pytest.warns(UserWarning, match="left out"):
        model = VAEDetector(max_iter=5, random_state=0).fit(counted)
    page = written(model, counted.assign(new=1), top=1)
    assert f"height number {table['height'].isna().sum()} " in page.text
    assert "retired yes or no 0 " in page.text
    assert "Left out number is a row index empty has no values new was not in the training table" in page.text
    assert f"Missing cells {table.isna().sum().sum()} " in page.text


def test_without_comparison_training_is_not_mentioned(written, model, table):
    compared, alone = written(model, table, compare=True), written(model, table)
    assert "Columns drifted" in compared.text
    assert "half of the training rows" in compared.text
    assert "Columns drifted" not in alone.text
    assert "half of the training rows" not in alone.text
    assert len(alone.all("path", **{"class": "outline"})) == 0


def test_findings_about_the_model_are_listed_worst_first(written, model, table, monkeypatch):
    found = pd.DataFrame(
        {
            "check": ["latents", "margins", "seeds"],
            "value": [1.0, 2.0, 3.0],
            "verdict": ["good", "bad", "look"],
            "message": ["All is well.", "It knows nothing.", "It wavers."],
        }
    )
    monkeypatch.setattr(VAEDetector, "diagnose", lambda _: found)
    text = written(model, table).text
    assert "bad margins It knows nothing. look seeds It wavers. good latents All is well." in text
    assert "Model bad" in text


def test_each_rule_flags_its_rows_and_is_explained(written, model, table):
    flagged = {
        "Rows are flagged if at most 1 % of normal rows are as anomalous.": {},
        "The 9 most anomalous rows are flagged": {"alerts": 9},
        "at most 2 % of normal rows are as anomalous": {"false_alarm_rate": 0.02},
        "at most 20 % are false alarms": {"fdr": 0.2},
    }
    for sentence, rule in flagged.items():
        page = written(model, table, **rule)
        n_flagged = int(model.detect(table, **rule)["is_anomaly"].sum())
        assert sentence in page.text
        assert re.search(rf"{n_flagged or 'None'} of 300 rows needs? a look", page.text)


def test_where_many_rows_are_flagged_the_page_says_that_they_are_hardly_outliers(written, model, table):
    many = table.assign(**{"height": np.where(np.arange(300) < 60, 1e4, table["height"])})
    sentence = "More than 5 % are flagged, so this is hardly an outlier problem"
    assert sentence in written(model, many, top=3).text
    assert sentence not in written(model, table, top=3).text
    assert sentence not in written(model, many, top=3, alerts=60).text


def test_arrays_and_polars_are_accepted(written, model, table, of_numbers, numbers):
    page = written(of_numbers, numbers, top=3)
    assert "x4 number 0" in page.text
    masked = np.ma.masked_array(numbers, np.arange(numbers.size).reshape(numbers.shape) == 3)
    assert "Missing cells 1 " in written(of_numbers, masked, top=3, compare=True).text
    assert written(model, pl.from_pandas(table), top=3).text == written(model, table, top=3).text


def test_a_single_row_and_a_single_latent_can_be_reported(written, model, table, numbers):
    assert listed_rows(written(model, table[:1], compare=True)) == [1]
    one = VAEDetector(n_components=1, max_iter=5, random_state=0).fit(numbers)
    assert listed_rows(written(one, numbers, top=2)) == (np.argsort(-one.anomaly_score(numbers))[:2] + 1).tolist()


def test_a_plain_autoencoder_can_be_reported(written, plain, table):
    assert "how improbable a row is, in squared errors" in written(plain, table, top=3, compare=True).text


def test_the_same_report_is_the_same_bytes_and_the_table_is_not_changed(tmp_path, model, table, monkeypatch):
    before = table.copy()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name in "ab":
        write_report(model, table, tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    pd.testing.assert_frame_equal(table, before)
    assert "2023-11-14 22:13 UTC" in Page((tmp_path / "a.html").read_text()).text


def test_a_report_on_very_many_rows_is_small(tmp_path, monkeypatch, rng):
    n_rows, names = 100_000, [f"a_rather_long_name_of_a_column_{column}" for column in range(40)]
    frame = pd.DataFrame(rng.normal(size=(n_rows, 40)), columns=names)
    model = VAEDetector(max_iter=2, random_state=0).fit(frame[:500])
    detected = pd.DataFrame({"anomaly_score": rng.gumbel(size=n_rows), "p_value": rng.random(n_rows)})
    detected["severity"] = 50.0
    detected["is_anomaly"] = detected["anomaly_score"] > 5
    monkeypatch.setattr(VAEDetector, "detect", lambda *_, **__: detected)  # scoring is not what is measured here
    monkeypatch.setattr(
        VAEDetector, "drift", lambda self, X, drift=VAEDetector.drift, **how: drift(self, X[:500], **how)
    )
    begun = time.process_time()
    write_report(model, frame, tmp_path / "report.html")
    assert time.process_time() - begun < 20
    assert (tmp_path / "report.html").stat().st_size < 1_300_000  # 3 MB are allowed


def test_a_failed_report_leaves_the_old_file(tmp_path, model, table, monkeypatch):
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "broken")))
    with pytest.raises(OSError, match="broken"):
        write_report(model, table, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("report.pdf", {}, "Choose a name that ends in .html"),
        ("nowhere/report.html", {}, "there is no folder"),
        ("report.html", {"top": 0}, "from 1 to 500 rows; top=0"),
        ("report.html", {"top": 501}, "top=501"),
        ("report.html", {"keep": ["nmae"]}, "There is no column 'nmae' for keep"),
        ("report.html", {"keep": pd.DataFrame({"a": [1]})}, "keep has 1 row, and the table 300"),
    ],
)
def test_a_report_that_cannot_be_written_is_an_error(tmp_path, model, table, name, options, message):
    with pytest.raises(DataError, match=message):
        write_report(model, table, tmp_path / name, **options)
    assert os.listdir(tmp_path) == []


def test_an_array_has_no_columns_to_keep(tmp_path, of_numbers, numbers):
    with pytest.raises(DataError, match="X is an array without names"):
        write_report(of_numbers, numbers, tmp_path / "report.html", keep=["x0"])


@pytest.fixture(scope="module")
def images():
    """Gray images of 2 x 3 pixels from 0 to 10, one of them a negative."""
    rng = np.random.default_rng(0)
    pixels = np.array([9.0, 9, 9, 1, 1, 1]) + rng.uniform(-1, 1, (80, 6))
    pixels[40] = 10 - pixels[40]
    return pixels


def decoded(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))))


def test_images_are_shown_with_what_the_model_expected(written, images):
    model = VAEDetector(image_shape=(1, 2, 3), max_iter=60, random_state=0).fit(images)
    page = written(model, images, top=1, keep=pd.DataFrame({"image": [f"{row}.png" for row in range(80)]}))
    assert listed_rows(page) == [41]
    assert "of 80 images" in page.text
    assert "Images are not grouped into patterns, as rows of a table are." in page.text
    assert "40.png" in page.text
    thumbnail, seen, expected, surprise = (decoded(found["src"]) for found in page.all("img"))
    black, white = images.min(), images.max()
    assert_allclose(seen, np.rint(255 * (images[40] - black) / (white - black)).reshape(2, 3))
    assert_allclose(thumbnail, seen)
    assert expected[0].min() > 200  # bright above
    assert expected[1].max() < 60
    assert surprise.shape == (2, 3, 3)
    assert all(found["alt"] for found in page.all("img"))


@pytest.mark.parametrize("shape", [(1, 3, 5), (3, 4, 2), (2, 4, 4), (3, 200, 130)], ids=str)
def test_pictures_have_the_shape_of_their_images_and_are_small(shape, rng):
    pixels = rng.random(np.prod(shape))
    pixels[0] = np.nan
    pictures = Pictures.of(pixels, pixels, np.ones(len(pixels)), shape)
    seen = decoded(pictures.seen)
    step = 1 if max(shape) <= 64 else 4
    assert seen.shape == (shape[1] // step, shape[2] // step, *([3] if shape[0] == 3 else []))
    if step == 1 and shape[0] != 2:
        image = np.moveaxis(np.nan_to_num(pixels, nan=0.5).reshape(shape), 0, -1).squeeze()
        assert_allclose(seen, np.rint(255 * image))
    assert len(pictures.seen) < 20_000


def test_pixels_are_the_darker_the_higher_their_surprise():
    nats = np.array([-5.0, 0, 1, 4])
    levels = decoded(Pictures.of(nats, nats, nats, (1, 1, 4)).surprise)[0]
    assert levels.tolist()[:2] == [[255, 255, 255]] * 2
    assert_allclose(levels[2], (levels[1].astype(float) + levels[3]) / 2, atol=1)  # a root: a quarter is half as dark
    assert levels[3].tolist() == [0xD5, 0x5E, 0x00]


def test_without_jinja_the_command_that_installs_it_is_named(tmp_path, model, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vae-anomaly\[report\]"'):
        write_report(model, table, tmp_path / "report.html")


def test_levels_have_a_frequency_and_numbers_a_range(model, table):
    explanations = ShownRows.of(model.model_, table[:40], table)
    reasons = {(row, reason.column): reason for row in range(40) for reason in explanations.reasons(row).shown}
    for row, build in enumerate(table["build"][:40]):
        fraction = (table["build"] == build).sum() / table["build"].notna().sum()
        assert reasons[row, "build"].frequency == ("" if pd.isna(build) else f"in {percent(fraction)} of rows")
        assert reasons[row, "build"].range == ""
        ends = [figure["height"].iloc[row] for figure in (explanations.found.low, explanations.found.high)]
        texts = reasons[row, "height"].range.split(" to ")
        assert [float(text) for text in texts] == pytest.approx(ends, rel=1e-3)
        assert reasons[row, "height"].frequency == ""


@pytest.fixture(scope="module")
def orders():
    """Orders with three causes of errors: eight totals a hundred times too high, six late dates, one odd country."""
    rng = np.random.default_rng(0)
    net = rng.uniform(40, 80, 400).round(2)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 360, 400), unit="D")
    country = rng.choice(["DE", "FR"], 400)
    frame = pd.DataFrame({"net": net, "total": (1.2 * net).round(2), "day": day, "country": country})
    frame.loc[:7, "total"] *= 100
    frame.loc[20:25, "day"] += pd.to_timedelta(3650, unit="D")
    frame.loc[40, "country"] = "=cmd()"
    return VAEDetector(random_state=0).fit(frame), frame


def test_rows_with_one_cause_are_one_pattern_with_an_example_and_what_they_share(written, orders):
    model, frame = orders
    page = written(model, frame, alerts=15, noun="orders")
    assert "15 of 400 orders need a look" in page.text
    cards = AnomalousRows.of(model, ScoredRows.of(model, frame, None, FlaggingRule(alerts=15)), 30).cards
    found = {card.title: set(card.rows) for card in cards}
    assert found["total"] == set(range(1, 9))
    assert found["day"] == set(range(21, 27))
    assert "total is higher than expected in all" in page.text
    assert "14 of them follow 2 patterns; 1 has reasons of its own" in page.text
    assert all(card.example.number == card.rows[0] for card in cards)


def test_many_rows_of_one_pattern_are_not_all_shown_at_first(orders):
    model, frame = orders
    rows = AnomalousRows.of(model, ScoredRows.of(model, frame, None, FlaggingRule(alerts=15)), 30)
    of_total = [row for row in rows.listed if row.pattern == 1]
    assert [row.repeats for row in of_total] == [False] * 5 + [True] * 3


def test_the_page_carries_the_flagged_rows_as_csv_without_formulas(written, orders):
    model, frame = orders
    page = written(model, frame, alerts=15, top=3, keep=pd.DataFrame({"no": range(400)}))
    (text,) = page.templates
    table = pd.read_csv(io.StringIO(text))
    assert list(table) == ["row", "severity", "anomaly_score", "p_value", "pattern", "no", *frame.columns]
    scores = model.anomaly_score(frame)
    assert table["row"].tolist() == (np.argsort(-scores, kind="stable")[:15] + 1).tolist()
    assert_allclose(table["total"], frame["total"].iloc[table["row"] - 1])
    assert table.set_index("row").loc[41, "country"] == "'=cmd()"
    assert table.set_index("row")["pattern"].isna().tolist() == (table["row"] == 41).tolist()


def test_rows_are_drawn_over_the_column_of_dates_and_far_ones_counted(orders):
    model, frame = orders
    timeline = Timeline.of(model, ScoredRows.of(model, frame, None, FlaggingRule(alerts=15)))
    assert (timeline.column, timeline.n_outside, timeline.n_undated) == ("day", 6, 0)
    words = [bar.remark.replace(":", "").split() for bar in timeline.bars if not bar.flagged]
    assert sum(int(word[-2]) for word in words) == 394
    assert sum(int(bar.remark.rpartition(": ")[2].split()[0]) for bar in timeline.bars if bar.flagged) == 9


@pytest.mark.parametrize(
    ("step", "first"),
    [("7min", "03-01 00:00: "), ("6h", "2024-03-01: "), ("4D", "week of 2024-02-26: "), ("31D", "2024Q1: ")],
    ids=str,
)
def test_a_bar_is_as_long_as_the_rows_need(rng, step, first):
    when = pd.date_range("2024-03-01", periods=100, freq=step)
    frame = pd.DataFrame({"x": rng.normal(size=100), "when": when})
    model = VAEDetector(max_iter=2, random_state=0).fit(frame)
    timeline = Timeline.of(model, ScoredRows.of(model, frame, None, FlaggingRule(alerts=5)))
    assert timeline.bars[0].remark.startswith(first)
    counts = [int(bar.remark.rpartition(": ")[2].split()[2]) for bar in timeline.bars if not bar.flagged]
    assert sum(counts) == 100
    assert len(timeline.x_ticks) in (3, 4, 5)


def test_without_dates_there_is_no_axis_of_time_and_without_two_columns_no_map(written, of_numbers, numbers):
    page = written(of_numbers, numbers, top=2)
    assert "Over time" not in page.text
    one = VAEDetector(max_iter=5, random_state=0).fit(numbers[:, :1])
    assert "leading columns" not in written(one, numbers[:, :1], top=2).text


def test_the_map_has_the_two_columns_that_lead_the_reasons(written, orders):
    model, frame = orders
    page = written(model, frame, alerts=15)
    assert "across: total; upwards: day" in page.text


def test_severity_is_that_of_detect_and_100_only_beyond_all_reference_rows(written, orders):
    model, frame = orders
    severity = model.detect(frame)["severity"].to_numpy()
    for row in AnomalousRows.of(model, ScoredRows.of(model, frame, None, FlaggingRule()), 50).listed:
        assert 0 <= severity[row.number - 1] - float(row.severity_text) < 0.1
        assert (row.severity_text == "100") == (severity[row.number - 1] == 100)


def test_the_page_says_where_it_comes_from(written, model, table):
    page = written(model, table, top=1, origin={"File": EVIL, "Command": "vae-anomaly report x.csv"})
    assert f"File {EVIL} Command vae-anomaly report x.csv Program vae-anomaly" in page.text


def test_nothing_to_look_at_is_said(written, model, table):
    page = written(model, table, alerts=0)
    assert "None of 300 rows needs a look" in page.text
    assert "Patterns" not in page.text


def test_the_file_of_rows_with_very_long_cells_is_cut_and_the_button_says_so(written, table, monkeypatch):
    model = VAEDetector(max_iter=5, random_state=0).fit(table)
    monkeypatch.setattr(anomalous_rows, "MOST_TEXT", 20_000)
    page = written(model, table.assign(note="x" * 1500), alerts=40, top=3)
    copied = pd.read_csv(io.StringIO(page.templates[0]))
    assert 8 < len(copied) < 14
    assert f"Download {len(copied)} flagged rows as CSV" in page.text
