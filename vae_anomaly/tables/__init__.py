"""A table is rows of cells under named columns: read here, learned as a schema, encoded as floats, and written."""

from vae_anomaly.tables.columns import Cell
from vae_anomaly.tables.dataset import Dataset
from vae_anomaly.tables.encoded import Cells, encoded, parts, selected
from vae_anomaly.tables.frames import as_frame, fill, is_frame
from vae_anomaly.tables.pixels import PixelSchema
from vae_anomaly.tables.progress import reading_bar
from vae_anomaly.tables.reading import read_table
from vae_anomaly.tables.sampling import HELD_OUT, Drawn, OtherShares, draw
from vae_anomaly.tables.schema import Schema
from vae_anomaly.tables.writing import write_table

__all__ = [
    "HELD_OUT",
    "Cell",
    "Cells",
    "Dataset",
    "Drawn",
    "OtherShares",
    "PixelSchema",
    "Schema",
    "as_frame",
    "draw",
    "encoded",
    "fill",
    "is_frame",
    "parts",
    "read_table",
    "reading_bar",
    "selected",
    "write_table",
]
