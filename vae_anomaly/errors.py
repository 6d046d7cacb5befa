"""What can go wrong, in words a user can act on: one root class, so that one ``except`` catches all of it."""

from typing import Self


class VaeAnomalyError(Exception):
    """Root of every error that this package raises on purpose."""


class DataError(VaeAnomalyError, ValueError):
    """The table does not fit: the message names the column, the row, the value and the remedy."""


class OutputError(DataError):
    """A file cannot be written, or must not be: the message names it and the remedy."""


class RowError(DataError):
    """A cell does not fit: the message names its row, which can be counted on where the rows are part of a table."""

    _parts: tuple[str, int, str]

    @classmethod
    def at(cls, fault: str, row: int, remedy: str) -> Self:
        """What is wrong in a row, counted from 0, and what is to be said after its number."""
        error = cls(f"{fault} in row {row + 1} (the first row is 1){remedy}")
        error._parts = (fault, row, remedy)
        return error

    @property
    def row(self) -> int:
        """Position of the row, counted from 0."""
        return self._parts[1]

    def moved(self, rows: int, file: str | None) -> Self:
        """The same error, its row so many rows further down, of a file."""
        fault, row, remedy = self._parts
        return self.at(fault if file is None else f"{file}: {fault}", row + rows, remedy)


class DeviceError(VaeAnomalyError, ValueError):
    """The requested device or precision is not to be had on this machine."""


class ModelFileError(VaeAnomalyError, ValueError):
    """The model file is damaged, foreign, or of a format that this version does not know."""


class ExportError(VaeAnomalyError, ValueError):
    """The model cannot be written in another format, or what would be written does not score as it does."""


class MissingExtraError(VaeAnomalyError, ImportError):
    """A package that one of our extras brings is not installed: the message has the command that installs it."""


class TrackingError(VaeAnomalyError, RuntimeError):
    """The store of runs and models that was asked for does not answer, or does not have what was asked for."""


class NoDensityError(VaeAnomalyError, TypeError):
    """The model is a plain autoencoder: it has no density, so nothing can be drawn from it."""


class DataWarning(UserWarning):
    """The table was taken, but not all of it: the message names the columns and why."""


class FitWarning(UserWarning):
    """The fit went on, but not as it was planned: the message says what changed."""
