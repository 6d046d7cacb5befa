"""Files as people have them, at the command line."""

import bz2
import csv
import gzip
import lzma
import re
import sqlite3
from contextlib import closing
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import load, write_table
from vae_anomaly_cli.errors import FOUND
from vae_anomaly_cli.main import main


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
    assert (ended.status, ended.err.count("\n"), ended.err.count("me:***@host")) == (1, 1, 1)
    assert "secret" not in ended.err
    ended = cli("score", f"sqlite+pysqlite:///{tmp_path}/none/base.db", "--query", query, "--model", model)
    assert (ended.status, ended.err.count("none/base.db")) == (1, 1)
    assert "the database cannot be read" in ended.err
    assert "Check the address" in ended.err


# Every way in which people have a table, and every command that reads one


ROWS = 60


def table() -> pd.DataFrame:
    """Orders: codes of which some are digits, dates, times of day around midnight, amounts with gaps, truth values."""
    rng = np.random.default_rng(1)
    amount = rng.uniform(100, 99_000, ROWS).round(2)
    return pd.DataFrame(
        {
            "code": rng.choice(["A3", "12", "B9", "7"], ROWS),
            "day": pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, ROWS), "D"),
            "at": [f"{minute // 60 % 24:02}:{minute % 60:02}" for minute in rng.integers(22 * 60, 26 * 60, ROWS)],
            "amount": np.where(np.arange(ROWS) % 11 == 3, np.nan, amount),
            "weight": (amount / 100 + rng.normal(size=ROWS)).round(3),
            "paid": rng.random(ROWS) < 0.8,
        }
    )


def plain() -> pd.DataFrame:
    """The table as text."""
    return table().assign(day=table()["day"].dt.strftime("%Y-%m-%d"))


def as_text(cells: dict[str, object], sep=",", before="", units="") -> str:
    lines = plain().assign(**cells).to_csv(index=False, sep=sep, lineterminator="\n").splitlines()
    return "\n".join([*before.splitlines(), lines[0], *units.splitlines(), *lines[1:]]) + "\n"


def written(style: str, swap: str = "", after: str = "") -> list[str]:
    """The amounts in a style such as ``,.2f``, with signs swapped in pairs, and a currency after each."""
    signs = str.maketrans(swap, swap[::-1])
    return ["" if amount != amount else f"{amount:{style}}".translate(signs) + after for amount in table()["amount"]]


def twelve_hours(times) -> list[str]:
    return [f"{(int(text[:2]) - 1) % 12 + 1}{text[2:]} {'a' if int(text[:2]) < 12 else 'p'}.m." for text in times]


