"""Files as people have them, at the command line."""

import csv
import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """An American and a European export of the same 120 invoices, of which row 40 is wrong; no day shows the order."""
    rng, swap = np.random.default_rng(0), str.maketrans(",.", ".,")
    net = rng.uniform(100, 9_000, 120).round(2)
    gross = (net * 1.19).round(2)
    gross[39] = 950_000
    days = pd.to_datetime([f"2024-{month}-{day}" for month, day in rng.integers(1, 13, (120, 2))])
    folder = tmp_path_factory.mktemp("exports")
    rows = list(zip(days, net, gross, rng.choice(["A3", "12"], 120), strict=True))
    american = [[f"{day:%m/%d/%Y}", f"${a:,.2f}", f"{b:,.2f}", code] for day, a, b, code in rows]
    european = [
        [f"{day:%d/%m/%Y}", f"{a:,.2f} €".translate(swap), f"{b:,.2f}".translate(swap), code]
        for day, a, b, code in rows
    ]
    for name, delimiter, cells in (("american", ",", american), ("european", ";", european)):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=delimiter).writerows([["day", "net", "gross", "account"], *cells])
    return folder / "american.csv", folder / "european.csv"


def figures(out: str) -> list[str]:
    """The scores of rows, without the reasons, which show the cells."""
    return [",".join(line.split(",")[:5]) for line in out.splitlines()]


def test_a_european_and_an_american_export_of_the_same_invoices_have_the_same_scores(cli, exports, tmp_path):
    american, european = (cli("score", path) for path in exports)
    assert figures(american.out) == figures(european.out)
    assert figures(american.out)[40].endswith(",True")
    assert "are read with the month first" in american.err
    assert "are read with the day first" in european.err

    american, european = (cli("score", path, "--stream") for path in exports)
    assert figures(american.out) == figures(european.out)

    model = tmp_path / "invoices.vae"
    assert cli("fit", exports[0], "--monthfirst", "--decimal", ".", "--output", model).err.count("warning") == 0
    for more in ([], ["--stream"]):
        american = cli("score", exports[0], "--model", model, "--monthfirst", *more)
        european = cli("score", exports[1], "--model", model, "--dayfirst", "--decimal", ",", "--thousands", ".", *more)
        assert figures(american.out) == figures(european.out)


def test_options_that_the_file_contradicts_are_one_sentence(cli, exports):
    ended = cli("score", exports[0], "--decimal", ",")
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert "whose decimal sign is '.', so --decimal ',' does not apply" in ended.err


@pytest.mark.parametrize("options", [["--decimal", ";"], ["--thousands", "ab"]], ids=str)
def test_a_sign_that_is_none_is_wrong_usage(cli, exports, options):
    assert cli("score", exports[0], *options).status == 2


def test_rows_of_a_query_are_scored_as_those_of_a_file(cli, csv, model, tmp_path):
    with closing(sqlite3.connect(tmp_path / "base.db")) as connection:
        pd.read_csv(csv).to_sql("people", connection, index=False)
    query = "SELECT weight, height, colour FROM people ORDER BY rowid"
    for how in ([], ["--stream"]):
        found = cli("score", tmp_path / "base.db", "--query", query, "--model", model, *how)
        assert figures(found.out) == figures(cli("score", csv, "--model", model).out)
    assert cli("score", csv, "--query", query, "--model", model).status == 1
    ended = cli("score", "postgresql+nothing://me:secret@host/name", "--table", "t", "--model", model)
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert "secret" not in ended.err
