"""Which types the columns of text files have as a whole, from what their pieces say one by one."""

from typing import Any

import numpy as np
import pandas as pd

_FACTS = ("text", "truth", "floats", "whole", "gaps", "negative", "unsigned", "huge")
_LEAST, _LARGEST, _LARGEST_UNSIGNED = -(2**63), 2**63 - 1, 2**64 - 1


class ColumnFacts:
    """
    What the cells of columns are, as far as they were read: what pandas would make of all of them at once.

    Whole numbers stay whole only where none is missing; text anywhere, and numbers beside truth values, make text of
    all of it. Whole numbers that no 64 bits hold are taken for text beside others where pandas goes by their order.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._found = {fact: np.zeros(len(names), dtype=bool) for fact in _FACTS}

    def add(self, frame: pd.DataFrame) -> None:
        """Take note of a piece, of which each column has the type that pandas gives it by itself."""
        kinds = np.array([dtype.kind if isinstance(dtype, np.dtype) else "O" for dtype in frame.dtypes], dtype="U1")
        self._found["truth"] |= kinds == "b"
        for kind, note in (("i", self._note_whole), ("u", self._note_whole), ("f", self._note_floats)):
            places = np.flatnonzero(kinds == kind)
            if len(places):
                note(places, frame.iloc[:, places].to_numpy())
        for place in np.flatnonzero((kinds == "O") & ~self._found["text"]).tolist():
            self._note_objects(place, frame.iloc[:, place])

    def is_empty(self, place: int) -> bool:
        """Whether every cell of a column is missing."""
        return not any(self._found[fact][place] for fact in ("text", "truth", "floats", "whole"))

    def types(self) -> dict[str | int, Any]:
        """Types to read the columns with; None where each piece finds it by itself, and all then are objects."""
        return {name: self._type_of(place) for place, name in enumerate(self.names)}

    def _note(self, fact: str, places: Any, holds: Any) -> None:
        self._found[fact][places] |= holds

    def _note_whole(self, places: Any, numbers: np.ndarray) -> None:
        self._note("whole", places, True)
        self._note("negative", places, (numbers < 0).any(axis=0))
        self._note("unsigned", places, (numbers > _LARGEST).any(axis=0))

    def _note_floats(self, places: Any, numbers: np.ndarray) -> None:
        missing = np.isnan(numbers)
        gaps, empty = missing.any(axis=0), missing.all(axis=0)
        whole = gaps & (missing | ((np.rint(numbers) == numbers) & np.isfinite(numbers))).all(axis=0)
        self._note("gaps", places, gaps)
        self._note("whole", places, whole & ~empty)
        self._note("floats", places, ~whole)

    def _note_objects(self, place: int, cells: Any) -> None:
        present = cells.dropna()
        self._note("gaps", place, len(present) < len(cells))
        match pd.api.types.infer_dtype(present, skipna=True):
            case "empty":
                return
            case "boolean":
                self._note("truth", place, True)
            case "integer":
                least, most = int(present.min()), int(present.max())
                self._note("whole", place, True)
                self._note("negative", place, least < 0)
                self._note("unsigned", place, most > _LARGEST)
                self._note("huge", place, least < _LEAST or most > _LARGEST_UNSIGNED)
            case _:
                self._note("text", place, True)

    def _type_of(self, place: int) -> Any:
        found = {fact: bool(holds[place]) for fact, holds in self._found.items()}
        has_numbers = found["floats"] or found["whole"]
        if found["text"] or (found["truth"] and has_numbers):
            return str
        if found["truth"]:
            return None if found["gaps"] else np.dtype(bool)
        large = found["unsigned"] or found["huge"]
        if found["floats"] or not has_numbers or (found["gaps"] and not large):
            return np.dtype(np.float64)
        if not large:
            return np.dtype(np.int64)
        if found["gaps"]:
            return str
        return None if found["huge"] else str if found["negative"] else np.dtype(np.uint64)
