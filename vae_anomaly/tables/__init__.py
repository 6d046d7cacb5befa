"""A table is rows of cells under named columns: here it is read, learned as a schema, encoded as floats, and written."""

from vae_anomaly.tables.columns import Cell
from vae_anomaly.tables.frames import as_frame, is_frame
from vae_anomaly.tables.schema import Schema

__all__ = ["Cell", "Schema", "as_frame", "is_frame"]
