"""Tables as matrices: what the columns are, and how rows are encoded and decoded. Nothing here knows files."""
