"""CSV files of results: a row is written as soon as it is measured, and read to resume."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd


class ResultsFile:
    """A CSV file that survives interruptions: an incomplete last line is removed, complete lines stay.

    ``row`` is the dataclass of the rows; ``key`` are the columns that identify a row.
    """

    def __init__(self, path: Path, row: type, key: Sequence[str]):
        self.path, self.key, self.row = path, list(key), row
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.exists() else ""
        complete = text[: text.rfind("\n") + 1]
        if complete != text:
            os.truncate(path, len(complete.encode()))
        columns = [column.name for column in fields(row)]
        if not complete:
            path.write_text(_line(columns))
        elif complete.splitlines()[0].split(",") != columns:
            raise ValueError(f"The columns of {path.name} are not {', '.join(columns)}. Move the file away.")

    def append(self, rows: Iterable[Any]) -> None:
        """Write rows to disk at once."""
        with self.path.open("a", newline="") as file:
            file.write("".join(_line(asdict(row).values()) for row in rows))
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> pd.DataFrame:
        """All rows; of several rows with the same key, the last one."""
        text = {column.name: str for column in fields(self.row) if column.type is str}
        missing = {column.name: ["nan"] for column in fields(self.row) if column.type is float}
        table = pd.read_csv(self.path, dtype=text, keep_default_na=False, na_values=missing)
        return table.drop_duplicates(self.key, keep="last", ignore_index=True)


def _line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()
