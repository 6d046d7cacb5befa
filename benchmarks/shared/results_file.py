"""The file of figures: a row for each setting, set, seed and method, written as soon as it is known, read to resume."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd


class FigureFile:
    """A CSV that survives being interrupted: a torn last line is cut off, whole ones stay.

    ``row`` is the dataclass of its rows, ``key`` are the columns that tell one figure from another.
    """

    def __init__(self, path: Path, row: type, key: Sequence[str]):
        self.path, self.key, self.row = path, list(key), row
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            os.truncate(path, len(whole.encode()))
        columns = [column.name for column in fields(row)]
        if not whole:
            path.write_text(_line(columns))
        elif whole.splitlines()[0].split(",") != columns:
            raise ValueError(f"{path.name} has other columns than {', '.join(columns)}; move it away.")

    def append(self, figures: Iterable[Any]) -> None:
        """Add rows, at once."""
        with self.path.open("a", newline="") as file:
            file.write("".join(_line(asdict(figure).values()) for figure in figures))
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> pd.DataFrame:
        """Every row; of two with the same key the later one."""
        text = {column.name: str for column in fields(self.row) if column.type is str}
        unknown = {column.name: ["nan"] for column in fields(self.row) if column.type is float}
        table = pd.read_csv(self.path, dtype=text, keep_default_na=False, na_values=unknown)
        return table.drop_duplicates(self.key, keep="last", ignore_index=True)


def _line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()
