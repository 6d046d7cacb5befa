"""What a terminal is shown of rows and values."""

import io
import json
import time

import numpy as np
import pandas as pd
import pytest
from terminal import STYLES

from vae_anomaly import VAEDetector
from vae_anomaly_cli.output import phase, plain, show_reasons, show_rows, with_digits


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3750.0, "3750"),
        (39.1, "39.1"),
        (np.float64(-0.5), "-0.5"),
        (1234567.89, "1234567.89"),
        ("two\nlines", "two lines"),
        ("\x1b]0;owned\x07", "\N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER}"),
        ("x" * 100, "x" * 15 + "…" + "x" * 16),
        (True, "True"),
    ],
)
def test_a_value_is_shown_short_and_harmless(value, shown):
    assert plain(value) == shown


def test_reasons_are_shown_with_bars_as_long_as_the_surprise(capsys):
    cells = {"row": 3, "anomaly_score": 9.5, "nats": 1.0, "low": None, "high": None}
    rows = [
        {**cells, "column": "size", "value": 5.1e6, "expected": 2e3, "low": 100.0, "high": 4e3, "surprise": 8.0},
        {**cells, "column": "kind", "value": "[red]x[/red]", "expected": "y", "surprise": 4.0},
        {**cells, "column": "gone", "value": None, "expected": 1.0, "low": 0.0, "high": 2.0, "surprise": -1.0},
    ]
    show_reasons(pd.DataFrame(rows).astype({"value": object, "expected": object, "low": object, "high": object}))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    size, kind, gone = (line for line in lines if len(line) == 5 and line[0] in ("size", "kind", "gone"))
    assert size[1:3] == ["5,100,000", "100 to 4000"]
    assert kind[1:3] == ["[red]x[/red]", "y"]
    assert gone[1:3] == ["", "0 to 2"]
    assert [line[4].count("█") for line in (size, kind, gone)] == [20, 10, 0]


def test_what_looks_like_markup_is_text(capsys):
    values = {
        "row": [1],
        "anomaly_score": [2.5],
        "is_anomaly": [True],
        "reason": ["[i]=1"],
        "[b]note": ["[red]x[/red]"],
    }
    show_rows(pd.DataFrame(values), "reason")
    out = capsys.readouterr().out
    assert "[b]note" in out
    assert "[red]x[/red]" in out
    assert "[i]=1" in out


def test_one_column_is_shown_whole_and_harmless_the_others_short(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    name = "holidays/2024/the-north-sea/" + "x" * 30
    show_rows(pd.DataFrame({"image": [f"{name}\x1b.png"], "anomaly_score": [2.5], "note": ["y" * 40]}), "image")
    out = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert "".join(image for image, *_ in cells) == f"{name}\N{REPLACEMENT CHARACTER}.png"
    assert "".join(note for *_, note in cells).replace("…", "") in "y" * 31


@pytest.mark.parametrize("digits", [1, 3, 6, 12, 16])
def test_numbers_have_the_digits_that_are_asked_for(digits):
    rng = np.random.default_rng(0)
    numbers = np.concatenate(
        [rng.normal(size=2000) * 10.0 ** rng.integers(-40, 40, 2000), [0, 1, 999999.5, np.nan, -1e300]]
    )
    found = with_digits(pd.DataFrame({"nats": numbers, "row": 1 / 3}), ["nats"], digits)
    np.testing.assert_array_equal(found["nats"], [float(f"{number:.{digits}g}") for number in numbers])
    assert (found["row"] == 1 / 3).all()


class Stream(io.StringIO):
    """Standard error that may be a terminal."""

    def __init__(self, monkeypatch, *, terminal=True):
        super().__init__()
        self.terminal = terminal
        monkeypatch.setattr("sys.stderr", self)
        monkeypatch.setenv("TERM", "xterm")

    def isatty(self):
        return self.terminal


def test_a_phase_that_takes_long_is_named_and_a_short_one_is_not(monkeypatch):
    stream = Stream(monkeypatch)
    with phase("reading", quiet=False):
        pass
    assert stream.getvalue() == ""
    monkeypatch.setattr("vae_anomaly_cli.output.SHORT", 0.0)
    with phase("scoring postgresql://me:secret@db/x", quiet=False):
        time.sleep(0.3)
    assert "scoring postgresql://me:***@db/x" in STYLES.sub("", stream.getvalue())


@pytest.mark.parametrize("quiet, terminal", [(True, True), (False, False)])
def test_a_phase_is_silent_when_quiet_or_without_a_terminal(monkeypatch, quiet, terminal):
    stream = Stream(monkeypatch, terminal=terminal)
    monkeypatch.setattr("vae_anomaly_cli.output.SHORT", 0.0)
    with phase("scoring", quiet=quiet):
        time.sleep(0.1)
    assert stream.getvalue() == ""


EVIL = "b\x1b[31mred\x9b2J\u202e"


@pytest.fixture(scope="module")
def evil_model(tmp_path_factory):
    """A model whose columns and categories hold what a terminal obeys."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), EVIL: rng.choice([EVIL, "<b>"], 60)})
    path = tmp_path_factory.mktemp("evil") / "model.vae"
    VAEDetector(max_iter=2, random_state=0).fit(table).save(path)
    return path


def test_no_name_of_a_column_reaches_a_terminal_as_a_command(cli, evil_model):
    ended = cli("info", evil_model)
    assert ended.status == 0
    assert all(letter.isprintable() for letter in ended.out.replace("\n", ""))


def test_json_escapes_what_a_terminal_obeys_and_means_the_same(cli, evil_model):
    ended = cli("info", evil_model, "--json")
    assert all(letter.isprintable() for letter in ended.out.replace("\n", ""))
    assert json.loads(ended.out)["columns"] == {"a": "number", EVIL: "category"}


def test_no_name_of_a_file_reaches_a_terminal_as_a_command(cli, evil_model):
    for arguments in (["score", "no\x1b]0;.csv", "--model", evil_model], ["info", "no\x1b]0;.vae"]):
        ended = cli(*arguments)
        assert ended.status == 1
        assert ended.err.startswith("error: ")
        assert "\x1b" not in ended.err
