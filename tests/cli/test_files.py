"""Files as people have them, at the command line."""

import bz2
import csv
import gzip
import lzma
import re
import sqlite3
import zipfile
from contextlib import closing
from io import BytesIO, StringIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vae_anomaly import load, read_table, write_table
from vae_anomaly_cli.errors import FOUND
from vae_anomaly_cli.main import main

pytestmark = pytest.mark.usefixtures("_quick_fits")


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
    """Orders: codes, some of digits, dates, times of day around midnight, amounts with gaps, truth values, months."""
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
            "since": [f"20{year}-{month:02}" for year, month in rng.integers((10, 1), (25, 13), (ROWS, 2))],
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


def in_duckdb(path) -> None:
    with pytest.importorskip("duckdb").connect(str(path)) as connection:
        connection.register("frame", table())
        connection.execute("CREATE TABLE orders AS SELECT * FROM frame")


def by_suffix(path) -> None:
    write_table(plain(), path)


def zipped(*contents: str) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"exports/orders{number}.csv", content.encode("utf-16"))
    return packed.getvalue()


def with_index(path) -> None:
    """A categorical column, and an index of which one level has a name."""
    table().astype({"code": "category"}).set_index(["day", pd.RangeIndex(ROWS)]).to_parquet(path)


def with_damaged_notes(path) -> None:
    stored = pa.Table.from_pandas(table(), preserve_index=False)
    pq.write_table(stored.replace_schema_metadata({b"pandas": b"\xff{"}), path)


