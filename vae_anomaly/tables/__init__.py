"""A table is rows of cells under named columns: read here, learned as a schema, encoded as floats, and written."""

from vae_anomaly.tables.columns import Cell
from vae_anomaly.tables.dataset import Dataset
from vae_anomaly.tables.frames import as_frame, fill, is_frame
from vae_anomaly.tables.pixels import PixelSchema
from vae_anomaly.tables.reading import read_table
from vae_anomaly.tables.schema import Schema
from vae_anomaly.tables.writing import write_table

__all__ = ["Cell", "Dataset", "PixelSchema", "Schema", "as_frame", "fill", "is_frame", "read_table", "write_table"]
