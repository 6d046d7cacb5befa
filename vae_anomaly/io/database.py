"""Tables of databases, and the answers to queries: SQLite and DuckDB files, and any other by its URL.

A query is the user's own text, and nothing is pasted into it. Databases are opened for reading only.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from vae_anomaly.errors import DataError, MissingExtraError
from vae_anomaly.formatting import counted, listed_names, without_password
from vae_anomaly.io.notation import Notation
from vae_anomaly.io.pieces import Progress
from vae_anomaly.io.records import AT_ONCE, SNIFFED, as_text, notation_of, of_size
from vae_anomaly.io.source import ByteSource, FileOptions, StoredFile

_URL = re.compile(r"([a-z][a-z0-9]*)(\+[a-z0-9_]+)?://", re.IGNORECASE)
_READS = re.compile(r"\s*(?:--[^\n]*\n\s*)*\(*\s*(?:select|with|values|table|from)\b", re.IGNORECASE)
_READ_ONLY = {  # of SQLAlchemy's dialects; for the others, nothing is committed
    **dict.fromkeys(("postgresql", "mysql", "mariadb"), "SET TRANSACTION READ ONLY"),
    "sqlite": "PRAGMA query_only = ON",
}
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY table_name"


def is_url(source: str | PathLike[str]) -> bool:
    """Whether a source is the URL of a database, such as ``postgresql://host/name``."""
    return isinstance(source, str) and _URL.match(source) is not None


class Database(NamedTuple):
    """
    How a database is opened for reading, with a connection, and what is done with that.

    ``answer`` gives the column names of a query's answer, and its rows, which are fetched from the database as they are
    asked for. ``tables`` are those of the database, and ``quoted`` is a name in SQL.
    """

    opened: Callable[[], AbstractContextManager[Any]]
    answer: Callable[[Any, str], tuple[list[str], Any]]
    tables: Callable[[Any], list[str]]
    quoted: Callable[[str], str]
    errors: tuple[type[Exception], ...]


class DatabaseTable:
    """A table or view of a database, by default the only one, or the answer to a query; ``name`` is for messages."""

    def __init__(self, name: str, database: Database, options: FileOptions, size: int | None = None) -> None:
        self.name = name
        self.options = options
        self.size = size
        self._database = database

    def kept(self) -> "DatabaseTable":
        """The table itself, which can be read more than once."""
        return self

    @cached_property
    def names(self) -> list[str]:
        """Column names."""
        return self._first[0]

    @cached_property
    def notation(self) -> Notation:
        """How values in cells of text are written."""
        return notation_of(self.name, self.names, self._first[1], self.options)

    def read(self) -> Any:
        """All rows, an arrow table of text."""
        return pa.concat_tables([as_text([], self.names), *self._tables()])

    def pieces(self, progress: Progress) -> Iterator[Any]:
        """Rows in pieces, arrow tables of text."""
        yield from of_size(self._tables(), self.names)
        progress.here = self.size or 0

    @cached_property
    def _first(self) -> tuple[list[str], list[Any]]:
        """Column names and the first rows."""
        with self._answer() as (names, rows):
            if not names:
                raise DataError(f"{self.name}: --query gives no columns. Correct it.")
            if repeated := list(dict.fromkeys(name for name in names if names.count(name) > 1)):
                message = f"{self.name} gives columns of one name: {listed_names(repeated)}"
                raise DataError(f"{message}. Rename them in the query, with AS.")
            return names, rows.fetchmany(SNIFFED)

    def _tables(self) -> Iterator[Any]:
        with self._answer() as (_, rows):
            while some := rows.fetchmany(AT_ONCE):
                yield as_text(some, self.names, self.notation)

    @contextmanager
    def _answer(self) -> Iterator[tuple[list[str], Any]]:
        """Within it, the column names and a cursor with all rows; what the database objects to is a DataError."""
        what, remedy = "the database", "Check the address"
        try:
            with self._database.opened() as connection:
                if self.options.query:
                    what, remedy = "--query", "Correct it"
                names, rows = self._database.answer(connection, self._query(connection))
                with closing(rows):
                    yield names, rows
        except self._database.errors as error:
            said = " ".join(str(getattr(error, "orig", None) or error).split())[:300].rstrip(".?")
            raise DataError(f"{self.name}: {what} cannot be read: {said}. {remedy}.") from error

    def _query(self, connection: Any) -> str:
        if (query := self.options.query) is not None:
            if not _READS.match(query):
                raise DataError(f"--query reads rows, so it begins with SELECT or WITH, not {query[:40]!r} (query=).")
            return query
        chosen, tables = self.options.table, self._database.tables(connection)
        if chosen is None and len(tables) != 1:
            held = f"{counted(len(tables), 'tables')}: {listed_names(tables)}"
            raise DataError(f"{self.name} has {held}. Name one: --table NAME (table=), or use --query SQL (query=).")
        if chosen is not None and chosen not in tables:
            raise DataError(f"{self.name} has no table {chosen!r}. It has: {listed_names(tables)}.")
        return f"SELECT * FROM {self._database.quoted(tables[0] if chosen is None else chosen)}"