DAYS = table()["day"].dt
COMMAS = [f"{weight:.3f}".replace(".", ",") for weight in table()["weight"]]
MARKED = [amount or "?" for amount in written(".2f")]
EUROPE = {"day": DAYS.strftime("%d.%m.%Y"), "at": twelve_hours(table()["at"]), "weight": COMMAS}
EUROPE["amount"] = [amount or "?" for amount in written(",.2f", ",.", " €")]
MONTHS = [(int(text[:4]), int(text[5:])) for text in table()["since"]]
GERMAN = ["Jan", "Feb", "März", "April", "Mai", "Juni", "Juli", "August", "Sept", "Oktober", "Nov", "Dez"]
EUROPE["since"] = [f"{GERMAN[month - 1]} {year}" for year, month in MONTHS]
AMERICA = {"day": DAYS.strftime("%m/%d/%Y"), "at": EUROPE["at"], "amount": written(",.2f", after=" USD")}
AMERICA["since"] = [pd.Timestamp(year, month, 1).strftime("%b-%Y") for year, month in MONTHS]
AS_PEOPLE_WRITE = plain().assign(**EUROPE)
QUERY = "SELECT * FROM orders WHERE amount > 0 OR amount IS NULL ORDER BY rowid"
WRITERS = {  # the name of the file, how it is written, and the options
    "Europe": ("a.csv", as_text(EUROPE, ";", "sep=;\n# of the shop", ";;;EUR;[kg];;"), ["--missing", "?"]),
    "America": ("a.zip", zipped(as_text(AMERICA, "|")), []),
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
    "years of two digits": ("a.csv", as_text({"day": DAYS.strftime("%d.%m.%y")}), []),
    "tabs": ("a.csv", as_text({}, sep="\t"), []),
    "bars": ("a.csv", as_text({}, sep="|"), []),
    "delimiter named": ("a.csv", as_text({}, sep=";", before="sep=;"), []),
    "comment lines": ("a.csv", as_text({}, before="# of the shop\n# version 2"), []),
    "units": ("a.csv", as_text({}, units=",,,EUR,[kg],,"), []),
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
    "DuckDB": ("a.db", in_duckdb, []),
    "text in JSON": ("a.json", lambda path: AS_PEOPLE_WRITE.to_json(path, orient="records"), ["--missing", "?"]),
    "text in Excel": ("a.xlsx", lambda path: write_table(AS_PEOPLE_WRITE, path), ["--missing", "?"]),
    "text in Parquet": ("a.parquet", lambda path: AS_PEOPLE_WRITE.to_parquet(path), ["--missing", "?"]),
    "Parquet with an index": ("a.parquet", with_index, []),
    "Parquet with damaged notes": ("a.parquet", with_damaged_notes, []),
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
QUICK = ("score", "score --stream")
LONG = ("monitor", "report", "update", *[name for name, (parts, _) in COMMANDS.items() if "MODEL" not in parts])


def cases():
    """Every command on a file that has most at once, the two that score on every file; the others in the long run.

    Those that take long read in the same two ways, whole and streamed, so that a few files show what they do.
    """
    for variant in WRITERS:
        for command in COMMANDS:
            if variant == "Europe" or command in QUICK:
                yield pytest.param(variant, command, id=f"{variant}: {command}")
            elif command not in LONG or variant in ("America", "days first", "a query", "text in Parquet"):
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
        return load(out / target).anomaly_score(read_table(folder / "plain.csv")).tolist()
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
    today = table()[table()["code"].isin(["12", "7"])]
    write_table(today, tmp_path / "today.csv")
    found = answer(cli, command, tmp_path / "today.csv", orders, tmp_path, [])
    assert found
    if COMMANDS[command][1] is None:
        write_table(today, tmp_path / "today.parquet")
        assert found == answer(cli, command, tmp_path / "today.parquet", orders, tmp_path, [])


REFUSED = {
    "a long line": (b"code,at\nA3," + b"x" * 2**17, "has a row of more than 0 MB"),
    "an archive of two": (zipped("a", "b"), r"holds 2 files: .*\. Unpack it and name one"),
    "a page": (b"<!DOCTYPE html><table>", "is a page of HTML, which is not read"),
    "JSON with a key twice": (b'{"code": "A3", "code": "B9"}\n', "record 1 has 'code' more than once"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_in_one_short_sentence(cli, orders, tmp_path, monkeypatch, command):
    monkeypatch.setattr("vae_anomaly.io.csv._BLOCK", 2**16)
    names = {"FILE": tmp_path / "file", "MODEL": orders / "orders.vae", "OUT": tmp_path / str(COMMANDS[command][1])}
    for content, message in REFUSED.values():
        names["FILE"].write_bytes(content)
        ended = cli(*[names.get(part, part) for part in COMMANDS[command][0]])
        assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert re.search(message, ended.err)
        assert len(ended.err) < 300 + len(str(tmp_path)) * 2


KEPT = {
    "order": ["1582218195625939001", "", *[str(1582218195625939002 + row) for row in range(ROWS - 2)]],
    "huge": ["9223372036854775808", "", "NA", *["18446744073709551615"] * (ROWS - 3)],
    "zip": ["00501", "007", *["10115"] * (ROWS - 2)],
    "country": ["NA", "", *["DE"] * (ROWS - 2)],
}
READERS = {
    ".csv": lambda path: pd.read_csv(path, dtype=str, keep_default_na=False),
    ".tsv": lambda path: pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
    ".parquet": pd.read_parquet,
    ".xlsx": lambda path: pd.read_excel(path, engine="calamine", dtype=str, keep_default_na=False),
    ".ods": lambda path: pd.read_excel(path, engine="calamine", dtype=str, keep_default_na=False),
}


@pytest.mark.parametrize("streams", [[], ["--stream"]], ids=["whole", "streamed"])
@pytest.mark.parametrize("suffix", READERS)
def test_kept_columns_are_the_text_of_the_file_in_every_format(cli, orders, tmp_path, suffix, streams):
    plain().assign(**KEPT).to_csv(tmp_path / "a.csv", index=False)
    for option in (["--append"], [part for name in KEPT for part in ("--keep", name)]):
        out = tmp_path / f"out{suffix}"
        command = ["score", tmp_path / "a.csv", "--model", orders / "orders.vae", "--output", out, *streams]
        assert cli(*command, *option).status == 0
        assert READERS[suffix](out)[[*KEPT]].to_dict("list") == KEPT
