"""How many rows make a piece: enough for full speed, few enough for bounded memory however wide they are."""

MOST_ROWS = 2**16
MOST_CELLS = 2**23  # 64 MB as float64; fewer, and 10,000 columns cost pandas more than their cells do
MOST_BYTES = 2**26  # of a file's own


def rows_a_piece(n_columns: int, row_bytes: int) -> int:
    """
    Rows to read at a time, of so many columns and of so many bytes each.

    A power of two: rows are then scored in the same company as those of the whole table, and alike to the last bit.
    """
    most = max(1, min(MOST_ROWS, MOST_CELLS // max(1, n_columns), MOST_BYTES // max(1, row_bytes)))
    return 1 << (most.bit_length() - 1)
