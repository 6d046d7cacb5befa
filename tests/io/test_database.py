"""Databases: tables and the answers to queries, read only, from files and URLs."""

import os
import sqlite3
import sys
from contextlib import closing

import pandas as pd
import pytest

from vae_anomaly.errors import DataError, MissingExtraError
from vae_anomaly.formatting import without_password
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.io.read import is_pattern, read_table, table_files

FRAME = pd.DataFrame(
    {
        "id": [9007199254740993, 2, 3, 4],
        "x": [1.5, None, 3.25, 4.0],
        "name": ["a", "b", None, "d"],
        "day": ["2024-01-01", "2024-02-03", "2024-01-01", "2024-01-01"],
    }
)


def as_sqlite(path):
    with closing(sqlite3.connect(path)) as connection:
        FRAME.to_sql("t", connection, index=False)
        FRAME[:1].to_sql("u", connection, index=False)
    return str(path)


def as_duckdb(path):
    duckdb = pytest.importorskip("duckdb")
    columns = "unnest([9007199254740993, 2, 3, 4]) AS id, unnest([1.5, NULL, 3.25, 4]) AS x"
    columns += ", unnest(['a', 'b', NULL, 'd']) AS name"
    columns += ", unnest([DATE '2024-01-01', DATE '2024-02-03', DATE '2024-01-01', DATE '2024-01-01']) AS day"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT {columns}")
        connection.execute("CREATE VIEW u AS SELECT * FROM t LIMIT 1")
    return str(path)


def as_url(path):
    pytest.importorskip("sqlalchemy")
    return f"sqlite+pysqlite:///{as_sqlite(path)}"


def as_file_url(path):
    return f"sqlite:///{as_sqlite(path)}"


@pytest.fixture(params=[as_sqlite, as_duckdb, as_url, as_file_url], ids=["SQLite", "DuckDB", "URL", "URL of a file"])
def base(request, tmp_path):
    return request.param(tmp_path / "base")


@pytest.fixture(params=["whole", "in pieces"])
def read(request, monkeypatch):
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 2)
    monkeypatch.setattr("vae_anomaly.io.database.AT_ONCE", 3)

    def read(source, **options):
        if request.param == "whole":
            return read_table(source, **options)
        return pd.concat(list(Dataset(source, **options)))

    return read


def test_a_table_is_read(read, base):
    found = read(base, table="t")
    assert found["id"].tolist() == FRAME["id"].tolist()
    pd.testing.assert_frame_equal(found, FRAME, check_dtype=False)


def test_the_answer_to_a_query_is_read(read, base):
    found = read(base, query="SELECT x * 2 AS twice, name FROM t WHERE id < 4 ORDER BY id")
    assert found["twice"].isna().tolist() == [True, False]
    assert found["name"].isna().tolist() == [False, True]
    assert (
        read(base, query="-- a comment\nWITH s AS (SELECT id FROM t) SELECT max(id) AS m FROM s")["m"][0] == 2**53 + 1
    )


@pytest.mark.parametrize(
    "query", ["DROP TABLE t", "INSERT INTO t SELECT * FROM t", "ATTACH 'new.db' AS n", "COPY t TO 'new.csv'"]
)
def test_a_query_that_does_not_read_is_refused(base, query, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="begins with SELECT or WITH"):
        read_table(base, query=query)
    assert len(read_table(base, table="t")) == 4
    assert not (tmp_path / "new.db").exists()
    assert not (tmp_path / "new.csv").exists()


def test_a_query_that_writes_all_the_same_is_refused(base):
    with pytest.raises(DataError):
        read_table(base, query="WITH s AS (SELECT 9 AS id) INSERT INTO t (id) SELECT id FROM s")
    assert len(read_table(base, table="t")) == 4


FAULTS = {
    "no such column": ({"query": "SELECT y FROM t"}, r"--query cannot be read: .*y.* Correct it\."),
    "no SQL": ({"query": "SELECT FROM WHERE"}, r"--query cannot be read: .*"),
    "two columns of one name": ({"query": "SELECT x, x FROM t"}, "columns of one name: 'x'. Rename them in the query"),
    "no rows": ({"query": "SELECT x FROM t WHERE id < 0"}, "has column names but no rows"),
    "no such table": ({"table": 't"; DROP TABLE t; --'}, "has no table .* It has: 't', 'u'"),
    "several tables": ({}, "has 2 tables: 't', 'u'. Name one: --table NAME .* or use --query"),
    "both": ({"table": "t", "query": "SELECT 1"}, "exclude one another"),
}


@pytest.mark.parametrize("options, message", FAULTS.values(), ids=FAULTS)
def test_faults_are_one_sentence(base, options, message):
    with pytest.raises(DataError, match=message) as error:
        read_table(base, **options)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux")
def test_nothing_stays_open(base, tmp_path):
    read_table(base, table="t")
    with pytest.raises(DataError):
        read_table(base, query="SELECT y FROM t")
    opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert str(tmp_path / "base") not in opened


def test_a_query_is_of_a_database(tmp_path):
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"a.csv' is no database, so --query"):
        read_table(tmp_path / "a.csv", query="SELECT 1")


def test_a_url_is_no_pattern_and_no_file():
    url = "postgresql://host/name?sslmode=require"
    assert not is_pattern(url)
    assert [str(path) for path in table_files("a.csv")] == ["a.csv"]
    assert without_password("mysql+pymysql://me:secret@host/name") == "mysql+pymysql://me:***@host/name"


@pytest.mark.parametrize(
    "url, message",
    [
        ("postgresql+psycopg://me:secret@localhost:1/name", "'postgresql.*needs the driver 'psycopg'"),
        ("nosuch://me:secret@host/name", "no URL of a known kind of database"),
        ("sqlite:///none.db", "There is no file 'none.db'"),
    ],
    ids=["driver", "kind", "file"],
)
def test_urls_that_cannot_be_read_are_one_sentence_without_the_password(url, message):
    pytest.importorskip("sqlalchemy")
    with pytest.raises((DataError, MissingExtraError), match=message) as error:
        read_table(url, query="SELECT 1")
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("module, of", [("duckdb", as_duckdb), ("sqlalchemy", as_url)])
def test_databases_need_their_extra(tmp_path, monkeypatch, module, of):
    source = of(tmp_path / "base")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r'pip install "vae-anomaly\[databases\]"'):
        read_table(source, table="t")


def test_a_sign_of_percent_in_a_query_is_no_parameter(base):
    assert read_table(base, query="SELECT id FROM t WHERE name LIKE 'b%'")["id"].tolist() == [2]


def test_rows_of_a_url_stay_at_the_server_until_they_are_read(tmp_path):
    """Drivers such as psycopg and PyMySQL else fetch the whole answer at once."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    asked = []

    def note(_connection, _cursor, statement, _parameters, context, _many):
        asked.append((statement, dict(context.execution_options)))

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", note)
    try:
        list(Dataset(as_url(tmp_path / "base"), query="SELECT x FROM t"))
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "before_cursor_execute", note)
    options = [options for statement, options in asked if statement == "SELECT x FROM t"]
    assert len(options) == 3  # names, types, rows
    assert all(one["stream_results"] and one["no_parameters"] for one in options)
