"""Scores of rows that need not fit in memory: read and scored piece by piece, in the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly.errors import DataError
from vae_anomaly_cli.columns import leave_out, pick
from vae_anomaly_cli.contents import holds_images
from vae_anomaly_cli.source import trained_on

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import Dataset, VAEDetector
    from vae_anomaly.io.pieces import Piece

OF_FILES = ("file", "file_row")  # written where there are several


@dataclass(frozen=True, eq=False)
class Streamed:
    """The rows of FILE, columns that the model is not to see, and those to know a row by."""

    dataset: Dataset
    exclude: list[str]
    keep: list[str]
    encoding: str

    @classmethod
    def read(cls, file: str, exclude: list[str], keep: list[str], encoding: str) -> Streamed:
        """Read the names of the columns: those that are named must be there."""
        import pandas as pd

        from vae_anomaly import Dataset

        if holds_images(file):
            message = f"it concerns tables, and {file} holds images; leave it out."
            raise typer.BadParameter(message, param_hint="--stream")
        dataset = Dataset(file, encoding=encoding)
        header = pd.DataFrame(columns=pd.Index(dataset.columns, dtype=object))
        leave_out(header, exclude, "--exclude")
        pick(header, keep, "--keep")
        return cls(dataset, exclude, list(dict.fromkeys(keep)), encoding)

    image_shape = None

    @property
    def rows(self) -> Dataset:
        """The rows as a model sees them."""
        return self.dataset.without(self.exclude)

    @property
    def lasts(self) -> bool:
        """Whether the rows come from files, which another run can read again, and not from a pipe."""
        files = self.dataset.files
        return bool(files) and all(Path(name).is_file() for name in files)


@dataclass(frozen=True, eq=False)
class Scoring:
    """A detector at work on rows, of which it sees some columns, and which it flags by a rule."""

    detector: VAEDetector
    source: Streamed
    dataset: Dataset
    columns: list[Any]
    rule: dict[str, Any]

    @classmethod
    def of(cls, detector: VAEDetector, source: Streamed, rule: dict[str, Any]) -> Scoring:
        """Have columns read for what the detector takes them for."""
        from vae_anomaly.data.schema import Schema

        schema = detector.schema_
        if not isinstance(schema, Schema):
            raise DataError(f"This is a table, and the model was fitted to {trained_on(detector)}. Leave out --stream.")
        if hasattr(detector, "feature_names_in_"):
            return cls(detector, source, source.rows.as_fitted(schema, keep=source.keep), schema.names, rule)
        return cls(detector, source, source.dataset, source.rows.columns, rule)  # an array's columns have no names

    def pieces(self, skip: int = 0) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """Scores of the rows, with the rows; the next piece is read while one is scored."""
        from vae_anomaly.parallel import ahead

        pieces = islice(self.dataset.pieces(), skip, None)
        for piece in ahead(pieces) if self.source.lasts else pieces:  # what waits for a pipe cannot be interrupted
            with piece.counting_rows():
                yield self._scored(piece), piece.frame

    def tables(self, skip: int = 0) -> Iterator[pd.DataFrame]:
        """Scores of the rows, with reasons where they are flagged."""
        for table, rows in self.pieces(skip):
            yield self.explained(table, rows, table["is_anomaly"].to_numpy())

    def explained(self, table: pd.DataFrame, rows: pd.DataFrame, chosen: Any) -> pd.DataFrame:
        """A table with the reasons of the chosen rows, and of all rows what is kept."""
        import pandas as pd

        table = table.assign(reason="")
        if chosen.any():
            table.loc[chosen, "reason"] = self.detector.reasons(rows.loc[chosen, self.columns]).to_numpy()
        return pd.concat([table, rows[self.source.keep].reset_index(drop=True)], axis=1)

    def _scored(self, piece: Piece) -> pd.DataFrame:
        import numpy as np

        rows = piece.frame
        table = self.detector.detect(rows[self.columns], **self.rule).reset_index(drop=True)
        table.insert(0, "row", rows.index.to_numpy() + 1)
        if len(self.dataset.files) > 1:
            for place, told in enumerate((piece.file, np.arange(piece.first + 1, piece.first + 1 + len(rows)))):
                table.insert(1 + place, OF_FILES[place], told)
        return table


class Oddest:
    """The oddest rows so far, oddest first; of equally odd ones the first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.table: Any = None
        self.rows: Any = None

    def add(self, table: pd.DataFrame, rows: pd.DataFrame) -> None:
        """Rank more rows among them."""
        import pandas as pd

        rows = rows.reset_index(drop=True)
        if self.table is not None:
            table = pd.concat([self.table, table], ignore_index=True)
            rows = pd.concat([self.rows, rows], ignore_index=True)
        order = table["anomaly_score"].sort_values(ascending=False, kind="stable").index[: self.count]
        self.table, self.rows = (part.loc[order].reset_index(drop=True) for part in (table, rows))