def in_database(path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        plain().assign(paid=plain()["paid"].map(str)).to_sql("orders", connection, index=False)
        plain()[:2].to_sql("others", connection, index=False)


def by_suffix(path) -> None:
    write_table(plain(), path)


DAYS = table()["day"].dt
COMMAS = [f"{weight:.3f}".replace(".", ",") for weight in table()["weight"]]
MARKED = [amount or "?" for amount in written(".2f")]
EUROPE = {"day": DAYS.strftime("%d.%m.%Y"), "at": twelve_hours(table()["at"]), "weight": COMMAS}
EUROPE["amount"] = [amount or "?" for amount in written(",.2f", ",.", " €")]
QUERY = "SELECT * FROM orders WHERE amount > 0 OR amount IS NULL ORDER BY rowid"
WRITERS = {  # the name of the file, how it is written, and the options
    "Europe": ("a.csv", as_text(EUROPE, ";", "sep=;\n# of the shop", ";;;EUR;[kg];"), ["--missing", "?"]),
    "amounts of people": ("a.csv", as_text({"amount": written(",.2f", after=" USD")}), []),
    "amounts of Europe": ("a.csv", as_text({"amount": written(",.2f", ",.", " €"), "weight": COMMAS}, sep=";"), []),
    "decimal commas": ("a.csv", as_text({"amount": written(".2f", ".,"), "weight": COMMAS}), ["--decimal", ","]),
    "spaces between thousands": ("a.csv", as_text({"amount": written(",.2f", ", ")}), ["--thousands", " "]),
    "days with points": ("a.csv", as_text({"day": DAYS.strftime("%d.%m.%Y")}), []),
    "months first": ("a.csv", as_text({"day": DAYS.strftime("%m/%d/%Y")}), ["--monthfirst"]),
    "days first": ("a.csv", as_text({"day": DAYS.strftime("%d/%m/%Y")}), []),
    "years first": ("a.csv", as_text({"day": DAYS.strftime("%Y/%m/%d")}), []),
    "names of months": ("a.csv", as_text({"day": DAYS.strftime("%d-%b-%Y")}), []),
    "a.m. and p.m.": ("a.csv", as_text({"at": twelve_hours(table()["at"])}), []),
    "bars": ("a.csv", as_text({}, sep="|"), []),
    "delimiter named": ("a.csv", as_text({}, sep=";", before="sep=;"), []),
    "comment lines": ("a.csv", as_text({}, before="# of the shop\n# version 2"), []),
    "units": ("a.csv", as_text({}, units=",,,EUR,[kg],"), []),
    "markers of missing cells": (
        "a.csv",
        as_text({"amount": [text or "?" for text in written(".2f")]}),
        ["--missing", "?"],
    ),
    "UTF-16": ("a.csv", as_text({}).encode("utf-16"), []),
    "gzip": ("a.csv.gz", gzip.compress(as_text({}).encode()), []),
    "bzip2": ("a.csv.bz2", bz2.compress(as_text({}).encode()), []),
    "xz": ("a.csv.xz", lzma.compress(as_text({}).encode()), []),
    "JSON lines": ("a.jsonl", by_suffix, []),
    "JSON": ("a.json", lambda path: plain().to_json(path, orient="records"), []),
    "Excel": ("a.xlsx", by_suffix, []),
    "ODS": ("a.ods", by_suffix, []),
    "SQLite": ("a.db", in_database, ["--table", "orders"]),
    "a query": ("a.db", in_database, ["--query", QUERY]),
    "Feather": ("a.feather", lambda path: table().to_feather(path), []),
    "Parquet": ("a.parquet", lambda path: table().to_parquet(path), []),
}
COMMANDS = {
    "score": (["score", "FILE", "--model", "MODEL"], None),
    "score --stream": (["score", "FILE", "--model", "MODEL", "--stream"], None),
    "explain": (["explain", "FILE", "--model", "MODEL", "--row", "4"], None),
    "suggest": (["suggest", "FILE", "--model", "MODEL"], None),
    "features": (["features", "FILE", "--model", "MODEL"], None),
    "monitor": (["monitor", "FILE", "--model", "MODEL"], None),
    "fit": (["fit", "FILE", "--output", "OUT"], "out.vae"),
    "fit --stream": (["fit", "FILE", "--stream", "--output", "OUT"], "out.vae"),
    "update": (["update", "FILE", "--model", "MODEL", "--output", "OUT"], "out.vae"),
    "score without a model": (["score", "FILE"], None),
    "benchmark": (["benchmark", "FILE", "--label", "paid", "--anomaly-values", "False"], None),
    "report": (["report", "FILE", "--model", "MODEL", "--title", "orders", "--output", "OUT"], "out.html"),
    "plot latents": (["plot", "latents", "FILE", "--model", "MODEL", "--output", "OUT"], "out.svg"),
    "plot samples": (["plot", "samples", "FILE", "--model", "MODEL", "--output", "OUT"], "out.svg"),
    "plot reconstructions": (["plot", "reconstructions", "FILE", "--model", "MODEL", "--output", "OUT"], "out.svg"),
}
FOR_ALL = ["days first", "amounts of Europe", "a query", "Excel"]  # which each command reads in the long run


def cases():
    """Every command on a file that has most at once, the two that score on every file, and more in the long run."""
    for variant in WRITERS:
        for command in COMMANDS:
            if variant == "Europe" or command in ("score", "score --stream"):
                yield pytest.param(variant, command, id=f"{variant}: {command}")
            elif variant in FOR_ALL:
                yield pytest.param(variant, command, id=f"{variant}: {command}", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    """The table as a plain file, and a model that is fitted to it."""
    folder = tmp_path_factory.mktemp("orders")
    (folder / "plain.csv").write_text(as_text({}))
    with pytest.raises(SystemExit, match="0"):
        main(["fit", str(folder / "plain.csv"), "--output", str(folder / "orders.vae"), "--quiet"])
    return folder


def answer(cli, command: str, file, folder, out, options) -> object:
    """What a command says of a file: the table it prints, the scores of its model, or its page without numbers."""
    arguments, target = COMMANDS[command]
    names = {"FILE": file, "MODEL": folder / "orders.vae", "OUT": out / str(target)}
    ended = cli(*[names.get(part, part) for part in arguments], *options)
    assert ended.status in (0, FOUND), ended.err
    assert "left out" not in ended.err
    assert "unreadable" not in ended.err
    if target is None:
        figures = pd.read_csv(StringIO(ended.out.replace(" 00:00:00", "")))
        return figures.drop(columns=[name for name in figures if name.endswith("seconds")]).to_csv()
    if target.endswith(".vae"):
        return load(out / target).anomaly_score(table()).tolist()
    return re.sub(r"[^A-Za-z]", "", (out / target).read_text())[:1000] if target.endswith("html") else target


@pytest.fixture(scope="module")
def expected():
    """Answers for the plain file, each computed once."""
    return {}


@pytest.mark.parametrize("variant, command", [*cases()])
def test_every_command_reads_a_table_however_it_is_written(cli, orders, expected, tmp_path, variant, command):
    name, content, options = WRITERS[variant]
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if command not in expected:
        expected[command] = answer(cli, command, orders / "plain.csv", orders, tmp_path, [])
    assert answer(cli, command, path, orders, tmp_path, options) == expected[command]


@pytest.mark.parametrize("command", [name for name, (parts, _) in COMMANDS.items() if "MODEL" in parts])
def test_every_command_reads_codes_as_the_model_knows_them(cli, orders, tmp_path, command):
    """Of the codes A3, 12, B9 and 7, today's file has those of digits only."""
    frame = plain()
    (tmp_path / "today.csv").write_text(frame[frame["code"].isin(["12", "7"])].to_csv(index=False))
    assert answer(cli, command, tmp_path / "today.csv", orders, tmp_path, [])
