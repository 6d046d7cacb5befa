"""What a terminal is shown of rows and values."""

import numpy as np
import pandas as pd
import pytest

from vae_anomaly_cli.output import plain, show_rows, telling


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3750.0, "3750"),
        (39.1, "39.1"),
        (np.float64(-0.5), "-0.5"),
        (1234567.89, "1234567.89"),
        ("two\nlines", "two\N{REPLACEMENT CHARACTER}lines"),
        ("\x1b]0;owned\x07", "\N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER}"),
        ("x" * 100, "x" * 31 + "…"),
        (True, "True"),
    ],
)
def test_a_value_is_shown_short_and_harmless(value, shown):
    assert plain(value) == shown


def test_the_most_telling_values_cost_most_and_none_that_speaks_for_the_row_is_named():
    rows = pd.DataFrame({"a": [1.0, 1.0], "b": ["x", None], "c": [3, 3], "d": [4, 4], "e": [5, 5]})
    nats = pd.DataFrame(
        [[0.5, 2.0, 1.0, -3.0, 0.1, 99.0], [-1.0, 9.0, 0.0, -3.0, -0.1, 99.0]], columns=[*rows, "(latent)"]
    )
    assert telling(rows, nats) == ["b=x, c=3, a=1", ""]


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
    assert "".join(note for *_, note in cells).rstrip("…") in "y" * 31
