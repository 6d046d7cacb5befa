"""The body of a request to the model server: rows, read as those of a file are, and options.

MLflow's own parser takes a surplus field for a row index, and says nothing about column names that are repeated.
"""

import io
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vae_anomaly.detector import VAEDetector
from vae_anomaly.errors import DataError, DataWarning, RowError
from vae_anomaly.formatting import listed_names, shorten
from vae_anomaly.integrations.mlflow.signatures import PARAMETERS, as_trained, number_columns, numbers_of
from vae_anomaly.io.csv import DelimitedText
from vae_anomaly.io.notation import Name, Notation
from vae_anomaly.io.read import WholeText
from vae_anomaly.io.source import FileOptions, KeptStream, compression_of
from vae_anomaly.io.text import known_frame
from vae_anomaly.scoring.decide import FlaggingRule

BODY = "The request body"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")  # of MLflow's clients
_SNIFFED = 1_000  # lines


@dataclass(frozen=True, eq=False)
class Request:
    """Rows as an arrow table of text, how it writes values, and options of `Predictor.predict`."""

    cells: Any
    notation: Notation = field(default_factory=Notation)
    options: dict[str, Any] = field(default_factory=dict)

    def rows(self, detector: VAEDetector) -> Any:
        """Rows as the detector takes them; a DataError if they lack one of its columns, or text stands for a number."""
        model, given = detector.model_, self.cells.column_names
        reading = reading_of(detector)
        if model.is_frame:
            if missing := [name for name in reading if name not in given]:
                raise DataError(f"{BODY} lacks columns of the model: {listed_names(missing)}. Add them.")
        else:
            reading = dict.fromkeys(given, "numbers")
            if len(given) != len(model.inputs):
                known = f"the model has {len(model.inputs):,}: {listed_names(model.inputs)}"
                raise DataError(f"{BODY} has {len(given):,} columns, and {known}. Give all in their order.")
        rows = known_frame(self.cells, reading, reading, self.notation)
        for name in number_columns(detector) if model.is_frame else given:
            numbers_of(rows[name])  # raises an error for text, whatever part of the column is text
        return as_trained(detector, rows)

    def joins(self, other: "Request") -> bool:
        """Whether the rows of both can be read as one table, and flagged as one: every row by itself."""
        options, alone = self.options, ("fdr", "alerts")  # rules that compare the rows of a request
        same_cells = (self.cells.column_names, self.notation) == (other.cells.column_names, other.notation)
        return same_cells and options == other.options and all(options.get(name) is None for name in alone)


def reading_of(detector: VAEDetector) -> dict[Name, str]:
    """How the text of the model's columns is read, where they have names: see `Column.reading`."""
    model = detector.model_
    return {str(column.name): column.reading for column in model.schema.columns} if model.is_frame else {}


def joined(requests: Sequence[Request]) -> Request:
    """Requests that join, as one."""
    return Request(pa.concat_tables([request.cells for request in requests]), requests[0].notation, requests[0].options)