def sqlite_table(source: ByteSource, options: FileOptions) -> DatabaseTable:
    """A table of an SQLite file."""
    path = _path_of(source, "an SQLite database")

    def opened() -> AbstractContextManager[Any]:
        return closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True))

    def tables(connection: Any) -> list[str]:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
        return [name for (name,) in found if not name.startswith("sqlite_")]

    return DatabaseTable(
        source.name, Database(opened, _answer, tables, _quoted, (sqlite3.Error,)), options, source.size
    )


def duckdb_table(source: ByteSource, options: FileOptions) -> DatabaseTable:
    """A table of a DuckDB file, whose queries see no other file."""
    path = _path_of(source, "a DuckDB database")
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError(
            f'{source.name} is a DuckDB database, which needs the extra: pip install "vae-anomaly[databases]".'
        ) from error

    def opened() -> AbstractContextManager[Any]:
        return closing(duckdb.connect(str(path), read_only=True, config={"enable_external_access": "false"}))

    def tables(connection: Any) -> list[str]:
        return [name for (name,) in connection.execute(_TABLES).fetchall()]

    database = Database(opened, _answer, tables, _quoted, (duckdb.Error,))
    return DatabaseTable(source.name, database, options, source.size)


def url_table(url: str, options: FileOptions) -> DatabaseTable:
    """A table of the database at a URL, read through SQLAlchemy; sqlite:///FILE and duckdb:///FILE are files."""
    kind, _, rest = url.partition("://")
    if (of_file := {"sqlite": sqlite_table, "duckdb": duckdb_table}.get(kind.lower())) and rest.startswith("/"):
        stored = StoredFile(Path(rest[1:]))
        stored.opened().close()
        return of_file(stored, options)
    name = repr(without_password(url))
    try:
        import sqlalchemy
    except ImportError as error:
        raise MissingExtraError(
            f'{name} is a database, which needs the extra and a driver: pip install "vae-anomaly[databases]". Or write '
            "the result of a query to a CSV file."
        ) from error
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)  # what is closed is closed
    except ImportError as error:
        driver = f"the driver {error.name!r}: install it, or name another, as in postgresql+psycopg://"
        raise MissingExtraError(f"{name} needs {driver}.") from error
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        raise DataError(f"{name} is no URL of a known kind of database: {error}.".replace(url, name)) from error

    @contextmanager
    def opened() -> Iterator[Any]:
        with engine.connect() as connection:  # closing it takes back what was not committed
            if (statement := _READ_ONLY.get(engine.dialect.name)) is not None:
                connection.exec_driver_sql(statement)
            yield connection

    def answer(connection: Any, query: str) -> tuple[list[str], Any]:
        options = {"yield_per": AT_ONCE, "no_parameters": True}  # rows stay at the server; % is no parameter
        rows = connection.exec_driver_sql(query, execution_options=options)
        return [*rows.keys()] if rows.returns_rows else [], rows

    def tables(_connection: Any) -> list[str]:
        inspector = sqlalchemy.inspect(engine)
        return sorted([*inspector.get_table_names(), *inspector.get_view_names()])

    errors = (sqlalchemy.exc.SQLAlchemyError, engine.dialect.loaded_dbapi.Error)
    quoted = engine.dialect.identifier_preparer.quote
    return DatabaseTable(name, Database(opened, answer, tables, quoted, errors), options)


def _answer(connection: Any, query: str) -> tuple[list[str], Any]:
    """The column names and a cursor with the rows, of a DB-API connection to a file."""
    rows = connection.cursor()
    rows.execute(query)
    return [column[0] for column in rows.description or []], rows


def _quoted(name: str) -> str:
    """One of the database's own names in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _path_of(source: ByteSource, kind: str) -> Path:
    if not isinstance(source, StoredFile):
        raise DataError(f"{source.name} is {kind}, which cannot be read from a pipe. Name its file.")
    return source.path
