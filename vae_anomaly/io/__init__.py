"""Files: tables and models read and written, whole or in pieces. Nothing here knows a model."""
