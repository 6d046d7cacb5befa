"""Errors and warnings of the package. All errors have one root class, so that one ``except`` catches them."""

from typing import Self


class VaeAnomalyError(Exception):
    """Root of all errors that this package raises on purpose."""


class DataError(VaeAnomalyError, ValueError):
    """The table cannot be used: the message names the column, the row, the value and the remedy."""


class OutputError(DataError):
    """A file cannot or must not be written: the message names the file and the remedy."""


class RowError(DataError):
    """A cell cannot be used. `moved` renumbers the row in the message if the rows are part of a longer table."""

    _parts: tuple[str, int, str]

    @classmethod
    def at(cls, fault: str, row: int, remedy: str) -> Self:
        """The error for a row, counted from 0; in the message ``remedy`` follows the row number."""
        error = cls(f"{fault} in row {row + 1} (the first row is 1){remedy}")
        error._parts = (fault, row, remedy)
        return error

    @property
    def row(self) -> int:
        """Index of the row, counted from 0."""
        return self._parts[1]

    def moved(self, rows: int, file: str | None) -> Self:
        """The same error for a row that is ``rows`` further down, in a ``file``."""
        fault, row, remedy = self._parts
        return self.at(fault if file is None else f"{file}: {fault}", row + rows, remedy)


class DeviceError(VaeAnomalyError, ValueError):
    """The requested device or precision is not available on this machine, or the device has too little memory."""


class ModelFileError(VaeAnomalyError, ValueError):
    """The model file is damaged, not a model file, or in a format that this version does not know."""


class ExportError(VaeAnomalyError, ValueError):
    """The model cannot be written in another format, or the written model would have different scores."""


class MissingExtraError(VaeAnomalyError, ImportError):
    """A package of an extra is not installed: the message has the command that installs it."""


class TrackingError(VaeAnomalyError, RuntimeError):
    """The MLflow store does not answer, or does not have the run or model that was asked for."""


class ClusterError(VaeAnomalyError, RuntimeError):
    """The cluster cannot be reached, or has lost the same work too often."""


class NoDensityError(VaeAnomalyError, TypeError):
    """The model is a plain autoencoder: it has no density, so no rows can be sampled from it."""


class DataWarning(UserWarning):
    """Part of the table is not used: the message names the columns and the reason."""


class FitWarning(UserWarning):
    """The fit, or the scoring, continued, but differently than planned: the message reports what changed."""