@dataclass(frozen=True)
class Size:
    """Most rows and columns of a request; a tenth of the rows if it asks for reasons, which take that much longer."""

    rows: int
    columns: int

    @property
    def explained(self) -> "Size":
        """That of a request that asks for reasons."""
        return Size(max(self.rows // 10, 1), self.columns)

    def check_rows(self, rows: int) -> None:
        """Refuse too many rows."""
        if rows > self.rows:
            raise TooManyRowsError(f"{BODY} has more than {self.rows:,} rows. Send fewer at a time.")

    def check_columns(self, columns: int) -> None:
        """Refuse too many columns."""
        if columns > self.columns:
            raise DataError(f"{BODY} has more than {self.columns:,} columns. Send those of the model.")


class TooManyRowsError(DataError):
    """The rows of a request are more than the server takes at a time."""


def read_csv(body: bytes, most: Size, reading: Mapping[Name, str]) -> Request:
    """Read delimited text with a line of column names, in UTF-8."""
    most.check_rows(max(body.count(b"\n"), body.count(b"\r")) // 2 - 500)  # before a parser makes an object of each
    try:
        body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise DataError(f"{BODY} is not UTF-8 text (line {line:,}). Encode it as UTF-8.") from error
    if compression_of(io.BufferedReader(io.BytesIO(body))) is not None:  # a few bytes can become any number
        raise DataError(f"{BODY} is compressed. Send it as it is.")
    for text_line in islice(io.TextIOWrapper(io.BytesIO(body), "utf-8"), _SNIFFED):  # before a name is an object
        most.check_columns(max(map(text_line.count, ",;\t|")))
    text = DelimitedText(KeptStream(io.BytesIO(body), BODY, len(body)), FileOptions())
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        try:
            cells = text.read()
            notation = WholeText(cells, text).known_notation(reading)
        except DataWarning as warning:  # the reader would choose one of several meanings, and nobody would be told
            found = re.split(" are read | have both | and is skipped", str(warning))[0]
            message = f"{BODY} can be read in more than one way: {found}. Write 2024-12-31 and 1234.5, and no units."
            raise DataError(message) from warning
    if not len(cells):
        raise DataError(f"{BODY} has column names but no rows: {listed_names(text.names)}. Add rows.")
    most.check_rows(len(cells))
    return Request(cells, notation)


def read_json(body: bytes, most: Size, _reading: Mapping[Name, str]) -> Request:
    """Read rows in one of MLflow's forms, and ``params``."""
    most.check_rows((body.count(b"[") + body.count(b"{")) // 4 - 250)  # before a parser makes an object of each
    document = _parsed(body, most)
    forms = [name for name in FORMS if isinstance(document, dict) and name in document]
    if len(forms) != 1:
        found = f"has {' and '.join(forms)}" if forms else "has none"
        raise DataError(f"{BODY} must be a JSON object with exactly one of {', '.join(FORMS)}; it {found}.")
    options = _options(document.get("params"))
    names, columns = _READERS[forms[0]](document[forms[0]], forms[0], most)
    if not columns or not len(columns[0]):
        raise DataError(f"{BODY} has no rows in {forms[0]!r}. Add rows.")
    (most.explained if options.get("explain") else most).check_rows(len(columns[0]))
    try:
        arrays = [_texts(name, values) for name, values in zip(names, columns, strict=True)]
        return Request(pa.table(arrays, names=names), options=options)
    except UnicodeEncodeError as error:  # half of a surrogate pair, which no text file can hold
        raise DataError(f"{BODY} has an escape such as \\ud800 alone, which is no character. Correct it.") from error


def _as_it_stands(number: str) -> str:
    """All digits of a number; a function of Python, since `json` lets other threads run only in such."""
    return number


def _parsed(body: bytes, most: Size) -> Any:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        most.check_columns(len(pairs))
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
            raise DataError(f"{BODY} has names more than once in an object: {listed_names(repeated)}. Rename them.")
        return found

    try:
        return json.loads(
            body,
            parse_float=_as_it_stands,
            parse_int=_as_it_stands,
            parse_constant=lambda name: None if name == "NaN" else name,
            object_pairs_hook=members,
        )
    except RecursionError as error:
        raise DataError(f"{BODY} is nested too deeply. A cell holds one value.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{BODY} is not UTF-8 text. Encode it as UTF-8.") from error
    except json.JSONDecodeError as error:
        where = f"{error.msg} in line {error.lineno:,}, column {error.colno:,}"
        raise DataError(f"{BODY} is not valid JSON: {where}. Correct it.") from error


Columns = tuple[list[str], Sequence[Sequence[Any]]]  # names and values


def _records(found: Any, form: str, most: Size) -> Columns:
    """A list of objects, each a row; a name that one lacks is a missing cell."""
    rows = _list(found, form, most)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{BODY} has {shorten(row)} as row {number:,} of {form!r}. Write it as an object.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    most.check_columns(len(names))
    return names, [[row.get(name) for row in rows] for name in names]


def _lists(found: Any, form: str, most: Size, names: list[str] | None = None) -> Columns:
    """A list of lists, each a row, or of values, each a row of one column."""
    rows = [row if isinstance(row, list) else [row] for row in _list(found, form, most)]
    width = len(names if names is not None else rows[0] if rows else [])
    most.check_columns(width)
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            counts = f"{len(row):,} values in row {number:,} of {form!r}, not {width:,}"
            raise DataError(f"{BODY} has {counts}. Give one for each column.")
    return names if names is not None else [*map(str, range(width))], [[row[i] for row in rows] for i in range(width)]


def _instances(found: Any, form: str, most: Size) -> Columns:
    """A list of objects, of lists or of values."""
    rows = _list(found, form, most)
    return (_records if rows and isinstance(rows[0], dict) else _lists)(rows, form, most)


def _inputs(found: Any, form: str, most: Size) -> Columns:
    """An object of columns, lists or single values; or the same as in ``instances``."""
    if not isinstance(found, dict):
        return _instances(found, form, most)
    most.check_columns(len(found))
    columns = [values if isinstance(values, list) else [values] for values in found.values()]
    if len({*map(len, columns)}) > 1:
        lengths = (f"{name!r} {len(values):,}" for name, values in zip(found, columns, strict=True))
        raise DataError(f"{BODY} has columns of different lengths: {', '.join(islice(lengths, 20))}. Complete them.")
    return list(found), columns


def _split(found: Any, form: str, most: Size) -> Columns:
    """An object of ``columns`` and ``data``; an ``index`` is not used."""
    if not isinstance(found, dict) or "data" not in found or found.keys() - {"columns", "data", "index"}:
        raise DataError(f"{BODY} needs an object of 'columns' and 'data' in {form!r}, besides 'index' nothing else.")
    if found.get("columns") is None:
        return _lists(found["data"], form, most)
    if not isinstance(found["columns"], list):
        raise DataError(f"{BODY} needs a list in 'columns'; found {shorten(found['columns'])}.")
    most.check_columns(len(found["columns"]))
    names = [*map(str, found["columns"])]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{BODY} has column names more than once: {listed_names(repeated)}. Rename them.")
    return _lists(found["data"], form, most, names)


_READERS: Mapping[str, Callable[[Any, str, Size], Columns]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}


def _list(found: Any, form: str, most: Size) -> list[Any]:
    """The rows of a form."""
    if not isinstance(found, list):
        raise DataError(f"{BODY} needs a list in {form!r}; found {shorten(found)}.")
    most.check_rows(len(found))
    return found


def _texts(name: str, values: Sequence[Any]) -> Any:
    """A column as it would stand in a file."""
    with suppress(pa.ArrowTypeError):
        return pc.fill_null(pa.array(values, pa.string()), "")
    nested = next((row for row, value in enumerate(values) if isinstance(value, dict | list)), None)
    if nested is not None:
        fault = f"{BODY} has {shorten(values[nested])} in column {shorten(name)!r}"
        raise RowError.at(fault, nested, ". A cell is one value.")
    return pa.array(["" if value is None else str(value) for value in values], pa.string())


def _options(found: Any) -> dict[str, Any]:
    """The ``params`` of a request, by name; null stands for the default."""
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise DataError(f"{BODY} needs an object in 'params'; found {shorten(found)}.")
    if unknown := found.keys() - PARAMETERS.keys():
        raise DataError(
            f"{BODY} has unknown params: {listed_names(sorted(unknown))}. Known are {', '.join(PARAMETERS)}."
        )
    options = {name: _option(name, value) for name, value in found.items() if value is not None}
    try:
        FlaggingRule(**{name: value for name, value in options.items() if name != "explain"})
    except ValueError as error:
        raise DataError(f"{BODY} has wrong params: {error}") from error
    return options


def _option(name: str, value: Any) -> Any:
    expected = {"explain": "true or false", "alerts": "a whole number from 0 up"}.get(name, "a number between 0 and 1")
    match name, value:
        case "explain", bool():
            return value
        case "alerts", str() if re.fullmatch(r"\d{1,18}", value):
            return int(value)
        case (("fdr" | "false_alarm_rate"), str()) if re.fullmatch(r"[\d.]{1,40}(e-\d{1,3})?", value, re.IGNORECASE):
            with suppress(ValueError):
                return float(value)
    raise DataError(f"{BODY} has {shorten(value)} as {name!r} in 'params'. Give {expected}.")


READERS: Mapping[str, Callable[[bytes, Size, Mapping[Name, str]], Request]] = {
    "text/csv": read_csv,
    "application/json": read_json,
}
