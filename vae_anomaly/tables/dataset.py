"""A table that need not fit in memory: its rows as frames, one after the other, as often as they are asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from vae_anomaly.tables.frames import as_frame

Source = Callable[[], Iterable[Any]] | Sequence[Any]


class Dataset:
    """
    Rows of a table, in pieces.

    Iterating gives pandas frames in the order of the rows; each has the positions of its rows in the whole table as its
    index. It can be iterated more than once, and holds one piece at a time.

    Parameters
    ----------
    source
        A list of frames, or a function without parameters that gives an iterator of frames, anew on each call.

    Examples
    --------
    >>> import pandas as pd
    >>> from vae_anomaly.tables import Dataset
    >>> [len(piece) for piece in Dataset([pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [3]})])]
    [2, 1]
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Frames in the order of the rows."""
        first = 0
        for table in self._source() if callable(self._source) else self._source:
            frame = as_frame(table)
            if len(frame):
                yield frame.set_axis(pd.RangeIndex(first, first + len(frame)))
                first += len(frame)
